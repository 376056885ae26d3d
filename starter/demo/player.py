"""Simulated people take items through their stories, over the public interface and nothing else."""

import asyncio
import secrets
import time
import zlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import httpx

from review.rules.policy import Length
from review.rules.values import Status, StepState, Verdict
from starter.demo.bureau import draft_of, officer_of, storable
from starter.demo.stories import Act, Approve, Decide, Move, Revise, Story, Until, Wait

Json = dict[str, Any]

DECLARATION = ("political", "true", "accurate", "timely", "well_formed", "not_classified")
WATCHER = "auditor"  # sees everything and decides nothing
LOOK_EVERY = 0.4  # seconds
THINK = (0.3, 0.9)  # seconds from which people take theirs; well under the pack's limits
PATIENCE = 45.0  # seconds to wait for one thing; the longest limit of the pack is 16 s
ANSWER_WITHIN = 10.0  # seconds
TRIES = 4  # of a request whose answer got lost, or that was overtaken by a newer version
OVERTAKEN = ("stale_version", "stale_round")
DECIDING = ("certify_changes", "reconfirm")  # acts that are decisions
STOPPED = (Status.REJECTED, Status.WITHDRAWN, Status.RETRACTED)


class Refused(Exception):
    """The interface refused something."""

    def __init__(self, status: int, code: str, detail: str, findings: Sequence[Json] = ()) -> None:
        self.code = code
        self.findings = findings
        super().__init__(f"{status} {code}: {detail}")

    def rules(self) -> str:
        """Return the rules that stood in the way."""
        return "、".join(sorted({str(one["rule"]) for one in self.findings}))


class Astray(Exception):
    """A story did not go on as told."""


class Stage(Protocol):
    """Where the audience looks."""

    def happened(self, item: str, event: str, **params: str) -> None: ...


class Bureau:
    """The people of the bureau before their terminals, each with a token."""

    def __init__(self, client: httpx.AsyncClient, accounts: Sequence[Mapping[str, Any]]) -> None:
        """Take them in.

        Args:
            client: Its base address is the web's.
            accounts: As in `demo-accounts.json`.
        """
        self._client = client
        self._people = {account["username"]: account for account in accounts}

    def id(self, username: str) -> str:
        return str(self._people[username]["id"])

    def name(self, username: str) -> str:
        return str(self._people[username]["name"])

    def username(self, person_id: str) -> str:
        """Return whose id this is; empty for nobody's."""
        found = (p["username"] for p in self._people.values() if p["id"] == person_id)
        return str(next(found, ""))

    async def get(self, who: str, path: str) -> Any:
        return await self._ask(who, "GET", path)

    async def post(self, who: str, path: str, body: Json) -> Any:
        """Post once; a repeat after a lost answer carries the same key and so is harmless."""
        return await self._ask(who, "POST", path, body, secrets.token_hex(16))

    async def page(self, url: str) -> str:
        """Return a page as the public gets it; empty when there is none."""
        answer = await self._client.get(url)
        return answer.text if answer.status_code == 200 else ""

    async def _ask(
        self, who: str, method: str, path: str, body: Json | None = None, key: str = ""
    ) -> Any:
        headers = {"Authorization": f"Bearer {self._people[who]['token']}"}
        if key:
            headers["Idempotency-Key"] = key
        for tries_left in reversed(range(TRIES)):
            try:
                answer = await self._client.request(
                    method, f"/api/v1{path}", json=body, headers=headers, timeout=ANSWER_WITHIN
                )
            except httpx.TransportError as error:
                if not tries_left:
                    raise Refused(0, "web_down", type(error).__name__) from error
                await asyncio.sleep(1)
                continue
            if answer.status_code in (429, 503) and tries_left:
                await asyncio.sleep(1)
                continue
            break
        if answer.is_success:
            return answer.json()
        try:
            problem = answer.json()
        except ValueError:
            problem = {}
        more = problem.get("errors") or problem.get("findings") or ""
        raise Refused(
            answer.status_code, str(problem.get("code", "")), f"{problem.get('detail', '')} {more}",
            problem.get("findings") or (),
        )  # fmt: skip


