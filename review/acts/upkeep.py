"""What those who run the place look at: rules in force, the trace, what waits to go out."""

from datetime import datetime
from typing import Any

from sqlalchemy import func
from sqlmodel import Session, col, select

from review.acts.item import calendar_in_force
from review.records.matters import MatterOutbox
from review.records.people import Person, names
from review.records.tables import (
    Audit,
    CalendarRow,
    CheckpointRow,
    Notice,
    Outbox,
    Pack,
    PersonRow,
    Submission,
    WordList,
)
from review.records.ways import NoticeSend
from review.rules.errors import NotAllowedError
from review.rules.values import Role

Json = dict[str, Any]
READERS = {Role.AUDITOR, Role.SUPERVISOR, Role.CENTER_CHIEF, Role.SECURITY_ADMIN}
TENDERS = {Role.SYSADMIN, Role.SECURITY_ADMIN, Role.AUDITOR, Role.CENTER_CHIEF, Role.SUPERVISOR}
VERSIONS = 20  # of packs, calendars and lists shown, the newest first


def require(person: Person, roles: set[Role]) -> None:
    """Raise NotAllowedError unless somebody holds one of these roles."""
    if not {held.role for held in person.roles} & roles:
        raise NotAllowedError


# --- the trace ------------------------------------------------------------------------------------


def trace(session: Session, person: Person, filters: Json, limit: int, after: int | None) -> Json:
    """Return entries of the trace, the newest first.

    Args:
        filters: person (a user name or an id), event, item (its number), from, to; all optional.
        after: The number of the last entry of the page before.

    Raises:
        NotAllowedError: Neither auditor, supervisor, center chief nor security administrator.
    """
    require(person, READERS)
    statement = select(Audit)
    if filters.get("person"):
        wanted = str(filters["person"])
        who = select(PersonRow.id).where(
            (col(PersonRow.username) == wanted)
            | (col(PersonRow.id) == wanted)
            | (col(PersonRow.name) == wanted)
        )
        statement = statement.where(
            col(Audit.person_id).in_(who) | col(Audit.acting_for_id).in_(who)
        )
    if filters.get("event"):
        statement = statement.where(Audit.event == filters["event"])
    if filters.get("item"):
        numbered = select(Submission.id).where(Submission.number == filters["item"])
        statement = statement.where(col(Audit.chain).in_(numbered))
    if filters.get("from"):
        statement = statement.where(Audit.at >= filters["from"])
    if filters.get("to"):
        statement = statement.where(Audit.at < filters["to"])
    if after is not None:
        statement = statement.where(col(Audit.seq) < after)
    rows = session.exec(statement.order_by(col(Audit.seq).desc()).limit(limit + 1)).all()
    shown = rows[:limit]
    known = names(session, {p for row in shown for p in (row.person_id, row.acting_for_id) if p})
    numbers = {
        id_: number
        for id_, number in session.exec(
            select(Submission.id, Submission.number).where(
                col(Submission.id).in_({row.chain for row in shown})
            )
        )
    }
    return {
        "items": [
            {
                "seq": row.seq,
                "at": row.at,
                "item": row.chain if row.chain in numbers else None,
                "number": numbers.get(row.chain),
                "event": row.event,
                "person": known.get(row.person_id),
                "acting_for": known.get(row.acting_for_id),
                "role": row.role or None,
                "way_in": row.way_in or None,
                "data": row.data,
                "hash": row.hash,
            }
            for row in shown
        ],
        "next": shown[-1].seq if len(rows) > limit else None,
    }


def events(session: Session, person: Person) -> list[str]:
    """Return every kind of entry that the trace has."""
    require(person, READERS)
    return sorted(session.exec(select(Audit.event).distinct()))


# --- what is in force -----------------------------------------------------------------------------


