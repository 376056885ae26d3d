"""Lists, inbox and board, straight from the ledger: people read their own writes."""

from datetime import datetime
from typing import Any

from sqlalchemy import BindParameter, Integer, Select, and_, bindparam, case, exists, func, or_
from sqlalchemy import select as columns
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from review.acts.counting import condition
from review.acts.showing import shown_moment
from review.acts.visibility import sees_all, visible
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
from review.records.tallies import SubmissionTally
from review.records.topics import Topic, TopicItem
from review.rules.errors import NotAllowedError
from review.rules.values import PublicationState, Role, Status, StepState

Json = dict[str, Any]
OVERSEERS = {
    Role.SUPERVISOR, Role.CENTER_CHIEF, Role.CENTER_DEPUTY, Role.CENTER_EDITOR,
    Role.OFFICE_REVIEWER, Role.OFFICE_DIRECTOR, Role.BUREAU_CHIEF, Role.PUBLICITY_LEADER,
    Role.SUPERVISING_LEADER, Role.AUDITOR, Role.DUTY_OFFICER,
}  # fmt: skip
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
_BEFORE: BindParameter[str] = bindparam("before")
_MOST: BindParameter[int] = bindparam("most", type_=Integer)
AT_ONCE = 500  # items that somebody was told of, looked at in one statement
MOST_LOOKS = 4  # statements a page; then it ends, and the next goes on from there
AFTER_ALL = "~"  # sorts after every id


def _walk(column: Any, mine: Any) -> Select[Any]:
    """Compose a walk along the index of somebody's own rows, newest item first."""
    walk = columns(column).where(mine).where(column < _BEFORE)
    return walk.distinct().order_by(column.desc()).limit(_MOST)


# What somebody handled, also for somebody else.
_HANDLED = (
    _walk(_DECIDED.submission_id, _DECIDED.person_id == _ME),
    _walk(_DECIDED.submission_id, _DECIDED.acting_for_id == _ME),
)
_WORD_OF = _walk(_TOLD.submission_id, _TOLD.person_id == _ME).subquery("word_of")
# Whether they only got word of it (抄送), for 阅 is no 批. Subqueries in the list of columns, which
# PostgreSQL follows row by row: joined, it would rather read all submissions once.
_TOLD_OF = columns(
    _WORD_OF.c.submission_id,
    columns(_ITEM.author_id).where(_ITEM.id == _WORD_OF.c.submission_id).scalar_subquery(),
    columns(func.count())
    .where(_ASKED.submission_id == _WORD_OF.c.submission_id)
    .where(_ASKED.person_id == _ME)
    .scalar_subquery(),
).order_by(_WORD_OF.c.submission_id.desc())


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
    walk = _handled if which == "handled" else _told_of
    ids, beyond = walk(session, person.id, limit, after or AFTER_ALL)
    rows = session.connection().execute(
        _lines().where(visible(session, person, now), _ITEM.id.in_(ids)).order_by(_ITEM.id.desc())
    )
    items = [row_of(row, row.unit_name) for row in rows]
    with_holders(session, items, now)
    return {"items": items, "next": beyond}


def _handled(session: Session, me: str, limit: int, before: str) -> tuple[list[str], str | None]:
    """Return what somebody handled, and where the next page goes on, if there is one."""
    given = {"me": me, "before": before, "most": limit + 1}
    ledger, walked = session.connection(), set[str]()
    for walk in _HANDLED:
        walked.update(ledger.execute(walk, given).scalars())
    ids = sorted(walked, reverse=True)
    return ids[:limit], ids[limit - 1] if len(ids) > limit else None


def _told_of(session: Session, me: str, limit: int, before: str) -> tuple[list[str], str | None]:
    """Return what somebody was only told of, and where the next page goes on.

    Whoever was asked of nearly all they were told of gets a short page after 2,000 items, for a
    page's cost is not to grow with their years.
    """
    found: list[str] = []
    for _ in range(MOST_LOOKS):
        given = {"me": me, "before": before, "most": AT_ONCE}
        rows = session.connection().execute(_TOLD_OF, given).all()
        for item, author, asked in rows:
            if author is not None and author != me and not asked:
                if len(found) == limit:
                    return found, found[-1]
                found.append(item)
            before = item
        if len(rows) < AT_ONCE:
            return found, None
    return found, before


