"""Silence on the real engine with skipped time: reminded, escalated, never approved (R1.3-7)."""

import re
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from temporalio.client import Client
from temporalio.testing import TimeSkipper, TimeSkippingConfig

from review.acts.adopting import adopt_policy
from review.packs import builtin_pack, load_pack
from review.records.engine import Ledger
from review.records.tables import Decision, MilestoneRow, Notice
from review.rules.positions import Nudge, Position
from tests.bureau import Bureau, counted

SOON = timedelta(milliseconds=200)  # past a milestone, so that both clocks agree it has come


class PatientBureau(Bureau):
    """A bureau in which time can be skipped; worker and web go by the workflow's clock."""

    def __init__(self, ledger: Ledger, client: Client, data: Path) -> None:
        self.skipper = TimeSkipper(client, config=TimeSkippingConfig(enabled=False))
        super().__init__(ledger, self.skipper.client, data)

    async def skip_to(self, submission: str, moment: datetime) -> None:
        """Let time pass up to a moment, milestone by milestone."""
        handle = self.handle(submission)
        while (position := await self.position(submission)).next_at is not None:
            if position.next_at > moment:
                break
            await self._skip(submission, position.next_at + SOON)
            await self.until_later(submission, position)
        if self.clock() < moment and (await handle.describe()).close_time is None:
            await self._skip(submission, moment)

    async def until_later(self, submission: str, before: Position) -> None:
        """Wait until a turn has seen to the milestone that was next."""

        def seen() -> bool:
            rows = self.rows(MilestoneRow, submission)
            return not any(
                row.at == before.next_at and row.fired_at is None and not row.dropped
                for row in rows
            )

        await self.until(seen, f"{before.next_mark} at {before.next_at} was slept through")
        while (await self.position(submission)).next_at == before.next_at:
            pass

    async def _skip(self, submission: str, moment: datetime) -> None:
        await self.idle(self.handle(submission))
        length = moment - self.clock()
        self.clock.ahead += length
        await self.skipper.fast_forward(self.handle(submission), length)


@pytest.fixture
async def bureau(
    server: Client, quick_ledger: Ledger, tmp_path: Path
) -> AsyncIterator[PatientBureau]:
    """A bureau whose limits are hours on the wall, so that no weekend changes what is seen."""
    pack = tmp_path / "hours.yaml"
    text = builtin_pack("demo-seconds").read_text(encoding="utf-8")
    pack.write_text(re.sub(r"(\d+)s\b", r"\1h", text), encoding="utf-8")
    quick_ledger.write(adopt_policy, load_pack(pack), datetime.now(UTC))
    patient = PatientBureau(quick_ledger, server, tmp_path)
    async with patient.worker():
        yield patient


def hours(bureau: Bureau, submission: str, **where: str) -> list[tuple[str, int]]:
    """Return what silence led to, with the whole hours since the submission came in."""
    began = bureau.row(submission).submitted_at
    rows = [row for row in bureau.rows(MilestoneRow, submission) if row.fired_at]
    return sorted(
        (row.mark, round((row.fired_at - began) / timedelta(hours=1)))
        for row in rows
        if all(getattr(row, name) == value for name, value in where.items())
    )


async def test_silent_step_is_reminded_and_escalated_and_never_approved(bureau: PatientBureau):
    """R1.3-7, A-14; 60 hours in which nobody does anything."""
    submission = await bureau.submit()
    await bureau.settled(submission)

    await bureau.skip_to(submission, bureau.clock() + timedelta(hours=60.5))

    row = bureau.row(submission)
    assert hours(bureau, submission, kind="remind") == [
        ("0/remind:100", 7), ("0/remind:50", 4), ("0/repeat:1", 15), ("0/repeat:2", 23),
        ("0/repeat:3", 31), ("0/repeat:4", 39), ("0/repeat:5", 47),
    ]  # fmt: skip
    assert hours(bureau, submission, kind="overdue") == [("0/overdue", 7)]
    assert hours(bureau, submission, kind="escalate_backup") == [("0/escalate_backup:100", 7)]
    assert [at for _, at in hours(bureau, submission, kind="escalate_superior")] in ([10], [11])
    assert [at for _, at in hours(bureau, submission, kind="item_alarm")] == [60, 48]
    notices = bureau.rows(Notice, submission)
    told = Counter(one.kind for one in notices if one.person_id == "afforest_head")
    assert told["remind"] == 7  # the cap of five repeats, then daily (3.2)
    assert [step.key for step in bureau.open_steps(submission)] == ["unit_review"]
    assert (row.status, bureau.rows(Decision, submission)) == ("in_review", [])
    assert bureau.publications(submission) == []
    position = await bureau.position(submission)
    assert position.overdue and "supervisor_a" in position.open_steps[0].people
    events = counted(await bureau.handle(submission).fetch_history())
    moments = {at for _, at in hours(bureau, submission)}
    assert events["ACTIVITY_TASK_SCHEDULED"] == events["TIMER_STARTED"] == len(moments) + 1
    assert events["TIMER_CANCELED"] == 0


