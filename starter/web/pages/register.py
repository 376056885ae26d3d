"""The table of all items: filters in the address, saved views, several items at once, export."""

import csv
import io
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl, urlencode

from fastapi import APIRouter, Query, Request
from pydantic import Field, ValidationError
from sqlmodel import Session
from starlette.datastructures import QueryParams
from starlette.responses import Response

from review import requests
from review.acts import overseeing, topics
from review.acts.acting_terms import TERMS
from review.ids import new_id
from review.records.people import Person
from review.requests import ActRequest
from review.rules.errors import MalformedError, NotFoundError, RuleError
from review.rules.statistics import MEASURES
from review.rules.values import Category, Kind, Status
from review.texts import text
from starter.reviews import Reviews
from starter.web.bodies import malformed
from starter.web.dependencies import BUREAU_ZONE, ID, AfterQuery, IdDep, ReviewsDep, moment_of
from starter.web.pages.frame import go, rendered
from starter.web.pages.items import as_refusal
from starter.web.pages.refusals import told
from starter.web.pages.shape import length, moment
from starter.web.pages.visitors import (
    WAY_IN,
    Sent,
    SentDep,
    Visitor,
    VisitorDep,
    by_htmx,
    language_of_page,
)
from starter.web.pages.words import N_, say

router = APIRouter(include_in_schema=False)

Json = dict[str, Any]
A_PAGE = 50
MOST_EXPORTED = 5_000
MOST_AT_ONCE = 100  # items in one act
SHOWS = {
    "running": N_("在办"),
    "overdue": N_("已超时"),
    "due": N_("今日到期"),
    "published": N_("今日发布"),
    "trouble": N_("渠道异常"),
}
CLOSED: dict[str, set[Any]] = {
    "status": set(Status),
    "category": set(Category),
    "kind": set(Kind),
    "show": set(SHOWS),
    "counted": set(MEASURES),
}
NAMES = (
    "show", "status", "category", "kind", "unit", "step", "topic", "q", "from", "to", "counted",
)  # fmt: skip
PLAIN = ("status", "category", "kind", "unit", "step", "topic", "q", "counted")
LONGEST = 100  # characters of a filter
ACTS = ("urge", "reassign", "set_deadline")

BulkAct = Literal["urge", "reassign", "set_deadline"]


class ViewRequest(requests.Request):
    """Filters to be kept under a name."""

    name: Annotated[str, Field(min_length=1, max_length=40)]
    query: Annotated[str, Field(max_length=1_000)]


# --- the table ------------------------------------------------------------------------------------


def chosen_filters(query: QueryParams) -> dict[str, str]:
    """Return the filters that an address names, as they stand there.

    Raises:
        MalformedError: One has a value that there is not.
    """
    found = {}
    for name in NAMES:
        value = query.get(name, "").strip()
        if not value:
            continue
        if len(value) > LONGEST or not value.isprintable():
            malformed(name, "unprintable")
        if value not in CLOSED.get(name, {value}):
            malformed(name, "unknown_value")
        found[name] = value
    return found


def filters_of(chosen: dict[str, str], now: datetime) -> Json:
    """Return an address's filters as the ledger takes them."""
    begins, ends = overseeing.today(now)
    shows: dict[str, Json] = {
        "running": {"running": True},
        "overdue": {"overdue": True, "running": True},
        "due": {"due_by": ends, "running": True},
        "published": {"published_since": begins},
        "trouble": {"trouble": True},
    }
    plain = {name: chosen.get(name) for name in PLAIN}
    return {
        **plain,
        **shows.get(chosen.get("show", ""), {}),
        "from": moment_of(chosen.get("from"), "from"),
        "to": moment_of(chosen.get("to"), "to", end=True),
    }


@router.api_route("/items", methods=["GET", "HEAD"])
async def table(
    request: Request, visitor: VisitorDep, reviews: ReviewsDep, after: AfterQuery = None
) -> Response:
    """Show a page of the table."""
    chosen = chosen_filters(request.query_params)

    def read(session: Session, person: Person, now: datetime) -> Json:
        return {
            "units": overseeing.units(session),
            "topics": topics.listed(session, person, {}, 100, None)["items"],
            "views": overseeing.views(session, person),
            "filters": filters_of(chosen, now),
            "seq": overseeing.latest_entry(session),
        }

    beside = await reviews.administration(visitor.person, read)
    listed = await reviews.submissions(visitor.person, beside.pop("filters"), A_PAGE, after)
    query = urlencode(chosen)
    return rendered(
        request, "register.html", visitor, **beside, rows=listed["items"], next=listed["next"],
        chosen=chosen, query=query, shows=SHOWS, statuses=list(Status), kinds=list(Kind),
        categories=list(Category), acts=offered(visitor), after=after,
    )  # fmt: skip


