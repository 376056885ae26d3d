"""Which pack and calendar are in force from a moment on (R0-4, A-30)."""

from datetime import datetime

from sqlmodel import Session, col, select

from review.acts.clocks import clock_rule, start_item_clock, start_step_clock
from review.acts.item import Item, policy_in_force
from review.packs import digest_of
from review.records import audit
from review.records.tables import CalendarRow, Pack, Step, Submission
from review.rules.calendar import Calendar
from review.rules.errors import NotFoundError
from review.rules.policy import Policy
from review.rules.values import Profile, Status, StepState


def adopt_policy(session: Session, policy: Policy, now: datetime) -> bool:
    """Put a pack in force for new submissions; False when it already is."""
    digest = digest_of(policy)
    try:
        if policy_in_force(session)[0] == digest:
            return False
    except NotFoundError:
        pass
    row = session.get(Pack, digest)
    if row is None:
        row = Pack(
            digest=digest,
            id=policy.id,
            version=policy.version,
            body=policy.model_dump_json(by_alias=True),
            adopted_at=now,
        )
    row.adopted_at = now
    session.add(row)
    audit.append(
        session, audit.BUREAU, "policy_adopted", at=now, digest=digest,
        data={"id": policy.id, "version": policy.version},
    )  # fmt: skip
    return True


def adopt_first_calendar(session: Session, calendar: Calendar, now: datetime) -> bool:
    """Put the shipped calendar in force where there is none; an imported one stays."""
    if session.exec(select(CalendarRow.digest).limit(1)).first() is not None:
        return False
    return adopt_calendar(session, calendar, now)


def adopt_calendar(session: Session, calendar: Calendar, now: datetime) -> bool:
    """Put a calendar in force; open deadlines in working time are set anew by it (3.4).

    Returns:
        False when it already was in force.
    """
    digest = digest_of(calendar)
    latest = select(CalendarRow.digest).order_by(col(CalendarRow.imported_at).desc()).limit(1)
    if session.exec(latest).first() == digest:
        return False
    row = session.get(CalendarRow, digest) or CalendarRow(
        digest=digest,
        version=calendar.version,
        body=calendar.model_dump_json(),
        imported_at=now,
    )
    row.imported_at = now
    session.add(row)
    session.flush()
    _set_deadlines_anew(session, calendar, now)
    audit.append(
        session, audit.BUREAU, "calendar_imported", at=now, digest=digest,
        data={"version": calendar.version},
    )  # fmt: skip
    return True


def _set_deadlines_anew(session: Session, calendar: Calendar, now: datetime) -> None:
    """Reckon open deadlines in working time by a new calendar; what has fired stays fired."""
    submissions = session.exec(
        select(Submission.id)
        .join(Step, col(Step.submission_id) == col(Submission.id))
        .where(Step.state == StepState.OPEN)
        .where(Submission.status != Status.HELD)
        .distinct()
    ).all()
    for submission_id in submissions:
        item = Item.locked(session, submission_id)
        if item.policy.profiles[Profile(item.row.profile)].clock != "work":
            continue
        before = [(step.id, step.due_at) for step in item.steps]
        for step in item.steps:
            if step.state == StepState.OPEN and clock_rule(step).limit.is_working:
                start_step_clock(item, step, calendar, now)
        start_item_clock(item, calendar, now)
        if before != [(step.id, step.due_at) for step in item.steps]:
            item.trace("deadlines_set_anew", now, calendar=calendar.version)
