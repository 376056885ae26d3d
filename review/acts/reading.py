"""Lists, inbox and board, straight from the ledger: people read their own writes."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BindParameter, Select, and_, bindparam, case, exists, func, or_
from sqlalchemy import select as columns
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from review.acts.counting import condition
from review.acts.showing import shown_moment
from review.acts.visibility import visible
from review.records.people import Person, names
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
    table_of,
)
from review.rules.errors import NotAllowedError
from review.rules.values import PublicationState, Role, Status, StepState

Json = dict[str, Any]
OVERSEERS = {
    Role.SUPERVISOR, Role.CENTER_CHIEF, Role.CENTER_DEPUTY, Role.CENTER_EDITOR,
    Role.OFFICE_REVIEWER, Role.OFFICE_DIRECTOR, Role.BUREAU_CHIEF, Role.PUBLICITY_LEADER,
    Role.SUPERVISING_LEADER, Role.AUDITOR, Role.DUTY_OFFICER,
}  # fmt: skip
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
RUNNING = (Status.IN_REVIEW, Status.RETURNED, Status.HELD, Status.AUTHORISED, Status.PUBLISHING)


_ITEM, _STEP, _UNIT = table_of(Submission).c, table_of(Step).c, table_of(Unit).c
_ASKED, _PERSON = table_of(StepPerson).c, table_of(PersonRow).c
LINE = (  # the columns that `row_of` shows
    _ITEM.id, _ITEM.number, _ITEM.title, _ITEM.category, _ITEM.level, _ITEM.profile, _ITEM.kind,
    _ITEM.urgency, _ITEM.status, _ITEM.version, _ITEM.round, _ITEM.digest, _ITEM.unit_id,
    _ITEM.submitted_at, _ITEM.due_at, _ITEM.overdue_at, _ITEM.findings,
)  # fmt: skip

_STEPS_OF = (
    columns(
        _STEP.id, _STEP.submission_id, _STEP.key, _STEP.state, _STEP.tier, _STEP.due_at,
        _STEP.opened_at, _STEP.overdue_at,
    )
    .where(_STEP.submission_id.in_(bindparam("ids", expanding=True)))
    # A condition on the state alone would lead SQLite along the index of all steps in it.
    .where(or_(_STEP.state == str(StepState.OPEN), _STEP.tier > 0))
    .order_by(_STEP.position, _STEP.unit_id)
)  # fmt: skip
_ASKED_ON = (
    columns(_ASKED.step_id, _ASKED.person_id, _PERSON.name)
    .join(table_of(PersonRow), _PERSON.id == _ASKED.person_id)
    .where(_ASKED.step_id.in_(bindparam("ids", expanding=True)))
    .where(_ASKED.active.is_(True))
    .order_by(_ASKED.person_id)
)


_DECIDED, _TOLD = table_of(Decision).c, table_of(Notice).c
_ME: BindParameter[str] = bindparam("me")
# Where somebody's own rows lead to items, and which of them count: what they handled, also for
# somebody else; and what they only got word of (抄送), for 阅 is no 批.
_WALKS: dict[str, tuple[tuple[Any, Any], ...]] = {
    "handled": (
        (_DECIDED.submission_id, _DECIDED.person_id == _ME),
        (_DECIDED.submission_id, _DECIDED.acting_for_id == _ME),
    ),
    "told": (
        (
            _TOLD.submission_id,
            and_(
                _TOLD.person_id == _ME,
                exists()
                .where(_ITEM.id == _TOLD.submission_id)
                .where(_ITEM.author_id != _ME)
                .correlate(table_of(Notice)),
                ~exists()
                .where(_ASKED.submission_id == _TOLD.submission_id)
                .where(_ASKED.person_id == _ME)
                .correlate(table_of(Notice)),
            ),
        ),
    ),
}


def row_of(row: Any, unit_name: str = "") -> Json:
    """Return one line of a list, from a submission or from its columns in `LINE`."""
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
    given = {name for name, value in filters.items() if value}
    if given in ({"handled"}, {"told"}):
        return _own(session, person, given.pop(), limit, after, now)
    statement = _lines().where(*matching(session, person, filters, now))
    if after:
        statement = statement.where(_ITEM.id < after)
    statement = statement.order_by(_ITEM.id.desc()).limit(limit + 1)
    rows = session.connection().execute(statement).all()
    items = [row_of(row, row.unit_name) for row in rows[:limit]]
    with_holders(session, items, now)
    return {"items": items, "next": items[-1]["id"] if len(rows) > limit else None}


def _lines() -> Select[Any]:
    return columns(*LINE, _UNIT.name.label("unit_name")).join(
        table_of(Unit), _UNIT.id == _ITEM.unit_id
    )


def _own(
    session: Session, person: Person, which: str, limit: int, after: str | None, now: datetime
) -> Json:
    """Return a page of what somebody handled or was told of, along the index of their own rows.

    What they handled or were told of in years costs nothing this way; a condition on submissions
    would gather all of it for each page.
    """
    walked: set[str] = set()
    for column, which_count in _WALKS[which]:
        walk = (
            columns(column).where(which_count).distinct().order_by(column.desc()).limit(limit + 1)
        )
        if after:
            walk = walk.where(column < after)
        walked.update(session.connection().execute(walk, {"me": person.id}).scalars())
    ids = sorted(walked, reverse=True)
    shown = ids[:limit]
    rows = session.connection().execute(
        _lines().where(visible(session, person, now), _ITEM.id.in_(shown)).order_by(_ITEM.id.desc())
    )
    items = [row_of(row, row.unit_name) for row in rows]
    with_holders(session, items, now)
    return {"items": items, "next": shown[-1] if len(ids) > limit else None}


def matching(session: Session, person: Person, filters: Json, now: datetime) -> list[Any]:
    """Return the conditions on submissions that a person may see and that filters let through.

    Args:
        filters: status, category, kind, unit, overdue, running, step (open now), due_by (an open
            step is due by then and not late yet), published_since, trouble (with a channel), mine,
            handled, told, q, from, to, counted (as what statistics count it); all optional.
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
        own = select(Decision.submission_id).where(Decision.person_id == person.id)
        others = select(Decision.submission_id).where(Decision.acting_for_id == person.id)
        found.append(col(Submission.id).in_(own.union(others)))
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
        found.append(col(Submission.submitted_at) < filters["to"])
    if filters.get("counted"):
        found.append(condition(filters["counted"]))
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
    asked = (
        exists()
        .where(col(StepPerson.submission_id) == col(Submission.id))
        .where(col(StepPerson.person_id) == person.id)
    )
    return and_(
        col(Submission.id).in_(told),
        ~asked,
        col(Submission.author_id) != person.id,
    )


