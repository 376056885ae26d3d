"""Refusals from the outside, and the same request twice at the same moment."""

import asyncio
from datetime import datetime
from typing import Any

import pytest
from sqlmodel import Session, SQLModel, select

from review.records.engine import Ledger
from review.records.tables import Audit, Submission
from review.requests import ActRequest, DecisionRequest, NewVersion
from review.rules.errors import KeyReusedError, RuleError
from starter.reviews import Reviews
from tests.acting import Course
from tests.examples import CHECKLIST, MONDAY, a_draft, grant, who


def reviews(ledger: Ledger, now: datetime = MONDAY) -> Reviews:
    return Reviews(ledger, None, clock=lambda: now)


def everything(ledger: Ledger, *, but: set[str]) -> dict[str, list[Any]]:
    """Return every row of the ledger, table by table."""
    with ledger.reading() as session:
        return {
            name: sorted(map(repr, session.execute(table.select()).all()))
            for name, table in SQLModel.metadata.tables.items()
            if name not in but
        }


def person(ledger: Ledger, name: str) -> Any:
    with ledger.reading() as session:
        return who(session, name)


REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "not the person's step": ("editor_a", {}, "not_your_step"),
    "an older text": ("deputy_b", {"digest": "sha256:" + "0" * 64}, "stale_version"),
    "an older round": ("deputy_b", {"round": 7}, "stale_round"),
    "a step that is not open": ("chief", {"step": "final_review"}, "step_not_open"),
    "a step that was decided": ("editor_b", {"step": "edit_proof2"}, "already_decided"),
    "a foreign unit": ("forest_head", {}, "not_found"),
    "a second tier": ("afforest_head", {}, "separation_of_duties"),
    "changes that the pack does not offer": (
        "deputy_b", {"verdict": "approve_with_changes", "opinion": "x"},
        "approve_with_changes_off",
    ),
    "a return to a later step": (
        "deputy_b",
        {"verdict": "return", "reason_code": "facts", "opinion": "x",
         "return_to": "final_review"},
        "return_to_unknown",
    ),
    "a return to itself": (
        "deputy_b",
        {"verdict": "return", "reason_code": "facts", "opinion": "x",
         "return_to": "second_review"},
        "return_to_unknown",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
async def test_refused_decision_leaves_an_audit_line_and_nothing_else(quick_ledger, name):
    """Invariant 5; R1.3-2."""
    quick_ledger.write(lambda s: grant(s, "afforest_head", "center_deputy"))
    course = Course(quick_ledger)
    course.run("second_review")
    by, fields, code = REFUSED[name]
    chain = {"audit", "submission"}
    before, head = everything(quick_ledger, but=chain), course.row()
    given = {"step": "second_review", "verdict": "approve", "digest": head.digest} | fields

    with pytest.raises(RuleError) as refused:
        await reviews(quick_ledger).decide(
            person(quick_ledger, by), course.id, DecisionRequest.model_validate(given),
            decision_id=None, way_in="api",
        )  # fmt: skip

    assert refused.value.code == code
    assert everything(quick_ledger, but=chain) == before
    after = course.row()
    assert after.model_dump(exclude={"audit_n", "audit_head"}) == head.model_dump(
        exclude={"audit_n", "audit_head"}
    )
    with quick_ledger.reading() as session:
        last = session.exec(select(Audit).order_by(Audit.seq.desc())).first()  # type: ignore
    assert (last.event, last.data["code"], last.person_id) == ("refused", code, by)


async def test_two_people_deciding_at_once_count_once(ledger):
    """Both databases: the later one hears who was first."""
    course = Course(ledger)
    course.run("second_review")
    request = DecisionRequest(step="second_review", verdict="approve", digest=course.row().digest)
    deciders = [person(ledger, name) for name in ("deputy_b", "deputy_c") * 4]

    answers = await asyncio.gather(
        *(
            reviews(ledger).decide(one, course.id, request, decision_id=None, way_in="api")
            for one in deciders
        ),
        return_exceptions=True,
    )

    taken = [one for one in answers if isinstance(one, dict)]
    codes = {one.code for one in answers if isinstance(one, RuleError)}
    assert (len(taken), codes) == (1, {"already_decided"})
    assert len(course.item(lambda i: [d for d in i.decisions if d.key == "second_review"])) == 1


async def test_same_decision_sent_many_times_at_once_is_one(ledger):
    course = Course(ledger)
    course.turn()
    head = person(ledger, "afforest_head")
    request = DecisionRequest(
        step="unit_review", verdict="approve", digest=course.row().digest, checklist=CHECKLIST
    )

    answers = await asyncio.gather(
        *(
            reviews(ledger).decide(head, course.id, request, decision_id="once", way_in="api")
            for _ in range(8)
        )
    )

    assert all(answer == answers[0] for answer in answers)
    assert len(course.item(lambda i: i.decisions)) == 1


async def test_same_submission_sent_many_times_at_once_is_one(ledger):
    """Contract, Repeats: the same key gives the first answer and no second effect."""
    author = person(ledger, "afforest_info")

    answers = await asyncio.gather(
        *(
            reviews(ledger).submit(author, a_draft(), key="once", way_in="api")
            for _ in range(8)
        )
    )  # fmt: skip

    assert len({answer["id"] for answer in answers}) == 1
    with ledger.reading() as session:
        assert len(session.exec(select(Submission)).all()) == 1


async def test_key_is_one_persons_and_one_bodys(quick_ledger):
    course = Course(quick_ledger)
    course.turn()
    officer, other = person(quick_ledger, "afforest_info"), person(quick_ledger, "afforest_info2")
    first = ActRequest(act="comment", reason="一")
    await reviews(quick_ledger).act(officer, course.id, first, key="k", way_in="api")

    with pytest.raises(KeyReusedError):
        await reviews(quick_ledger).act(
            officer, course.id, ActRequest(act="comment", reason="二"), key="k", way_in="api"
        )
    again = await reviews(quick_ledger).act(officer, course.id, first, key="k", way_in="api")
    others = await reviews(quick_ledger).act(other, course.id, first, key="k", way_in="api")

    assert again == others

    def comments(session: Session) -> int:
        return len(session.exec(select(Audit).where(Audit.event == "comment")).all())

    with quick_ledger.reading() as session:
        assert comments(session) == 2


async def test_decision_id_of_another_person_or_item_is_refused(quick_ledger):
    course, elsewhere = Course(quick_ledger), Course(quick_ledger)
    course.turn()
    elsewhere.turn()
    quick_ledger.write(lambda s: grant(s, "section_head", "unit_head", "afforest"))
    request = DecisionRequest(
        step="unit_review", verdict="approve", digest=course.row().digest, checklist=CHECKLIST
    )
    head, second = person(quick_ledger, "afforest_head"), person(quick_ledger, "section_head")
    await reviews(quick_ledger).decide(head, course.id, request, decision_id="d", way_in="api")

    for by, item in ((second, course), (head, elsewhere)):
        with pytest.raises(KeyReusedError):
            await reviews(quick_ledger).decide(
                by, item.id, request, decision_id="d", way_in="api"
            )  # fmt: skip

    assert elsewhere.item(lambda i: i.decisions) == []


async def test_edit_of_a_stranger_changes_nothing(quick_ledger):
    course = Course(quick_ledger)
    course.run("edit_proof2")
    before = course.row().digest
    request = NewVersion(base_digest=before, body="别的文字。")

    for name, code in (("forest_info", "not_found"), ("publisher_a", "no_edit_step")):
        with pytest.raises(RuleError) as refused:
            await reviews(quick_ledger).new_version(
                person(quick_ledger, name), course.id, request, key=None, way_in="api"
            )
        assert refused.value.code == code

    assert course.row().digest == before
