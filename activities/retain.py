"""Remove what has had its time, after it was reported; forget what only grows (A-29)."""

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.advance import Clock, system_clock
from review.acts import retention
from review.blobs import Blobs
from review.records.engine import Ledger
from review.rules.errors import LedgerUnavailableError
from review.rules.retention import RetentionResult, RetentionTurn


class Retainer:
    """Runs; safe to be repeated at any point.

    Args:
        blobs: Where uploads are kept; without it their bytes are left to a run that has them.
    """

    def __init__(self, ledger: Ledger, blobs: Blobs | None, clock: Clock = system_clock) -> None:
        self._ledger = ledger
        self._blobs = blobs
        self._clock = clock

    @activity.defn(name="retain")
    async def retain(self, _turn: RetentionTurn) -> RetentionResult:
        """Do one run by the worker's own clock."""
        try:
            found = await retention.run(self._ledger, self._blobs, self._clock)
        except LedgerUnavailableError:
            raise ApplicationError("the ledger is away", type="LedgerAway") from None
        reported = found["reported"] or {"drafts": 0, "uploads": 0}
        return RetentionResult(
            removed=found["removed"],
            files=found["files"],
            pruned=sum(found["pruned"].values()),
            reported=reported["drafts"] + reported["uploads"],
        )
