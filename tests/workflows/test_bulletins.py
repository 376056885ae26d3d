"""Bulletins on the real engine: what nobody was up for is made up, each period once."""

from datetime import timedelta

from temporalio.worker import Replayer

from review.acts import bulletins
from review.payloads import converter
from tests.bureau import Bureau
from tests.examples import who
from workflows.bulletin import BulletinsDueWorkflow, BulletinWorkflow
from workflows.names import bulletin_workflow_id
from workflows.schedules import BULLETINS_ID, schedule_bulletins


async def test_missed_periods_are_made_up_for_and_each_once(bureau: Bureau):
    submission = await bureau.submit()
    title = bureau.row(submission).title
    bureau.clock.ahead += timedelta(days=100)  # a quarter passed, and nobody was up

    async def run(number: int):
        handle = await bureau.client.start_workflow(
            BulletinsDueWorkflow.run, id=f"due-{bureau.queue}-{number}", task_queue=bureau.queue
        )
        return handle, (await handle.result()).periods

    handle, first = await run(1)
    _, second = await run(2)

    assert len(first) >= 4 and any("Q" in period for period in first) and second == ()
    with bureau.ledger.reading() as session:
        rows = bulletins.bulletins(session, who(session, "chief", bureau.clock()))
    assert {row["period"] for row in rows} == set(first)
    child = bureau.client.get_workflow_handle(bulletin_workflow_id(first[0]))
    histories = [await handle.fetch_history(), await child.fetch_history()]
    for history in histories:
        assert title.encode() not in b"".join(one.SerializeToString() for one in history.events)
        await Replayer(
            workflows=[BulletinsDueWorkflow, BulletinWorkflow], data_converter=converter({})
        ).replay_workflow(history)


async def test_schedule_is_made_once(bureau: Bureau):
    schedule = bureau.client.get_schedule_handle(BULLETINS_ID)
    try:
        assert await schedule_bulletins(bureau.client, task_queue=bureau.queue)
        assert not await schedule_bulletins(bureau.client, task_queue=bureau.queue)
        described = await schedule.describe()
        assert described.schedule.policy.catchup_window >= timedelta(days=300)
    finally:
        await schedule.delete()
