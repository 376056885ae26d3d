"""What waits, how things stand, and the proof that nothing was changed; and the check of a text."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import AwareDatetime, Field

from review import requests
from review.rules.values import Category, Kind, Level
from starter.web.bodies import body_of
from starter.web.dependencies import (
    AfterQuery,
    CallerDep,
    FromQuery,
    LimitQuery,
    ReviewsDep,
    ToQuery,
    listing,
    moment_of,
)
from starter.web.openapi import READS, SIGNED_IN, refusals, takes
from starter.web.problems import Answer, findings_in, language_for

router = APIRouter(prefix="/api/v1", tags=["reading"])


class CheckRequest(requests.Request):
    """A text to screen; whatever else of a submission is known makes the screening sharper."""

    title: Annotated[str, Field(max_length=1_000)]
    body: Annotated[str, Field(max_length=200_000)]
    source: requests.Source | None = None
    category: Category | None = None
    level: Level | None = None
    kind: Kind | None = None
    channels: Annotated[tuple[requests.Ident, ...], Field(max_length=50)] = ()
    attachments: Annotated[tuple[requests.AttachmentUse, ...], Field(max_length=50)] = ()
    ai_generated: bool = False
    authority_reference: requests.Short = ""
    disclosure_type: requests.Short = ""
    sub_type: requests.Short = ""
    event_time: AwareDatetime | None = None
    found_time: AwareDatetime | None = None
    valid_until: AwareDatetime | None = None
    linked: Annotated[tuple[requests.Ident, ...], Field(max_length=20)] = ()
    other_outlets: requests.Text = ""
    background: requests.Text = ""
    audience: requests.Short = ""
    how_to: requests.Text = ""
    contact: requests.Short = ""


@router.post(
    "/check", openapi_extra=takes(CheckRequest), responses=refusals(*SIGNED_IN, 413, 415, 422)
)
async def check(
    request: Request,
    caller: CallerDep,
    asked: Annotated[CheckRequest, Depends(body_of(CheckRequest))],
    reviews: ReviewsDep,
) -> Answer:
    """Screen a text without storing it."""
    draft: dict[str, Any] = asked.model_dump(exclude_unset=True, exclude_none=True)
    return Answer(findings_in(await reviews.check(caller.person, draft), language_for(request)))


@router.get("/inbox", responses=refusals(*READS))
async def inbox(
    caller: CallerDep, reviews: ReviewsDep, limit: LimitQuery = 50, after: AfterQuery = None
) -> Answer:
    """List what waits for the caller, least time left first."""
    return Answer(listing(await reviews.inbox(caller.person, limit, after)))


@router.get("/board", responses=refusals(*READS))
async def board(caller: CallerDep, reviews: ReviewsDep) -> Answer:
    """Count items by step and state; name the overdue ones, who holds them and what was done."""
    return Answer(await reviews.board(caller.person))


@router.get("/statistics", responses=refusals(*READS))
async def statistics(
    caller: CallerDep,
    reviews: ReviewsDep,
    from_: FromQuery = None,
    to: ToQuery = None,
    by: Annotated[str, Query(max_length=60)] = "unit",
) -> Answer:
    """Count what was submitted, adopted, returned and late between two days (R5.2-3).

    `by` names dimensions, several with commas between: unit, kind, category, month, status.
    """
    start, end = moment_of(from_, "from"), moment_of(to, "to", end=True)
    return Answer(await reviews.statistics(caller.person, start, end, by))


@router.get("/statistics/compare", responses=refusals(*READS))
async def compare_statistics(
    caller: CallerDep, reviews: ReviewsDep, from_: FromQuery = None, to: ToQuery = None
) -> Answer:
    """Recompute a period's facts from the trace alone; says which items the ledger tells apart."""
    start, end = moment_of(from_, "from"), moment_of(to, "to", end=True)
    return Answer(await reviews.compare_statistics(caller.person, start, end))


@router.get("/audit/verify", responses=refusals(*READS))
async def audit_verify(caller: CallerDep, reviews: ReviewsDep) -> Answer:
    """Recompute every chain of the trace; says where the first break is."""
    return Answer(await reviews.audit_verify(caller.person))
