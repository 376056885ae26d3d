"""Take the turns of supervision orders, incidents and violation cases, as `advance` does."""

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.advance import APART, Clock, system_clock
from review.acts.minding import mind
from review.records.engine import Ledger
from review.rules.errors import LedgerUnavailableError, NotFoundError
from review.rules.matters import MatterPosition, MatterTurn


class Minder:
    """Takes turns in the ledger."""

    def __init__(
        self, ledger: Ledger, clock: Clock = system_clock, *, engine_clock: Clock | None = None
    ) -> None:
        """Take the ledger and the clocks; see `Advancer`."""
        self._ledger = ledger
        self._clock = clock
        self._engine_clock = engine_clock or (lambda: activity.info().started_time)

    @activity.defn(name="mind")
    async def mind(self, turn: MatterTurn) -> MatterPosition:
        """Take one turn; safe to repeat, for every mark has its consequence once.

        Raises:
            ApplicationError: ClockApart, retried: worker and engine disagree by over a minute.
                UnknownMatter, not retried: the ledger has no such matter.
        """
        now = self._clock()
        ahead = turn.now - now
        behind = now - self._engine_clock()
        if ahead > APART or behind > APART:
            raise ApplicationError(f"clocks are apart by {max(ahead, behind)}", type="ClockApart")
        try:
            return await self._ledger.run(mind, turn.kind, turn.matter_id, now)
        except NotFoundError as error:
            raise ApplicationError(
                "no such matter in the ledger", type="UnknownMatter", non_retryable=True
            ) from error
        except LedgerUnavailableError:
            # Without its cause, which quotes what it was to write (see `Advancer.advance`).
            raise ApplicationError("the ledger is away", type="LedgerAway") from None
