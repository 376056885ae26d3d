"""One item for those who review it: read, compare, decide, and the other acts on it."""

import asyncio
import re
from datetime import datetime
from importlib.resources import files
from typing import Annotated, Any, Literal
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Query, Request
from markupsafe import Markup
from pydantic import ValidationError
from sqlmodel import Session
from starlette.responses import Response

from review.acts import relating
from review.ids import new_id
from review.records.people import Person
from review.rendering import WECHAT, body_html
from review.requests import ActRequest, DecisionRequest
from review.rules.errors import MalformedError, NotFoundError, RuleError
from review.rules.values import Category, Level
from starter.reviews import Reviews
from starter.web.dependencies import ID, IdDep, ReviewsDep
from starter.web.pages import changes, editing, effects, sending
from starter.web.pages.banners import banner_of
from starter.web.pages.frame import go, rendered
from starter.web.pages.refusals import told
from starter.web.pages.visitors import (
    WAY_IN,
    Sent,
    SentDep,
    Visitor,
    VisitorDep,
    by_htmx,
    language_of_page,
)

router = APIRouter(prefix="/items", include_in_schema=False)

Json = dict[str, Any]
# What is shown of a text that is still under review runs nothing and loads only from here, and only
# our own pages may frame it. It stays of our origin: its pictures are for those who are signed in.
BOXED = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; frame-ancestors 'self'; "
        "sandbox allow-same-origin allow-downloads"
    ),
    "X-Frame-Options": "SAMEORIGIN",
}
PUBLISHED_FILE = re.compile(r"[0-9a-f]{64}\.[0-9a-z]{2,5}")
ACTS = {  # the acts with a form of their own, and the fields they take from it
    "comment": ("reason",),
    "transfer": ("step", "unit", "to", "reason"),
    "set_category": ("category", "level", "reason"),
    "hold": ("reason",),
    "release": (),
    "withdraw": ("reason",),
    "urge": ("step", "unit"),
    "waive": ("finding", "reason"),
    "retract": ("channels", "reason"),
    "ratify_retraction": ("reason",),
    "retry_channel": ("channel",),
    "resolve_unknown": ("channel", "published"),
    "renew_authorisation": ("reason",),
    "grade": ("grade", "reason"),
}
STATES = {  # where the words for the state of what is about an item stand
    "supervision": "order_state.", "incident": "incident_state.", "violation": "violation_state.",
    "topic": "topic_state.",
}  # fmt: skip
ABOUT_A_PART = ("waive", "retry_channel", "resolve_unknown")  # offered beside what they are about
ANYONE = re.compile(r"[A-Za-z0-9_.-]{1,120}")
UNCHANGED = ("not_found", "not_signed_in")  # no page of the item could be shown

ActName = Literal[
    "comment", "transfer", "set_category", "hold", "release", "withdraw", "urge", "waive",
    "retract", "ratify_retraction", "retry_channel", "resolve_unknown", "renew_authorisation",
    "grade",
]  # fmt: skip
StepQuery = Annotated[str | None, Query(pattern=r"^[a-z0-9_]{1,60}$")]
UnitQuery = Annotated[str | None, Query(pattern=r"^[A-Za-z0-9_.-]{0,120}$")]


