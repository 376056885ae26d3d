"""What a rule pack would have done with the items of a period, before anybody adopts it.

The steps' real beginnings and ends are judged twice, by the pack each item is pinned to and by the
other: which items would have gone elsewhere, been late, been escalated. Nothing is changed.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select as columns
from sqlmodel import Session, col, select

from review.acts.item import calendar_in_force, policy_of
from review.acts.showing import shown_moment
from review.records.tables import Channel, Step, Submission, Version, table_of
from review.rules.calendar import Calendar
from review.rules.deadlines import step_milestones
from review.rules.plans import plan
from review.rules.policy import Length, Policy
from review.rules.submissions import profile_for
from review.rules.values import Profile

Json = dict[str, Any]


def rehearse(session: Session, pack: Policy, from_: datetime, to: datetime) -> Json:
    """Return how a pack would have treated the items submitted in a period.

    Returns:
        `{from, to, items, totals, differences}`: totals by pack (`pinned`, `rehearsed`) of late
        and escalated steps and of rerouted items; a difference an item that fares otherwise, with
        its number and what each pack makes of it.
    """
    item, step = table_of(Submission).c, table_of(Step).c
    within = (item.submitted_at >= from_, item.submitted_at < to)
    rows = session.exec(
        select(Submission, Version.title, Version.body, Version.source)
        .join(Version, col(Version.submission_id) == col(Submission.id))
        .where(Version.no == 1, *within)
        .order_by(col(Submission.id))
    ).all()
    taken: dict[str, list[Any]] = {}
    statement = (
        columns(step.submission_id, step.key, step.opened_at, step.decided_at)
        .join(table_of(Submission), item.id == step.submission_id)
        .where(step.opened_at.is_not(None), step.decided_at.is_not(None), *within)
    )
    for one in session.connection().execute(statement):
        taken.setdefault(one.submission_id, []).append(one)
    calendar = calendar_in_force(session)
    units = {one.id: one.operator_unit_id for one in session.exec(select(Channel))}
    totals = {name: {"late": 0, "escalated": 0} for name in ("pinned", "rehearsed")}
    differences: list[Json] = []
    for row, title, body, source in rows:
        pinned = policy_of(session, row.policy_digest)
        operators = {name: units[name] for name in row.channels if name in units}
        signers = list(row.details.get("countersign_units", []))
        fares: dict[str, Json] = {}
        for name, policy in (("pinned", pinned), ("rehearsed", pack)):
            profile = profile_for(row.category, row.level, title, body, source, policy)
            route = [
                f"{one.key}:{one.unit_id}:{one.role}"
                for one in plan(profile, operators, signers, policy)
            ]
            late, escalated = _judged(policy, profile, taken.get(row.id, ()), calendar)
            fares[name] = {
                "profile": str(profile), "route": route, "late": late, "escalated": escalated,
            }  # fmt: skip
            totals[name]["late"] += len(late)
            totals[name]["escalated"] += len(escalated)
        if fares["pinned"] != fares["rehearsed"]:
            differences.append({"id": row.id, "number": row.number} | fares)
    rerouted = sum(one["pinned"]["route"] != one["rehearsed"]["route"] for one in differences)
    return {
        "from": shown_moment(from_),
        "to": shown_moment(to),
        "items": len(rows),
        "rerouted": rerouted,
        "totals": totals,
        "differences": differences,
    }


def _judged(
    policy: Policy, profile: Profile, steps: Sequence[Any], calendar: Calendar
) -> tuple[list[str], list[str]]:
    """Return which steps a pack calls late, and which it would have escalated."""
    rules = {rule.id: rule for rule in policy.rules(profile)}
    late, escalated = set(), set()
    for step in steps:
        rule = rules.get(step.key)
        if rule is None:  # another pack's step, or a reconfirmation
            continue
        due = calendar.after(step.opened_at, Length.model_validate(str(rule.limit)))
        if step.decided_at > due:
            late.add(step.key)
        for mark in step_milestones(policy, profile, rule, step.opened_at, due, calendar):
            if mark.kind.startswith("escalate") and mark.at <= step.decided_at:
                escalated.add(step.key)
    return sorted(late), sorted(escalated)
