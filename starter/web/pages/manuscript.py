"""A text while somebody writes it: what a form sent, what the checks say of it, what they mend.

Named as in the interface's requests, so that checks, drafts and submissions take the same thing.
Nothing here judges; what may be submitted is for `Reviews`.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, NoReturn

from fastapi import Request
from markupsafe import Markup
from pydantic import ValidationError
from python_multipart.multipart import parse_options_header

from review.ids import new_id
from review.rendering import body_html
from review.requests import AttachmentUse, Draft
from review.rules.errors import MalformedError, RuleError, TooLargeError
from review.rules.values import Category, Kind, Level
from starter.reviews import Reviews
from starter.web.attachments import FIELD, Form, Gauge, read_form
from starter.web.bodies import YEARS, malformed
from starter.web.dependencies import BUREAU_ZONE, require_same_site
from starter.web.pages.visitors import (
    FORM_LIMIT,
    WAY_IN,
    Sent,
    Visitor,
    as_sent,
    language_of_page,
    prove,
)
from starter.web.pages.words import N_
from starter.web.problems import findings_in

Json = dict[str, Any]

SUB_TYPES = {  # by annex (RA1-1, RA2-1)
    "annex1": (N_("政务信息"), N_("事项通知"), N_("新闻宣传稿件"), N_("其他")),
    "annex2": (
        N_("重要政策"), N_("政策解读"), N_("民生重大事项"), N_("突发事件"), N_("舆情应对"),
    ),
}  # fmt: skip
OWN = ("own", "service", "topic")
REPOSTED = ("repost", "unified_release")
PLAIN = (  # fields that are one line or one text
    "title", "body", "category", "kind", "level", "urgency", "authority_reference", "contact",
    "audience", "how_to", "background", "other_outlets", "incident", "topic",
)  # fmt: skip
MOMENTS = ("event_time", "found_time", "publish_at", "valid_until")
SOURCE = ("name", "url", "original_title", "original_on", "original_body")
TICKS = ("secrecy_pledge", "proofread", "ai_generated")
USES = ("form", "caption", "rights", "map_number", "transcript", "background")  # of an attachment
BESIDE = ("name", "media_type")  # of an attachment: shown, not sent on
MASKED = ("ID_NUMBER", "BANK_CARD", "MOBILE")
CORRECTED = ("advice.TYPO", "advice.FIXED_EXPRESSION", "advice.LEADER_TITLE")
AROUND = 14  # characters shown on either side of a place
MOST_PARTS = 1_000


# --- what a form sent -----------------------------------------------------------------------------


def typed_of(sent: Sent) -> Json:
    """Return what was typed, every field of it, whether it can be submitted or not."""
    category = sent.one("category") or "work_news"
    annex = "annex1" if category == "work_news" else "annex2"
    reposted = sent.one("reposted")
    type_ = sent.one("source_repost" if reposted == "yes" else "source_own")
    return {
        **{name: sent.one(name) for name in PLAIN},
        **{name: sent.one(name) for name in MOMENTS},
        **{name: bool(sent.one(name)) for name in TICKS},
        "category": category,
        "sub_type": sent.one(f"sub_type_{annex}"),
        "channels": list(sent.all("channels")),
        "countersign_units": list(sent.all("countersign_units")),
        "reposted": reposted,
        "source": {"type": type_} | {name: sent.one(f"source_{name}") for name in SOURCE},
        "attachments": [
            {"id": id_} | {name: sent.one(f"{name}.{id_}") for name in (*USES, *BESIDE)}
            for id_ in dict.fromkeys(sent.all("attachment"))
        ],
    }


def empty() -> Json:
    """Return a text nobody has begun."""
    return typed_of(Sent({}))


def from_item(item: Json) -> Json:
    """Return the current text of an item as its form shows it."""
    source = dict(item["source"])
    return empty() | {
        "title": item["title"],
        "body": item["body"],
        "category": item["category"],
        "reposted": "yes" if source["type"] in REPOSTED else "no",
        "source": {"type": source["type"]} | {name: source.get(name, "") for name in SOURCE},
        "attachments": [
            {"id": one["id"]} | {name: one.get(name, "") for name in (*USES, *BESIDE)}
            for one in item["attachments"]
        ],
    }


def moment_of(value: str) -> datetime | None:
    """Return a moment of a form, which is the bureau's; None for what is none."""
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        return None
    if at.year not in YEARS:
        return None
    return at if at.tzinfo else at.replace(tzinfo=BUREAU_ZONE)


