"""The ways an item can take besides the plain one; each ends as the regulation says."""

from datetime import datetime

import pytest
from sqlmodel import col, select

from review.records import audit
from review.records.tables import Notice, PersonRow
from review.rules.errors import NotAllowedError, RefusedError, RuleError
from tests.acting import Course
from tests.acts.test_course import CATEGORIES
from tests.examples import SHANGHAI

EVENT = "2026-11-23T08:30:00+08:00"


def ok(course: Course) -> None:
    with course.ledger.reading() as session:
        assert audit.verify(session)["ok"]


def test_unchanged_answer_resumes_where_it_was_returned(quick_ledger):
    course = Course(quick_ledger)
    course.run("second_review")
    course.decide("deputy_b", "second_review", "return", reason_code="facts", opinion="请核实")
    position = course.turn()
    assert position.status == "returned", position
    course.edit("afforest_info")
    position = course.turn()
    assert [s.step for s in position.open_steps] == ["second_review"], position
    position = course.publish(course.run())
    assert position.status == "published"
    ok(course)


def test_changed_answer_begins_with_the_unit_again(quick_ledger):
    course = Course(quick_ledger)
    course.run("second_review")
    course.decide("deputy_b", "second_review", "return", reason_code="facts", opinion="请核实")
    course.turn()
    course.edit("afforest_info", body="新的文字，11月18日。", change="wording")
    position = course.turn()
    assert [s.step for s in position.open_steps] == ["unit_review"], position
    position = course.publish(course.run())
    assert position.status == "published"
    ok(course)


@pytest.mark.parametrize("to", ["unit_review", "edit_proof2", "second_review"])
def test_return_to_an_earlier_step_asks_from_there(quick_ledger, to):
    course = Course(quick_ledger)
    course.run("final_review")
    course.decide("chief", "final_review", "return", reason_code="facts", opinion="x", return_to=to)
    position = course.turn()
    assert [s.step for s in position.open_steps] == [to]
    position = course.publish(course.run())
    assert position.status == "published"
    ok(course)


def test_wording_edit_keeps_the_units_approval(quick_ledger):
    course = Course(quick_ledger)
    course.run("edit_proof2")
    course.edit(
        "editor_a",
        body="11月18日，全省秋冬季造林绿化现场推进会召开了。3个市作了交流发言。",
        change="wording",
    )
    position = course.turn()
    assert [s.step for s in position.open_steps] == ["edit_proof2"]
    position = course.publish(course.run())
    assert position.status == "published"
    ok(course)


def test_changed_figure_is_substance_and_the_unit_reconfirms(quick_ledger):
    course = Course(quick_ledger)
    course.run("edit_proof2")
    course.edit(
        "editor_a",
        body="11月18日，全省秋冬季造林绿化现场推进会召开。5个市作了交流发言。",
        change="wording",
    )
    position = course.turn()
    assert [s.step for s in position.open_steps] == ["edit_proof2"]
    course.decide("editor_a", "edit_proof2")
    position = course.turn()
    assert [s.step for s in position.open_steps] == ["unit_reconfirm"], position
    course.act("afforest_head", "reconfirm")
    position = course.turn()
    assert [s.step for s in position.open_steps] == ["second_review"], position
    position = course.publish(course.run())
    assert position.status == "published"
    ok(course)


def test_deputys_edit_brings_the_second_proof_back(quick_ledger):
    course = Course(quick_ledger)
    course.run("second_review")
    course.edit(
        "deputy_b",
        body="11月18日，全省秋冬季造林绿化现场推进会已召开。3个市作了交流发言。",
        change="wording",
    )
    position = course.turn()
    assert [s.step for s in position.open_steps] == ["edit_proof2"], position
    position = course.publish(course.run())
    assert position.status == "published"
    ok(course)


@pytest.mark.parametrize(
    "at", ["unit_review", "edit_proof2", "second_review", "final_review", "proof3_publish"]
)
@pytest.mark.parametrize("cat", ["important", "emergency", "public_opinion"])
def test_category_can_be_raised_at_every_step(quick_ledger, at, cat):
    course = Course(quick_ledger)
    course.run(at)
    course.act("deputy_b", "set_category", category=cat)
    position = course.turn()
    assert position.profile == cat
    position = course.publish(course.run())
    assert position.status == "published", position
    ok(course)


def test_only_the_chief_lowers_and_with_a_reason(quick_ledger):
    course = Course(quick_ledger, category="important")
    course.run("second_review")
    with pytest.raises(NotAllowedError):
        course.act("deputy_b", "set_category", category="work_news", reason="x")
    course.act("chief", "set_category", category="work_news", reason="x")
    position = course.turn()
    position = course.publish(course.run())
    assert position.status == "published", position
    ok(course)