def in_force(session: Session) -> Json:
    """Return the versions of packs, calendars and lists, the one in force first of each."""
    packs = session.exec(
        select(Pack.id, Pack.version, Pack.digest, Pack.adopted_at)
        .order_by(col(Pack.adopted_at).desc())
        .limit(VERSIONS)
    ).all()
    calendars = session.exec(
        select(CalendarRow.version, CalendarRow.digest, CalendarRow.imported_at)
        .order_by(col(CalendarRow.imported_at).desc())
        .limit(VERSIONS)
    ).all()
    lists = session.exec(
        select(  # type: ignore[call-overload]
            WordList.kind, WordList.version, WordList.digest, WordList.imported_at, WordList.by
        )
        .order_by(col(WordList.imported_at).desc(), col(WordList.id).desc())
        .limit(2 * VERSIONS)
    ).all()
    known = names(session, {by for *_, by in lists if by})
    calendar = calendar_in_force(session)
    return {
        "packs": [
            {"name": id_, "version": version, "digest": digest, "at": at, "by": None}
            for id_, version, digest, at in packs
        ],
        "calendars": [
            {"name": "calendar", "version": version, "digest": digest, "at": at, "by": None}
            for version, digest, at in calendars
        ],
        "words": _of_kind("words", lists, known),
        "sources": _of_kind("sources", lists, known),
        "calendar": {
            "version": calendar.version,
            "working_hours": list(calendar.working_hours),
            "days_off": sorted(calendar.days_off),
            "worked_days": sorted(calendar.worked_days),
            "official_from": calendar.official_from,
            "official_until": calendar.official_until,
        },
    }


def _of_kind(wanted: str, lists: Any, known: Any) -> list[Json]:
    return [
        {"name": kind, "version": version, "digest": digest, "at": at, "by": known.get(by)}
        for kind, version, digest, at, by in lists
        if kind == wanted
    ]


# --- what waits to go out -------------------------------------------------------------------------


def waiting(session: Session, person: Person, now: datetime) -> Json:
    """Return how much waits for the engine for the mail server and for chats, and since when.

    Raises:
        NotAllowedError: For those who neither run nor watch the place.
    """
    require(person, TENDERS)
    nudges, oldest_nudge, tries = session.exec(
        select(func.count(), func.min(Outbox.at), func.max(Outbox.attempts)).where(
            col(Outbox.done_at).is_(None)
        )
    ).one()
    others, oldest_other, more_tries = session.exec(
        select(func.count(), func.min(MatterOutbox.at), func.max(MatterOutbox.attempts)).where(
            col(MatterOutbox.done_at).is_(None)
        )
    ).one()
    oldest = min(filter(None, (oldest_nudge, oldest_other)), default=None)
    mails, oldest_mail, failed = session.exec(
        select(func.count(), func.min(Notice.not_before), func.max(Notice.attempts))
        .where(col(Notice.mailed_at).is_(None))
        .where(Notice.not_before <= now)
    ).one()
    messages, oldest_message, most_tries = session.exec(
        select(func.count(), func.min(NoticeSend.not_before), func.max(NoticeSend.attempts))
        .where(col(NoticeSend.done_at).is_(None))
        .where(NoticeSend.not_before <= now)
    ).one()
    last_entry, entries = session.exec(select(func.max(Audit.at), func.max(Audit.seq))).one()
    checkpoint = session.exec(
        select(CheckpointRow.at, CheckpointRow.last_seq)
        .order_by(col(CheckpointRow.no).desc())
        .limit(1)
    ).first()
    return {
        "outbox": {
            "count": nudges + others,
            "age": _age(oldest, now),
            "attempts": max(tries or 0, more_tries or 0),
        },
        "mail": {"count": mails, "age": _age(oldest_mail, now), "attempts": failed or 0},
        "messages": {
            "count": messages,
            "age": _age(oldest_message, now),
            "attempts": most_tries or 0,
        },
        "trace": {"last_at": last_entry, "last": entries or 0},
        "checkpoint": {"at": checkpoint[0], "behind": (entries or 0) - checkpoint[1]}
        if checkpoint
        else None,
    }


def _age(since: datetime | None, now: datetime) -> int | None:
    return max(int((now - since).total_seconds()), 0) if since else None
