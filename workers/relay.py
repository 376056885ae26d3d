"""Send what the web could not: nudges owed to the engine, and notices owed to people."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import structlog
from sqlmodel import Session, col, select
from structlog.contextvars import bound_contextvars
from temporalio.client import Client

from activities.messages import Messenger
from activities.notify import Notifier
from review.acts.supervising import propose_for_stale_channels
from review.correlation import NAME
from review.records.engine import Ledger
from review.records.matters import MatterOutbox
from review.records.retries import due
from review.records.tables import Outbox, Submission
from review.rules.errors import LedgerUnavailableError, NotFoundError
from review.rules.matters import MatterKind
from workflows.names import TASK_QUEUE
from workflows.nudges import known, nudge, nudge_matter

log = structlog.get_logger()

# The web's own nudge has this long before the relay sends another; a second one does no harm.
GRACE = timedelta(seconds=2)
PAUSE = 0.5  # seconds between two looks at the ledger
LAST_RETRY = timedelta(minutes=1)
LONGEST = timedelta(hours=1)  # no nudge waits as long
BATCH = 200
CHANNELS_EVERY = timedelta(minutes=15)


class Relay:
    """Looks at the outbox again and again; a turn of the workflow marks what it has seen."""

    def __init__(
        self,
        ledger: Ledger,
        client: Client,
        notifier: Notifier,
        clock: Callable[[], datetime],
        *,
        task_queue: str = TASK_QUEUE,
        messenger: Messenger | None = None,
    ) -> None:
        self._ledger = ledger
        self._messenger = messenger
        self._client = client
        self._notifier = notifier
        self._clock = clock
        self._task_queue = task_queue
        self._looked_at: datetime | None = None

    async def run(self) -> None:
        """Relay until cancelled; letters by themselves, so that no mail server delays a nudge."""
        async with asyncio.TaskGroup() as both:
            both.create_task(_again("nudges", self._nudge_all, BATCH))
            both.create_task(_again("letters", self._notifier.deliver, self._notifier.batch))
            if self._messenger is not None:
                deliver, full = self._messenger.deliver, self._messenger.batch
                both.create_task(_again("messages", deliver, full))

    async def _nudge_all(self) -> int:
        sent = await self.nudge_owed() + await self.nudge_matters_owed()
        await self._look_at_channels()
        return sent

    async def nudge_owed(self) -> int:
        """Nudge every workflow that is owed something for longer than the grace."""
        owed = await self._ledger.read(_owed, self._clock() - GRACE)
        if not owed:
            return 0
        took: list[str] = []
        for submission, category, unit, reason, request_id in owed:
            with bound_contextvars(**{NAME: request_id or ""}):
                if not await nudge(
                    self._client, submission, reason=reason, about=known(category, unit),
                    task_queue=self._task_queue,
                ):  # fmt: skip
                    log.warning("engine_away", owed=len(owed))
                    break
                log.info("nudge_relayed", submission_id=submission)
            took.append(submission)
        await self._ledger.run(_tried, [submission for submission, *_ in owed], self._clock())
        return len(took)

    async def nudge_matters_owed(self) -> int:
        """Nudge the workflow of every order, incident and case that is owed something."""
        owed = await self._ledger.read(_matters_owed, self._clock() - GRACE)
        if not owed:
            return 0
        took = 0
        for matter, (kind, request_id) in owed.items():
            with bound_contextvars(**{NAME: request_id or ""}):
                if not await nudge_matter(
                    self._client, MatterKind(kind), matter, task_queue=self._task_queue
                ):
                    log.warning("engine_away", owed=len(owed))
                    break
                log.info("nudge_relayed", matter_id=matter)
            took += 1
        await self._ledger.run(_matters_tried, list(owed), self._clock())
        return took

    async def _look_at_channels(self) -> None:
        """Propose an order for each channel that went stale; now and then is often enough."""
        now = self._clock()
        if self._looked_at is not None and now - self._looked_at < CHANNELS_EVERY:
            return
        self._looked_at = now
        try:
            made = await self._ledger.run(propose_for_stale_channels, now)
        except NotFoundError:  # no rules yet: nothing is stale
            return
        if made:
            log.info("orders_proposed", count=len(made))


def _matters_owed(session: Session, before: datetime) -> dict[str, tuple[str, str | None]]:
    """Return kind and last request of each matter that is owed a nudge, by its id."""
    rows = session.exec(
        select(MatterOutbox.matter_id, MatterOutbox.kind, MatterOutbox.request_id)
        .where(col(MatterOutbox.done_at).is_(None))
        .where(due(col(MatterOutbox.next_try_at), before, LONGEST))
        .order_by(col(MatterOutbox.next_try_at))
        .limit(BATCH)
    ).all()
    return {matter: (kind, request_id) for matter, kind, request_id in rows}


def _matters_tried(session: Session, matters: list[str], now: datetime) -> None:
    rows = session.exec(
        select(MatterOutbox)
        .where(col(MatterOutbox.matter_id).in_(matters))
        .where(col(MatterOutbox.done_at).is_(None))
    )
    for row in rows:
        row.attempts += 1
        row.next_try_at = now + min(GRACE * 2 ** min(row.attempts, 10), LAST_RETRY)
        session.add(row)


async def _again(what: str, deed: Callable[[], Awaitable[int]], full: int) -> None:
    """Do something again and again; a ledger that is away is only waited for.

    Args:
        full: How much a full batch is: the next one follows at once.
    """
    away = False
    while True:
        try:
            done = await deed()
        except LedgerUnavailableError:
            if not away:
                log.warning("relay_waits_for_ledger", what=what)
            away = True
            await asyncio.sleep(2)
            continue
        away = False
        # A short rest even when there was something to do: what comes in meanwhile goes out in one
        # batch, and the ledger's one write lock is free for those who wait for an answer.
        if done < full:
            await asyncio.sleep(PAUSE)


def _owed(session: Session, before: datetime) -> list[tuple[str, str, str, str, str | None]]:
    rows = session.exec(
        select(Outbox, Submission.category, Submission.unit_id)
        .join(Submission, col(Submission.id) == col(Outbox.submission_id))
        .where(col(Outbox.done_at).is_(None))
        .where(due(col(Outbox.next_try_at), before, LONGEST))
        .order_by(col(Outbox.next_try_at))
        .limit(BATCH)
    ).all()
    return [
        (submission, category, unit, row.reason, row.request_id)
        for submission, (row, category, unit) in {row[0].submission_id: row for row in rows}.items()
    ]


def _tried(session: Session, submissions: list[str], now: datetime) -> None:
    rows = session.exec(
        select(Outbox)
        .where(col(Outbox.submission_id).in_(submissions))
        .where(col(Outbox.done_at).is_(None))
    )
    for row in rows:
        row.attempts += 1
        row.next_try_at = now + min(GRACE * 2 ** min(row.attempts, 10), LAST_RETRY)
        session.add(row)
