"""Retention on the real engine: one run, counts alone in its history, and its schedule."""

import asyncio
import base64
from datetime import timedelta

from temporalio import workflow
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionExecutionStartWorkflow,
    ScheduleActionStartWorkflow,
    ScheduleSpec,
)
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner, Worker

from review.acts import drafting
from review.payloads import converter
from review.records.tables import Drafted
from review.rules.retention import RetentionTurn
from tests.bureau import Bureau
from workflows.retention import RetentionWorkflow
from workflows.schedules import RETENTION_ID, schedule_retention

KEY = base64.b64encode(b"r" * 32).decode()


async def test_run_reports_then_removes_and_its_history_has_counts_alone(bureau: Bureau):
    typed = {"title": "从未提交的草稿"}
    writer = bureau.who("afforest_info")
    await bureau.ledger.run(drafting.keep, writer, typed, bureau.clock())

    async def run(days: int):
        bureau.clock.ahead += timedelta(days=days)
        handle = await bureau.client.start_workflow(
            RetentionWorkflow.run, RetentionTurn(), id=f"retain-{bureau.queue}-{days}",
            task_queue=bureau.queue,
        )  # fmt: skip
        return handle, await handle.result()

    first, reported = await run(366)
    _, early = await run(2)
    _, removed = await run(31)

    assert (reported.reported, reported.removed) == (1, 0)
    assert (early.reported, early.removed) == (0, 0)
    assert removed.removed == 1
    with bureau.ledger.reading() as session:
        assert session.get(Drafted, "afforest_info") is None
    history = await first.fetch_history()
    said = b"".join(one.SerializeToString() for one in history.events)
    assert typed["title"].encode() not in said and b"afforest" not in said
    await Replayer(workflows=[RetentionWorkflow], data_converter=converter({})).replay_workflow(
        history
    )


async def test_schedule_is_made_once(bureau: Bureau):
    schedule = bureau.client.get_schedule_handle(RETENTION_ID)
    try:
        assert await schedule_retention(bureau.client, task_queue=bureau.queue)
        assert not await schedule_retention(bureau.client, task_queue=bureau.queue)
        assert (await schedule.describe()).schedule.spec.time_zone_name == "Asia/Shanghai"
    finally:
        await schedule.delete()


@workflow.defn
class Told:
    """Returns what it was told."""

    @workflow.run
    async def run(self, turn: RetentionTurn) -> RetentionTurn:
        return turn


async def test_scheduled_run_reads_its_input_though_payloads_are_encrypted(bureau: Bureau):
    """The engine appends the moment to a scheduled run's id, to which its input is not bound."""
    config = bureau.client.config()
    config["data_converter"] = converter({"k1": KEY}, bureau.client.namespace)
    client, queue = Client(**config), f"told-{bureau.queue}"
    action = ScheduleActionStartWorkflow(Told.run, RetentionTurn(), id=queue, task_queue=queue)
    schedule = await client.create_schedule(
        queue, Schedule(action=action, spec=ScheduleSpec()), trigger_immediately=True
    )
    try:
        async with (
            asyncio.timeout(30),
            Worker(
                client, task_queue=queue, workflows=[Told],
                workflow_runner=UnsandboxedWorkflowRunner(),
            ),
        ):  # fmt: skip
            while not (actions := (await schedule.describe()).info.recent_actions):
                await asyncio.sleep(0.05)
            started = actions[0].action
            assert isinstance(started, ScheduleActionExecutionStartWorkflow)
            assert started.workflow_id.startswith(f"{queue}-20")
            handle = client.get_workflow_handle_for(Told.run, started.workflow_id)
            assert await handle.result() == RetentionTurn()
    finally:
        await schedule.delete()
