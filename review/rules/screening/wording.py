"""Wrong words: titles, fixed expressions, typing errors, placeholders, hearsay, internal marks."""

import re
from collections.abc import Iterator

from review.rules.screening.findings import Finding, Severity, found
from review.rules.screening.folding import Folded
from review.rules.screening.lists import Expression, Words
from review.rules.screening.matching import Hit, Hits, Spans

QUOTES = "\"'“”‘’「」『』《》*_ "
LONG = 6  # characters from which an expression's near misses are searched without quotes
_IN_QUOTES = re.compile(r"[\"“「『]([\u3400-\u9fff]{3,12})[\"”」』]")
_CROSSES = re.compile(r"[××✕✖╳]{2,}")
_LETTERS = re.compile(r"(?:[Xx]{2,}|TODO|TBD|FIXME|todo|tbd)(?![A-Za-z\d])", re.ASCII)
_BRACKETED = re.compile(r"[【\[(〔<][^】\])〕>\n]{0,40}[】\])〕>]")
_NO_SURNAME = ("关于", "对于", "由于", "至于", "位于", "属于", "处于")


def listed(field: str, text: Folded, hits: Hits, words: Words) -> Iterator[Finding]:
    """Yield internal marks and typing errors: what a list alone decides."""
    for hit in hits["internal_marks"]:
        yield found("INTERNAL_MARK", "block", field, text, hit.span, waiver="office_reviewer")
    rights = list(words.typos.values()) if hits["typos"] else []
    for hit in hits["typos"]:
        yield found("TYPO", "warn", field, text, hit.span, suggest=rights[hit.word])
    rights = list(words.titles.values()) if hits["titles"] else []
    for hit in hits["titles"]:
        yield found(
            "LEADER_TITLE", "warn", field, text, hit.span, suggest=rights[hit.word], high=True
        )  # fmt: skip


def hearsay(field: str, text: Folded, hits: Hits) -> Iterator[Finding]:
    """Yield words of hearsay (R5.3-5)."""
    for hit in hits["hearsay"]:
        yield found("HEARSAY", "warn", field, text, hit.span)


def placeholders(field: str, text: Folded, words: Words, *, final: bool) -> Iterator[Finding]:
    """Yield what is still to be filled in; it blocks from the third proof on."""
    severity: Severity = "block" if final else "warn"
    plain = text.plain
    spans: list[tuple[int, int]] = []
    pending = [word for word in words.placeholders if word in plain]
    for bracket in _BRACKETED.finditer(plain) if pending else ():
        if any(word in bracket[0] for word in pending):
            spans.append(bracket.span())
    for crosses in _CROSSES.finditer(plain):
        if not _names_a_person(plain, crosses.start(), crosses.end(), words.surnames):
            spans.append(crosses.span())
    for letters in _LETTERS.finditer(plain):
        before = plain[max(0, letters.start() - 1) : letters.start()]
        if not (before.isascii() and before.isalnum()):
            spans.append(letters.span())
    for span in spans:
        yield found("PLACEHOLDER", severity, field, text, span, waiver="center_deputy")


def _names_a_person(plain: str, start: int, end: int, surnames: str) -> bool:
    """Tell whether crosses hide a given name, as in 张××, or digits, as in 138××××0000."""
    around = plain[max(0, start - 1) : start] + plain[end : end + 1]
    if any(one.isdecimal() for one in around):
        return True
    before = plain[max(0, start - 2) : start]
    return bool(before) and before[-1] in surnames and before not in _NO_SURNAME and end - start < 3


class Expressions:
    """Finds fixed expressions that are miswritten or stand after another one's verb (R1.1-1)."""

    def __init__(self, words: Words) -> None:
        self._all = words.expressions
        self._known = {one.text for one in words.expressions} | set(words.usual)
        self._verbs = sorted({v for one in self._all for v in one.verbs}, key=len, reverse=True)
        self._slips = [(slip, one) for one in self._all for slip in one.slips]
        self._halves = [
            (half, one, place)
            for one in self._all
            if len(one.text) >= LONG
            for half, place in _halves(one.text)
        ]

    def lists(self) -> dict[str, list[str]]:
        """Return the words that the matcher must find."""
        return {
            "expressions": [one.text for one in self._all],
            "slips": [slip for slip, _ in self._slips],
            "halves": [half for half, _, _ in self._halves],
        }

    def findings(self, field: str, text: Folded, hits: Hits) -> Iterator[Finding]:
        right = Spans(hit.span for hit in hits["expressions"])
        told = 0
        for span, suggest in sorted(self._wrong(text.plain, hits, right)):
            if span[0] >= told:
                told = span[1]
                yield found(
                    "FIXED_EXPRESSION", "warn", field, text, span, suggest=suggest, high=True
                )  # fmt: skip

    def _wrong(self, plain: str, hits: Hits, right: Spans) -> Iterator[tuple[tuple[int, int], str]]:
        for hit in hits["expressions"]:
            one = self._all[hit.word]
            if verb := self._foreign_verb(plain, hit, one):
                yield (verb[0], hit.end), one.verbs[0] + plain[verb[1] : hit.end]
        for hit in hits["slips"]:
            if not right.cover(*hit.span):
                yield hit.span, self._slips[hit.word][1].text
        meant: dict[str, str] = {}
        for quoted in _IN_QUOTES.finditer(plain):
            if quoted[1] not in meant:
                meant[quoted[1]] = self._meant(quoted[1])
            if meant[quoted[1]]:
                yield quoted.span(1), meant[quoted[1]]
        for hit in hits["halves"]:
            _, one, place = self._halves[hit.word]
            start = max(0, hit.start - place)
            if right.touch(*hit.span):
                continue
            for end in (start + len(one.text) + more for more in (0, -1, 1)):
                given = plain[start:end]
                if given not in self._known and _near(given, one.text, 1):
                    yield (start, min(end, len(plain))), one.text
                    break

    def _meant(self, quoted: str) -> str:
        """Return the expression that a quoted one misses by a character; empty for none."""
        if quoted in self._known:
            return ""
        return next((one.text for one in self._all if _near(quoted, one.text, 1)), "")

    def _foreign_verb(self, plain: str, hit: Hit, one: Expression) -> tuple[int, int] | None:
        """Return where a verb that belongs to other expressions only stands before this one."""
        at = hit.start
        while at and plain[at - 1] in QUOTES:
            at -= 1
        if not one.verbs or plain[:at].endswith(one.verbs):
            return None
        for verb in self._verbs:
            if plain.endswith(verb, 0, at):
                return at - len(verb), at
        return None


def _halves(text: str) -> tuple[tuple[str, int], tuple[str, int]]:
    middle = len(text) // 2
    return (text[:middle], 0), (text[middle:], middle)


def _near(given: str, right: str, most: int) -> bool:
    """Tell whether two texts differ by `most` characters changed, or by one left out or added."""
    if given == right or abs(len(given) - len(right)) > 1:
        return False
    if len(given) == len(right):
        differ = [at for at, (a, b) in enumerate(zip(given, right, strict=True)) if a != b]
        if len(differ) == 2 and differ[1] == differ[0] + 1:
            first, second = differ
            return given[first] == right[second] and given[second] == right[first]
        return len(differ) <= most
    short, long = sorted((given, right), key=len)
    return len(short) >= LONG and any(
        long[:at] + long[at + 1 :] == short for at in range(len(long))
    )
