"""Retention (A-29): what would go and from when, and a run by hand."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from sqlmodel import Session

from review import requests
from review.acts import retention
from review.records.people import Person
from starter.reviews import Reviews
from starter.web.bodies import body_of
from starter.web.dependencies import CallerDep, KeyDep, ReviewsDep
from starter.web.openapi import READS, WRITES, refusals, takes
from starter.web.problems import Answer

router = APIRouter(prefix="/api/v1/retention", tags=["administration"])

Json = dict[str, Any]


class RetentionRun(requests.Request):
    """A run has nothing to choose: it removes what was reported and is due."""


async def kept(reviews: Reviews, person: Person) -> Json:
    def read(session: Session, who: Person, now: datetime) -> Json:
        return retention.shown(session, who, now)

    return await reviews.administration(person, read)


@router.get("", responses=refusals(*READS))
async def shown(caller: CallerDep, reviews: ReviewsDep) -> Answer:
    """Show the numbers in force, the reports with what became of each line, and what only grows."""
    return Answer(await kept(reviews, caller.person))


@router.post("/runs", openapi_extra=takes(RetentionRun), responses=refusals(*WRITES))
async def run(
    caller: CallerDep,
    request: Annotated[RetentionRun, Depends(body_of(RetentionRun))],
    reviews: ReviewsDep,
    key: KeyDep,
) -> Answer:
    """Remove what was reported long enough ago and nobody touched since; report what is old now."""
    return Answer(
        await reviews.run_retention(caller.person, request, key=key, way_in=caller.way_in)
    )
