"""Sign the state of the trace by itself: at start and stop, daily, and after so many entries."""

import asyncio
from collections.abc import Callable
from datetime import datetime

import structlog
from sqlmodel import Session

from review.records import audit, checkpoints
from review.records.checkpoints import CheckpointError, Watch
from review.records.engine import Ledger
from review.rules.errors import LedgerUnavailableError, RefusedError

log = structlog.get_logger()

PAUSE = 10.0  # seconds between two looks


class Sealer:
    """Keeps the newest checkpoint in the ledger and outside it.

    A ledger older than the last one is left as it is: signing it would hide that something is lost.
    """

    def __init__(self, ledger: Ledger, watch: Watch, clock: Callable[[], datetime]) -> None:
        self._ledger = ledger
        self._watch = watch
        self._clock = clock
        self._alarmed = ""

    async def run(self) -> None:
        """Sign whenever it is due, until cancelled."""
        await self.seal(at_all=True)
        while True:
            await asyncio.sleep(PAUSE)
            await self.seal()

    async def seal(self, *, at_all: bool = False) -> bool:
        """Sign if it is due; what stands in the way is logged once and tried again.

        Args:
            at_all: As soon as there is anything new, as at a start or stop.

        Returns:
            Whether a checkpoint was made.
        """
        try:
            return await asyncio.to_thread(self._seal, at_all)
        except RefusedError as refusal:
            await self._alarm(refusal.code)
        except CheckpointError as error:
            await self._alarm(error.code)
        except LedgerUnavailableError:
            log.warning("checkpoint_waits_for_ledger")
        except OSError as error:
            log.error("checkpoint_not_kept", folder=str(self._watch.folder), why=error.strerror)
        return False

    def _seal(self, at_all: bool) -> bool:
        now = self._clock()
        with self._ledger.reading() as session:
            expected = self._watch.expected()
            if checkpoints.is_older(session, expected):
                raise RefusedError(checkpoints.LEDGER_OLDER)
            newest = checkpoints.last_of(session)
            due = checkpoints.is_due(session, now, at_all=at_all)
        if due:
            made = checkpoints.make(self._ledger, self._watch, now, way_in="worker")
            log.info("checkpoint_signed", no=made.no, entries=made.entries)
        elif newest is not None and (expected is None or expected.no < newest.no):
            self._watch.keys.require(newest)
            self._watch.keep(newest)  # made by another process; ours is to know it too
        self._alarmed = ""
        return due

    async def _alarm(self, code: str) -> None:
        """Say once that the ledger and its last checkpoint disagree; publishing stands still."""
        if code in (self._alarmed, "log_empty"):
            return
        self._alarmed = code
        log.error(code, folder=str(self._watch.folder), do="sanshen doctor")
        try:
            await self._ledger.run(_remember, code, self._clock())
        except LedgerUnavailableError:
            self._alarmed = ""


def _remember(session: Session, code: str, now: datetime) -> None:
    audit.append(session, audit.BUREAU, code, at=now, way_in="worker")
