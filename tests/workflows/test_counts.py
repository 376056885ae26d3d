"""What a review costs, counted on the real engine and ledger, and that no text is in it."""

import json
import secrets
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from sqlalchemy import insert
from sqlmodel import Session, select
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from review.acts import submitting
from review.payloads import converter
from review.records.access import Access, issue_token
from review.records.engine import Ledger, counting
from review.records.tables import Step, Submission, Version
from review.requests import DecisionRequest
from starter.reviews import Reviews
from tests.acting import Course, warnings_of
from tests.bureau import Bureau, counted, weight
from tests.examples import CHECKLIST, MONDAY, a_draft, who
from workflows.publication import PublicationWorkflow
from workflows.submission import SubmissionWorkflow

MOST_EVENTS = 100
MOST_BYTES = 20_000
MOST_STATEMENTS = 15
OPINION = "同意，请按程序办理并注意时效"
BODY = "11月18日，现场推进会召开。3个市作了交流发言，安排部署下一步工作。"
TITLE = "全省秋冬季造林绿化现场推进会召开"


def text_in(history: WorkflowHistory) -> list[str]:
    """Return which of the texts stand in a history, in any way that its payloads are written."""
    stored = b"".join(event.SerializeToString() for event in history.events)
    texts = (TITLE, BODY, OPINION)
    ways = {text: (text.encode(), json.dumps(text)[1:-1].encode()) for text in texts}
    return [text for text, written in ways.items() if any(way in stored for way in written)]


@pytest.fixture
def web(bureau: Bureau, sqlite_url: str) -> Iterator[Ledger]:
    """The ledger as the web process has it open, so that the worker's turns aren't counted."""
    opened = Ledger(sqlite_url)
    yield opened
    opened.close()


async def test_clean_review_is_short_light_and_wordless(bureau: Bureau):
    """Design, Facts: the shape above; principle 7: text stays out of the engine."""
    structlog.contextvars.bind_contextvars(request_id=secrets.token_hex(8))  # as each request does
    submission = await bureau.submit(title=TITLE, body=BODY)
    for step in ("unit_review", "edit_proof2", "second_review", "final_review", "proof3_publish"):
        await bureau.run(submission, until=step)
        await bureau.decide(submission, step, opinion=OPINION)
    await bureau.until(lambda: bureau.row(submission).status == "published")
    await bureau.handle(submission).result()

    histories = await bureau.histories(submission)

    total: Counter[str] = Counter()
    for id_, history in histories.items():
        events = counted(history)
        print(f"{id_}: {events.total()} events, {weight(history)} bytes, {dict(events)}")
        assert text_in(history) == []
        total += events
    size = sum(weight(history) for history in histories.values())
    print(f"together: {total.total()} events, {size} bytes")
    assert len(histories) == 2
    assert total.total() <= MOST_EVENTS
    assert size <= MOST_BYTES
    replayer = Replayer(
        workflows=[SubmissionWorkflow, PublicationWorkflow], data_converter=converter({})
    )
    for history in histories.values():
        await replayer.replay_workflow(history)


async def test_decision_costs_few_statements_however_full_the_ledger_is(
    bureau: Bureau, web: Ledger
):
    """A decision request with its authentication and its nudge, through `Reviews`."""
    token = _token(bureau, "afforest_head")
    await _statements(bureau, web, token)  # what a process reads once, the pinned pack
    _fill(bureau, 10)
    with_ten = await _statements(bureau, web, token)
    _fill(bureau, 290)
    with_many = await _statements(bureau, web, token)

    print(f"statements of one decision: {len(with_ten)} and {len(with_many)}")
    print("\n".join(f"  {' '.join(one.split())[:110]}" for one in with_ten))
    assert len(with_ten) <= MOST_STATEMENTS
    assert with_ten == with_many


@pytest.mark.parametrize("category", ["work_news", "important", "emergency", "public_opinion"])
async def test_no_step_of_any_course_asks_more(quick_ledger: Ledger, category: str):
    moments = {"event_time": MONDAY.isoformat(), "found_time": MONDAY.isoformat()}
    course = Course(quick_ledger, "fire_info", category=category, **moments)
    access = Access(quick_ledger, clock=lambda: course.now)
    reviews = Reviews(quick_ledger, None, clock=lambda: course.now)
    asked: dict[str, int] = {}
    while steps := course.turn().open_steps:
        step = steps[0]
        name = course.usual(step.step, step.unit)
        token = quick_ledger.write(issue_token, name, "oa", course.now)
        request = DecisionRequest.model_validate(
            {
                "step": step.step, "verdict": "approve", "digest": course.row().digest,
                "unit": step.unit or None,
                "checklist": CHECKLIST if step.step == "unit_review" else {},
                "findings_seen": warnings_of(quick_ledger, course.id),
            }
        )  # fmt: skip
        with counting(quick_ledger) as statements:
            person = access.by_token(token)
            assert person is not None
            await reviews.decide(person, course.id, request, decision_id=token[:20], way_in="api")
        asked[step.step] = len(statements)

    print(category, asked)
    assert asked["final_review"] and asked["proof3_publish"]
    assert max(asked.values()) <= MOST_STATEMENTS


async def _statements(bureau: Bureau, web: Ledger, token: str) -> list[str]:
    """Return what one decision sends to the ledger, from the token to the answer."""
    submission = await bureau.submit()
    await bureau.settled(submission)
    request = DecisionRequest.model_validate(
        {
            "step": "unit_review", "verdict": "approve", "checklist": CHECKLIST,
            "digest": bureau.row(submission).digest, "opinion": OPINION,
            "findings_seen": warnings_of(bureau.ledger, submission),
        }
    )  # fmt: skip
    access = Access(web, clock=bureau.clock)
    reviews = Reviews(web, bureau.client, clock=bureau.clock, task_queue=bureau.queue)
    with counting(web) as statements:
        person = access.by_token(token)
        assert person is not None
        answer = await reviews.decide(person, submission, request, decision_id=None, way_in="api")
    assert answer["accepted"] and answer["delivered"]
    return list(statements)


def _token(bureau: Bureau, person: str) -> str:
    return bureau.ledger.write(lambda session: issue_token(session, person, "oa", bureau.clock()))


def _fill(bureau: Bureau, count: int) -> None:
    """Put copies of a submission that nobody works on into the ledger, with steps and text."""

    def fill(session: Session) -> None:
        author = who(session, "forest_info", MONDAY)
        first = submitting.submit(session, author, a_draft(), way_in="api", now=MONDAY)["id"]
        session.flush()
        for table in (Submission, Version, Step):
            key = table.id if table is Submission else table.submission_id
            rows = [row.model_dump() for row in session.exec(select(table).where(key == first))]
            session.execute(
                insert(table),
                [_copy(table, row, number) for row in rows for number in range(count - 1)],
            )

    bureau.ledger.write(fill)


def _copy(table: Any, row: dict[str, Any], number: int) -> dict[str, Any]:
    names = [name for name in ("id", "number", "submission_id") if name in row]
    return row | {name: f"{row[name]}-{number}" for name in names}
