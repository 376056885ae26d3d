"""Orders, incidents and cases on the real engine with skipped time: silence decides nothing."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.testing import TimeSkipper, TimeSkippingConfig

from review.matter_requests import (
    IncidentAct,
    NewIncident,
    NewOrder,
    NewViolation,
    OrderAct,
    ViolationAct,
)
from review.records.engine import Ledger
from review.records.matters import Incident, MatterMark, MatterOutbox, Order, Violation
from review.records.tables import Notice
from review.rules.matters import MatterKind, MatterPosition
from starter.cli_doctor import matters_in_engine, minded
from starter.web.management import acted, opened
from tests.acting import Course
from tests.bureau import PATIENCE, Bureau
from workers.relay import GRACE, Relay
from workflows.names import matter_workflow_id

SOON = timedelta(milliseconds=200)  # past a mark, so that both clocks agree it has come
SUBJECT = "造林数据未按要求及时发布"


class Desk(Bureau):
    """A bureau with matters, in which time can be skipped."""

    def __init__(self, ledger: Ledger, client: Client, data: Path) -> None:
        self.skipper = TimeSkipper(client, config=TimeSkippingConfig(enabled=False))
        super().__init__(ledger, self.skipper.client, data)

    async def open(self, kind: MatterKind, person: str, request: Any) -> str:
        answer = await opened(self.reviews, self.who(person), kind, request, None, "api")
        assert answer["delivered"]
        return str(answer["id"])

    async def on(self, kind: MatterKind, id_: str, person: str, request: Any) -> dict[str, Any]:
        return await acted(self.reviews, self.who(person), kind, id_, request, None, "api")

    def minding(self, kind: MatterKind, id_: str) -> WorkflowHandle[Any, Any]:
        return self.client.get_workflow_handle(matter_workflow_id(kind, id_))

    async def at(self, kind: MatterKind, id_: str) -> MatterPosition:
        """Return where the workflow stands once it has seen everything."""
        await self.until(lambda: not self.owed(id_), "no turn")
        async with asyncio.timeout(PATIENCE):  # the turn's result reaches the workflow a bit later
            while True:
                found = await self.minding(kind, id_).query("status", result_type=MatterPosition)
                assert isinstance(found, MatterPosition)
                over = {one.mark for one in self.all(MatterMark, matter_id=id_)}
                if found.state == self.state(kind, id_) and found.next_mark not in over:
                    return found
                await asyncio.sleep(0.02)

    def state(self, kind: MatterKind, id_: str) -> str:
        table = {"supervision": Order, "incident": Incident, "violation": Violation}[kind]
        return str(self.all(table, id=id_)[0].state)

    def owed(self, id_: str) -> list[MatterOutbox]:
        return [one for one in self.all(MatterOutbox, matter_id=id_) if one.done_at is None]

    def all(self, table: Any, **having: Any) -> list[Any]:
        with self.ledger.reading() as session:
            rows = list(session.exec(select(table)))
        return [row for row in rows if all(getattr(row, n) == value for n, value in having.items())]

    async def to_next(self, kind: MatterKind, id_: str) -> str:
        """Let time pass until the next mark had its consequence; return which it was."""
        position = await self.at(kind, id_)
        assert position.next_at is not None, position
        await self.idle(self.minding(kind, id_))
        length = position.next_at + SOON - self.clock()
        self.clock.ahead += length
        await self.skipper.fast_forward(self.minding(kind, id_), length)
        mark = position.next_mark
        await self.until(
            lambda: bool(self.all(MatterMark, matter_id=id_, mark=mark)), f"{mark} slept through"
        )
        return mark

    async def history(self, kind: MatterKind, id_: str) -> str:
        return json.dumps(
            json.loads((await self.minding(kind, id_).fetch_history()).to_json()),
            ensure_ascii=False,
        )


@pytest.fixture
async def desk(server: Client, quick_ledger: Ledger, tmp_path: Path) -> AsyncIterator[Desk]:
    found = Desk(quick_ledger, server, tmp_path)
    async with found.worker():
        yield found


async def test_order_lapses_by_its_timer_is_repeated_once_and_closed_by_people(desk: Desk):
    """From opening to lapse to lead (R5.3-1, A-23)."""
    kind = MatterKind.ORDER
    id_ = await desk.open(kind, "chief", NewOrder(unit="afforest", subject=SUBJECT))

    marks = [await desk.to_next(kind, id_) for _ in range(3)]

    assert marks == ["remind:1:50%", "remind:1:80%", "lapse:1"]
    [lead] = desk.all(Violation)
    assert (lead.kind, lead.order_id, lead.state, lead.result) == (1, id_, "lead", "")
    assert (await desk.at(kind, id_)).state == "lapsed"
    await desk.on(kind, id_, "chief", OrderAct(act="repeat", text="仍未整改"))
    marks = [await desk.to_next(kind, id_) for _ in range(3)]
    assert marks[-1] == "lapse:2" and len(desk.all(Violation)) == 1
    await desk.on(kind, id_, "afforest_head", OrderAct(act="rectify", text="已补报"))
    assert (await desk.to_next(kind, id_)).startswith("confirm:")
    assert desk.all(Order)[0].state == "rectified"  # silence closes nothing

    await desk.on(kind, id_, "reviewer_b", OrderAct(act="close", text="整改到位"))

    result = await desk.minding(kind, id_).result()
    assert result["state"] == "closed" and result["done"]
    history = await desk.history(kind, id_)
    assert SUBJECT not in history and "已补报" not in history


async def test_incident_is_watched_from_registration_to_the_final_report(desk: Desk):
    """漏报 alarm, five-hour line, press conference, follow-up, 终报 (R5.1-3, R5.1-4)."""
    kind = MatterKind.INCIDENT
    event_at = desk.clock() - timedelta(minutes=10)
    request = NewIncident(
        title="某林场发生森林火情", kind="fire", level="major", unit="fire", event_at=event_at
    )
    id_ = await desk.open(kind, "duty", request)

    assert await desk.to_next(kind, id_) == "missed"
    row = desk.all(Incident)[0]
    assert row.missed_at == event_at + timedelta(minutes=60)
    assert {n.person_id for n in desk.all(Notice, kind="incident_missed")} >= {
        "fire_info", "fire_head", "duty", "supervisor_a", "chief",
    }  # fmt: skip
    fields = {"category": "emergency", "level": "major", "event_time": event_at, "incident": id_}
    first = Course(desk.ledger, "fire_info", now=desk.clock(), **fields)
    await desk.on(kind, id_, "duty", IncidentAct(act="note", text="已催报"))
    assert [await desk.to_next(kind, id_) for _ in range(3)] == ["line:1", "line:2", "late"]
    first.now = desk.clock()
    first.publish(first.run())
    assert [await desk.to_next(kind, id_)][0] == "press"
    assert (await desk.to_next(kind, id_)).startswith("follow_up:")
    final = Course(
        desk.ledger, "fire_info", now=desk.clock(), title="火情扑救工作全部结束", **fields
    )
    final.publish(final.run())
    await desk.on(kind, id_, "duty", IncidentAct(act="final", submission=final.id))

    await desk.on(kind, id_, "duty", IncidentAct(act="close"))

    assert (await desk.minding(kind, id_).result())["done"]
    assert desk.all(Incident)[0].late_at == event_at + timedelta(hours=5)
    assert "火情" not in await desk.history(kind, id_)


async def test_silent_statement_is_late_and_the_case_stays_open(desk: Desk):
    kind = MatterKind.VIOLATION
    id_ = await desk.open(kind, "supervisor_a", NewViolation(kind=3, unit="fire", subject=SUBJECT))
    await desk.on(kind, id_, "chief", ViolationAct(act="take_up"))

    assert await desk.to_next(kind, id_) == "statement_remind"
    assert await desk.to_next(kind, id_) == "statement_late"

    position = await desk.at(kind, id_)
    assert (position.state, position.next_at, position.done) == ("asked", None, False)
    status = (await desk.minding(kind, id_).describe()).status
    assert status == WorkflowExecutionStatus.RUNNING
    await desk.on(kind, id_, "leader_prot", ViolationAct(act="find", result="none", text="不成立"))
    assert (await desk.minding(kind, id_).result())["state"] == "found"


async def test_forged_messages_and_a_hand_started_turn_change_nothing(desk: Desk):
    """A message is a nudge, not a proof (design, principle 3)."""
    kind = MatterKind.ORDER
    id_ = await desk.open(kind, "chief", NewOrder(unit="afforest", subject=SUBJECT))
    before = await desk.at(kind, id_)
    handle = desk.minding(kind, id_)

    for _ in range(5):
        await handle.signal("changed", {"state": "lapsed", "now": "2030-01-01T00:00:00Z"})
    await desk.client.start_workflow(
        "SupervisionWorkflow", {"kind": "supervision", "matter_id": "no-such-order"},
        id="supervision-no-such-order", task_queue=desk.queue,
    )  # fmt: skip

    ended = await desk.client.get_workflow_handle("supervision-no-such-order").result()
    assert not ended["done"]
    assert await desk.at(kind, id_) == before
    assert desk.all(Order)[0].state == "issued" and desk.all(Violation) == []


async def test_relay_starts_what_the_web_could_not(idle_bureau: Bureau):
    """Acknowledged means committed: an order issued while the engine was away is still minded."""
    bureau = idle_bureau
    bureau.reviews._client = None
    answer = await opened(
        bureau.reviews, bureau.who("chief"), MatterKind.ORDER,
        NewOrder(unit="afforest", subject=SUBJECT), None, "api",
    )  # fmt: skip
    assert not answer["delivered"]
    relay = Relay(
        bureau.ledger,
        bureau.client,
        None,
        bureau.clock,
        task_queue=bureau.queue,  # type: ignore[arg-type]
    )
    bureau.clock.ahead += GRACE

    assert await relay.nudge_matters_owed() == 1

    bureau.clock.ahead -= GRACE
    async with bureau.worker():
        handle = bureau.client.get_workflow_handle(f"supervision-{answer['id']}")
        async with asyncio.timeout(PATIENCE):
            while (await handle.query("status"))["state"] != "issued":
                await asyncio.sleep(0.02)
        assert [one.reason for one in rows_of(bureau) if one.done_at is not None] == ["issue"]
        await handle.terminate()


def rows_of(bureau: Bureau) -> list[MatterOutbox]:
    with bureau.ledger.reading() as session:
        return list(session.exec(select(MatterOutbox)))


async def test_lost_workflows_are_found_and_started_again(desk: Desk):
    """`doctor --repair`: whatever the engine forgot can be told from the ledger."""
    order = await desk.open(MatterKind.ORDER, "chief", NewOrder(unit="fire", subject=SUBJECT))
    case = await desk.open(
        MatterKind.VIOLATION, "chief", NewViolation(kind=6, unit="fire", subject=SUBJECT)
    )
    await desk.at(MatterKind.ORDER, order)
    await desk.minding(MatterKind.ORDER, order).terminate()
    with desk.ledger.reading() as session:
        matters = minded(session)
    assert set(matters) == {("supervision", order), ("violation", case)}

    found = await matters_in_engine(desk.client, matters, repair=False)

    assert found == [{"what": "workflow_missing", "submission": "", "supervision": order}]
    mended = await matters_in_engine(desk.client, matters, repair=True)
    assert mended[0]["repaired"] == "True"
    assert await matters_in_engine(desk.client, matters, repair=False) == []
