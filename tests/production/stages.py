"""What is done on the production engine: the demo, kills under load, whole reviews, decisions."""

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import httpx
from rich.console import Console

from starter.demo.bureau import accounts, fill
from starter.demo.day import APART, PACK
from starter.demo.outcome import outcome_of
from starter.demo.player import WATCHER, Bureau, play
from starter.demo.stage import Board, counts_of
from starter.demo.stories import stories
from tests.bench.decisions import OpenLoop, quiet
from tests.bench.figures import Figure, ms
from tests.bench.reviews import TOGETHER, _history, _review, _together
from tests.bench.staff import PostgresLook, Staff, set_up
from tests.deploy.parts import (
    Part,
    SideBySide,
    check,
    prepare,
    settings_of,
    side_by_side,
    tokens_in,
)
from tests.faults.drill import Report, _ask_again
from tests.faults.people import Journal, Office
from tests.faults.whole import fill as fill_office
from tests.production.cluster import Cluster, cpu_seconds

KILLED = ("history0", "matching0", "history1", "matching1", "frontend", "worker")
BETWEEN = (1.0, 4.0)  # seconds between two kills
DOWN = 0.5  # seconds until a supervisor starts a part again
WITHIN = timedelta(minutes=5)  # for the demo, on a machine that is busy
PATIENCE = 300.0  # seconds from the last kill until all is published

Say = Callable[[str], None]


class Front(httpx.AsyncHTTPTransport):
    """Sends what is asked of the public name to Caddy, as the name service would."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self._front = httpx.URL(address)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        front = self._front
        request.url = request.url.copy_with(scheme=front.scheme, host=front.host, port=front.port)
        request.headers["Host"] = f"{front.host}:{front.port}"
        return await super().handle_async_request(request)


class Bench:
    """One name for a ledger, a namespace and a folder of their own."""

    def __init__(self, engine: Cluster, folder: Path, name: str) -> None:
        self.engine, self.name, self.folder = engine, name, folder / name
        self.data = self.folder / "data"
        self.data.mkdir(mode=0o700, parents=True)
        self.url = engine.ledger(name)
        engine.make_namespace(name)
        self.given = settings_of(self.data, self.url, engine.address) | {
            "SANSHEN_TEMPORAL_NAMESPACE": name
        }

    @asynccontextmanager
    async def running(self, *, webs: int = 2, workers: int = 2) -> AsyncIterator[SideBySide]:
        async with side_by_side(self.folder, self.given, webs=webs, workers=workers) as side:
            yield side


async def demo(engine: Cluster, folder: Path, say: Say) -> list[Figure]:
    """Play the day of `sanshen demo` on separate processes and the production engine."""
    bench = Bench(engine, folder, "demo")
    bench.given["SANSHEN_POLICY"] = PACK
    await prepare(bench.given, bench.folder)
    await asyncio.to_thread(fill, bench.url, bench.data, with_samples=False)
    told = stories()
    began = time.monotonic()
    async with (
        bench.running() as side,
        httpx.AsyncClient(
            base_url=side.address, transport=Front(side.address), trust_env=False
        ) as client,
    ):
        bureau = Bureau(client, accounts(bench.data))
        with (folder / "demo.log").open("w") as log, Board(told, Console(file=log), "en") as board:
            courses = await play(told, bureau, board, apart=APART, within=WITHIN)
        outcomes = [await outcome_of(course, bureau) for course in courses]
        trail = await bureau.get(WATCHER, "/audit/verify")
    counts = counts_of(outcomes)
    for one in outcomes:
        for what in one.differs:
            say(f"  demo: {one.item}: {what}")
    assert trail["ok"], trail
    return [
        Figure(
            "the demo's stories, on two webs and two workers",
            f"{counts['items'] - counts['astray']} of {counts['items']} as told, "
            f"{counts['published']} published, {time.monotonic() - began:.0f} s",
            "", "all as told",
        )
    ]  # fmt: skip


async def faults(
    engine: Cluster, folder: Path, say: Say, *, seed: int, items: int, kills: int
) -> list[Figure]:
    """Kill the engine's processes under load, start each again, then look for what went wrong."""
    bench = Bench(engine, folder, "faults")
    fill_office(bench.data, url=bench.url)
    await prepare(bench.given, bench.folder)
    tokens = tokens_in(bench.url)
    report = Report(seed)
    journal = Journal(bench.folder / "journal.jsonl")
    async with bench.running() as side:
        office = Office(lambda: side.address, tokens, journal, seed)
        async with asyncio.TaskGroup() as people:
            for job in office.jobs():
                people.create_task(job)
            killing = people.create_task(_kill(engine.parts, seed, kills))
            known: set[str] = set()
            while not killing.done():
                missing = items - len(known - office.published)
                if missing > 0:
                    known |= set(await asyncio.gather(*(office.submit() for _ in range(missing))))
                await asyncio.sleep(0.2)
            healed_at = time.monotonic()
            say(f"  kills done, {len(known - office.published)} of {len(known)} under way")
            while known - office.published and time.monotonic() < healed_at + PATIENCE:
                await asyncio.sleep(0.2)
            recovery = round(time.monotonic() - healed_at, 1)
            office.is_over = True
        await _ask_again(office, journal, report)
        feed = await office.look("chief", "/public/feed.atom")
        office.close()
    conflicting, report = report.conflicting_answers, check(bench.url, bench.data, journal, feed)
    report.seed, report.faults, report.recovery_s = seed, dict(killing.result()), recovery
    report.conflicting_answers = conflicting
    report.unknown_open = len(set(journal.asked) - set(journal.answers))
    journal.close()
    print(report.line(), flush=True)
    assert report.is_clean, "the faults run is not clean"
    return [
        Figure(
            f"{report.kills} kills of {', '.join(report.faults)} under load, seed {seed}",
            f"{report.items} items, {report.published} published once, {report.acked} of "
            f"{report.attempted} decisions taken, {recovery} s to the last",
            "", "nothing lost, doubled, forged, stuck",
        )
    ]  # fmt: skip


