"""A turn: read what was decided, do what is due, open what comes next (design: one transaction).

Everything a turn does is compare-and-set: a second turn at the same moment finds nothing to do.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, update
from sqlmodel import Session, col, select

from review.acts import notices
from review.acts.clocks import (
    clock_rule,
    drop,
    drop_dead_milestones,
    schedule,
    start_item_clock,
    start_step_clock,
    unfired,
)
from review.acts.entitlement import ask, ask_also, leaders, people_for
from review.acts.item import Item, calendar_in_force
from review.acts.publishing import deeds, latest_publications, settle
from review.acts.supervising import propose_for_step
from review.acts.violations import open_lead
from review.records.tables import MilestoneRow, Outbox, Step, StepPerson
from review.rules import deadlines
from review.rules.calendar import Calendar
from review.rules.matters import LAPSED_ORDER
from review.rules.positions import OpenStep, Position
from review.rules.values import PublicationState, Role, Status, StepState, Verdict

_ASKED = (
    select(StepPerson.step_id, StepPerson.person_id)
    .where(col(StepPerson.step_id).in_(bindparam("steps", expanding=True)))
    .where(col(StepPerson.active).is_(True))
)
_SEEN = (
    update(Outbox)
    .where(col(Outbox.submission_id) == bindparam("submission"))
    .where(col(Outbox.done_at).is_(None))
    .values(done_at=bindparam("now"))
    .execution_options(synchronize_session=False)
)

_LET_GO = (
    update(StepPerson)
    .where(col(StepPerson.submission_id) == bindparam("submission"))
    .where(col(StepPerson.waits).is_(True))
    .where(col(StepPerson.step_id).not_in(bindparam("open", expanding=True)))
    .values(waits=False)
    .execution_options(synchronize_session=False)
)

ACTIVE = (Status.IN_REVIEW, Status.AUTHORISED, Status.PUBLISHING)
ENDED = (
    Status.PUBLISHED,
    Status.PARTLY_PUBLISHED,
    Status.REJECTED,
    Status.WITHDRAWN,
    Status.RETRACTED,
)


def advance(session: Session, submission_id: str, now: datetime) -> Position:
    """Take one turn for a submission and return where it then stands.

    Args:
        now: The worker's own clock, aware; never the caller's word.

    Raises:
        NotFoundError: There is no such submission.
    """
    item = Item.locked(session, submission_id)
    calendar = calendar_in_force(session)
    row = item.row
    if row.status != Status.HELD:
        if row.status in ACTIVE and row.due_at is None:
            start_item_clock(item, calendar, now)
        _fire(item, calendar, now)
        session.flush()
        with session.no_autoflush:  # what is written below is asked for again by none of it
            if row.status in (Status.IN_REVIEW, Status.AUTHORISED, Status.PUBLISHING):
                _open_next(item, calendar, now)
            if row.status == Status.RETURNED:
                _watch_returned(item, calendar, now)
            settle(item, now)
    for milestone in unfired(item):
        if milestone.kind == "takedown" and not _still_out(item, milestone.shown["channels"]):
            drop(item, milestone)
    drop_dead_milestones(item, ended=row.status in ENDED)
    session.add(row)
    session.flush()
    open_steps = [step.id for step in item.steps if step.state == StepState.OPEN]
    session.execute(_LET_GO, {"submission": row.id, "open": open_steps})
    _outbox_done(session, row.id, now)
    return position(item, now)


def position(item: Item, now: datetime) -> Position:
    """Return where an item stands, for its workflow."""
    row, session = item.row, item.session
    waiting = [m for m in unfired(item)] if row.status != Status.HELD else []
    upcoming = min(waiting, key=lambda m: m.at, default=None)
    open_steps = [s for s in item.steps if s.state == StepState.OPEN]
    asked: dict[str, list[str]] = {}
    if open_steps:
        rows = session.execute(_ASKED, {"steps": [s.id for s in open_steps]})
        for step_id, person_id in rows:
            asked.setdefault(step_id, []).append(person_id)
    publish = tuple(deeds(item, now)) if row.status != Status.HELD else ()
    overdue = row.overdue_at is not None or any(s.overdue_at for s in open_steps)
    return Position(
        submission_id=row.id,
        number=row.number,
        category=row.category,
        profile=row.profile,
        status=row.status,
        round=row.round,
        version=row.version,
        digest=row.digest,
        overdue=overdue,
        open_steps=tuple(
            OpenStep(
                step=s.key,
                unit=s.unit_id,
                round=s.round,
                role=s.role,
                people=tuple(sorted(asked.get(s.id, ()))),
                due_at=s.due_at,
            )
            for s in open_steps
        ),
        next_at=upcoming.at if upcoming else None,
        next_mark=upcoming.mark if upcoming else "",
        publish=publish,
        done=row.status in ENDED and not waiting and not publish,
    )


def _outbox_done(session: Session, submission_id: str, now: datetime) -> None:
    """A turn sees everything that was owed to the engine until now."""
    session.execute(_SEEN, {"submission": submission_id, "now": now})


def _open_next(item: Item, calendar: Calendar, now: datetime) -> None:
    """Open the steps whose turn has come, ask their people, start their clocks."""
    for step in item.case.next_to_open():
        assert isinstance(step, Step)
        step.state = StepState.OPEN
        step.opened_at = now
        item.session.add(step)
        start_step_clock(item, step, calendar, now)
        people = ask(item.session, item, step, now)
        item.trace(
            "step_opened",
            now,
            nudge=False,
            step=step.key,
            unit=step.unit_id,
            round=step.round,
            due_at=step.due_at.isoformat() if step.due_at else "",
        )
        _notify(item, step, people, "asked", "opened", now)
        if not people:  # nobody holds the role: say so, approve nothing (R1.3-7)
            supervisors = notices.by_role(item.session, Role.SUPERVISOR, now)
            notices.tell(
                item.session, item, supervisors, "nobody", "opened", now,
                step_id=step.id, step=step.key,
            )  # fmt: skip
    for step in item.steps:
        if step.state == StepState.OPEN and step.due_at is None:
            start_step_clock(item, step, calendar, now)
            ask(item.session, item, step, now)


def _notify(
    item: Item,
    step: Step,
    people: list[tuple[str, str]],
    kind: str,
    mark: str,
    now: datetime,
    **shown: Any,
) -> None:
    people = notices.with_delegates(item.session, people, item.row.category, now)
    due = step.due_at.isoformat() if step.due_at else ""
    notices.tell(
        item.session, item, people, kind, f"{step.clock}:{mark}", now,
        step_id=step.id, step=step.key, round=step.round, due_at=due, **shown,
    )  # fmt: skip


def _fire(item: Item, calendar: Calendar, now: datetime) -> None:
    """Do what is due, the earliest first."""
    steps = {s.id: s for s in item.steps}
    due = sorted((m for m in unfired(item) if m.at <= now), key=lambda m: m.at)
    for milestone in due:
        claimed = item.session.exec(
            update(MilestoneRow)
            .where(col(MilestoneRow.id) == milestone.id)
            .where(col(MilestoneRow.fired_at).is_(None))
            .values(fired_at=now)
        )
        if claimed.rowcount != 1:
            continue
        milestone.fired_at = now
        if milestone.step_id:
            step = steps[milestone.step_id]
            if step.state == StepState.OPEN:
                _fire_step(item, step, milestone, calendar, now)
        else:
            _fire_item(item, milestone, calendar, now)


def _fire_step(
    item: Item, step: Step, milestone: MilestoneRow, calendar: Calendar, now: datetime
) -> None:
    session = item.session
    if milestone.kind == "remind":
        ask(session, item, step, now)  # the roster may have changed since the step opened
    asked = [
        (p.person_id, p.why)
        for p in session.exec(
            select(StepPerson)
            .where(StepPerson.step_id == step.id)
            .where(col(StepPerson.active).is_(True))
        )
    ]
    mark = milestone.mark
    match milestone.kind:
        case "remind":
            step.reminders_sent += 1
            _notify(item, step, asked, "remind", mark, now, times=step.reminders_sent)
            if mark.split("/")[-1].startswith("repeat"):
                step.repeats += 1
            _schedule_repeat(item, step, milestone, calendar, now)
        case "overdue":
            step.overdue_at = milestone.at
            supervisors = notices.by_role(session, Role.SUPERVISOR, now)
            _notify(item, step, supervisors, "overdue", mark, now)
        case "escalate_backup":
            step.escalated = max(step.escalated, 1)
            for person, why in people_for(session, item, step, now):
                ask_also(session, item, step, person, why, now)
            supervisors = notices.by_role(session, Role.SUPERVISOR, now)
            backups = [one for one in asked if one[1] == "backup"]
            _notify(item, step, supervisors + backups, "escalated", mark, now, level=1)
        case "escalate_superior":
            step.escalated = 2
            told = _escalate(item, step, now)
            _notify(item, step, told, "escalated", mark, now, level=2)
            schedule(  # still silent after the last escalation
                item, step.id, "propose_order", f"{step.clock}/propose_order",
                calendar.after(now, item.policy.management.order_proposed_after, "work"),
            )  # fmt: skip
        case "propose_order":
            propose_for_step(session, item.row, step, now)
        case "skip":
            if step.tier or step.on_timeout != "skip_and_flag":
                return
            step.state = StepState.SKIPPED
            step.decided_at = now
            schedule(
                item, "", "late_opinion", f"late_opinion:{step.key}:{step.round}",
                calendar.after(now, item.policy.late_opinion, "work"), step=step.key,
            )  # fmt: skip
            people = [*asked, (item.row.author_id, "author")]
            _notify(item, step, people, "skipped", mark, now)
    session.add(step)
    item.trace(
        f"milestone_{milestone.kind}", now, nudge=False, step=step.key, unit=step.unit_id,
        round=step.round, mark=mark, at=milestone.at.isoformat(),
    )  # fmt: skip


def _escalate(item: Item, step: Step, now: datetime) -> list[tuple[str, str]]:
    """Ask who is above (提级代审), and tell whom the pack names for this step."""
    session = item.session
    excluded = item.case.excluded(step)
    told: list[tuple[str, str]] = []
    targets = item.policy.targets.get(step.key, {})
    roles = targets.get(item.row.profile) or targets.get("default") or ()
    for role in roles:
        unit = item.row.unit_id if str(role) == Role.SUPERVISING_LEADER else ""
        for person in leaders(session, item, str(role), unit, now):
            told.append((person, "superior"))
            if person not in excluded:
                ask_also(session, item, step, person, "superior", now)
    return told


def _schedule_repeat(
    item: Item, step: Step, milestone: MilestoneRow, calendar: Calendar, now: datetime
) -> None:
    """Line up the next repetition once every set mark has passed."""
    if step.due_at is None or any(
        m.step_id == step.id and m.kind == "remind" and m.fired_at is None for m in unfired(item)
    ):
        return
    rule = clock_rule(step)
    following = deadlines.next_repeat(
        item.policy, item.row.profile, rule, step.due_at, step.repeats, now, calendar
    )
    if following is not None:
        schedule(item, step.id, following.kind, f"{step.clock}/{following.mark}", following.at)


def _fire_item(item: Item, milestone: MilestoneRow, calendar: Calendar, now: datetime) -> None:
    session, row = item.session, item.row
    unit = notices.unit_people(session, row.unit_id, now)
    supervisors = notices.by_role(session, Role.SUPERVISOR, now)
    tell: list[tuple[str, str]] = []
    shown = _codes(milestone)
    kind = milestone.kind
    match kind:
        case "item_alarm":
            if row.status in ENDED:
                return
            if milestone.shown.get("late"):
                row.overdue_at = row.overdue_at or milestone.at  # 迟报, recorded (R5.1-3)
            tell = supervisors + unit
        case "returned_remind":
            if row.status != Status.RETURNED:
                return
            tell = unit
        case "returned_close":
            if row.status != Status.RETURNED:
                return
            row.status, row.ended_at = Status.WITHDRAWN, now  # never approved by silence
            kind, tell = "closed", unit
        case "authorisation_expired":
            authorisation = item.authorisation()
            if authorisation is None or authorisation.id != milestone.shown.get("authorisation"):
                return
            if row.status in (*ENDED, Status.RETURNED) or item.is_going_out():
                return
            final = next((s for s in item.case.current_steps() if s.tier == 3), None)
            if final is not None:
                item.restart_from(final.position, now, "expired")
                row.status = Status.IN_REVIEW
            tell = unit + supervisors
        case "late_opinion":
            tell = notices.by_role(session, Role.OFFICE_REVIEWER, now)
        case "ratify":
            tell = supervisors
        case "takedown":  # what readers still see is for people to chase (3.2)
            still = _still_out(item, milestone.shown["channels"])
            if not still:
                return
            deputies = notices.by_role(session, Role.CENTER_DEPUTY, now)
            duty = notices.by_role(session, Role.DUTY_OFFICER, now)
            tell = supervisors + deputies + duty
            shown = {"channels": "、".join(still)}
        case "expiry_remind":
            if row.status not in (Status.PUBLISHED, Status.PARTLY_PUBLISHED):
                return
            tell = unit
        case "expiry_lead":
            if row.status in (Status.PUBLISHED, Status.PARTLY_PUBLISHED):
                open_lead(
                    session, LAPSED_ORDER, f"expired:{row.id}", now, unit_id=row.unit_id,
                    submission_id=row.id,
                )  # fmt: skip
            tell = unit + supervisors
        case "go_live":
            return
    notices.tell(session, item, tell, kind, milestone.mark, now, **shown)
    late: dict[str, Any] = {"late": True} if milestone.shown.get("late") else {}
    item.trace(f"milestone_{kind}", now, nudge=False, mark=milestone.mark,
               at=milestone.at.isoformat(), **late)  # fmt: skip


def _still_out(item: Item, channels: list[str]) -> list[str]:
    """Return those of some channels that still show an item, or may."""
    latest = latest_publications(item)
    return [name for name in channels if latest[name].state != PublicationState.RETRACTED]


def _codes(milestone: MilestoneRow) -> dict[str, Any]:
    return {k: v for k, v in milestone.shown.items() if k in ("step", "late", "code", "percent")}


def _watch_returned(item: Item, calendar: Calendar, now: datetime) -> None:
    """Line up what happens while a returned item waits for its unit (3.2, other clocks)."""
    last = next((d.id for d in reversed(item.decisions) if d.verdict == Verdict.RETURN), "")
    prefix = f"returned:{last}:"
    if any(m.mark.startswith(prefix) for m in unfired(item)):
        return
    for former in unfired(item):
        if former.kind.startswith("returned"):
            drop(item, former)
    returned = item.policy.returned
    for number, length in enumerate(returned.remind, 1):
        at = calendar.after(now, length, "work")
        schedule(item, "", "returned_remind", f"{prefix}{number}", at)
    if not item.publications():  # a returned correction: what is out stays, nothing is withdrawn
        close_at = calendar.after(now, returned.close_after, "work")
        schedule(item, "", "returned_close", f"{prefix}close", close_at)
