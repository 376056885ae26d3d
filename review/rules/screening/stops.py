"""What may not even be stored: classified markings, unmasked identity and card numbers (R1.3-4)."""

import re
from collections.abc import Iterator, Mapping

from review.rules.screening.findings import Finding, found
from review.rules.screening.folding import Folded, fold
from review.rules.screening.numbers import numbers

HEAD_LINES = 10  # lines with words at the head, where a line 密级：… is a marking and no sentence

_MARK = re.compile(r"(?:[绝絕]密|[机機]密|[秘祕]密)[\s*_~`]{0,9}[★☆⭐✩✪✭✮✯🌟]")
_MARK_LINE = re.compile(
    r"^[ \t#>*_|\-【\[(]{0,20}密[ \t*_]{0,9}[级級][ \t*_】\])]{0,9}:"
    r"(?![ \t*_]{0,9}(?:公开|无|非密|非涉密|不涉密))",
    re.MULTILINE,
)


def screen(fields: Mapping[str, str]) -> tuple[Finding, ...]:
    """Return what stops a text, by field and place; needs no lists.

    Args:
        fields: Field name and text; every text a person typed belongs here (R1.3-4).
    """
    return tuple(
        finding
        for field, text in fields.items()
        if text
        for finding in stops(field, fold(text))
        if finding.severity == "stop"
    )


def stops(field: str, text: Folded) -> Iterator[Finding]:
    """Yield what stops one field, and the old 15-digit identity numbers, which only warn."""
    yield from _markings(field, text)
    yield from numbers(field, text)


def _markings(field: str, text: Folded) -> Iterator[Finding]:
    """Yield classified markings: 秘密★1年, and a line 密级：… at the head."""
    if "密" not in text.plain:
        return
    for mark in _MARK.finditer(text.plain):
        yield found("CLASSIFIED_MARK", "stop", field, text, mark.span(), quote="")
    for mark in _MARK_LINE.finditer(text.plain, 0, _head(text.plain)):
        yield found("CLASSIFIED_MARK", "stop", field, text, mark.span(), quote="")


def _head(plain: str) -> int:
    """Return where the first lines that have words end."""
    seen = place = 0
    for line in plain.split("\n"):
        seen += bool(line.strip())
        place += len(line) + 1
        if seen >= HEAD_LINES:
            break
    return place
