"""Decisions in an open loop while thousands wait: how long until the answer and the next inbox."""

import asyncio
import statistics
import time
from collections import deque
from pathlib import Path

import psutil

from tests.bench.figures import Figure, fsync_floor, ms
from tests.bench.staff import STEPS, Look, Staff, set_up
from tests.faults.whole import Tree

CACHED = 1000  # workflows that the worker keeps; the rest cost it nothing
CHECK_EVERY = 0.002  # seconds between two looks whether the next step is open


def rss(tree: Tree, part: str) -> float:
    """Return a part's resident memory in MiB."""
    pid = tree.pid(part)
    assert pid is not None, f"{part} is not running"
    return float(psutil.Process(pid).memory_info().rss) / 2**20


async def quiet(look: Look, within_seconds: float = 600) -> float:
    """Wait until nothing is owed; return how long that took."""
    began = time.monotonic()
    while not look.is_quiet():
        if time.monotonic() - began > within_seconds:
            raise RuntimeError("the whole does not come to rest")
        await asyncio.sleep(0.2)
    return time.monotonic() - began


async def bench(
    folder: Path, *, waiting: int = 2000, rate: float = 10, seconds: float = 60
) -> list[Figure]:
    """Measure requests at a fixed rate, timed from the moment they were due.

    An open loop: a slow answer makes nobody wait, so a stall shows in every request it hits.
    """
    empty = folder / "empty"
    empty.mkdir()
    with Tree(empty) as tree:
        await asyncio.to_thread(tree.start)
        await asyncio.sleep(2)
        base = rss(tree, "worker")
    data = folder / "data"
    tokens = set_up(data, waiting)
    with Tree(data) as tree:
        await asyncio.to_thread(tree.start)
        look = Look(data)
        settled = await quiet(look)
        await asyncio.sleep(3)
        full = rss(tree, "worker")
        loop = OpenLoop(Staff(tree.url, tokens), look)
        bare_http = await loop.pings(rate, 10)
        floor = fsync_floor(folder)
        await loop.run(rate, seconds)
        loop.staff.close()
        look.close()
    cached = min(waiting, CACHED)
    inbox = "a GET of that inbox alone: " + ms(loop.inboxes)
    return [
        Figure(
            f"decision, {rate:g}/s by 20 people, {waiting} waiting", ms(loop.answers),
            f"fsynced row: {ms(floor)}; GET /healthz: {ms(bare_http)}", "p50 15 ms, p99 80 ms",
        ),
        Figure("from answer to next inbox", ms(loop.nexts), inbox, "p50 60 ms"),
        Figure(
            "answers over 80 ms", f"{sum(a > 0.08 for a in loop.answers)} of {len(loop.answers)}"
        ),
        Figure("requests without an answer, or refused (503 …)", str(loop.failed), "", "0"),
        Figure(
            "worker's memory a waiting submission",
            f"{(full - base) * 1024 / cached:.0f} KiB each of {cached} cached "
            f"({base:.0f} to {full:.0f} MiB with {waiting} waiting)", "", "110 KiB",
        ),
        Figure(f"{waiting} submissions from ledger to open step", f"{settled:.0f} s"),
    ]  # fmt: skip


class OpenLoop:
    """Sends decisions when they are due and follows each item to its next step."""

    def __init__(self, staff: Staff, look: Look) -> None:
        self.staff = staff
        self._look = look
        self._ready: deque[tuple[str, str, str, str]] = deque()  # id, digest, step, unit
        self.answers: list[float] = []
        self.nexts: list[float] = []
        self.inboxes: list[float] = []
        self.failed = 0
        self._count = 0

    async def pings(self, rate: float, seconds: float) -> list[float]:
        """Time requests that do nothing, at the same rate."""
        taken = []
        for _ in range(int(rate * seconds)):
            began = time.perf_counter()
            await self.staff.call("chief", "GET", "/healthz")
            taken.append(time.perf_counter() - began)
            await asyncio.sleep(1 / rate)
        return taken

    async def run(self, rate: float, seconds: float) -> None:
        fresh = deque(
            self._look.rows(
                "SELECT s.id, s.digest, p.key, s.unit_id FROM submission s JOIN step p"
                " ON p.submission_id = s.id WHERE p.state = 'open' ORDER BY s.id"
            )
        )
        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for number in range(int(rate * seconds)):
                due = began + number / rate
                await asyncio.sleep(max(0, due - time.perf_counter()))
                task = (self._ready or fresh).popleft()
                group.create_task(self._decide(due, *task))

    async def _decide(self, due: float, item: str, digest: str, step: str, unit: str) -> None:
        try:
            await self.staff.approve(item, digest, step, unit)
        except (OSError, RuntimeError):
            self.failed += 1  # an overloaded whole says so; the loop goes on
            return
        answered = time.perf_counter()
        self.answers.append(answered - due)
        if step == STEPS[-1]:
            return
        following = STEPS[STEPS.index(step) + 1]
        while self._look.open_step(item) != following:
            await asyncio.sleep(CHECK_EVERY)
        self._count += 1
        if self._count % 2:  # every other one is looked at through its reviewer's inbox
            asked = time.perf_counter()
            path = "/api/v1/inbox?limit=200"
            box = await self.staff.call(self.staff.decider(following, unit), "GET", path)
            assert any(entry["id"] == item for entry in box["items"]), "not in the inbox"
            self.inboxes.append(time.perf_counter() - asked)
            self.nexts.append(time.perf_counter() - answered)
        self._ready.append((item, digest, following, unit))


def median(values: list[float]) -> float:
    return statistics.median(values)
