"""Record the histories that later workflow code must still replay: `python -m tests.replay.record`.

Run it by hand when a release changes the workflows, against the real engine and ledger; the
histories of earlier releases stay beside the new ones. One file a run, ids and moments only.
"""

import asyncio
import json
import sys
import tempfile
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from review.acts.adopting import adopt_policy
from review.matter_requests import (
    IncidentAct,
    NewIncident,
    NewOrder,
    NewViolation,
    OrderAct,
    ViolationAct,
)
from review.packs import builtin_pack, load_pack
from review.records.engine import Ledger, upgrade
from review.rules.matters import IncidentKind, MatterKind, ViolationResult
from review.rules.values import Level, PublicationState
from starter.web.management import acted, opened
from tests.bureau import Bureau, engine
from tests.examples import MONDAY, office
from tests.publications import FakePlatform
from workflows.names import matter_workflow_id, submission_workflow_id

HISTORIES = Path(__file__).with_name("histories")
# Whose publications take a way of their own; the others' are all the same eleven events.
PUBLICATIONS = (
    "work_news", "retracted", "corrected", "two_units_channels", "taken_back_while_checked",
)  # fmt: skip
COURSES: dict[str, Callable[[Bureau], Awaitable[str]]] = {}
REPOST = {
    "type": "repost", "name": "新华社", "url": "https://www.news.cn/demo",
    "original_title": "全省秋冬季造林绿化现场推进会召开",
    "original_body": "11月18日，全省秋冬季造林绿化现场推进会召开。\n3个市作了交流发言。",
}  # fmt: skip


def course(act: Callable[[Bureau], Awaitable[str]]) -> Callable[[Bureau], Awaitable[str]]:
    """Enter a course; its name is the file's."""
    COURSES[act.__name__] = act
    return act


def _moment(bureau: Bureau) -> str:
    return (bureau.clock() - timedelta(seconds=5)).isoformat()


@course
async def work_news(bureau: Bureau) -> str:
    submission = await bureau.submit()
    await bureau.published(submission)
    return submission


@course
async def repost(bureau: Bureau) -> str:
    submission = await bureau.submit(source=REPOST)
    await bureau.published(submission)
    return submission


@course
async def important(bureau: Bureau) -> str:
    submission = await bureau.submit(
        category="important", kind="interpretation", countersign_units=["forest"]
    )
    await bureau.published(submission)
    return submission


@course
async def incident_minor(bureau: Bureau) -> str:
    submission = await bureau.submit(
        "fire_info", category="emergency", level="larger", event_time=_moment(bureau)
    )
    await bureau.published(submission)
    return submission


@course
async def emergency(bureau: Bureau) -> str:
    submission = await bureau.submit("fire_info", category="emergency", event_time=_moment(bureau))
    await bureau.published(submission)
    return submission


@course
async def public_opinion(bureau: Bureau) -> str:
    submission = await bureau.submit(
        "fire_info", category="public_opinion", found_time=_moment(bureau)
    )
    await bureau.published(submission)
    return submission


@course
async def returned_to_author(bureau: Bureau) -> str:
    submission = await bureau.submit()
    await bureau.run(submission, until="second_review")
    await _return(bureau, submission, "second_review")
    await bureau.edit(submission, "afforest_info", body="4个市作了交流发言。")
    await bureau.published(submission)
    return submission


@course
async def returned_to_editor(bureau: Bureau) -> str:
    submission = await bureau.submit()
    await bureau.run(submission, until="final_review")
    await _return(bureau, submission, "final_review", return_to="edit_proof2")
    await bureau.published(submission)
    return submission


async def _return(bureau: Bureau, submission: str, step: str, **more: Any) -> None:
    await bureau.decide(
        submission, step, "return", reason_code="facts", opinion="数字与来源不符", **more
    )
    await bureau.settled(submission)


@course
async def reconfirmed_by_the_unit(bureau: Bureau) -> str:
    submission = await bureau.submit()
    await bureau.run(submission, until="edit_proof2")
    await bureau.edit(submission, "editor_a", body="各市作了交流发言。", change="substance")
    await bureau.published(submission)
    return submission


@course
async def approved_with_changes(bureau: Bureau) -> str:
    submission = await bureau.submit(category="important", kind="interpretation")
    await bureau.run(submission, until="final_review")
    await bureau.decide(submission, "final_review", "approve_with_changes", opinion="删去末句")
    await bureau.settled(submission)
    await bureau.edit(submission, "editor_a", body="现场推进会召开。", change="wording")
    await bureau.act(submission, "certify_changes", by="deputy_b")
    await bureau.published(submission)
    return submission


@course
async def withdrawn(bureau: Bureau) -> str:
    submission = await bureau.submit()
    await bureau.run(submission, until="final_review")
    await bureau.act(submission, "withdraw", by="afforest_info")
    return submission


@course
async def rejected(bureau: Bureau) -> str:
    submission = await bureau.submit()
    await bureau.settled(submission)
    await bureau.decide(submission, "unit_review", "reject", opinion="不宜公开")
    return submission


