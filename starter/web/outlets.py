"""The channel register (账号台账): what is open, proposals, and their confirmation (R2.2)."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path
from sqlmodel import Session

from review.acts import channel_register
from review.channel_requests import ChannelProposal, ChannelVerdict
from review.records.people import Person
from starter.reviews import Reviews
from starter.web.bodies import body_of
from starter.web.dependencies import ID, CallerDep, KeyDep, ReviewsDep, listing
from starter.web.openapi import READS, WRITES, refusals, takes
from starter.web.problems import Answer

Json = dict[str, Any]
ChangeId = Annotated[str, Path(description="A proposal's id.", pattern=f"^{ID.pattern}$")]

router = APIRouter(prefix="/api/v1/channels", tags=["management"])
BODIES = (ChannelProposal, ChannelVerdict)


async def registered(reviews: Reviews, person: Person) -> list[Json]:
    def read(session: Session, _who: Person, now: datetime) -> list[Json]:
        return channel_register.register(session, now)

    return await reviews.administration(person, read)


async def waiting(reviews: Reviews, person: Person) -> list[Json]:
    def read(session: Session, _who: Person, _now: datetime) -> list[Json]:
        return channel_register.changes(session)

    return await reviews.administration(person, read)


async def proposed(
    reviews: Reviews, person: Person, request: ChannelProposal, key: str | None, way_in: str
) -> Json:
    def act(session: Session, who: Person, now: datetime) -> Json:
        return channel_register.propose(session, who, request, now, way_in=way_in)

    return await reviews.administer(
        person, "channel_propose", request, key=key, way_in=way_in, act=act
    )


async def decided(
    reviews: Reviews,
    person: Person,
    change: str,
    verdict: ChannelVerdict,
    key: str | None,
    way_in: str,
) -> Json:
    def act(session: Session, who: Person, now: datetime) -> Json:
        return channel_register.decide(session, who, change, verdict, now, way_in=way_in)

    return await reviews.administer(
        person, f"channel_change:{change}", verdict, key=key, way_in=way_in, act=act
    )


@router.get("", responses=refusals(*READS))
async def channels(caller: CallerDep, reviews: ReviewsDep) -> Answer:
    """List the bureau's channels: entry in the register, operator, days without a post (R2.2)."""
    return Answer(listing(await registered(reviews, caller.person)))


@router.get("/changes", responses=refusals(*READS))
async def changes(caller: CallerDep, reviews: ReviewsDep) -> Answer:
    """List the proposals about channels that wait for a second person."""
    return Answer(listing(await waiting(reviews, caller.person)))


@router.post(
    "/changes", status_code=201, openapi_extra=takes(ChannelProposal), responses=refusals(*WRITES)
)
async def propose(
    caller: CallerDep,
    request: Annotated[ChannelProposal, Depends(body_of(ChannelProposal))],
    reviews: ReviewsDep,
    key: KeyDep,
) -> Answer:
    """Propose to open, change, suspend, resume or close a channel."""
    return Answer(await proposed(reviews, caller.person, request, key, caller.way_in), 201)


@router.post(
    "/changes/{change_id}", openapi_extra=takes(ChannelVerdict), responses=refusals(*WRITES)
)
async def decide(
    caller: CallerDep,
    change_id: ChangeId,
    request: Annotated[ChannelVerdict, Depends(body_of(ChannelVerdict))],
    reviews: ReviewsDep,
    key: KeyDep,
) -> Answer:
    """Confirm or reject a proposal; another person than its proposer does it."""
    return Answer(await decided(reviews, caller.person, change_id, request, key, caller.way_in))
