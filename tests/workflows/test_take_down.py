"""撤稿 on every channel at once: a platform that is down delays its own take-down alone (A-24)."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from activities.channels import Channel
from activities.connections import Connections, Place, installed
from activities.outgoing import Outgoing
from review.acts.connecting import PURPOSE, connect_channel
from review.records.kept import Box
from review.records.tables import Channel as ChannelRow
from review.rules.publications import Connection
from tests.bureau import Bureau
from tests.platforms import APP_ID, APP_SECRET, COVER, SECRET, FakePush, FakeWechat
from workers.__main__ import paced_workers, worker

BOX = Box(b"k" * 40, PURPOSE)
EVERYWHERE = ("cms", "site", "wx")


@pytest.fixture
def bureau(idle_bureau: Bureau, push: FakePush, wechat: FakeWechat) -> Bureau:
    """A bureau with an account and a system of its own beside the site."""

    def connected(session: Any) -> None:
        for name, platform in (("wx", "wechat"), ("cms", "push")):
            session.add(
                ChannelRow(id=name, name=name, platform=platform, operator_unit_id="center")
            )
        session.flush()
        wx = Connection(
            address=wechat.address, account=APP_ID, secret=APP_SECRET, options={"cover": COVER}
        )
        cms = Connection(address=f"{push.address}/items", secret=SECRET)
        for name, connection in (("wx", wx), ("cms", cms)):
            connect_channel(session, name, connection, BOX, datetime.now(UTC))

    idle_bureau.ledger.write(connected)
    return idle_bureau


@pytest.fixture
def push() -> Any:
    platform = FakePush()
    with platform.serving():
        yield platform


@pytest.fixture
def wechat() -> Any:
    platform = FakeWechat()
    with platform.serving():
        yield platform


@asynccontextmanager
async def working(bureau: Bureau, hosts: list[str]) -> AsyncIterator[None]:
    """Run the workers as shipped: one for reviews, one for each platform with a pace."""
    place = Place(
        data=bureau.data,
        public_url="http://127.0.0.1",
        blob=lambda digest: bureau.data / digest,
        outgoing=Outgoing(hosts),
        connect=Connections(bureau.ledger, BOX, {}),
    )
    channels: dict[str, Channel] = installed(place)
    looks = {"confirm_after": (0.1, 0.2, 0.4)}
    async with AsyncExitStack() as running:
        for one in (
            worker(
                bureau.worker_client, bureau.ledger, channels, bureau.clock,
                task_queue=bureau.queue, **looks,
            ),
            *paced_workers(bureau.worker_client, bureau.ledger, channels, bureau.clock, **looks),
        ):  # fmt: skip
            await running.enter_async_context(one)
        yield


async def test_take_down_everywhere_outlasts_an_outage_and_a_worker(
    bureau: Bureau, push: FakePush, wechat: FakeWechat
):
    hosts = [address.removeprefix("http://") for address in (push.address, wechat.address)]

    def states(submission: str) -> dict[str, str]:
        return {one.channel: str(one.state) for one in bureau.publications(submission)}

    async with working(bureau, hosts):
        submission = await bureau.submit(channels=list(EVERYWHERE))
        await bureau.run(submission)
        await bureau.until(lambda: states(submission) == dict.fromkeys(EVERYWHERE, "live"))

        push.script = lambda _call, _n: "lose_before"  # the system is away
        await bureau.act(submission, "retract", by="chief", reason="信息有误")
        away = {"cms": "live", "site": "retracted", "wx": "retracted"}
        await bureau.until(lambda: states(submission) == away)
        shown = await bureau.reviews.submission(bureau.who("chief"), submission)
    async with working(bureau, hosts):
        tried = push.calls.total()
        await bureau.until(lambda: push.calls.total() > tried)
        push.script = lambda _call, _n: None  # and back
        await bureau.until(lambda: bureau.row(submission).status == "retracted")

    going = {one["channel"] for one in shown["publications"] if one["retracting"]}
    assert going == {"cms"} and shown["status"] == "publishing"
    assert set(states(submission).values()) == {"retracted"}
    assert all(one["is_deleted"] for one in wechat.articles.values())
    assert {one["state"] for one in push.held.values()} == {"retracted"}
    assert max(push.shown.values()) == max(wechat.shown.values()) == 1
