"""A bureau at work: the real engine and ledger, a worker on its own queue, and people who act."""

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlmodel import Session, col, select
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHandle, WorkflowHistory
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from activities.channels import Site
from review.acts.item import Item
from review.engine import prepare_namespace
from review.headers import Correlation
from review.payloads import converter
from review.records.engine import Ledger
from review.records.people import Person
from review.records.tables import Audit, Channel, Outbox, Publication, Step, Submission
from review.requests import ActRequest, DecisionRequest, NewVersion
from review.rules.positions import Position
from starter.reviews import Reviews
from tests.acting import WHO, warnings_of
from tests.examples import CHECKLIST, a_draft, who
from tests.publications import FakePlatform
from workers.__main__ import worker
from workflows.names import submission_workflow_id
from workflows.publication import publication_workflow_id
from workflows.submission import SubmissionWorkflow

PASSED_THROUGH = ("review", "activities", "workflows.names", "sqlmodel", "sqlalchemy", "structlog")
SANDBOXED = SandboxedWorkflowRunner(
    restrictions=SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH)
)
ENGINE = Path(sys.executable).with_name("temporal")
PATIENCE = 20.0  # seconds for a busy machine; what is waited for takes milliseconds
HEADS = {
    "afforest": "afforest_head", "forest": "forest_head", "fire": "fire_head",
    "pest": "pest_head", "center": "section_head",
}  # fmt: skip
LEADERS = {
    "afforest": "leader_eco", "forest": "leader_eco", "fire": "leader_prot",
    "pest": "leader_pub", "center": "leader_pub",
}  # fmt: skip


@asynccontextmanager
async def engine(**dynamic: str) -> AsyncIterator[WorkflowEnvironment]:
    """Run the real server on a free port, its namespace prepared as at every start of ours.

    Args:
        dynamic: Its dynamic configuration, with `__` for the dots of a name.
    """
    values = [f"{name.replace('__', '.')}={value}" for name, value in dynamic.items()]
    arguments = [word for value in values for word in ("--dynamic-config-value", value)]
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(ENGINE),
        dev_server_extra_args=arguments,
        data_converter=converter({}),
        interceptors=[Correlation()],
        identity="tests",
    ) as env:
        await prepare_namespace(env.client)
        yield env


