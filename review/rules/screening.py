"""What may not even be stored: classified markings, unmasked identity and card numbers.

Only the stop rules that need no lists stand here yet (requirements 7). They see through full-width
digits and zero-width characters; places are character offsets in the text as it came.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from typing import Literal

from review.rules.values import Value

ZERO_WIDTH = frozenset("\u00ad\u180e\u200b\u200c\u200d\u2060\ufeff")
WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)  # GB 11643, check digit
CHECKS = "10X98765432"
HEAD_LINES = 10  # where a line 密级：… is a marking and no sentence

_MARK = re.compile(r"(?:绝密|机密|秘密)\s*★")
_MARK_LINE = re.compile(r"^\s*密\s*级\s*:", re.MULTILINE)
_DIGITS = re.compile(r"(?<![\dA-Za-z])\d(?:[ -]?\d){14,19}(?:[ -]?[Xx])?(?![\dA-Za-z])")


class Finding(Value):
    """One finding; `quote` never shows the number or marking itself."""

    rule: str
    severity: Literal["stop", "block", "warn", "info"]
    field: str
    start: int
    end: int
    advice: str
    quote: str = ""


def screen(fields: Mapping[str, str]) -> tuple[Finding, ...]:
    """Return what stops a text, by field and place.

    Args:
        fields: Field name and text; every text a person typed belongs here (R1.3-4).
    """
    return tuple(
        finding for field, text in fields.items() if text for finding in _findings(field, text)
    )


def _findings(field: str, text: str) -> Iterator[Finding]:
    folded, places = _folded(text)
    for found in _MARK.finditer(folded):
        yield _finding("CLASSIFIED_MARK", field, places, found.span(), "")
    head = len("\n".join(folded.split("\n")[:HEAD_LINES]))
    for found in _MARK_LINE.finditer(folded[:head]):
        yield _finding("CLASSIFIED_MARK", field, places, found.span(), "")
    for found in _DIGITS.finditer(folded):
        number = re.sub(r"[ -]", "", found[0]).upper()
        if is_identity_number(number):
            yield _finding("ID_NUMBER", field, places, found.span(), _masked(number, 2, 3))
        elif is_card_number(number):
            yield _finding("BANK_CARD", field, places, found.span(), _masked(number, 0, 4))


def _finding(
    rule: str, field: str, places: list[int], span: tuple[int, int], quote: str
) -> Finding:
    start, end = places[span[0]], places[span[1] - 1] + 1
    return Finding(
        rule=rule, severity="stop", field=field, start=start, end=end,
        advice=f"advice.{rule}", quote=quote,
    )  # fmt: skip


def _folded(text: str) -> tuple[str, list[int]]:
    """Return the text in its plain form with, for each character, where it came from."""
    plain: list[str] = []
    places: list[int] = []
    for place, character in enumerate(text):
        if character in ZERO_WIDTH:
            continue
        for folded in unicodedata.normalize("NFKC", character):
            plain.append(folded)
            places.append(place)
    return "".join(plain), places


def is_identity_number(number: str) -> bool:
    """Tell whether 18 characters are an identity number: a real day and the right check digit."""
    if len(number) != 18 or not number[:17].isdecimal():
        return False
    try:
        date(int(number[6:10]), int(number[10:12]), int(number[12:14]))
    except ValueError:
        return False
    total = sum(int(digit) * weight for digit, weight in zip(number, WEIGHTS, strict=False))
    return number[17] == CHECKS[total % 11]


def is_card_number(number: str) -> bool:
    """Tell whether 16 to 19 digits pass the Luhn check of bank cards."""
    if not 16 <= len(number) <= 19 or not number.isdecimal() or len(set(number)) == 1:
        return False
    total = 0
    for place, digit in enumerate(reversed(number)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def _masked(number: str, keep_first: int, keep_last: int) -> str:
    hidden = len(number) - keep_first - keep_last
    return number[:keep_first] + "*" * hidden + number[-keep_last:]


def texts_of(value: object, name: str = "") -> Iterable[tuple[str, str]]:
    """Yield every text inside a request's fields with its place, whatever its nesting."""
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from texts_of(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            yield from texts_of(inner, f"{name}.{index}")
