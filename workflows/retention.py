"""Retention (A-29): a schedule starts it each night, and it takes one look."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from activities.retain import Retainer
    from review.rules.retention import RetentionResult, RetentionTurn

# A first run may have years of rows to forget; one that hangs goes on where it was.
TIMEOUT = timedelta(minutes=30)
# The next night does what this one could not.
RETRIES = RetryPolicy(initial_interval=timedelta(seconds=10), maximum_attempts=5)


@workflow.defn
class RetentionWorkflow:
    """One run; what it removed stands in the ledger, here are counts."""

    @workflow.run
    async def run(self, turn: RetentionTurn) -> RetentionResult:
        return await workflow.execute_activity_method(
            Retainer.retain, turn, start_to_close_timeout=TIMEOUT, retry_policy=RETRIES
        )
