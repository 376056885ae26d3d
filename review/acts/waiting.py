"""The inbox: what waits for somebody, in one statement that follows their own rows alone.

People's pages and programs ask for it again and again, so it is composed once, reads columns and
no objects, and takes along what else a line shows.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BindParameter,
    FromClause,
    Integer,
    Select,
    String,
    Text,
    and_,
    bindparam,
    case,
    cast,
    exists,
    func,
    or_,
    select,
    union_all,
)
from sqlmodel import Session

from review.acts.item import calendar_known, latest_calendar
from review.acts.pace import remaining
from review.acts.reading import LINE, row_of
from review.acts.showing import shown_moment
from review.records.people import NOW, Person, delegated
from review.records.tables import (
    Delegation,
    PersonRow,
    Step,
    StepPerson,
    Submission,
    Unit,
    UtcDateTime,
    table_of,
)
from review.rules.errors import MalformedError
from review.rules.values import Status, StepState

Json = dict[str, Any]

_STEP, _ASKED, _ITEM = table_of(Step).c, table_of(StepPerson).c, table_of(Submission).c
_UNIT, _PERSON, _FROM = table_of(Unit).c, table_of(PersonRow).c, table_of(Delegation).c

_ME: BindParameter[str] = bindparam("me", type_=String)
_DUE: BindParameter[datetime] = bindparam("due", type_=UtcDateTime)


def _waits() -> Select[Any]:
    """Compose which open steps wait for a person: asked themselves, or for somebody they act for.

    A step for which somebody is asked in both ways is their own.
    """
    absent = select(_FROM.from_id).where(_FROM.to_id == _ME).where(delegated(NOW))
    held = exists().where(_ITEM.status == str(Status.HELD)).where(_ITEM.id == _STEP.submission_id)
    return (
        select(
            _STEP.id,
            _STEP.due_at,
            func.min(case((_ASKED.person_id == _ME, _ASKED.why))).label("why"),
            func.min(_ASKED.person_id).label("principal"),
        )
        .join(table_of(StepPerson), _ASKED.step_id == _STEP.id)
        .where(_ASKED.person_id.in_(union_all(select(_ME), absent)))
        .where(or_(_ASKED.person_id == _ME, _serves()))
        .where(_ASKED.waits.is_(True))
        .where(_ASKED.active.is_(True))
        .where(_STEP.state == str(StepState.OPEN))
        .where(~held)
        .group_by(_STEP.id, _STEP.due_at)
    )


def _serves() -> Any:
    """Compose whether a delegation covers the category of a step's item (A-28)."""
    item = table_of(Submission).alias("delegated").c
    named = cast(_FROM.categories, Text)
    return (
        exists()
        .where(item.id == _STEP.submission_id)
        .where(_FROM.to_id == _ME)
        .where(_FROM.from_id == _ASKED.person_id)
        .where(delegated(NOW))
        .where(or_(named == "[]", named.like('%"' + item.category + '"%')))
        .correlate(table_of(Step), table_of(StepPerson))
    )


def _page(waits: Select[Any]) -> Select[Any]:
    """Compose a page of an inbox: first which steps, then what a line shows of each."""
    most: BindParameter[int] = bindparam("most", type_=Integer)
    found = waits.order_by(_STEP.due_at, _STEP.id).limit(most).subquery("found")
    return (
        select(
            *LINE,
            _UNIT.name.label("unit_name"),
            _STEP.id.label("step_id"),
            _STEP.key,
            _STEP.unit_id.label("step_unit"),
            _STEP.round.label("step_round"),
            _STEP.role,
            _STEP.tier,
            _STEP.proof,
            _STEP.limit,
            _STEP.opened_at,
            _STEP.due_at.label("step_due_at"),
            _STEP.overdue_at.label("step_overdue_at"),
            _STEP.escalated,
            _STEP.only_for,
            found.c.why,
            found.c.principal,
            _PERSON.name.label("principal_name"),
            _tiers_passed().label("tiers"),
            latest_calendar().label("calendar"),
        )
        .select_from(_joined(found))
        .order_by(found.c.due_at, found.c.id)
    )


def _joined(found: FromClause) -> FromClause:
    return (
        found.join(table_of(Step), _STEP.id == found.c.id)
        .join(table_of(Submission), _ITEM.id == _STEP.submission_id)
        .join(table_of(Unit), _UNIT.id == _ITEM.unit_id)
        .join(table_of(PersonRow), _PERSON.id == found.c.principal)
    )


def _tiers_passed() -> Any:
    """Compose which of the three reviews an item has passed, with commas between."""
    passed = table_of(Step).alias("passed").c
    # Were the state a condition, SQLite would walk the index of all steps in it.
    tier = case((passed.state == str(StepState.DECIDED), cast(passed.tier, String)))
    return (
        select(func.aggregate_strings(tier, ","))
        .where(passed.submission_id == _ITEM.id)
        .where(passed.tier > 0)
        .correlate(table_of(Submission))
        .scalar_subquery()
    )


_FIRST_PAGE = _page(_waits())
_NEXT_PAGE = _page(
    _waits().where(
        or_(_STEP.due_at > _DUE, and_(_STEP.due_at == _DUE, _STEP.id > bindparam("after")))
    )
)
_LAST = select(_STEP.due_at).where(_STEP.id == bindparam("after"))
_COUNT = select(func.count()).select_from(
    _waits().limit(bindparam("most", type_=Integer)).subquery()
)


def inbox(session: Session, person: Person, limit: int, after: str | None, now: datetime) -> Json:
    """Return what waits for this person, least time left first (feature 2).

    Args:
        after: `next` of the page before: its last step.
    """
    ledger = session.connection()
    given = {"me": person.id, "now": now, "most": limit + 1}
    if after:
        due = ledger.execute(_LAST, {"after": after}).scalar()
        if due is None:
            raise MalformedError(errors=[{"field": "after", "message": "unknown_value"}])
        rows = ledger.execute(_NEXT_PAGE, given | {"after": after, "due": due}).all()
    else:
        rows = ledger.execute(_FIRST_PAGE, given).all()
    shown = rows[:limit]
    calendar = calendar_known(session, shown[0].calendar) if shown else None
    items = [
        {
            **row_of(row, row.unit_name),
            "step": row.key,
            "step_unit": row.step_unit or None,
            "step_round": row.step_round,
            "role": row.role,
            "tier": row.tier or None,
            "proof": row.proof or None,
            "opened_at": shown_moment(row.opened_at),
            "due_at": shown_moment(row.step_due_at),
            "step_overdue": row.step_overdue_at is not None,
            "escalated": row.escalated,
            "why": row.why or "delegation",
            "handed_over": row.only_for != "",
            "acting_for": None if row.why else row.principal,
            "acting_for_name": None if row.why else row.principal_name,
            "remaining": remaining(row.limit, row.opened_at, row.step_due_at, calendar, now),
            "after": row.step_id,
            "tiers_passed": sorted({int(tier) for tier in (row.tiers or "").split(",") if tier}),
        }
        for row in shown
    ]
    return {"items": items, "next": items[-1]["after"] if len(rows) > limit else None}


def count(session: Session, person: Person, most: int, now: datetime) -> int:
    """Return how many steps wait for this person, at most so many."""
    given = {"me": person.id, "now": now, "most": most}
    return int(session.connection().execute(_COUNT, given).scalar_one())
