"""Statistics of a period (R5.2-3): tables whose every number leads to its items, and a chart."""

from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from sqlmodel import Session
from starlette.datastructures import QueryParams
from starlette.responses import Response

from review.acts import statistics as acts
from review.acts.quality import READERS as QUALITY
from review.records.people import Person
from review.texts import text
from starter.web.bodies import malformed
from starter.web.dependencies import BUREAU_ZONE, ReviewsDep, moment_of
from starter.web.pages.frame import rendered
from starter.web.pages.visitors import VisitorDep, language_of_page
from starter.web.pages.words import N_, say

router = APIRouter(include_in_schema=False)

Json = dict[str, Any]
SHOWN = (  # the table's columns, in this order
    "submitted", "adopted", "returned", "rejected", "withdrawn", "on_time", "overdue",
    "corrected", "retracted", "original", "reposts", "ignored",
)  # fmt: skip
GROUPINGS = (
    ("unit", N_("单位")),
    ("kind", N_("内容类别")),
    ("category", N_("类别")),
    ("month", N_("月份")),
    ("unit,kind", N_("单位和内容类别")),
    ("unit,category", N_("单位和类别")),
    ("unit,kind,category,month", N_("单位、内容类别、类别和月份")),
)
MOST_BARS = 60


def last_quarter(now: datetime) -> tuple[str, str]:
    """Return the first and the last day of the quarter before this one."""
    today = now.astimezone(BUREAU_ZONE).date()
    first = today.replace(month=(today.month - 1) // 3 * 3 + 1, day=1)
    before = first - timedelta(days=1)
    return str(before.replace(month=before.month - 2, day=1)), str(before)


def asked_of(query: QueryParams, now: datetime) -> dict[str, str]:
    """Return the period and the dimensions that an address asks for.

    Raises:
        MalformedError: The dimensions are none that the page offers.
    """
    from_, to = last_quarter(now)
    asked = {
        "from": query.get("from") or from_,
        "to": query.get("to") or to,
        "by": query.get("by") or "unit",
    }
    if asked["by"] not in dict(GROUPINGS):
        malformed("by", "unknown_value")
    return asked


async def counted(request: Request, visitor: VisitorDep, reviews: ReviewsDep) -> tuple[Json, Json]:
    """Return what an address asks for, and the statistics of it."""

    def read(session: Session, person: Person, now: datetime) -> tuple[Json, Json]:
        asked = asked_of(request.query_params, now)
        from_, to = moment_of(asked["from"], "from"), moment_of(asked["to"], "to", end=True)
        return asked, acts.statistics(session, person, from_, to, asked["by"], now)

    return await reviews.administration(visitor.person, read)


@router.api_route("/statistics", methods=["GET", "HEAD"])
async def page(request: Request, visitor: VisitorDep, reviews: ReviewsDep) -> Response:
    """Show the tables of a period; the last quarter unless another is asked for."""
    asked, found = await counted(request, visitor, reviews)
    language = language_of_page(request)
    dimensions = asked["by"].split(",")

    def link(row: Json, measure: str) -> str:
        """Return the list of the items that a number counts."""
        query = {"from": asked["from"], "to": asked["to"], "counted": measure}
        query |= {name: row[name] for name in dimensions if name != "month" and name in row}
        if "month" in row:
            query["from"], query["to"] = days_of(row["month"], asked)
        return "/items?" + urlencode(query)

    return rendered(
        request, "statistics.html", visitor, asked=asked, found=found, measures=SHOWN,
        dimensions=dimensions, groupings=GROUPINGS, link=link,
        named=lambda name, value: group_name(name, value, found, language),
        chart=urlencode(asked), most_bars=MOST_BARS, sees_quality=visitor.has(*QUALITY),
    )  # fmt: skip


def days_of(month: str, asked: Json) -> tuple[str, str]:
    """Return a month's first and last day, within the period."""
    first = datetime.strptime(month, "%Y-%m").date()
    last = (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)
    return max(str(first), asked["from"][:10]), min(str(last), asked["to"][:10])


def group_name(dimension: str, value: str, found: Json, language: str) -> str:
    """Return what a row is about, in words."""
    if dimension == "unit":
        return next((one["name"] for one in found["units"] if one["id"] == value), value)
    return value if dimension == "month" else text(f"{dimension}.{value}", language)


@router.get("/statistics/chart.svg")
async def chart(request: Request, visitor: VisitorDep, reviews: ReviewsDep) -> Response:
    """Draw what was submitted and adopted, in the table's order."""
    asked, found = await counted(request, visitor, reviews)
    language = language_of_page(request)
    rows = found["rows"][:MOST_BARS]
    groups = [
        " ".join(group_name(name, row[name], found, language) for name in asked["by"].split(","))
        for row in rows
    ]
    names = {name: text(f"measure.{name}", language) for name in ("submitted", "adopted")}
    title = say(N_("报送与采用"), language) + f" {asked['from']} – {asked['to']}"
    told = "；".join(
        f"{group} {names['submitted']} {row['submitted']}，{names['adopted']} {row['adopted']}"
        for group, row in zip(groups, rows, strict=True)
    )
    series = {name: [row[key] for row in rows] for key, name in names.items()}
    from starter.web import charts  # it loads much that few requests need

    content = charts.bars(title, told, groups, series)
    return Response(content, media_type="image/svg+xml", headers={"Cache-Control": "no-store"})
