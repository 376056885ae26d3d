"""Ways back: what a return or an edit asks for anew, and that no way back leads nowhere (A-15)."""

from datetime import timedelta
from typing import Any

import pytest
from sqlmodel import select

from review.records.tables import Notice
from review.rules.errors import MalformedError, NotAllowedError, RefusedError
from tests.acting import Course
from tests.examples import grant

RETURN = {"verdict": "return", "reason_code": "facts", "opinion": "请核实"}
FIGURES = "11月18日，全省秋冬季造林绿化现场推进会召开。5个市作了交流发言。"
WORDING = "11月18日，全省秋冬季造林绿化现场推进会召开了。3个市作了交流发言。"
EVENT = "2026-11-23T08:30:00+08:00"


def open_keys(course: Course) -> list[str]:
    return [step.step for step in course.turn().open_steps]


def rounds(course: Course) -> int:
    return int(course.row().round)


def published(course: Course) -> bool:
    return course.publish(course.run()).status == "published"


def edited(ledger: Any, until: str, **draft: Any) -> Course:
    """Return an item with a figure that the editor changed, up to a step."""
    course = Course(ledger, **draft)
    course.run("edit_proof2")
    course.edit("editor_a", body=FIGURES, change="wording")
    course.run(until)
    return course


def test_round_counts_each_return_once(quick_ledger):
    """Contract: `round` counts repeats after a return."""
    course = Course(quick_ledger)
    for expected in (2, 3):
        course.run("second_review")
        course.decide("deputy_b", "second_review", **RETURN)
        course.turn()
        course.edit("afforest_info")
        course.turn()
        assert rounds(course) == expected

    assert published(course)


def test_return_of_a_reconfirmed_text_to_the_editor_asks_the_unit_again(quick_ledger):
    """A-15, A-16: without it the gate would stay closed for ever."""
    course = edited(quick_ledger, "second_review")

    course.decide("deputy_b", "second_review", return_to="edit_proof2", **RETURN)
    assert open_keys(course) == ["edit_proof2"]
    course.decide("editor_a", "edit_proof2")

    assert open_keys(course) == ["unit_reconfirm"]
    assert published(course)


@pytest.mark.parametrize("to", ["author", "edit_proof2", "unit_review"])
def test_unit_that_does_not_reconfirm_sends_the_text_back(quick_ledger, to):
    """A-16."""
    course = edited(quick_ledger, "unit_reconfirm")

    course.decide("afforest_head", "unit_reconfirm", return_to=to, **RETURN)
    if to == "author":
        assert course.turn().status == "returned"
        course.edit("afforest_info")
    expected = {"author": "unit_reconfirm", "edit_proof2": "edit_proof2"}.get(to, "unit_review")

    assert open_keys(course) == [expected]
    assert published(course)


def test_reconfirmation_counts_for_its_own_text_only(quick_ledger):
    """A-16: a later substantive edit is answered anew."""
    course = edited(quick_ledger, "second_review")

    course.edit("deputy_b", body=FIGURES.replace("5", "6"), change="wording")

    course.run("unit_reconfirm")
    assert open_keys(course) == ["unit_reconfirm"]
    assert published(course)


def test_edit_that_is_taken_back_needs_no_reconfirmation(quick_ledger):
    """A-16: the unit approved exactly this text."""
    course = Course(quick_ledger)
    first = course.row().digest
    course.run("edit_proof2")
    course.edit("editor_a", body=FIGURES)
    body = "11月18日，全省秋冬季造林绿化现场推进会召开。3个市作了交流发言。"
    course.edit("editor_a", body=body)

    course.decide("editor_a", "edit_proof2")

    assert course.row().digest == first
    assert open_keys(course) == ["second_review"]
    assert published(course)


def test_unanswered_reconfirmation_of_an_emergency_is_decided_by_the_second_review(quick_ledger):
    """A-16; 3.2: 20 minutes, then T2 decides and notes it."""
    course = edited(quick_ledger, "unit_reconfirm", category="emergency", event_time=EVENT)

    position = course.wait(minutes=21)

    assert [step.step for step in position.open_steps] == ["second_review"]
    assert course.row().status == "in_review"
    assert published(course)


def test_wording_edit_only_tells_the_unit(quick_ledger):
    """A-16: with the diff, nobody is asked."""
    course = Course(quick_ledger)
    course.run("edit_proof2")

    course.edit("editor_a", body=WORDING, change="wording")

    with quick_ledger.reading() as session:
        told = session.exec(select(Notice.person_id).where(Notice.kind == "edited")).all()
    assert set(told) == {"afforest_head", "afforest_info", "afforest_info2"}
    assert published(course)


def test_unit_head_edits_before_approving_and_is_not_asked_twice(quick_ledger):
    """Requirements 1.8: edits its own unit's."""
    course = Course(quick_ledger)
    course.turn()

    course.edit("afforest_head", body=FIGURES)

    assert open_keys(course) == ["unit_review"]
    assert published(course)


@pytest.mark.parametrize(
    ("person", "until"),
    [("afforest_info", "second_review"), ("editor_a", "unit_review"), ("editor_a", "final_review"),
     ("chief", "final_review"), ("publisher_a", "proof3_publish"), ("auditor_a", "edit_proof2"),
     ("deputy_b", "edit_proof2")],
)  # fmt: skip
def test_text_is_edited_only_by_whom_its_open_step_lets(quick_ledger, person, until):
    """Requirements 1.8."""
    course = Course(quick_ledger)
    course.run(until)
    digest = course.row().digest

    with pytest.raises(NotAllowedError):
        course.edit(person, body=FIGURES)

    assert course.row().digest == digest


