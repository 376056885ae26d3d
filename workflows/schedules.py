"""What the engine starts by itself, again and again."""

from datetime import timedelta

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
)

from review.rules.publications import PatrolTurn
from workflows.names import TASK_QUEUE
from workflows.patrol import PatrolWorkflow

PATROL_ID = "patrol"
EVERY = timedelta(minutes=10)  # the first look is due after 30 minutes; nothing waits for this


async def schedule_patrol(client: Client, *, task_queue: str = TASK_QUEUE) -> bool:
    """Have the engine start a patrol every few minutes; False when it does so already."""
    try:
        await client.create_schedule(
            PATROL_ID,
            Schedule(
                action=ScheduleActionStartWorkflow(
                    PatrolWorkflow.run, PatrolTurn(), id=PATROL_ID, task_queue=task_queue
                ),
                spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=EVERY)]),
                policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP),
            ),
        )
    except ScheduleAlreadyRunningError:
        return False
    return True
