"""A text with a stop finding reaches no disk (requirements 0, invariant 3; R1.3-4)."""

from pathlib import Path

import pytest
from sqlmodel import col, select

from review.records.tables import Audit, Notice, Submission
from review.requests import ActRequest, DecisionRequest
from review.rules.errors import RefusedError
from starter.reviews import Reviews
from tests.acting import Course
from tests.examples import CHECKLIST, a_draft, who

CANARY = "某重点区域金丝雀测绘成果"
ID = "130100190001010011"


def person(ledger, name):
    with ledger.reading() as session:
        return who(session, name)


def bytes_of(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    "draft",
    [
        {"body": f"秘密★1年\n{CANARY}"},
        {"title": f"机密★{CANARY}"},
        {"body": f"{CANARY}，身份证号{ID}"},
        {"background": f"{CANARY}，卡号6222020000000000000"},
    ],
)
async def test_stopped_submission_leaves_no_character_on_disk(quick_ledger, tmp_path, draft):
    reviews = Reviews(quick_ledger, None)
    author = person(quick_ledger, "afforest_info")

    with pytest.raises(RefusedError) as refused:
        await reviews.submit(author, a_draft(**draft), key="k1", way_in="api")

    assert refused.value.code == "screening_stop"
    kept = bytes_of(tmp_path)
    assert CANARY.encode() not in kept
    assert ID.encode() not in kept
    with quick_ledger.reading() as session:
        assert session.exec(select(Submission)).all() == []
        [entry] = session.exec(select(Audit).where(Audit.event == "screening_stop")).all()
        [notice] = session.exec(select(Notice)).all()
    assert entry.person_id == "afforest_info"
    assert set(entry.data) == {"what", "rules", "salt", "hash"}
    assert notice.person_id == "security"


async def test_opinions_and_reasons_are_screened_too(quick_ledger, tmp_path):
    course = Course(quick_ledger)
    course.turn()
    reviews = Reviews(quick_ledger, None)
    head = person(quick_ledger, "afforest_head")
    decision = DecisionRequest(
        step="unit_review", verdict="approve", digest=course.row().digest,
        checklist=CHECKLIST, opinion=f"绝密★{CANARY}",
    )  # fmt: skip
    comment = ActRequest(act="comment", reason=f"{CANARY} {ID}")

    with pytest.raises(RefusedError):
        await reviews.decide(head, course.id, decision, decision_id="d1", way_in="api")
    with pytest.raises(RefusedError):
        await reviews.act(head, course.id, comment, key=None, way_in="api")

    assert CANARY.encode() not in bytes_of(tmp_path)
    with quick_ledger.reading() as session:
        stops = session.exec(select(Audit).where(col(Audit.event) == "screening_stop")).all()
    assert len(stops) == 2
