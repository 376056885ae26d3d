"""Lists, inbox, board and statistics, straight from the ledger: people read their own writes."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, case, exists, func, or_
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from review.acts.item import calendar_in_force
from review.acts.pace import remaining
from review.acts.showing import shown_moment
from review.acts.visibility import visible
from review.records.people import Person, delegations_to, names
from review.records.tables import (
    Channel,
    Decision,
    FindingRow,
    Notice,
    PersonRow,
    Publication,
    Step,
    StepPerson,
    Submission,
    Unit,
)
from review.rules.errors import MalformedError, NotAllowedError
from review.rules.values import PublicationState, Role, Status, StepState, Verdict

Json = dict[str, Any]
OVERSEERS = {
    Role.SUPERVISOR, Role.CENTER_CHIEF, Role.CENTER_DEPUTY, Role.CENTER_EDITOR,
    Role.OFFICE_REVIEWER, Role.OFFICE_DIRECTOR, Role.BUREAU_CHIEF, Role.PUBLICITY_LEADER,
    Role.SUPERVISING_LEADER, Role.AUDITOR, Role.DUTY_OFFICER,
}  # fmt: skip

RUNNING = (Status.IN_REVIEW, Status.RETURNED, Status.HELD, Status.AUTHORISED, Status.PUBLISHING)


def row_of(row: Submission, unit_name: str = "") -> Json:
    """Return one line of a list."""
    return {
        "id": row.id,
        "number": row.number,
        "title": row.title,
        "category": row.category,
        "level": row.level or None,
        "profile": row.profile,
        "kind": row.kind,
        "urgency": row.urgency,
        "status": row.status,
        "version": row.version,
        "round": row.round,
        "digest": row.digest,
        "unit": {"id": row.unit_id, "name": unit_name},
        "submitted_at": shown_moment(row.submitted_at),
        "item_due_at": shown_moment(row.due_at),
        "overdue": row.overdue_at is not None,
        "findings": row.findings,
    }


def submissions(
    session: Session, person: Person, filters: Json, limit: int, after: str | None, now: datetime
) -> Json:
    """Return a page of what this person may see, the newest first.

    Args:
        filters: See `matching`.
        after: The id of the last line of the page before.
    """
    statement = (
        select(Submission, Unit.name)
        .join(Unit, col(Unit.id) == col(Submission.unit_id))
        .where(*matching(session, person, filters, now))
    )
    if after:
        statement = statement.where(Submission.id < after)
    rows = session.exec(statement.order_by(col(Submission.id).desc()).limit(limit + 1)).all()
    items = [row_of(row, unit) for row, unit in rows[:limit]]
    with_holders(session, items, now)
    _with_tiers(session, items)
    return {"items": items, "next": items[-1]["id"] if len(rows) > limit else None}


def matching(session: Session, person: Person, filters: Json, now: datetime) -> list[Any]:
    """Return the conditions on submissions that a person may see and that filters let through.

    Args:
        filters: status, category, kind, unit, overdue, running, step (open now), due_by (an open
            step is due by then and not late yet), published_since, trouble (with a channel), mine,
            handled, told, q, from, to; all optional.
    """
    found: list[Any] = [visible(session, person, now)]
    for name, column in (
        ("status", Submission.status), ("category", Submission.category),
        ("kind", Submission.kind), ("unit", Submission.unit_id),
    ):  # fmt: skip
        if filters.get(name):
            found.append(col(column) == filters[name])
    open_step = select(Step.submission_id).where(Step.state == StepState.OPEN)
    if filters.get("overdue"):
        late = open_step.where(col(Step.overdue_at).is_not(None))
        found.append(or_(col(Submission.overdue_at).is_not(None), col(Submission.id).in_(late)))
    if filters.get("running"):
        found.append(col(Submission.status).in_(RUNNING))
    if filters.get("step"):
        found.append(col(Submission.id).in_(open_step.where(Step.key == filters["step"])))
    if filters.get("due_by"):
        due = open_step.where(col(Step.due_at) < filters["due_by"])
        found.append(col(Submission.id).in_(due.where(col(Step.overdue_at).is_(None))))
    if filters.get("published_since"):
        found.append(col(Submission.published_at) >= filters["published_since"])
    if filters.get("trouble"):
        found.append(col(Submission.id).in_(select(Publication.submission_id).where(in_trouble())))
    if filters.get("mine"):
        found.append(col(Submission.author_id) == person.id)
    if filters.get("handled"):
        handled = select(Decision.submission_id).where(
            or_(col(Decision.person_id) == person.id, col(Decision.acting_for_id) == person.id)
        )
        found.append(col(Submission.id).in_(handled))
    if filters.get("told"):
        found.append(_only_told(person))
    if filters.get("q"):
        wanted = str(filters["q"])
        found.append(
            or_(
                col(Submission.title).contains(wanted, autoescape=True),
                col(Submission.number) == wanted,
            )
        )
    if filters.get("from"):
        found.append(col(Submission.submitted_at) >= filters["from"])
    if filters.get("to"):
        found.append(col(Submission.submitted_at) <= filters["to"])
    return found


def in_trouble() -> Any:
    """Return the condition on the publications that somebody must look after."""
    later = aliased(Publication)
    newer = exists().where(
        col(later.submission_id) == col(Publication.submission_id),
        col(later.channel) == col(Publication.channel),
        col(later.generation) > col(Publication.generation),
    )
    return and_(
        col(Publication.state).in_([PublicationState.FAILED, PublicationState.UNKNOWN]), ~newer
    )


def _only_told(person: Person) -> Any:
    """Return the condition on items of which somebody only got word (抄送): 阅 is no 批."""
    told = select(Notice.submission_id).where(Notice.person_id == person.id)
    asked = select(StepPerson.submission_id).where(StepPerson.person_id == person.id)
    return and_(
        col(Submission.id).in_(told),
        col(Submission.id).not_in(asked),
        col(Submission.author_id) != person.id,
    )


def _with_tiers(session: Session, items: list[Json]) -> None:
    """Add which of the three reviews each item has passed; one statement for a whole page."""
    passed = session.exec(
        select(Step.submission_id, Step.tier)
        .where(col(Step.submission_id).in_([item["id"] for item in items]))
        .where(Step.state == StepState.DECIDED)
        .where(Step.tier > 0)
    ).all()
    for item in items:
        item["tiers_passed"] = sorted({tier for id_, tier in passed if id_ == item["id"]})


def with_holders(session: Session, items: list[Json], now: datetime) -> None:
    """Add who holds each item, until when and since when; two statements for a whole page."""
    open_steps = session.exec(
        select(Step)
        .where(col(Step.submission_id).in_([item["id"] for item in items]))
        .where(Step.state == StepState.OPEN)
        .order_by(col(Step.position), col(Step.unit_id))
    ).all()
    asked = session.exec(
        select(StepPerson.step_id, StepPerson.person_id, PersonRow.name)
        .join(PersonRow, col(PersonRow.id) == col(StepPerson.person_id))
        .where(col(StepPerson.step_id).in_([step.id for step in open_steps]))
        .where(col(StepPerson.active).is_(True))
        .order_by(col(StepPerson.person_id))
    ).all()
    steps: dict[str, list[Step]] = {}
    for step in open_steps:
        steps.setdefault(step.submission_id, []).append(step)
    people: dict[str, list[Json]] = {}
    for step_id, person, name in asked:
        people.setdefault(step_id, []).append({"id": person, "name": name})
    for item in items:
        mine = steps.get(item["id"], [])
        due = [step.due_at for step in mine if step.due_at]
        since = [step.opened_at for step in mine if step.opened_at]
        item["open_steps"] = sorted({step.key for step in mine})
        item["holder"] = [one for step in mine for one in people.get(step.id, ())]
        item["due_at"] = shown_moment(min(due)) if due else None
        item["since"] = shown_moment(min(since)) if since else None
        item["at_step"] = int((now - min(since)).total_seconds()) if since else None
        item["overdue"] = item["overdue"] or any(step.overdue_at for step in mine)


def inbox(session: Session, person: Person, limit: int, after: str | None, now: datetime) -> Json:
    """Return what waits for this person, least time left first (feature 2)."""
    absent = [delegation.from_id for delegation in delegations_to(session, person.id, now)]
    principals = [person.id, *absent]
    asked = (
        select(col(StepPerson.step_id), func.min(StepPerson.why), func.min(StepPerson.person_id))
        .where(col(StepPerson.person_id).in_(principals))
        .where(col(StepPerson.waits).is_(True))
        .where(col(StepPerson.active).is_(True))
        .group_by(col(StepPerson.step_id))
        .subquery()
    )
    statement = (
        select(Step, Submission, Unit.name, asked.c[1], asked.c[2])  # type: ignore[call-overload]
        .join(asked, asked.c.step_id == col(Step.id))
        .join(Submission, col(Submission.id) == col(Step.submission_id))
        .join(Unit, col(Unit.id) == col(Submission.unit_id))
        .where(Step.state == StepState.OPEN)
        .where(Submission.status != Status.HELD)
    )
    if after:
        last = session.get(Step, after)
        if last is None or last.due_at is None:
            raise MalformedError(errors=[{"field": "after", "message": "unknown_value"}])
        statement = statement.where(
            or_(
                col(Step.due_at) > last.due_at,
                and_(col(Step.due_at) == last.due_at, col(Step.id) > last.id),
            )
        )
    rows = session.exec(statement.order_by(col(Step.due_at), col(Step.id)).limit(limit + 1)).all()
    calendar = calendar_in_force(session)
    known = names(session, set(absent)) if absent else {}
    items = [
        {
            **row_of(row, unit),
            "step": step.key,
            "step_unit": step.unit_id or None,
            "step_round": step.round,
            "role": step.role,
            "tier": step.tier or None,
            "proof": step.proof or None,
            "opened_at": shown_moment(step.opened_at),
            "due_at": shown_moment(step.due_at),
            "step_overdue": step.overdue_at is not None,
            "escalated": step.escalated,
            "why": why if principal == person.id else "delegation",
            "handed_over": step.only_for != "",
            "acting_for": None if principal == person.id else principal,
            "acting_for_name": known[principal]["name"] if principal in known else None,
            "remaining": remaining(step, calendar, now),
            "after": step.id,
        }
        for step, row, unit, why, principal in rows[:limit]
    ]
    _with_tiers(session, items)
    return {"items": items, "next": items[-1]["after"] if len(rows) > limit else None}


def board(session: Session, person: Person, now: datetime) -> Json:
    """Return what is open, what is late, with whom, and what has been done about it."""
    if not {held.role for held in person.roles} & OVERSEERS:
        raise NotAllowedError
    seen = visible(session, person, now)
    open_steps = session.exec(
        select(
            Step.key,
            func.count(),
            func.sum(case((col(Step.overdue_at).is_not(None), 1), else_=0)),
            func.min(Step.due_at),
        )
        .join(Submission, col(Submission.id) == col(Step.submission_id))
        .where(Step.state == StepState.OPEN)
        .where(seen)
        .group_by(col(Step.key))
    ).all()
    statuses = session.exec(
        select(Submission.status, func.count()).where(seen).group_by(col(Submission.status))
    ).all()
    late = session.exec(
        select(Step, Submission, Unit.name)
        .join(Submission, col(Submission.id) == col(Step.submission_id))
        .join(Unit, col(Unit.id) == col(Submission.unit_id))
        .where(Step.state == StepState.OPEN)
        .where(col(Step.overdue_at).is_not(None))
        .where(seen)
        .order_by(col(Step.due_at))
        .limit(200)
    ).all()
    step_ids = [step.id for step, _, _ in late]
    asked = session.exec(
        select(StepPerson.step_id, StepPerson.person_id)
        .where(col(StepPerson.step_id).in_(step_ids))
        .where(col(StepPerson.active).is_(True))
    ).all()
    done = session.exec(
        select(
            Notice.step_id, Notice.kind, func.count(func.distinct(Notice.at)), func.max(Notice.at)
        )
        .where(col(Notice.step_id).in_(step_ids))
        .where(col(Notice.kind).in_(["remind", "overdue", "escalated", "urge"]))
        .group_by(col(Notice.step_id), col(Notice.kind))
    ).all()
    known = names(session, {person_id for _, person_id in asked})
    trouble = session.exec(
        select(Publication, Submission.number)
        .join(Submission, col(Submission.id) == col(Publication.submission_id))
        .where(col(Publication.state).in_([PublicationState.FAILED, PublicationState.UNKNOWN]))
        .where(seen)
        .limit(50)
    ).all()
    blocked, ignored = session.exec(
        select(
            func.sum(case((and_(*_open_block()), 1), else_=0)),
            func.sum(case((col(FindingRow.ignored_at).is_not(None), 1), else_=0)),
        )
        .join(Submission, col(Submission.id) == col(FindingRow.submission_id))
        .where(seen)
    ).one()
    return {
        "at": shown_moment(now),
        "findings": {"blocking": int(blocked or 0), "ignored_warnings": int(ignored or 0)},
        "statuses": {str(status): number for status, number in statuses},
        "steps": [
            {"step": key, "open": number, "overdue": int(overdue or 0), "due_first": _first(due)}
            for key, number, overdue, due in open_steps
        ],
        "overdue": [
            {
                **row_of(row, unit),
                "overdue": True,
                "step": step.key,
                "due_at": shown_moment(step.due_at),
                "overdue_since": shown_moment(step.overdue_at),
                "holder": [dict(known[p]) for s, p in asked if s == step.id and p in known],
                "reminders_sent": step.reminders_sent,
                "escalated": step.escalated,
                "done": [
                    {"kind": kind, "times": times, "last_at": _first(last)}
                    for s, kind, times, last in done
                    if s == step.id
                ],
            }
            for step, row, unit in late
        ],
        "channels": [
            {"number": number, "channel": p.channel, "state": p.state, "detail": p.detail}
            for p, number in trouble
        ],
    }


def _open_block() -> list[Any]:
    """Return the conditions on a finding that stands in a running item's way (section 7)."""
    return [
        col(FindingRow.severity).in_(["stop", "block"]),
        col(FindingRow.version) == col(Submission.version),
        col(FindingRow.gone_at).is_(None),
        col(FindingRow.waived_at).is_(None),
        col(Submission.status).in_([Status.IN_REVIEW, Status.RETURNED, Status.HELD]),
    ]


