"""What the workflows of orders, incidents and violation cases share: take a turn, then wait."""

from contextlib import suppress
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.mind import Minder
    from review.rules.matters import MatterPosition, MatterRef, MatterTurn

# As for a submission: a turn is one ledger transaction, and nothing may be skipped.
TURN_TIMEOUT = timedelta(seconds=30)
TURN_RETRIES = RetryPolicy(
    initial_interval=timedelta(milliseconds=500),
    backoff_coefficient=2,
    maximum_interval=timedelta(seconds=20),
    maximum_attempts=0,
)
SHORTEST_WAIT = timedelta(seconds=1)


class Minding:
    """Clock and messenger of one matter; the ledger judges, and people decide."""

    def __init__(self, ref: MatterRef) -> None:
        self._position = MatterPosition(kind=ref.kind, matter_id=ref.matter_id)
        self._news = True

    async def _mind(self, ref: MatterRef) -> MatterPosition:
        """Take turns until the matter is over."""
        while True:
            if not await self._turn(ref):
                return self._position
            if self._position.done and not self._news:
                return self._position
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(ref)
            await self._news_or_mark()

    @workflow.signal
    def changed(self, *_nudge: Any) -> None:
        """The ledger changed; what a nudge carries is for people, and never read."""
        self._news = True

    @workflow.query
    def status(self) -> MatterPosition:
        """Where the matter stands, as of the last turn."""
        return self._position

    async def _turn(self, ref: MatterRef) -> bool:
        """Take a turn; False when the ledger doesn't know this matter."""
        self._news = False
        try:
            self._position = await workflow.execute_activity_method(
                Minder.mind,
                MatterTurn(kind=ref.kind, matter_id=ref.matter_id, now=workflow.now()),
                start_to_close_timeout=TURN_TIMEOUT,
                retry_policy=TURN_RETRIES,
            )
        except ActivityError as error:
            if isinstance(error.cause, ApplicationError) and error.cause.non_retryable:
                return False
            raise
        shown = self._position
        due = f", next {shown.next_mark} at {shown.next_at}" if shown.next_at else ""
        workflow.set_current_details(f"{shown.state}{due}")
        return True

    async def _news_or_mark(self) -> None:
        """Return on the next nudge, or when silence has a consequence."""
        next_at = self._position.next_at
        if next_at is None:
            await workflow.wait_condition(lambda: self._news)
            return
        wait = max(next_at - workflow.now(), SHORTEST_WAIT)
        with suppress(TimeoutError):
            await workflow.wait_condition(
                lambda: self._news, timeout=wait, timeout_summary=self._position.next_mark
            )
