"""By which ways I am told, and who is on duty (docs/notices.md)."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request
from pydantic import Field, StringConstraints
from sqlmodel import Session

from review import requests
from review.acts import duty, ways
from review.notice_ways import LONGEST, NamedWay
from review.records.people import Person
from review.rules.notices import Sort
from starter.web.bodies import body_of
from starter.web.dependencies import ID, AccessDep, CallerDep, KeyDep, ReviewsDep
from starter.web.openapi import READS, WRITES, refusals, takes
from starter.web.people import Named
from starter.web.problems import Answer

router = APIRouter(prefix="/api/v1", tags=["notices"])

Json = dict[str, Any]
Way = Annotated[str, Field(max_length=80)]
WayId = Annotated[str, Path(description="An own way's id.", pattern=f"^{ID.pattern}$")]


class WaysRequest(requests.Request):
    """The ways for some sorts of notices; none: the inbox alone."""

    choices: dict[Sort, Annotated[tuple[Way, ...], Field(max_length=100)]]


class OwnWay(requests.Request):
    """A destination of one's own, its address as Apprise or its platform writes it."""

    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)]
    url: Annotated[str, Field(max_length=LONGEST, repr=False)]


BODIES = (WaysRequest, OwnWay)


def named_of(request: Request) -> Mapping[str, NamedWay]:
    """Return the destinations that the administrator named."""
    found: Mapping[str, NamedWay] = request.app.state.named_ways
    return found


NamedDep = Annotated[Mapping[str, NamedWay], Depends(named_of)]


@router.get("/me/notices", responses=refusals(*READS))
async def my_ways(caller: CallerDep, reviews: ReviewsDep, named: NamedDep) -> Answer:
    """Return the ways I may choose, what I chose, and how their last message went."""
    return Answer(
        await reviews.administration(
            caller.person, lambda s, who, now: ways.ways_shown(s, who, now, named)
        )
    )


@router.post("/me/notices", openapi_extra=takes(WaysRequest), responses=refusals(*WRITES))
async def choose(
    caller: CallerDep,
    request: Annotated[WaysRequest, Depends(body_of(WaysRequest))],
    reviews: ReviewsDep,
    named: NamedDep,
    key: KeyDep,
) -> Answer:
    """Choose ways for some sorts of notices; the inbox has all, whatever is chosen."""

    def act(session: Session, who: Person, now: datetime) -> Json:
        return ways.choose(session, who, now, request.choices, named, way_in=caller.way_in)

    return Answer(
        await reviews.administer(
            caller.person, "notice_ways", request, key=key, way_in=caller.way_in, act=act
        )
    )


@router.post(
    "/me/notices/ways", status_code=201, openapi_extra=takes(OwnWay), responses=refusals(*WRITES)
)
async def add(
    request: Request,
    caller: CallerDep,
    own: Annotated[OwnWay, Depends(body_of(OwnWay))],
    reviews: ReviewsDep,
    access: AccessDep,
    key: KeyDep,
) -> Answer:
    """Add a destination of my own; it gets a first message."""

    def act(session: Session, who: Person, now: datetime) -> Json:
        return ways.add_way(
            session, who, now, own.name, own.url, access.way_box,
            request.app.state.own_ways, way_in=caller.way_in,
        )  # fmt: skip

    return Answer(
        await reviews.administer(
            caller.person, "notice_way", own, key=key, way_in=caller.way_in, act=act
        ),
        201,
    )


@router.delete("/me/notices/ways/{way_id}", responses=refusals(*WRITES))
async def remove(way_id: WayId, caller: CallerDep, reviews: ReviewsDep) -> Answer:
    """Remove a destination of my own; its address is forgotten."""

    def act(session: Session, who: Person, now: datetime) -> Json:
        return ways.remove_way(session, who, way_id, now, way_in=caller.way_in)

    return Answer(
        await reviews.administer(
            caller.person, "notice_way_end", Named(id=way_id), key=None, way_in=caller.way_in,
            act=act,
        )
    )  # fmt: skip


@router.get("/notice-ways", responses=refusals(*READS))
async def named_ways(caller: CallerDep, reviews: ReviewsDep, named: NamedDep) -> Answer:
    """List the destinations that the settings name, and how their last message went."""
    found = await reviews.administration(
        caller.person, lambda s, who, now: ways.named_listed(s, who, now, named)
    )
    return Answer({"items": found, "next": None})


@router.get("/duty", responses=refusals(*READS))
async def on_duty(caller: CallerDep, reviews: ReviewsDep) -> Answer:
    """List who is on duty now and next."""
    found = await reviews.administration(caller.person, duty.shifts_listed)
    return Answer({"items": found, "next": None})
