"""How the units' items fared in a period (R5.2-3): from the ledger, and again from the trace.

A period's items are those submitted in it. Every number is one of the conditions in `counting`, by
which the list of all items can be filtered too, so that each leads to its items.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import literal
from sqlalchemy import select as columns
from sqlmodel import Session, col, func, select

from review.acts.counting import asked_of_items
from review.acts.item import calendar_in_force
from review.acts.overseeing import today
from review.acts.reading import OVERSEERS
from review.acts.showing import ZONE, shown_moment
from review.acts.visibility import SEE_ALL, visible
from review.records.people import Person
from review.records.tables import (
    Audit,
    Decision,
    FindingRow,
    PersonRow,
    Remark,
    Step,
    Submission,
    Unit,
    table_of,
)
from review.rules import statistics as rules
from review.rules.errors import MalformedError, NotAllowedError
from review.rules.statistics import DIMENSIONS, Deed, Fact, Retelling
from review.rules.values import Role

Json = dict[str, Any]
A_MONTH = timedelta(days=31)
COMPARE = {Role.AUDITOR, Role.SUPERVISOR, Role.CENTER_CHIEF}
BY = (*DIMENSIONS, "status")
GRADES = ("A", "B", "C")
_ITEM = table_of(Submission).c


def dimensions(by: str) -> list[str]:
    """Return the dimensions that a query names, as `unit,kind`.

    Raises:
        MalformedError: One is unknown or comes twice.
    """
    names = by.split(",")
    if not set(names) <= set(BY) or len(set(names)) != len(names):
        raise MalformedError(errors=[{"field": "by", "message": "unknown_value", "value": by}])
    return names


# --- from the ledger ------------------------------------------------------------------------------


def facts(session: Session, seen: Any, from_: datetime, to: datetime) -> list[Fact]:
    """Return what is so of the items submitted in a period; one statement."""
    asked = asked_of_items()
    warnings = (
        select(func.count())
        .where(col(FindingRow.submission_id) == col(Submission.id))
        .where(col(FindingRow.ignored_at).is_not(None))
        .correlate(Submission)
        .scalar_subquery()
    )
    statement = (
        columns(
            _ITEM.id, _ITEM.unit_id, _ITEM.kind, _ITEM.category, _ITEM.submitted_at, _ITEM.status,
            warnings.label("warnings"), *(what.label(f"is_{name}") for name, what in asked.items()),
        )
        .where(seen, *_within(from_, to))
        .order_by(_ITEM.id)
    )  # fmt: skip
    return [
        Fact(
            id=row.id,
            unit=row.unit_id,
            kind=row.kind,
            category=row.category,
            month=rules.month_of(row.submitted_at, ZONE),
            counts_as=rules.measures(**{name: bool(getattr(row, f"is_{name}")) for name in asked}),
            ignored_warnings=row.warnings,
            status=row.status,
        )
        for row in session.connection().execute(statement)
    ]


def deeds(session: Session, seen: Any, from_: datetime, to: datetime) -> list[Deed]:
    """Return the decisions on the items submitted in a period; one statement and the calendar."""
    calendar = calendar_in_force(session)
    step, made = table_of(Step).c, table_of(Decision).c
    statement = (
        columns(
            made.submission_id, made.key, made.verdict, made.reason_code, made.person_id, made.at,
            step.opened_at,
        )
        .join(table_of(Step), step.id == made.step_id)
        .join(table_of(Submission), _ITEM.id == made.submission_id)
        .where(seen, *_within(from_, to))
        .order_by(made.submission_id, made.at)
    )  # fmt: skip
    return [
        Deed(
            row.submission_id, row.key, row.verdict, row.reason_code, row.person_id,
            rules.hours_between(row.opened_at, row.at, calendar),
        )
        for row in session.connection().execute(statement)
    ]  # fmt: skip


def _within(from_: datetime, to: datetime) -> tuple[Any, Any]:
    return _ITEM.submitted_at >= from_, _ITEM.submitted_at < to


def statistics(
    session: Session,
    person: Person,
    from_: datetime | None,
    to: datetime | None,
    by: str,
    now: datetime,
) -> Json:
    """Return the statistics of the items of a period that a person may see.

    Args:
        from_, to: The first moment and the first one no longer; the last 31 days unless given.
        by: Dimensions: unit, kind, category, month, status; several with commas between.

    Returns:
        `{from, to, by, rows, total, units_with_nothing, steps, reasons, grades, reviewers,
            definitions}`:
        rows and units in organisational order (A-21); hours are working hours; `reviewers` is
        for those who oversee, None for others.

    Raises:
        MalformedError: An unknown dimension.
    """
    named = dimensions(by)
    to = to or today(now)[1]
    from_ = from_ or to - A_MONTH
    seen = visible(session, person, now)
    found = facts(session, seen, from_, to)
    made = deeds(session, seen, from_, to)
    units = session.exec(select(Unit).order_by(col(Unit.place), col(Unit.id))).all()
    order = {unit.id: place for place, unit in enumerate(units)}
    roles = {held.role for held in person.roles}
    mine = {held.unit_id for held in person.roles}
    busy = {fact.unit for fact in found}
    return {
        "from": shown_moment(from_),
        "to": shown_moment(to),
        "by": by,
        "rows": rules.grouped(found, named, order),
        "total": rules.counted(found),
        "units": [{"id": unit.id, "name": unit.name} for unit in units],
        "units_with_nothing": [
            {"id": unit.id, "name": unit.name}
            for unit in units
            if unit.id not in busy and (roles & SEE_ALL or unit.id in mine)
        ],
        "steps": rules.step_times(made),
        "reasons": rules.reasons(made),
        "grades": _grades(session, seen, from_, to, units),
        "reviewers": _reviewers(session, made, order) if roles & OVERSEERS else None,
    }


def _grades(
    session: Session, seen: Any, from_: datetime, to: datetime, units: Sequence[Unit]
) -> list[Json]:
    """Return how many items of each unit have which grade, in organisational order (R5.1-1, A-21).

    The last grade of an item counts; items without one are in no column.
    """
    given = session.exec(
        select(Remark.submission_id, Submission.unit_id, Remark.anchor)
        .join(Submission, col(Submission.id) == col(Remark.submission_id))
        .where(Remark.kind == "grade")
        .where(seen, *_within(from_, to))
        .order_by(col(Remark.at), col(Remark.id))
    ).all()
    last = {submission: (unit, grade) for submission, unit, grade in given}
    counts = Counter(last.values())
    graded = {unit for unit, _ in last.values()}
    return [
        {"unit": unit.id, "name": unit.name} | {one: counts[unit.id, one] for one in GRADES}
        for unit in units
        if unit.id in graded
    ]


def _reviewers(session: Session, made: list[Deed], order: dict[str, int]) -> list[Json]:
    """Return the load of each who decided, by unit and name: a table, not a ranking."""
    load = rules.load(made)
    people = session.exec(
        select(PersonRow.id, PersonRow.name, PersonRow.unit_id).where(col(PersonRow.id).in_(load))
    ).all()
    shown = sorted(people, key=lambda one: (order.get(one[2], len(order)), one[1], one[0]))
    return [
        {"person": {"id": id_, "name": name, "unit": unit}, **load[id_]}
        for id_, name, unit in shown
    ]


# --- from the trace -------------------------------------------------------------------------------


def retold(session: Session, from_: datetime, to: datetime, zone: ZoneInfo = ZONE) -> Retelling:
    """Return the facts of a period's items as the trace alone tells them."""
    retelling = Retelling(calendar_in_force(session), zone)
    entry = table_of(Audit).c
    begun = columns(entry.chain).where(
        entry.event == "submitted", entry.at >= from_, entry.at < to, entry.n == 1
    )
    statement = (
        columns(entry.chain, entry.n, entry.at, entry.event, entry.person_id, entry.data)
        .where(entry.chain.in_(begun))
        .order_by(entry.chain, entry.n)
        .execution_options(yield_per=2000)
    )
    with session.connection().execute(statement) as rows:
        for row in rows:
            if row.n == 1:
                retelling.begin(row.chain, row.at, row.data)
            retelling.tell(row.chain, row.at, row.event, row.person_id, row.data)
    return retelling


