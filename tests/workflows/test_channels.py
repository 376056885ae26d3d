"""Several channels: each at its platform's pace, and an outage delays its own alone (A-24)."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from activities.channels import Channel
from activities.connections import Connections, Place, installed
from activities.outgoing import Outgoing
from activities.push import Push
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
async def working(bureau: Bureau, *platforms: FakePush | FakeWechat) -> AsyncIterator[None]:
    """Run the workers as shipped: one for reviews, one for each platform with a pace."""
    hosts = [one.address.removeprefix("http://") for one in platforms]
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


def states(bureau: Bureau, submission: str) -> dict[str, str]:
    return {one.channel: str(one.state) for one in bureau.publications(submission)}


async def test_platform_is_given_no_more_a_second_than_its_pace(
    bureau: Bureau, push: FakePush, wechat: FakeWechat, monkeypatch
):
    """The engine keeps it, for all workers together; no code of ours sleeps."""
    monkeypatch.setattr(Push, "per_second", 1.0)
    came: list[float] = []
    push.script = lambda call, _n: came.append(time.monotonic()) if call == "push" else None
    async with working(bureau, push, wechat):
        items = [
            await bureau.submit(channels=["cms"], title=f"第{n}期造林绿化工作动态")
            for n in range(6)
        ]
        await asyncio.gather(*(bureau.run(item) for item in items))
        await bureau.until(lambda: all(states(bureau, item) == {"cms": "live"} for item in items))

    assert len(came) == 6
    # One a second with one second's worth at once: six can't come within three.
    assert came[-1] - came[0] > 3


async def test_take_down_everywhere_outlasts_an_outage_and_a_worker(
    bureau: Bureau, push: FakePush, wechat: FakeWechat
):
    async with working(bureau, push, wechat):
        submission = await bureau.submit(channels=list(EVERYWHERE))
        await bureau.run(submission)
        await bureau.until(lambda: states(bureau, submission) == dict.fromkeys(EVERYWHERE, "live"))

        push.script = lambda _call, _n: "lose_before"  # the system is away
        await bureau.act(submission, "retract", by="chief", reason="信息有误")
        away = {"cms": "live", "site": "retracted", "wx": "retracted"}
        await bureau.until(lambda: states(bureau, submission) == away)
        shown = await bureau.reviews.submission(bureau.who("chief"), submission)
    async with working(bureau, push, wechat):
        tried = push.calls.total()
        await bureau.until(lambda: push.calls.total() > tried)
        push.script = lambda _call, _n: None  # and back
        await bureau.until(lambda: bureau.row(submission).status == "retracted")

    going = {one["channel"] for one in shown["publications"] if one["retracting"]}
    assert going == {"cms"} and shown["status"] == "publishing"
    assert set(states(bureau, submission).values()) == {"retracted"}
    assert all(one["is_deleted"] for one in wechat.articles.values())
    assert {one["state"] for one in push.held.values()} == {"retracted"}
    assert max(push.shown.values()) == max(wechat.shown.values()) == 1
