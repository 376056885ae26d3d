"""For those who chase: how things stand at a glance, what is next to breach, who had what when."""

from collections.abc import Set as AbstractSet
from datetime import datetime, time, timedelta
from typing import Any

from sqlalchemy import and_, case, func
from sqlmodel import Session, col, select

from review.acts.item import Item, calendar_in_force
from review.acts.pace import remaining
from review.acts.reading import OVERSEERS, RUNNING, in_trouble, row_of, with_holders
from review.acts.showing import ZONE, shown_moment
from review.acts.visibility import visible
from review.ids import new_id
from review.records.people import Person, delegated, in_force, names
from review.records.tables import (
    Audit,
    Delegation,
    Grant,
    PersonRow,
    Publication,
    SavedView,
    Step,
    StepPerson,
    Submission,
    Unit,
)
from review.rules.errors import NotAllowedError, NotFoundError, RefusedError
from review.rules.policy import Length
from review.rules.values import Profile, Status, StepState, Verdict

Json = dict[str, Any]
NEXT = 10  # steps shown as next to breach
MOST_VIEWS = 30  # a person's; a list that is longer is no help


def require_overseer(person: Person) -> None:
    """Raise NotAllowedError for those whose roles look at their own steps alone."""
    if not {held.role for held in person.roles} & OVERSEERS:
        raise NotAllowedError


def today(now: datetime) -> tuple[datetime, datetime]:
    """Return when the bureau's day began and when it ends."""
    begins = datetime.combine(now.astimezone(ZONE).date(), time(), ZONE)
    return begins, begins + timedelta(days=1)


def overview(session: Session, person: Person, now: datetime) -> Json:
    """Return the board: tiles, what waits where and how long, what breaches next, who is away.

    Raises:
        NotAllowedError: Whoever oversees nothing.
    """
    require_overseer(person)
    seen = visible(session, person, now)
    return {
        "at": shown_moment(now),
        "seq": latest_entry(session),
        "tiles": _tiles(session, seen, now),
        "heat": _heat(session, seen, now),
        "next": _next_to_breach(session, seen, now),
        "away": away(session, now),
    }


def latest_entry(session: Session) -> int:
    """Return the number of the trace's last entry: it grows with every change of the ledger."""
    return session.exec(select(func.max(Audit.seq))).one() or 0


def _tiles(session: Session, seen: Any, now: datetime) -> dict[str, int]:
    """Count items; two statements."""
    begins, ends = today(now)
    open_step = select(Step.submission_id).where(Step.state == StepState.OPEN)
    late = col(Submission.id).in_(open_step.where(col(Step.overdue_at).is_not(None)))
    due = col(Submission.id).in_(
        open_step.where(col(Step.overdue_at).is_(None)).where(col(Step.due_at) < ends)
    )
    running = col(Submission.status).in_(RUNNING)
    overdue = late | col(Submission.overdue_at).is_not(None)
    conditions = {
        "in_review": col(Submission.status) == Status.IN_REVIEW,
        "due_today": and_(running, due),
        "overdue": and_(running, overdue),
        "published_today": col(Submission.published_at) >= begins,
    }
    # What is long over is in none of the tiles; leaving it out lets the index do the work.
    counted = session.exec(
        select(*(func.sum(case((condition, 1), else_=0)) for condition in conditions.values()))
        .where(seen)
        .where(running | (col(Submission.published_at) >= begins))
    ).one()
    trouble = session.exec(
        select(func.count(func.distinct(Publication.submission_id)))
        .join(Submission, col(Submission.id) == col(Publication.submission_id))
        .where(seen)
        .where(in_trouble())
    ).one()
    tiles = {name: int(n or 0) for name, n in zip(conditions, counted, strict=True)}
    return tiles | {"trouble": trouble}


def _heat(session: Session, seen: Any, now: datetime) -> Json:
    """Return how many items each unit has at each step, and how long the oldest has been there."""
    rows = session.exec(
        select(  # type: ignore[call-overload]
            Submission.unit_id,
            Unit.name,
            Step.key,
            func.count(func.distinct(Submission.id)),
            func.min(Step.opened_at),
            func.sum(case((col(Step.overdue_at).is_not(None), 1), else_=0)),
            func.min(Step.position),
        )
        .join(Submission, col(Submission.id) == col(Step.submission_id))
        .join(Unit, col(Unit.id) == col(Submission.unit_id))
        .where(Step.state == StepState.OPEN)
        .where(seen)
        .group_by(Submission.unit_id, Unit.name, Unit.place, Step.key)
        .order_by(Unit.place, Submission.unit_id)
    ).all()
    places: dict[str, int] = {}
    units: dict[str, Json] = {}
    for unit_id, name, key, count, oldest, late, place in rows:
        places[key] = max(places.get(key, 0), place)
        unit = units.setdefault(unit_id, {"id": unit_id, "name": name, "cells": {}, "total": 0})
        seconds = int((now - oldest).total_seconds()) if oldest else 0
        unit["cells"][key] = {"count": count, "oldest": seconds, "overdue": int(late or 0)}
        unit["total"] += count
    return {"steps": sorted(places, key=lambda key: (places[key], key)), "units": [*units.values()]}