def matching(session: Session, person: Person, filters: Json, now: datetime) -> list[Any]:
    """Return the conditions on submissions that a person may see and that filters let through.

    Args:
        filters: status, category, kind, unit, overdue, running, step (open now), due_by (an open
            step is due by then and not late yet), published_since, trouble (with a channel),
            topic, mine, handled, told, q, from, to, counted (as what statistics count it); all
            optional.
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
    if filters.get("topic"):
        of = select(TopicItem.submission_id).join(Topic, col(Topic.id) == col(TopicItem.topic_id))
        named = or_(Topic.id == filters["topic"], Topic.number == filters["topic"])
        found.append(col(Submission.id).in_(of.where(named)))
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
    statuses = session.exec(_by_status(person, seen)).all()
    late = (
        session.connection()
        .execute(
            columns(
                *LINE,
                _UNIT.name.label("unit_name"),
                _STEP.id.label("step_id"),
                _STEP.key,
                _STEP.due_at.label("step_due_at"),
                _STEP.overdue_at.label("step_overdue_at"),
                _STEP.reminders_sent,
                _STEP.escalated,
            )
            .join_from(table_of(Step), table_of(Submission), _ITEM.id == _STEP.submission_id)
            .join(table_of(Unit), _UNIT.id == _ITEM.unit_id)
            .where(_STEP.state == str(StepState.OPEN))
            .where(_STEP.overdue_at.is_not(None))
            .where(seen)
            .order_by(_STEP.due_at)
            .limit(200)
        )
        .all()
    )
    step_ids = [row.step_id for row in late]
    asked = session.exec(
        select(StepPerson.step_id, StepPerson.person_id)
        .where(col(StepPerson.step_id).in_(step_ids))
        .where(col(StepPerson.active).is_(True))
    ).all()
    done: dict[str, list[Json]] = {}
    for step, kind, times, last in session.exec(
        select(
            Notice.step_id, Notice.kind, func.count(func.distinct(Notice.at)), func.max(Notice.at)
        )
        .where(col(Notice.submission_id).in_({row.id for row in late}))
        .where(col(Notice.step_id).in_(step_ids))
        .where(col(Notice.kind).in_(["remind", "overdue", "escalated", "urge"]))
        .group_by(col(Notice.step_id), col(Notice.kind))
    ):
        told = {"kind": kind, "times": times, "last_at": _first(last)}
        done.setdefault(step, []).append(told)
    known = names(session, {person_id for _, person_id in asked})
    holders: dict[str, list[Json]] = {}
    for step, one in asked:
        if one in known:
            holders.setdefault(step, []).append(dict(known[one]))
    trouble = session.exec(
        select(Publication, Submission.number)
        .join(Submission, col(Submission.id) == col(Publication.submission_id))
        .where(col(Publication.state).in_([PublicationState.FAILED, PublicationState.UNKNOWN]))
        .where(seen)
        .limit(50)
    ).all()
    blocked, ignored = session.exec(
        select(
            func.sum(case((and_(*_open_block()), 1), else_=0)),
            func.sum(case((col(FindingRow.ignored_at).is_not(None), 1), else_=0)),
        )
        .select_from(Submission)
        .join(FindingRow, col(FindingRow.submission_id) == col(Submission.id))
        .where(col(Submission.status).in_(RUNNING))
        .where(seen)
    ).one()
    return {
        "at": shown_moment(now),
        "findings": {"blocking": int(blocked or 0), "ignored_warnings": int(ignored or 0)},
        "statuses": {str(status): int(number) for status, number in statuses},
        "steps": [
            {"step": key, "open": number, "overdue": int(overdue or 0), "due_first": _first(due)}
            for key, number, overdue, due in open_steps
        ],
        "overdue": [
            {
                **row_of(row, row.unit_name),
                "overdue": True,
                "step": row.key,
                "due_at": shown_moment(row.step_due_at),
                "overdue_since": shown_moment(row.step_overdue_at),
                "holder": holders.get(row.step_id, []),
                "reminders_sent": row.reminders_sent,
                "escalated": row.escalated,
                "done": done.get(row.step_id, []),
            }
            for row in late
        ],
        "channels": [
            {"number": number, "channel": p.channel, "state": p.state, "detail": p.detail}
            for p, number in trouble
        ],
    }


def _by_status(person: Person, seen: Any) -> Any:
    """Return how many items have which status: by the tally, or among those somebody may see."""
    if not sees_all(person):
        return select(Submission.status, func.count()).where(seen).group_by(Submission.status)
    items = func.sum(SubmissionTally.items)
    return select(SubmissionTally.status, items).group_by(SubmissionTally.status).having(items > 0)


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
