"""For those who run and watch the place: lists in force, the trace, and what waits to go out."""

import asyncio
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from sqlmodel import Session
from starlette.responses import Response

from review.acts import upkeep
from review.records.people import Person
from starter.web.bodies import malformed
from starter.web.dependencies import ReviewsDep, moment_of
from starter.web.pages.frame import rendered
from starter.web.pages.tabs import tabs_of
from starter.web.pages.visitors import SentDep, VisitorDep

router = APIRouter(prefix="/admin", include_in_schema=False)

Json = dict[str, Any]
A_PAGE = 100
OLD_NUDGE, OLD_MAIL = 60, 15 * 60  # seconds; what waits longer needs somebody
FILTERS = ("person", "event", "item", "from", "to")


@router.api_route("/lists", methods=["GET", "HEAD"])
async def lists(request: Request, visitor: VisitorDep, reviews: ReviewsDep) -> Response:
    """Show which lists, calendar and channels are in force, and those before them."""

    def read(session: Session, _person: Person, _now: datetime) -> Json:
        return upkeep.in_force(session)

    found, channels = await asyncio.gather(
        reviews.administration(visitor.person, read), reviews.channels(visitor.person)
    )
    return rendered(
        request, "lists.html", visitor, tabs=tabs_of(visitor), found=found, channels=channels
    )


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
        },
    )  # fmt: skip
