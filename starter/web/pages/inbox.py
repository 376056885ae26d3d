"""The first page: what waits for me, what I submitted, what I dealt with, what I was told of."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from review.acts.matters_waiting import mine
from starter.web.dependencies import AfterQuery, ReviewsDep
from starter.web.pages.banners import banner_of
from starter.web.pages.frame import rendered
from starter.web.pages.visitors import ReaderIfAnyDep, by_htmx

router = APIRouter(include_in_schema=False)

A_PAGE = 25  # rows; two and a half screens of a phone
MOST_COUNTED = 99
FILTERS = {"mine": "mine", "done": "handled", "told": "told"}

STATES = {  # where the words for a matter's state stand
    "supervision": "order_state.", "incident": "incident_state.", "violation": "violation_state.",
}  # fmt: skip

Tab = Literal["todo", "mine", "done", "told"]


@router.api_route("/", methods=["GET", "HEAD"])
async def inbox(
    request: Request,
    visitor: ReaderIfAnyDep,
    reviews: ReviewsDep,
    tab: Tab = "todo",
    after: AfterQuery = None,
    did: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """Show one of the four lists; to somebody unknown, what this is."""
    if visitor is None:
        return rendered(request, "landing.html")
    if tab == "todo":
        listed = await reviews.inbox(visitor.person, A_PAGE, after)
    else:
        listed = await reviews.submissions(visitor.person, {FILTERS[tab]: True}, A_PAGE, after)
    count = len(listed["items"])
    if tab != "todo" or after or listed["next"] is not None:
        count = await reviews.waiting(visitor.person, MOST_COUNTED + 1)
    first = tab == "todo" and not after
    matters = await reviews.administration(visitor.person, mine) if first else []
    template = "_rows.html" if by_htmx(request) and after else "inbox.html"
    return rendered(
        request, template, visitor,
        tab=tab, rows=listed["items"], next=listed["next"],
        count=min(count, MOST_COUNTED), more=count > MOST_COUNTED,
        matters=matters, matter_states=STATES,
        banner=await banner_of(request, reviews, visitor, did),
    )  # fmt: skip