def source_of(typed: Json) -> Json | None:
    """Return where a text comes from; None while nobody has said whether it is a repost (RA1-7)."""
    source = typed["source"]
    if typed["reposted"] == "yes":
        type_ = source["type"] if source["type"] in REPOSTED else REPOSTED[0]
        return {"type": type_} | {name: source[name] for name in SOURCE}
    if typed["reposted"] == "no":
        return {"type": source["type"] if source["type"] in OWN else OWN[0]}
    return None


def uses_of(typed: Json) -> list[Json]:
    """Return the attachments as a request names them."""
    return [
        {"id": one["id"]} | {name: one[name] for name in USES if one.get(name)}
        for one in typed["attachments"]
    ]


def known_of(typed: Json) -> Json:
    """Return what of a text can be checked and planned: what is typed and has its shape."""
    found: Json = {name: typed[name] for name in PLAIN if typed[name]}
    found |= {"title": typed["title"], "body": typed["body"], "sub_type": typed["sub_type"]}
    found |= {name: at for name in MOMENTS if (at := moment_of(typed[name]))}
    found |= {"source": source_of(typed) or {}, "ai_generated": typed["ai_generated"]}
    for name in ("category", "kind", "level"):
        if found.get(name) not in _VALUES[name]:
            found.pop(name, None)
    found["attachments"] = [dict(one) for one in typed["attachments"]]
    for name in ("channels", "countersign_units"):
        found[name] = list(typed[name])
    return found


_VALUES = {
    name: frozenset(map(str, words))
    for name, words in (("category", Category), ("kind", Kind), ("level", Level))
}


def draft_of(typed: Json) -> Draft:
    """Return the submission that a form asks for.

    Raises:
        MalformedError: It names every field that lacks something.
    """
    fields: Json = {name: typed[name] for name in PLAIN if typed[name]}
    fields |= {name: typed[name] for name in ("sub_type", "channels", "countersign_units")}
    fields |= {"title": typed["title"], "body": typed["body"], "attachments": uses_of(typed)}
    fields |= {"ai_generated": typed["ai_generated"], "secrecy_pledge": True, "proofread": True}
    errors: list[Json] = []
    if fields["category"] != "emergency":
        fields.pop("level", None)
    source = source_of(typed)
    if source is None:
        errors.append(_error("reposted", "missing"))
    fields["source"] = source or {"type": "own"}
    for name in MOMENTS:
        if typed[name]:
            fields[name] = moment_of(typed[name])
            if fields[name] is None:
                errors.append(_error(name, "day_or_moment"))
    errors += [
        _error(name, "declaration_needed")
        for name in ("secrecy_pledge", "proofread")
        if not typed[name]
    ]
    draft = None
    try:
        draft = Draft.model_validate(fields)
    except ValidationError as error:
        errors += error.errors(include_url=False, include_input=False)  # type: ignore[arg-type]
    if errors or draft is None:
        raise MalformedError(pydantic_errors=_once(errors))
    return draft


def _error(name: str, kind: str) -> Json:
    return {"type": kind, "loc": (name,), "ctx": {}}


def _once(errors: Iterable[Json]) -> list[Json]:
    """Return the first error of each field, by its outermost name."""
    found: dict[str, Json] = {}
    for error in errors:
        found.setdefault(str(error["loc"][0]), error | {"loc": error["loc"][:1]})
    return list(found.values())


# --- files ----------------------------------------------------------------------------------------


