"""What a text is screened for before it is stored, reviewed and published (requirements 7).

`screen` needs no lists and finds what may not even be stored; a `Screener` is built from the lists
in force and finds everything.
"""

from review.rules.screening.figures import figures_of
from review.rules.screening.findings import GRAVEST_FIRST, Finding, Severity
from review.rules.screening.likeness import similar, sketch
from review.rules.screening.links import addresses_in
from review.rules.screening.lists import Lists, Sources, Words
from review.rules.screening.numbers import is_card_number, is_identity_number
from review.rules.screening.screener import Screener
from review.rules.screening.stops import screen
from review.rules.screening.texts import Other, Text, is_published, texts_of

__all__ = [
    "GRAVEST_FIRST", "Finding", "Lists", "Other", "Screener", "Severity", "Sources", "Text",
    "Words", "addresses_in", "figures_of", "is_card_number", "is_identity_number", "is_published",
    "screen", "similar", "sketch", "texts_of",
]  # fmt: skip
