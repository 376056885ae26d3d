"""By which ways people are told: what they chose, their own destinations, and what was tried."""

from datetime import datetime

from sqlmodel import Field, Index, Session, SQLModel, UniqueConstraint, col, func, select

from review.records.letters import REFUSED, SENT
from review.records.tables import json, maybe_moment, moment

PURPOSE = "notice ways"  # what the key that seals people's own destinations is for
NAMED, OWN = "named:", "own:"  # how a way is written beside `mail`


class NoticeWay(SQLModel, table=True):
    """A destination of a person's own; sealed, and gone with the account."""

    __tablename__ = "notice_way"

    id: str = Field(primary_key=True)
    person_id: str = Field(foreign_key="person.id", index=True)
    name: str
    scheme: str  # all that is shown of the address
    sealed: str  # opens with SECRET_KEY, about this id; empty once removed
    added_at: datetime = moment()
    removed_at: datetime | None = maybe_moment()


class NoticeChoice(SQLModel, table=True):
    """The ways a person chose for one sort of notice; none is the inbox alone."""

    __tablename__ = "notice_choice"

    person_id: str = Field(primary_key=True, foreign_key="person.id")
    sort: str = Field(primary_key=True)
    ways: list[str] = json(list)
    at: datetime = moment()


class NoticeSend(SQLModel, table=True):
    """One notice that is to go one way, beside the inbox and mail."""

    __tablename__ = "notice_send"
    __table_args__ = (
        UniqueConstraint("notice_id", "way"),
        Index("ix_notice_send_due", "done_at", "next_try_at"),
    )

    id: str = Field(primary_key=True)
    notice_id: str = Field(foreign_key="notice.id")
    person_id: str
    way: str
    not_before: datetime = moment()
    done_at: datetime | None = maybe_moment()
    attempts: int = 0
    next_try_at: datetime = moment()
    error: str = ""


class MessageTry(SQLModel, table=True):
    """One try to send one message; several notices may stand in it, of several people."""

    __tablename__ = "message_try"
    __table_args__ = (Index("ix_message_try_way", "way", "id"),)

    id: str = Field(primary_key=True)
    way: str
    target: str = ""  # part of the address's digest: one that was mended is another
    people: list[str] = json(list)
    notices: list[str] = json(list)
    state: str  # sent, refused, failed or away
    detail: str = ""  # three digits, the platform's own code or the name of an error
    at: datetime = moment()


def ways_of(session: Session, people: set[str]) -> dict[str, list[NoticeWay]]:
    """Return the destinations that people have, by person."""
    found: dict[str, list[NoticeWay]] = {}
    if people:
        rows = session.exec(
            select(NoticeWay)
            .where(col(NoticeWay.person_id).in_(people))
            .where(col(NoticeWay.removed_at).is_(None))
            .order_by(col(NoticeWay.id))
        )
        for row in rows:
            found.setdefault(row.person_id, []).append(row)
    return found


def choices_of(session: Session, people: set[str]) -> dict[tuple[str, str], list[str]]:
    """Return what people chose, by person and sort."""
    if not people:
        return {}
    rows = session.exec(select(NoticeChoice).where(col(NoticeChoice.person_id).in_(people)))
    return {(row.person_id, row.sort): list(row.ways) for row in rows}


def end_ways(session: Session, person_id: str, now: datetime) -> None:
    """Remove all destinations of a person; what was sealed is forgotten."""
    for rows in ways_of(session, {person_id}).values():
        for row in rows:
            row.removed_at, row.sealed = now, ""
            session.add(row)


def last_tries(session: Session, ways: set[str]) -> dict[str, MessageTry]:
    """Return the last try of each way that its platform took or refused."""
    if not ways:
        return {}
    last = (
        select(func.max(MessageTry.id))
        .where(col(MessageTry.way).in_(ways))
        .where(col(MessageTry.state).in_((SENT, REFUSED)))
        .group_by(col(MessageTry.way))
    )
    return {
        one.way: one for one in session.exec(select(MessageTry).where(col(MessageTry.id).in_(last)))
    }


def unreached(session: Session, people: list[str]) -> dict[str, MessageTry]:
    """Return people one of whose ways, chosen or their own, took its last message for good not."""
    whose = set(people)
    used: dict[str, set[str]] = {}
    for (person, _), ways in choices_of(session, whose).items():
        used.setdefault(person, set()).update(one for one in ways if one.startswith(NAMED))
    for person, rows in ways_of(session, whose).items():
        used.setdefault(person, set()).update(f"{OWN}{row.id}" for row in rows)
    tries = last_tries(session, set().union(*used.values())) if used else {}
    wrong: dict[str, MessageTry] = {}
    for person, theirs in used.items():
        refused = [tries[one] for one in theirs if one in tries and tries[one].state == REFUSED]
        if refused:
            wrong[person] = max(refused, key=lambda one: one.id)
    return wrong