class Course:
    """One item on its way through its story."""

    def __init__(
        self, story: Story, bureau: Bureau, stage: Stage, started: dict[str, asyncio.Future[str]]
    ) -> None:
        """Describe it; nothing is submitted yet.

        Args:
            started: The ids of the items already submitted, by name, each once it is there.
        """
        self.story = story
        self.id = ""
        self.astray = ""
        self.seen: Json = {}
        self.stopped: list[str] = []  # rules, as often as they stopped something
        self.findings: dict[str, Json] = {}  # every one that was ever shown, as shown last
        self._bureau = bureau
        self._stage = stage
        self._started = started

    async def take(self, begin_after: float, over: Mapping[str, asyncio.Event]) -> None:
        """Take the item through all its moves; what goes wrong is kept in `astray`.

        Args:
            begin_after: Seconds to wait before.
            over: By item, set once it has come to its end.
        """
        try:
            await asyncio.sleep(begin_after)
            if self.story.after:
                await over[self.story.after].wait()
            if not await self._submit():
                return
            for move in self.story.moves:
                await self._make(move)
            await self._until(
                lambda item: item["status"] == self.story.ends.status, self.story.ends.status
            )
        except (Refused, Astray) as error:
            self.astray = " ".join(str(error).split())
        finally:
            over[self.story.item].set()
            if not self._started[self.story.item].done():
                self._started[self.story.item].cancel()

    async def _submit(self) -> bool:
        """Submit; False when the text is stopped and nothing else is sent instead."""
        draft = self.story.draft
        if "stopped" in draft:
            await self._stopped(self._submitted(draft), draft["stopped"], officer_of(draft))
            mended = storable(draft)
            if mended is None:
                return False
            await self._think("mended")
            draft = mended
        answer = await self._submitted(draft)
        self.id = answer["id"]
        self._note(answer)
        self._started[self.story.item].set_result(self.id)
        who = self._bureau.name(officer_of(draft))
        self._stage.happened(self.story.item, "submitted", who=who)
        return True

    async def _stopped(self, sent: Awaitable[Json], rules: Sequence[str], who: str) -> None:
        """Let a text be sent that must be stopped before it is stored.

        Raises:
            Astray: It was not stopped by these rules.
        """
        try:
            await sent
        except Refused as refusal:
            found = sorted({str(one["rule"]) for one in refusal.findings})
            if refusal.code != "screening_stop" or found != sorted(rules):
                raise
        else:
            raise Astray(f"not stopped: {rules}")
        self.stopped += found
        self._stage.happened(
            self.story.item, "stopped", who=self._bureau.name(who), rules="、".join(found)
        )

    def _note(self, shown: Json) -> None:
        """Remember the findings that somebody was shown."""
        self.findings |= {one["id"]: one for one in shown.get("findings") or ()}

    async def _submitted(self, draft: Mapping[str, Any]) -> Json:
        others = {*draft.get("linked", ()), *([draft["incident"]] if "incident" in draft else ())}
        known = {
            name: self._started[name].result()
            for name in others
            if self._started[name].done() and not self._started[name].cancelled()
        }
        body = draft_of(draft, known, datetime.now(UTC)).model_dump(mode="json", exclude_none=True)
        answer: Json = await self._bureau.post(officer_of(draft), "/submissions", body)
        return answer

    async def _make(self, move: Move) -> None:
        match move:
            case Approve():
                for step, who in move.approve.items():
                    await self._decide(Decide(decide=step, who=who))
            case Decide():
                await self._decide(move)
            case Revise():
                await self._revise(move)
            case Act():
                await self._act(move)
            case Wait():
                await self._until(lambda item: _is_so(item, move.wait), str(move.wait))

    async def _decide(self, move: Decide) -> None:
        """Read the item as the one who decides, and decide what was read."""
        step = await self._open(move.decide)
        if step["state"] == StepState.SKIPPED:  # too late, on a busy machine
            return
        await self._think(move.decide)
        for tries_left in reversed(range(TRIES)):
            item = await self._bureau.get(move.who, f"/submissions/{self.id}")
            body: Json = {
                "step": move.decide,
                "verdict": move.verdict,
                "digest": item["digest"],
                "opinion": move.opinion or "同意。",
                "findings_seen": _warnings(item),
            }
            self._note(item)
            if move.verdict == Verdict.RETURN:
                body |= {"reason_code": move.reason_code, "return_to": move.return_to}
            if move.decide == "unit_review":
                body["checklist"] = dict.fromkeys(DECLARATION, True)
            try:
                await self._bureau.post(move.who, f"/submissions/{self.id}/decisions", body)
            except Refused as refusal:
                if move.refused and refusal.code == move.refused:
                    self._stage.happened(
                        self.story.item, "refused", who=self._bureau.name(move.who),
                        step=move.decide, why=refusal.rules(),
                    )  # fmt: skip
                    return
                if refusal.code == "step_not_open" and await self._skipped(move.decide):
                    return
                if refusal.code not in OVERTAKEN or not tries_left:
                    raise
                continue
            break
        if move.refused:
            raise Astray(f"{move.decide}: not refused")
        self._stage.happened(
            self.story.item, "decided",
            who=self._bureau.name(move.who), step=move.decide, verdict=str(move.verdict),
        )  # fmt: skip

    async def _skipped(self, key: str) -> bool:
        item = await self._bureau.get(WATCHER, f"/submissions/{self.id}")
        return _step(item, key).get("state") == StepState.SKIPPED

    async def _revise(self, move: Revise) -> None:
        if move.at:
            await self._open(move.at)
        else:
            await self._until(lambda item: item["status"] == Status.RETURNED, Status.RETURNED)
        await self._think(move.revise)
        item = await self._bureau.get(move.revise, f"/submissions/{self.id}")
        self._note(item)
        body = {"base_digest": item["digest"], "change": move.change, "note": move.note}
        given = {"title": move.title, "body": move.body, "source": move.source}
        body |= {name: value for name, value in given.items() if value}
        sent = self._bureau.post(move.revise, f"/submissions/{self.id}/versions", body)
        if move.stopped:
            await self._stopped(sent, move.stopped, move.revise)
            return
        self._note(await sent)
        self._stage.happened(self.story.item, "revised", who=self._bureau.name(move.revise))

    async def _act(self, move: Act) -> None:
        wanted = move.at or ("certify_changes" if move.act == "certify_changes" else "")
        if move.act in ("transfer", "delegate"):
            wanted = wanted or move.step or "unit_review"
        if wanted:
            await self._open(wanted)
        await self._think(move.act)
        body = move.model_dump(mode="json", exclude={"who", "at", "waives"})
        body = {name: value for name, value in body.items() if value}
        if move.waives or move.act in DECIDING:
            item = await self._bureau.get(move.who, f"/submissions/{self.id}")
            self._note(item)
            if move.waives:
                body["finding"] = next(
                    (one["id"] for one in item["findings"] if one["rule"] == move.waives), "none"
                )
            else:
                body["findings_seen"] = _warnings(item)
        if move.to:
            body["to"] = self._bureau.id(move.to)
        if move.until:
            until = datetime.now(UTC) + Length.model_validate(move.until).wall
            body["until"] = until.isoformat()
        await self._bureau.post(move.who, f"/submissions/{self.id}/acts", body)
        self._stage.happened(
            self.story.item, "acted", who=self._bureau.name(move.who), act=move.act
        )

    async def _open(self, key: str) -> Json:
        """Return a step once it is open, or was skipped."""

        def ready(item: Json) -> bool:
            step = _step(item, key)
            return item["status"] != Status.RETURNED and step.get("state") in (
                StepState.OPEN,
                StepState.SKIPPED,
            )

        item = await self._until(ready, f"{key} {StepState.OPEN}")
        return _step(item, key)

    async def _until(self, so: Callable[[Json], bool], what: str) -> Json:
        """Look at the item again and again until it is so.

        Raises:
            Astray: It did not become so in time, or can't any more.
        """
        patient_until = time.monotonic() + PATIENCE
        while True:
            self.seen = await self._bureau.get(WATCHER, f"/submissions/{self.id}")
            if so(self.seen):
                return self.seen
            if self.seen["status"] in STOPPED or time.monotonic() > patient_until:
                raise Astray(f"{self.seen['status']} … {what}?")
            await asyncio.sleep(LOOK_EVERY)

    async def _think(self, about: str) -> None:
        """Take a person's time: the same in every run."""
        least, most = THINK
        share = zlib.crc32(f"{self.story.item}{about}".encode()) % 100 / 100
        await asyncio.sleep(least + share * (most - least))


