"""All rules of requirements 7 over one text, with the lists of one moment."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from review.rules.screening import (
    dates,
    figures,
    likeness,
    numbers,
    origin,
    pictures,
    unsuitable,
    wording,
)
from review.rules.screening.findings import Finding, missing
from review.rules.screening.folding import Folded, fold
from review.rules.screening.leaders import Leaders
from review.rules.screening.links import Links, links_at
from review.rules.screening.lists import Lists
from review.rules.screening.matching import Hits, Matcher, Spans, tight
from review.rules.screening.stops import stops
from review.rules.screening.texts import REPOSTS, Text, is_published
from review.rules.values import Category, Kind

# As long as a card number. Run together with more, digits are no number that stops a text, but
# may hold one that another place of it shows.
_LONG_DIGITS = re.compile(r"\d{15,}[\dXx]?")
NAME_LISTS = ("名单", "名册", "花名册", "人员信息", "公示")


@dataclass(frozen=True)
class Read:
    """One field as rules read it: its plain form, and its words with what lists found in them."""

    field: str
    plain: Folded
    words: Folded
    hits: Hits


class Screener:
    """Builds its matchers once; screening changes nothing, so that threads may share one."""

    def __init__(self, lists: Lists) -> None:
        self.lists = lists
        words = lists.words
        self._expressions = wording.Expressions(words)
        self._leaders = Leaders(words)
        self._origin = origin.Origin(lists.sources)
        self._links = Links(words.hosts, self._origin.hosts)
        self._matcher = Matcher(
            {
                "usual": words.usual,
                "internal_marks": words.internal_marks,
                "typos": words.typos,
                "titles": words.titles,
                "hearsay": words.hearsay,
                "fire": words.fire.about if words.fire else (),
                "fire_facts": words.fire.facts if words.fire else (),
                "pest": words.pest.about if words.pest else (),
                "pest_facts": words.pest.facts if words.pest else (),
                "species": words.species.names,
                "species_places": words.species.places,
                **self._expressions.lists(),
                **self._leaders.lists(),
                **self._origin.lists(),
            }
        )

    def screen(self, text: Text, today: datetime) -> tuple[Finding, ...]:
        """Return every finding, sorted by field and place.

        Args:
            today: The moment of screening; aware, in the bureau's zone, whose days count.
        """
        findings = set(self._findings(text, today))
        hidden: dict[str, list[tuple[int, int]]] = {}
        for one in findings:
            if _hides(one):
                hidden.setdefault(one.field, []).append((one.start, one.end))
        spans = {field: Spans(places) for field, places in hidden.items()}
        return tuple(sorted((_discreet(one, spans) for one in findings), key=_order))

    def _findings(self, text: Text, today: datetime) -> Iterator[Finding]:
        folded = {name: fold(raw) for name, raw in text.fields.items() if raw}
        for name, plain in folded.items():
            yield from stops(name, plain)
        published = {name: plain for name, plain in folded.items() if is_published(name)}
        read = [self._read(name, plain) for name, plain in published.items()]
        for one in read:
            yield from self._of_field(one, text, today)
        yield from self._of_subject(read, text)
        yield from self._origin.repost(text)
        yield from origin.release(text)
        yield from dates.moments(text, today)
        yield from pictures.maps(text, self.lists.words)
        yield from pictures.ai_label(text, published, self.lists.words)
        yield from likeness.duplicates(text)
        yield from _service(text)

    def _read(self, name: str, plain: Folded) -> Read:
        words = tight(plain)
        return Read(name, plain, words, self._matcher.hits(words))

    def _of_field(self, one: Read, text: Text, today: datetime) -> Iterator[Finding]:
        """Yield what one field says by itself."""
        field, plain, words, hits = one.field, one.plain, one.words, one.hits
        links = links_at(plain)
        names = any(word in text.fields.get("title", "") for word in NAME_LISTS)
        taken = Spans((start, end) for start, end, _ in links)
        yield from numbers.mobiles(field, plain, taken, listed=names)
        yield from unsuitable.homes(field, plain)
        yield from wording.listed(field, words, hits, self.lists.words)
        yield from wording.placeholders(field, plain, self.lists.words, final=text.final)
        if text.category != Category.PUBLIC_OPINION:
            yield from wording.hearsay(field, words, hits)
        yield from self._expressions.findings(field, words, hits)
        yield from self._leaders.findings(field, words, hits)
        yield from self._links.findings(field, plain, links)
        if text.dead and text.kind == Kind.SERVICE:
            yield from self._links.dead(field, plain, links, text.dead)
        yield from dates.dates(field, plain, today.date())
        if text.source.get("type") not in REPOSTS:
            yield from self._origin.suspected(field, words, hits)
        if field == "body":
            yield from figures.mismatches(field, plain, text.linked) if text.linked else ()

    def _of_subject(self, read: list[Read], text: Text) -> Iterator[Finding]:
        """Yield what a field says about a subject that any field may have named."""
        about = {name: any(one.hits[name] for one in read) for name in ("fire", "pest", "species")}
        asked = not text.authority_reference.strip()
        for rule, name in (("FIRE_AUTHORITY", "fire"), ("PEST_AUTHORITY", "pest")):
            for one in read if asked else ():
                yield from unsuitable.authority(
                    rule, name, one.field, one.words, one.hits, about=about[name]
                )
        for one in read:
            yield from unsuitable.species_places(
                one.field, one.words, one.hits, about=about["species"]
            )


def _hides(finding: Finding) -> bool:
    """Tell whether a finding's words may not be shown by another one either."""
    return finding.severity == "stop" or finding.rule == "ID_NUMBER"


def _discreet(finding: Finding, hidden: Mapping[str, Spans]) -> Finding:
    """Return a finding without words that another one hides."""
    if _hides(finding) or not (finding.quote or finding.suggest):
        return finding
    spans = hidden.get(finding.field)
    if spans is not None and (
        finding.start == finding.end or spans.touch(finding.start, finding.end)
    ):
        return finding.model_copy(update={"quote": "", "suggest": ""})
    shown = {name: getattr(finding, name) for name in ("quote", "suggest")}
    masked = {name: _LONG_DIGITS.sub("***", words) for name, words in shown.items()}
    return finding if masked == shown else finding.model_copy(update=masked)


def _service(text: Text) -> Iterator[Finding]:
    """Yield what an item about a service lacks before it goes live (R1.2-1)."""
    if text.kind != Kind.SERVICE or not text.final:
        return
    for field, given in (
        ("audience", text.audience),
        ("how_to", text.how_to),
        ("valid_until", text.valid_until),
    ):
        if not given:
            yield missing("SERVICE_DETAILS", "block", field, waiver="center_deputy")


def _order(finding: Finding) -> tuple[str, int, int, str, str]:
    return finding.field, finding.start, finding.end, finding.rule, finding.id
