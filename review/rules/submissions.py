"""What a submission is to the rules: its text's digest, its links and figures, its profile."""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from review.rules.digests import SHA256
from review.rules.digests import digest as digest_of
from review.rules.policy import Policy
from review.rules.values import Category, Level, Profile

REPOST_SOURCES = ("repost", "unified_release")
_LINK = re.compile(r"https?://[^\s<>()\[\]\"'，。；、）】》]+")
_FIGURE = re.compile(r"\d+(?:[.,]\d+)*")


def sha256(data: bytes) -> str:
    """Return a digest with its algorithm's name beside it."""
    return digest_of(data)


def canonical(value: Any) -> bytes:
    """Return the one byte form of a JSON value: sorted keys, no spaces, UTF-8."""
    return json.dumps(
        value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=str
    ).encode()


def normalised(text: str) -> str:
    """Return the text with one form for characters (NFC), line ends and trailing space."""
    lines = unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "\n".join(line.rstrip() for line in lines).strip()


def folded(text: str) -> str:
    """Return the text without any white space, to compare a repost with its original."""
    return "".join(unicodedata.normalize("NFC", text).split())


def links_in(body: str) -> list[str]:
    """Return the addresses in a text, each once, in the order they stand."""
    return list(dict.fromkeys(link.rstrip(".,;:!?") for link in _LINK.findall(body)))


def figures_in(text: str) -> Counter[str]:
    """Return the figures of a text with how often each stands (A-16)."""
    return Counter(_FIGURE.findall(unicodedata.normalize("NFKC", text)))


def text_digest(title: str, body: str, algorithm: str = SHA256) -> str:
    """Return the digest of title and normalised text alone (contract: `/verify`, drift)."""
    told = canonical({"title": normalised(title), "body": normalised(body)})
    return digest_of(told, algorithm)


def version_digest(
    title: str,
    body: str,
    attachments: Sequence[Mapping[str, Any]],
    source: Mapping[str, Any],
    links: Sequence[str],
    algorithm: str = SHA256,
) -> str:
    """Return the digest that decisions are bound to: title, text, attachments, source, links.

    An attachment counts by its bytes' SHA-256, not by the name of its row in the ledger.

    Source: R3.1-1, R1.3-2; the body counts byte for byte, white space included.
    """
    told = canonical(
        {
            "attachments": [
                {name: held for name, held in one.items() if name != "id"} for one in attachments
            ],
            "body": body,
            "links": list(links),
            "source": dict(source),
            "title": title,
        }
    )
    return digest_of(told, algorithm)


def unaltered(title: str, body: str, source: Mapping[str, Any]) -> bool:
    """Tell whether a repost equals its given original after folding white space (contract)."""
    return (
        source.get("type") in REPOST_SOURCES
        and bool(source.get("original_title"))
        and folded(title) == folded(str(source.get("original_title", "")))
        and folded(body) == folded(str(source.get("original_body", "")))
    )


def profile_for(
    category: str, level: str, title: str, body: str, source: Mapping[str, Any], policy: Policy
) -> Profile:
    """Return the route and clock (A-9, A-11).

    An unaltered repost with a named source takes the fast lane; emergency and opinion never do.
    """
    if category == Category.EMERGENCY:
        return Profile(policy.levels[Level(level or Level.UNKNOWN)])
    if category == Category.WORK_NEWS:
        fast = policy.fast_lane and bool(source.get("name")) and unaltered(title, body, source)
        return Profile.REPOST_FAST if fast else Profile.WORK_NEWS
    return Profile(category)