def offered(visitor: Visitor) -> list[str]:
    """Return the acts on several items that a person's roles may do; each item judges anew."""
    return [act for act in ACTS if visitor.has(*TERMS[act].roles)]


@router.get("/items.csv")
async def export(request: Request, visitor: VisitorDep, reviews: ReviewsDep) -> Response:
    """Return the rows of the filters in the address for a spreadsheet."""
    chosen, language = chosen_filters(request.query_params), language_of_page(request)

    def read(_session: Session, _person: Person, now: datetime) -> Json:
        return filters_of(chosen, now)

    filters = await reviews.administration(visitor.person, read)
    listed = await reviews.submissions(visitor.person, filters, MOST_EXPORTED, None)
    content = as_csv(csv_rows(listed["items"], language))
    headers = {"Content-Disposition": 'attachment; filename="items.csv"'}
    return Response(content, media_type="text/csv; charset=utf-8", headers=headers)


def csv_rows(items: Iterable[Json], language: str) -> Iterable[list[str]]:
    """Yield the heading, then a row an item."""
    heads = (
        N_("编号"), N_("标题"), N_("类别"), N_("内容类别"), N_("单位"), N_("状态"), N_("环节"),
        N_("办理人"), N_("在此环节"), N_("环节时限"), N_("超时"), N_("报送时间"),
    )  # fmt: skip
    yield [say(head, language) for head in heads]
    for item in items:
        yield [
            item["number"],
            item["title"],
            text(f"category.{item['category']}", language),
            text(f"kind.{item['kind']}", language),
            item["unit"]["name"],
            text(f"status.{item['status']}", language),
            "、".join(text(f"step.{step}", language) for step in item["open_steps"]),
            "、".join(one["name"] for one in item["holder"]),
            length(item["at_step"], language) if item["at_step"] is not None else "",
            moment(item["due_at"], language),
            say(N_("是"), language) if item["overdue"] else "",
            moment(item["submitted_at"], language),
        ]


