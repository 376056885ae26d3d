"""The plain form in which a text is searched, with the way back to the text as it came.

Full-width forms, digits of other scripts, character references and invisible characters are what
hides a word or number from a plain search; readers see through all of them.
"""

import html
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

FEW = 60  # changed characters up to which replacing each is faster than translating all
LINE_ENDS = frozenset("\r\x0b\x0c\x85\u2028\u2029")
_REFERENCE = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")


@dataclass(frozen=True)
class Folded:
    """A text in its plain form; `starts` and `ends` are places in the text as it came."""

    raw: str
    plain: str
    starts: Sequence[int] = field(repr=False)
    ends: Sequence[int] = field(repr=False)

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return where a stretch of the plain form stands in the text as it came."""
        return self.starts[start], self.ends[end - 1]


def plain_form(character: str) -> str:
    """Return the plain form of one character; empty when it is invisible."""
    if character in LINE_ENDS:
        return "\n"
    if character in "\n\t":
        return character
    kind = unicodedata.category(character)
    if kind in ("Cf", "Cc", "Cs", "Mn", "Me"):
        return ""
    if kind == "Nd":
        return str(unicodedata.decimal(character))
    if kind == "Zs":
        return " "
    return "".join(
        one
        for one in unicodedata.normalize("NFKC", character)
        if unicodedata.category(one) not in ("Mn", "Me")
    )


class _Table(dict[int, str]):
    """The plain forms as `str.translate` reads them."""

    def __missing__(self, code: int) -> str:
        plain = plain_form(chr(code))
        if code < 0x10000:  # what texts are made of; the rest would let anybody fill the memory
            self[code] = plain
        return plain


_TABLE = _Table()
_SAME: set[str] = set()  # characters met so far that are their own plain form


def fold(text: str) -> Folded:
    """Return the plain form of a text."""
    unknown = set(text) - _SAME
    changed = {one: plain for one in unknown if (plain := _TABLE[ord(one)]) != one}
    _SAME.update(one for one in unknown.difference(changed) if ord(one) < 0x10000)
    odd = [one for one, plain in changed.items() if len(plain) != 1]
    even = {one: plain for one, plain in changed.items() if len(plain) == 1}
    if not odd and "&" not in text:
        return Folded(text, _swapped(text, even), range(len(text)), range(1, len(text) + 1))
    return _fold_by_stretches(text, odd, even)


def _swapped(text: str, even: Mapping[str, str]) -> str:
    """Return a text with single characters changed for single ones."""
    if len(even) > FEW:
        return text.translate(_TABLE)
    for one, plain in even.items():  # plain forms are never changed again
        text = text.replace(one, plain)
    return text


def _fold_by_stretches(text: str, odd: Iterable[str], even: Mapping[str, str]) -> Folded:
    """Fold a text in which one character becomes none or many, or a reference becomes one."""
    plain: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    place = 0
    parts = [_REFERENCE.pattern, *map(re.escape, odd)]
    for found in re.finditer("|".join(parts), text):
        start, end = found.span()
        plain.append(_swapped(text[place:start], even))
        starts.extend(range(place, start))
        ends.extend(range(place + 1, start + 1))
        meant = html.unescape(found[0].translate(_TABLE)).translate(_TABLE)
        plain.append(meant)
        starts.extend([start] * len(meant))
        ends.extend([end] * len(meant))
        place = end
    plain.append(_swapped(text[place:], even))
    starts.extend(range(place, len(text)))
    ends.extend(range(place + 1, len(text) + 1))
    return Folded(text, "".join(plain), starts, ends)
