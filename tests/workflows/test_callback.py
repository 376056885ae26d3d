"""A callback of 公众号 on the real engine: the platform is asked at once, not in an hour."""

from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from activities.connections import Connections
from activities.outgoing import Outgoing
from activities.wechat import Wechat
from review.acts.connecting import PURPOSE, callback_keys, connect_channel
from review.records.access import Access
from review.records.kept import Box
from review.records.tables import Channel
from review.rules.publications import Connection, PublicationRef
from review.settings import Settings
from starter.reviews import Reviews
from starter.web.app import create_app
from tests.acting import Course
from tests.bureau import SANDBOXED, Bureau
from tests.platforms import APP_ID, APP_SECRET, COVER, FakeWechat, callback, publish_finished
from workers.__main__ import paced_workers, worker
from workflows.publication import PublicationWorkflow, publication_workflow_id

SECRET = b"k" * 40
HOUR = 3_600.0


async def test_a_callback_ends_the_wait_and_the_platforms_answer_counts(
    idle_bureau: Bureau, tmp_path: Path
):
    ledger, client = idle_bureau.ledger, idle_bureau.client
    wechat = FakeWechat(reviews_for=2)
    box = Box(SECRET, PURPOSE)
    with wechat.serving() as address:
        connection = Connection(
            address=address, account=APP_ID, secret=APP_SECRET, options={"cover": COVER}
        )

        def open_it(session):
            session.add(Channel(id="wx", name="微信", platform="wechat", operator_unit_id="center"))
            session.flush()
            connect_channel(session, "wx", connection, box, datetime.now(UTC))

        ledger.write(open_it)
        course = Course(ledger, now=datetime.now(UTC), channels=["wx"])
        course.run()
        channels = {
            "wechat": Wechat(
                Outgoing([address.removeprefix("http://")]), Connections(ledger, box, {})
            )
        }
        reviews = Reviews(ledger, client, secret=SECRET, task_queue=idle_bureau.queue)
        app = create_app(
            reviews, Access(ledger, secret=SECRET),
            Settings(data=tmp_path, secret_key=SECRET.decode(), _env_file=None),
        )  # fmt: skip

        def waits() -> bool:
            (row,) = idle_bureau.publications(course.id)
            return row.state == "accepted" and row.reference.startswith("publish:")

        async with AsyncExitStack() as running:
            web = await running.enter_async_context(
                httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")
            )
            await running.enter_async_context(
                worker(
                    client, ledger, channels, confirm_after=(0.1, HOUR, HOUR),
                    task_queue=idle_bureau.queue, workflow_runner=SANDBOXED,
                    graceful_shutdown_timeout=timedelta(0),
                )
            )  # fmt: skip
            for paced in paced_workers(client, ledger, channels, confirm_after=(0.1, HOUR, HOUR)):
                await running.enter_async_context(paced)
            handle = await client.start_workflow(
                PublicationWorkflow.run,
                PublicationRef(submission_id=course.id, channel="wx", generation=1),
                id=publication_workflow_id(course.id, "wx", 1),
                task_queue=idle_bureau.queue,
            )
            await idle_bureau.until(lambda: wechat.calls["freepublish/get"] == 1 and waits())

            (row,) = idle_bureau.publications(course.id)
            token, aes_key = callback_keys(SECRET, "wx")
            job = row.reference.split(":")[1]
            query, body = callback(
                token, aes_key, APP_ID, publish_finished(job), datetime.now(UTC)
            )  # fmt: skip
            answer = await web.post("/hooks/wechat/wx", params=query, content=body)

            assert answer.text == "success"
            assert (await handle.result()).state == "live"
            assert wechat.calls["freepublish/get"] == 2
            assert list(wechat.shown.values()) == [1]
            late = await web.post("/hooks/wechat/wx", params=query, content=body)
            assert late.status_code == 200  # nobody waits any more