@course
async def held_and_released(bureau: Bureau) -> str:
    submission = await bureau.submit()
    await bureau.run(submission, until="proof3_publish")
    await bureau.act(submission, "hold", by="chief", reason="待统一口径")
    await bureau.settled(submission)
    await bureau.act(submission, "release", by="chief")
    await bureau.published(submission)
    return submission


@course
async def raised(bureau: Bureau) -> str:
    submission = await bureau.submit()
    await bureau.run(submission, until="second_review")
    await bureau.act(submission, "set_category", by="deputy_b", category="important")
    await bureau.published(submission)
    return submission


@course
async def silent_then_escalated(bureau: Bureau) -> str:
    submission = await bureau.submit()
    await bureau.settled(submission)
    await asyncio.sleep(16)  # the pack's limit is 7 s, its repeat 8 s
    await bureau.published(submission)
    return submission


@course
async def opinion_skipped(bureau: Bureau) -> str:
    submission = await bureau.submit("fire_info", category="emergency", event_time=_moment(bureau))
    await bureau.run(submission, until="center_sign")
    await asyncio.sleep(6)  # the pack's limit is 4 s
    await bureau.published(submission)
    return submission


@course
async def transferred(bureau: Bureau) -> str:
    submission = await bureau.submit()
    await bureau.run(submission, until="edit_proof2")
    await bureau.act(submission, "transfer", by="editor_a", step="edit_proof2", to="editor_b")
    await bureau.settled(submission)
    await bureau.decide(submission, "edit_proof2", by="editor_b")
    await bureau.published(submission)
    return submission


@course
async def deadline_moved(bureau: Bureau) -> str:
    submission = await bureau.submit()
    await bureau.settled(submission)
    for seconds in (30, 3):
        await bureau.act(
            submission, "set_deadline", by="supervisor_a", reason="调整时限",
            due_at=(bureau.clock() + timedelta(seconds=seconds)).isoformat(),
        )  # fmt: skip
        await bureau.settled(submission)
    await asyncio.sleep(4)
    await bureau.published(submission)
    return submission


@course
async def retracted(bureau: Bureau) -> str:
    submission = await bureau.submit()
    await bureau.published(submission)
    await bureau.handle(submission).result()
    await bureau.act(submission, "retract", by="chief", reason="信息有误")
    await bureau.until(lambda: bureau.row(submission).status == "retracted")
    return submission


@course
async def corrected(bureau: Bureau) -> str:
    submission = await bureau.submit()
    await bureau.published(submission)
    await bureau.handle(submission).result()
    await bureau.act(
        submission, "correct", by="deputy_b", reason="数字更正",
        base_digest=bureau.row(submission).digest, body="3个市、2个县作了交流发言。",
    )  # fmt: skip
    await bureau.run(submission)
    await bureau.until(lambda: len(bureau.publications(submission)) == 2)
    await bureau.until(lambda: bureau.row(submission).status == "published")
    return submission


@course
async def two_units_channels(bureau: Bureau) -> str:
    submission = await bureau.submit(channels=["site", "mini_pest"])
    await bureau.published(submission)
    return submission


@course
async def taken_back_while_checked(bureau: Bureau) -> str:
    bureau.mini = FakePlatform(PublicationState.ACCEPTED)
    async with bureau.worker(identity="worker"):
        submission = await bureau.submit(channels=["mini_pest"])
        await bureau.run(submission)
        await bureau.until(
            lambda: [p.state for p in bureau.publications(submission)] == ["accepted"]
        )
        await bureau.act(submission, "retract", by="chief", reason="信息有误")
        await bureau.until(lambda: bureau.row(submission).status == "retracted")
        await bureau.handle(submission).result()
    return submission


MATTERS: dict[str, Callable[[Bureau], Awaitable[tuple[MatterKind, str]]]] = {}


def matter(
    act: Callable[[Bureau], Awaitable[tuple[MatterKind, str]]],
) -> Callable[[Bureau], Awaitable[tuple[MatterKind, str]]]:
    """Enter the course of an order, an incident or a case; its name is the file's."""
    MATTERS[act.__name__] = act
    return act


async def _open(bureau: Bureau, kind: MatterKind, person: str, request: Any) -> str:
    answer = await opened(bureau.reviews, bureau.who(person), kind, request, None, "api")
    return str(answer["id"])


async def _on(bureau: Bureau, kind: MatterKind, id_: str, person: str, request: Any) -> None:
    await acted(bureau.reviews, bureau.who(person), kind, id_, request, None, "api")


@matter
async def order_closed(bureau: Bureau) -> tuple[MatterKind, str]:
    kind = MatterKind.ORDER
    id_ = await _open(bureau, kind, "chief", NewOrder(unit="fire", subject="按要求及时发布"))
    await _on(bureau, kind, id_, "fire_head", OrderAct(act="sign"))
    await _on(bureau, kind, id_, "fire_head", OrderAct(act="rectify", text="已补报"))
    await _on(bureau, kind, id_, "chief", OrderAct(act="close", text="整改到位"))
    return kind, id_


