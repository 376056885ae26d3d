"""The supervisor's board: five numbers, what waits where, what breaches next, who is away."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from starter.web.dependencies import ReviewsDep
from starter.web.pages.frame import rendered
from starter.web.pages.visitors import VisitorDep, by_htmx
from starter.web.pages.words import N_

router = APIRouter(include_in_schema=False)

TILES = (  # name in the overview, filters of the table that lists them, label
    ("in_review", "status=in_review", N_("审核中")),
    ("due_today", "show=due", N_("今日到期")),
    ("overdue", "show=overdue", N_("已超时")),
    ("published_today", "show=published", N_("今日发布")),
    ("trouble", "show=trouble", N_("渠道异常")),
)
ALARMING = ("overdue", "trouble")
BANDS = (4 * 3_600, 24 * 3_600, 72 * 3_600)  # seconds at a step; each makes a cell darker


def band(seconds: int) -> int:
    """Return how old the oldest of a cell is: 0 fresh to 3 old."""
    return sum(seconds >= limit for limit in BANDS)


@router.api_route("/board", methods=["GET", "HEAD"])
async def board(request: Request, visitor: VisitorDep, reviews: ReviewsDep) -> Response:
    """Show how things stand; with script only what changed since is fetched."""
    overview = await reviews.overview(visitor.person)
    template = "_board.html" if by_htmx(request) else "board.html"
    return rendered(
        request, template, visitor, board=overview, tiles=TILES, alarming=ALARMING, band=band
    )