def test_held_item_takes_no_decision_until_released(quick_ledger):
    course = Course(quick_ledger)
    position = course.run("second_review")
    due_at = position.open_steps[0].due_at
    course.act("chief", "hold", reason="x")
    position = course.turn()
    assert position.status == "held"
    with pytest.raises(RefusedError):
        course.decide("deputy_b", "second_review")
    position = course.wait(hours=2)
    course.act("chief", "release")
    position = course.turn()
    # three working hours were left at 9:00 and are left at 11:00
    assert due_at == datetime(2026, 11, 23, 12, tzinfo=SHANGHAI)
    assert position.open_steps[0].due_at == datetime(2026, 11, 23, 15, 30, tzinfo=SHANGHAI)
    position = course.publish(course.run())
    assert position.status == "published", position
    ok(course)


def test_withdrawn_item_is_done(quick_ledger):
    course = Course(quick_ledger)
    position = course.run("second_review")
    course.act("afforest_info", "withdraw")
    position = course.turn()
    assert position.status == "withdrawn" and position.done, position


def test_correction_replaces_with_the_next_generation(quick_ledger):
    course = Course(quick_ledger)
    position = course.publish(course.run())
    assert position.done
    course.act(
        "editor_a",
        "correct",
        reason="错字",
        base_digest=course.row().digest,
        body="11月18日，全省秋冬季造林绿化现场推进会召开。4个市作了交流发言。",
    )
    position = course.turn()
    position = course.run()
    position = course.publish(position)
    assert position.status == "published", position
    assert course.item(lambda i: [(x.generation, x.state) for x in i.publications()]) == [
        (1, "live"),
        (2, "live"),
    ]
    ok(course)


def test_correction_may_be_edited_on_the_way(quick_ledger):
    course = Course(quick_ledger)
    position = course.publish(course.run())
    course.act("editor_a", "correct", reason="错字", base_digest=course.row().digest)
    position = course.turn()
    course.edit(
        "editor_a",
        body="11月18日，全省秋冬季造林绿化现场推进会召开了。3个市作了交流发言。",
        change="wording",
    )
    position = course.publish(course.run())
    assert position.status == "published", position
    assert len(course.item(lambda i: i.publications())) == 2


def test_emergency_take_down_is_ratified(quick_ledger):
    course = Course(quick_ledger)
    position = course.publish(course.run())
    course.act("deputy_b", "retract", reason="错")
    position = course.turn()
    position = course.publish(position)
    assert position.status == "retracted", position
    course.act("chief", "ratify_retraction")
    position = course.turn()
    assert position.done, position


def test_failed_channel_is_sent_again_as_a_new_generation(quick_ledger):
    course = Course(quick_ledger)
    position = course.publish(course.run(), state="failed")
    assert position.status == "publishing"
    course.act("publisher_a", "retry_channel", channel="site")
    position = course.turn()
    position = course.publish(position)
    assert position.status == "published", position


def test_person_says_what_is_true_of_an_unknown_send(quick_ledger):
    course = Course(quick_ledger)
    position = course.publish(course.run(), state="unknown")
    assert position.status == "publishing" and not position.publish
    course.act("publisher_a", "resolve_unknown", channel="site", published=True)
    position = course.turn()
    assert position.status == "published", position


def _told(course: Course, kind: str, username: str) -> int:
    """Return how many notices of a kind somebody has of the item."""
    found = select(Notice).join(PersonRow, col(PersonRow.id) == col(Notice.person_id))
    found = found.where(PersonRow.username == username, Notice.kind == kind)
    with course.ledger.reading() as session:
        return len(session.exec(found.where(Notice.submission_id == course.id)).all())


def test_take_down_that_failed_is_still_online_and_never_sent_anew(quick_ledger):
    """A-24: it is told each time, may be tried again, and no second copy goes out meanwhile."""
    course = Course(quick_ledger)
    course.publish(course.run())
    for tries in (1, 2):
        course.act("deputy_b", "retract", reason="错")
        position = course.publish(course.turn(), state="failed", detail="publication.superseded")
        assert not position.publish, "the platform is not asked again by itself"
        (publication,) = course.item(lambda i: i.publications())
        assert (publication.state, publication.wanted) == ("live", "live")
        assert _told(course, "retraction_failed", "publisher_a") == tries
    with pytest.raises(RefusedError) as refused:
        course.act("publisher_a", "retry_channel", channel="site")
    assert refused.value.code == "nothing_changed"
    with pytest.raises(RefusedError):
        course.claim("site", 2)

    course.act("deputy_b", "retract", reason="错")
    position = course.publish(course.turn())
    assert position.status == "retracted", position


def test_take_down_of_unknown_end_waits_for_a_person(quick_ledger):
    course = Course(quick_ledger)
    course.publish(course.run())
    course.act("deputy_b", "retract", reason="错")
    position = course.publish(course.turn(), state="unknown")
    assert not position.publish
    with pytest.raises(RefusedError) as refused:
        course.act("publisher_a", "retry_channel", channel="site")
    assert refused.value.code == "publication_unknown"

    course.act("publisher_a", "resolve_unknown", channel="site", published=False)

    (publication,) = course.item(lambda i: i.publications())
    assert publication.state == "retracted", "what was live is gone; it did not fail to go out"
    with pytest.raises(RefusedError):
        course.act("publisher_a", "retry_channel", channel="site")
    assert course.turn().status == "retracted"