@router.api_route("/{submission_id}", methods=["GET", "HEAD"])
async def item_page(
    request: Request,
    visitor: VisitorDep,
    submission_id: IdDep,
    reviews: ReviewsDep,
    step: StepQuery = None,
    unit: UnitQuery = None,
    verdict: Literal["approve", "approve_with_changes", "return", "reject"] | None = None,
    against: Literal["last", "unit", "live", "before"] | None = None,
    did: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """Show an item with everything that a decision on it needs."""
    values = await seen(request, visitor, reviews, submission_id, step, unit, against)
    return rendered(
        request, "item.html", visitor, **values,
        typed=typed_of(Sent({"verdict": [verdict or "approve"]})), opened=verdict is not None,
        proof_in_sheet=verdict is not None, refusal=None, moved=None,
        banner=await banner_of(request, reviews, visitor, did),
    )  # fmt: skip


@router.get("/{submission_id}/preview/{channel}")
async def preview(
    visitor: VisitorDep, submission_id: IdDep, channel: str, reviews: ReviewsDep
) -> Response:
    """Return exactly what a channel would get (A-3), boxed in."""
    if not ANYONE.fullmatch(channel):
        raise NotFoundError
    media_type, content = await reviews.preview(visitor.person, submission_id, channel)
    return Response(content, media_type=media_type, headers=BOXED)


@router.get("/{submission_id}/files/{name}")
async def preview_file(
    visitor: VisitorDep, submission_id: IdDep, name: str, reviews: ReviewsDep
) -> Response:
    """Return a picture or file of the current version where its previews look for it (R3.1-1)."""
    if not PUBLISHED_FILE.fullmatch(name):
        raise NotFoundError
    kept, content = await reviews.preview_file(visitor.person, submission_id, name)
    shown = "inline" if kept.media_type.startswith("image/") else "attachment"
    headers = {
        **BOXED,
        "Content-Disposition": f"{shown}; filename*=UTF-8''{quote(kept.name, safe='')}",
    }
    return Response(content, media_type=kept.media_type, headers=headers)


@router.get("/{submission_id}/site.css")
async def site_css(submission_id: IdDep) -> Response:
    """Return the published site's own style, which a preview asks for beside it."""
    style = files("activities").joinpath("templates", "site", "site.css")
    content = await asyncio.to_thread(style.read_bytes)
    headers = {"Cross-Origin-Resource-Policy": "cross-origin"}
    return Response(content, media_type="text/css; charset=utf-8", headers=headers)


@router.post("/{submission_id}/decisions")
async def decide(
    request: Request,
    visitor: VisitorDep,
    sent: SentDep,
    submission_id: IdDep,
    reviews: ReviewsDep,
) -> Response:
    """Take a decision; a form sent twice is one decision, for its hidden id is the decision's.

    A refusal shows the form again with everything that was typed. When the text changed in the
    meantime, the change comes first.
    """
    decision_id = sent.one("decision_id")
    if not ID.fullmatch(decision_id):
        decision_id = new_id()
    try:
        taken = await reviews.decide(
            visitor.person, submission_id, decision_of(sent), decision_id=decision_id,
            way_in=WAY_IN,
        )  # fmt: skip
    except RuleError as error:
        if error.code in UNCHANGED:
            raise
        return await refused(request, visitor, reviews, submission_id, sent, error)
    did = f"{submission_id}.{taken['decision_id']}"
    return go(request, await next_address(reviews, visitor, did))


@router.get("/{submission_id}/acts/{act}")
async def act_page(
    request: Request,
    visitor: VisitorDep,
    submission_id: IdDep,
    act: ActName,
    reviews: ReviewsDep,
    step: StepQuery = None,
    unit: UnitQuery = None,
    finding: UnitQuery = None,
    channel: UnitQuery = None,
) -> Response:
    """Show the form of one act."""
    values = await act_values(request, visitor, reviews, submission_id, act, step, unit)
    about = {"finding": [finding or ""], "channel": [channel or ""], "channels": [channel or ""]}
    return rendered(
        request, "act.html", visitor, **values, typed=Sent(about), key=new_id(), refusal=None
    )


@router.post("/{submission_id}/acts/{act}")
async def do_act(
    request: Request,
    visitor: VisitorDep,
    sent: SentDep,
    submission_id: IdDep,
    act: ActName,
    reviews: ReviewsDep,
) -> Response:
    """Do one act; a form sent twice does it once."""
    key = sent.one("key")
    key = key if ID.fullmatch(key) else new_id()
    given: Json = {name: sent.one(name) for name in ACTS[act] if sent.one(name)}
    if "channels" in given:
        given["channels"] = list(sent.all("channels"))
    try:
        asked = ActRequest.model_validate({"act": act} | given)
        await reviews.act(visitor.person, submission_id, asked, key=key, way_in=WAY_IN)
    except (RuleError, ValidationError) as caught:
        error = as_refusal(caught)
        if error.code in UNCHANGED:
            raise error from None
        values = await act_values(
            request, visitor, reviews, submission_id, act, sent.one("step"), sent.one("unit")
        )
        return rendered(
            request, "_act.html" if by_htmx(request) else "act.html", visitor,
            status=error.status, **values, typed=sent, key=key,
            refusal=told(error, language_of_page(request)),
        )  # fmt: skip
    return go(request, f"/items/{submission_id}?did={submission_id}")


# --- what the page shows --------------------------------------------------------------------------


async def seen(
    request: Request,
    visitor: Visitor,
    reviews: Reviews,
    submission_id: str,
    step: str | None,
    unit: str | None,
    against: str | None = None,
) -> Json:
    """Return what both the page and its decision sheet are made of."""
    language = language_of_page(request)
    item = await reviews.submission(visitor.person, submission_id, language, ask_engine=False)
    offer = effects.offered(item, step, unit)
    versions = await reviews.versions(visitor.person, submission_id) if item["version"] > 1 else []
    bases = changes.bases(item, versions, visitor.person.id)
    base = next((b for b in bases if b[0] == against), bases[0] if bases else None)
    change = None
    if base is not None:
        change = await change_of(reviews, visitor, item, base[1])
    channels = await reviews.channels(visitor.person)
    names = {channel["id"]: channel["name"] for channel in channels}
    limited = any(one["platform"] == WECHAT and one["id"] in item["channels"] for one in channels)
    proofs = offer["unit"] if offer is not None and offer["proof"] == 3 else None
    return {
        "item": item,
        "offer": offer,
        "mine": effects.planned(item, offer) if offer else None,
        "labels": effects.labels(item, offer, language) if offer else {},
        "summaries": effects.summaries(item, offer, language) if offer else {},
        "whereabouts": effects.whereabouts(item, language),
        "body": Markup(body_html(item["body"])),  # nosec B704
        "channel_names": names,
        "limits": await reviews.limits(visitor.person, submission_id) if limited else {},
        "bases": bases,
        "base": base,
        "change": change,
        "original": changes.from_original(item),
        "acts": [
            act
            for act in ACTS
            if act in item["allowed_actions"]
            and act not in ABOUT_A_PART
            and sending.has_point(visitor, item, act)
        ],
        "edit_mode": editing.mode_of(visitor, item),
        "latest": sending.latest(item),
        "proofed": [
            one["id"] for one in channels if proofs is not None and one["operator_unit"] == proofs
        ],
        "may_waive": [
            one["id"]
            for one in item["findings"]
            if "waive" in item["allowed_actions"] and sending.waives(visitor, one)
        ],
        "decision_id": new_id(),
        "related_states": STATES,
        "related": await around(reviews, visitor, submission_id),
    }


async def around(reviews: Reviews, visitor: Visitor, submission_id: str) -> list[Json]:
    """Return what is about an item that the page may show, of what its reader may read."""

    def read(session: Session, person: Person, now: datetime) -> list[Json]:
        return relating.related(session, person, submission_id, now)

    return await reviews.administration(visitor.person, read)


async def change_of(reviews: Reviews, visitor: Visitor, item: Json, from_: int) -> Json:
    """Return how the current text differs from an earlier version."""
    diff = await reviews.diff(visitor.person, item["id"], from_, item["version"])
    title = diff["title"]
    return {
        "from": from_,
        "to": item["version"],
        "title": changes.marks(title["from"], title["to"]) if title["changed"] else None,
        "lines": changes.lines_of(diff),
        "source": diff["source_changed"],
        "attachments": diff["attachments_changed"],
        "figures": diff["figures_changed"],
    }


async def refused(
    request: Request,
    visitor: Visitor,
    reviews: Reviews,
    submission_id: str,
    sent: Sent,
    error: RuleError,
) -> Response:
    """Show the sheet again: what is so, what to do, and all that was typed."""
    step, unit = sent.one("step"), sent.one("unit")
    values = await seen(request, visitor, reviews, submission_id, step, unit)
    moved, current = None, values["item"]["version"]
    number = sent.one("version")
    known = number.isascii() and number.isdecimal() and len(number) < len("10000")
    if known and 0 < int(number) < current:
        moved = await change_of(reviews, visitor, values["item"], int(number))
    return rendered(
        request, "_sheet.html" if by_htmx(request) else "item.html", visitor,
        status=error.status, **values, typed=typed_of(sent), opened=True, moved=moved,
        proof_in_sheet=not by_htmx(request) or sent.one("proof_here") == "yes",
        refusal=told(error, language_of_page(request)), banner=None,
    )  # fmt: skip


async def act_values(
    request: Request,
    visitor: Visitor,
    reviews: Reviews,
    submission_id: str,
    act: str,
    step: str | None,
    unit: str | None,
) -> Json:
    """Return what an act's form is made of."""
    language = language_of_page(request)
    item = await reviews.submission(visitor.person, submission_id, language, ask_engine=False)
    offer = effects.offered(item, step, unit) or effects.offered(item, None, None)
    others = effects.planned(item, offer)["people"] if offer else []
    channels = await reviews.channels(visitor.person)
    return {
        "item": item,
        "channel_names": {one["id"]: one["name"] for one in channels},
        "forgets": {one["id"]: sending.forgets(one["platform"]) for one in channels},
        "latest": sending.latest(item),
        "act": act,
        "offer": offer,
        "others": [one for one in others if one["id"] != visitor.person.id],
        "categories": list(Category),
        "levels": list(Level),
    }


async def next_address(reviews: Reviews, visitor: Visitor, did: str) -> str:
    """Return where to go after a decision: to the next item that waits, else to the inbox."""
    waiting = await reviews.inbox(visitor.person, 1)
    if not waiting["items"]:
        return f"/?{urlencode({'did': did})}"
    row = waiting["items"][0]
    query = {"step": row["step"], "unit": row["step_unit"] or "", "did": did}
    return f"/items/{row['id']}?{urlencode(query)}"


# --- what a form sent -----------------------------------------------------------------------------


def typed_of(sent: Sent) -> Json:
    """Return what was typed, to be shown again."""
    return {
        "verdict": sent.one("verdict"),
        "opinion": sent.one("opinion"),
        "reason_code": sent.one("reason_code"),
        "return_to": sent.one("return_to", "author"),
        "checklist": set(sent.all("checklist")),
        "findings_seen": set(sent.all("findings_seen")),
    }


def decision_of(sent: Sent) -> DecisionRequest:
    """Return the decision that a form asks for.

    Raises:
        MalformedError: A field is not of the right shape.
    """
    verdict = sent.one("verdict")
    fields: dict[str, Any] = {
        "step": sent.one("step"),
        "verdict": verdict,
        "digest": sent.one("digest"),
        "opinion": sent.one("opinion").strip(),
        "unit": sent.one("unit") or None,
        "round": sent.one("round") or None,
        "findings_seen": list(sent.all("findings_seen")),
    }
    if verdict == "return":
        fields |= {name: sent.one(name) for name in ("reason_code", "return_to")}
    else:
        fields["checklist"] = dict.fromkeys(sent.all("checklist"), True)
    try:
        return DecisionRequest.model_validate(fields)
    except ValidationError as error:
        raise as_refusal(error) from None


def as_refusal(error: RuleError | ValidationError) -> RuleError:
    """Return a shape that is wrong as the refusal it is."""
    if isinstance(error, RuleError):
        return error
    return MalformedError(pydantic_errors=error.errors(include_url=False, include_input=False))
