"""Topics (专题, R3.2-7): the list, and one with its items."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from pydantic import ValidationError
from starlette.responses import Response

from review.acts.topics import CENTER
from review.ids import new_id
from review.matter_requests import NewTopic, TopicAct
from review.rules.errors import RuleError
from starter.reviews import Reviews
from starter.web.dependencies import ID, AfterQuery, ReviewsDep
from starter.web.pages.frame import go, rendered
from starter.web.pages.items import as_refusal
from starter.web.pages.management import TABS, asked_of
from starter.web.pages.refusals import told
from starter.web.pages.visitors import (
    WAY_IN,
    Sent,
    SentDep,
    Visitor,
    VisitorDep,
    language_of_page,
)
from starter.web.topics import acted, listed, opened, shown

router = APIRouter(prefix="/topics", include_in_schema=False)

Json = dict[str, Any]
TopicId = Annotated[str, Path(pattern=f"^{ID.pattern}$")]
A_PAGE = 50


@router.api_route("", methods=["GET", "HEAD"])
async def topics(
    request: Request, visitor: VisitorDep, reviews: ReviewsDep, after: AfterQuery = None
) -> Response:
    """List the topics, and offer the centre to open one."""
    return await _list(request, visitor, reviews, after)


@router.post("")
async def open_topic(
    request: Request, visitor: VisitorDep, sent: SentDep, reviews: ReviewsDep
) -> Response:
    """Open a topic; a form sent twice opens it once."""
    try:
        asked = asked_of(NewTopic, sent)
        answer = await opened(reviews, visitor.person, asked, _key(sent), WAY_IN)
    except (RuleError, ValidationError) as caught:
        error = as_refusal(caught)
        if error.status in (401, 403, 404, 503):
            raise error from None
        return await _list(request, visitor, reviews, None, sent, error)
    return go(request, f"/topics/{answer['id']}")


@router.api_route("/{matter_id}", methods=["GET", "HEAD"])
async def topic(
    request: Request, visitor: VisitorDep, matter_id: TopicId, reviews: ReviewsDep
) -> Response:
    """Show one topic: its items and where they stand."""
    return await _one(request, visitor, reviews, matter_id)


@router.post("/{matter_id}/acts")
async def act(
    request: Request, visitor: VisitorDep, sent: SentDep, matter_id: TopicId, reviews: ReviewsDep
) -> Response:
    """Do one act on a topic."""
    try:
        asked = asked_of(TopicAct, sent)
        await acted(reviews, visitor.person, matter_id, asked, _key(sent), WAY_IN)
    except (RuleError, ValidationError) as caught:
        error = as_refusal(caught)
        if error.status in (401, 403, 404, 503):
            raise error from None
        return await _one(request, visitor, reviews, matter_id, sent, error)
    return go(request, f"/topics/{matter_id}")


async def _list(
    request: Request,
    visitor: Visitor,
    reviews: Reviews,
    after: str | None,
    sent: Sent | None = None,
    error: RuleError | None = None,
) -> Response:
    found = await listed(reviews, visitor.person, {}, A_PAGE, after)
    return rendered(
        request, "topics.html", visitor, status=error.status if error else 200, tabs=TABS,
        found=found, typed=sent or Sent({}), key=new_id(), may_open=visitor.has(*CENTER),
        refusal=told(error, language_of_page(request)) if error else None,
    )  # fmt: skip


async def _one(
    request: Request,
    visitor: Visitor,
    reviews: Reviews,
    matter_id: str,
    sent: Sent | None = None,
    error: RuleError | None = None,
) -> Response:
    found = await shown(reviews, visitor.person, matter_id)
    return rendered(
        request, "topic.html", visitor, status=error.status if error else 200, tabs=TABS,
        one=found, acts=f"/topics/{matter_id}/acts", typed=sent or Sent({}),
        refusal=told(error, language_of_page(request)) if error else None,
    )  # fmt: skip


def _key(sent: Sent) -> str:
    key = sent.one("key")
    return key if ID.fullmatch(key) else new_id()