def test_each_units_channels_go_out_with_its_own_proof(quick_ledger):
    course = Course(quick_ledger, "pest_info", channels=["site", "mini_pest"])
    position = course.run("proof3_publish")
    course.decide("publisher_a", "proof3_publish", unit="center")
    position = course.turn()
    assert [d.channel for d in position.publish] == ["site"]
    position = course.publish(position)
    assert position.status == "publishing"
    course.decide("pest_operator", "proof3_publish")
    position = course.publish()
    assert position.status == "published", position


def test_countersigning_and_added_units_must_agree(quick_ledger):
    course = Course(quick_ledger, category="important", countersign_units=["forest", "fire"])
    position = course.run("countersign")
    for u in ("forest", "fire"):
        course.decide(f"{u}_head", "countersign", unit=u)
    position = course.turn()
    course.run("final_review")
    course.act("chief", "add_signer", unit="pest")
    position = course.turn()
    course.decide("leader_eco", "final_review")
    position = course.turn()
    assert [s.step for s in position.open_steps] == ["add_signer"], position
    course.decide("pest_head", "add_signer")
    position = course.publish(course.run())
    assert position.status == "published", position


def test_expired_authorisation_reopens_the_final_review(quick_ledger):
    course = Course(quick_ledger)
    course.run("proof3_publish")
    position = course.wait(days=10)
    assert [s.step for s in position.open_steps] == ["final_review"], position
    position = course.publish(course.run())
    assert position.status == "published", position


def test_set_moment_is_waited_for(quick_ledger):
    course = Course(quick_ledger, publish_at="2026-11-25T09:00:00+08:00")
    position = course.run()
    assert position.status == "authorised" and not position.publish, position
    with pytest.raises(RefusedError):
        course.claim()
    position = course.wait(days=2, minutes=1)
    assert position.publish
    position = course.publish(position)
    assert position.status == "published"


def test_returned_item_is_closed_as_withdrawn_never_approved(quick_ledger):
    course = Course(quick_ledger)
    course.run("second_review")
    course.decide("deputy_b", "second_review", "return", reason_code="facts", opinion="请核实")
    course.turn()
    position = course.wait(days=20)
    assert position.status == "withdrawn" and position.done


def test_skipped_opinion_is_flagged_and_given_late(quick_ledger):
    course = Course(quick_ledger, "fire_info", category="emergency", event_time=EVENT)
    course.run("center_sign")
    course.decide("chief", "center_sign")
    position = course.wait(minutes=25)
    assert [s.step for s in position.open_steps] == ["final_review"], position
    position = course.publish(course.run())
    assert position.status == "published"
    course.act("reviewer_b", "late_opinion", step="office_opinion", opinion="同意")
    position = course.turn()
    assert position.done, position


def test_two_hundred_silent_hours_approve_nothing(quick_ledger):
    course = Course(quick_ledger)
    position = course.turn()
    for _ in range(200):
        position = course.wait(hours=1)

    assert [s.step for s in position.open_steps] == ["unit_review"]
    step = course.item(lambda i: i.steps[0])
    assert step.reminders_sent > 6
    assert step.escalated == 2
    assert course.row().status == "in_review"


def test_altered_repost_leaves_the_fast_lane(quick_ledger):
    course = Course(quick_ledger, "center_info", **CATEGORIES["repost_fast"])
    course.run("second_review")
    course.edit("deputy_b", body="改写了的文字")
    position = course.turn()
    assert position.profile == "work_news"
    position = course.publish(course.run())
    assert position.status == "published", position


def test_content_that_expires_is_watched_after_publishing(quick_ledger):
    course = Course(quick_ledger, valid_until="2026-12-20T00:00:00+08:00")
    position = course.publish(course.run())
    assert position.status == "published" and not position.done and position.next_at
    position = course.wait(days=40)
    assert position.done, position


def test_delegate_acts_for_the_absent(quick_ledger):
    course = Course(quick_ledger)
    course.run("second_review")
    course.act("deputy_b", "delegate", to="editor_b", until="2026-11-25T00:00:00+08:00")
    course.decide("editor_b", "second_review")
    position = course.publish(course.run())
    assert position.status == "published"


def test_transferred_step_is_the_others_alone(quick_ledger):
    course = Course(quick_ledger)
    course.run("second_review")
    course.act("deputy_b", "transfer", to="deputy_c", step="second_review")
    course.turn()
    with pytest.raises(RuleError):
        course.decide("deputy_b", "second_review")
    course.decide("deputy_c", "second_review")
    position = course.publish(course.run())
    assert position.status == "published"