def _step(item: Json, key: str) -> Json:
    found: Json = next((one for one in item["plan"] if one["step"] == key), {})
    return found


def _warnings(item: Json) -> list[str]:
    """Return the warnings that a reviewer ticks as seen."""
    return [one["id"] for one in item["findings"] if one["severity"] == "warn"]


def _is_so(item: Json, wanted: Until) -> bool:
    step = _step(item, wanted.step) if wanted.step else {}
    return (
        (wanted.status is None or item["status"] == wanted.status)
        and (wanted.state is None or step.get("state") == wanted.state)
        and (not wanted.step or step.get("reminders_sent", 0) >= wanted.reminders)
        and (not wanted.step or step.get("escalated", 0) >= wanted.escalated)
    )


async def play(
    told: Sequence[Story], bureau: Bureau, stage: Stage, *, apart: timedelta, within: timedelta
) -> list[Course]:
    """Let every story happen, all at once but for a short while between two beginnings.

    Args:
        apart: Between two beginnings; everybody at the same moment is no day at an office.
        within: When the audience goes home; what is not over by then has gone astray.
    """
    loop = asyncio.get_running_loop()
    started = {story.item: loop.create_future() for story in told}
    over = {story.item: asyncio.Event() for story in told}
    courses = [Course(story, bureau, stage, started) for story in told]
    waits = {story.item: n * apart.total_seconds() for n, story in enumerate(told)}
    tasks = [asyncio.create_task(course.take(waits[course.story.item], over)) for course in courses]
    try:
        _, late = await asyncio.wait(tasks, timeout=within.total_seconds())
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for course, task, end in zip(courses, tasks, ended, strict=True):
        if task in late:
            course.astray = "timeout"
        elif isinstance(end, BaseException):
            raise end
    return courses
