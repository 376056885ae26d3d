"""Deliver notices by the ways beside mail, with the same claims, tries and leases as letters.

A message has no name by which a platform would know a repeat: one whose answer was lost, or whose
worker died before it noted the answer, may come twice; each try is in the ledger.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog
from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from activities.letters import Letters, Told
from activities.mailbox import Outcome
from activities.notify import (
    CLAIM,
    LONGEST,
    REFUSED_RETRY,
    SEEN,
    back_off,
    calendar_or_none,
    grouped,
    is_over,
    piled_up,
    told_of,
)
from activities.robots import Speaker
from review.ids import new_id
from review.notice_ways import NamedWay
from review.records.engine import Ledger
from review.records.kept import Box, digest_of_secret
from review.records.letters import REFUSED
from review.records.retries import due, is_given_up
from review.records.tables import Notice
from review.records.ways import NAMED, OWN, MessageTry, NoticeSend, NoticeWay, last_tries
from review.rules.calendar import Calendar

log = structlog.get_logger()

BATCH = 20  # messages at once


@dataclass(frozen=True)
class Message:
    """One message to send.

    Attributes:
        sends: The ids of what it settles.
        told: The notices in it, of several people where a robot speaks to a group.
        target: Which address it is, without saying it.
    """

    sends: tuple[str, ...]
    told: tuple[Told, ...]
    way: str
    url: str
    target: str

    @property
    def own(self) -> bool:
        return self.way.startswith(OWN)


class Messenger:
    """Delivers what is due, remembers what was, tries again what failed.

    Args:
        named: The destinations that the administrator named, by id.
        box: Opens people's own.
    """

    batch = BATCH

    def __init__(
        self,
        ledger: Ledger,
        robots: Speaker,
        named: Mapping[str, NamedWay],
        box: Box,
        clock: Callable[[], datetime],
        *,
        public_url: str,
        language: str = "zh",
    ) -> None:
        self._ledger = ledger
        self._robots = robots
        self._named = named
        self._box = box
        self._clock = clock
        self._letters = Letters(public_url, "", language)

    async def deliver(self) -> int:
        """Deliver a batch of messages, all at once; returns how many went out."""
        now = self._clock()
        if not await self._ledger.read(_anything, now):
            return 0
        messages, calendar = await self._ledger.run(_claim, now, self._named, self._box)
        sent = await asyncio.gather(*(self._deliver(one, calendar, now) for one in messages))
        failed = [one.way for one, outcome in zip(messages, sent, strict=True) if outcome != "sent"]
        if failed:
            log.warning("messages_failed", count=len(failed))
        return len(messages) - len(failed)

    async def _deliver(self, message: Message, calendar: Calendar | None, now: datetime) -> str:
        title, text = self._letters.message(message.told, calendar, now)
        outcome = await self._robots.send(message.url, title, text, own=message.own)
        await self._ledger.run(_record, message, outcome, self._clock())
        return outcome.state


def _anything(session: Session, now: datetime) -> bool:
    return session.exec(_due(now).limit(1)).first() is not None


def _due(now: datetime) -> SelectOfScalar[NoticeSend]:
    return (
        select(NoticeSend)
        .where(col(NoticeSend.done_at).is_(None))
        .where(due(col(NoticeSend.next_try_at), now, LONGEST))
        .order_by(col(NoticeSend.next_try_at), col(NoticeSend.id))
    )


def _claim(
    session: Session, now: datetime, named: Mapping[str, NamedWay], box: Box
) -> tuple[list[Message], Calendar | None]:
    """Take messages for ourselves; close what needs none any more."""
    found = session.exec(_due(now).limit(SEEN).with_for_update(skip_locked=True)).all()
    notices = session.exec(
        select(Notice).where(col(Notice.id).in_({one.notice_id for one in found}))
    ).all()
    told = {one.notice.id: one for one in told_of(session, notices)}
    addresses = _addresses(session, found, told, named, box)
    tries = last_tries(session, {one.way for one in found})
    by_target: dict[tuple[str, str], list[NoticeSend]] = {}
    for send in found:
        url = addresses.get((send.way, send.person_id))
        if url is None:
            _close(session, send, "way_gone", now)
        elif told[send.notice_id].person.disabled_at is not None:
            _close(session, send, "account_closed", now)
        elif is_over(told[send.notice_id], send.not_before, now):
            _close(session, send, "over", now)
        elif is_given_up(told[send.notice_id].notice.at, send.attempts, now):
            _close(session, send, "given_up", now)
        elif _waits(session, send, tries.get(send.way), _target(url), now):
            continue
        else:
            by_target.setdefault((send.way, url), []).append(send)
    messages: list[Message] = []
    for (way, url), sends in by_target.items():
        messages += _messages(session, way, url, sends, told, now)
    messages = messages[:BATCH]
    kept = {one.id: one for one in found}
    for send in (kept[id_] for one in messages for id_ in one.sends):
        send.attempts += 1
        send.next_try_at = now + CLAIM
        session.add(send)
    return messages, calendar_or_none(session)


def _addresses(
    session: Session,
    due: Sequence[NoticeSend],
    told: Mapping[str, Told],
    named: Mapping[str, NamedWay],
    box: Box,
) -> dict[tuple[str, str], str]:
    """Return where each person's way leads; what was removed or can't be opened leads nowhere."""
    own = {one.way.removeprefix(OWN) for one in due if one.way.startswith(OWN)}
    rows = {
        row.id: row
        for row in session.exec(
            select(NoticeWay)
            .where(col(NoticeWay.id).in_(own))
            .where(col(NoticeWay.removed_at).is_(None))
        )
    }
    found: dict[tuple[str, str], str] = {}
    for send in due:
        person = told[send.notice_id].person
        if send.way.startswith(NAMED):
            way = named.get(send.way.removeprefix(NAMED))
            if way is not None and way.is_for(person.username):
                found[send.way, person.id] = way.address(person.username, person.oa_account or "")
        elif (row := rows.get(send.way.removeprefix(OWN))) and row.person_id == person.id:
            opened = box.open(row.sealed, row.id)
            if opened is not None:
                found[send.way, person.id] = opened.decode()
    return found


def _waits(
    session: Session, send: NoticeSend, last: MessageTry | None, target: str, now: datetime
) -> bool:
    """Put off what would go where the last message was refused: once a day is enough."""
    if last is None or last.state != REFUSED or last.target != target:
        return False
    again = last.at + REFUSED_RETRY
    if again <= now:
        return False
    send.next_try_at, send.error = again, last.detail
    session.add(send)
    return True


def _messages(
    session: Session,
    way: str,
    url: str,
    sends: Sequence[NoticeSend],
    told: Mapping[str, Told],
    now: datetime,
) -> list[Message]:
    """Return what goes to one address: one message a thing, and one for what piled up."""
    by_notice = {one.notice_id: one for one in sends}
    kept = _without_older(session, sends, told, now)
    groups = grouped([told[one.notice_id] for one in kept], [one.not_before for one in kept], now)
    joined: dict[tuple[str, ...], list[Told]] = {}
    for group in groups:
        first = group[0].notice
        alike = (first.submission_id, first.step_id, first.kind, str(first.shown.get("times", "")))
        joined.setdefault(alike if len(group) == 1 else (first.id,), []).extend(group)
    return [
        Message(
            tuple(by_notice[one.notice.id].id for one in group), tuple(group), way, url,
            _target(url),
        )
        for group in joined.values()
    ]  # fmt: skip


def _without_older(
    session: Session, sends: Sequence[NoticeSend], told: Mapping[str, Told], now: datetime
) -> list[NoticeSend]:
    """Of one step's reminders to one person close those that piled up behind a newer one."""
    last: dict[tuple[str, str], datetime] = {}
    for send in sends:
        notice = told[send.notice_id].notice
        if notice.kind == "remind":
            whose = (notice.step_id, notice.person_id)
            last[whose] = max(notice.at, last.get(whose, notice.at))
    kept = []
    for send in sends:
        notice = told[send.notice_id].notice
        newest = last.get((notice.step_id, notice.person_id), notice.at)
        if notice.kind == "remind" and notice.at < newest and piled_up(send.not_before, now):
            _close(session, send, "coalesced", now)
        else:
            kept.append(send)
    return kept


def _target(url: str) -> str:
    return digest_of_secret(url)[:16]


def _close(session: Session, send: NoticeSend, why: str, now: datetime) -> None:
    send.done_at, send.error = now, why
    session.add(send)


def _record(session: Session, message: Message, outcome: Outcome, now: datetime) -> None:
    sends = session.exec(select(NoticeSend).where(col(NoticeSend.id).in_(message.sends)))
    for send in sends:
        if outcome.state == "sent":
            send.done_at, send.error = now, ""
        else:
            send.error = outcome.detail
            wait = REFUSED_RETRY if outcome.state == REFUSED else back_off(send.attempts)
            send.next_try_at = now + wait
        session.add(send)
    session.add(
        MessageTry(
            id=new_id(), way=message.way, target=message.target,
            people=sorted({one.person.id for one in message.told}),
            notices=[one.notice.id for one in message.told], state=outcome.state,
            detail=outcome.detail, at=now,
        )
    )  # fmt: skip
