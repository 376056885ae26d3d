"""Leaders against the roster: name, title and order. Wrong ones are the classic grave error."""

from collections.abc import Iterator
from itertools import pairwise

from review.rules.screening.findings import Finding, found
from review.rules.screening.folding import Folded
from review.rules.screening.lists import Leader, Words
from review.rules.screening.matching import Hit, Hits, plain_word

RANKS = (
    "书记", "副书记", "局长", "副局长", "厅长", "副厅长", "处长", "副处长", "主任", "副主任",
    "省长", "副省长", "市长", "副市长", "县长", "副县长", "组长", "副组长", "一级巡视员",
    "二级巡视员", "总工程师", "场长", "副场长", "站长", "副站长", "院长", "副院长",
)  # fmt: skip
ROW = 12  # characters between two names of one row


class Leaders:
    """Finds leaders with another's title, near-miss names after a title, and rows out of order."""

    def __init__(self, words: Words) -> None:
        self._all = words.leaders
        self._names = [plain_word(one.name) for one in self._all]
        self._own = [_titles(one) for one in self._all]
        titles = sorted({title for own in self._own for title in own})
        self._titles = titles
        self._ranks = sorted({*RANKS, *titles}, key=len, reverse=True)

    def lists(self) -> dict[str, list[str]]:
        """Return the words that the matcher must find."""
        return {"leaders": [one.name for one in self._all], "leader_titles": self._titles}

    def findings(self, field: str, text: Folded, hits: Hits) -> Iterator[Finding]:
        names = hits["leaders"]
        for hit in names:
            if wrong := self._wrong_title(text.plain, hit):
                yield self._found(field, text, wrong, "title", self._all[hit.word].title)
        for before, after in pairwise(names):
            if self._out_of_order(text.plain, before, after):
                first = f"{self._all[after.word].name}、{self._all[before.word].name}"
                yield self._found(field, text, (before.start, after.end), "order", first)
        known = {hit.start for hit in names}
        for hit in hits["leader_titles"]:
            if hit.end not in known:
                yield from self._near_name(field, text, hit)

    def _found(
        self, field: str, text: Folded, span: tuple[int, int], case: str, suggest: str
    ) -> Finding:
        return found(
            "LEADER_TITLE", "warn", field, text, span, case=case, suggest=suggest, high=True
        )

    def _wrong_title(self, plain: str, hit: Hit) -> tuple[int, int] | None:
        """Return where a title stands beside a name that is not that leader's."""
        own = self._own[hit.word]
        for rank in self._ranks:
            if plain.endswith(rank, 0, hit.start):
                return None if rank in own else (hit.start - len(rank), hit.end)
        for rank in self._ranks:
            if plain.startswith(rank, hit.end):
                return None if rank in own else (hit.start, hit.end + len(rank))
        return None

    def _out_of_order(self, plain: str, before: Hit, after: Hit) -> bool:
        between = plain[before.end : after.start]
        row = len(between) <= ROW and "、" in between and not set(between) & set("。;!?\n")
        places = self._all[before.word].place, self._all[after.word].place
        return row and all(places) and places[0] > places[1]

    def _near_name(self, field: str, text: Folded, hit: Hit) -> Iterator[Finding]:
        """Yield a name after a leader's title that misses the leader's by one character."""
        title = self._titles[hit.word]
        for name, own, leader in zip(self._names, self._own, self._all, strict=True):
            given = text.plain[hit.end : hit.end + len(name)]
            if title not in own or len(name) < 3 or len(given) != len(name):
                continue
            differ = sum(a != b for a, b in zip(given, name, strict=True))
            if differ == 1 or (differ == 2 and sorted(given) == sorted(name)):
                span = hit.end, hit.end + len(name)
                yield self._found(field, text, span, "name", leader.name)
                return


def _titles(leader: Leader) -> frozenset[str]:
    """Return each of a leader's titles: 局党组书记、局长 are two, 书记 and 局长 are as right."""
    whole = [plain_word(part) for part in leader.title.replace(",", "、").split("、") if part]
    ranks = {
        max((rank for rank in RANKS if title.endswith(rank)), key=len, default=title)
        for title in whole
    }
    return frozenset({*whole, *ranks})
