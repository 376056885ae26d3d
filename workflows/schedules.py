"""What the engine starts by itself, again and again."""

from datetime import timedelta

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleCalendarSpec,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleRange,
    ScheduleSpec,
)

from review.rules.publications import PatrolTurn
from review.rules.retention import RetentionTurn
from workflows.bulletin import BulletinsDueWorkflow
from workflows.names import TASK_QUEUE
from workflows.patrol import PatrolWorkflow
from workflows.retention import RetentionWorkflow

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


BULLETINS_ID = "bulletins"
AT_HOUR = 2  # of the night, Shanghai's; a period is over at its last midnight
MISSED = timedelta(days=365)  # a run that nobody was up for is caught up within


async def schedule_bulletins(client: Client, *, task_queue: str = TASK_QUEUE) -> bool:
    """Have the engine look each night for bulletins that are due; False when it does already.

    A run prepares whatever has none, so one that was missed is made up for twice over.
    """
    try:
        await client.create_schedule(
            BULLETINS_ID,
            Schedule(
                action=ScheduleActionStartWorkflow(
                    BulletinsDueWorkflow.run, id="bulletins-due", task_queue=task_queue
                ),
                spec=ScheduleSpec(
                    calendars=[ScheduleCalendarSpec(hour=[ScheduleRange(AT_HOUR)])],
                    time_zone_name="Asia/Shanghai",
                ),
                policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=MISSED),
            ),
            trigger_immediately=True,
        )
    except ScheduleAlreadyRunningError:
        return False
    return True


RETENTION_ID = "retention"
RETENTION_HOUR = 3  # after the bulletins


async def schedule_retention(client: Client, *, task_queue: str = TASK_QUEUE) -> bool:
    """Have the engine look each night for what may go (A-29); False when it does already.

    The ledger keeps the month between report and removal, so a run that was missed is no matter.
    """
    try:
        await client.create_schedule(
            RETENTION_ID,
            Schedule(
                action=ScheduleActionStartWorkflow(
                    RetentionWorkflow.run, RetentionTurn(), id=RETENTION_ID, task_queue=task_queue
                ),
                spec=ScheduleSpec(
                    calendars=[ScheduleCalendarSpec(hour=[ScheduleRange(RETENTION_HOUR)])],
                    time_zone_name="Asia/Shanghai",
                ),
                policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP),
            ),
        )
    except ScheduleAlreadyRunningError:
        return False
    return True
