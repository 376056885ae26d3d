"""Files that are pasted into a form: rule packs, lists and the calendar, as YAML."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from review.packs import PackError
from review.rules.errors import MalformedError

T = TypeVar("T")

LARGEST = 512 * 1024  # characters; what is longer is brought in by command


def read_pasted(body: str, load: Callable[[Path, str], T], field: str, language: str) -> T:
    """Return what was pasted.

    Args:
        load: Reads a file, and tells its mistakes in a language.
        field: The form's field that it was pasted into.

    Raises:
        MalformedError: Every mistake with its line.
    """
    if len(body) > LARGEST:
        raise MalformedError(errors=[{"field": field, "message": "too_large"}])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{field}.yaml"
        file.write_text(body, encoding="utf-8")
        try:
            return load(file, language)
        except PackError as error:
            mistakes = [
                {"field": f"{one.line}: {one.key}".rstrip(": "), "message": one.message}
                for one in error.mistakes
            ]
    raise MalformedError(errors=mistakes)
