"""Supervision orders, incidents and violation cases: lists, one of each, and the printed chain."""

from datetime import datetime
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, ValidationError
from sqlmodel import Session
from starlette.responses import Response

from review.acts import overseeing, supervising, violations
from review.ids import new_id
from review.matter_requests import (
    IncidentAct,
    NewIncident,
    NewOrder,
    NewViolation,
    OrderAct,
    ViolationAct,
)
from review.records.people import Person
from review.rules.errors import RuleError
from review.rules.matters import KINDS, IncidentKind, MatterKind, ViolationResult
from review.rules.values import Level, Role
from starter.reviews import Reviews
from starter.web.bodies import malformed
from starter.web.dependencies import ID, AfterQuery, ReviewsDep
from starter.web.management import acted, listed, opened, shown
from starter.web.pages.frame import Place, go, rendered
from starter.web.pages.items import as_refusal
from starter.web.pages.refusals import told
from starter.web.pages.register import local_moment
from starter.web.pages.visitors import (
    WAY_IN,
    Sent,
    SentDep,
    Visitor,
    VisitorDep,
    language_of_page,
)
from starter.web.pages.words import N_

router = APIRouter(include_in_schema=False)

Json = dict[str, Any]
MatterId = Annotated[str, Path(pattern=f"^{ID.pattern}$")]
A_PAGE = 50
TABS = [
    Place("/orders", N_("督办单")),
    Place("/incidents", N_("突发事件")),
    Place("/violations", N_("违规情形")),
    Place("/topics", N_("专题")),
    Place("/channels", N_("渠道台账")),
]
MOMENTS = ("due_at", "event_at")


class Desk(NamedTuple):
    """One kind of matter as its pages show it."""

    kind: MatterKind
    path: str
    new: type[BaseModel]
    act: type[BaseModel]
    openers: frozenset[Role]


ORDERS = Desk(
    MatterKind.ORDER, "/orders", NewOrder, OrderAct,
    supervising.ISSUERS | supervising.PROPOSERS,
)  # fmt: skip
INCIDENTS = Desk(
    MatterKind.INCIDENT, "/incidents", NewIncident, IncidentAct, frozenset({Role.DUTY_OFFICER})
)
VIOLATIONS = Desk(
    MatterKind.VIOLATION, "/violations", NewViolation, ViolationAct, violations.OPENERS
)


# --- supervision orders ---------------------------------------------------------------------------


@router.api_route("/orders", methods=["GET", "HEAD"])
async def orders(
    request: Request, visitor: VisitorDep, reviews: ReviewsDep, after: AfterQuery = None
) -> Response:
    """List the supervision orders (督办单), and offer to issue one."""
    return await _list(request, visitor, reviews, ORDERS, after)


@router.post("/orders")
async def open_order(
    request: Request, visitor: VisitorDep, sent: SentDep, reviews: ReviewsDep
) -> Response:
    """Issue an order, or propose one; a form sent twice does it once."""
    return await _open(request, visitor, reviews, ORDERS, sent)


@router.api_route("/orders/{matter_id}", methods=["GET", "HEAD"])
async def order(
    request: Request, visitor: VisitorDep, matter_id: MatterId, reviews: ReviewsDep
) -> Response:
    """Show one order."""
    return await _one(request, visitor, reviews, ORDERS, matter_id)


@router.post("/orders/{matter_id}/acts")
async def act_on_order(
    request: Request, visitor: VisitorDep, sent: SentDep, matter_id: MatterId, reviews: ReviewsDep
) -> Response:
    """Do one act on an order."""
    return await _act(request, visitor, reviews, ORDERS, matter_id, sent)


# --- incidents ------------------------------------------------------------------------------------


@router.api_route("/incidents", methods=["GET", "HEAD"])
async def incidents(
    request: Request, visitor: VisitorDep, reviews: ReviewsDep, after: AfterQuery = None
) -> Response:
    """List the incident register (事件登记), and offer the duty officer to register one."""
    return await _list(request, visitor, reviews, INCIDENTS, after)


@router.post("/incidents")
async def register_incident(
    request: Request, visitor: VisitorDep, sent: SentDep, reviews: ReviewsDep
) -> Response:
    """Register an incident; a form sent twice registers it once."""
    return await _open(request, visitor, reviews, INCIDENTS, sent)


@router.api_route("/incidents/{matter_id}", methods=["GET", "HEAD"])
async def incident(
    request: Request, visitor: VisitorDep, matter_id: MatterId, reviews: ReviewsDep
) -> Response:
    """Show one incident: its clock, its reports, what comes next."""
    return await _one(request, visitor, reviews, INCIDENTS, matter_id)


@router.post("/incidents/{matter_id}/acts")
async def act_on_incident(
    request: Request, visitor: VisitorDep, sent: SentDep, matter_id: MatterId, reviews: ReviewsDep
) -> Response:
    """Do one act on an incident."""
    return await _act(request, visitor, reviews, INCIDENTS, matter_id, sent)


# --- violation cases ------------------------------------------------------------------------------


@router.api_route("/violations", methods=["GET", "HEAD"])
async def cases(
    request: Request, visitor: VisitorDep, reviews: ReviewsDep, after: AfterQuery = None
) -> Response:
    """List leads and cases (违规情形), and offer to open a lead."""
    return await _list(request, visitor, reviews, VIOLATIONS, after)


