"""Links: short ones that hide where they lead, commercial pages, hosts nobody vouched for."""

import re
from collections.abc import Collection, Iterator
from urllib.parse import urlsplit

from review.rules.screening.findings import Finding, found
from review.rules.screening.folding import Folded, fold
from review.rules.screening.lists import Hosts
from review.rules.screening.matching import Spans

_LINK = re.compile(r"https?://[^\s<>()\[\]\"'，。；、）】》\u3400-\u9fff]+", re.IGNORECASE)
_ENDING = re.compile(
    r"\.(?:cn|com|net|org|io|cc|me|ly|top|xyz|vip|shop|co|gd|im|tv|info|biz)"
    r"(?![A-Za-z0-9\-@]|\.[A-Za-z])(?:/[^\s<>()\[\]\"'，。；、\u3400-\u9fff]*)?",
    re.IGNORECASE,
)
_BEGINNING = re.compile(
    r"(?<![\w@./:\-])[A-Za-z0-9][A-Za-z0-9\-]*(?:\.[A-Za-z0-9\-]+)*\Z", re.ASCII
)
ENDS = ".,;:!?"  # what belongs to the sentence and not to an address
HOST = 253  # characters of a host name at most


def links_at(text: Folded) -> list[tuple[int, int, str]]:
    """Return every address in a text with its place, with or without `https://`."""
    plain = text.plain
    if "." not in plain:
        return []
    full = [(*one.span(), one[0]) for one in _LINK.finditer(plain)] if "://" in plain else []
    whole = Spans((start, end) for start, end, _ in full)
    bare: list[tuple[int, int, str]] = []
    for ending in _ENDING.finditer(plain):
        at = ending.start()
        beginning = _BEGINNING.search(plain, max(0, at - HOST), at)
        if beginning and not whole.touch(at, at + 1):
            start, end = beginning.start(), ending.end()
            bare.append((start, end, f"http://{plain[start:end]}"))
    return sorted(full + bare)


def addresses_in(text: str) -> list[str]:
    """Return every address in a text, without what belongs to the sentence around it."""
    return [address.rstrip(ENDS) for _, _, address in links_at(fold(text))]


def host_of(address: str) -> str:
    """Return the host an address leads to; empty where there is none."""
    try:
        return (urlsplit(address.strip()).hostname or "").rstrip(".").lower()
    except ValueError:
        return ""


def within(host: str, hosts: Collection[str]) -> bool:
    """Tell whether a host is one of some hosts or below one."""
    parts = host.split(".")
    return any(".".join(parts[at:]) in hosts for at in range(len(parts)))


class Links:
    """Judges the hosts of a text's links."""

    def __init__(self, hosts: Hosts, vouched: Collection[str]) -> None:
        self._short = frozenset(hosts.short)
        self._commercial = frozenset(hosts.commercial)
        self._allowed = frozenset(hosts.allowed) | frozenset(vouched)

    def findings(
        self, field: str, text: Folded, links: list[tuple[int, int, str]]
    ) -> Iterator[Finding]:
        judged: dict[str, tuple[str, str]] = {}
        for start, end, address in links:
            host = host_of(address)
            key = netloc_of(address)
            if key not in judged:
                judged[key] = self._judged(host, address)
            rule, case = judged[key]
            if rule:
                span = start, start + len(text.plain[start:end].rstrip(ENDS))
                yield found(rule, "warn", field, text, span, case=case, quote=host)

    @staticmethod
    def dead(
        field: str, text: Folded, links: list[tuple[int, int, str]], dead: Collection[str]
    ) -> Iterator[Finding]:
        """Yield the links of a service that lead nowhere any more (R1.2-1)."""
        for start, end, address in links:
            if address.rstrip(ENDS) in dead:
                span = start, start + len(text.plain[start:end].rstrip(ENDS))
                yield found(
                    "LINK_DEAD", "block", field, text, span,
                    quote=host_of(address), waiver="center_deputy",
                )  # fmt: skip

    def _judged(self, host: str, address: str) -> tuple[str, str]:
        """Return the rule and case that a host breaks, empty for none."""
        if within(host, self._short):
            return "SHORT_LINK", ""
        if within(host, self._commercial):
            return "LINK_HOST", "commercial"
        allowed = within(host, self._allowed) and "@" not in netloc_of(address)
        return ("", "") if allowed else ("LINK_HOST", "")


def netloc_of(address: str) -> str:
    """Return the part of an address that names user, host and port."""
    try:
        return urlsplit(address).netloc
    except ValueError:
        return "@"
