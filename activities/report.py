"""Prepare bulletins: which are due, and one period's tables and draft."""

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.advance import Clock, system_clock
from review.acts.bulletins import due, prepare
from review.records.engine import Ledger
from review.rules.errors import LedgerUnavailableError, NotFoundError
from review.rules.periods import DueRequest, PeriodRef, Periods


class Reporter:
    """Prepares what people then sign."""

    def __init__(self, ledger: Ledger, clock: Clock = system_clock) -> None:
        self._ledger = ledger
        self._clock = clock

    @activity.defn(name="bulletins_due")
    async def due(self, _request: DueRequest) -> Periods:
        """Return the periods without a bulletin that are over, by the worker's own clock."""
        try:
            return Periods(periods=await self._ledger.read(due, self._clock()))
        except LedgerUnavailableError:
            raise ApplicationError("the ledger is away", type="LedgerAway") from None

    @activity.defn(name="bulletin_prepare")
    async def prepare(self, ref: PeriodRef) -> None:
        """Prepare one; a period that has its bulletin keeps it.

        Raises:
            ApplicationError: NoSuchPeriod, not retried.
        """
        try:
            await self._ledger.run(prepare, ref.period, self._clock())
        except NotFoundError as error:
            raise ApplicationError(
                "no such period, or not over", type="NoSuchPeriod", non_retryable=True
            ) from error
        except LedgerUnavailableError:
            raise ApplicationError("the ledger is away", type="LedgerAway") from None