@matter
async def order_lapsed_and_repeated(bureau: Bureau) -> tuple[MatterKind, str]:
    kind = MatterKind.ORDER
    id_ = await _open(bureau, kind, "chief", NewOrder(unit="fire", subject="按要求及时发布"))
    await asyncio.sleep(22)  # the pack's limit is 20 s
    await _on(bureau, kind, id_, "chief", OrderAct(act="repeat", text="仍未整改"))
    await asyncio.sleep(22)
    await _on(bureau, kind, id_, "chief", OrderAct(act="close", text="转线索处理"))
    return kind, id_


@matter
async def incident_missed_then_closed(bureau: Bureau) -> tuple[MatterKind, str]:
    kind = MatterKind.INCIDENT
    request = NewIncident(
        title="某林场火情", kind=IncidentKind.FIRE, unit="fire", event_at=bureau.clock()
    )
    id_ = await _open(bureau, kind, "duty", request)
    await asyncio.sleep(12)  # the pack's window is 10 s
    await _on(bureau, kind, id_, "chief", IncidentAct(act="set_level", level=Level.MINOR))
    await _on(bureau, kind, id_, "duty", IncidentAct(act="close", text="误报"))
    return kind, id_


@matter
async def violation_stated_late(bureau: Bureau) -> tuple[MatterKind, str]:
    kind = MatterKind.VIOLATION
    request = NewViolation(kind=3, unit="fire", subject="数据与年报不一致")
    id_ = await _open(bureau, kind, "supervisor_a", request)
    await _on(bureau, kind, id_, "chief", ViolationAct(act="take_up"))
    await asyncio.sleep(22)  # the pack's limit is 20 s
    await _on(bureau, kind, id_, "fire_head", ViolationAct(act="state", text="系录入错误"))
    await _on(
        bureau, kind, id_, "leader_prot",
        ViolationAct(act="find", result=ViolationResult.CRITICISM, text="属实"),
    )  # fmt: skip
    return kind, id_


async def record_matter(
    name: str, act: Callable[[Bureau], Awaitable[tuple[MatterKind, str]]], client: Any
) -> None:
    """Take one course and write down its workflow's history."""
    with tempfile.TemporaryDirectory() as folder:
        bureau = bureau_in(Path(folder), client)
        async with bureau.worker(identity="worker"):
            kind, id_ = await act(bureau)
            handle = client.get_workflow_handle(matter_workflow_id(kind, id_))
            await handle.result()
        history = json.loads((await handle.fetch_history()).to_json())
        file = HISTORIES / f"{name}-{kind}-run1.json"
        file.write_text(json.dumps(history, separators=(",", ":")) + "\n")
        print(file.name, len(history["events"]), "events")
        bureau.ledger.close()


def bureau_in(data: Path, client: Any) -> Bureau:
    """Return a bureau of its own whose limits are seconds."""
    url = f"sqlite:///{data / 'ledger.db'}"
    upgrade(url)
    ledger = Ledger(url)
    ledger.write(office, MONDAY)
    ledger.write(adopt_policy, load_pack(builtin_pack("demo-seconds")), datetime.now(UTC))
    return Bureau(ledger, client, data)


async def record(name: str, act: Callable[[Bureau], Awaitable[str]], client: Any) -> None:
    """Take one course and write down each run of each of its workflows."""
    with tempfile.TemporaryDirectory() as folder:
        bureau = bureau_in(Path(folder), client)
        if act is taken_back_while_checked:
            submission = await act(bureau)
        else:
            async with bureau.worker(identity="worker"):
                submission = await act(bureau)
                await bureau.handle(submission).result()
        ids = list(await bureau.histories(submission))
        for id_ in ids if name in PUBLICATIONS else [submission_workflow_id(submission)]:
            kind, _, channel = id_.replace(f"-{submission}", "").partition("-")
            label = "-".join(part for part in (name, kind, channel) if part)
            runs = [run async for run in client.list_workflows(f"WorkflowId = '{id_}'")]
            for number, run in enumerate(sorted(runs, key=lambda r: r.start_time), 1):
                handle = client.get_workflow_handle(id_, run_id=run.run_id)
                history = json.loads((await handle.fetch_history()).to_json())
                file = HISTORIES / f"{label}-run{number}.json"
                file.write_text(json.dumps(history, separators=(",", ":")) + "\n")
                print(file.name, len(history["events"]), "events")
        bureau.ledger.close()


async def main(names: list[str]) -> None:
    HISTORIES.mkdir(exist_ok=True)
    async with engine() as env:
        for name in names or [*COURSES, *MATTERS]:
            if name in MATTERS:
                await record_matter(name, MATTERS[name], env.client)
            else:
                await record(name, COURSES[name], env.client)
    await asyncio.sleep(0.1)  # sdk-python#300: the interpreter aborts without


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