def as_csv(rows: Iterable[list[str]]) -> bytes:
    """Return rows as CSV that spreadsheets read as UTF-8; no cell begins a formula."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows([map(neutral, row) for row in rows])
    return b"\xef\xbb\xbf" + out.getvalue().encode()


def neutral(cell: str) -> str:
    """Return a cell that a spreadsheet shows and does not reckon."""
    return f"'{cell}" if cell.lstrip()[:1] in ("=", "+", "-", "@") or cell[:1] in "\t\r\n" else cell


@router.get("/board/peek/{submission_id}")
async def peek(
    request: Request, visitor: VisitorDep, submission_id: IdDep, reviews: ReviewsDep
) -> Response:
    """Show the gist of one item beside the table."""
    if not by_htmx(request):
        return go(request, f"/items/{submission_id}/course")
    language = language_of_page(request)
    item = await reviews.submission(visitor.person, submission_id, language, ask_engine=False)
    return rendered(request, "_peek.html", visitor, item=item)


# --- saved views ----------------------------------------------------------------------------------


@router.post("/board/views")
async def save_view(
    request: Request, visitor: VisitorDep, sent: SentDep, reviews: ReviewsDep
) -> Response:
    """Keep the filters of the address under a name."""
    given = QueryParams(parse_qsl(sent.one("query")[:1_000]))
    query = urlencode(chosen_filters(given))
    try:
        asked = ViewRequest(name=sent.one("name").strip(), query=query)
    except ValidationError as error:
        raise as_refusal(error) from None

    def act(session: Session, who: Person, now: datetime) -> Json:
        return overseeing.save_view(session, who, asked.name, asked.query, now)

    await reviews.administer(visitor.person, "view", asked, key=None, way_in=WAY_IN, act=act)
    return go(request, f"/items?{query}")


@router.post("/board/views/{view_id}/drop")
async def drop_view(
    request: Request, visitor: VisitorDep, _sent: SentDep, view_id: str, reviews: ReviewsDep
) -> Response:
    """Forget a saved view."""
    if not ID.fullmatch(view_id):
        raise NotFoundError

    def act(session: Session, who: Person, _now: datetime) -> Json:
        return overseeing.drop_view(session, who, view_id)

    await reviews.administer(visitor.person, "view", None, key=None, way_in=WAY_IN, act=act)
    return go(request, "/items")


# --- several items at once ------------------------------------------------------------------------


@router.get("/board/act")
async def act_page(
    request: Request,
    visitor: VisitorDep,
    reviews: ReviewsDep,
    act: BulkAct,
    id: Annotated[list[str] | None, Query(max_length=MOST_AT_ONCE)] = None,
) -> Response:
    """Show what an act would be done to, and ask for its reason."""
    values = await about(visitor, reviews, act, id or [])
    return rendered(
        request, "bulk.html", visitor, **values, typed=Sent({}), key=new_id(), refusal=None
    )


@router.post("/board/act")
async def do_acts(
    request: Request, visitor: VisitorDep, sent: SentDep, reviews: ReviewsDep
) -> Response:
    """Do one act on each of several items, each by itself; tell what came of each."""
    name = sent.one("act")
    if name not in ACTS:
        malformed("act", "unknown_value")
    values = await about(visitor, reviews, name, sent.all("id"))
    language = language_of_page(request)
    try:
        given = fields_of(name, sent)
    except RuleError as error:
        return rendered(
            request, "bulk.html", visitor, status=error.status, **values, typed=sent,
            key=sent.one("key"), refusal=told(error, language),
        )  # fmt: skip
    key = sent.one("key")
    key = key if ID.fullmatch(key) else new_id()
    results = []
    for item in values["items"]:
        for step in steps_for(name, item, values["people"], given):
            results.append(await _one(visitor, reviews, item, step, name, given, key, language))
        if not item["steps"]:
            results.append({"item": item, "step": None, "words": say("没有在办环节", language)})
    return rendered(request, "bulk_done.html", visitor, act=name, results=results)


async def about(visitor: Visitor, reviews: Reviews, act: str, ids: Iterable[str]) -> Json:
    """Return the chosen items and, for a transfer, who could take them.

    Raises:
        MalformedError: None is chosen, or too many are.
    """
    wanted = list(dict.fromkeys(one for one in ids if ID.fullmatch(one)))
    if len(wanted) > MOST_AT_ONCE:
        malformed("id", "too_long", max_length=MOST_AT_ONCE)

    def read(session: Session, person: Person, now: datetime) -> Json:
        items = overseeing.chosen(session, person, wanted, now)
        roles = {step["role"] for item in items for step in item["steps"]}
        people = overseeing.able(session, roles, now) if act == "reassign" else []
        return {"items": items, "people": people}

    return await reviews.administration(visitor.person, read) | {"act": act}


def fields_of(act: str, sent: Sent) -> Json:
    """Return what a form says of an act.

    Raises:
        MalformedError: What the act needs is missing or wrong.
    """
    given: Json = {"reason": sent.one("reason").strip()}
    if act == "reassign":
        given["to"] = sent.one("to")
    if act == "set_deadline":
        given["due_at"] = local_moment(sent.one("due_at"), "due_at")
    needed = [] if act == "urge" else ["reason", *(given.keys() - {"reason"})]
    missing = [name for name in needed if not given[name]]
    if missing:
        raise MalformedError(
            errors=[{"field": name, "message": "field_needed"} for name in sorted(missing)]
        )
    return {name: value for name, value in given.items() if value}


def local_moment(value: str, field: str) -> datetime | None:
    """Return what a browser's field for day and time holds, in the bureau's zone."""
    if not value.strip():
        return None
    try:
        at = datetime.fromisoformat(value.strip())
    except ValueError:
        malformed(field, "day_or_moment")
    return moment_of((at if at.tzinfo else at.replace(tzinfo=BUREAU_ZONE)).isoformat(), field)


def steps_for(act: str, item: Json, people: list[Json], given: Json) -> list[Json]:
    """Return which open steps an act is for: all, or those of the role that takes over."""
    steps: list[Json] = item["steps"]
    if act != "reassign":
        return steps
    other = next((one for one in people if one["id"] == given["to"]), None)
    able = [step for step in steps if other and step["role"] in other["roles"]]
    return able or steps[:1]


async def _one(
    visitor: Visitor,
    reviews: Reviews,
    item: Json,
    step: Json,
    act: str,
    given: Json,
    key: str,
    language: str,
) -> Json:
    """Do an act on one step and return what came of it in words; empty when it was done."""
    words = ""
    try:
        asked = ActRequest.model_validate(
            {"act": act, "step": step["step"], "unit": step["unit"]} | given
        )
        own = f"{key}:{item['id']}:{step['step']}:{step['unit'] or ''}"[:200]
        await reviews.act(visitor.person, item["id"], asked, key=own, way_in=WAY_IN)
    except (RuleError, ValidationError) as caught:
        refusal = told(as_refusal(caught), language)
        words = "；".join([refusal["words"], *(one["message"] for one in refusal["fields"])])
    return {"item": item, "step": step["step"], "words": words}


# --- one item's course ----------------------------------------------------------------------------


@router.api_route("/items/{submission_id}/course", methods=["GET", "HEAD"])
async def course(
    request: Request, visitor: VisitorDep, submission_id: IdDep, reviews: ReviewsDep
) -> Response:
    """Show who had an item when, why its time is what it is, and everything that happened."""
    language = language_of_page(request)
    item = await reviews.submission(visitor.person, submission_id, language, ask_engine=False)
    return rendered(
        request, "course.html", visitor, item=item,
        course=await reviews.course(visitor.person, submission_id),
        timeline=await reviews.timeline(visitor.person, submission_id),
    )  # fmt: skip