def _next_to_breach(session: Session, seen: Any, now: datetime) -> list[Json]:
    """Return the open steps whose time runs out next; two statements and the calendar."""
    rows = session.exec(
        select(Step, Submission, Unit.name)
        .join(Submission, col(Submission.id) == col(Step.submission_id))
        .join(Unit, col(Unit.id) == col(Submission.unit_id))
        .where(Step.state == StepState.OPEN)
        .where(col(Step.overdue_at).is_(None))
        .where(col(Step.due_at).is_not(None))
        .where(Submission.status != Status.HELD)
        .where(seen)
        .order_by(col(Step.due_at), col(Step.id))
        .limit(NEXT)
    ).all()
    asked = _asked(session, [step.id for step, _, _ in rows])
    calendar = calendar_in_force(session)
    return [
        {
            **row_of(row, unit),
            "step": step.key,
            "due_at": shown_moment(step.due_at),
            "remaining": remaining(step.limit, step.opened_at, step.due_at, calendar, now),
            "holder": asked.get(step.id, []),
        }
        for step, row, unit in rows
    ]


def _asked(session: Session, steps: list[str]) -> dict[str, list[Json]]:
    found: dict[str, list[Json]] = {}
    rows = session.exec(
        select(StepPerson.step_id, StepPerson.person_id, PersonRow.name)
        .join(PersonRow, col(PersonRow.id) == col(StepPerson.person_id))
        .where(col(StepPerson.step_id).in_(steps))
        .where(col(StepPerson.active).is_(True))
        .order_by(col(StepPerson.person_id))
    )
    for step, person, name in rows:
        found.setdefault(step, []).append({"id": person, "name": name})
    return found


def away(session: Session, now: datetime) -> list[Json]:
    """Return the delegations in force: who is away, who acts for them, until when (A-28)."""
    rows = session.exec(
        select(Delegation).where(delegated(now)).order_by(col(Delegation.until_at))
    ).all()
    known = names(session, {one for row in rows for one in (row.from_id, row.to_id)})
    return [
        {
            "id": row.id,
            "from": known.get(row.from_id),
            "to": known.get(row.to_id),
            "categories": row.categories,
            "until_at": shown_moment(row.until_at),
            "filed": row.filed,
        }
        for row in rows
    ]


# --- the table ------------------------------------------------------------------------------------


def units(session: Session) -> list[Json]:
    """Return the units in organisational order."""
    rows = session.exec(select(Unit).order_by(col(Unit.place), col(Unit.id)))
    return [{"id": unit.id, "name": unit.name} for unit in rows]


def chosen(session: Session, person: Person, ids: list[str], now: datetime) -> list[Json]:
    """Return the items of these ids that a person may see, with their open steps and holders."""
    require_overseer(person)
    rows = session.exec(
        select(Submission, Unit.name)
        .join(Unit, col(Unit.id) == col(Submission.unit_id))
        .where(col(Submission.id).in_(ids))
        .where(visible(session, person, now))
        .order_by(col(Submission.id).desc())
    ).all()
    items = [row_of(row, unit) for row, unit in rows]
    with_holders(session, items, now)
    steps = session.exec(
        select(Step)
        .where(col(Step.submission_id).in_([item["id"] for item in items]))
        .where(Step.state == StepState.OPEN)
        .order_by(col(Step.position), col(Step.unit_id))
    ).all()
    for item in items:
        item["steps"] = [
            {"step": s.key, "unit": s.unit_id or None, "role": s.role, "position": s.position}
            for s in steps
            if s.submission_id == item["id"]
        ]
    return items


def able(session: Session, roles: AbstractSet[str], now: datetime) -> list[Json]:
    """Return who holds one of these roles now, with unit; whom a step may be moved to."""
    rows = session.exec(
        select(Grant.person_id, Grant.role)
        .join(PersonRow, col(PersonRow.id) == col(Grant.person_id))
        .where(col(Grant.role).in_(roles))
        .where(in_force(now))
        .where(col(PersonRow.disabled_at).is_(None))
        .order_by(col(Grant.role), col(Grant.person_id))
        .distinct()
    ).all()
    known = names(session, {person for person, _ in rows})
    held: dict[str, Json] = {}
    for person, role in rows:
        held.setdefault(person, dict(known[person]) | {"roles": []})["roles"].append(role)
    return [*held.values()]


# --- saved views ----------------------------------------------------------------------------------


def views(session: Session, person: Person) -> list[Json]:
    """Return a person's saved views by name."""
    rows = session.exec(
        select(SavedView).where(SavedView.person_id == person.id).order_by(col(SavedView.name))
    )
    return [{"id": row.id, "name": row.name, "query": row.query} for row in rows]


