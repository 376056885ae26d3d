"""How alike two texts are, without keeping the texts themselves (feature 43)."""

import hashlib
import re
from collections.abc import Iterator

from review.rules.screening.findings import Finding, missing
from review.rules.screening.folding import fold
from review.rules.screening.texts import Text

SHINGLE = 4  # characters that are compared as one
SLOTS = 64  # smallest digests kept of a text: a sketch of 512 characters
NEARLY = 0.8  # likeness from which two texts are one
FEWEST = 16  # shingles below which a text is too short to tell
_WORDS = re.compile(r"[\W_]+")


def sketch(text: str) -> str:
    """Return a compact sketch of a text: its smallest shingle digests, in hexadecimal."""
    words = _WORDS.sub("", fold(text).plain).casefold()
    shingles = {words[at : at + SHINGLE] for at in range(max(1, len(words) - SHINGLE + 1))} - {""}
    digests = sorted(hashlib.blake2b(one.encode(), digest_size=4).hexdigest() for one in shingles)
    return "".join(dict.fromkeys(digests[:SLOTS]))


def similar(one: str, other: str) -> float:
    """Return how alike two sketched texts are: the share of shingles they have in common."""
    mine, theirs = _slots(one), _slots(other)
    if not mine or not theirs:
        return 0.0
    both = sorted(mine | theirs)[: max(len(mine), len(theirs))]
    return sum(slot in mine and slot in theirs for slot in both) / len(both)


def _slots(sketched: str) -> frozenset[str]:
    return frozenset(sketched[at : at + 8] for at in range(0, len(sketched), 8))


def duplicates(text: Text) -> Iterator[Finding]:
    """Yield the items of the last 90 days that a text nearly repeats."""
    if not text.others:
        return
    mine = sketch(text.fields.get("body", ""))
    if len(mine) < 8 * FEWEST:
        return
    for other in text.others:
        if similar(mine, other.sketch) >= NEARLY:
            yield missing("DUPLICATE", "warn", "body", suggest=other.number, quote=other.title[:60])
