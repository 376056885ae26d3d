"""Supervision orders (督办单), R5.3-1, A-23: proposed or issued, signed for, answered, put right.

The system proposes, reminds and notes that a deadline went by; a lapse opens a lead. Issuing,
repeating, closing and dismissing are people's.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import func
from sqlmodel import Session, col, select

from review.acts.item import calendar_in_force, policy_in_force
from review.acts.matters import (
    Terms,
    by_roles,
    entries_of,
    item_named,
    known_submission,
    known_unit,
    leaders_of,
    locked,
    need,
    next_number,
    note,
    page_of,
    require,
    role_for,
    tell,
    unit_named,
    units_of,
)
from review.acts.notices import unit_people
from review.acts.repeats import add_once
from review.acts.showing import shown_moment
from review.acts.violations import open_lead
from review.ids import new_id
from review.matter_requests import NewOrder, OrderAct
from review.records.matters import Order, Violation
from review.records.people import Person, names
from review.records.tables import (
    Channel,
    Pack,
    PersonRow,
    Publication,
    Step,
    StepPerson,
    Submission,
)
from review.rules.errors import MalformedError, NotAllowedError, NotFoundError, RefusedError
from review.rules.matters import LAPSED_ORDER, REPEATS, Mark, MatterKind, OrderState, order_marks
from review.rules.values import Category, Role

Json = dict[str, Any]
S = OrderState
ISSUERS = frozenset({Role.CENTER_CHIEF, Role.OFFICE_REVIEWER, Role.OFFICE_DIRECTOR})
PROPOSERS = frozenset({Role.SUPERVISOR})
UNIT = frozenset({Role.UNIT_HEAD, Role.INFO_OFFICER})
HEAD = frozenset({Role.UNIT_HEAD})
RUNNING = frozenset({S.ISSUED, S.LAPSED, S.RECTIFIED})
OPEN = RUNNING | {S.PROPOSED}
TERMS: dict[str, Terms] = {
    "issue": Terms(frozenset({S.PROPOSED}), ISSUERS, needs=("subject",)),
    "dismiss": Terms(frozenset({S.PROPOSED}), ISSUERS, needs=("text",)),
    "sign": Terms(frozenset({S.ISSUED, S.LAPSED}), unit_roles=UNIT),
    "reply": Terms(frozenset({S.ISSUED, S.LAPSED}), unit_roles=UNIT, needs=("text",)),
    "rectify": Terms(frozenset({S.ISSUED, S.LAPSED}), unit_roles=HEAD, needs=("text",)),
    "send_back": Terms(frozenset({S.RECTIFIED}), ISSUERS, needs=("text",)),
    "repeat": Terms(frozenset({S.LAPSED}), ISSUERS, needs=("text",)),
    "close": Terms(frozenset({S.RECTIFIED, S.LAPSED}), ISSUERS, needs=("text",)),
    "note": Terms(OPEN, ISSUERS | PROPOSERS, frozenset({Role.SUPERVISING_LEADER}), ("text",)),
}
BY_UNIT = ("sign", "reply", "rectify")
GRAVE = (Category.EMERGENCY, Category.PUBLIC_OPINION)
# A supervision order goes to a unit; a bureau leader who is late is told by the escalation.
LEADING = (Role.SUPERVISING_LEADER, Role.BUREAU_CHIEF, Role.PUBLICITY_LEADER)


# --- coming into being ----------------------------------------------------------------------------


def propose(
    session: Session,
    cause: str,
    unit_id: str,
    now: datetime,
    *,
    submission_id: str = "",
    channel: str = "",
    urgent: bool = False,
    subject: str = "",
    person: Person | None = None,
    role: str = "",
    way_in: str = "",
    announce: bool = True,
    **shown: Any,
) -> str | None:
    """Propose an order once for one cause; it waits for a person to issue it.

    Args:
        person: Who proposes it; None is the system.
        announce: Write it down and tell those who may issue it; not where it is issued at once.
        shown: Codes and moments that tell why.

    Returns:
        Its id; None when there is one for that cause.
    """
    row = Order(
        id=new_id(), cause=cause, unit_id=unit_id, submission_id=submission_id, channel=channel,
        urgent=urgent, subject=subject, shown=shown, state=S.PROPOSED,
        proposed_by_id=person.id if person else "", proposed_at=now,
    )  # fmt: skip
    if not add_once(session, row):
        return None
    if announce:
        row = locked(session, Order, row.id)
        note(
            session, row, "proposed", now, person, role=role, way_in=way_in, nudge=False,
            unit=unit_id, submission=submission_id, channel=channel,
        )  # fmt: skip
        told = by_roles(session, now, *sorted(ISSUERS))
        tell(session, row, told, "order_proposed", "proposed", now)
    return row.id


def cause_of_item(session: Session, submission_id: str) -> str:
    """Return what makes the next order about an item one of its kind: the former must be over."""
    over = session.exec(
        select(func.count())
        .select_from(Order)
        .where(Order.submission_id == submission_id)
        .where(col(Order.ended_at).is_not(None))
    ).one()
    return f"item:{submission_id}:{over}"


def propose_for_step(session: Session, row: Submission, step: Step, now: datetime) -> str | None:
    """Propose an order to the unit that holds an item past its last escalation (A-23)."""
    if step.role in LEADING:
        return None
    holder = session.exec(
        select(PersonRow.unit_id)
        .join(StepPerson, col(StepPerson.person_id) == col(PersonRow.id))
        .where(StepPerson.step_id == step.id)
        .where(col(StepPerson.active).is_(True))
        .where(col(StepPerson.why).in_(("role", "backup", "transfer")))
        .order_by(col(PersonRow.id))
    ).first()
    return propose(
        session, cause_of_item(session, row.id), holder or row.unit_id, now,
        submission_id=row.id, urgent=row.category in GRAVE, code="overdue", step=step.key,
        due_at=shown_moment(step.due_at),
    )  # fmt: skip


def propose_for_stale_channels(session: Session, now: datetime) -> list[str]:
    """Propose an order for every channel without a post for too long; once for each silence (T-4).

    A channel that never had a post is counted from when this ledger's first rules were adopted.
    """
    limit = policy_in_force(session)[1].management.stale_channel
    calendar = calendar_in_force(session)
    begun = session.exec(select(func.min(Pack.adopted_at))).one()
    latest = {
        channel: at
        for channel, at in session.exec(
            select(Publication.channel, func.max(Publication.live_at)).group_by(Publication.channel)
        )
    }
    proposed: list[str] = []
    for channel in session.exec(select(Channel).where(Channel.state == "active")).all():
        since = latest.get(channel.id) or begun
        if since is None or calendar.after(since, limit) > now:
            continue
        made = propose(
            session, f"stale:{channel.id}:{since.isoformat()}", channel.operator_unit_id, now,
            channel=channel.id, code="stale", since=shown_moment(since),
        )  # fmt: skip
        if made is not None:
            proposed.append(made)
    return proposed


def open_order(
    session: Session, person: Person, request: NewOrder, *, way_in: str, now: datetime
) -> Json:
    """Issue an order, or propose one as a supervisor.

    Raises:
        NotAllowedError: Neither 中心主要负责人 nor 局办公室 nor 督导员.
        MalformedError: unknown_unit, unknown_submission, unknown_channel, moment_in_past.
        RefusedError: `order_exists`: there is one about that item which is not over.
    """
    role = next((one.role for one in person.roles if one.role in ISSUERS | PROPOSERS), None)
    issuing = any(one.role in ISSUERS for one in person.roles)
    if role is None:
        raise NotAllowedError(act="open_order")
    unit_id = known_unit(session, request.unit).id
    cause = f"person:{new_id()}"
    urgent, about = request.urgent, ""
    if request.submission:
        item = known_submission(session, request.submission)
        urgent, about = urgent or item.category in GRAVE, item.id
        cause = cause_of_item(session, item.id)
    if request.channel and session.get(Channel, request.channel) is None:
        raise MalformedError(errors=[{"field": "channel", "message": "unknown_channel"}])
    made = propose(
        session, cause, unit_id, now, submission_id=about,
        channel=request.channel or "", urgent=urgent, subject=request.subject, person=person,
        role=role, way_in=way_in, announce=not issuing, code="person",
    )  # fmt: skip
    if made is None:
        raise RefusedError("order_exists")
    row = locked(session, Order, made)
    if issuing:
        role = next(one.role for one in person.roles if one.role in ISSUERS)
        _issue(session, person, row, request.due_at, now)
        note(session, row, "issue", now, person, role=role, way_in=way_in,
             due_at=shown_moment(row.due_at), round=row.round)  # fmt: skip
        _tell_issued(session, row, now)
    return answer(row)


# --- acts -----------------------------------------------------------------------------------------


def act(
    session: Session,
    person: Person,
    order_id: str,
    request: OrderAct,
    *,
    way_in: str,
    now: datetime,
) -> Json:
    """Do one act on an order.

    Raises:
        NotFoundError, NotAllowedError, MalformedError, RefusedError: see `errors.py`.
    """
    row = locked(session, Order, order_id)
    require_readable(person, row)
    terms = TERMS[request.act]
    role = require(person, terms, row.unit_id, row.state, request.act)
    data: Json = {}
    if request.act == "issue" and request.subject is None and row.subject:
        terms = terms._replace(needs=())
    need(request, *terms.needs)
    if request.act in BY_UNIT and person.id == row.issued_by_id:
        raise RefusedError("separation_of_duties", act=request.act)
    if request.act in ("close", "send_back") and person.id == row.rectified_by_id:
        raise RefusedError("separation_of_duties", act=request.act)
    match request.act:
        case "issue":
            row.subject = request.subject or row.subject
            _issue(session, person, row, request.due_at, now)
        case "dismiss":
            row.state, row.ended_at = S.DISMISSED, now
        case "sign":
            if row.signed_at is not None:
                raise RefusedError("nothing_changed")
            row.signed_by_id, row.signed_at = person.id, now
        case "rectify":
            row.state, row.rectified_by_id, row.rectified_at = S.RECTIFIED, person.id, now
        case "send_back":
            late = row.due_at is not None and row.due_at <= now and row.lapsed_at is not None
            row.state = S.LAPSED if late else S.ISSUED
        case "repeat":
            if row.round > REPEATS:
                raise RefusedError("repeated_already")
            _issue(session, person, row, request.due_at, now)
        case "close":
            row.state, row.ended_at = S.CLOSED, now
    if request.act in ("issue", "repeat"):
        data = {"due_at": shown_moment(row.due_at), "round": row.round}
    note(
        session, row, request.act, now, person, role=role, way_in=way_in, said=request.text, **data
    )
    _tell(session, row, request.act, now)
    return answer(row)


def _issue(
    session: Session, person: Person, row: Order, due_at: datetime | None, now: datetime
) -> None:
    """Give a proposal its number and let its time run; the same for the one repeat."""
    if due_at is not None and due_at <= now:
        raise MalformedError(errors=[{"field": "due_at", "message": "moment_in_past"}])
    rules = policy_in_force(session)[1].management
    limit = rules.order_urgent if row.urgent else rules.order
    row.number = row.number or next_number(session, MatterKind.ORDER, now)
    row.state, row.round = S.ISSUED, row.round + 1
    row.issued_by_id, row.issued_at = person.id, row.issued_at or now
    row.started_at = now
    row.due_at = due_at or calendar_in_force(session).after(now, limit, "work")
    row.lapsed_at, row.signed_at, row.signed_by_id = None, None, ""


def _tell_issued(session: Session, row: Order, now: datetime) -> None:
    tell(
        session, row, unit_people(session, row.unit_id, now), "order_issued", f"issued:{row.round}",
        now, due_at=shown_moment(row.due_at),
    )  # fmt: skip


def _tell(session: Session, row: Order, act: str, now: datetime) -> None:
    issuer = [(row.issued_by_id, "order")]
    unit = unit_people(session, row.unit_id, now)
    mark = now.isoformat()
    match act:
        case "issue" | "repeat":
            _tell_issued(session, row, now)
        case "sign" | "reply" | "rectify":
            tell(session, row, issuer, f"order_{act}", mark, now)
        case "send_back" | "close":
            tell(session, row, unit, f"order_{act}", mark, now, due_at=shown_moment(row.due_at))


# --- what silence does ----------------------------------------------------------------------------


def marks(session: Session, row: Order) -> tuple[Mark, ...]:
    """Return the moments of an order that are still to come or due."""
    return order_marks(
        row.state, row.round, row.started_at, row.due_at, row.rectified_at,
        policy_in_force(session)[1].management, calendar_in_force(session),
    )  # fmt: skip


def fire(session: Session, row: Order, mark: Mark, now: datetime) -> None:
    """Remind, or note the lapse: it opens a lead and tells who is above (A-23)."""
    issuer = [(row.issued_by_id, "order")]
    unit = unit_people(session, row.unit_id, now)
    told = issuer if mark.kind == "order_confirm" else unit
    data: Json = {"at": mark.at.isoformat(), "round": row.round}
    if mark.kind == "order_lapse":
        row.state, row.lapsed_at = S.LAPSED, mark.at
        told = [*unit, *issuer, *by_roles(session, now, Role.SUPERVISOR)]
        told += [(one, "leader") for one in leaders_of(session, row.unit_id, now)]
        if row.round > REPEATS:
            told += by_roles(session, now, Role.BUREAU_CHIEF)
        data["lead"] = open_lead(
            session, LAPSED_ORDER, f"order:{row.id}", now, unit_id=row.unit_id,
            submission_id=row.submission_id, order_id=row.id, channel=row.channel,
            number=row.number,
        )  # fmt: skip
        if row.round > REPEATS:
            lead = locked(session, Violation, data["lead"])
            note(session, lead, "lapsed_again", now, order=row.id)
    tell(session, row, told, mark.kind, mark.mark, now, due_at=shown_moment(row.due_at))
    note(session, row, mark.kind.removeprefix("order_"), now, nudge=False, **data)


# --- reads ----------------------------------------------------------------------------------------


def require_readable(person: Person, row: Order) -> None:
    """Raise NotFoundError unless somebody may read an order; a unit reads what was issued to it."""
    units = units_of(person)
    if units is None:
        return
    if row.unit_id not in units or row.issued_at is None:
        raise NotFoundError


def listed(
    session: Session,
    person: Person,
    filters: Json,
    limit: int,
    after: str | None,
    _now: datetime,
) -> Json:
    """Return the orders that somebody may read, newest first.

    Args:
        filters: state, unit, open (not over yet); all optional.
    """
    conditions: list[Any] = []
    units = units_of(person)
    if units is not None:
        conditions += [col(Order.unit_id).in_(units), col(Order.issued_at).is_not(None)]
    for name, column in (("state", Order.state), ("unit", Order.unit_id)):
        if filters.get(name):
            conditions.append(column == filters[name])
    if filters.get("open"):
        conditions.append(col(Order.ended_at).is_(None))
    rows, following = page_of(session, Order, conditions, limit, after)
    return {"items": [line(session, row) for row in rows], "next": following}


def line(session: Session, row: Order) -> Json:
    """Return one line of the list."""
    return {
        "id": row.id,
        "number": row.number,
        "subject": row.subject,
        "cause": {"code": row.cause.partition(":")[0], **row.shown},
        "state": row.state,
        "unit": unit_named(session, row.unit_id),
        "urgent": row.urgent,
        "round": row.round,
        "issued_at": shown_moment(row.issued_at),
        "due_at": shown_moment(row.due_at),
        "signed_at": shown_moment(row.signed_at),
        "by_system": not row.proposed_by_id,
    }


def answer(row: Order) -> Json:
    """Return what an act answers."""
    return {
        "id": row.id, "number": row.number, "state": row.state, "round": row.round,
        "due_at": shown_moment(row.due_at),
    }  # fmt: skip


def shown(session: Session, person: Person, order_id: str, now: datetime) -> Json:
    """Return one order with its entries and what this person may do; NotFoundError for others."""
    row = session.get(Order, order_id)
    if row is None:
        raise NotFoundError
    require_readable(person, row)
    people = names(session, {row.issued_by_id, row.signed_by_id, row.rectified_by_id})
    lead = session.exec(select(Violation).where(Violation.order_id == row.id)).first()
    item = item_named(session, row.submission_id)
    return line(session, row) | {
        "item": item,
        "channel": row.channel or None,
        "issued_by": people.get(row.issued_by_id),
        "signed_by": people.get(row.signed_by_id),
        "rectified_by": people.get(row.rectified_by_id),
        "rectified_at": shown_moment(row.rectified_at),
        "lapsed_at": shown_moment(row.lapsed_at),
        "ended_at": shown_moment(row.ended_at),
        "lead": {"id": lead.id, "number": lead.number} if lead else None,
        "entries": entries_of(session, row.id),
        "allowed_actions": [
            name
            for name, terms in TERMS.items()
            if row.state in terms.states
            and role_for(person, terms, row.unit_id)
            and not (name == "repeat" and row.round > REPEATS)
            and not (name == "sign" and row.signed_at is not None)
        ],
    }
