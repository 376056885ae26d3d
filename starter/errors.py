"""Why the embedded whole does not start."""

from typing import Any

from review.texts import text


class StartError(Exception):
    """Something outside is in the way, or the command was given wrongly.

    Attributes:
        exit_code: 3 when something outside is down, 2 for wrong usage (contract).
    """

    def __init__(self, code: str, *, exit_code: int = 3, **params: Any) -> None:
        self.code = code
        self.params = params
        self.exit_code = exit_code
        super().__init__(code)

    def __str__(self) -> str:
        return self.line()

    def line(self, language: str = "en") -> str:
        """Return what the operator reads: one line."""
        return " ".join(text(f"start.{self.code}", language, **self.params).split())
