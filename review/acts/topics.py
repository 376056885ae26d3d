"""Topics (专题, R3.2-7): opened and closed by the centre; they group and review nothing.

An item joins one at its submission or later and leaves it without a change to itself: its text, its
digest and its reviews know nothing of topics.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import func
from sqlmodel import Session, col, or_, select

from review.acts.matters import known_submission, next_number
from review.acts.reading import row_of, with_holders
from review.acts.showing import shown_moment
from review.acts.visibility import require_visible, visible
from review.ids import new_id
from review.matter_requests import NewTopic, TopicAct
from review.records import audit
from review.records.people import Person, names
from review.records.tables import Submission, Unit
from review.records.topics import Topic, TopicItem
from review.rules.errors import MalformedError, NotAllowedError, NotFoundError, RefusedError
from review.rules.values import Role

Json = dict[str, Any]
KIND = "topic"
OPEN, CLOSED = "open", "closed"
CENTER = frozenset({Role.CENTER_EDITOR, Role.CENTER_DEPUTY, Role.CENTER_CHIEF})
UNIT = frozenset({Role.INFO_OFFICER, Role.UNIT_HEAD})  # with items of their own unit
READERS = frozenset(Role) - {Role.SECURITY_ADMIN, Role.SYSADMIN}  # those see no content
MOST = 500  # items shown of one topic


def open_topic(
    session: Session, person: Person, request: NewTopic, *, way_in: str, now: datetime
) -> Json:
    """Open a topic; NotAllowedError for others than the centre."""
    role = _center(person, "open_topic")
    row = Topic(
        id=new_id(), number=next_number(session, KIND, now), title=request.title,
        note=request.note, state=OPEN, opened_by_id=person.id, opened_at=now,
    )  # fmt: skip
    session.add(row)
    session.flush()
    _trace(session, row, "topic_opened", person, role, way_in, now)
    return answer(row)


def join(session: Session, name: str, person: Person, row: Submission, now: datetime) -> None:
    """Have a new submission stand in the topic that it names.

    Raises:
        MalformedError: unknown_topic.
        RefusedError: topic_closed.
    """
    topic = session.exec(select(Topic).where(or_(Topic.id == name, Topic.number == name))).first()
    if topic is None or not reads(person):
        raise MalformedError(errors=[{"field": "topic", "message": "unknown_topic"}])
    if topic.state != OPEN:
        raise RefusedError("topic_closed", topic=topic.number)
    session.add(TopicItem(submission_id=row.id, topic_id=topic.id, at=now, by_id=person.id))
    _trace(
        session, topic, "topic_item_added", person, Role.INFO_OFFICER, "", now, submission=row.id
    )


def act(
    session: Session,
    person: Person,
    topic_id: str,
    request: TopicAct,
    *,
    way_in: str,
    now: datetime,
) -> Json:
    """Add an item or take one out; close a topic or open it again.

    Raises:
        NotFoundError: There is no such topic, or no such item for this person.
        NotAllowedError: Neither the centre nor, for an item, its unit.
        MalformedError: submission: field_needed, unknown_submission.
        RefusedError: `topic_closed`, `nothing_changed`, `in_another_topic`.
    """
    row = session.get(Topic, topic_id, with_for_update=True)
    if row is None or not reads(person):
        raise NotFoundError
    if request.act in ("add", "remove"):
        _move(session, person, row, request, way_in, now)
        return answer(row)
    role = _center(person, request.act)
    wanted = CLOSED if request.act == "close" else OPEN
    if row.state == wanted:
        raise RefusedError("nothing_changed")
    row.state = wanted
    row.closed_by_id = person.id if wanted == CLOSED else ""
    row.closed_at = now if wanted == CLOSED else None
    session.add(row)
    event = "topic_closed" if wanted == CLOSED else "topic_reopened"
    _trace(session, row, event, person, role, way_in, now)
    return answer(row)


def _move(
    session: Session, person: Person, row: Topic, request: TopicAct, way_in: str, now: datetime
) -> None:
    if not request.submission:
        raise MalformedError(errors=[{"field": "submission", "message": "field_needed"}])
    item = known_submission(session, request.submission)
    try:
        require_visible(session, person, item, now)
    except NotFoundError:  # there is none that this person may know of
        message = [{"field": "submission", "message": "unknown_submission"}]
        raise MalformedError(errors=message) from None
    role = next(
        (
            one.role
            for one in person.roles
            if one.role in CENTER or (one.role in UNIT and one.unit_id == item.unit_id)
        ),
        None,
    )
    if role is None:
        raise NotAllowedError(act=request.act)
    if row.state != OPEN:
        raise RefusedError("topic_closed", topic=row.number)
    held = session.get(TopicItem, item.id, with_for_update=True)
    if request.act == "add":
        if held is not None:
            code = "nothing_changed" if held.topic_id == row.id else "in_another_topic"
            raise RefusedError(code)
        session.add(TopicItem(submission_id=item.id, topic_id=row.id, at=now, by_id=person.id))
    else:
        if held is None or held.topic_id != row.id:
            raise RefusedError("nothing_changed")
        session.delete(held)
    event = "topic_item_added" if request.act == "add" else "topic_item_removed"
    _trace(session, row, event, person, role, way_in, now, submission=item.id)


def _center(person: Person, act: str) -> str:
    role = next((one.role for one in person.roles if one.role in CENTER), None)
    if role is None:
        raise NotAllowedError(act=act)
    return role


def reads(person: Person) -> bool:
    """Tell whether somebody may read topics at all."""
    return bool({one.role for one in person.roles} & READERS)


def _trace(
    session: Session,
    row: Topic,
    event: str,
    person: Person,
    role: str,
    way_in: str,
    now: datetime,
    **data: Any,
) -> None:
    audit.append(
        session, audit.BUREAU, event, at=now, person_id=person.id, role=role, way_in=way_in,
        data={"topic": row.id, "number": row.number} | data,
    )  # fmt: skip


# --- reads ----------------------------------------------------------------------------------------


def listed(session: Session, person: Person, filters: Json, limit: int, after: str | None) -> Json:
    """Return the topics, newest first; none for those who see no content.

    Args:
        filters: state; optional.
    """
    if not reads(person):
        return {"items": [], "next": None}
    statement = select(Topic).order_by(col(Topic.id).desc()).limit(limit + 1)
    if filters.get("state"):
        statement = statement.where(Topic.state == filters["state"])
    if after:
        statement = statement.where(col(Topic.id) < after)
    rows = session.exec(statement).all()
    counts: dict[str, int] = dict(
        session.exec(
            select(TopicItem.topic_id, func.count())
            .where(col(TopicItem.topic_id).in_([row.id for row in rows]))
            .group_by(col(TopicItem.topic_id))
        ).all()
    )
    items = [line(row) | {"count": counts.get(row.id, 0)} for row in rows[:limit]]
    return {"items": items, "next": rows[limit - 1].id if len(rows) > limit else None}


def line(row: Topic) -> Json:
    """Return one line of the list."""
    return {
        "id": row.id,
        "number": row.number,
        "title": row.title,
        "state": row.state,
        "opened_at": shown_moment(row.opened_at),
        "closed_at": shown_moment(row.closed_at),
    }


def answer(row: Topic) -> Json:
    """Return what an act answers."""
    return {"id": row.id, "number": row.number, "state": row.state}


def shown(session: Session, person: Person, topic_id: str, now: datetime) -> Json:
    """Return one topic with those of its items that this person may see, the newest first.

    Raises:
        NotFoundError: There is none, or this person sees no content.
    """
    row = session.get(Topic, topic_id)
    if row is None or not reads(person):
        raise NotFoundError
    mine = select(TopicItem.submission_id).where(TopicItem.topic_id == row.id)
    count = session.exec(select(func.count()).select_from(mine.subquery())).one()
    found = session.exec(
        select(Submission, Unit.name)
        .join(Unit, col(Unit.id) == col(Submission.unit_id))
        .where(col(Submission.id).in_(mine))
        .where(visible(session, person, now))
        .order_by(col(Submission.id).desc())
        .limit(MOST)
    ).all()
    items = [row_of(item, unit) for item, unit in found]
    with_holders(session, items, now)
    people = names(session, {row.opened_by_id, row.closed_by_id} - {""})
    center = {one.role for one in person.roles} & CENTER
    actions = ["close" if row.state == OPEN else "reopen"] if center else []
    if row.state == OPEN and (center or any(one.role in UNIT for one in person.roles)):
        actions += ["add", "remove"]
    return line(row) | {
        "note": row.note,
        "opened_by": people.get(row.opened_by_id),
        "closed_by": people.get(row.closed_by_id),
        "count": count,
        "statuses": {
            status: sum(item["status"] == status for item in items)
            for status in dict.fromkeys(item["status"] for item in items)
        },
        "items": items,
        "allowed_actions": actions,
    }


def open_topics(session: Session, person: Person) -> list[Json]:
    """Return the topics that a submission may name, the newest first."""
    return [
        {"id": one["id"], "number": one["number"], "title": one["title"]}
        for one in listed(session, person, {"state": OPEN}, 100, None)["items"]
    ]
