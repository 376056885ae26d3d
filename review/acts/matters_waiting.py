"""Which orders, incidents and cases wait for a person: for whom they are, never what they say."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, or_, true
from sqlmodel import Session, col, select

from review.acts import incidents, supervising, violations
from review.acts.matters import PAGES
from review.acts.showing import shown_moment
from review.records.matters import Incident, Order, Violation
from review.records.people import Person
from review.rules.matters import IncidentState, MatterKind, OrderState, ViolationState
from review.rules.values import Role

Json = dict[str, Any]
MOST = 20  # of a kind; whoever has more reads the list


def mine(session: Session, person: Person, now: datetime) -> list[Json]:
    """Return what waits for a person, what is due first; at most three statements.

    Returns:
        `{kind, path, number, state, due_at}`, the number None for a proposal.
    """
    found: list[tuple[datetime | None, Json]] = []
    if (condition := _orders(person)) is not None:
        orders = select(Order).where(condition).order_by(col(Order.due_at)).limit(MOST)
        found += [(row.due_at, _line(MatterKind.ORDER, row)) for row in session.exec(orders)]
    if (condition := _incidents(person)) is not None:
        events = select(Incident).where(condition).order_by(col(Incident.event_at)).limit(MOST)
        found += [(None, _line(MatterKind.INCIDENT, row)) for row in session.exec(events)]
    if (condition := _cases(session, person, now)) is not None:
        cases = select(Violation).where(condition).order_by(col(Violation.id)).limit(MOST)
        found += [
            (row.statement_due_at, _line(MatterKind.VIOLATION, row)) for row in session.exec(cases)
        ]
    dated = sorted(((due, line) for due, line in found if due), key=lambda one: one[0])
    return [
        line | {"due_at": shown_moment(due)}
        for due, line in [*dated, *(one for one in found if one[0] is None)]
    ]


def _line(kind: MatterKind, row: Order | Incident | Violation) -> Json:
    return {
        "kind": str(kind), "path": f"/{PAGES[kind]}/{row.id}", "number": row.number,
        "state": row.state,
    }  # fmt: skip


def _units(person: Person, *roles: Role) -> set[str]:
    return {held.unit_id for held in person.roles if held.role in roles and held.unit_id}


def _any(conditions: list[ColumnElement[bool]]) -> ColumnElement[bool] | None:
    return or_(*conditions) if conditions else None


def _orders(person: Person) -> ColumnElement[bool] | None:
    held = {one.role for one in person.roles}
    conditions: list[ColumnElement[bool]] = []
    if held & supervising.ISSUERS:
        conditions.append(col(Order.state).in_([OrderState.PROPOSED, OrderState.RECTIFIED]))
    if units := _units(person, *supervising.UNIT):
        mine = col(Order.unit_id).in_(units)
        conditions.append(and_(mine, col(Order.state).in_([OrderState.ISSUED, OrderState.LAPSED])))
    return _any(conditions)


def _incidents(person: Person) -> ColumnElement[bool] | None:
    held = {one.role for one in person.roles}
    is_open = col(Incident.state) == IncidentState.OPEN
    if held & incidents.LEADS:
        return is_open
    units = _units(person, Role.UNIT_HEAD, Role.INFO_OFFICER)
    return and_(is_open, col(Incident.unit_id).in_(units)) if units else None


def _cases(session: Session, person: Person, now: datetime) -> ColumnElement[bool] | None:
    held = {one.role for one in person.roles}
    state = col(Violation.state)
    late = and_(state == ViolationState.ASKED, col(Violation.statement_late_at).is_not(None))
    conditions: list[ColumnElement[bool]] = []
    if held & violations.CASES:
        conditions.append(state == ViolationState.LEAD)
    if held & violations.FINDERS:
        conditions += [state == ViolationState.STATED, late]
    for one, covered in [(person, true()), *violations.covers(session, person, now)]:
        if headed := _units(one, Role.UNIT_HEAD):
            theirs = and_(col(Violation.unit_id).in_(headed), state == ViolationState.ASKED)
            conditions.append(and_(theirs, covered))
        if led := _units(one, Role.SUPERVISING_LEADER):
            theirs = and_(
                col(Violation.unit_id).in_(led), or_(state == ViolationState.STATED, late)
            )
            conditions.append(and_(theirs, covered))
    return _any(conditions)
