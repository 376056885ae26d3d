"""Load: people who decide all at once, submissions, reminders while many wait, a lost worker."""

import asyncio
import itertools
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ruamel.yaml import YAML

from review.acts.adopting import adopt_policy
from review.packs import builtin_pack, load_pack
from review.records.engine import Ledger
from tests.bench.decisions import quiet, rss
from tests.bench.figures import Figure, ms, share
from tests.bench.staff import AUTHORS, UNITS, Look, Staff, set_up
from tests.examples import CHECKLIST
from tests.faults.whole import Tree

PEOPLE = (1, 20, 100)
EACH = {1: 60, 20: 12, 100: 4}  # decisions of one person
SUBMISSIONS, AT_ONCE = 200, 8
REMINDED, LIMIT = 60, 60  # emergencies that nobody decides, and their first step's seconds
EVERY = 1.0  # seconds between two of them
LOST = 20  # items that are decided while the worker is away
MOST = 100  # heads a unit, so that everybody decides as somebody else
HEADS = {
    f"{unit}_crowd{number}": (unit, "unit_head", unit)
    for number, unit in zip(range(MOST), itertools.cycle(UNITS), strict=False)
}


async def bench(folder: Path, *, waiting: int = 1000) -> list[Figure]:
    """Measure one whole with so many submissions waiting, one kind of load after the other."""
    data = folder / "load"
    tokens = set_up(data, waiting, more=HEADS)
    _hurry_emergencies(data, folder)
    with Tree(data) as tree:
        await asyncio.to_thread(tree.start)
        look = Look(data)
        staff = Staff(tree.url, tokens)
        settled = await quiet(look, within_seconds=3600)
        memory = rss(tree, "worker")
        figures = [
            Figure(f"{waiting} submissions from ledger to open step", f"{settled:.0f} s"),
            Figure("worker's memory then", f"{memory:.0f} MiB"),
            await reminders(staff, look, waiting),
            await lost_worker(tree, staff, look),
        ]
        for people in PEOPLE:
            figures.append(await crowd(staff, look, people))
            await quiet(look)
        figures += await submissions(staff, look)
        staff.close()
        look.close()
    return figures


def _hurry_emergencies(data: Path, folder: Path) -> None:
    """Adopt the shipped rules with a minute for an emergency's first step."""
    yaml = YAML()
    pack = yaml.load(builtin_pack("hebei-lcj-2022-35").read_text(encoding="utf-8"))
    pack["steps"]["emergency"][0]["limit"] = f"{LIMIT}s"
    pack["version"] = "load"
    file = folder / "load.yaml"
    with file.open("w", encoding="utf-8") as out:
        yaml.dump(pack, out)
    ledger = Ledger(f"sqlite:///{data / 'ledger.db'}")
    ledger.write(adopt_policy, load_pack(file), datetime.now(UTC))
    ledger.close()


def _waiting(look: Look) -> Iterator[tuple[str, str, str]]:
    """Return id, digest and unit of items whose unit's head is asked."""
    return iter(
        look.rows(
            "SELECT s.id, s.digest, s.unit_id FROM submission s JOIN step p"
            " ON p.submission_id = s.id WHERE p.state = 'open' AND p.key = 'unit_review'"
            " AND s.category = 'work_news' ORDER BY s.id"
        )
    )


async def _approve(staff: Staff, head: str, item: str, digest: str) -> None:
    body = {
        "step": "unit_review", "verdict": "approve", "digest": digest, "checklist": CHECKLIST,
    }  # fmt: skip
    path = f"/api/v1/submissions/{item}/decisions"
    await staff.call(head, "POST", path, body, f"{item}.unit_review")


async def crowd(staff: Staff, look: Look, people: int) -> Figure:
    """Let so many people decide at once, each their next item as soon as the last is answered."""
    waiting: dict[str, list[tuple[str, str]]] = {unit: [] for unit in UNITS}
    for item, digest, unit in _waiting(look):
        waiting[unit].append((item, digest))
    answers: list[float] = []

    async def one(head: str) -> None:
        unit = HEADS[head][0]
        for _ in range(EACH[people]):
            item, digest = waiting[unit].pop()
            began = time.perf_counter()
            await _approve(staff, head, item, digest)
            answers.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(one(head) for head in itertools.islice(HEADS, people)))
    rate = len(answers) / (time.perf_counter() - began)
    return Figure(
        f"decision, {people} at once without a pause", f"{ms(answers)}, {rate:.1f}/s",
        numbers={"of": "decisions", "x": people, "p50": share(answers, 0.5) * 1000,
                 "p99": share(answers, 0.99) * 1000, "rate": rate},
    )  # fmt: skip


