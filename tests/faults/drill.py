"""One drill: sixty and more items under way, kills at random from a seed, then the checks."""

import asyncio
import json
import random
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from sqlmodel import Session, select

from review.acts.entitlement import was_entitled
from review.acts.item import Item
from review.records import audit
from review.records.engine import Ledger
from review.records.tables import Decision, Publication, Submission, Version
from review.rules.values import PublicationState, Status
from tests.faults.people import Journal, Office
from tests.faults.whole import PARTS, Tree, fill

ATOM = "{http://www.w3.org/2005/Atom}"
# A part that died is started again after 0.5 s, then 1, 2, 4 …; the tree's death resets that, so
# every eighth blow or so is the tree's.
TREE_SHARE = 0.12
BETWEEN = (0.1, 1.2)  # seconds between two blows


@dataclass
class Report:
    """What a drill came to; every number but the first five and the last must be zero or all."""

    seed: int
    faults: dict[str, int] = field(default_factory=dict)
    items: int = 0
    attempted: int = 0
    acked: int = 0
    acked_lost: int = 0
    phantom: int = 0
    duplicates: int = 0
    conflicting_answers: int = 0
    published: int = 0
    double_published: int = 0
    unauthorised: int = 0
    unknown_open: int = 0
    stuck: int = 0
    audit_verify: str = ""
    recovery_s: float = 0.0

    @property
    def kills(self) -> int:
        return sum(self.faults.values())

    @property
    def is_clean(self) -> bool:
        return (
            self.published == self.items
            and self.audit_verify == "ok"
            and not any(
                (
                    self.acked_lost, self.phantom, self.duplicates, self.conflicting_answers,
                    self.double_published, self.unauthorised, self.unknown_open, self.stuck,
                )
            )
        )  # fmt: skip

    def line(self) -> str:
        return json.dumps(asdict(self))


async def drill(
    folder: Path, *, seed: int, items: int = 60, kills: int = 20, patience_seconds: float = 120
) -> Report:
    """Run one drill in a folder of its own.

    Args:
        items: How many unfinished items are kept under way until the last kill.
        kills: How many processes are killed; a tree counts once.
        patience_seconds: How long after the last kill everything may take to be published.
    """
    report = Report(seed)
    data = folder / "data"
    tokens = fill(data)
    journal = Journal(folder / "journal.jsonl")
    with Tree(data) as tree:
        await asyncio.to_thread(tree.start)
        office = Office(lambda: tree.url, tokens, journal, seed)
        async with asyncio.TaskGroup() as people:
            for job in office.jobs():
                people.create_task(job)
            killing = people.create_task(_kill(tree, random.Random(f"kills {seed}"), kills, report))
            known: set[str] = set()
            while not killing.done():
                missing = items - len(known - office.published)
                if missing > 0:
                    known |= set(await asyncio.gather(*(office.submit() for _ in range(missing))))
                await asyncio.sleep(0.2)
            healed_at = time.monotonic()
            while known - office.published and time.monotonic() < healed_at + patience_seconds:
                await asyncio.sleep(0.1)
            report.recovery_s = round(time.monotonic() - healed_at, 1)
            office.is_over = True
        await _ask_again(office, journal, report)
        feed = await office.look("chief", "/public/feed.atom")
        office.close()
    report.unknown_open = len(set(journal.asked) - set(journal.answers))
    journal.close()
    _check_ledger(data, journal, report)
    _check_site(data, feed, report)
    return report


async def _kill(tree: Tree, chance: random.Random, kills: int, report: Report) -> None:
    """Kill until it is enough, then see that everything is up again."""
    done: Counter[str] = Counter()
    await asyncio.sleep(2)  # let the first items come in
    while sum(done.values()) < kills:
        await asyncio.sleep(chance.uniform(*BETWEEN))
        if chance.random() < TREE_SHARE:
            done["tree"] += tree.kill("tree")
            await asyncio.to_thread(tree.start)
            continue
        for part in chance.sample(PARTS, chance.choice((1, 1, 2, 3))):
            done[part] += tree.kill(part)  # none that is down already
    report.faults = dict(sorted(done.items()))
    while any(tree.pid(part) is None for part in PARTS):
        await asyncio.sleep(0.1)


async def _ask_again(office: Office, journal: Journal, report: Report) -> None:
    """Send every request once more: a repeat must be given the first answer."""
    gate = asyncio.Semaphore(8)

    async def again(key: str) -> None:
        first = journal.answers[key][0]
        if first[0] < 300:
            async with gate:
                status, answer = await office.resend(key)
            if (status, _told(answer)) != (first[0], _told(first[1])):
                report.conflicting_answers += 1

    await asyncio.gather(*(again(key) for key in list(journal.asked)))


