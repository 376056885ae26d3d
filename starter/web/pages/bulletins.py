"""Bulletins (通报, R5.2-4) as pages: the list, one with its tables, and its form to sign."""

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request
from pydantic import ValidationError
from sqlmodel import Session
from starlette.responses import Response

from review.acts import bulletins as acts
from review.ids import new_id
from review.records.people import Person
from review.rules.errors import RuleError
from starter.reviews import Reviews
from starter.web.bulletins import BulletinAct, BulletinItem, PeriodPath, acted, one, submitted
from starter.web.dependencies import ID, ReviewsDep
from starter.web.pages.frame import go, rendered
from starter.web.pages.items import as_refusal
from starter.web.pages.refusals import told
from starter.web.pages.visitors import (
    WAY_IN,
    Sent,
    SentDep,
    Visitor,
    VisitorDep,
    language_of_page,
)

router = APIRouter(prefix="/bulletins", include_in_schema=False)

Json = dict[str, Any]


@router.api_route("", methods=["GET", "HEAD"])
async def listed(request: Request, visitor: VisitorDep, reviews: ReviewsDep) -> Response:
    """List bulletins, the latest first."""

    def read(session: Session, person: Person, _now: datetime) -> list[Json]:
        return acts.bulletins(session, person)

    found = await reviews.administration(visitor.person, read)
    return rendered(request, "bulletins.html", visitor, found=found, title_of=acts.title_of)


@router.api_route("/{period}", methods=["GET", "HEAD"])
async def shown(
    request: Request, visitor: VisitorDep, period: PeriodPath, reviews: ReviewsDep
) -> Response:
    """Show one bulletin, and to whom it may concern the form to sign or issue it."""
    return await _page(request, visitor, reviews, period)


@router.post("/{period}")
async def do(
    request: Request, visitor: VisitorDep, sent: SentDep, period: PeriodPath, reviews: ReviewsDep
) -> Response:
    """Revise, sign or issue what the page showed."""
    key = sent.one("key")
    fields = {"act": sent.one("act"), "digest": sent.one("digest"), "text": sent.one("text")}
    try:
        asked = BulletinAct.model_validate(fields)
        key = key if ID.fullmatch(key) else new_id()
        await acted(reviews, visitor.person, period, asked, key, WAY_IN)
    except (RuleError, ValidationError) as caught:
        error = as_refusal(caught)
        if error.status == 404:
            raise error from None
        refusal = told(error, language_of_page(request))
        return await _page(request, visitor, reviews, period, refusal, error.status)
    return go(request, f"/bulletins/{period}")


@router.post("/{period}/submission")
async def submit(
    request: Request, visitor: VisitorDep, sent: SentDep, period: PeriodPath, reviews: ReviewsDep
) -> Response:
    """Submit an issued bulletin, which its reviews then decide on like on any item (R5.2-4)."""
    key = sent.one("key")
    fields = {
        "channels": sent.all("channels"),
        **{name: True for name in ("secrecy_pledge", "proofread") if sent.one(name)},
    }
    try:
        asked = BulletinItem.model_validate(fields)
        key = key if ID.fullmatch(key) else new_id()
        answer = await submitted(reviews, visitor.person, period, asked, key, WAY_IN)
    except (RuleError, ValidationError) as caught:
        error = as_refusal(caught)
        if error.status == 404:
            raise error from None
        refusal = told(error, language_of_page(request))
        return await _page(request, visitor, reviews, period, refusal, error.status, sent)
    return go(request, f"/items/{answer['id']}")


async def _page(
    request: Request,
    visitor: Visitor,
    reviews: Reviews,
    period: str,
    refusal: Json | None = None,
    status: int = 200,
    sent: Sent | None = None,
) -> Response:
    found = await one(reviews, visitor.person, period)
    submits = "publish" in found["allowed"]
    channels = await reviews.channels(visitor.person) if submits else []
    return rendered(
        request, "bulletin.html", visitor, status=status, found=found, key=new_id(),
        title=acts.title_of(period), columns=acts.COLUMNS, refusal=refusal,
        channels=[one for one in channels if one["state"] == "active"], typed=sent or Sent({}),
    )  # fmt: skip
