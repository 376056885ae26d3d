"""Settle for each new notice by which ways it goes out, and tell who is on duty.

Notices are written in the acts' own transactions and stand in the inbox from then on; all this
comes after, in the worker, so that no review waits for it.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlmodel import Session, col, select

from review.acts.item import calendar_in_force, policy_of
from review.acts.repeats import add_once
from review.ids import new_id
from review.notice_ways import NamedWay
from review.records.duty import on_duty
from review.records.tables import Notice, PersonRow, Submission
from review.records.ways import NAMED, OWN, NoticeSend, NoticeWay, choices_of, ways_of
from review.rules.calendar import Calendar
from review.rules.errors import NotFoundError, RuleError
from review.rules.notices import MAIL, USUAL, Sort, concerns_duty, not_before, sort_of
from review.rules.values import Profile

SEEN = 500  # notices a transaction
DUTY = "duty"

_NEW = select(Notice).where(col(Notice.routed_at).is_(None)).order_by(col(Notice.id)).limit(SEEN)


def anything_new(session: Session) -> bool:
    """Tell whether a notice has yet to find its ways."""
    return session.exec(_NEW.limit(1)).first() is not None


def route(session: Session, now: datetime, named: Mapping[str, NamedWay]) -> int:
    """Settle the ways of the notices that are new; returns how many there were.

    Args:
        named: The destinations that the administrator named, by id.
    """
    notices = session.exec(_NEW.with_for_update(skip_locked=True)).all()
    if not notices:
        return 0
    calendar = _calendar(session)
    everybody = {one.person_id for one in notices}
    people = _people(session, everybody)
    own, chosen = ways_of(session, everybody), choices_of(session, everybody)
    items = _items(session, {one.submission_id for one in notices})
    for notice in notices:
        person, item = people[notice.person_id], items.get(notice.submission_id)
        notice.routed_at = now
        session.add(notice)
        if person.disabled_at is not None:
            notice.mailed_at, notice.error = now, "account_closed"
            continue
        at = _from(session, notice, item, calendar)
        sort = Sort.DIGEST if at > notice.at else sort_of(notice.kind)
        mine = _ways(person, own.get(person.id, ()), named)
        if notice.kind == DUTY:
            ways = _every(mine, person, named, chosen)
        else:
            ways = _settled(chosen.get((person.id, sort)), mine)
        if MAIL not in ways:
            notice.mailed_at, notice.error = now, "not_chosen"
        elif at > notice.next_try_at:
            notice.not_before = notice.next_try_at = at
        for way in ways:
            if way != MAIL:
                session.add(
                    NoticeSend(
                        id=new_id(), notice_id=notice.id, person_id=person.id, way=way,
                        not_before=at, next_try_at=at,
                    )
                )  # fmt: skip
    session.flush()
    if calendar is not None:
        _tell_duty(session, notices, items, people, calendar, now)
    return len(notices)


def _from(
    session: Session, notice: Notice, item: Submission | None, calendar: Calendar | None
) -> datetime:
    """Return when a notice may go out; a calendar that ends holds nothing back."""
    if item is None or calendar is None:
        return notice.at
    try:
        quiet = policy_of(session, item.policy_digest).quiet_hours[Profile(item.profile)]
        return not_before(notice.kind, notice.at, quiet, calendar)
    except RuleError:
        return notice.at


def _ways(
    person: PersonRow, own: Sequence[NoticeWay], named: Mapping[str, NamedWay]
) -> dict[str, None]:
    """Return every way that a person may choose, in an order that stays."""
    theirs = [f"{NAMED}{one.id}" for one in named.values() if one.is_for(person.username)]
    return dict.fromkeys([MAIL, *theirs, *(f"{OWN}{row.id}" for row in own)])


def _settled(chosen: list[str] | None, mine: Mapping[str, None]) -> list[str]:
    """Return the ways of a notice; when none of those chosen is left, mail."""
    if chosen is None:
        return list(USUAL)
    left = [way for way in mine if way in chosen]
    return left or (list(USUAL) if chosen else [])


def _every(
    mine: Mapping[str, None],
    person: PersonRow,
    named: Mapping[str, NamedWay],
    chosen: Mapping[tuple[str, str], list[str]],
) -> list[str]:
    """Return all ways that lead to a person: not a robot for all that they never chose."""
    picked = {way for (who, _), ways in chosen.items() if who == person.id for way in ways}
    theirs = {f"{NAMED}{one.id}" for one in named.values() if person.username in one.people}
    return [
        way for way in mine if not way.startswith(NAMED) or way in picked or way in theirs
    ]  # fmt: skip


def _tell_duty(
    session: Session,
    notices: Sequence[Notice],
    items: Mapping[str, Submission],
    people: Mapping[str, PersonRow],
    calendar: Calendar,
    now: datetime,
) -> None:
    """Write notices to who is on duty for the units of those whom an emergency asks at night.

    Being told gives no right: neither to see the item nor to decide (R4.1-4).
    """
    for notice in notices:
        item = items.get(notice.submission_id)
        if item is None or not _concerns_duty(notice, item, calendar):
            continue
        holder = people[notice.person_id]
        about, _, _ = notice.key.rpartition(":")
        for shift in on_duty(session, {holder.unit_id}, notice.at):
            if shift.person_id == holder.id:
                continue
            add_once(
                session,
                Notice(
                    id=new_id(), key=f"{DUTY}:{about}:{shift.person_id}",
                    submission_id=item.id, step_id=notice.step_id, person_id=shift.person_id,
                    kind=DUTY, why=f"{DUTY}:{holder.id}",
                    shown={k: v for k, v in notice.shown.items() if k in ("step", "due_at")},
                    at=now, not_before=now, next_try_at=now,
                ),
            )  # fmt: skip


def _concerns_duty(notice: Notice, item: Submission, calendar: Calendar) -> bool:
    try:
        return concerns_duty(notice.kind, item.category, notice.at, calendar)
    except RuleError:  # the calendar has ended: better told once too often
        return True


def _calendar(session: Session) -> Calendar | None:
    try:
        return calendar_in_force(session)
    except NotFoundError:
        return None


def _people(session: Session, ids: set[str]) -> dict[str, PersonRow]:
    rows = session.exec(select(PersonRow).where(col(PersonRow.id).in_(ids)))
    return {row.id: row for row in rows}


def _items(session: Session, ids: set[str]) -> dict[str, Submission]:
    rows = session.exec(select(Submission).where(col(Submission.id).in_(ids)))
    return {row.id: row for row in rows}
