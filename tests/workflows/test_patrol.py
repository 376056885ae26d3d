"""The patrol on the real engine: its schedule, a short history, no text in it."""

from datetime import timedelta
from pathlib import Path

from temporalio.worker import Replayer

from review.payloads import converter
from review.rules.publications import PatrolResult, PatrolTurn
from tests.bureau import Bureau
from workflows.patrol import PatrolWorkflow
from workflows.schedules import PATROL_ID, schedule_patrol


async def test_patrol_on_the_engine_reports_a_changed_page(bureau: Bureau, tmp_path: Path):
    """Issue 5's show."""
    submission = await bureau.submit()
    await bureau.published(submission)
    (page,) = (tmp_path / "site" / "item").glob("*.html")
    page.write_text(page.read_text().replace("召开", "取消"))
    bureau.clock.ahead += timedelta(minutes=31)
    handle = await bureau.client.start_workflow(
        PatrolWorkflow.run, PatrolTurn(), id=f"patrol-{bureau.queue}", task_queue=bureau.queue
    )

    assert await handle.result() == PatrolResult(read=1, drifted=1)
    assert "channel_drift" in bureau.events(submission)
    history = await handle.fetch_history()
    assert "取消".encode() not in b"".join(one.SerializeToString() for one in history.events)
    await Replayer(workflows=[PatrolWorkflow], data_converter=converter({})).replay_workflow(
        history
    )


async def test_schedule_is_made_once(bureau: Bureau):
    schedule = bureau.client.get_schedule_handle(PATROL_ID)
    try:
        assert await schedule_patrol(bureau.client, task_queue=bureau.queue)
        assert not await schedule_patrol(bureau.client, task_queue=bureau.queue)
        await schedule.trigger()
    finally:
        await schedule.delete()
