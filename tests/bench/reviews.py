"""Whole reviews a second against the bare workflow on the same engine; events and bytes of one."""

import asyncio
import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

from temporalio.client import Client

from tests.bench.bare import TASK_QUEUE, Bare
from tests.bench.decisions import median, quiet
from tests.bench.figures import Figure
from tests.bench.staff import AUTHORS, STEPS, UNITS, Look, Staff, set_up
from tests.faults.whole import REPOSITORY, Tree

TOGETHER = 12  # items under way at a time
WAIT = 0.01  # seconds between two looks whether an item is further


async def bench(folder: Path, *, items: int = 60, rounds: int = 3) -> list[Figure]:
    """Run rounds of whole reviews and of bare workflows in turn; quote the medians.

    A whole review is: submit over HTTP, five decisions over HTTP by five people, published on the
    site and its status settled. The bare one gets five signals and writes as many rows as the
    whole runs activities. Both are driven alike: the next message goes out once the last one has
    had its effect on disk.
    """
    data = folder / "reviews"
    tokens = set_up(data, 0)
    with Tree(data) as tree:
        await asyncio.to_thread(tree.start)
        look = Look(data)
        staff = Staff(tree.url, tokens)
        port = json.loads((data / "run.json").read_text(encoding="utf-8"))["engine_port"]
        client = await Client.connect(f"127.0.0.1:{port}")
        first = await _review(staff, look, 0)
        await quiet(look)
        events, size, activities = await _history(client, first)
        bare_db = folder / "bare.db"
        with subprocess.Popen(
            [sys.executable, "-m", "tests.bench.bare", f"127.0.0.1:{port}", str(bare_db)],
            cwd=REPOSITORY,
        ) as worker:
            try:
                await asyncio.sleep(3)
                bare = Bares(client, bare_db, activities)
                await _together(4, lambda n: bare.one(f"bare-warm-{n}"))
                await _together(4, lambda n: _review(staff, look, n))
                ours, theirs = [], []
                for number in range(rounds):
                    theirs.append(
                        items
                        / await _together(items, lambda n, r=number: bare.one(f"bare-{r}-{n}"))
                    )
                    ours.append(items / await _together(items, lambda n: _review(staff, look, n)))
                    await quiet(look)
            finally:
                worker.terminate()
        staff.close()
        look.close()
    part = [o / t for o, t in zip(ours, theirs, strict=True)]
    return [
        Figure(
            f"whole reviews a second, {TOGETHER} at a time",
            f"{median(ours):.2f}/s (rounds {', '.join(f'{o:.2f}' for o in ours)})",
            f"bare workflow, {activities} fsynced rows: {median(theirs):.2f}/s "
            f"(rounds {', '.join(f'{t:.2f}' for t in theirs)})",
        ),
        Figure("… as a part of the bare workflow", f"{median(part):.0%}", "", "60%"),
        Figure(
            "history of a review, publication included",
            f"{events} events, {size} bytes, {activities} activities",
        ),
    ]  # fmt: skip


async def _together(items: int, one: Callable[[int], Awaitable[object]]) -> float:
    """Run items, a few at a time; return the seconds that all of them took."""
    gate = asyncio.Semaphore(TOGETHER)

    async def gated(number: int) -> None:
        async with gate:
            await one(number)

    began = time.perf_counter()
    await asyncio.gather(*(gated(number) for number in range(items)))
    return time.perf_counter() - began


async def _review(staff: Staff, look: Look, number: int, body: str = "") -> str:
    """Take one item from its submission to its publication; returns its id."""
    unit = UNITS[number % len(UNITS)]
    taken = await staff.call(
        AUTHORS[unit], "POST", "/api/v1/submissions",
        {
            "title": f"第{number}期造林绿化工作动态",
            "body": body or f"今年以来，造林绿化进展顺利，第{number}期。" * 8,
            "category": "work_news", "kind": "disclosure", "source": {"type": "own"},
            "channels": ["site"], "secrecy_pledge": True, "proofread": True,
        },
    )  # fmt: skip
    item: str = taken["id"]
    for step in STEPS:
        while look.open_step(item) != step:
            await asyncio.sleep(WAIT)
        await staff.approve(item, taken["digest"], step, unit)
    while look.status(item) != "published":
        await asyncio.sleep(WAIT)
    return item


async def _history(client: Client, item: str) -> tuple[int, int, int]:
    """Return events, bytes and activities of an item's workflows."""
    events = size = activities = 0
    for name in (f"submission-{item}", f"publication-{item}-site-1"):
        handle = client.get_workflow_handle(name)
        described = await handle.describe()
        events += described.history_length
        size += described.raw_description.workflow_execution_info.history_size_bytes
        async for event in handle.fetch_history_events():
            activities += event.HasField("activity_task_scheduled_event_attributes")
    return events, size, activities


class Bares:
    """Drives bare workflows as people drive reviews: a signal when the last row is on disk."""

    def __init__(self, client: Client, path: Path, activities: int) -> None:
        self._client = client
        self._db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        self._activities = activities

    async def one(self, name: str) -> None:
        handle = await self._client.start_workflow(
            Bare.run,
            args=[len(STEPS), self._activities],
            id=name,
            task_queue=TASK_QUEUE,
            execution_timeout=timedelta(minutes=5),
        )
        for number in range(len(STEPS)):
            await self._written(name, number + 1)
            await handle.signal(Bare.decided)
        await self._written(name, self._activities)

    async def _written(self, name: str, rows: int) -> None:
        counting = "SELECT count(*) FROM row WHERE id=?"
        while self._db.execute(counting, (name,)).fetchone()[0] < rows:
            await asyncio.sleep(WAIT)
