"""Take a submission's turns: one ledger transaction each, judged by the worker's own clock."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from temporalio import activity
from temporalio.exceptions import ApplicationError

from review.acts.turning import advance
from review.records.engine import Ledger
from review.rules.errors import LedgerUnavailableError, NotFoundError
from review.rules.positions import Position, TurnRequest

Clock = Callable[[], datetime]

# Further apart than this, one of the two clocks is wrong and nothing may be done by either.
APART = timedelta(minutes=1)


def system_clock() -> datetime:
    """Return now, aware."""
    return datetime.now(UTC)


class Advancer:
    """Takes turns in the ledger."""

    def __init__(
        self, ledger: Ledger, clock: Clock = system_clock, *, engine_clock: Clock | None = None
    ) -> None:
        """Take the ledger and the clocks.

        Args:
            clock: What the rules judge by.
            engine_clock: The engine's moment of this try; the activity's own start by default.
        """
        self._ledger = ledger
        self._clock = clock
        self._engine_clock = engine_clock or (lambda: activity.info().started_time)

    @activity.defn(name="advance")
    async def advance(self, request: TurnRequest) -> Position:
        """Take one turn; safe to repeat, for all it does is compare-and-set.

        Raises:
            ApplicationError: ClockApart, retried: worker and engine disagree by over a minute.
                UnknownSubmission, not retried: the ledger has no such submission.
        """
        now = self._clock()
        ahead = request.now - now
        behind = now - self._engine_clock()
        if ahead > APART or behind > APART:
            raise ApplicationError(f"clocks are apart by {max(ahead, behind)}", type="ClockApart")
        try:
            return await self._ledger.run(advance, request.submission_id, now)
        except NotFoundError as error:
            raise ApplicationError(
                "no such submission in the ledger", type="UnknownSubmission", non_retryable=True
            ) from error
        except LedgerUnavailableError:
            # Without its cause: a database's error quotes what it was to write, and what an
            # activity raises is kept in the engine's history.
            raise ApplicationError("the ledger is away", type="LedgerAway") from None
