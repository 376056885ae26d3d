"""One item on one channel in one generation: try until the channel has given its final word."""

from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from activities.publish import Publisher
    from review.rules.publications import PublicationOutcome, PublicationRef
    from review.rules.values import PublicationState

# A try that hangs this long is given up; the next one asks the channel before it sends.
TRY_TIMEOUT = timedelta(minutes=2)
# The publisher beats every second: a killed worker is noticed in seconds, a busy one isn't.
HEARTBEAT_TIMEOUT = timedelta(seconds=5)
# No last attempt: a full disk or a platform's outage ends some day, and the gate, not this
# policy, stops what has waited too long (the authorisation's end, A-18).
RETRIES = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    backoff_coefficient=2,
    maximum_interval=timedelta(minutes=1),
    maximum_attempts=0,
)


def publication_workflow_id(submission_id: str, channel: str, generation: int) -> str:
    return f"publication-{submission_id}-{channel}-{generation}"


@workflow.defn
class PublicationWorkflow:
    """Publish, correct or retract, as the ledger wants; then ask until the platform confirms.

    It never fails for what a channel or the gate says: that is its result, and in the ledger.
    """

    @workflow.init
    def __init__(self, ref: PublicationRef) -> None:
        self._changed = False
        self._queue = ""  # of the platform, where it has its own; the worker says so

    @workflow.run
    async def run(self, ref: PublicationRef) -> PublicationOutcome:
        while True:
            self._changed = False
            outcome = await self._try(ref)
            if outcome.queue and not self._queue:
                self._queue = outcome.queue
                continue
            if outcome.wait_seconds is None:
                return outcome
            try:
                await workflow.wait_condition(
                    lambda: self._changed,
                    timeout=outcome.wait_seconds,
                    timeout_summary="platform to confirm",
                )
            except TimeoutError:
                ref = ref.model_copy(update={"looks": ref.looks + 1})

    @workflow.signal
    def changed(self, *_nudge: Any) -> None:
        """The ledger wants something else of this publication; what, is read there."""
        self._changed = True

    async def _try(self, ref: PublicationRef) -> PublicationOutcome:
        """Return what one call of the publisher came to; a closed gate is an outcome."""
        try:
            return await workflow.execute_activity_method(
                Publisher.publish,
                ref,
                task_queue=self._queue or None,
                start_to_close_timeout=TRY_TIMEOUT,
                heartbeat_timeout=HEARTBEAT_TIMEOUT,
                retry_policy=RETRIES,
            )
        except ActivityError as error:
            match error.cause:
                case ApplicationError(type="GateClosed") as refusal:
                    return PublicationOutcome(state="refused", detail=refusal.message)
                case ApplicationError(type="UnknownPlatform"):
                    return PublicationOutcome(
                        state=PublicationState.FAILED, detail="publication.unknown_platform"
                    )
            raise