async def _kill(parts: dict[str, Part], seed: int, kills: int) -> Counter[str]:
    kinds = [name for name in KILLED if name in parts] or sorted(parts)
    chance = random.Random(f"engine {seed}")
    done: Counter[str] = Counter()
    await asyncio.sleep(2)  # let the first items come in
    for number in range(kills):
        # each in turn, so that a short run hits every kind; then at random
        name = kinds[number] if number < len(kinds) else chance.choice(kinds)
        parts[name].kill()
        done[name] += 1
        await asyncio.sleep(DOWN)
        parts[name].start()
        await asyncio.sleep(chance.uniform(*BETWEEN))
    return done


class Meter:
    """Processor time and commits between two moments."""

    def __init__(self, engine: Cluster, side: SideBySide) -> None:
        self._engine, self._side = engine, side
        self._cpu, self._commits, self._bytes = self._now(), engine.commits(), engine.size()

    def _now(self) -> dict[str, float]:
        parts = {**self._engine.parts, **self._side.parts}
        found: Counter[str] = Counter()
        for name, part in parts.items():
            kind = "engine's " if name in self._engine.parts else ""
            found[kind + name.rstrip("0123456789")] += cpu_seconds(part.pid)
        found["PostgreSQL"] = cpu_seconds(self._engine.postmaster())
        return dict(found)

    def cpu(self, items: int) -> str:
        """Return milliseconds of processor time an item, in all and by kind of process."""
        now = self._now()
        spent = {kind: (now[kind] - self._cpu[kind]) * 1000 / items for kind in now}
        kinds = sorted(spent, key=lambda kind: -spent[kind])
        return f"{sum(spent.values()):.0f} ms: " + ", ".join(f"{k} {spent[k]:.0f}" for k in kinds)

    def commits(self, items: int, ledger: str) -> str:
        now = self._engine.commits()
        each = {
            name: (now[database] - self._commits[database]) / items
            for name, database in (
                ("engine", "temporal"), ("visibility", "temporal_visibility"), ("ledger", ledger),
            )
        }  # fmt: skip
        return ", ".join(f"{name} {count:.0f}" for name, count in each.items())

    def stored(self, items: int) -> str:
        return f"{(self._engine.size() - self._bytes) / 1024 / items:.1f} KiB"


