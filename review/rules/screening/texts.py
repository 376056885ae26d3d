"""What is screened: every text a person typed, and what else the rules must know about an item."""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import Field

from review.rules.values import Moment, Value

PUBLISHED = frozenset(("title", "body", "how_to", "audience"))
REPOSTS = ("repost", "unified_release")


class Other(Value):
    """Another item to compare with: its sketch against repeats, its text's figures (R5.3-2).

    Attributes:
        sketch: `sketch(body)`, kept with the version; compared only for `Text.others`.
        figures: `figures_of(body)`, kept with the version; compared only for `Text.linked`.
    """

    number: str
    title: str = ""
    sketch: str = ""
    figures: tuple[str, ...] = ()


class Text(Value):
    """A text to screen.

    Attributes:
        fields: Field name and text, for every text a person typed; `title` and `body` among them.
        source: type, name, url, original_title, original_body, as in a request.
        attachments: form, caption, map_number, media_type, transcript of each.
        others: Items of the last 90 days (DUPLICATE).
        linked: Items that this one names as related (FIGURE_MISMATCH).
        original: What a unified release must equal; empty means `source.original_body`.
        dead: Addresses in it that lead nowhere any more (R1.2-1).
        final: At the third proof or just before going live; placeholders block then.
    """

    fields: dict[str, str]
    category: str = ""
    kind: str = ""
    sub_type: str = ""
    source: dict[str, Any] = Field(default_factory=dict)
    authority_reference: str = ""
    ai_generated: bool = False
    attachments: tuple[dict[str, Any], ...] = ()
    event_time: Moment | None = None
    found_time: Moment | None = None
    audience: str = ""
    how_to: str = ""
    valid_until: Moment | None = None
    others: tuple[Other, ...] = ()
    linked: tuple[Other, ...] = ()
    original: str = ""
    dead: frozenset[str] = frozenset()
    final: bool = False


def is_published(field: str) -> bool:
    """Tell whether readers see a field; contacts, background and the like stay in the house."""
    return field in PUBLISHED or field.endswith((".caption", ".transcript", ".text"))


def texts_of(value: object, name: str = "") -> Iterable[tuple[str, str]]:
    """Yield every text inside a request's fields with its place, whatever its nesting."""
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from texts_of(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            yield from texts_of(inner, f"{name}.{index}")
