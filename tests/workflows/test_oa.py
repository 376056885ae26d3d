"""The OA takes an item from draft to publication over real HTTP, without anybody opening the web.

Shipped parts on both sides: the web on a port, the worker, the announcer; `tests.oa_client` plays
the OA by the published protocol alone.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn

from activities.posting import Poster
from review.acts import hooks
from review.records.access import Access
from review.records.hook_keys import PURPOSE, Scope
from review.records.kept import Box
from review.records.tables import Decision, Version
from review.settings import Settings
from starter.reviews import Reviews
from starter.web.__main__ import Server, listening_on
from starter.web.app import create_app
from tests.bureau import Bureau
from tests.examples import CHECKLIST
from tests.oa_client import OaClient
from workers.announcer import Announcer

SECRET = "s" * 48
BOX = Box(SECRET.encode(), PURPOSE)
HOUSE = ("127.0.0.1",)


@asynccontextmanager
async def connected(bureau: Bureau, scope: Scope = Scope()) -> AsyncIterator[OaClient]:  # noqa: B008
    """Serve the web, announce from beside the worker, and connect an OA in both directions."""
    reviews = Reviews(
        bureau.ledger, bureau.client, clock=bureau.clock, task_queue=bureau.queue,
        secret=SECRET.encode(),
    )  # fmt: skip
    access = Access(bureau.ledger, clock=bureau.clock, secret=SECRET.encode())
    listening = listening_on("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    settings = Settings(data=bureau.data, secret_key=SECRET, public_url=url, _env_file=None)
    server = Server(
        uvicorn.Config(
            create_app(reviews, access, settings), access_log=False, log_config=None, lifespan="off"
        )
    )
    serving = asyncio.create_task(server.serve([listening]))
    announcer = Announcer(bureau.ledger, Poster(HOUSE), BOX, bureau.clock, public_url=url)
    announcing = asyncio.create_task(announcer.run())
    now = bureau.clock()
    key = bureau.ledger.write(lambda s: hooks.add_key(s, "oa", scope, now, BOX, way_in="cli"))
    with OaClient(url, key.secret) as oa:
        made = bureau.ledger.write(
            lambda s: hooks.add_endpoint(s, "oa", oa.address, (), now, BOX, way_in="cli")
        )
        oa.endpoint_secret = made.secret
        try:
            yield oa
        finally:
            announcing.cancel()
            await asyncio.gather(announcing, return_exceptions=True)
            server.stop()
            await serving
            listening.close()


def decide(oa: OaClient, todo: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Approve as a person would in the OA: show what is found, tick it, send again."""
    checklist = CHECKLIST if todo["step"] == "unit_review" else {}
    status, answer = oa.decide(todo, "approve", checklist=checklist)
    if answer.get("code") == "findings_open" and not answer["blocking"]:
        status, answer = oa.decide(
            todo, "approve", checklist=checklist, findings_seen=answer["unseen"]
        )
    return status, answer


def take_to_publication(oa: OaClient) -> list[str]:
    """Decide one to-do after the other until the item is out; returns the steps decided."""
    decided: list[str] = []
    refused: set[str] = set()
    while not any(sent["type"] == "item.published" for sent in list(oa.received)):
        try:
            todo = oa.wait_for(
                lambda t: (
                    t["todo"] not in refused and f"{t['step']}/{t['step_unit']}" not in decided
                ),
                within=3,
            )
        except TimeoutError:
            if decided and decided[-1].startswith("proof3"):
                oa.wait_for_event("item.published")
                break
            raise
        status, answer = decide(oa, todo)
        if status == 200:
            decided.append(f"{todo['step']}/{todo['step_unit']}")
        else:  # somebody else decided, or may not decide this one too
            assert status in (403, 409), answer
            refused.add(todo["todo"])
    return [step.partition("/")[0] for step in decided]


@pytest.mark.parametrize(
    ("category", "steps"),
    [
        ("work_news", {"unit_review", "edit_proof2", "second_review", "final_review"}),
        (
            "important",
            {"unit_review", "edit_proof2", "second_review", "office_opinion", "final_review"},
        ),
    ],
)
async def test_the_oa_takes_a_whole_item_to_publication(bureau, category, steps):
    async with connected(bureau) as oa:
        item = await bureau.submit(category=category)

        decided = await asyncio.to_thread(take_to_publication, oa)

        await bureau.until(lambda: bureau.row(item).status == "published")
        await asyncio.to_thread(settled, oa)
    assert steps <= set(decided) and "proof3_publish" in decided
    assert {d.way_in for d in bureau.rows(Decision, item)} == {"oa"}
    assert len(bureau.pages()) == 1
    assert (oa.forged, oa.todos) == (0, {})
    numbers = [sent["data"]["sequence"] for sent in oa.received]
    assert numbers == list(range(1, len(numbers) + 1)), "in order, none missing"
    said = json.dumps(oa.received, ensure_ascii=False)
    assert bureau.rows(Version, item)[-1].body not in said


def settled(oa: OaClient) -> None:
    """Wait until every to-do is closed again."""
    deadline = time.monotonic() + 20
    while oa.todos:
        assert time.monotonic() < deadline, oa.todos
        time.sleep(0.05)


async def test_an_oa_that_stumbles_gets_each_message_in_order_and_delays_no_review(bureau):
    """Refusals, a lost answer and a slow one: at least once, in order; the review goes on."""
    async with connected(bureau) as oa:
        oa.script = [500, 302]
        item = await bureau.submit()
        await bureau.settled(item)
        await bureau.run(item, until="second_review")  # by the web, while the OA is away

        assert [step.key for step in bureau.open_steps(item)] == ["second_review"]
        await asyncio.to_thread(
            lambda: oa.wait_for(lambda t: t["step"] == "second_review", within=90)
        )
    numbers = [sent["data"]["sequence"] for sent in oa.received]
    assert numbers == sorted(numbers) and numbers[0] == 1
    kinds = Counter(sent["type"] for sent in oa.received)
    assert kinds["todo.opened"] - kinds["todo.closed"] == len(oa.todos)


async def test_a_key_for_one_step_takes_an_item_no_further(bureau):
    async with connected(bureau, Scope(steps=("unit_review",))) as oa:
        item = await bureau.submit()
        head = await asyncio.to_thread(oa.wait_for, lambda t: t["step"] == "unit_review")
        assert (await asyncio.to_thread(decide, oa, head))[0] == 200
        editor = await asyncio.to_thread(oa.wait_for, lambda t: t["step"] == "edit_proof2")

        status, answer = await asyncio.to_thread(decide, oa, editor)

    assert (status, answer["code"]) == (403, "not_allowed")
    assert [step.key for step in bureau.open_steps(item)] == ["edit_proof2"]
