"""Supervision orders, incidents and violation cases (requirements 1.5): open, act, read."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from sqlmodel import Session

from review.acts import incidents, supervising, violations
from review.matter_requests import (
    IncidentAct,
    NewIncident,
    NewOrder,
    NewViolation,
    OrderAct,
    ViolationAct,
)
from review.records.people import Person
from review.rules.matters import IncidentState, MatterKind, OrderState, ViolationState
from review.rules.values import Level
from starter.reviews import Reviews
from starter.web.bodies import body_of
from starter.web.dependencies import (
    ID,
    AfterQuery,
    Caller,
    CallerDep,
    KeyDep,
    LimitQuery,
    ReviewsDep,
)
from starter.web.openapi import READS, WRITES, refusals, takes
from starter.web.problems import Answer

Json = dict[str, Any]
MatterId = Annotated[str, Path(description="Its id.", pattern=f"^{ID.pattern}$")]
UnitQuery = Annotated[str | None, Query(pattern=r"^[A-Za-z0-9_.-]{1,120}$")]

orders = APIRouter(prefix="/api/v1/supervision-orders", tags=["management"])
events = APIRouter(prefix="/api/v1/incidents", tags=["management"])
cases = APIRouter(prefix="/api/v1/violations", tags=["management"])
ROUTERS = (orders, events, cases)
BODIES = (NewOrder, OrderAct, NewIncident, IncidentAct, NewViolation, ViolationAct)
MODULES: dict[MatterKind, Any] = {
    MatterKind.ORDER: supervising,
    MatterKind.INCIDENT: incidents,
    MatterKind.VIOLATION: violations,
}
OPENING: dict[MatterKind, Any] = {
    MatterKind.ORDER: supervising.open_order,
    MatterKind.INCIDENT: incidents.register,
    MatterKind.VIOLATION: violations.report,
}


async def opened(
    reviews: Reviews, person: Person, kind: MatterKind, request: Any, key: str | None, way_in: str
) -> Json:
    """Open a matter; see the acts' modules for what is refused."""

    def act(session: Session, who: Person, now: datetime) -> Json:
        found: Json = OPENING[kind](session, who, request, way_in=way_in, now=now)
        return found

    return await reviews.manage(
        person, kind, f"open_{kind}", request, key=key, way_in=way_in, act=act
    )


async def acted(
    reviews: Reviews,
    person: Person,
    kind: MatterKind,
    matter_id: str,
    request: Any,
    key: str | None,
    way_in: str,
) -> Json:
    """Do one act on a matter; see the acts' modules for what is refused."""

    def act(session: Session, who: Person, now: datetime) -> Json:
        found: Json = MODULES[kind].act(session, who, matter_id, request, way_in=way_in, now=now)
        return found

    return await reviews.manage(
        person, kind, f"{kind}:{matter_id}", request, key=key, way_in=way_in, act=act
    )


async def listed(
    reviews: Reviews, person: Person, kind: MatterKind, filters: Json, limit: int, after: str | None
) -> Json:
    """Return the matters of a kind that somebody may read, newest first."""

    def read(session: Session, who: Person, now: datetime) -> Json:
        found: Json = MODULES[kind].listed(session, who, filters, limit, after, now)
        return found

    return await reviews.administration(person, read)


async def shown(reviews: Reviews, person: Person, kind: MatterKind, matter_id: str) -> Json:
    """Return one matter as somebody may read it."""

    def read(session: Session, who: Person, now: datetime) -> Json:
        found: Json = MODULES[kind].shown(session, who, matter_id, now)
        return found

    return await reviews.administration(person, read)


async def _opened(
    reviews: Reviews, caller: Caller, kind: MatterKind, request: Any, key: str | None
) -> Answer:
    return Answer(await opened(reviews, caller.person, kind, request, key, caller.way_in), 201)


async def _acted(
    reviews: Reviews, caller: Caller, kind: MatterKind, matter: str, request: Any, key: str | None
) -> Answer:
    return Answer(await acted(reviews, caller.person, kind, matter, request, key, caller.way_in))


# --- supervision orders ---------------------------------------------------------------------------


@orders.get("", responses=refusals(*READS))
async def list_orders(
    caller: CallerDep,
    reviews: ReviewsDep,
    state: OrderState | None = None,
    unit: UnitQuery = None,
    open_: Annotated[bool | None, Query(alias="open", description="Not over yet.")] = None,
    limit: LimitQuery = 50,
    after: AfterQuery = None,
) -> Answer:
    """List the supervision orders (督办单) that the caller may read, newest first."""
    filters = {"state": state, "unit": unit, "open": open_}
    return Answer(await listed(reviews, caller.person, MatterKind.ORDER, filters, limit, after))


