"""The incident register (事件登记), R5.1-3, R5.1-4: its clock runs from the event.

Submissions about an incident are its reports: the first is the 首报, later ones are 续报, and one
is named the 终报. Submitting here does not replace reporting the incident itself (T-13).
"""

from datetime import datetime
from typing import Any

from sqlmodel import Session, col, or_, select

from review.acts.item import calendar_in_force, policy_in_force, policy_of
from review.acts.matters import (
    Terms,
    by_roles,
    entries_of,
    fired,
    known_submission,
    known_unit,
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
from review.ids import new_id
from review.matter_requests import IncidentAct, NewIncident
from review.records.matters import Incident, IncidentReport
from review.records.people import Person, names
from review.records.tables import Submission
from review.rules.errors import MalformedError, NotAllowedError, NotFoundError, RefusedError
from review.rules.matters import GRAVE, IncidentState, Mark, MatterKind, incident_marks
from review.rules.values import Level, Role, Status

Json = dict[str, Any]
OPEN = frozenset({IncidentState.OPEN})
DUTY = frozenset({Role.DUTY_OFFICER})
LEADS = DUTY | {Role.CENTER_CHIEF}
KEEPERS = LEADS | {
    Role.CENTER_DEPUTY, Role.OFFICE_REVIEWER, Role.OFFICE_DIRECTOR, Role.PUBLICITY_LEADER,
    Role.BUREAU_CHIEF,
}  # fmt: skip
TERMS: dict[str, Terms] = {
    "set_level": Terms(OPEN, LEADS | {Role.BUREAU_CHIEF}, needs=("level",)),
    "authorise": Terms(
        OPEN,
        DUTY | {Role.OFFICE_REVIEWER, Role.OFFICE_DIRECTOR, Role.CENTER_CHIEF},
        needs=("authority", "reference"),
    ),
    "link": Terms(
        frozenset(IncidentState), LEADS | {Role.CENTER_DEPUTY, Role.CENTER_EDITOR},
        frozenset({Role.UNIT_HEAD, Role.INFO_OFFICER}), ("submission",),
    ),
    "final": Terms(OPEN, LEADS | {Role.CENTER_DEPUTY}, needs=("submission",)),
    "press_held": Terms(OPEN, LEADS | {Role.PUBLICITY_LEADER, Role.OFFICE_DIRECTOR}),
    "close": Terms(OPEN, LEADS),
    "note": Terms(frozenset(IncidentState), KEEPERS, frozenset({Role.UNIT_HEAD}), ("text",)),
}  # fmt: skip
VOID = (Status.REJECTED, Status.WITHDRAWN)  # no report of an incident


def register(
    session: Session, person: Person, request: NewIncident, *, way_in: str, now: datetime
) -> Json:
    """Register an event; its clock has been running since it happened.

    Raises:
        NotAllowedError: Not the duty officer.
        MalformedError: unknown_unit, moment_in_future.
    """
    if not any(one.role in DUTY for one in person.roles):
        raise NotAllowedError(act="register_incident", needs=Role.DUTY_OFFICER)
    known_unit(session, request.unit)
    if request.event_at > now:
        raise MalformedError(errors=[{"field": "event_at", "message": "moment_in_future"}])
    digest, _ = policy_in_force(session)
    row = Incident(
        id=new_id(), number=next_number(session, MatterKind.INCIDENT, now), title=request.title,
        place=request.place, kind=request.kind, level=request.level, unit_id=request.unit,
        event_at=request.event_at, registered_at=now, registered_by_id=person.id,
        reported_to=request.reported_to, policy_digest=digest, state=IncidentState.OPEN,
    )  # fmt: skip
    note(
        session, row, "registered", now, person, role=Role.DUTY_OFFICER, way_in=way_in,
        level=str(request.level), kind_of_incident=str(request.kind), unit=request.unit,
        event_at=shown_moment(request.event_at),
    )  # fmt: skip
    tell(session, row, _concerned(session, row, now), "incident_registered", "registered", now)
    return answer(row)


def link(session: Session, name: str, submission: Submission, now: datetime) -> str | None:
    """Count a submission as a report of the incident that its `incident` field names.

    Args:
        name: An incident's id or number, or an item that is a report of it.

    Returns:
        The incident's id; None where the field names an item of no registered incident.

    Raises:
        MalformedError: unknown_incident.
    """
    row = session.exec(
        select(Incident).where(or_(Incident.id == name, Incident.number == name))
    ).first()
    if row is None:
        other = session.get(IncidentReport, name)
        if other is not None:
            row = session.get(Incident, other.incident_id)
        elif session.get(Submission, name) is not None:
            return None
    if row is None:
        raise MalformedError(errors=[{"field": "incident", "message": "unknown_incident"}])
    if _link(session, row, submission, now):
        note(session, row, "reported", now, submission=submission.id)
    return row.id


def _link(session: Session, row: Incident, submission: Submission, now: datetime) -> bool:
    return add_once(
        session,
        IncidentReport(
            submission_id=submission.id, incident_id=row.id, at=submission.submitted_at or now
        ),
    )


def act(
    session: Session,
    person: Person,
    incident_id: str,
    request: IncidentAct,
    *,
    way_in: str,
    now: datetime,
) -> Json:
    """Do one act on an incident.

    Raises:
        NotFoundError, NotAllowedError, MalformedError, RefusedError: see `errors.py`.
    """
    row = locked(session, Incident, incident_id)
    require_readable(person, row)
    terms = TERMS[request.act]
    role = require(person, terms, row.unit_id, row.state, request.act)
    need(request, *terms.needs)
    data: Json = {}
    match request.act:
        case "set_level":
            assert request.level is not None
            if request.level == row.level:
                raise RefusedError("nothing_changed")
            if row.level in (Level.MAJOR, Level.EXTREME) and request.level not in GRAVE:
                need(request, "text")  # lowering, as A-7 has it
                if role == Role.DUTY_OFFICER:
                    raise NotAllowedError(act="set_level", needs="lower")
            data = {"was": row.level, "level": str(request.level)}
            row.level = request.level
        case "authorise":
            row.authority, row.authority_reference = request.authority, request.reference
            row.authority_by_id, row.authority_at = person.id, now
        case "link":
            data = _link_by_hand(session, person, row, request, role, now)
        case "final":
            data = _name_final(session, row, request)
        case "press_held":
            if row.press_at is not None:
                raise RefusedError("nothing_changed")
            row.press_by_id, row.press_at = person.id, now
        case "close":
            _close(session, row, request, now)
    note(
        session, row, request.act, now, person, role=role, way_in=way_in, said=request.text, **data
    )
    if request.act in ("set_level", "close"):
        tell(
            session, row, _concerned(session, row, now), f"incident_{request.act}",
            now.isoformat(), now,
        )  # fmt: skip
    return answer(row)


def _link_by_hand(
    session: Session, person: Person, row: Incident, request: IncidentAct, role: str, now: datetime
) -> Json:
    """Count a submission that forgot to name the incident; a unit's people only their own."""
    submission = known_submission(session, str(request.submission))
    if role in (Role.UNIT_HEAD, Role.INFO_OFFICER) and submission.unit_id != row.unit_id:
        raise MalformedError(errors=[{"field": "submission", "message": "unknown_submission"}])
    if not _link(session, row, submission, now):
        raise RefusedError("linked_already")
    return {"submission": submission.id}


def _name_final(session: Session, row: Incident, request: IncidentAct) -> Json:
    named = known_submission(session, str(request.submission)).id
    if named not in [one.id for one in reports_of(session, row.id) if one.status not in VOID]:
        raise MalformedError(errors=[{"field": "submission", "message": "not_a_report"}])
    if row.final_id == named:
        raise RefusedError("nothing_changed")
    row.final_id = named
    return {"submission": row.final_id}


def _close(session: Session, row: Incident, request: IncidentAct, now: datetime) -> None:
    """An incident ends with its 终报 published, or with a reason why there is none."""
    final = session.get(Submission, row.final_id) if row.final_id else None
    if (final is None or final.published_at is None) and not request.text.strip():
        raise RefusedError("final_report_missing")
    row.state, row.ended_at = IncidentState.CLOSED, now


# --- what silence does ----------------------------------------------------------------------------


def reports_of(session: Session, incident_id: str) -> list[Submission]:
    """Return the submissions about an incident, the first one first."""
    return list(
        session.exec(
            select(Submission)
            .join(IncidentReport, col(IncidentReport.submission_id) == col(Submission.id))
            .where(IncidentReport.incident_id == incident_id)
            .order_by(col(Submission.submitted_at), col(Submission.id))
        )
    )


def marks(session: Session, row: Incident, now: datetime) -> tuple[Mark, ...]:
    """Return the moments of an incident that are still to come or due; none once it is closed."""
    if row.state != IncidentState.OPEN:
        return ()
    reports = [one for one in reports_of(session, row.id) if one.status not in VOID]
    return incident_marks(
        row.level, row.event_at, [one.submitted_at for one in reports],
        any(one.published_at is not None for one in reports), row.press_at is not None, now,
        fired(session, row.id), policy_of(session, row.policy_digest).management,
        calendar_in_force(session),
    )  # fmt: skip


def fire(session: Session, row: Incident, mark: Mark, now: datetime) -> None:
    """Alarm, and write down what is late: 漏报, 迟报."""
    told = _concerned(session, row, now)
    match mark.kind:
        case "incident_missed":
            row.missed_at = row.missed_at or mark.at
        case "incident_late":
            row.late_at = row.late_at or mark.at
            told += by_roles(session, now, Role.BUREAU_CHIEF)
        case "incident_press":
            told = by_roles(
                session, now, Role.CENTER_CHIEF, Role.PUBLICITY_LEADER, Role.OFFICE_DIRECTOR,
                Role.DUTY_OFFICER,
            )  # fmt: skip
    tell(session, row, told, mark.kind, mark.mark, now, at=shown_moment(mark.at))
    event = mark.kind.removeprefix("incident_")
    note(session, row, event, now, nudge=False, at=mark.at.isoformat())


def _concerned(session: Session, row: Incident, now: datetime) -> list[tuple[str, str]]:
    people = unit_people(session, row.unit_id, now) + by_roles(
        session, now, Role.DUTY_OFFICER, Role.SUPERVISOR, Role.CENTER_DEPUTY, Role.CENTER_CHIEF
    )
    if row.level in GRAVE:
        people += by_roles(session, now, Role.PUBLICITY_LEADER, Role.OFFICE_DIRECTOR)
    return people


# --- reads ----------------------------------------------------------------------------------------


def require_readable(person: Person, row: Incident) -> None:
    """Raise NotFoundError unless somebody may read an incident."""
    units = units_of(person, DUTY)
    if units is not None and row.unit_id not in units:
        raise NotFoundError


def listed(
    session: Session,
    person: Person,
    filters: Json,
    limit: int,
    after: str | None,
    _now: datetime,
) -> Json:
    """Return the incidents that somebody may read, newest first.

    Args:
        filters: state, unit, level; all optional.
    """
    units = units_of(person, DUTY)
    conditions: list[Any] = [] if units is None else [col(Incident.unit_id).in_(units)]
    for name, column in (
        ("state", Incident.state), ("unit", Incident.unit_id), ("level", Incident.level),
    ):  # fmt: skip
        if filters.get(name):
            conditions.append(column == filters[name])
    rows, following = page_of(session, Incident, conditions, limit, after)
    return {"items": [line(session, row) for row in rows], "next": following}


def line(session: Session, row: Incident) -> Json:
    """Return one line of the list."""
    return {
        "id": row.id,
        "number": row.number,
        "title": row.title,
        "kind": row.kind,
        "level": row.level,
        "state": row.state,
        "unit": unit_named(session, row.unit_id),
        "event_at": shown_moment(row.event_at),
        "missed": row.missed_at is not None,
        "late": row.late_at is not None,
    }


def answer(row: Incident) -> Json:
    """Return what an act answers."""
    return {"id": row.id, "number": row.number, "state": row.state, "level": row.level}


def shown(session: Session, person: Person, incident_id: str, now: datetime) -> Json:
    """Return one incident with reports, clock, entries and what this person may do."""
    row = session.get(Incident, incident_id)
    if row is None:
        raise NotFoundError
    require_readable(person, row)
    people = names(session, {row.registered_by_id, row.authority_by_id, row.press_by_id})
    rules = policy_of(session, row.policy_digest).management
    line_at = calendar_in_force(session).after(
        row.event_at, rules.line_grave if row.level in GRAVE else rules.line_other
    )
    coming = marks(session, row, now)
    return line(session, row) | {
        "place": row.place,
        "reported_to": row.reported_to,
        "registered_at": shown_moment(row.registered_at),
        "registered_by": people.get(row.registered_by_id),
        "grave": row.level in GRAVE,
        "line_at": shown_moment(line_at),
        "missed_at": shown_moment(row.missed_at),
        "late_at": shown_moment(row.late_at),
        "authority": {
            "organisation": row.authority, "reference": row.authority_reference,
            "person": people.get(row.authority_by_id), "at": shown_moment(row.authority_at),
        } if row.authority else None,
        "press_at": shown_moment(row.press_at),
        "press_by": people.get(row.press_by_id),
        "ended_at": shown_moment(row.ended_at),
        "reports": _reports(session, row),
        "next": [
            {"kind": mark.kind.removeprefix("incident_"), "at": shown_moment(mark.at)}
            for mark in coming
        ],
        "entries": entries_of(session, row.id),
        "allowed_actions": [
            name
            for name, terms in TERMS.items()
            if row.state in terms.states and role_for(person, terms, row.unit_id)
        ],
    }  # fmt: skip


def _reports(session: Session, row: Incident) -> list[Json]:
    """Return the reports in order, each with what it is: 首报, 续报 or 终报."""
    found: list[Json] = []
    counted = 0
    for one in reports_of(session, row.id):
        void = one.status in VOID
        report = "final" if one.id == row.final_id else "first" if not counted else "follow_up"
        counted += not void
        found.append(
            {
                "id": one.id, "number": one.number, "report": "void" if void else report,
                "status": one.status, "submitted_at": shown_moment(one.submitted_at),
                "published_at": shown_moment(one.published_at), "late": one.overdue_at is not None,
            }
        )  # fmt: skip
    return found
