"""The clocks of an item and its steps: milestone rows, written by the calendar in force."""

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import bindparam
from sqlmodel import select

from review.acts.item import Item
from review.ids import new_id
from review.records.tables import MilestoneRow, Step
from review.rules import deadlines
from review.rules.calendar import Calendar
from review.rules.policy import Length, StepRule
from review.rules.values import Profile, StepState

_MILESTONES = select(MilestoneRow).where(MilestoneRow.submission_id == bindparam("id"))

SET_BY_PERSON = "due.set_by_person"
# These outlive an item that has ended.
OUTLIVES = ("late_opinion", "ratify", "takedown", "expiry_remind", "expiry_lead")


def milestones(item: Item) -> list[MilestoneRow]:
    """Return every milestone of an item, fired and dropped ones too; read once, kept with it."""
    kept: list[MilestoneRow] | None = getattr(item, "_milestones", None)
    if kept is None:
        kept = list(item.session.exec(_MILESTONES, params={"id": item.row.id}))
        item._milestones = kept  # type: ignore[attr-defined]
    return kept


def unfired(item: Item) -> list[MilestoneRow]:
    """Return the milestones that are still to come."""
    return [m for m in milestones(item) if m.fired_at is None and not m.dropped]


def schedule(
    item: Item, step_id: str, kind: str, mark: str, at: datetime, **shown: Any
) -> MilestoneRow:
    """Line up a milestone; one with the same mark is moved, and what has fired stays fired."""
    known = next((m for m in milestones(item) if (m.step_id, m.mark) == (step_id, mark)), None)
    if known is not None:
        if known.fired_at is None:
            known.at, known.dropped, known.shown = at, False, shown
            item.session.add(known)
        return known
    row = MilestoneRow(
        id=new_id(),
        submission_id=item.row.id,
        step_id=step_id,
        kind=kind,
        mark=mark,
        at=at,
        shown=shown,
    )
    item.session.add(row)
    milestones(item).append(row)
    return row


def drop(item: Item, milestone: MilestoneRow) -> None:
    """Take a milestone away unfired; its row stays as a trace."""
    milestone.dropped = True
    item.session.add(milestone)


def drop_dead_milestones(item: Item, *, ended: bool) -> None:
    """Drop what belongs to steps that are no longer open, or to an item that is over."""
    alive = {s.id for s in item.steps if s.state == StepState.OPEN}
    for milestone in unfired(item):
        if milestone.step_id:
            if milestone.step_id not in alive:
                drop(item, milestone)
        elif (ended and milestone.kind not in OUTLIVES) or (
            milestone.kind.startswith("returned") and item.row.status != "returned"
        ):
            drop(item, milestone)


def clock_rule(step: Step) -> StepRule:
    """Return a step's own terms as a rule of the pack."""
    return StepRule.model_validate(
        {
            "id": step.key,
            "role": step.role,
            "limit": step.limit,
            "tier": step.tier or None,
            "proof": step.proof or None,
            "group": step.group or None,
            "on_timeout": step.on_timeout,
        }
    )


def anchor(item: Item) -> datetime:
    """Return the moment from which the whole item's clock runs (3.2); a correction's is its own."""
    if item.row.details.get("clock_from"):
        return datetime.fromisoformat(item.row.details["clock_from"])
    wanted = str(item.policy.profiles[Profile(item.row.profile)].anchor)
    moment: datetime | None = getattr(item.row, wanted)
    return moment or item.row.submitted_at


def start_item_clock(item: Item, calendar: Calendar, now: datetime) -> None:
    """Set the whole item's limit and alarms; again when its profile changed."""
    row = item.row
    due = deadlines.item_due(item.policy, row.profile, anchor(item), calendar)
    row.due_at = due.at
    for milestone in unfired(item):
        if milestone.kind == "item_alarm":
            drop(item, milestone)
    prefix = f"{row.profile}:{row.round}:"
    for one in deadlines.item_milestones(item.policy, row.profile, anchor(item), calendar):
        schedule(item, "", one.kind, prefix + one.mark, one.at, **one.shown)


