"""The whole bureau as real processes, clients that write down what they were told, and a killer."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from sqlmodel import col, select

from review.records import audit
from review.records.access import issue_token
from review.records.engine import Ledger
from review.records.tables import Decision, Publication, Submission
from tests.examples import CHECKLIST, PEOPLE, a_draft, office

STEPS = {  # who decides which step of work news in turn
    "unit_review": "afforest_head",
    "edit_proof2": "editor_a",
    "second_review": "deputy_b",
    "final_review": "chief",
    "proof3_publish": "publisher_a",
}
READY_WITHIN = 60.0
PATIENCE = 90.0  # seconds for everything to end once the faults have stopped


class Bureau:
    """`sanshen up` on a folder, killed and started again."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.process: subprocess.Popen[bytes] | None = None
        self.tokens: dict[str, str] = {}
        self.port = 0

    def start(self) -> None:
        """Start it and wait until it answers; the port stays the same over restarts."""
        command = [
            *(sys.executable, "-m", "starter.cli", "up", "--data", str(self.data)),
            *("--port", str(self.port), "--engine-port", "0"),
        ]
        with (self.data.parent / "up.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)
        ends = time.monotonic() + READY_WITHIN
        while time.monotonic() < ends:
            if self.process.poll() is not None:
                raise RuntimeError((self.data.parent / "up.log").read_text())
            if self.run().get("ready") and self._answers():
                self.port = self.run()["web_port"]
                return
            time.sleep(0.1)
        raise TimeoutError("the bureau did not get ready")

    def _answers(self) -> bool:
        try:
            return httpx.get(self.run()["url"] + "/readyz", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def run(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads((self.data / "run.json").read_text())
        except (OSError, ValueError):
            return {}
        return found

    def ledger(self) -> Ledger:
        return Ledger(f"sqlite:///{self.data / 'ledger.db'}")

    def people(self) -> None:
        """Fill the roster and issue a token to everybody."""
        ledger = self.ledger()
        now = datetime.now(UTC)
        ledger.write(lambda s: office(s, now))
        self.tokens = ledger.write(lambda s: {p: issue_token(s, p, "t", now) for p in PEOPLE})
        ledger.close()

    def kill(self, part: str) -> None:
        """SIGKILL one part, or everything at once; the supervisor or we start it again."""
        if part == "all":
            assert self.process is not None
            self.process.kill()
            self.process.wait()
            self.start()
            return
        pid = self.run().get("pids", {}).get(part)
        if pid:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                return

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Diary:
    """What clients asked and were told, on disk before they go on."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.attempted: set[str] = set()
        self.acked: dict[str, str] = {}
        self.conflicting = 0

    def ask(self, key: str) -> None:
        self.attempted.add(key)
        self._write({"ask": key})

    def told(self, key: str, answer: str) -> None:
        if self.acked.setdefault(key, answer) != answer:
            self.conflicting += 1
        self._write({"told": key, "answer": answer})

    def _write(self, line: dict[str, Any]) -> None:
        os.write(self._file, json.dumps(line).encode() + b"\n")
        os.fsync(self._file)

    def close(self) -> None:
        os.close(self._file)


async def _insist(
    client: httpx.AsyncClient, diary: Diary, key: str, url: str, who: str, body: dict[str, Any]
) -> dict[str, Any] | None:
    """Ask with one key until there is an answer; None when a rule refused it."""
    diary.ask(key)
    while True:
        try:
            answer = await client.post(
                url, json=body, headers={"Authorization": f"Bearer {who}", "Idempotency-Key": key}
            )
        except httpx.HTTPError:
            await asyncio.sleep(0.2)
            continue
        if answer.status_code in (429, 502, 503):
            await asyncio.sleep(0.2)
            continue
        if answer.status_code >= 500:
            raise AssertionError(f"{answer.status_code} {answer.text}")
        if answer.status_code >= 400:
            return None
        found: dict[str, Any] = answer.json()
        diary.told(key, str(found.get("decision_id") or found.get("id")))
        return found


async def _one_item(client: httpx.AsyncClient, bureau: Bureau, diary: Diary, number: int) -> str:
    """Take one item from submission to the third proof; return its id."""
    draft = a_draft(title=f"全省造林绿化现场推进会召开第{number}期")
    body = draft.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    body |= {"secrecy_pledge": True, "proofread": True}
    item = None
    while item is None:
        item = await _insist(
            client, diary, f"submit-{number}", "/api/v1/submissions",
            bureau.tokens["afforest_info"], body,
        )  # fmt: skip
    for step, person in STEPS.items():
        fields = {"step": step, "verdict": "approve", "digest": item["digest"]}
        if step == "unit_review":
            fields["checklist"] = CHECKLIST
        taken = None
        while taken is None:  # refused until the step is open
            taken = await _insist(
                client, diary, f"{step}-{number}", f"/api/v1/submissions/{item['id']}/decisions",
                bureau.tokens[person], fields,
            )  # fmt: skip
            if taken is None:
                await asyncio.sleep(0.3)
        await _insist(  # a nervous finger: the same again
            client, diary, f"{step}-{number}", f"/api/v1/submissions/{item['id']}/decisions",
            bureau.tokens[person], fields,
        )  # fmt: skip
    return str(item["id"])


async def _killer(
    bureau: Bureau, rng: random.Random, kills: int, done: asyncio.Event
) -> Counter[str]:
    hit: Counter[str] = Counter()
    while sum(hit.values()) < kills and not done.is_set():
        await asyncio.sleep(rng.uniform(0.4, 1.6))
        part = rng.choices(["worker", "web", "engine", "all"], [4, 3, 3, 1])[0]
        await asyncio.to_thread(bureau.kill, part)
        hit[part] += 1
    return hit


async def drill(folder: Path, *, seed: int, items: int, kills: int) -> dict[str, Any]:
    """Run items through while parts are killed; heal; return what the ledger and site then say."""
    rng = random.Random(seed)
    data = folder / "data"
    bureau = Bureau(data)
    try:
        await asyncio.to_thread(bureau.start)
        bureau.people()
        diary = Diary(folder / "diary.jsonl")
        limits = httpx.Limits(max_connections=20)
        async with httpx.AsyncClient(
            base_url=bureau.run()["url"], timeout=5, limits=limits
        ) as client:
            done = asyncio.Event()
            killing = asyncio.create_task(_killer(bureau, rng, kills, done))
            at_once = asyncio.Semaphore(10)

            async def limited(number: int) -> str:
                async with at_once:
                    return await _one_item(client, bureau, diary, number)

            ids = await asyncio.gather(*(limited(number) for number in range(items)))
            done.set()
            hit = await killing
        healed = time.monotonic()
        diary.close()
        open_items = await _all_ended(bureau, ids)
        recovery = time.monotonic() - healed
        return _verdict(bureau, diary, ids, open_items, seed, hit) | {
            "recovery_s": round(recovery, 1)
        }
    finally:
        await asyncio.to_thread(bureau.stop)


async def _all_ended(bureau: Bureau, ids: list[str]) -> int:
    ends = time.monotonic() + PATIENCE
    while True:
        ledger = bureau.ledger()
        with ledger.reading() as session:
            left = session.exec(
                select(Submission.id)
                .where(col(Submission.id).in_(ids))
                .where(Submission.status != "published")
            ).all()
        ledger.close()
        if not left or time.monotonic() > ends:
            return len(left)
        await asyncio.sleep(0.5)


def _verdict(
    bureau: Bureau, diary: Diary, ids: list[str], stuck: int, seed: int, hit: Counter[str]
) -> dict[str, Any]:
    ledger = bureau.ledger()
    with ledger.reading() as session:
        decisions = {d.id: d for d in session.exec(select(Decision))}
        publications = Counter(
            (p.submission_id, p.channel)
            for p in session.exec(select(Publication).where(Publication.state == "live"))
        )
        rows = {row.id: row for row in session.exec(select(Submission))}
        trace = audit.verify(session)
    ledger.close()
    manifests = [json.loads(p.read_text()) for p in (bureau.data / "site" / "items").glob("*.json")]
    on_site = Counter(m["number"] for m in manifests)
    asked = {key for key in diary.acked if not key.startswith("submit-")}
    closing = Counter((d.submission_id, d.key, d.round) for d in decisions.values())
    return {
        "seed": seed,
        "faults": dict(hit),
        "items": len(ids),
        "attempted": len(diary.attempted),
        "acked": len(diary.acked),
        "acked_lost": len(asked - set(decisions)) + len(set(ids) - set(rows)),
        "phantom": len(set(decisions) - diary.attempted) + len(set(rows) - set(ids)),
        "duplicates": sum(n - 1 for n in closing.values()),
        "conflicting_answers": diary.conflicting,
        "published": sum(on_site[rows[i].number] == 1 for i in ids),
        "double_published": sum(n - 1 for n in publications.values()),
        "unauthorised": len(
            [m for m in manifests if m["number"] not in {rows[i].number for i in ids}]
        ),
        "stuck": stuck,
        "audit_verify": trace["ok"],
    }