def test_edit_of_an_older_text_is_refused(quick_ledger):
    course = Course(quick_ledger)
    course.run("edit_proof2")
    first = course.row().digest
    course.edit("editor_a", body=WORDING, change="wording")

    with pytest.raises(RefusedError) as refused:
        course.edit("editor_b", body=FIGURES, base_digest=first)

    assert refused.value.code == "stale_version"
    assert refused.value.params["by"] == "editor_a"


def test_answer_that_was_not_proofed_is_not_taken(quick_ledger):
    """R2.1-3, 一校."""
    course = Course(quick_ledger)
    course.turn()
    course.decide("afforest_head", "unit_review", **RETURN)

    with pytest.raises(MalformedError):
        course.edit("afforest_info", body=FIGURES, proofread=False)

    assert course.row().version == 1


def test_second_officer_who_answers_is_an_author_too(quick_ledger):
    """Invariant 4."""
    quick_ledger.write(lambda s: grant(s, "afforest_info2", "unit_head", "afforest"))
    course = Course(quick_ledger)
    course.turn()
    course.decide("afforest_head", "unit_review", **RETURN)
    course.edit("afforest_info2", body=FIGURES)
    course.turn()

    with pytest.raises(RefusedError) as refused:
        course.decide("afforest_info2", "unit_review")

    assert refused.value.code == "separation_of_duties"


def test_signer_who_was_added_is_heard_again_after_a_return(quick_ledger):
    """加签, A-15: a return drops nobody."""
    course = Course(quick_ledger)
    course.run("second_review")
    course.act("deputy_b", "add_signer", unit="pest")
    course.turn()
    course.decide("pest_head", "add_signer", unit="pest")
    course.run("final_review")

    course.decide("chief", "final_review", return_to="second_review", **RETURN)

    position = course.turn()
    assert sorted(step.step for step in position.open_steps) == ["add_signer", "second_review"]
    course.decide("pest_head", "add_signer", unit="pest")
    assert published(course)


def test_signer_beside_an_edit_step_is_asked_about_the_new_text(quick_ledger):
    """加签, A-15."""
    course = Course(quick_ledger)
    course.run("edit_proof2")
    course.act("chief", "add_signer", unit="pest")
    course.turn()
    course.decide("pest_head", "add_signer", unit="pest")

    course.edit("editor_a", body=WORDING, change="wording")

    assert sorted(open_keys(course)) == ["add_signer", "edit_proof2"]
    course.decide("pest_head", "add_signer", unit="pest")
    assert published(course)


def test_signer_added_at_the_third_proof_holds_the_sending_back(quick_ledger):
    """加签, R1.3-2: nothing is even tried before the signer agreed."""
    course = Course(quick_ledger)
    course.run("proof3_publish")
    course.act("chief", "add_signer", unit="pest")
    course.turn()
    course.decide("publisher_a", "proof3_publish")

    assert course.turn().publish == ()
    course.decide("pest_head", "add_signer", unit="pest")

    assert [deed.channel for deed in course.turn().publish] == ["site"]
    assert published(course)


def test_returned_item_is_reminded_and_closed_once_each_whatever_happens_to_it(quick_ledger):
    """3.2, other clocks: 1, 3, 5 working days; closed after 10, never approved."""
    course = Course(quick_ledger)
    course.run("second_review")
    course.decide("deputy_b", "second_review", **RETURN)
    course.turn()
    course.act("deputy_b", "set_category", category="important")
    start = course.now

    for day in range(1, 17):
        course.until(start + timedelta(days=day))

    with quick_ledger.reading() as session:
        kinds = [
            notice.kind
            for notice in session.exec(select(Notice).where(Notice.person_id == "afforest_info"))
        ]
    assert kinds.count("returned_remind") == 3
    assert kinds.count("closed") == 1
    assert course.row().status == "withdrawn"
    assert course.item(lambda item: item.publications()) == []


def test_correction_can_be_returned_and_what_is_out_stays_out(quick_ledger):
    """A-24: ten days of silence withdraw no published item."""
    course = Course(quick_ledger)
    course.publish(course.run())
    course.act("editor_a", "correct", base_digest=course.row().digest, body=WORDING,
               change="wording", reason="错字")  # fmt: skip
    course.run("final_review")

    course.decide("chief", "final_review", **RETURN)
    course.turn()
    position = course.wait(days=30)

    assert position.status == "returned"
    course.edit("afforest_info", body=WORDING)
    assert published(course)
    assert [p.generation for p in course.item(lambda i: i.publications())] == [1, 2]


def test_correction_is_not_rejected_since_its_item_is_out(quick_ledger):
    """A-24: a rejected item could no longer be retracted."""
    course = Course(quick_ledger)
    course.publish(course.run())
    course.act("editor_a", "correct", base_digest=course.row().digest, reason="错字")
    course.run("second_review")

    with pytest.raises(RefusedError) as refused:
        course.decide("deputy_b", "second_review", "reject", opinion="不必")

    assert refused.value.code == "already_publishing"
    course.act("chief", "retract", reason="撤")
    assert course.turn().publish[0].wanted == "retracted"


def test_what_is_being_sent_is_not_returned(quick_ledger):
    """R1.3-6."""
    course = Course(quick_ledger, channels=["site", "mini_pest"])
    position = course.run("proof3_publish")
    course.decide("publisher_a", "proof3_publish", unit="center")
    course.turn()
    course.claim("site")

    with pytest.raises(RefusedError) as refused:
        course.decide("pest_operator", "proof3_publish", unit="pest", **RETURN)

    assert refused.value.code == "already_publishing"
    assert len(position.open_steps) == 2