def with_holders(session: Session, items: list[Json], now: datetime) -> None:
    """Add who holds each item, until when and since when, and which of the three reviews it passed.

    Two statements for a whole page.
    """
    ledger = session.connection()
    steps: dict[str, list[Any]] = {}
    passed: dict[str, set[int]] = {}
    open_steps = []
    for step in ledger.execute(_STEPS_OF, {"ids": [item["id"] for item in items]}):
        if step.state == StepState.OPEN:
            steps.setdefault(step.submission_id, []).append(step)
            open_steps.append(step.id)
        elif step.state == StepState.DECIDED:
            passed.setdefault(step.submission_id, set()).add(step.tier)
    people: dict[str, list[Json]] = {}
    for step_id, person, name in ledger.execute(_ASKED_ON, {"ids": open_steps}):
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
        item["tiers_passed"] = sorted(passed.get(item["id"], ()))


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
        .where(col(Notice.submission_id).in_({row.id for _, row, _ in late}))
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
    found = (
        select(func.count())
        .select_from(Submission)
        .join(FindingRow, col(FindingRow.submission_id) == col(Submission.id))
        .where(seen)
    )
    blocked = session.exec(found.where(*_open_block())).one()
    # A comparison, since SQLite takes no index for "is not null".
    ignored = session.exec(found.where(col(FindingRow.ignored_at) > LONG_AGO)).one()
    return {
        "at": shown_moment(now),
        "findings": {"blocking": blocked, "ignored_warnings": ignored},
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