def save_view(session: Session, person: Person, name: str, query: str, now: datetime) -> Json:
    """Keep filters under a name; the same name again replaces them.

    Raises:
        RefusedError: `too_many_views`.
    """
    mine = select(SavedView).where(SavedView.person_id == person.id)
    row = session.exec(mine.where(SavedView.name == name)).first()
    if row is None:
        if len(session.exec(mine).all()) >= MOST_VIEWS:
            raise RefusedError("too_many_views", most=MOST_VIEWS)
        row = SavedView(id=new_id(), person_id=person.id, name=name, at=now)
    row.query, row.at = query, now
    session.add(row)
    return {"id": row.id, "name": name}


def drop_view(session: Session, person: Person, view_id: str) -> Json:
    """Forget a view; NotFoundError unless it is this person's."""
    row = session.get(SavedView, view_id)
    if row is None or row.person_id != person.id:
        raise NotFoundError
    session.delete(row)
    return {"id": view_id}


# --- one item's course ----------------------------------------------------------------------------


def course_of(session: Session, found: Item, now: datetime) -> Json:
    """Return who had an item when and for how long, and which step approved which version."""
    begun = [
        step
        for step in found.steps
        if isinstance(step, Step) and step.opened_at and step.state != StepState.WAITING
    ]
    begun.sort(key=lambda step: (step.opened_at or now, step.position))
    rows = session.exec(select(StepPerson).where(StepPerson.submission_id == found.row.id)).all()
    people = {row.person_id for row in rows} | {found.row.author_id}
    people |= {one for d in found.decisions for one in (d.person_id, d.acting_for_id) if one}
    known = names(session, people)
    calendar = calendar_in_force(session)
    ended = found.row.ended_at
    # A step that lapsed unanswered did so when somebody decided or changed the text.
    turns = [d.at for d in found.decisions] + [v.at for v in found.versions]
    turns = sorted([*turns, *([ended] if ended else [])])
    work = found.policy.profiles[Profile(found.row.profile)].clock == "work"

    def possession(step: Step) -> Json:
        assert step.opened_at is not None
        until = step.decided_at
        if until is None and step.state != StepState.OPEN:
            until = next((moment for moment in turns if moment > step.opened_at), ended)
        working = Length.model_validate(step.limit).is_working
        to = until or now
        spent = calendar.working_time(step.opened_at, to) if working else to - step.opened_at
        made = next((d for d in found.decisions if d.closes_step_id == step.id), None)
        asked = [r.person_id for r in rows if r.step_id == step.id and (r.active or not made)]
        who = [made.person_id] if made else asked
        return {
            "step": step.key,
            "unit": step.unit_id or None,
            "round": step.round,
            "state": StepState.DECIDED if made else step.state,
            "lapsed": step.state == StepState.LAPSED,
            "people": [known[one] for one in who if one in known],
            "asked": len({r.person_id for r in rows if r.step_id == step.id}),
            "from": shown_moment(step.opened_at),
            "until": shown_moment(until),
            "seconds": max(int(spent.total_seconds()), 0),
            "working": working,
            "limit": step.limit,
            "due_at": shown_moment(step.due_at),
            "overdue": step.overdue_at is not None,
            "escalated": step.escalated,
            "reminders_sent": step.reminders_sent,
        }

    held = [possession(step) for step in begun] + _returned(found, known, calendar, now, work)
    held.sort(key=lambda one: one["from"] or "")
    places = {(step.key, step.unit_id): step.position for step in begun}
    columns = sorted(places, key=lambda key: (places[key], key))
    grid = [
        {
            "version": version.no,
            "change": version.change,
            "author": known.get(version.author_id),
            "at": shown_moment(version.at),
            "cells": [
                [
                    {
                        "verdict": d.verdict,
                        "person": known.get(d.person_id),
                        "acting_for": known.get(d.acting_for_id) if d.acting_for_id else None,
                        "at": shown_moment(d.at),
                        "counts": d.lapsed_at is None,
                    }
                    for d in found.decisions
                    if (d.key, d.unit_id) == column and d.digest == version.digest
                ]
                for column in columns
            ],
        }
        for version in found.versions
    ]
    return {
        "possession": held,
        "columns": [{"step": key, "unit": unit or None} for key, unit in columns],
        "grid": grid,
        "work": work,
    }


def _returned(found: Item, known: Any, calendar: Any, now: datetime, work: bool) -> list[Json]:
    """Return the stretches in which an item was with its author after a return."""
    stretches = []
    for decision in found.decisions:
        if decision.verdict != Verdict.RETURN or decision.return_to not in ("", "author"):
            continue
        answer = next((v.at for v in found.versions if v.at > decision.at), None)
        until = answer or found.row.ended_at
        to = until or now
        spent = calendar.working_time(decision.at, to) if work else to - decision.at
        author = known.get(found.row.author_id)
        stretches.append(
            {
                "step": "",
                "unit": found.row.unit_id,
                "round": decision.round,
                "state": "returned",
                "lapsed": False,
                "people": [author] if author else [],
                "asked": 1,
                "from": shown_moment(decision.at),
                "until": shown_moment(until),
                "seconds": max(int(spent.total_seconds()), 0),
                "working": work,
                "limit": "",
                "due_at": None,
                "overdue": False,
                "escalated": 0,
                "reminders_sent": 0,
            }
        )
    return stretches