def compared(
    session: Session, person: Person, from_: datetime | None, to: datetime | None, now: datetime
) -> Json:
    """Compare a period for those who may read the whole trace.

    Raises:
        NotAllowedError: Whoever may not.
    """
    if not {held.role for held in person.roles} & COMPARE:
        raise NotAllowedError
    to = to or today(now)[1]
    return compare(session, from_ or to - A_MONTH, to)


def compare(session: Session, from_: datetime, to: datetime) -> Json:
    """Compare a period's facts in the ledger with those that the trace alone tells.

    Returns:
        `{ok, items, decisions, differences}`; each difference `{id, ledger, trace}`, at most 100.
    """
    everything = literal(True)
    told = retold(session, from_, to)
    ours = {fact.id: _comparable(fact) for fact in facts(session, everything, from_, to)}
    theirs = {fact.id: _comparable(fact) for fact in told.facts()}
    made, told_deeds = deeds(session, everything, from_, to), told.deeds()
    for deed in made:
        ours.setdefault(deed.item, {}).setdefault("decisions", []).append(list(deed[1:]))
    for deed in told_deeds:
        theirs.setdefault(deed.item, {}).setdefault("decisions", []).append(list(deed[1:]))
    differences = [
        {"id": id_, "ledger": ours.get(id_), "trace": theirs.get(id_)}
        for id_ in sorted(ours.keys() | theirs.keys())
        if ours.get(id_) != theirs.get(id_)
    ]
    return {
        "ok": not differences,
        "from": shown_moment(from_),
        "to": shown_moment(to),
        "items": len(ours),
        "decisions": len(made),
        "differences": differences[:100],
    }


def _comparable(fact: Fact) -> Json:
    return {
        "unit": fact.unit, "kind": fact.kind, "category": fact.category, "month": fact.month,
        "counts_as": sorted(fact.counts_as), "ignored_warnings": fact.ignored_warnings,
    }  # fmt: skip
