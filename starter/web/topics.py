"""Topics (专题, R3.2-7), and what stands around an item: open, act, read."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path
from sqlmodel import Session

from review.acts import topics
from review.matter_requests import NewTopic, TopicAct
from review.records.people import Person
from starter.reviews import Reviews
from starter.web.bodies import body_of
from starter.web.dependencies import (
    ID,
    AfterQuery,
    CallerDep,
    KeyDep,
    LimitQuery,
    ReviewsDep,
)
from starter.web.openapi import READS, WRITES, refusals, takes
from starter.web.problems import Answer

router = APIRouter(prefix="/api/v1/topics", tags=["management"])

Json = dict[str, Any]
TopicId = Annotated[str, Path(description="Its id.", pattern=f"^{ID.pattern}$")]
BODIES = (NewTopic, TopicAct)


async def opened(
    reviews: Reviews, person: Person, request: NewTopic, key: str | None, way_in: str
) -> Json:
    def act(session: Session, who: Person, now: datetime) -> Json:
        return topics.open_topic(session, who, request, way_in=way_in, now=now)

    return await reviews.administer(person, "open_topic", request, key=key, way_in=way_in, act=act)


async def acted(
    reviews: Reviews, person: Person, topic_id: str, request: TopicAct, key: str | None, way_in: str
) -> Json:
    def act(session: Session, who: Person, now: datetime) -> Json:
        return topics.act(session, who, topic_id, request, way_in=way_in, now=now)

    return await reviews.administer(
        person, f"topic:{topic_id}", request, key=key, way_in=way_in, act=act
    )


async def listed(
    reviews: Reviews, person: Person, filters: Json, limit: int, after: str | None
) -> Json:
    def read(session: Session, who: Person, _now: datetime) -> Json:
        return topics.listed(session, who, filters, limit, after)

    return await reviews.administration(person, read)


async def shown(reviews: Reviews, person: Person, topic_id: str) -> Json:
    def read(session: Session, who: Person, now: datetime) -> Json:
        return topics.shown(session, who, topic_id, now)

    return await reviews.administration(person, read)


@router.get("", responses=refusals(*READS))
async def list_topics(
    caller: CallerDep,
    reviews: ReviewsDep,
    state: Literal["open", "closed"] | None = None,
    limit: LimitQuery = 50,
    after: AfterQuery = None,
) -> Answer:
    """List the topics (专题), newest first."""
    return Answer(await listed(reviews, caller.person, {"state": state}, limit, after))


@router.post("", status_code=201, openapi_extra=takes(NewTopic), responses=refusals(*WRITES))
async def open_topic(
    caller: CallerDep,
    request: Annotated[NewTopic, Depends(body_of(NewTopic))],
    reviews: ReviewsDep,
    key: KeyDep,
) -> Answer:
    """Open a topic as the centre; each item in it still goes through its own review."""
    return Answer(await opened(reviews, caller.person, request, key, caller.way_in), 201)


@router.get("/{matter_id}", responses=refusals(*READS))
async def show_topic(caller: CallerDep, matter_id: TopicId, reviews: ReviewsDep) -> Answer:
    """Show one topic with those of its items that the caller may see, and where they stand."""
    return Answer(await shown(reviews, caller.person, matter_id))


@router.post("/{matter_id}/acts", openapi_extra=takes(TopicAct), responses=refusals(*WRITES))
async def act_on_topic(
    caller: CallerDep,
    matter_id: TopicId,
    request: Annotated[TopicAct, Depends(body_of(TopicAct))],
    reviews: ReviewsDep,
    key: KeyDep,
) -> Answer:
    """Add an item or take one out; close a topic or open it again."""
    return Answer(await acted(reviews, caller.person, matter_id, request, key, caller.way_in))
