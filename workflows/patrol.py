"""The patrol (巡查): a schedule starts it every few minutes, and it reads the channels once."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from activities.patrol import Patroller
    from review.rules.publications import PatrolResult, PatrolTurn

PATROL_TIMEOUT = timedelta(minutes=8)
HEARTBEAT_TIMEOUT = timedelta(minutes=2)  # one slow platform's answer
# The next patrol does what this one could not.
RETRIES = RetryPolicy(initial_interval=timedelta(seconds=10), maximum_attempts=3)


@workflow.defn
class PatrolWorkflow:
    """One patrol; what it finds stands in the ledger, here are counts."""

    @workflow.run
    async def run(self, turn: PatrolTurn) -> PatrolResult:
        return await workflow.execute_activity_method(
            Patroller.patrol,
            turn,
            start_to_close_timeout=PATROL_TIMEOUT,
            heartbeat_timeout=HEARTBEAT_TIMEOUT,
            retry_policy=RETRIES,
        )
