"""What may be true and yet not ours to publish: fires, outbreaks, rare species, homes."""

import re
from collections.abc import Iterator

from review.rules.screening.findings import Finding, found
from review.rules.screening.folding import Folded
from review.rules.screening.matching import Hits

_CASUALTIES = re.compile(
    r"\d+\s?(?:名|人)[^,。;\n]{0,8}(?:死亡|遇难|受伤|失联|牺牲)"
    r"|(?:死亡|遇难|受伤|失联|牺牲)\s?\d+\s?(?:名|人)"
)
_COORDINATES = re.compile(
    r"[东西]经\s?[::]?\s?\d{1,3}(?:\.\d+)?\s?[°度]?|[南北]纬\s?[::]?\s?\d{1,2}(?:\.\d+)?\s?[°度]?"
    r"|\b[EWNS]\s?\d{1,3}\.\d{2,}|\d{1,3}(?:\.\d+)?\s?°\s?(?:\d|[EWNS])"
    r"|(?<![\d.])(?:7[3-9]|[89]\d|1[0-2]\d|13[0-5])\.\d{3,}\s?[,、]\s?[1-5]\d\.\d{3,}"
    r"|(?<![\d.])[1-5]\d\.\d{3,}\s?[,、]\s?(?:7[3-9]|[89]\d|1[0-2]\d|13[0-5])\.\d{3,}"
)
_HOME = re.compile(
    r"(?:家住|家庭住址|家庭地址|现?住址|住所地|居住地|户籍地|户籍所在地|户口所在地)\s?[::为在是于]?"
    r"[^,。;\n]{0,30}?(?:村|社区|小区|路|街|巷|胡同|弄|号|组|楼|单元|室)"
)
_HOME_WORDS = ("家住", "家庭", "住址", "住所地", "居住地", "户籍", "户口所在地")
_FLAT = re.compile(
    r"\d+\s?(?:号楼|栋|幢|座|号)\s?\d*[甲乙丙丁一二三四五六七八九]?\s?单元(?:\s?\d+\s?(?:室|号|户)?)?"
)
_HOUSEHOLD = re.compile(r"村\s?第?[\d一二三四五六七八九十]{1,3}(?:组|队|社)\s?\d+\s?(?:号|户)")


def authority(
    rule: str, name: str, field: str, text: Folded, hits: Hits, *, about: bool
) -> Iterator[Finding]:
    """Yield the first fact that needs a named body's word (A-27).

    Args:
        name: Name of the lists: its facts are `{name}_facts`.
        about: Whether the item is about the subject at all.
    """
    if not about:
        return
    facts = [hit.span for hit in hits[f"{name}_facts"]]
    if name == "fire":
        facts += [one.span() for one in _CASUALTIES.finditer(text.plain)]
    if facts:
        yield found(rule, "block", field, text, min(facts))


def species_places(field: str, text: Folded, hits: Hits, *, about: bool) -> Iterator[Finding]:
    """Yield where a protected species can be found: coordinates, or words for the very place."""
    if not about:
        return
    places = [one.span() for one in _COORDINATES.finditer(text.plain)]
    if places:
        span = places[0]
        for start, end in places[1:]:  # longitude and latitude are one place
            if start - span[1] <= 5:
                span = span[0], end
        yield found(
            "SPECIES_LOCATION", "block", field, text, span, quote="", waiver="supervising_leader"
        )
    elif hits["species_places"]:
        span = hits["species_places"][0].span
        yield found("SPECIES_LOCATION", "block", field, text, span, waiver="supervising_leader")


def homes(field: str, text: Folded) -> Iterator[Finding]:
    """Yield home addresses that go below township and street."""
    plain = text.plain
    spans: list[tuple[int, int]] = []
    for rule, words in ((_HOME, _HOME_WORDS), (_FLAT, ("单元",)), (_HOUSEHOLD, ("村",))):
        if any(word in plain for word in words):
            spans += [home.span() for home in rule.finditer(plain)]
    told = -1
    for start, end in sorted(spans):
        if start >= told:
            told = end
            yield found("ADDRESS", "warn", field, text, (start, end), quote="")