@router.post("/violations")
async def open_lead(
    request: Request, visitor: VisitorDep, sent: SentDep, reviews: ReviewsDep
) -> Response:
    """Open a lead; a form sent twice opens it once."""
    return await _open(request, visitor, reviews, VIOLATIONS, sent)


@router.api_route("/violations/{matter_id}", methods=["GET", "HEAD"])
async def case(
    request: Request, visitor: VisitorDep, matter_id: MatterId, reviews: ReviewsDep
) -> Response:
    """Show one case."""
    return await _one(request, visitor, reviews, VIOLATIONS, matter_id)


@router.api_route("/violations/{matter_id}/chain", methods=["GET", "HEAD"])
async def chain(
    request: Request, visitor: VisitorDep, matter_id: MatterId, reviews: ReviewsDep
) -> Response:
    """Show the chain of responsibility (责任链) as a page to be printed."""
    found = await shown(reviews, visitor.person, MatterKind.VIOLATION, matter_id)
    return rendered(request, "chain.html", visitor, one=found)


@router.post("/violations/{matter_id}/acts")
async def act_on_case(
    request: Request, visitor: VisitorDep, sent: SentDep, matter_id: MatterId, reviews: ReviewsDep
) -> Response:
    """Do one act on a case."""
    return await _act(request, visitor, reviews, VIOLATIONS, matter_id, sent)


# --- what all three do ----------------------------------------------------------------------------


async def _list(
    request: Request,
    visitor: Visitor,
    reviews: Reviews,
    desk: Desk,
    after: str | None,
    sent: Sent | None = None,
    error: RuleError | None = None,
) -> Response:
    found = await listed(reviews, visitor.person, desk.kind, {}, A_PAGE, after)
    return rendered(
        request, f"{desk.path[1:]}.html", visitor, status=error.status if error else 200,
        tabs=TABS, found=found, typed=sent or Sent({}), key=new_id(),
        may_open=visitor.has(*desk.openers), proposing=not visitor.has(*supervising.ISSUERS),
        **await _choices(visitor, reviews),
        refusal=told(error, language_of_page(request)) if error else None,
    )  # fmt: skip


async def _one(
    request: Request,
    visitor: Visitor,
    reviews: Reviews,
    desk: Desk,
    matter_id: str,
    sent: Sent | None = None,
    error: RuleError | None = None,
) -> Response:
    found = await shown(reviews, visitor.person, desk.kind, matter_id)
    return rendered(
        request, f"{desk.path[1:-1]}.html", visitor, status=error.status if error else 200,
        tabs=TABS, one=found, may_write=visitor.has(Role.INFO_OFFICER),
        acts=f"{desk.path}/{matter_id}/acts", typed=sent or Sent({}),
        **await _choices(visitor, reviews),
        refusal=told(error, language_of_page(request)) if error else None,
    )  # fmt: skip


async def _choices(visitor: Visitor, reviews: Reviews) -> Json:
    def read(session: Session, _person: Person, _now: datetime) -> list[Json]:
        return overseeing.units(session)

    return {
        "units": await reviews.administration(visitor.person, read),
        "kinds": list(KINDS),
        "incident_kinds": list(IncidentKind),
        "levels": list(Level),
        "results": list(ViolationResult),
    }


async def _open(
    request: Request, visitor: Visitor, reviews: Reviews, desk: Desk, sent: Sent
) -> Response:
    try:
        asked = asked_of(desk.new, sent)
        answer = await opened(reviews, visitor.person, desk.kind, asked, _key(sent), WAY_IN)
    except (RuleError, ValidationError) as caught:
        error = as_refusal(caught)
        if error.status in (401, 403, 404, 503):
            raise error from None
        return await _list(request, visitor, reviews, desk, None, sent, error)
    return go(request, f"{desk.path}/{answer['id']}")


async def _act(
    request: Request, visitor: Visitor, reviews: Reviews, desk: Desk, matter_id: str, sent: Sent
) -> Response:
    try:
        asked = asked_of(desk.act, sent)
        await acted(reviews, visitor.person, desk.kind, matter_id, asked, _key(sent), WAY_IN)
    except (RuleError, ValidationError) as caught:
        error = as_refusal(caught)
        if error.status in (401, 403, 404, 503):
            raise error from None
        return await _one(request, visitor, reviews, desk, matter_id, sent, error)
    return go(request, f"{desk.path}/{matter_id}")


def asked_of(model: type[BaseModel], sent: Sent) -> Any:
    """Return what a form asks for; a field that was left empty was not given.

    Raises:
        MalformedError: A moment can't be read.
        ValidationError: Not of the model's shape.
    """
    given: Json = {}
    for name in model.model_fields:
        value = sent.one(name).strip()
        if not value:
            continue
        given[name] = local_moment(value, name) if name in MOMENTS else value
    if "kind" in given and model is NewViolation:
        if given["kind"] not in {str(kind) for kind in KINDS}:
            malformed("kind", "unknown_value")
        given["kind"] = int(given["kind"])
    return model.model_validate(given)


def _key(sent: Sent) -> str:
    key = sent.one("key")
    return key if ID.fullmatch(key) else new_id()
