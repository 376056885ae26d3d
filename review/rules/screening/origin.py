"""Where a text comes from: reposts, their source and whitelist, unified releases (R3.2, A-12)."""

import re
from collections.abc import Iterator
from typing import Any

from review.rules.screening.findings import QUOTED, Finding, found, missing
from review.rules.screening.folding import Folded, fold
from review.rules.screening.links import host_of, within
from review.rules.screening.lists import Sources
from review.rules.screening.matching import Hits, plain_word
from review.rules.screening.texts import REPOSTS, Text

_REPORT = re.compile(
    r"[^,。;\n]{0,10}?(?:电(?![\u4e00-\u9fff])|电讯|报道|消息|讯(?![\u4e00-\u9fff]))"
)
_ORIGIN = re.compile(
    r"(?<![\u3400-\u9fff])(?:信息|稿件|文章|内容)?来源\s?:\s?(?!本|我)[\u3400-\u9fffA-Za-z]{2,20}"
    r"|(?<![\u3400-\u9fff])(?:转载自|转自|摘自|原载于?)[^,。;\n]{2,20}"
)
_BLANKS = re.compile(r"\s+")


class Origin:
    """Judges a source by the whitelist."""

    def __init__(self, sources: Sources) -> None:
        self._names: dict[str, int] = {}
        for index, source in enumerate(sources.sources):
            for name in (source.name, *source.also):
                self._names.setdefault(_name(name), index)
        self._sources = sources.sources
        self._vouching = frozenset(
            host for one in sources.sources if one.any_name for host in one.hosts
        )
        self.hosts = frozenset(host for one in sources.sources for host in one.hosts)

    def lists(self) -> dict[str, list[str]]:
        """Return the words that the matcher must find."""
        return {
            "sources": [
                name for one in self._sources if not one.any_name for name in (one.name, *one.also)
            ]
        }

    def repost(self, text: Text) -> Iterator[Finding]:
        """Yield what is wrong with a repost's source (RA1-8, A-12)."""
        if text.source.get("type") not in REPOSTS:
            return
        name, url = (str(text.source.get(key) or "").strip() for key in ("name", "url"))
        given = bool(text.original or text.source.get("original_body"))
        if not name:
            yield missing("REPOST_NO_SOURCE", "stop", "source.name")
        if not url and not (text.source["type"] == "unified_release" and given):
            yield missing("REPOST_NO_SOURCE", "stop", "source.url", case="url")
        if name and not self._listed(name, url):
            yield missing(
                "REPOST_OFF_LIST",
                "block",
                "source.name",
                waiver="center_chief",
                quote=fold(name).plain[:QUOTED],
            )

    def _listed(self, name: str, url: str) -> bool:
        """Tell whether a source is on the list: its name, with its own address where it has one."""
        host = host_of(url)
        if url and host and within(host, self._vouching):
            return True
        index = self._names.get(_name(name))
        if index is None:
            return False
        own = self._sources[index].hosts
        return not url or not own or bool(host and within(host, self.hosts))

    @staticmethod
    def suspected(field: str, text: Folded, hits: Hits) -> Iterator[Finding]:
        """Yield what looks like another's report in a text that is called our own."""
        told = -1
        marked = any(word in text.plain for word in ("来源", "转自", "转载自", "摘自", "原载"))
        for start, end in sorted(
            [
                *(
                    (hit.start, report.end())
                    for hit in hits["sources"]
                    if (report := _REPORT.match(text.plain, hit.end))
                ),
                *(one.span() for one in (_ORIGIN.finditer(text.plain) if marked else ())),
            ]
        ):
            if start >= told:
                told = end
                yield found("REPOST_SUSPECTED", "warn", field, text, (start, end))


def release(text: Text) -> Iterator[Finding]:
    """Yield where a unified release differs from its saved original (R3.2-5)."""
    source: dict[str, Any] = text.source
    if source.get("type") != "unified_release":
        return
    body = text.original or str(source.get("original_body") or "")
    if not body:
        yield missing("RELEASE_ALTERED", "warn", "source.original_body", case="unknown")
    for field, original in (("title", str(source.get("original_title") or "")), ("body", body)):
        given = text.fields.get(field, "")
        if original and (span := _changed(given, original)):
            yield Finding(
                rule="RELEASE_ALTERED", severity="block", field=field, start=span[0], end=span[1],
                advice="advice.RELEASE_ALTERED",
            )  # fmt: skip


def _changed(given: str, original: str) -> tuple[int, int] | None:
    """Return the stretch of a text outside which it equals its original, blanks aside."""
    places = [at for at, one in enumerate(given) if not one.isspace()]
    mine, right = "".join(given[at] for at in places), _BLANKS.sub("", original)
    if mine == right:
        return None
    shorter = min(len(mine), len(right))
    first = next((at for at in range(shorter) if mine[at] != right[at]), shorter)
    last = next(
        (at for at in range(shorter - first) if mine[-1 - at] != right[-1 - at]), shorter - first
    )
    if first >= len(mine) - last:  # something was left out here
        at = places[min(first, len(places) - 1)] if places else 0
        return at, min(at + 1, len(given))
    return places[first], places[len(mine) - last - 1] + 1


def _name(name: str) -> str:
    return _BLANKS.sub("", plain_word(name)).strip('《》"“”')
