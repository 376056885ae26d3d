"""What a text would lead to if it were submitted now: its route, who reviews it, by when.

Nothing is stored; the plan is the one that submitting makes, each step taking all of its time.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlmodel import Session, col, select

from review.acts.clocks import anchor, clock_rule
from review.acts.entitlement import people_for
from review.acts.item import Item, calendar_in_force, policy_in_force
from review.acts.lists import lists_in_force
from review.acts.showing import shown_moment
from review.acts.submitting import unit_of
from review.acts.topics import open_topics
from review.ids import new_id
from review.records.people import Person, names
from review.records.tables import Channel, Step, Submission, Unit
from review.rendering import WECHAT, Limit, limits, render
from review.rules import deadlines
from review.rules.publications import published_line
from review.rules.submissions import profile_for
from review.rules.values import Category, Level, Profile, StepState

Json = dict[str, Any]


def choices(session: Session, person: Person) -> Json:
    """Return what a form may offer: the writer's unit, channels, other units, known sources."""
    unit = session.get_one(Unit, unit_of(person))
    channels = session.exec(
        select(Channel).where(Channel.state == "active").order_by(col(Channel.id))
    )
    units = session.exec(select(Unit).where(Unit.id != unit.id).order_by(col(Unit.place)))
    return {
        "unit": {"id": unit.id, "name": unit.name},
        "channels": [{"id": one.id, "name": one.name} for one in channels],
        "units": [{"id": one.id, "name": one.name} for one in units],
        "sources": source_names(session),
        "topics": open_topics(session, person),
    }


def source_names(session: Session) -> list[str]:
    """Return the names on the whitelist of sources (R3.2-4)."""
    return [one.name for one in lists_in_force(session).sources.sources]


def foresee(session: Session, person: Person, fields: Mapping[str, Any], now: datetime) -> Json:
    """Return route, form and steps of a text, as submitting it now would plan them.

    Args:
        fields: Named as in a request, whatever is known of them; moments aware.
    """
    row = _row(session, person, fields, now)
    item = Item(session, row)
    item.steps = [
        Step(
            id=new_id(), submission_id=row.id, round=1, state=StepState.WAITING,
            **planned.model_dump(),
        )
        for planned in item.planned()
    ]  # fmt: skip
    asked = {s.id: [p for p, _ in people_for(session, item, s, now)] for s in item.steps}
    known = names(session, {p for people in asked.values() for p in people})
    latest = _latest(session, item, now)
    profile = Profile(row.profile)
    due = deadlines.item_due(item.policy, profile, anchor(item), calendar_in_force(session))
    return {
        "profile": row.profile,
        "form": item.policy.profiles[profile].form,
        "due_at": shown_moment(due.at),
        "steps": [
            {
                "step": step.key,
                "unit": step.unit_id or None,
                "role": step.role,
                "tier": step.tier or None,
                "proof": step.proof or None,
                "people": [dict(known[p]) for p in asked[step.id] if p in known],
                "due_at": shown_moment(latest[step.id]),
            }
            for step in item.steps
        ],
    }


def limits_of_text(session: Session, person: Person, fields: Mapping[str, Any]) -> list[Limit]:
    """Return which limits of its channels' platforms a text would exceed, if it went out now.

    Args:
        fields: As for `foresee`; without channels there are no limits.
    """
    chosen = session.exec(
        select(Channel.platform)
        .where(col(Channel.id).in_(list(fields.get("channels") or ())))
        .where(Channel.platform == WECHAT)
    ).first()
    if chosen is None:
        return []
    unit = session.get(Unit, unit_of(person))
    name = unit.name if unit is not None else ""
    content = render(
        WECHAT, "0" * 11, str(fields.get("title") or ""), str(fields.get("body") or ""),
        list(fields.get("attachments") or ()),
        published_line(name, "sha256:" + "0" * 64, fields.get("source")),
    ).content  # fmt: skip
    return list(limits(WECHAT, content, name))


def _row(session: Session, person: Person, fields: Mapping[str, Any], now: datetime) -> Submission:
    """Return the row that a submission would begin as; it joins no session."""
    digest, policy = policy_in_force(session)
    category = Category(fields.get("category") or Category.WORK_NEWS)
    level = (fields.get("level") or Level.UNKNOWN) if category == Category.EMERGENCY else ""
    title, body = str(fields.get("title") or ""), str(fields.get("body") or "")
    source = dict(fields.get("source") or {})
    return Submission(
        id=new_id(), number="", unit_id=unit_of(person), author_id=person.id, category=category,
        level=level, profile=profile_for(category, level, title, body, source, policy),
        kind=fields.get("kind") or "disclosure", status="in_review", title=title,
        channels=list(fields.get("channels") or ()),
        details={"countersign_units": list(fields.get("countersign_units") or ())},
        event_time=fields.get("event_time"), found_time=fields.get("found_time"),
        digest="", policy_digest=digest, submitted_at=now,
    )  # fmt: skip


def _latest(session: Session, item: Item, now: datetime) -> dict[str, datetime]:
    """Return when each step is due if every step before it takes all of its time."""
    calendar = calendar_in_force(session)
    begins, found = now, {}
    for position in sorted({step.position for step in item.steps}):
        beside = [step for step in item.steps if step.position == position]
        coming = {s.position: clock_rule(s) for s in item.steps if s.position > position}
        for step in beside:
            rule = clock_rule(step)
            due = deadlines.step_due(
                item.policy, item.row.profile, rule, begins, calendar, anchor(item),
                (rule, *(coming[place] for place in sorted(coming))),
            )  # fmt: skip
            found[step.id] = due.at
        begins = max(found[step.id] for step in beside)
    return found
