"""What the screener says about a text: which rule, how grave, where, and what to do."""

import hashlib
import json
from typing import Literal

from review.rules.screening.folding import Folded
from review.rules.values import Value

Severity = Literal["stop", "block", "warn", "info"]
QUOTED = 60  # characters of a quote
GRAVEST_FIRST: tuple[Severity, ...] = ("stop", "block", "warn", "info")


class Finding(Value):
    """One finding; places are character offsets in the field's text as it came.

    Attributes:
        field: Name of the field, as in the request; empty where a field is missing.
        advice: Code of the text that says what to do; it may name `{suggest}`.
        quote: The place's words, masked; never a number or marking that stops a text.
        waiver: The role that may waive a block finding with a reason, empty where none may.
        high: A warning that counts as a grave error when ignored.
        suggest: What to write instead, where the rule knows.
    """

    rule: str
    severity: Severity
    field: str
    start: int
    end: int
    advice: str
    quote: str = ""
    waiver: str = ""
    high: bool = False
    suggest: str = ""

    @property
    def id(self) -> str:
        """The same for the same place of the same version, another for any other."""
        told = json.dumps(
            [self.rule, self.severity, self.field, self.start, self.end, self.quote, self.suggest]
        )
        return hashlib.sha256(told.encode()).hexdigest()[:12]


def found(
    rule: str,
    severity: Severity,
    field: str,
    text: Folded,
    span: tuple[int, int],
    *,
    case: str = "",
    quote: str | None = None,
    suggest: str = "",
    waiver: str = "",
    high: bool = False,
) -> Finding:
    """Return a finding at a stretch of a field's plain form.

    Args:
        case: Which of the rule's advice texts, where it has several.
        quote: What may be shown of it; the words themselves where none is given.
    """
    start, end = text.span(*span)
    return Finding(
        rule=rule, severity=severity, field=field, start=start, end=end,
        advice=f"advice.{rule}.{case}" if case else f"advice.{rule}",
        quote=text.plain[slice(*span)][:QUOTED] if quote is None else quote,
        suggest=suggest, waiver=waiver if severity == "block" else "", high=high,
    )  # fmt: skip


def missing(rule: str, severity: Severity, field: str, *, case: str = "", **more: str) -> Finding:
    """Return a finding about a field that is empty, or a value that is no text."""
    return Finding(
        rule=rule, severity=severity, field=field, start=0, end=0,
        advice=f"advice.{rule}.{case}" if case else f"advice.{rule}", **more,
    )  # fmt: skip
