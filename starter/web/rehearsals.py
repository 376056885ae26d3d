"""A rule pack tried on the ledger before anybody adopts it: what it would have changed."""

from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import Field
from sqlmodel import Session

from review import requests
from review.acts import adopting
from review.acts.rehearsing import rehearse
from review.packs import load_pack
from review.records.people import Person
from review.records.tables import PolicyProposal
from review.rules.errors import NotAllowedError, NotFoundError
from review.rules.policy import Policy
from starter.reviews import Reviews
from starter.web.bodies import body_of
from starter.web.dependencies import CallerDep, ReviewsDep
from starter.web.openapi import WRITES, refusals, takes
from starter.web.pasted import LARGEST, read_pasted
from starter.web.problems import Answer, language_for

router = APIRouter(prefix="/api/v1/policy", tags=["administration"])

Json = dict[str, Any]
QUARTER, LONGEST = 92, 800  # days
WHO = adopting.PROPOSE | adopting.CONFIRM


class Rehearsal(requests.Request):
    """What is to be tried.

    Args:
        pack: A whole pack as YAML.
        proposal: Instead of it, the id of a proposal that waits.
        days: How far back the items were submitted that it is tried on.
    """

    pack: Annotated[str, Field(max_length=LARGEST)] = ""
    proposal: Annotated[str, Field(max_length=40)] = ""
    days: Annotated[int, Field(ge=1, le=LONGEST)] = QUARTER


@router.post("/rehearsals", openapi_extra=takes(Rehearsal), responses=refusals(*WRITES))
async def rehearse_pack(
    caller: CallerDep,
    asked: Annotated[Rehearsal, Depends(body_of(Rehearsal))],
    request: Request,
    reviews: ReviewsDep,
) -> Answer:
    """Tell which items would have gone elsewhere, been late or escalated; nothing is changed."""
    return Answer(await rehearsed(reviews, caller.person, asked, language_for(request)))


async def rehearsed(reviews: Reviews, person: Person, asked: Rehearsal, language: str) -> Json:
    """Try a pack.

    Raises:
        NotAllowedError: For who may neither propose nor confirm rules.
        NotFoundError: No such proposal waits.
        MalformedError: Every mistake of the pack with its line.
    """
    await reviews.administration(person, lambda _s, who, _now: _require(who))
    pasted = None if asked.proposal else read_pasted(asked.pack, load_pack, "pack", language)

    def read(session: Session, who: Person, now: datetime) -> Json:
        _require(who)
        pack = pasted or _proposed(session, asked.proposal)
        return rehearse(session, pack, now - timedelta(days=asked.days), now)

    return await reviews.administration(person, read)


def _require(who: Person) -> None:
    if not {held.role for held in who.roles} & WHO:
        raise NotAllowedError


def _proposed(session: Session, proposal_id: str) -> Policy:
    row = session.get(PolicyProposal, proposal_id)
    if row is None or row.state != "open":
        raise NotFoundError
    return Policy.model_validate_json(row.body)