def _first(at: Any) -> str | None:
    return at.isoformat() if isinstance(at, datetime) else at


def statistics(
    session: Session,
    person: Person,
    from_: datetime | None,
    to: datetime | None,
    by: str,
    now: datetime,
) -> Json:
    """Return how many items came in, were adopted, returned and late, by one dimension (R5.2-3)."""
    columns: dict[str, Any] = {
        "unit": Submission.unit_id,
        "kind": Submission.kind,
        "category": Submission.category,
        "status": Submission.status,
    }
    if by not in columns:
        raise MalformedError(errors=[{"field": "by", "message": "unknown_value", "value": by}])
    to = to or now
    from_ = from_ or to - timedelta(days=31)
    returned = select(Decision.submission_id).where(Decision.verdict == Verdict.RETURN).distinct()
    ignored = (
        select(FindingRow.submission_id, func.count().label("number"))
        .where(col(FindingRow.ignored_at).is_not(None))
        .group_by(col(FindingRow.submission_id))
        .subquery()
    )
    adopted = col(Submission.published_at).is_not(None)
    rows = session.exec(
        select(  # type: ignore[call-overload]
            columns[by],
            func.count(),
            func.sum(case((adopted, 1), else_=0)),
            func.sum(case((col(Submission.id).in_(returned), 1), else_=0)),
            func.sum(case((col(Submission.overdue_at).is_not(None), 1), else_=0)),
            func.sum(case((col(Submission.status) == Status.RETRACTED, 1), else_=0)),
            func.sum(
                case((col(Submission.source_type).in_(["repost", "unified_release"]), 1), else_=0)
            ),
            func.sum(func.coalesce(ignored.c.number, 0)),
        )
        .join(ignored, ignored.c.submission_id == col(Submission.id), isouter=True)
        .where(visible(session, person, now))
        .where(Submission.submitted_at >= from_)
        .where(Submission.submitted_at <= to)
        .group_by(columns[by])
        .order_by(columns[by])
    ).all()
    fields = (
        "submitted", "adopted", "returned", "overdue", "retracted", "reposts", "ignored_warnings"
    )  # fmt: skip
    return {
        "from": shown_moment(from_),
        "to": shown_moment(to),
        "by": by,
        "rows": [
            {by: key, **{f: int(v or 0) for f, v in zip(fields, values, strict=True)}}
            for key, *values in rows
        ],
    }


def channels(session: Session) -> list[Json]:
    """Return the channels with the unit that operates each (R2.2-3)."""
    rows = session.exec(select(Channel).order_by(col(Channel.place), col(Channel.id)))
    return [
        {
            "id": c.id,
            "name": c.name,
            "platform": c.platform,
            "operator_unit": c.operator_unit_id,
            "state": c.state,
        }
        for c in rows
    ]
