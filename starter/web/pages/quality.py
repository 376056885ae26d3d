"""How carefully a period was reviewed: months and tiers without names, a chart, a sample."""

from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from starlette.responses import Response

from review.acts.quality import SAMPLE
from review.texts import text
from starter.web.dependencies import FromQuery, ReviewsDep, ToQuery
from starter.web.pages.frame import rendered
from starter.web.pages.visitors import VisitorDep, language_of_page
from starter.web.pages.words import N_, say
from starter.web.quality import SeedQuery, SizeQuery, judged

router = APIRouter(prefix="/quality", include_in_schema=False)

Json = dict[str, Any]


@router.api_route("", methods=["GET", "HEAD"])
async def page(
    request: Request,
    visitor: VisitorDep,
    reviews: ReviewsDep,
    from_: FromQuery = None,
    to: ToQuery = None,
    size: SizeQuery = SAMPLE,
    seed: SeedQuery = "",
) -> Response:
    """Show the trend, how it is counted, and the items that were drawn."""
    found = await judged(reviews, visitor.person, from_ or None, to or None, size, seed)
    period = {name: value for name, value in (("from", from_), ("to", to)) if value}
    return rendered(
        request, "quality.html", visitor, found=found, size=size, asked=period,
        chart=urlencode(period),
    )  # fmt: skip


@router.get("/chart.svg")
async def chart(
    request: Request,
    visitor: VisitorDep,
    reviews: ReviewsDep,
    from_: FromQuery = None,
    to: ToQuery = None,
) -> Response:
    """Draw the share of quick approvals, month by month, a bar a tier."""
    found = await judged(reviews, visitor.person, from_ or None, to or None, 1, "")
    language = language_of_page(request)
    months = [one["month"] for one in found["months"]]
    series = {
        text(f"tier.{place + 1}", language): [
            _percent(one["tiers"][place]) for one in found["months"]
        ]
        for place in range(3)
    }
    title = say(N_("快于阅读所需的同意（占同意数的百分比）"), language)
    told = "；".join(
        f"{month} " + "，".join(f"{name} {shares[n]}%" for name, shares in series.items())
        for n, month in enumerate(months)
    )
    from starter.web import charts  # it loads much that few requests need

    content = charts.bars(title, told, months, series)
    return Response(content, media_type="image/svg+xml", headers={"Cache-Control": "no-store"})


def _percent(tier: Json) -> int:
    return round(100 * tier["quick"] / tier["approvals"]) if tier["approvals"] else 0
