"""One pass over a text for every word of every list."""

import re
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ahocorasick_rs import AhoCorasick

from review.rules.screening.folding import Folded, fold

_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
_UPPER = re.compile("[A-Z]")
_CJK = "\u3400-\u9fff"
_GAP = re.compile(rf"(?<=[{_CJK}])[ \t*_~`]+(?=[{_CJK}])")


@dataclass(frozen=True)
class Hit:
    """A word of a list in a text; places are those of the plain form that was searched."""

    word: int
    start: int
    end: int

    @property
    def span(self) -> tuple[int, int]:
        return self.start, self.end


Hits = Mapping[str, list[Hit]]


def plain_word(word: str) -> str:
    """Return a list's word in the form in which texts are searched."""
    return fold(word).plain.translate(_LOWER)


def tight(text: Folded) -> Folded:
    """Return a text without the blanks and emphasis that stand inside Chinese words."""
    gaps = list(_GAP.finditer(text.plain))
    if not gaps:
        return text
    plain: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    place = 0
    for upto, after in [*(gap.span() for gap in gaps), (len(text.plain), 0)]:
        plain.append(text.plain[place:upto])
        starts.extend(text.starts[place:upto])
        ends.extend(text.ends[place:upto])
        place = after
    return Folded(text.raw, "".join(plain), starts, ends)


class Matcher:
    """Finds the words of many lists at once; each list has a name."""

    def __init__(self, lists: Mapping[str, Iterable[str]]) -> None:
        owners: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for name, words in lists.items():
            for index, word in enumerate(words):
                if plain := plain_word(word):
                    owners[plain].append((name, index))
        self._owners = list(owners.values())
        self._automaton = AhoCorasick(owners)

    def hits(self, text: Folded) -> Hits:
        """Return what is found, by list, in the order it stands; the longest at each place.

        A hit inside a phrase of the list `usual` is none.
        """
        by_list: dict[str, list[Hit]] = defaultdict(list)
        plain = text.plain.translate(_LOWER) if _UPPER.search(text.plain) else text.plain
        for pattern, start, end in self._automaton.find_matches_as_indexes(plain, overlapping=True):
            for name, index in self._owners[pattern]:
                by_list[name].append(Hit(index, start, end))
        usual = Spans(hit.span for hit in by_list.pop("usual", ()))
        return defaultdict(
            list,
            {
                name: kept
                for name, hits in by_list.items()
                if (kept := [hit for hit in _longest(hits) if not usual.cover(*hit.span)])
            },
        )


def _longest(hits: list[Hit]) -> list[Hit]:
    """Return the hits without those that lie inside another one of the same list."""
    kept: list[Hit] = []
    for hit in sorted(hits, key=lambda one: (one.start, -one.end)):
        if not kept or hit.end > kept[-1].end:
            kept.append(hit)
    return kept


class Spans:
    """Stretches of a text, none inside another, that are asked about often."""

    def __init__(self, spans: Iterable[tuple[int, int]]) -> None:
        ordered: list[tuple[int, int]] = []
        for span in sorted(spans, key=lambda one: (one[0], -one[1])):
            if not ordered or span[1] > ordered[-1][1]:
                ordered.append(span)
        self._starts = [start for start, _ in ordered]
        self._ends = [end for _, end in ordered]

    def cover(self, start: int, end: int) -> bool:
        """Tell whether a stretch lies inside one of them."""
        at = bisect_right(self._starts, start)
        return at > 0 and self._ends[at - 1] >= end

    def touch(self, start: int, end: int) -> bool:
        """Tell whether a stretch shares a character with one of them."""
        at = bisect_left(self._starts, end)
        return at > 0 and self._ends[at - 1] > start