def _told(answer: dict[str, Any]) -> dict[str, Any]:
    """Return what an answer says of the ledger; `delivered` speaks of the engine, now."""
    return {name: value for name, value in answer.items() if name != "delivered"}


def _check_ledger(data: Path, journal: Journal, report: Report) -> None:
    ledger = Ledger(f"sqlite:///{data / 'ledger.db'}")
    with ledger.reading() as session:
        _check_decisions(session, journal, report)
        _check_items(session, journal, report)
        verified = audit.verify(session)
    ledger.close()
    report.audit_verify = "ok" if verified["ok"] else str(verified["first_bad"])


def _check_decisions(session: Session, journal: Journal, report: Report) -> None:
    """Every acknowledged decision once, none that nobody asked for, none by the wrong person."""
    decisions = {d.id: d for d in session.exec(select(Decision))}
    attempted, acked = journal.of("decide"), journal.acknowledged("decide")
    report.attempted, report.acked = len(attempted), len(acked)
    for key in acked:
        kept = decisions.get(key)
        asked = journal.asked[key]
        if kept is None or (kept.person_id, kept.verdict, kept.digest) != (
            asked["who"], asked["body"]["verdict"], asked["body"]["digest"],
        ):  # fmt: skip
            report.acked_lost += 1
    # Every attempt has a final answer by now, so what is kept and not acknowledged is a phantom.
    report.phantom = len(set(decisions) - set(acked))
    closing = Counter(d.closes_step_id for d in decisions.values() if d.closes_step_id)
    report.duplicates = sum(count - 1 for count in closing.values())
    report.unauthorised = len(journal.acknowledged("rogue"))
    for row in session.exec(select(Submission)):
        item = Item(session, row)
        report.unauthorised += sum(not was_entitled(session, item, d) for d in item.decisions)
        people = [d.person_id for d in item.decisions if d.lapsed_at is None and d.tier]
        report.unauthorised += len(people) - len(set(people)) + (row.author_id in people)


def _check_items(session: Session, journal: Journal, report: Report) -> None:
    """Every acknowledged submission and answer once, every item published once, by its claim."""
    rows = {row.id: row for row in session.exec(select(Submission))}
    submitted = [answer["id"] for answer in journal.acknowledged("submit").values()]
    report.items = len(rows)
    report.acked_lost += len(set(submitted) - set(rows))
    report.duplicates += len(submitted) - len(set(submitted))
    report.phantom += len(set(rows) - set(submitted))
    versions = Counter(version.submission_id for version in session.exec(select(Version)))
    wanted = Counter(submitted)
    wanted.update(key.partition(".")[0] for key in journal.acknowledged("answer"))
    report.acked_lost += sum((wanted - versions).values())
    report.phantom += sum((versions - wanted).values())
    report.published = sum(row.status == Status.PUBLISHED for row in rows.values())
    report.stuck = len(rows) - report.published
    claims = Counter((p.submission_id, p.channel) for p in session.exec(select(Publication)))
    report.double_published += sum(count - 1 for count in claims.values())
    live = [p for p in session.exec(select(Publication)) if p.state == PublicationState.LIVE]
    report.stuck += sum(len(row.channels) for row in rows.values()) - len(live)
    report.unauthorised += sum(p.digest != rows[p.submission_id].digest for p in live)


def _check_site(data: Path, feed: Any, report: Report) -> None:
    """Manifest, page and feed hold each published item once."""
    manifests = [
        json.loads(path.read_text(encoding="utf-8"))
        for path in (data / "site" / "items").glob("*.json")
    ]
    seen = Counter(one["submission_id"] for one in manifests if one["state"] == "live")
    report.double_published += sum(count - 1 for count in seen.values())
    report.double_published += sum(one["generation"] != 1 for one in manifests)
    report.stuck += abs(report.published - len(seen))
    pages = {path.stem for path in (data / "site" / "item").glob("*.html")}
    report.stuck += len(pages ^ {one["number"] for one in manifests})
    entries = Counter(
        entry.findtext(f"{ATOM}id") for entry in ElementTree.fromstring(feed).iter(f"{ATOM}entry")
    )
    report.double_published += sum(count - 1 for count in entries.values())
    report.stuck += abs(min(report.published, 200) - len(entries))  # a feed holds the latest 200
