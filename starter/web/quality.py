"""How carefully a period was reviewed, for supervisors."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from sqlmodel import Session

from review.acts import quality as acts
from review.records.people import Person
from starter.reviews import Reviews
from starter.web.dependencies import CallerDep, FromQuery, ReviewsDep, ToQuery, moment_of
from starter.web.openapi import READS, refusals
from starter.web.problems import Answer

router = APIRouter(prefix="/api/v1", tags=["management"])

Json = dict[str, Any]
SizeQuery = Annotated[
    int, Query(ge=1, le=acts.LARGEST_SAMPLE, description="How many items are drawn.")
]
SeedQuery = Annotated[
    str, Query(max_length=60, description="The same seed draws the same items of a period.")
]


async def judged(
    reviews: Reviews, person: Person, from_: str | None, to: str | None, size: int, seed: str
) -> Json:
    start, end = moment_of(from_, "from"), moment_of(to, "to", end=True)

    def read(session: Session, who: Person, now: datetime) -> Json:
        return acts.quality(session, who, start, end, size, seed, now)

    return await reviews.administration(person, read)


@router.get("/quality", responses=refusals(*READS))
async def quality(
    caller: CallerDep,
    reviews: ReviewsDep,
    from_: FromQuery = None,
    to: ToQuery = None,
    size: SizeQuery = acts.SAMPLE,
    seed: SeedQuery = "",
) -> Answer:
    """Count approvals that were faster than anybody reads, and draw items to be read once more."""
    return Answer(await judged(reviews, caller.person, from_, to, size, seed))
