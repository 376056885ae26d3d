"""For those who run and watch the place: lists in force, the trace, and what waits to go out."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from sqlmodel import Session
from starlette.responses import Response

from review.acts import lists as bringing
from review.acts import retention, upkeep
from review.ids import new_id
from review.lists import load_sources, load_words
from review.packs import digest_of, load_calendar
from review.records.people import Person
from review.rules.calendar import Calendar
from review.rules.errors import NotFoundError, RuleError
from review.rules.screening import Sources, Words
from starter.reviews import Reviews
from starter.web.bodies import malformed
from starter.web.dependencies import ID, ReviewsDep, moment_of
from starter.web.pages.frame import go, rendered
from starter.web.pages.refusals import told
from starter.web.pages.tabs import tabs_of
from starter.web.pages.visitors import (
    WAY_IN,
    Sent,
    SentDep,
    Visitor,
    VisitorDep,
    language_of_page,
)
from starter.web.pasted import read_pasted
from starter.web.people import Named
from starter.web.retention import RetentionRun, kept

router = APIRouter(prefix="/admin", include_in_schema=False)

Json = dict[str, Any]
A_PAGE = 100
OLD_NUDGE, OLD_MAIL = 60, 15 * 60  # seconds; what waits longer needs somebody
LOADERS: dict[str, Callable[[Path, str], Words | Sources | Calendar]] = {
    "words": load_words,
    "sources": load_sources,
    "calendar": load_calendar,
}
FILTERS = ("person", "event", "item", "from", "to")


@router.api_route("/lists", methods=["GET", "HEAD"])
async def lists(request: Request, visitor: VisitorDep, reviews: ReviewsDep) -> Response:
    """Show which lists, calendar and channels are in force, and those before them."""
    return await _lists(request, visitor, reviews, Sent({}))


@router.post("/lists/{kind}")
async def bring_in(
    request: Request, visitor: VisitorDep, sent: SentDep, kind: str, reviews: ReviewsDep
) -> Response:
    """Put a pasted list or calendar in force; a form sent twice does it once."""
    if kind not in LOADERS:
        raise NotFoundError
    key = sent.one("key")
    try:
        given = await asyncio.to_thread(
            read_pasted, sent.one("list"), LOADERS[kind], kind, language_of_page(request)
        )

        def act(session: Session, who: Person, now: datetime) -> Json:
            return dict(bringing.bring_in(session, who, given, now, way_in=WAY_IN))

        await reviews.administer(
            visitor.person, f"{kind}_import", Named(id=digest_of(given)),
            key=key if ID.fullmatch(key) else None, way_in=WAY_IN, act=act,
        )  # fmt: skip
    except RuleError as error:
        if error.status in (401, 403, 404, 503):
            raise
        return await _lists(request, visitor, reviews, sent, kind, error)
    return go(request, f"/admin/lists#{kind}")


async def _lists(
    request: Request,
    visitor: Visitor,
    reviews: Reviews,
    sent: Sent,
    kind: str = "",
    error: RuleError | None = None,
) -> Response:
    def read(session: Session, _person: Person, _now: datetime) -> Json:
        return upkeep.in_force(session)

    found, channels = await asyncio.gather(
        reviews.administration(visitor.person, read), reviews.channels(visitor.person)
    )
    return rendered(
        request, "lists.html", visitor, status=error.status if error else 200,
        tabs=tabs_of(visitor), found=found, channels=channels,
        keys={name: new_id() for name in LOADERS},
        theirs={name for name, roles in bringing.KEEPERS.items() if visitor.has(*roles)},
        typed={kind: sent.one("list")},
        refusals={kind: told(error, language_of_page(request))} if error else {},
    )  # fmt: skip


@router.api_route("/audit", methods=["GET", "HEAD"])
async def audit(
    request: Request,
    visitor: VisitorDep,
    reviews: ReviewsDep,
    after: Annotated[int | None, Query(ge=1)] = None,
) -> Response:
    """Search the trace."""
    chosen = {
        name: value for name in FILTERS if (value := request.query_params.get(name, "").strip())
    }
    if any(len(value) > 100 or not value.isprintable() for value in chosen.values()):
        malformed("person", "unprintable")
    filters = chosen | {
        "from": moment_of(chosen.get("from"), "from"),
        "to": moment_of(chosen.get("to"), "to", end=True),
    }

    def read(session: Session, person: Person, _now: datetime) -> Json:
        return {
            "found": upkeep.trace(session, person, filters, A_PAGE, after),
            "events": upkeep.events(session, person),
        }

    values = await reviews.administration(visitor.person, read)
    return rendered(
        request, "audit.html", visitor, tabs=tabs_of(visitor), **values, chosen=chosen,
        verified=None, after=after,
    )  # fmt: skip


@router.post("/audit/verify")
async def verify(
    request: Request, visitor: VisitorDep, _sent: SentDep, reviews: ReviewsDep
) -> Response:
    """Recompute the whole trace."""
    verified = await reviews.audit_verify(visitor.person)
    return rendered(
        request, "audit.html", visitor, tabs=tabs_of(visitor), verified=verified, chosen={},
        found=None, events=[], after=None,
    )  # fmt: skip


@router.api_route("/health", methods=["GET", "HEAD"])
async def health(request: Request, visitor: VisitorDep, reviews: ReviewsDep) -> Response:
    """Show whether everything that must be there is, and what waits to go out."""
    found = await reviews.upkeep(visitor.person)
    outbox, mail = found["outbox"], found["mail"]
    return rendered(
        request, "health.html", visitor, tabs=tabs_of(visitor), found=found,
        temporal=request.app.state.temporal_ui,
        late={
            "outbox": (outbox["age"] or 0) > OLD_NUDGE,
            "mail": (mail["age"] or 0) > OLD_MAIL,
            "messages": (found["messages"]["age"] or 0) > OLD_MAIL,
        },
    )  # fmt: skip


@router.api_route("/retention", methods=["GET", "HEAD"])
async def shown_retention(request: Request, visitor: VisitorDep, reviews: ReviewsDep) -> Response:
    """Show what would go, from when, and what went (A-29)."""
    found = await kept(reviews, visitor.person)
    return rendered(
        request, "retention.html", visitor, tabs=tabs_of(visitor), found=found, key=new_id(),
        may_run=visitor.has(*retention.RUNNERS),
    )  # fmt: skip


@router.post("/retention")
async def run_retention(
    request: Request, visitor: VisitorDep, sent: SentDep, reviews: ReviewsDep
) -> Response:
    """Remove what was reported and is due; a form sent twice does it once."""
    key = sent.one("key")
    await reviews.run_retention(
        visitor.person, RetentionRun(), key=key if ID.fullmatch(key) else new_id(), way_in=WAY_IN
    )
    return go(request, "/admin/retention")