@orders.post("", status_code=201, openapi_extra=takes(NewOrder), responses=refusals(*WRITES))
async def open_order(
    caller: CallerDep,
    request: Annotated[NewOrder, Depends(body_of(NewOrder))],
    reviews: ReviewsDep,
    key: KeyDep,
) -> Answer:
    """Issue an order; a supervisor's is a proposal that waits to be issued."""
    return await _opened(reviews, caller, MatterKind.ORDER, request, key)


@orders.get("/{matter_id}", responses=refusals(*READS))
async def show_order(caller: CallerDep, matter_id: MatterId, reviews: ReviewsDep) -> Answer:
    """Show one order with everything that happened."""
    return Answer(await shown(reviews, caller.person, MatterKind.ORDER, matter_id))


@orders.post("/{matter_id}/acts", openapi_extra=takes(OrderAct), responses=refusals(*WRITES))
async def act_on_order(
    caller: CallerDep,
    matter_id: MatterId,
    request: Annotated[OrderAct, Depends(body_of(OrderAct))],
    reviews: ReviewsDep,
    key: KeyDep,
) -> Answer:
    """Issue or dismiss a proposal; sign for, answer, put right; repeat, send back, close."""
    return await _acted(reviews, caller, MatterKind.ORDER, matter_id, request, key)


# --- incidents ------------------------------------------------------------------------------------


@events.get("", responses=refusals(*READS))
async def list_incidents(
    caller: CallerDep,
    reviews: ReviewsDep,
    state: IncidentState | None = None,
    unit: UnitQuery = None,
    level: Level | None = None,
    limit: LimitQuery = 50,
    after: AfterQuery = None,
) -> Answer:
    """List the incidents that the caller may read, newest first."""
    filters = {"state": state, "unit": unit, "level": level}
    return Answer(await listed(reviews, caller.person, MatterKind.INCIDENT, filters, limit, after))


@events.post("", status_code=201, openapi_extra=takes(NewIncident), responses=refusals(*WRITES))
async def register_incident(
    caller: CallerDep,
    request: Annotated[NewIncident, Depends(body_of(NewIncident))],
    reviews: ReviewsDep,
    key: KeyDep,
) -> Answer:
    """Register an event as the duty officer; it does not replace reporting the incident."""
    return await _opened(reviews, caller, MatterKind.INCIDENT, request, key)


@events.get("/{matter_id}", responses=refusals(*READS))
async def show_incident(caller: CallerDep, matter_id: MatterId, reviews: ReviewsDep) -> Answer:
    """Show one incident: its clock, its reports, what comes next."""
    return Answer(await shown(reviews, caller.person, MatterKind.INCIDENT, matter_id))


@events.post("/{matter_id}/acts", openapi_extra=takes(IncidentAct), responses=refusals(*WRITES))
async def act_on_incident(
    caller: CallerDep,
    matter_id: MatterId,
    request: Annotated[IncidentAct, Depends(body_of(IncidentAct))],
    reviews: ReviewsDep,
    key: KeyDep,
) -> Answer:
    """Set the level, record the authority, link a report, name the last one, close."""
    return await _acted(reviews, caller, MatterKind.INCIDENT, matter_id, request, key)


# --- violation cases ------------------------------------------------------------------------------


@cases.get("", responses=refusals(*READS))
async def list_violations(
    caller: CallerDep,
    reviews: ReviewsDep,
    state: ViolationState | None = None,
    unit: UnitQuery = None,
    kind: Annotated[int | None, Query(ge=1, le=6)] = None,
    limit: LimitQuery = 50,
    after: AfterQuery = None,
) -> Answer:
    """List the violation cases that the caller may read, newest first."""
    filters = {"state": state, "unit": unit, "kind": kind}
    return Answer(await listed(reviews, caller.person, MatterKind.VIOLATION, filters, limit, after))


@cases.post("", status_code=201, openapi_extra=takes(NewViolation), responses=refusals(*WRITES))
async def open_lead(
    caller: CallerDep,
    request: Annotated[NewViolation, Depends(body_of(NewViolation))],
    reviews: ReviewsDep,
    key: KeyDep,
) -> Answer:
    """Open a lead (线索) of one of the six kinds."""
    return await _opened(reviews, caller, MatterKind.VIOLATION, request, key)


@cases.get("/{matter_id}", responses=refusals(*READS))
async def show_violation(caller: CallerDep, matter_id: MatterId, reviews: ReviewsDep) -> Answer:
    """Show one case with its chain of responsibility (责任链)."""
    return Answer(await shown(reviews, caller.person, MatterKind.VIOLATION, matter_id))


@cases.post("/{matter_id}/acts", openapi_extra=takes(ViolationAct), responses=refusals(*WRITES))
async def act_on_violation(
    caller: CallerDep,
    matter_id: MatterId,
    request: Annotated[ViolationAct, Depends(body_of(ViolationAct))],
    reviews: ReviewsDep,
    key: KeyDep,
) -> Answer:
    """Dismiss a lead or ask for the statement; make it; find."""
    return await _acted(reviews, caller, MatterKind.VIOLATION, matter_id, request, key)
