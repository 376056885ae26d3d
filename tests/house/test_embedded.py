"""The embedded engine and the supervisor around it."""

import asyncio
import json
import os
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client

from review.engine import RETENTION, SEARCH_ATTRIBUTES
from starter.engine import EmbeddedEngine, free_port
from starter.errors import StartError
from starter.processes import end_stale, identity

ROOT = Path(__file__).parents[2]


class Up:
    """One `up` in a process of its own."""

    def __init__(self, data: Path, *, port: int = 0, kind: str = "whole", policy: str = "") -> None:
        command = [sys.executable, "-m", "tests.house.up", str(data), str(port), kind]
        self.data = data
        self.process = subprocess.Popen(
            [*command, *([policy] if policy else [])],
            cwd=ROOT,
            env={**os.environ, "SANSHEN_LANGUAGE": "en"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ready(self) -> str:
        assert self.process.stdout is not None
        word, _, url = self.process.stdout.readline().strip().partition(" ")
        assert word == "ready", self.ended()
        return url

    def run_file(self) -> dict[str, Any]:
        return dict(json.loads((self.data / "run.json").read_text()))

    def tell(self, number: signal.Signals) -> float:
        began = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(timeout=20)
        return time.monotonic() - began

    def ended(self) -> tuple[int, str]:
        _, errors = self.process.communicate(timeout=60)
        return self.process.returncode, errors

    def clear(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.process.communicate(timeout=20)


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Callable[..., Up]]:
    started: list[Up] = []

    def start(data: Path = tmp_path / "data", **given: Any) -> Up:
        started.append(Up(data, **given))
        return started[-1]

    yield start
    for one in started:
        one.clear()


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


async def test_engine_has_our_search_attributes_and_keeps_closed_runs(tmp_path: Path) -> None:
    async with EmbeddedEngine(tmp_path, port=0) as engine:
        client = await Client.connect(engine.address)
        listed = await client.operator_service.list_search_attributes(
            ListSearchAttributesRequest(namespace="default")
        )
        described = await client.workflow_service.describe_namespace(
            DescribeNamespaceRequest(namespace="default")
        )

    assert SEARCH_ATTRIBUTES.items() <= dict(listed.custom_attributes).items()
    assert described.config.workflow_execution_retention_ttl.ToTimedelta() >= RETENTION
    with sqlite3.connect(tmp_path / "engine.db") as store:
        assert store.execute("pragma journal_mode").fetchone() == ("wal",)
    store.close()


async def test_its_own_pages_leave_the_webs_port_alone(tmp_path: Path) -> None:
    """`up --port 8233` with the engine's usual port: 1000 above would be taken twice."""
    port = free_port()
    async with EmbeddedEngine(tmp_path, port=port, spare=port + 1000) as engine:
        assert engine.ui_port not in (port, port + 1000)


async def test_acknowledged_start_survives_a_kill_of_the_engine(tmp_path: Path) -> None:
    async with EmbeddedEngine(tmp_path, port=0) as engine:
        client = await Client.connect(engine.address)
        await client.start_workflow("Anything", id="submission-1", task_queue="sanshen")
        os.kill(engine.child.pid or 0, signal.SIGKILL)
        await engine.child.ended()

    async with EmbeddedEngine(tmp_path, port=0) as engine:
        client = await Client.connect(engine.address)
        described = await client.get_workflow_handle("submission-1").describe()

    assert described.id == "submission-1"


async def test_folder_in_use_is_refused(tmp_path: Path) -> None:
    first = EmbeddedEngine(tmp_path, port=0)
    first.lock_folder()

    with pytest.raises(StartError, match="in use"):
        async with EmbeddedEngine(tmp_path, port=0):
            pass
    await first.stop()


@pytest.mark.parametrize("noted", ["temporal version 1.0.0\n", None])
async def test_store_of_another_version_is_refused(tmp_path: Path, noted: str | None) -> None:
    (tmp_path / "engine.db").touch()
    if noted:
        (tmp_path / "engine.version").write_text(noted)

    with pytest.raises(StartError, match="doctor --repair"):
        async with EmbeddedEngine(tmp_path, port=0):
            pass


def test_up_says_ready_keeps_everything_private_and_ends_in_time(up: Callable[..., Up]) -> None:
    whole = up()

    url = whole.ready()

    note = whole.run_file()
    assert note["url"] == url and url.endswith(f":{note['web_port']}")
    assert note["pids"].keys() == {"supervisor", "engine", "worker", "web"}
    assert httpx.get(f"{url}/readyz", trust_env=False).text == f"127.0.0.1:{note['engine_port']}"
    assert stat.S_IMODE(whole.data.stat().st_mode) == 0o700
    for file in ("secrets.json", "run.json", "engine.db", "ledger.db"):
        assert stat.S_IMODE((whole.data / file).stat().st_mode) == 0o600, file
    assert whole.tell(signal.SIGTERM) < 10
    assert whole.process.returncode == 0
    assert [pid for pid in note["pids"].values() if identity(pid)] == []
    assert not (whole.data / "run.json").exists()


def test_part_that_dies_is_started_again(up: Callable[..., Up]) -> None:
    whole = up()
    whole.ready()
    before = whole.run_file()["pids"]

    for part in ("worker", "engine"):
        os.kill(before[part], signal.SIGKILL)

    assert within(
        10,
        lambda: all(
            whole.run_file()["pids"].get(p) not in (None, before[p]) for p in ("worker", "engine")
        ),
    )
    whole.tell(signal.SIGINT)
    assert whole.process.returncode == 0
    assert "part_died" in whole.ended()[1]


def test_killed_supervisor_takes_its_parts_along_and_the_next_goes_on(
    up: Callable[..., Up],
) -> None:
    first = up()
    first.ready()
    parts = first.run_file()["pids"]
    key = (first.data / "secrets.json").read_text()

    first.tell(signal.SIGKILL)
    second = up()
    second.ready()

    assert [pid for pid in parts.values() if identity(pid)] == []
    assert (second.data / "secrets.json").read_text() == key


def test_folder_of_a_living_up_is_left_alone(up: Callable[..., Up]) -> None:
    first = up()
    first.ready()

    code, line = up().ended()

    assert (code, line.count("\n")) == (3, 1) and "in use" in line
    assert all(identity(pid) for pid in first.run_file()["pids"].values())


def test_start_that_fails_says_why_in_one_line(up: Callable[..., Up], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        failing = {
            f"port {port}": (3, up(port=port)),
            "can't be written": (3, up(tmp_path / "file" / "data")),
            "no such file": (2, up(tmp_path / "other", policy="nothing.yaml")),
            "port is a number": (2, up(tmp_path / "another", port=70000)),
        }
        for reason, (expected, one) in failing.items():
            code, line = one.ended()
            assert (code, line.count("\n")) == (expected, 1), line
            assert reason in line


def test_part_that_never_comes_up_ends_the_start(up: Callable[..., Up]) -> None:
    code, lines = up(kind="broken").ended()

    assert code == 3
    assert "worker.log" in lines.splitlines()[-1]


async def test_only_what_was_noted_is_taken_for_an_orphan() -> None:
    bystander = await asyncio.create_subprocess_exec("sleep", "60", start_new_session=True)
    ours = await asyncio.create_subprocess_exec("sleep", "60", start_new_session=True)
    noted = identity(ours.pid)
    assert noted is not None

    ended = end_stale({"worker": (bystander.pid, noted), "web": (ours.pid, noted)})

    assert ended == ("web",)
    assert await ours.wait() == -signal.SIGKILL
    assert bystander.returncode is None
    bystander.kill()
    await bystander.wait()