async def test_later_deadline_leaves_the_timer_alone(bureau: PatientBureau):
    """Design, Waiting: it wakes once too early and only looks."""
    submission = await bureau.submit()
    await bureau.settled(submission)
    start = bureau.clock()

    await bureau.act(
        submission, "set_deadline", by="supervisor_a", reason="延期",
        due_at=(start + timedelta(hours=20)).isoformat(),
    )  # fmt: skip
    await bureau.settled(submission)
    moved = counted(await bureau.handle(submission).fetch_history())
    await bureau.skip_to(submission, start + timedelta(hours=12))

    events = counted(await bureau.handle(submission).fetch_history())
    assert (moved["TIMER_STARTED"], moved["TIMER_CANCELED"]) == (1, 0)
    assert hours(bureau, submission) == [("1/remind:50", 10)]
    assert (events["TIMER_STARTED"], events["TIMER_CANCELED"]) == (3, 0)
    assert events["ACTIVITY_TASK_SCHEDULED"] == 3


async def test_earlier_deadline_replaces_the_timer(bureau: PatientBureau):
    """R5.1-3: a leader may set a tighter moment."""
    submission = await bureau.submit()
    await bureau.settled(submission)
    start = bureau.clock()

    await bureau.act(
        submission, "set_deadline", by="supervisor_a", reason="提前",
        due_at=(start + timedelta(hours=2)).isoformat(),
    )  # fmt: skip
    await bureau.settled(submission)
    await bureau.skip_to(submission, start + timedelta(hours=2.5))

    events = counted(await bureau.handle(submission).fetch_history())
    assert hours(bureau, submission, kind="remind") == [("1/remind:100", 2), ("1/remind:50", 1)]
    assert (events["TIMER_STARTED"], events["TIMER_CANCELED"]) == (4, 1)


async def test_only_an_opinion_that_may_be_skipped_is_skipped(bureau: PatientBureau):
    """A-1: the office's opinion is flagged and left out, the center's signature is waited for."""
    submission = await bureau.submit(
        "fire_info", category="emergency", event_time=bureau.clock().isoformat()
    )
    await bureau.run(submission, until="center_sign")

    await bureau.skip_to(submission, bureau.clock() + timedelta(hours=5.5))

    states = {step.key: step.state for step in bureau.steps(submission)}
    assert states["office_opinion"] == "skipped"
    assert states["center_sign"] == "open"
    assert states["final_review"] == "waiting"


async def test_returned_item_nobody_answers_is_withdrawn_not_approved(bureau: PatientBureau):
    """3.2, other clocks."""
    submission = await bureau.submit()
    await bureau.settled(submission)
    await bureau.decide(
        submission, "unit_review", "return", reason_code="facts", opinion="数字与来源不符"
    )
    await bureau.settled(submission)

    await bureau.skip_to(submission, bureau.clock() + timedelta(hours=121))

    assert (await bureau.handle(submission).result()).status == "withdrawn"
    assert [at for _, at in hours(bureau, submission, kind="returned_remind")] == [10, 20, 30]


async def test_worker_whose_clock_is_wrong_does_nothing(bureau: PatientBureau):
    """Design, Turns: clocks further apart than a minute are an alarm, not a moment."""
    submission = await bureau.submit()
    await bureau.settled(submission)
    handle = bureau.handle(submission)

    bureau.clock.ahead = timedelta(days=365)
    await handle.signal("decided", Nudge(submission_id=submission))
    failure = await bureau.last_failure(submission)
    fired = hours(bureau, submission)
    bureau.clock.ahead = timedelta(0)
    await bureau.run(submission, until="edit_proof2")

    assert failure == "ClockApart"
    assert fired == []
