"""Simulated people: they submit, decide, race and try what they may not; all is journalled.

Every request is on disk before it is sent, every answer before it is believed. A request without a
final answer (no connection, 5xx) is sent again with the same key until there is one.
"""

import asyncio
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.examples import CHECKLIST
from tests.faults.caller import Caller

REVIEWERS = (
    "afforest_head", "forest_head", "fire_head", "editor_a", "editor_b", "deputy_b", "deputy_c",
    "chief", "publisher_a", "publisher_b",
)  # fmt: skip
AUTHORS = {"afforest_info": "afforest", "forest_info": "forest", "fire_info": "fire"}
ROGUES = ("afforest_info", "pest_head", "admin", "security", "leader_pub")
PAUSE = 0.5  # seconds between two looks at an inbox
AT_ONCE = 6  # items that one person decides at the same time, in as many windows
RETURNED_SHARE = 0.03
ROGUE_SHARE = 0.10


class Journal:
    """What was asked and what was answered, durable line by line."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")
        self.asked: dict[str, dict[str, Any]] = {}
        self.answers: dict[str, list[tuple[int, Any]]] = {}

    def ask(self, key: str, **request: Any) -> None:
        if key not in self.asked:
            self._write({"ask": key, **request})
            self.asked[key] = request

    def answer(self, key: str, status: int, body: Any) -> None:
        self._write({"answer": key, "status": status, "body": body})
        self.answers.setdefault(key, []).append((status, body))

    def status(self, key: str) -> int:
        """Return the status of the first final answer; 0 without one."""
        return self.answers[key][0][0] if key in self.answers else 0

    def acknowledged(self, kind: str) -> dict[str, Any]:
        """Return the first answer to each request of a kind that was taken."""
        return {
            key: answers[0][1]
            for key, answers in self.answers.items()
            if answers[0][0] < 300 and self.asked[key]["kind"] == kind
        }

    def of(self, kind: str) -> list[str]:
        return [key for key, request in self.asked.items() if request["kind"] == kind]

    def _write(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


class Office:
    """The people of a drill, at one address that changes when the whole is started anew."""

    def __init__(
        self, url: Callable[[], str], tokens: dict[str, str], journal: Journal, seed: int
    ) -> None:
        self._url = url
        self._callers = {name: Caller(token) for name, token in tokens.items()}
        self._random = random.Random(f"people {seed}")
        self._busy: set[str] = set()
        self._numbers = 0
        self.journal = journal
        self.published: set[str] = set()
        self.is_over = False

    # --- one request ------------------------------------------------------------------------------

    async def send(
        self, kind: str, who: str, path: str, body: dict[str, Any], key: str
    ) -> tuple[int, Any]:
        """Send one request until it has a final answer, which is the answer returned."""
        self.journal.ask(key, kind=kind, who=who, path=path, body=body)
        return await self.resend(key)

    async def resend(self, key: str) -> tuple[int, Any]:
        """Send a request again under its key and journal what it is answered."""
        asked = self.journal.asked[key]
        while True:
            try:
                status, answer = await self._callers[asked["who"]].call(
                    self._url(), "POST", asked["path"], asked["body"], key
                )
            except OSError:
                status, answer = 0, None
            if status and status < 500 and status != 429:
                self.journal.answer(key, status, answer)
                return status, answer
            await asyncio.sleep(0.15 + 0.2 * self._random.random())

    async def look(self, who: str, path: str) -> Any:
        """Return what a person sees, or None when nobody answers."""
        try:
            status, answer = await self._callers[who].call(self._url(), "GET", path)
        except OSError:
            return None
        return answer if status == 200 else None

    # --- what people do ---------------------------------------------------------------------------

    async def submit(self) -> str:
        """Have an author submit one more item; returns its id."""
        self._numbers += 1
        number, author = self._numbers, self._random.choice(sorted(AUTHORS))
        status, answer = await self.send(
            "submit", author, "/api/v1/submissions",
            {
                "title": f"第{number}期造林绿化工作动态",
                "body": f"今年以来，各地造林绿化工作进展顺利。本期为第{number}期。",
                "category": "work_news",
                "kind": "disclosure",
                "source": {"type": "own"},
                "channels": ["site"],
                "secrecy_pledge": True,
                "proofread": True,
            },
            f"submit-{number}",
        )  # fmt: skip
        assert status == 201, answer
        return str(answer["id"])

    async def review(self, who: str) -> None:
        """Look into one's inbox again and again and decide what waits there."""
        while not self.is_over:
            box = await self.look(who, "/api/v1/inbox?limit=40") or {"items": []}
            chosen = self._random.sample(box["items"], min(AT_ONCE, len(box["items"])))
            await asyncio.gather(*(self._decide(who, entry) for entry in chosen))
            await asyncio.sleep(PAUSE * (0.5 + self._random.random()))

    async def _decide(self, who: str, entry: dict[str, Any]) -> None:
        key = f"{entry['id']}.{entry['step']}.{entry['step_round']}.{who}"
        if self.journal.status(key) or key in self._busy:
            return
        seen: list[str] = []
        if entry["findings"]:
            item = await self.look(who, f"/api/v1/submissions/{entry['id']}")
            if item is None:
                return  # nobody answered: what was not seen is not ticked, so not decided either
            seen = [one["id"] for one in item["findings"] if one["severity"] == "warn"]
        if key in self._busy:
            return
        self._busy.add(key)
        body: dict[str, Any] = {
            "step": entry["step"],
            "verdict": "approve",
            "digest": entry["digest"],
            "round": entry["step_round"],
            "checklist": CHECKLIST if entry["step"] == "unit_review" else {},
            "findings_seen": seen,
        }
        if entry["step_round"] == 1 and self._random.random() < RETURNED_SHARE:
            body |= {"verdict": "return", "reason_code": "wording", "opinion": "请核对表述。"}
        path = f"/api/v1/submissions/{entry['id']}/decisions"
        if self._random.random() < ROGUE_SHARE:
            rogue = self._random.choice(ROGUES)
            await self.send("rogue", rogue, path, body, f"{key}.rogue.{rogue}")
        await self.send("decide", who, path, body, key)
        self._busy.discard(key)

    async def answer_returns(self, who: str) -> None:
        """Answer with a new text what came back to one's unit."""
        while not self.is_over:
            found = await self.look(who, "/api/v1/submissions?status=returned&mine=true&limit=200")
            for entry in (found or {"items": []})["items"]:
                key = f"{entry['id']}.answer.{entry['version']}"
                if self.journal.status(key):
                    continue
                await self.send(
                    "answer", who, f"/api/v1/submissions/{entry['id']}/versions",
                    {"base_digest": entry["digest"], "title": f"{entry['title']}（修改）"}, key,
                )  # fmt: skip
            await asyncio.sleep(PAUSE)

    async def watch(self) -> None:
        """Keep the set of published items."""
        while not self.is_over:
            after = ""
            while True:
                found = await self.look(
                    "chief", f"/api/v1/submissions?status=published&limit=200{after}"
                )
                if found is None:
                    break
                self.published |= {entry["id"] for entry in found["items"]}
                if not found["next"]:
                    break
                after = f"&after={found['next']}"
            await asyncio.sleep(0.5)

    def jobs(self) -> list[Any]:
        """Return what everybody does until it is over."""
        return [
            *(self.review(who) for who in REVIEWERS),
            *(self.answer_returns(who) for who in AUTHORS),
            self.watch(),
        ]

    def close(self) -> None:
        for caller in self._callers.values():
            caller.close()
