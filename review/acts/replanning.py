"""The plan follows the facts: a raised or lowered category, a repost that was altered (A-7)."""

from datetime import datetime

from sqlmodel import Session

from review.acts.authorising import full_version
from review.acts.item import Item
from review.records.tables import Step
from review.rules.plans import PlannedStep
from review.rules.submissions import profile_for
from review.rules.values import Profile, StepState

ADDED = {"reconfirm": "reconfirm", "add_signer": "countersign"}  # steps by the pack's clocks


def follow_profile(session: Session, item: Item, now: datetime) -> bool:
    """Recompute the profile; when it changed, replan and return True."""
    row = item.row
    version = full_version(session, row.id, row.version)
    profile = profile_for(
        row.category, row.level, version.title, version.body, version.source, item.policy
    )
    if profile == row.profile:
        _fit(item, now)
        return False
    row.profile = profile
    row.due_at = None  # the whole item's clock is set anew by the next turn
    _fit(item, now)
    return True


def _fit(item: Item, now: datetime) -> None:
    """Make the steps fit the plan: keep what is still asked of the same role, add, take away."""
    planned = {(p.key, p.unit_id): p for p in item.planned()}
    current = {
        (s.key, s.unit_id): s
        for s in item.steps
        if s.state != StepState.LAPSED and s.origin in ("plan", "countersign")
    }
    removed = [slot for slot, s in current.items() if not _same(planned.get(slot), s)]
    missing = [slot for slot in planned if slot not in current or slot in removed]
    if not removed and not missing:
        _move(item, planned)
        return
    for slot in removed:
        step = current[slot]
        if step.state == StepState.WAITING:
            step.state = StepState.LAPSED
            item.session.add(step)
        else:
            item.lapse(step, now)
        if step.tier == 3:  # a change that the former final reviewer asked for
            for extra in item.steps:
                if extra.origin == "certify" and extra.state != StepState.LAPSED:
                    item.lapse(extra, now)
    _move(item, planned)
    taken = {(s.key, s.unit_id, s.round) for s in item.steps}
    if any((*slot, item.row.round) in taken for slot in missing):
        item.row.round += 1
    for slot in missing:
        item.add_step(planned[slot], item.row.round)
    first_missing = min(planned[slot].position for slot in missing) if missing else None
    if first_missing is not None:
        _close_later(item, first_missing, now)
    item.end_authorisation("replanned", now)


def _same(planned: PlannedStep | None, step: Step) -> bool:
    """Tell whether a step still serves; one that was skipped, only where that is still legal."""
    if planned is None or planned.role != step.role:
        return False
    return step.state != StepState.SKIPPED or planned.on_timeout == "skip_and_flag"


def _move(item: Item, planned: dict[tuple[str, str], PlannedStep]) -> None:
    """Give the steps that stay their new place, limit and rule for silence."""
    profile = Profile(item.row.profile)
    for step in item.steps:
        if step.state in (StepState.OPEN, StepState.WAITING) and step.origin in ADDED:
            clock = getattr(item.policy, ADDED[step.origin])[profile]
            if step.limit != str(clock.limit):
                step.limit, step.due_at = str(clock.limit), None
                item.session.add(step)
            if step.origin == "reconfirm":
                step.on_timeout = str(clock.on_timeout)
        fresh = planned.get((step.key, step.unit_id))
        if fresh is None or step.state == StepState.LAPSED or step.origin != fresh.origin:
            continue
        if step.state in (StepState.OPEN, StepState.WAITING) and step.limit != fresh.limit:
            step.due_at = None  # an open step's clock is set anew by the next turn
        step.position, step.group = fresh.position, fresh.group
        step.limit, step.on_timeout = fresh.limit, fresh.on_timeout
        step.tier, step.proof = fresh.tier, fresh.proof
        item.session.add(step)
    item.steps.sort(key=lambda s: s.position)


def _close_later(item: Item, position: int, now: datetime) -> None:
    """What was open or decided after a step that is now missing has to wait its turn again."""
    later = [
        s
        for s in item.steps
        if s.position > position
        and s.state in (StepState.OPEN, StepState.DECIDED)
        and s.origin in ("plan", "countersign")
    ]
    if later:
        item.restart_from(min(s.position for s in later), now, "replanned")