class Clock:
    """The machine's clock, moved as far as it is told."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


class Bureau:
    """People who act through `Reviews`, and a look at what came of it."""

    def __init__(self, ledger: Ledger, client: Client, data: Path) -> None:
        self.ledger = ledger
        self.client = client
        self.worker_client = client  # a worker's may not be lazy
        self.data = data
        self.clock = Clock()
        self.queue = f"sanshen-{uuid4().hex}"
        self.site = Site(data / "site", "http://127.0.0.1")
        self.mini = FakePlatform()
        ledger.write(_give_the_affiliate_its_own_platform)
        self.reviews = Reviews(ledger, client, clock=self.clock, task_queue=self.queue)

    def worker(self, **options: Any) -> Worker:
        """Return a worker as it is shipped, but for its queue, its clock and the sandbox."""
        return worker(
            self.worker_client, self.ledger, {"website": self.site, "mini": self.mini}, self.clock,
            **(
                {
                    "task_queue": self.queue,
                    "graceful_shutdown_timeout": timedelta(0),
                    "workflow_runner": SANDBOXED,  # decision 0007
                }
                | options
            ),
        )  # fmt: skip

    # --- people -------------------------------------------------------------------------------

    def who(self, person: str) -> Person:
        with self.ledger.reading() as session:
            return who(session, person, self.clock())

    async def submit(self, author: str = "afforest_info", **draft: Any) -> str:
        answer = await self.reviews.submit(
            self.who(author), a_draft(**draft), key=None, way_in="api"
        )
        return str(answer["id"])

    async def decide(
        self, submission: str, step: str, verdict: str = "approve", *, by: str = "", **fields: Any
    ) -> dict[str, Any]:
        """Decide an open step on the current text, as its usual person unless told."""
        given = {
            "step": step,
            "verdict": verdict,
            "digest": self.row(submission).digest,
            "checklist": CHECKLIST if step == "unit_review" else {},
            "findings_seen": warnings_of(self.ledger, submission),
        } | fields
        decision_id = given.pop("decision_id", None)
        person = by or self.usual(submission, step, given.get("unit") or "")
        return await self.reviews.decide(
            self.who(person), submission, DecisionRequest.model_validate(given),
            decision_id=decision_id, way_in="api",
        )  # fmt: skip

    async def edit(self, submission: str, by: str, **fields: Any) -> dict[str, Any]:
        given = {"base_digest": self.row(submission).digest} | fields
        return await self.reviews.new_version(
            self.who(by), submission, NewVersion.model_validate(given), key=None, way_in="api"
        )

    async def act(self, submission: str, act: str, *, by: str, **fields: Any) -> dict[str, Any]:
        return await self.reviews.act(
            self.who(by), submission, ActRequest.model_validate({"act": act} | fields),
            key=None, way_in="api",
        )  # fmt: skip

    def usual(self, submission: str, step: str, unit: str = "") -> str:
        """Return who decides a step in a plain course."""
        row = self.row(submission)
        if step in ("unit_review", "unit_reconfirm"):
            return HEADS[row.unit_id]
        if step in ("countersign", "add_signer"):
            return HEADS[unit]
        if step == "final_review":
            roles = {s.key: s.role for s in self.steps(submission)}
            return {
                "center_chief": "chief",
                "supervising_leader": LEADERS[row.unit_id],
                "bureau_chief": "bureau_chief",
            }[roles["final_review"]]
        if step == "proof3_publish" and unit == "pest":
            return "pest_operator"
        return WHO[step]

    async def run(self, submission: str, until: str = "") -> None:
        """Approve step after step up to the named one, or until nothing is left to decide."""
        while True:
            await self.settled(submission)
            steps = self.open_steps(submission)
            if not steps or any(step.key == until for step in steps):
                return
            for step in steps:
                await self.decide(submission, step.key, unit=step.unit_id or None)

    async def published(self, submission: str) -> None:
        """Approve everything and wait until the item is out."""
        await self.run(submission)
        await self.until(lambda: self.row(submission).status == "published")

    # --- what is to be seen -------------------------------------------------------------------

    def row(self, submission: str) -> Submission:
        with self.ledger.reading() as session:
            return Item.seen(session, submission).row

    def steps(self, submission: str) -> list[Step]:
        """Return the steps that count, in order."""
        with self.ledger.reading() as session:
            steps = Item.seen(session, submission).steps
        return [step for step in steps if step.state != "lapsed"]

    def open_steps(self, submission: str) -> list[Step]:
        return [step for step in self.steps(submission) if step.state == "open"]

    def rows(self, table: Any, submission: str) -> list[Any]:
        with self.ledger.reading() as session:
            return list(session.exec(select(table).where(table.submission_id == submission)))

    def publications(self, submission: str) -> list[Publication]:
        return self.rows(Publication, submission)

    def events(self, submission: str) -> list[str]:
        """Return the audit trail's events of a submission, in order."""
        return [one.event for one in self.audit(submission)]

    def audit(self, submission: str) -> list[Audit]:
        with self.ledger.reading() as session:
            return list(
                session.exec(select(Audit).where(Audit.chain == submission).order_by(col(Audit.n)))
            )

    def pages(self) -> list[str]:
        """Return what stands on the site."""
        return sorted(path.stem for path in (self.data / "site").glob("item/*.html"))

    def handle(self, submission: str) -> WorkflowHandle[SubmissionWorkflow, Position]:
        return self.client.get_workflow_handle_for(
            SubmissionWorkflow.run, submission_workflow_id(submission)
        )

    async def position(self, submission: str) -> Position:
        return await self.handle(submission).query(SubmissionWorkflow.status)

    async def until(self, holds: Callable[[], bool], why: str = "") -> None:
        """Wait until something holds in the ledger."""
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while not holds():
            assert asyncio.get_running_loop().time() < deadline, why or "waited in vain"
            await asyncio.sleep(0.02)

    async def settled(self, submission: str) -> None:
        """Wait until the workflow has seen everything that was done."""
        await self.until(lambda: all(o.done_at for o in self.rows(Outbox, submission)), "no turn")
        async with asyncio.timeout(PATIENCE):  # the turn's result reaches the workflow a bit later
            while True:
                row, seen = self.row(submission), await self.position(submission)
                steps = {(s.key, s.round) for s in self.open_steps(submission)}
                if (row.status, row.round, row.version, steps) == (
                    seen.status,
                    seen.round,
                    seen.version,
                    {(s.step, s.round) for s in seen.open_steps},
                ):
                    return
                await asyncio.sleep(0.02)

    async def idle(self, handle: WorkflowHandle[Any, Any]) -> None:
        """Wait until a workflow waits only for its timer and for people, so that time may be moved.

        The engine skips no time while an activity runs: a turn under way when the clock of worker
        and web is moved would be told that clocks are apart, and be told so for ever.
        """
        async with asyncio.timeout(PATIENCE):
            while True:
                now = (await handle.describe()).raw_description
                if not now.pending_activities and not now.HasField("pending_workflow_task"):
                    return
                await asyncio.sleep(0.02)

    async def last_failure(self, submission: str) -> str:
        """Return the type of the failure of the turn under way, once it has one."""
        async with asyncio.timeout(PATIENCE):
            while True:
                described = await self.handle(submission).describe()
                for pending in described.raw_description.pending_activities:
                    if pending.HasField("last_failure"):
                        return str(pending.last_failure.application_failure_info.type)
                await asyncio.sleep(0.02)

    async def histories(self, submission: str) -> dict[str, WorkflowHistory]:
        """Return the histories of a submission's workflow and of its publications."""
        ids = [submission_workflow_id(submission)] + [
            publication_workflow_id(submission, p.channel, p.generation)
            for p in self.publications(submission)
        ]
        return {id_: await self.client.get_workflow_handle(id_).fetch_history() for id_ in ids}


def _give_the_affiliate_its_own_platform(session: Session) -> None:
    """The site shows an item once, whichever of its channels it came by."""
    channel = session.get_one(Channel, "mini_pest")
    channel.platform = "mini"
    session.add(channel)


def counted(history: WorkflowHistory) -> Counter[str]:
    """Return how many events of each type a history has."""
    return Counter(
        EventType.Name(event.event_type).removeprefix("EVENT_TYPE_") for event in history.events
    )


def weight(history: WorkflowHistory) -> int:
    """Return a history's size in bytes, as the engine stores its events."""
    return sum(event.ByteSize() for event in history.events)