async def submissions(staff: Staff, look: Look) -> list[Figure]:
    """Submit, some at a time; tell how long an answer takes and how long until all are asked."""
    answers: list[float] = []
    numbers = iter(range(SUBMISSIONS))

    async def one() -> None:
        for number in numbers:
            unit = UNITS[number % len(UNITS)]
            draft = {
                "title": f"第{number}批林木种苗抽检情况",
                "body": f"林木种苗质量抽检工作启动，本批编号{number * 7919}。" * 8,
                "category": "work_news", "kind": "disclosure", "source": {"type": "own"},
                "channels": ["site"], "secrecy_pledge": True, "proofread": True,
            }  # fmt: skip
            began = time.perf_counter()
            await staff.call(AUTHORS[unit], "POST", "/api/v1/submissions", draft)
            answers.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(AT_ONCE)))
    taken = time.perf_counter() - began
    await quiet(look)
    asked = time.perf_counter() - began
    return [
        Figure(
            f"submission, {AT_ONCE} at once without a pause",
            f"{ms(answers)}, {len(answers) / taken:.1f}/s answered, "
            f"{len(answers) / asked:.1f}/s with their head asked",
            numbers={"of": "submissions", "x": AT_ONCE, "rate": len(answers) / taken},
        )
    ]


async def reminders(staff: Staff, look: Look, waiting: int) -> Figure:
    """Submit emergencies that nobody decides; tell how late silence had its consequences."""
    for number in range(REMINDED):
        due = asyncio.get_running_loop().time() + EVERY
        now = datetime.now(UTC)
        await staff.call(
            "fire_info", "POST", "/api/v1/submissions",
            {
                "title": f"第{number}号火情处置情况", "body": f"火情已处置，编号{number * 7919}。",
                "category": "emergency", "level": "major", "kind": "disclosure",
                "event_time": now.isoformat(), "found_time": now.isoformat(),
                "source": {"type": "own"}, "channels": ["site"],
                "secrecy_pledge": True, "proofread": True,
            },
        )  # fmt: skip
        await asyncio.sleep(max(0, due - asyncio.get_running_loop().time()))
    await asyncio.sleep(LIMIT * 1.3)
    await quiet(look)
    rows = look.rows(
        "SELECT m.at, m.fired_at FROM milestone m JOIN step p ON p.id = m.step_id"
        " WHERE p.key = 'unit_review' AND NOT m.dropped AND m.fired_at IS NOT NULL"
        " AND m.submission_id IN (SELECT id FROM submission WHERE category = 'emergency')"
    )
    late = [(_moment(fired) - _moment(at)) / timedelta(seconds=1) for at, fired in rows]
    return Figure(
        f"lateness of reminders and escalations, {waiting} waiting", ms(late),
        numbers={"of": "reminders", "x": waiting, "p50": share(late, 0.5) * 1000,
                 "p99": share(late, 0.99) * 1000},
    )  # fmt: skip


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


async def lost_worker(tree: Tree, staff: Staff, look: Look) -> Figure:
    """Kill the worker, decide meanwhile; tell when every next step was open."""
    heads = {
        unit: itertools.cycle([head for head, (of, _, _) in HEADS.items() if of == unit])
        for unit in UNITS
    }
    chosen = list(itertools.islice(_waiting(look), LOST))
    began = time.perf_counter()
    tree.kill("worker")
    for item, digest, unit in chosen:
        await _approve(staff, next(heads[unit]), item, digest)
    answered = time.perf_counter() - began
    left = {item for item, _, _ in chosen}
    while left:
        left = {item for item in left if look.open_step(item) != "edit_proof2"}
        await asyncio.sleep(0.02)
        if time.perf_counter() - began > 300:
            raise RuntimeError("the worker did not come back")
    back = time.perf_counter() - began
    return Figure(
        f"worker killed, {LOST} items decided meanwhile",
        f"answered in {answered:.1f} s, all further after {back:.1f} s",
        numbers={"of": "recovery", "x": LOST, "seconds": back},
    )
