"""Deliver notices: from rows of the ledger to people's mailboxes, never in a review's way.

A letter is claimed for a while, sent, and what became of it is written down. A worker that dies in
between leaves it to the next one once the claim has run out: at most one more copy, with the same
Message-ID.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from email.message import Message
from typing import TypeVar

import structlog
from sqlmodel import Session, col, select
from sqlmodel.sql.expression import SelectOfScalar

from activities.letters import Letters, Told
from activities.mailbox import Mailbox, Outcome
from review.acts.item import calendar_in_force
from review.acts.linking import make_links
from review.acts.routing import anything_new, route
from review.ids import new_id
from review.notice_ways import NamedWay
from review.records.engine import Ledger
from review.records.letters import LetterTry
from review.records.retries import due, is_given_up
from review.records.tables import Notice, PersonRow, Step, Submission, Unit
from review.rules.calendar import Calendar
from review.rules.errors import NotFoundError
from review.rules.values import StepState

log = structlog.get_logger()

SEEN = 500  # notices that are looked at together, so that what piled up can be told as one
CLAIM = timedelta(minutes=5)  # longer than a batch takes
FIRST_RETRY = timedelta(seconds=5)
LAST_RETRY = timedelta(minutes=10)
LAST_REST = timedelta(minutes=1)
REFUSED_RETRY = timedelta(days=1)  # an address is mended by people
LONGEST = timedelta(days=14)  # no quiet hours, no holidays and no refusal hold a notice as long
# From then on a notice belongs to what piled up: a mail server was away, or takes nothing.
PILED_UP = timedelta(minutes=10)
DIGEST_FROM = 4  # letters for one person that become one
# over when the step is decided
OF_A_STEP = ("asked", "remind", "overdue", "escalated", "urge", "nobody", "duty")


@dataclass(frozen=True)
class Claimed:
    """One letter to send: a notice, or several that piled up for one person."""

    told: tuple[Told, ...]
    address: str

    @property
    def ids(self) -> list[str]:
        return [one.notice.id for one in self.told]


class Notifier:
    """Delivers what is due, remembers what was, tries again what failed."""

    def __init__(
        self,
        ledger: Ledger,
        mailbox: Mailbox,
        clock: Callable[[], datetime],
        *,
        public_url: str,
        sender: str,
        language: str = "zh",
        named: Mapping[str, NamedWay] | None = None,
        links_last: timedelta = timedelta(),
    ) -> None:
        """Take what it works with.

        Args:
            links_last: How long a link in a letter can decide; nothing: letters have none.
        """
        self._links_last = links_last
        self._ledger = ledger
        self._mailbox = mailbox
        self._named = named or {}
        self._clock = clock
        self._letters = Letters(public_url, sender, language)
        self._failures = 0  # rounds in a row in which nothing went out
        self._rest_until: datetime | None = None

    @property
    def batch(self) -> int:
        """How many letters a full batch has."""
        return self._mailbox.batch

    async def deliver(self) -> int:
        """Settle the ways of new notices, then deliver a batch of letters; returns how many."""
        now = self._clock()
        if await self._ledger.read(anything_new):
            await self._ledger.run(route, now, self._named)
        if self._rest_until is not None and now < self._rest_until:
            return 0
        if not await self._ledger.read(_anything, now):
            return 0
        claimed, calendar = await self._ledger.run(
            _claim, now, self._mailbox.batch, self._mailbox.needs_address
        )
        if not claimed:  # another worker was quicker
            return 0
        claimed = await self._with_links(claimed, now)
        letters = [self.letter(one.told, calendar, now) for one in claimed]
        told = sent = 0
        last = Outcome("sent")
        async for outcomes in self._mailbox.send(letters):
            batch = list(zip(claimed[told:], outcomes, strict=False))
            await self._ledger.run(_record, batch, self._clock())
            told, last = told + len(outcomes), outcomes[-1]
            sent += sum(one.state == "sent" for one in outcomes)
        # The server was lost on the way: the rest were not tried, and need not wait for the claim.
        if left := [id_ for one in claimed[told:] for id_ in one.ids]:
            await self._ledger.run(_let_go, left, self._clock())
        if sent < len(claimed):
            log.warning("notices_failed", count=len(claimed) - sent)
        self._rest(self._clock(), is_away=last.state == "away")
        return sent

    async def _with_links(self, claimed: list[Claimed], now: datetime) -> list[Claimed]:
        """Return letters with a link for each decision they ask for; only its hash is kept."""
        ids = [id_ for one in claimed for id_ in one.ids]
        if not self._links_last:
            return claimed
        tokens = await self._ledger.run(make_links, ids, self._links_last, now)
        return [
            replace(one, told=tuple(_with_link(told, tokens) for told in one.told))
            for one in claimed
        ]

    def _rest(self, now: datetime, *, is_away: bool) -> None:
        """Ask a server that is away less often, so that its queue is not tried letter by letter."""
        self._failures = self._failures + 1 if is_away else 0
        wait = min(FIRST_RETRY * 2 ** min(self._failures - 1, 10), LAST_REST) if is_away else None
        self._rest_until = now + wait if wait else None

    def letter(self, told: Sequence[Told], calendar: Calendar | None, now: datetime) -> Message:
        """Return the letter of one notice, or of several that piled up."""
        if len(told) == 1:
            return self._letters.one(told[0], calendar, now)
        return self._letters.digest(told, calendar, now)


def _with_link(told: Told, tokens: Mapping[str, str]) -> Told:
    token = tokens.get(told.notice.id)
    return replace(told, decide=f"/l/{token}") if token else told


def told_of(session: Session, notices: Iterable[Notice]) -> list[Told]:
    """Return notices with what their letters say."""
    rows = list(notices)
    people = _by_id(session, PersonRow, {one.person_id for one in rows} | set(map(_of, rows)))
    items = _by_id(session, Submission, {one.submission_id for one in rows})
    steps = _by_id(session, Step, {one.step_id for one in rows})
    units = _by_id(session, Unit, {one.unit_id for one in items.values()})
    told = []
    for notice in rows:
        item, of = items.get(notice.submission_id), people.get(_of(notice))
        unit = units.get(item.unit_id) if item else None
        told.append(
            Told(
                notice=notice, person=people[notice.person_id], submission=item,
                step=steps.get(notice.step_id), unit_name=unit.name if unit else "",
                of=of.name if of else "",
            )
        )  # fmt: skip
    return told


def _of(notice: Notice) -> str:
    """Return the id of the person whom somebody acts for."""
    why, _, of = notice.why.partition(":")
    return of if why in ("delegation", "duty") else ""


Row = TypeVar("Row", PersonRow, Submission, Step, Unit)


def _by_id(session: Session, table: type[Row], ids: set[str]) -> dict[str, Row]:
    wanted = ids - {""}
    if not wanted:
        return {}
    return {row.id: row for row in session.exec(select(table).where(col(table.id).in_(wanted)))}


def _anything(session: Session, now: datetime) -> bool:
    return session.exec(_due(now).limit(1)).first() is not None


def _due(now: datetime) -> SelectOfScalar[Notice]:
    return (
        select(Notice)
        .where(col(Notice.mailed_at).is_(None))
        .where(due(col(Notice.next_try_at), now, LONGEST))
        .order_by(col(Notice.next_try_at), col(Notice.id))
    )


def _claim(
    session: Session, now: datetime, most: int, needs_address: bool
) -> tuple[list[Claimed], Calendar | None]:
    """Take letters for ourselves; close notices that need none any more."""
    found = session.exec(_due(now).limit(SEEN).with_for_update(skip_locked=True)).all()
    by_person: dict[str, list[Told]] = {}
    for told in told_of(session, found):
        if needs_address and not told.person.email:
            _close(session, told.notice, "no_address", now)
        elif is_over(told, told.notice.not_before, now):
            _close(session, told.notice, "over", now)
        elif is_given_up(told.notice.at, told.notice.attempts, now):
            _close(session, told.notice, "given_up", now)
        else:
            by_person.setdefault(told.person.id, []).append(told)
    claimed: list[Claimed] = []
    for all_told in by_person.values():
        kept = _latest(session, all_told, now)
        groups = grouped(kept, [one.notice.not_before for one in kept], now)
        claimed += [Claimed(group, group[0].person.email or "") for group in groups]
    claimed = sorted(claimed, key=lambda one: one.told[0].notice.next_try_at)[:most]
    for one in claimed:
        for told in one.told:
            told.notice.attempts += 1
            told.notice.next_try_at = now + CLAIM
            session.add(told.notice)
    return claimed, calendar_or_none(session)


def calendar_or_none(session: Session) -> Calendar | None:
    try:
        return calendar_in_force(session)
    except NotFoundError:
        return None


def grouped(
    told: Sequence[Told], not_before: Sequence[datetime], now: datetime
) -> list[tuple[Told, ...]]:
    """Return what is told in one message each: what quiet hours held, what piled up, the rest."""
    pairs = list(zip(told, not_before, strict=True))
    held = tuple(one for one, since in pairs if was_held(one.notice, since))
    rest = [(one, since) for one, since in pairs if not was_held(one.notice, since)]
    groups = [held] if held else []
    if sum(piled_up(since, now) for _, since in rest) >= DIGEST_FROM:
        return [*groups, tuple(one for one, _ in rest)]
    return [*groups, *((one,) for one, _ in rest)]


def was_held(notice: Notice, not_before: datetime) -> bool:
    """Tell whether quiet hours held a notice back."""
    return not_before > notice.at


def piled_up(not_before: datetime, now: datetime) -> bool:
    return not_before < now - PILED_UP


def is_over(told: Told, not_before: datetime, now: datetime) -> bool:
    """Tell whether a letter that waited too long asks for what is done."""
    waited = piled_up(not_before, now) or was_held(told.notice, not_before)
    if not waited or told.notice.kind not in OF_A_STEP:
        return False
    return told.step is not None and told.step.state != StepState.OPEN


def _latest(session: Session, all_told: Sequence[Told], now: datetime) -> list[Told]:
    """Of one step's reminders close those that piled up behind a newer one."""
    last: dict[str, datetime] = {}
    for told in all_told:
        if told.notice.kind == "remind":
            step = told.notice.step_id
            last[step] = max(told.notice.at, last.get(step, told.notice.at))
    kept = []
    for told in all_told:
        notice = told.notice
        is_older = notice.kind == "remind" and notice.at < last[notice.step_id]
        if is_older and piled_up(notice.not_before, now):
            _close(session, notice, "coalesced", now)
        else:
            kept.append(told)
    return kept