def _body(number: int) -> str:
    """Return a text that is like no other's, so that none is taken for another sent again."""
    chance = random.Random(number)
    words = ("".join(chance.choices("abcdefghijklm", k=6)) for _ in range(40))
    return f"造林绿化进展：{' '.join(words)}。"


async def reviews(engine: Cluster, folder: Path, *, workers: int, items: int) -> list[Figure]:
    """Take items through whole reviews; say how fast, at what cost."""
    bench = Bench(engine, folder, f"reviews{workers}")
    tokens = await asyncio.to_thread(set_up, bench.data, 0, bench.url)
    await prepare(bench.given, bench.folder)
    look = PostgresLook(bench.url)
    async with bench.running(webs=1, workers=workers) as side:
        staff = Staff(side.address, tokens)
        first = await _review(staff, look, 0)
        await quiet(look)
        events, size, activities = await _history(await engine.client(bench.name), first)
        await _together(TOGETHER, lambda n: _review(staff, look, 1 + n, _body(1 + n)))
        await quiet(look)
        meter = Meter(engine, side)
        seconds = await _together(items, lambda n: _review(staff, look, 100 + n, _body(100 + n)))
        await quiet(look)
        cpu, commits, stored = (
            meter.cpu(items),
            meter.commits(items, bench.name),
            meter.stored(items),
        )
        connections = engine.connections()
        staff.close()
    look.close()
    what = f"{workers} worker{'s' if workers > 1 else ''}"
    return [
        Figure(f"whole reviews a second, {TOGETHER} at a time, {what}", f"{items / seconds:.2f}/s"),
        Figure(f"  processor time of one, {what}", cpu),
        Figure(f"  transactions committed for one, {what}", commits),
        Figure(f"  engine's store for one, {what}", stored),
        Figure(
            f"  history of one, publication included, {what}",
            f"{events} events, {size} bytes, {activities} activities",
        ),
        Figure(f"  PostgreSQL connections, {what}", str(connections)),
    ]


async def decisions(
    engine: Cluster, folder: Path, *, workers: int, waiting: int, rate: float, seconds: float
) -> list[Figure]:
    """Send decisions at a fixed rate, timed from the moment they were due."""
    bench = Bench(engine, folder, f"decisions{workers}")
    tokens = await asyncio.to_thread(set_up, bench.data, waiting, bench.url)
    await prepare(bench.given, bench.folder)
    look = PostgresLook(bench.url)
    async with bench.running(webs=1, workers=workers) as side:
        settled = await quiet(look)
        loop = OpenLoop(Staff(side.address, tokens), look)
        meter = Meter(engine, side)
        await loop.run(rate, seconds)
        await quiet(look)
        cpu = meter.cpu(len(loop.answers))
        loop.staff.close()
    look.close()
    what = f"{workers} worker{'s' if workers > 1 else ''}"
    return [
        Figure(
            f"decision, {rate:g}/s by 20 people, {waiting} waiting, {what}", ms(loop.answers),
            "", "p50 15 ms, p99 80 ms",
        ),
        Figure(f"  from answer to next inbox, {what}", ms(loop.nexts), "", "p50 60 ms"),
        Figure(f"  requests without an answer, or refused, {what}", str(loop.failed), "", "0"),
        Figure(f"  processor time of one, {what}", cpu),
        Figure(f"  {waiting} submissions from ledger to open step, {what}", f"{settled:.0f} s"),
    ]  # fmt: skip


def machine() -> str:
    return f"{len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.2f}"