def give_back(item: Item, calendar: Calendar, held_at: datetime, now: datetime) -> None:
    """Give back what a hold took: nothing that was still to come rings for a time nobody had.

    The whole item's limit moves on the working clock alone: an incident's runs from the event,
    whatever people do about it (3.2).
    """
    row = item.row
    if item.policy.profiles[Profile(row.profile)].clock == "work" and (
        row.due_at is None or row.due_at > held_at
    ):
        began = later(calendar, "work", anchor(item), held_at, now)
        row.details = row.details | {"clock_from": began.isoformat()}
        if row.due_at is not None:
            start_item_clock(item, calendar, now)
    for step in item.steps:
        if step.state != StepState.OPEN or step.due_at is None:
            continue
        clock = str(item.policy.profiles[Profile(row.profile)].clock)
        if step.due_at > held_at:
            due_at = later(calendar, clock, step.due_at, held_at, now)
            start_step_clock(item, step, calendar, now, due_at)
            continue
        for milestone in unfired(item):
            if milestone.step_id == step.id and milestone.at > held_at:
                milestone.at = later(calendar, clock, milestone.at, held_at, now)
                item.session.add(milestone)


def later(
    calendar: Calendar, clock: str, moment: datetime, held_at: datetime, now: datetime
) -> datetime:
    """Return a moment moved by a hold: by the working time that it took, or by all of it."""
    if clock != "work":
        return moment + (now - held_at)
    taken = calendar.working_time(held_at, now) / timedelta(hours=1)
    if taken <= 0:
        return moment
    return calendar.after(moment, Length(amount=taken, unit="wh"), "work")


def start_step_clock(
    item: Item, step: Step, calendar: Calendar, now: datetime, due_at: datetime | None = None
) -> None:
    """Set a step's due moment with its explanation, and line up what silence leads to.

    Args:
        due_at: A moment set by a person (`set_deadline`) instead of the pack's limit.
    """
    opened = step.opened_at or now
    rule = clock_rule(step)
    profile = item.row.profile
    if due_at is None:
        due = deadlines.step_due(
            item.policy, profile, rule, opened, calendar, anchor(item), _remaining(item, step)
        )
        step.due_at = due.at
        step.explanation = [reason.model_dump(mode="json") for reason in due.explanation]
    else:
        step.due_at = due_at
    moved = [m for m in unfired(item) if m.step_id == step.id]
    if moved or step.clock:
        for milestone in moved:
            drop(item, milestone)
    if moved or due_at is not None:
        step.clock += 1
    coming = deadlines.step_milestones(item.policy, profile, rule, opened, step.due_at, calendar)
    last_reminder = max((one.at for one in coming if one.kind == "remind"), default=now)
    said = {m.kind for m in milestones(item) if m.step_id == step.id and m.fired_at is not None}
    for one in coming:
        # said already, by the deadline that was replaced; what that one had not is due now
        done = one.at < last_reminder if one.kind == "remind" else one.kind in said
        if step.clock and one.at <= now and done:
            continue
        schedule(item, step.id, one.kind, f"{step.clock}/{one.mark}", one.at)
    item.session.add(step)


def set_by_person(step: Step, due_at: datetime, name: str, timezone: str) -> None:
    """Say in a step's explanation that a person, not the pack, set when it is due."""
    at = due_at.astimezone(ZoneInfo(timezone)).isoformat(timespec="seconds")
    params = {"at": at, "by": name}
    step.explanation = [{"code": SET_BY_PERSON, "params": params}]


def is_set_by_person(step: Step) -> bool:
    """Tell whether a person set when a step is due; no calendar takes that back."""
    return any(reason["code"] == SET_BY_PERSON for reason in step.explanation)


def _remaining(item: Item, step: Step) -> tuple[StepRule, ...]:
    """Return this step's rule and those of the positions after it, one for parallel steps."""
    rules: dict[int, StepRule] = {}
    for other in item.case.current_steps():
        if other.position >= step.position and isinstance(other, Step):
            rule = clock_rule(other)
            known = rules.get(other.position)
            if other.id == step.id or known is None:
                rules[other.position] = rule
    rules[step.position] = clock_rule(step)
    return tuple(rules[position] for position in sorted(rules))


def length(text: str) -> Length:
    """Return a length of the pack from its text."""
    return Length.model_validate(text)