@dataclass
class Whole(Form):
    """A form with everything that was typed and one file, of which nothing reaches the disk."""

    fields: dict[str, list[str]] = field(default_factory=dict)
    _size: int = 0
    _texts: int = 0
    _field: str | None = None  # None while the file itself arrives
    _text: bytearray = field(default_factory=bytearray, repr=False)

    def on_part_begin(self) -> None:
        self._disposition = b""
        self._field = None
        self._text.clear()

    def on_headers_finished(self) -> None:
        kind, options = parse_options_header(self._disposition.decode("latin-1"))
        if kind == b"form-data" and options.get(b"name") == FIELD.encode():
            self.parts += 1
            if self.parts > 1:
                malformed(FIELD, "one_file")
            super().on_headers_finished()
            return
        self._texts += 1
        if kind != b"form-data" or b"filename" in options or self._texts > MOST_PARTS:
            malformed(FIELD, "one_file")
        self._field = _decoded(options.get(b"name", b""))

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._field is None:
            super().on_part_data(data, start, end)
            return
        self._size += end - start
        if self._size > FORM_LIMIT:
            raise TooLargeError(limit=FORM_LIMIT)
        self._text += data[start:end]

    def on_part_end(self) -> None:
        if self._field is not None:
            self.fields.setdefault(self._field, []).append(_decoded(bytes(self._text)))


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        malformed("form", "not_utf8")


async def received(request: Request, visitor: Visitor, reviews: Reviews) -> tuple[Sent, Form]:
    """Return a writing form with its file, proved to be ours.

    Raises:
        NotAllowedError: Somebody who writes no texts, or another site's form.
    """
    reviews.may_attach(visitor.person)
    require_same_site(request)
    form = Whole()
    await read_form(request, form, FORM_LIMIT)
    sent = as_sent(form.fields)
    prove(request, visitor, sent)
    return sent, form


async def with_file(
    request: Request, visitor: Visitor, reviews: Reviews, barred: RuleError | None = None
) -> tuple[Sent, Json]:
    """Take the file of a writing form; return what was sent and the text with the file in it.

    Args:
        barred: Why nothing may be taken; what was typed goes back with it.

    Raises:
        Refused: The file was, with all that was typed.
    """
    gauge: Gauge = request.app.state.uploads
    with gauge:
        sent, form = await received(request, visitor, reviews)
        typed = typed_of(sent)
        try:
            if barred is not None:
                raise barred
            if not form.name:
                malformed(FIELD, "no_file")
            taken = await reviews.attach(
                visitor.person, form.name, bytes(form.content), key=new_id(), way_in=WAY_IN,
                words=True,
            )  # fmt: skip
        except RuleError as error:
            refuse(sent, typed, error)
    kind = str(taken["media_type"]).partition("/")[0]
    use = {"form": kind if kind in ("image", "audio", "video") else "document"}
    one = {name: "" for name in USES} | use
    one |= {"id": taken["id"], "name": taken["name"], "media_type": taken["media_type"]}
    typed["attachments"].append(one)
    if sent.one("do") == "document":
        _written_over(typed, str(taken["words"]))
    return sent, typed


def _written_over(typed: Json, words: str) -> None:
    """Put a document's paragraphs into the text; its first line is the title if there is none."""
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    if lines and not typed["title"] and 5 <= len(lines[0]) <= 64:
        typed["title"] = lines.pop(0)
    paragraphs = "\n\n".join(lines)
    typed["body"] = f"{typed['body'].rstrip()}\n\n{paragraphs}".strip()


class Refused(Exception):
    """A form that was refused, with all that was typed."""

    def __init__(self, sent: Sent, typed: Json, error: RuleError) -> None:
        super().__init__(error.code)
        self.sent = sent
        self.typed = typed
        self.error = error


def refuse(sent: Sent, typed: Json, error: RuleError) -> NoReturn:
    raise Refused(sent, typed, error) from None


# --- what the checks say --------------------------------------------------------------------------


class Place(NamedTuple):
    """A finding as a page shows it: words before, at and after its place, and what mends it."""

    finding: Json
    before: str
    at: str
    after: str
    mended: str | None


