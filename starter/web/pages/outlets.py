"""The channel register (账号台账): every channel, what waits for a second person, a proposal."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from pydantic import ValidationError
from sqlmodel import Session, select
from starlette.responses import Response

from review.acts.channel_register import CONFIRM, PROPOSE
from review.channel_requests import ChannelProposal, ChannelVerdict
from review.ids import new_id
from review.records.people import Person
from review.records.tables import Unit
from review.rules.errors import NotFoundError, RuleError
from starter.reviews import Reviews
from starter.web.dependencies import ID, ReviewsDep
from starter.web.outlets import decided, proposed, registered, waiting
from starter.web.pages.frame import go, rendered
from starter.web.pages.items import as_refusal
from starter.web.pages.management import TABS
from starter.web.pages.refusals import told
from starter.web.pages.visitors import (
    WAY_IN,
    Sent,
    SentDep,
    Visitor,
    VisitorDep,
    language_of_page,
)

router = APIRouter(prefix="/channels", include_in_schema=False)
ChangeId = Annotated[str, Path(pattern=f"^{ID.pattern}$")]
FIELDS = (
    "channel", "deed", "reason", "name", "platform", "operator_unit", "owner_entity",
    "certified_on", "filing_number", "applied_by_unit",
)  # fmt: skip


@router.api_route("", methods=["GET", "HEAD"])
async def channels(request: Request, visitor: VisitorDep, reviews: ReviewsDep) -> Response:
    """Show the register."""
    return await _page(request, visitor, reviews, Sent({}))


@router.post("")
async def propose(
    request: Request, visitor: VisitorDep, sent: SentDep, reviews: ReviewsDep
) -> Response:
    """Propose a change; a form sent twice proposes it once."""
    key = sent.one("key")
    given = {name: value for name in FIELDS if (value := sent.one(name).strip())}
    try:
        wanted = ChannelProposal.model_validate(given)
        await proposed(reviews, visitor.person, wanted, key if ID.fullmatch(key) else None, WAY_IN)
    except (RuleError, ValidationError) as caught:
        error = as_refusal(caught)
        if error.status in (401, 403, 404, 503):
            raise error from None
        return await _page(request, visitor, reviews, sent, error)
    return go(request, "/channels")


@router.post("/changes/{change_id}/{verdict}")
async def decide(
    request: Request,
    visitor: VisitorDep,
    sent: SentDep,
    change_id: ChangeId,
    verdict: str,
    reviews: ReviewsDep,
) -> Response:
    """Confirm or reject a proposal."""
    if verdict not in ("confirm", "reject"):
        raise NotFoundError
    said = ChannelVerdict.model_validate({"verdict": verdict})
    try:
        await decided(reviews, visitor.person, change_id, said, None, WAY_IN)
    except RuleError as error:
        if error.status in (401, 403, 404, 503):
            raise
        return await _page(request, visitor, reviews, sent, error)
    return go(request, "/channels")


async def _page(
    request: Request,
    visitor: Visitor,
    reviews: Reviews,
    sent: Sent,
    error: RuleError | None = None,
) -> Response:
    def read(session: Session, _person: Person, _now: Any) -> dict[str, str]:
        return {unit.id: unit.name for unit in session.exec(select(Unit).order_by(Unit.id))}

    return rendered(
        request, "channels.html", visitor, status=error.status if error else 200,
        tabs=TABS, typed=sent, key=new_id(),
        found=await registered(reviews, visitor.person),
        proposals=await waiting(reviews, visitor.person),
        units=await reviews.administration(visitor.person, read),
        may_propose=visitor.has(*PROPOSE), may_confirm=visitor.has(*CONFIRM),
        refusal=told(error, language_of_page(request)) if error else None,
    )  # fmt: skip
