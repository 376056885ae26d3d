"""Log lines: one chain for ours and others', and no content by accident."""

import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from temporalio import workflow
from temporalio.client import Client
from temporalio.worker import Worker

from starter.engine import EmbeddedEngine

with workflow.unsafe.imports_passed_through():
    from review import logs


@workflow.defn(sandboxed=False)
class Talks:
    """Says something, waits, says something else."""

    @workflow.run
    async def run(self) -> None:
        structlog.get_logger("ours").info("waiting_began")
        await workflow.sleep(0.2)
        structlog.get_logger("ours").info("waiting_ended")


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    logs.configure("json", "INFO", stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)
    structlog.reset_defaults()


def test_ours_and_others_lines_have_one_shape(lines: io.StringIO) -> None:
    structlog.get_logger("ours").info("decision_received", submission_id="s1")
    logging.getLogger("theirs").warning("slow: %s s", 3)
    logging.getLogger("httpx").info("POST https://chat.example/?key=secret")

    ours, theirs = map(json.loads, lines.getvalue().splitlines())

    assert (ours["event"], ours["submission_id"]) == ("decision_received", "s1")
    assert (theirs["event"], theirs["logger"], theirs["level"]) == (
        "slow: 3 s",
        "theirs",
        "warning",
    )
    assert ours.keys() >= {"timestamp", "level", "logger"}


def test_traceback_shows_no_variables(lines: io.StringIO) -> None:
    def fail(opinion: str) -> None:
        raise ValueError("no")

    try:
        fail("confidential " + "opinion")
    except ValueError:
        structlog.get_logger("ours").exception("part_failed")

    assert "ValueError: no" in lines.getvalue()
    assert "confidential opinion" not in lines.getvalue()


async def test_workflow_says_a_thing_once_however_often_it_is_replayed(
    lines: io.StringIO, tmp_path: Path
) -> None:
    async with EmbeddedEngine(tmp_path, port=0) as engine:
        client = await Client.connect(engine.address)
        async with Worker(client, task_queue="q", workflows=[Talks], max_cached_workflows=0):
            await client.execute_workflow(Talks.run, id="talks-1", task_queue="q")

    said = [line for line in map(json.loads, lines.getvalue().splitlines()) if "run_id" in line]
    assert [line["event"] for line in said] == ["waiting_began", "waiting_ended"]
    assert {line["workflow_id"] for line in said} == {"talks-1"}
