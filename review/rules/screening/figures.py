"""Figures with what they count, to be compared between items that speak of one matter (R5.3-2)."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from review.rules.screening.findings import Finding, found
from review.rules.screening.folding import Folded, fold
from review.rules.screening.texts import Other

ABOUT = 12  # characters before a figure that say what it counts
ALIKE = 4  # characters that two such stretches must share
KEPT = 200  # figures kept of one text

_FIGURE = re.compile(
    r"(?<![\d.])(?P<value>\d{1,12}(?:,\d{3})*(?:\.\d{1,6})?)\s?(?P<unit>[万亿]{0,2}(?:多|余)?"
    r"(?:亩|公顷|平方公里|平方米|立方米|公里|千米|吨|公斤|株|棵|只|头|尾|人次|人|户|元|架次|辆|台|项|家|处|起|个百分点|%))"
)
_EARLIER = re.compile(r"此前|之前|早前|先前|原先|前期通报|曾通报|曾发布|通报数据|发布数据")
_CLAUSE_ENDS = ",。;:!?、()\n "
_THOUSANDS = re.compile(r",(?=\d{3})")


@dataclass(frozen=True)
class Figure:
    """A figure: what stands before it, its value, its unit, and where it stands."""

    about: str
    value: str
    unit: str
    start: int
    end: int

    def kept(self) -> str:
        return f"{self.about}|{self.value}|{self.unit}"


def figures_of(text: str) -> tuple[str, ...]:
    """Return a text's figures as they are kept with its version and given to `Other.figures`."""
    return tuple(dict.fromkeys(one.kept() for one in islice(_figures(fold(text).plain), KEPT)))


def mismatches(field: str, text: Folded, linked: Iterable[Other]) -> Iterator[Finding]:
    """Yield figures that another item states otherwise, or the text itself as stated before."""
    mine = list(islice(_figures(text.plain), KEPT))
    if not mine:
        return
    others = [
        (other.number, *kept.split("|", 2))
        for other in linked
        for kept in other.figures
        if kept.count("|") >= 2
    ]
    told: set[int] = set()
    for figure in mine:
        for _, about, value, unit in others:
            if figure.start not in told and _contradicts(figure, about, value, unit):
                told.add(figure.start)
                yield _found(field, text, figure, f"{value}{unit}")
    for earlier in mine:
        if not _EARLIER.search(_sentence(text.plain, earlier.start)):
            continue
        for figure in mine:
            same = figure.unit == earlier.unit and figure.value != earlier.value
            if same and figure.end <= earlier.start and earlier.start not in told:
                told.add(earlier.start)
                yield _found(field, text, earlier, f"{figure.value}{figure.unit}")


def _found(field: str, text: Folded, figure: Figure, suggest: str) -> Finding:
    span = figure.start, figure.end
    return found("FIGURE_MISMATCH", "warn", field, text, span, suggest=suggest)


def _contradicts(figure: Figure, about: str, value: str, unit: str) -> bool:
    return figure.unit == unit and figure.value != value and _share(figure.about, about)


def _share(one: str, other: str) -> bool:
    """Tell whether two stretches share enough words to be about one thing."""
    return any(one[at : at + ALIKE] in other for at in range(len(one) - ALIKE + 1))


def _figures(plain: str) -> Iterator[Figure]:
    for one in _FIGURE.finditer(plain):
        start = one.start()
        clause = max(plain.rfind(mark, 0, start) for mark in _CLAUSE_ENDS) + 1
        value = _THOUSANDS.sub("", one["value"])
        value = value.rstrip("0").rstrip(".") if "." in value else value
        yield Figure(
            about=plain[max(clause, start - ABOUT) : start].replace("|", ""),
            value=value,
            unit=one["unit"],
            start=start,
            end=one.end(),
        )


def _sentence(plain: str, at: int) -> str:
    start = max(plain.rfind(mark, 0, at) for mark in "。;!?\n") + 1
    return plain[start:at]
