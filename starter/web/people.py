"""Accounts and roles, for the security administrator (requirements 1.8)."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path
from pydantic import AwareDatetime, Field
from sqlmodel import Session

from review import requests
from review.acts import roster
from review.records.people import Person
from review.rules.values import Role
from starter.web.bodies import body_of
from starter.web.dependencies import ID, CallerDep, KeyDep, ReviewsDep
from starter.web.openapi import READS, WRITES, refusals, takes
from starter.web.problems import Answer

router = APIRouter(prefix="/api/v1", tags=["people"])

PersonId = Annotated[str, Path(description="A person's id.", pattern=f"^{ID.pattern}$")]
GrantId = Annotated[str, Path(description="A grant's id.", pattern=f"^{ID.pattern}$")]


class Named(requests.Request):
    """Whom or what an act without a body is about; the key of a repeat covers it."""

    id: str


class GrantRequest(requests.Request):
    """A role to be given from now on."""

    role: Role
    unit: Annotated[str, Field(max_length=64)] = ""  # for a unit's role its unit
    until: AwareDatetime | None = None


@router.get("/people", responses=refusals(*READS))
async def people(caller: CallerDep, reviews: ReviewsDep) -> Answer:
    """List everybody with their roles; for administrators and auditors."""
    found = await reviews.administration(caller.person, roster.people_listed)
    return Answer({"items": found, "next": None})


@router.post("/people/{person_id}/disable", responses=refusals(*WRITES))
async def disable(
    person_id: PersonId, caller: CallerDep, reviews: ReviewsDep, key: KeyDep
) -> Answer:
    """Close an account: its sessions and tokens end at once, its open steps are asked anew."""

    def act(session: Session, who: Person, now: datetime) -> dict[str, Any]:
        return roster.close_account(session, person_id, now, by=who, way_in=caller.way_in)

    named = Named(id=person_id)
    return Answer(
        await reviews.administer(
            caller.person, "disable", named, key=key, way_in=caller.way_in, act=act
        )
    )


@router.post("/people/{person_id}/enable", responses=refusals(*WRITES))
async def enable(
    person_id: PersonId, caller: CallerDep, reviews: ReviewsDep, key: KeyDep
) -> Answer:
    """Open an account again; what was ended stays ended."""

    def act(session: Session, who: Person, now: datetime) -> dict[str, Any]:
        return roster.open_account(session, person_id, now, by=who, way_in=caller.way_in)

    named = Named(id=person_id)
    return Answer(
        await reviews.administer(
            caller.person, "enable", named, key=key, way_in=caller.way_in, act=act
        )
    )


@router.post(
    "/people/{person_id}/grants", status_code=201, openapi_extra=takes(GrantRequest),
    responses=refusals(*WRITES),
)  # fmt: skip
async def give(
    person_id: PersonId,
    caller: CallerDep,
    request: Annotated[GrantRequest, Depends(body_of(GrantRequest))],
    reviews: ReviewsDep,
    key: KeyDep,
) -> Answer:
    """Give a role; open steps that wait for it are asked anew."""

    def act(session: Session, who: Person, now: datetime) -> dict[str, Any]:
        return roster.give_role(
            session, person_id, request.role, request.unit, now, until=request.until, by=who
        )

    return Answer(
        await reviews.administer(
            caller.person, f"grant:{person_id}", request, key=key, way_in=caller.way_in, act=act
        ),
        201,
    )


@router.delete("/grants/{grant_id}", responses=refusals(*WRITES))
async def take(grant_id: GrantId, caller: CallerDep, reviews: ReviewsDep) -> Answer:
    """End a role now."""

    def act(session: Session, who: Person, now: datetime) -> dict[str, Any]:
        return roster.take_role(session, grant_id, now, by=who)

    named = Named(id=grant_id)
    return Answer(
        await reviews.administer(
            caller.person, "revoke", named, key=None, way_in=caller.way_in, act=act
        )
    )


@router.delete("/people/{person_id}/second-factor", responses=refusals(*WRITES))
async def remove_second_factor(
    person_id: PersonId, caller: CallerDep, reviews: ReviewsDep
) -> Answer:
    """Take a second factor away, for a lost telephone; ends the person's sessions."""

    def act(session: Session, who: Person, now: datetime) -> dict[str, Any]:
        return roster.remove_second_factor(session, person_id, now, by=who, way_in=caller.way_in)

    named = Named(id=person_id)
    return Answer(
        await reviews.administer(
            caller.person, "remove_second_factor", named, key=None, way_in=caller.way_in, act=act
        )
    )