def _close(session: Session, notice: Notice, why: str, now: datetime) -> None:
    """No letter goes out for this notice any more; it stays in the inbox."""
    notice.mailed_at, notice.error = now, why
    session.add(notice)


def _record(session: Session, batch: list[tuple[Claimed, Outcome]], now: datetime) -> None:
    ids = [id_ for claimed, _ in batch for id_ in claimed.ids]
    notices = {one.id: one for one in session.exec(select(Notice).where(col(Notice.id).in_(ids)))}
    for claimed, outcome in batch:
        for notice in (notices[id_] for id_ in claimed.ids):
            if outcome.state == "sent":
                notice.mailed_at, notice.error = now, ""
            else:
                notice.error = outcome.detail
                notice.next_try_at = now + _wait(outcome, notice.attempts)
            session.add(notice)
        session.add(
            LetterTry(
                id=new_id(), person_id=claimed.told[0].person.id, address=claimed.address,
                notices=claimed.ids, state=outcome.state, detail=outcome.detail, at=now,
            )
        )  # fmt: skip


def _wait(outcome: Outcome, attempts: int) -> timedelta:
    """Return when to try again; after a server that was away all at once, for one letter each."""
    match outcome.state:
        case "away":
            return timedelta(0)
        case "refused":
            return REFUSED_RETRY
    return back_off(attempts)


def back_off(attempts: int) -> timedelta:
    """Return how long to wait after so many tries that failed."""
    wait: timedelta = FIRST_RETRY * 2 ** min(attempts - 1, 10)
    return min(wait, LAST_RETRY)


def _let_go(session: Session, ids: list[str], now: datetime) -> None:
    """Give back what was claimed and not tried."""
    for notice in session.exec(select(Notice).where(col(Notice.id).in_(ids))):
        notice.attempts -= 1
        notice.next_try_at = now
        session.add(notice)
