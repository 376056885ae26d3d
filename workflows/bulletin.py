"""Bulletins by the calendar: a daily look for periods that are over, one workflow for each."""

from contextlib import suppress
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

with workflow.unsafe.imports_passed_through():
    from activities.report import Reporter
    from review.rules.periods import DueRequest, PeriodRef, Periods
    from workflows.names import bulletin_workflow_id

# Two years of items take seconds; one that hangs is given up and tried again.
TIMEOUT = timedelta(minutes=2)
# No last attempt: the ledger comes back some day.
RETRIES = RetryPolicy(maximum_interval=timedelta(minutes=1), maximum_attempts=0)


@workflow.defn
class BulletinWorkflow:
    """Prepare one period's tables and draft; people sign and issue in the ledger."""

    @workflow.run
    async def run(self, ref: PeriodRef) -> None:
        await workflow.execute_activity_method(
            Reporter.prepare, ref, start_to_close_timeout=TIMEOUT, retry_policy=RETRIES
        )


@workflow.defn
class BulletinsDueWorkflow:
    """Prepare every bulletin that is due: also those whose day nobody was up."""

    @workflow.run
    async def run(self) -> Periods:
        found = await workflow.execute_activity_method(
            Reporter.due,
            DueRequest(now=workflow.now()),
            start_to_close_timeout=TIMEOUT,
            retry_policy=RETRIES,
        )
        for period in found.periods:
            with suppress(WorkflowAlreadyStartedError):  # the ledger keeps one of each anyway
                await workflow.execute_child_workflow(
                    BulletinWorkflow.run,
                    PeriodRef(period=period),
                    id=bulletin_workflow_id(period),
                    id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                )
        return found