async def looked_at(
    request: Request, visitor: Visitor, reviews: Reviews, fields: Json, *, own: str = ""
) -> Json:
    """Return what a page shows beside a text: preview, findings, the text with marks.

    Args:
        fields: Named as in a request, as far as they are known.
        own: The number of the item that the text belongs to; it is no repeat of itself.
    """
    language = language_of_page(request)
    answer = await reviews.check(visitor.person, fields)
    answer["findings"] = [
        one
        for one in answer["findings"]
        if not (own and one["rule"] == "DUPLICATE" and one["suggest"] == own)
    ]
    codes = {one["id"]: one["advice_code"] for one in answer["findings"]}
    found = findings_in(answer, language)["findings"]
    texts = dict(_texts(fields))
    places = [_place(one, texts.get(one["field"], ""), codes[one["id"]]) for one in found]
    preview = await asyncio.to_thread(body_html, str(fields.get("body") or ""))
    return {
        "places": places,
        "stops": any(one["severity"] == "stop" for one in found),
        "marked": {name: marked(texts.get(name, ""), found, name) for name in ("title", "body")},
        "preview": Markup(preview),  # nosec B704
        "limits": await reviews.limits_of_text(visitor.person, fields),
    }


def _texts(fields: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """Yield every text with the name that findings call it by."""
    for name, value in fields.items():
        if isinstance(value, str):
            yield name, value
        elif name == "attachments":
            for place, one in enumerate(value):
                yield from ((f"{name}.{place}.{key}", str(held)) for key, held in one.items())
        elif isinstance(value, Mapping):
            yield from ((f"{name}.{key}", str(held)) for key, held in value.items())


def _place(finding: Json, text: str, code: str) -> Place:
    start, end = finding["start"], finding["end"]
    if not start < end <= len(text):
        return Place(finding, "", "", "", None)
    return Place(
        finding,
        text[max(0, start - AROUND) : start],
        text[start:end],
        text[end : end + AROUND],
        mended_by(finding, code),
    )


def mended_by(finding: Json, code: str) -> str | None:
    """Return what may stand at a finding's place instead; None where a person must find words."""
    if finding["rule"] in MASKED:
        return str(finding["quote"]) if "*" in finding["quote"] else None
    return str(finding["suggest"]) or None if code in CORRECTED else None


def marked(text: str, findings: Sequence[Json], name: str) -> list[tuple[str, str]]:
    """Return a field's text in parts: a severity, or nothing, and the words."""
    parts: list[tuple[str, str]] = []
    last = 0
    here = [one for one in findings if one["field"] == name and one["start"] < one["end"]]
    for one in sorted(here, key=lambda one: (one["start"], one["end"])):
        start, end = one["start"], one["end"]
        if start < last or end > len(text):
            continue
        parts += [("", text[last:start]), (one["severity"], text[start:end])]
        last = end
    return [part for part in (*parts, ("", text[last:])) if part[1]]


def mend(typed: Json, places: Sequence[Place], id_: str) -> bool:
    """Put right what one finding is about; False when the text is another by now."""
    place = next((one for one in places if one.finding["id"] == id_), None)
    if place is None or place.mended is None:
        return False
    start, end = place.finding["start"], place.finding["end"]
    holder: Any = typed
    *path, name = str(place.finding["field"]).split(".")
    for part in path:
        holder = holder[int(part)] if isinstance(holder, list) else holder[part]
    text = holder[name]
    holder[name] = text[:start] + place.mended + text[end:]
    return True


def without(typed: Json, id_: str) -> None:
    """Take an attachment off a text."""
    typed["attachments"] = [one for one in typed["attachments"] if one["id"] != id_]


def attachments_of(typed: Json) -> tuple[AttachmentUse, ...]:
    """Return the attachments as a version takes them."""
    try:
        return tuple(AttachmentUse.model_validate(one) for one in uses_of(typed))
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        raise MalformedError(pydantic_errors=found) from None
