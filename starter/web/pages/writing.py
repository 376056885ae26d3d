"""A new submission: the form of annex 1 or 2, checked and kept while it is written."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from sqlmodel import Session
from starlette.responses import Response

from review.acts import relating
from review.ids import new_id
from review.records.people import Person
from review.rules.errors import RuleError
from review.rules.values import Category, Kind, Level
from starter.reviews import Reviews
from starter.web.dependencies import BUREAU_ZONE, ID, ReviewsDep
from starter.web.pages import manuscript
from starter.web.pages.frame import go, rendered
from starter.web.pages.refusals import told
from starter.web.pages.visitors import (
    WAY_IN,
    Sent,
    SentDep,
    Visitor,
    VisitorDep,
    language_of_page,
)

router = APIRouter(prefix="/write", include_in_schema=False)

Json = dict[str, Any]
URGENCIES = ("normal", "urgent", "flash")
NOT_FOR_FORMS = ("not_found", "not_signed_in", "not_allowed")  # no form could be shown again


@router.api_route("", methods=["GET", "HEAD"])
async def form(
    request: Request,
    visitor: VisitorDep,
    reviews: ReviewsDep,
    incident: Annotated[str | None, Query(max_length=120)] = None,
) -> Response:
    """Show the form, with what its writer left off at, or for a report of an incident (A-27)."""
    kept = await reviews.draft(visitor.person)
    typed = manuscript.empty() | (kept["typed"] if kept else {})
    if incident and incident.isprintable():
        typed |= await about_incident(visitor, reviews, incident, typed)
    return await page(request, visitor, reviews, typed, kept=kept)


@router.post("")
async def take(
    request: Request, visitor: VisitorDep, sent: SentDep, reviews: ReviewsDep
) -> Response:
    """Submit, check, mend or start over, as the button says that was pressed.

    A refusal shows the form again with everything that was typed.
    """
    reviews.may_submit(visitor.person)
    typed, deed = manuscript.typed_of(sent), sent.one("do")
    deed, _, about = deed.partition(":")
    if deed == "discard":
        await reviews.drop_draft(visitor.person)
        return go(request, "/write")
    if deed == "submit":
        return await submit(request, visitor, reviews, sent, typed)
    if deed == "drop":
        manuscript.without(typed, about)
    if deed == "mend":
        looked = await manuscript.looked_at(request, visitor, reviews, manuscript.known_of(typed))
        manuscript.mend(typed, looked["places"], about)
    kept = await keep(visitor, reviews, typed)
    return await page(request, visitor, reviews, typed, key=sent.one("key"), saved=kept)


async def submit(
    request: Request, visitor: Visitor, reviews: Reviews, sent: Sent, typed: Json
) -> Response:
    """Submit what was typed; sent twice it is one submission, for the hidden key is its name."""
    key = sent.one("key")
    key = key if ID.fullmatch(key) else new_id()
    try:
        draft = manuscript.draft_of(typed)
        taken = await reviews.submit(visitor.person, draft, key=key, way_in=WAY_IN)
    except RuleError as error:
        if error.code in NOT_FOR_FORMS:
            raise
        return await page(request, visitor, reviews, typed, key=key, error=error)
    await reviews.drop_draft(visitor.person)
    return go(request, f"/items/{taken['id']}?did={taken['id']}")


@router.post("/look")
async def look(
    request: Request, visitor: VisitorDep, sent: SentDep, reviews: ReviewsDep
) -> Response:
    """Check what is being typed, and keep it when nothing in it stops it."""
    reviews.may_submit(visitor.person)
    typed = manuscript.typed_of(sent)
    saved = await keep(visitor, reviews, typed)
    values = await beside(request, visitor, reviews, typed)
    return rendered(request, "_look.html", visitor, **values, typed=typed, saved=saved, live=True)


@router.post("/files")
async def add_file(request: Request, visitor: VisitorDep, reviews: ReviewsDep) -> Response:
    """Take a file into the text that is being written."""
    reviews.may_submit(visitor.person)
    try:
        sent, typed = await manuscript.with_file(request, visitor, reviews)
    except manuscript.Refused as refused:
        return await page(
            request, visitor, reviews, refused.typed, key=refused.sent.one("key"),
            error=refused.error,
        )  # fmt: skip
    saved = await keep(visitor, reviews, typed)
    return await page(request, visitor, reviews, typed, key=sent.one("key"), saved=saved)


# --- what the page shows --------------------------------------------------------------------------


async def page(
    request: Request,
    visitor: Visitor,
    reviews: Reviews,
    typed: Json,
    *,
    key: str = "",
    kept: Json | None = None,
    saved: bool | None = None,
    error: RuleError | None = None,
) -> Response:
    """Return the form with what was typed, and beside it what the checks say."""
    values = await beside(request, visitor, reviews, typed)
    return rendered(
        request, "write.html", visitor,
        status=error.status if error else 200,
        **values, **await reviews.choices(visitor.person), typed=typed,
        key=key if ID.fullmatch(key) else new_id(), kept=kept, saved=saved, live=False,
        refusal=told(error, language_of_page(request)) if error else None,
        categories=list(Category), kinds=list(Kind), levels=list(Level), urgencies=URGENCIES,
        sub_types=manuscript.SUB_TYPES, own_types=manuscript.OWN,
        repost_types=manuscript.REPOSTED,
    )  # fmt: skip


async def about_incident(visitor: Visitor, reviews: Reviews, incident: str, typed: Json) -> Json:
    """Return what a report of an incident starts with, where nothing was typed yet."""

    def read(session: Session, person: Person, _now: datetime) -> Json:
        return relating.prefilled(session, person, incident)

    found = await reviews.administration(visitor.person, read)
    if at := found.get("event_time"):
        found["event_time"] = at.astimezone(BUREAU_ZONE).strftime("%Y-%m-%dT%H:%M")
    begun = bool(typed["title"] or typed["body"])
    unchosen = {"category"} if found and not begun else set()
    return {name: value for name, value in found.items() if name in unchosen or not typed[name]}


async def beside(request: Request, visitor: Visitor, reviews: Reviews, typed: Json) -> Json:
    """Return preview, findings and the way that the text would go."""
    fields = manuscript.known_of(typed)
    begun = bool(typed["title"].strip() or typed["body"].strip())
    foreseen = await reviews.foresee(visitor.person, fields)
    looked = await manuscript.looked_at(request, visitor, reviews, fields)
    return {**looked, "foreseen": foreseen, "begun": begun, "look": "/write/look"}


async def keep(visitor: Visitor, reviews: Reviews, typed: Json) -> bool | None:
    """Keep a draft; None when there is nothing to keep yet."""
    if not (typed["title"].strip() or typed["body"].strip()):
        return None
    return await reviews.keep_draft(visitor.person, typed, manuscript.known_of(typed))
