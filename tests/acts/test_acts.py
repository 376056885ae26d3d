"""Every other act: who may, when, and what it changes (requirements 1.8)."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from review.acts.adopting import adopt_policy
from review.acts.clocks import milestones
from review.acts.forms import form_html
from review.acts.item import Item
from review.packs import builtin_pack, load_pack
from review.records.engine import Ledger
from review.records.tables import Delegation, Notice, PersonRow, Publication, Unit
from review.rules.errors import (
    MalformedError,
    NotAllowedError,
    NotFoundError,
    NotYourStepError,
    RefusedError,
)
from tests.acting import Course
from tests.examples import LONG_AGO, MONDAY, grant

EVENT = "2026-11-23T08:30:00+08:00"
GRAVE = {"category": "emergency", "event_time": EVENT}
OPINION = {"category": "public_opinion", "found_time": EVENT}
WORDING = "11月18日，全省秋冬季造林绿化现场推进会召开了。3个市作了交流发言。"
FIGURES = "11月18日，全省秋冬季造林绿化现场推进会召开。5个市作了交流发言。"
RETURN = {"verdict": "return", "reason_code": "facts", "opinion": "请核实"}


def open_keys(course: Course) -> list[str]:
    return [step.step for step in course.turn().open_steps]


def published(course: Course) -> bool:
    return course.publish(course.run()).status == "published"


# --- who may do what ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("person", "act", "fields"),
    [
        ("editor_a", "withdraw", {}),
        ("afforest_head", "withdraw", {}),
        ("supervisor_a", "hold", {"reason": "x"}),
        ("deputy_b", "hold", {"reason": "x"}),
        ("editor_a", "set_category", {"category": "important"}),
        ("supervisor_a", "set_category", {"category": "important"}),
        ("afforest_head", "set_category", {"category": "important"}),
        ("chief", "reassign", {"reason": "x", "step": "unit_review", "to": "forest_head"}),
        ("deputy_b", "set_deadline", {"reason": "x", "due_at": "2026-11-23T10:00:00+08:00"}),
        ("reviewer_b", "add_signer", {"unit": "pest"}),
        ("supervisor_a", "correct", {"reason": "x", "base_digest": "x"}),
        ("afforest_info", "retract", {"reason": "x"}),
        ("auditor_a", "comment", {"reason": "x"}),
    ],
)
def test_act_of_another_role_is_refused(quick_ledger, person, act, fields):
    """Requirements 1.8."""
    course = Course(quick_ledger)
    course.turn()
    before = course.row()

    with pytest.raises(NotAllowedError):
        course.act(person, act, **fields)

    assert course.row() == before


@pytest.mark.parametrize("person", ["forest_info", "leader_prot", "admin", "security", "duty"])
def test_act_on_an_item_one_does_not_see_finds_nothing(quick_ledger, person):
    course = Course(quick_ledger)
    course.turn()

    with pytest.raises(NotFoundError):
        course.act(person, "comment", reason="x")


@pytest.mark.parametrize("act", ["hold", "reassign", "set_deadline"])
def test_act_that_needs_a_reason_names_it(quick_ledger, act):
    course = Course(quick_ledger)
    course.turn()

    with pytest.raises(MalformedError) as refused:
        course.act("chief" if act == "hold" else "supervisor_a", act)

    assert refused.value.params["errors"][0]["field"] == "reason"


# --- withdraw, hold, deadlines ------------------------------------------------------------------


def test_what_is_on_its_way_out_is_not_withdrawn(quick_ledger):
    """Requirements 1.8: until `publishing`."""
    course = Course(quick_ledger)
    course.run()
    course.claim()

    with pytest.raises(RefusedError):
        course.act("afforest_info", "withdraw")

    assert course.row().status == "publishing"


def test_held_item_can_be_withdrawn_and_is_not_released(quick_ledger):
    course = Course(quick_ledger)
    course.run("second_review")
    course.act("chief", "hold", reason="x")

    course.act("afforest_info", "withdraw")

    with pytest.raises(RefusedError):
        course.act("chief", "release")
    assert course.turn().done


def test_hold_gives_an_emergency_the_wall_time_back(quick_ledger):
    course = Course(quick_ledger, "fire_info", **GRAVE)
    due = course.turn().open_steps[0].due_at

    course.act("bureau_chief", "hold", reason="x")
    course.wait(hours=20)
    course.act("bureau_chief", "release")

    assert course.turn().open_steps[0].due_at == due + timedelta(hours=20)


def test_hold_moves_the_working_limit_and_its_alarms_by_the_working_time_it_took(quick_ledger):
    course = Course(quick_ledger)
    step = course.turn().open_steps[0]
    limit = course.row().due_at

    course.act("chief", "hold", reason="x")
    course.wait(days=7)  # five working days of seven hours
    course.act("chief", "release")

    again = course.turn().open_steps[0]
    assert course.row().due_at == limit + timedelta(days=7)
    assert again.due_at == step.due_at + timedelta(days=7)
    with course.ledger.reading() as session:
        assert not [m for m in milestones(Item.seen(session, course.id)) if m.fired_at]


def test_hold_leaves_the_limit_that_an_event_set(quick_ledger):
    """3.2: what a wildfire's five hours count from is the fire."""
    course = Course(quick_ledger, "fire_info", **GRAVE)
    course.turn()
    limit = course.row().due_at

    course.act("bureau_chief", "hold", reason="x")
    course.wait(hours=2)
    course.act("bureau_chief", "release")

    assert course.row().due_at == limit


def test_hold_gives_an_overdue_step_the_time_before_its_next_mark(quick_ledger):
    course = Course(quick_ledger)
    course.turn()
    while not course.turn().overdue:
        course.wait(hours=1)
    before = course.turn().next_at

    course.act("chief", "hold", reason="x")
    course.wait(days=14)
    course.act("chief", "release")

    assert course.turn().next_at == before + timedelta(days=14)


def test_deadline_is_never_set_past_the_whole_items(quick_ledger):
    """Requirements 1.8: 延期 never past the whole-item limit."""
    course = Course(quick_ledger)
    course.turn()
    limit = course.row().due_at

    with pytest.raises(RefusedError) as refused:
        course.act("supervisor_a", "set_deadline", reason="x",
                   due_at=limit + timedelta(seconds=1))  # fmt: skip
    with pytest.raises(MalformedError):
        course.act("supervisor_a", "set_deadline", reason="x", due_at=MONDAY)
    course.act("supervisor_a", "set_deadline", reason="x", due_at=limit)

    assert refused.value.code == "past_item_limit"
    assert course.turn().open_steps[0].due_at == limit


# --- category -----------------------------------------------------------------------------------


@pytest.mark.parametrize("person", ["deputy_b", "reviewer_b", "leader_pub"])
def test_raising_keeps_what_is_valid_and_restarts_the_clock(quick_ledger, person):
    """A-7: annex 1 becomes annex 2, the wall clock runs from the event."""
    course = Course(quick_ledger)
    course.run("final_review")
    approved = course.item(lambda i: [d.id for d in i.case.approvals()])

    course.act(person, "set_category", category="emergency", level="major")

    assert sorted(open_keys(course)) == ["center_sign", "office_opinion"]
    row = course.row()
    assert row.due_at == row.event_time + timedelta(hours=5)
    assert course.item(lambda i: [d.id for d in i.case.approvals()]) == approved
    assert course.final() == "bureau_chief"
    assert published(course)


def test_lesser_incident_is_lower_than_grave_opinion(quick_ledger):
    """A-7, A-9: else a deputy could move the final review from the chief to a leader."""
    course = Course(quick_ledger, **OPINION)
    course.run("second_review")

    with pytest.raises(NotAllowedError):
        course.act("deputy_b", "set_category", category="emergency", level="minor", reason="x")
    course.act("deputy_b", "set_category", category="emergency", level="unknown")

    assert course.turn().profile == "emergency"


def test_nothing_is_lowered_once_the_final_review_began(quick_ledger):
    """A-7."""
    course = Course(quick_ledger, category="important")
    course.run("final_review")

    with pytest.raises(RefusedError) as refused:
        course.act("chief", "set_category", category="work_news", reason="x")

    assert refused.value.code == "final_review_began"


def test_nothing_is_lowered_in_a_later_round_either(quick_ledger):
    """A-7: the final review of a first round began it, though a return made a second one."""
    course = Course(quick_ledger, category="important")
    course.run("final_review")
    chief = course.usual("final_review", "")
    course.decide(chief, "final_review", **RETURN, return_to="second_review")
    course.turn()

    with pytest.raises(RefusedError) as refused:
        course.act("chief", "set_category", category="work_news", reason="x")

    assert refused.value.code == "final_review_began"


def test_skipped_opinion_is_asked_where_a_lowered_item_needs_it(quick_ledger):
    """A-1: skip-and-flag is C's and D's alone; B would wait at the gate for ever."""
    course = Course(quick_ledger, "fire_info", **GRAVE)
    course.run("center_sign")
    course.wait(minutes=21)
    assert open_keys(course) == ["center_sign"]

    course.act("chief", "set_category", category="important", reason="x")

    course.run("office_opinion")
    assert open_keys(course) == ["office_opinion"]
    assert published(course)


def test_raised_reconfirmation_gets_the_graver_clock(quick_ledger):
    """3.2, other clocks."""
    course = Course(quick_ledger)
    course.run("edit_proof2")
    course.edit("editor_a", body=FIGURES)
    course.run("unit_reconfirm")

    course.act("deputy_b", "set_category", category="emergency", level="major")

    step = course.turn().open_steps[0]
    assert (step.step, step.due_at) == ("unit_reconfirm", course.now + timedelta(minutes=20))


# --- who decides: transfer, delegation, stand-in ------------------------------------------------


def test_transferred_step_still_comes_to_the_superior(quick_ledger):
    """A-14, 提级代审."""
    course = Course(quick_ledger)
    course.run("second_review")
    course.act("deputy_b", "transfer", to="deputy_c")
    course.wait(hours=30)

    course.decide("chief", "second_review")

    assert open_keys(course) == ["final_review"]
    with pytest.raises(RefusedError):
        course.decide("chief", "final_review")
    course.decide("leader_pub", "final_review")
    assert published(course)


@pytest.mark.parametrize("to", ["editor_b", "afforest_head", "nobody"])
def test_step_is_handed_on_within_its_role_only(quick_ledger, to):
    course = Course(quick_ledger)
    course.run("second_review")

    with pytest.raises((RefusedError, MalformedError)):
        course.act("supervisor_a", "reassign", to=to, reason="x")

    course.decide("deputy_b", "second_review")


def test_delegation_is_printed_and_ends_by_itself(quick_ledger):
    """A-28."""
    course = Course(quick_ledger)
    course.run("second_review")
    until = (course.now + timedelta(hours=1)).isoformat()
    course.act("deputy_b", "delegate", to="editor_b", until=until, categories=["work_news"])
    course.now += timedelta(hours=2)

    with pytest.raises(NotYourStepError):
        course.decide("editor_b", "second_review")

    course.decide("deputy_b", "second_review")
    assert published(course)


def test_delegation_for_other_categories_does_not_serve(quick_ledger):
    """A-28: by category."""
    course = Course(quick_ledger)
    course.run("second_review")
    until = (course.now + timedelta(hours=1)).isoformat()
    course.act("deputy_b", "delegate", to="editor_b", until=until, categories=["emergency"])

    with pytest.raises(NotYourStepError):
        course.decide("editor_b", "second_review")


@pytest.mark.parametrize("draft", [GRAVE, OPINION])
@pytest.mark.parametrize("filed", [False, True])
def test_chief_is_acted_for_in_grave_items_only_by_a_filed_letter(quick_ledger, draft, filed):
    """A-28: neither an everyday delegation nor B岗 decides C and D."""

    def stand_in(session: Any) -> None:
        session.add(
            Delegation(id="d", from_id="bureau_chief", to_id="director", from_at=LONG_AGO,
                       until_at=MONDAY + timedelta(days=9), filed=filed)
        )  # fmt: skip
        session.get_one(PersonRow, "bureau_chief").backup_id = "leader_eco"

    quick_ledger.write(stand_in)
    course = Course(quick_ledger, "fire_info", **draft)
    course.run("final_review")

    with pytest.raises((NotYourStepError, NotFoundError)):
        course.decide("leader_eco", "final_review")
    if not filed:
        with pytest.raises(NotYourStepError):
            course.decide("director", "final_review")
        return
    course.decide("director", "final_review")
    assert published(course)


def test_unit_under_the_chief_escalates_to_the_chief(quick_ledger):
    """A-4."""
    quick_ledger.write(lambda s: setattr(s.get_one(Unit, "wildlife"), "under_chief", True))
    quick_ledger.write(lambda s: setattr(s.get_one(Unit, "office"), "under_chief", True))
    quick_ledger.write(lambda s: grant(s, "admin", "info_officer", "office"))
    course = Course(quick_ledger, "admin", category="important")
    course.turn()

    course.wait(hours=9)

    course.decide("bureau_chief", "unit_review")
    assert open_keys(course) == ["edit_proof2"]


# --- opinions -----------------------------------------------------------------------------------


def test_external_opinion_is_recorded_and_blocks_nothing(quick_ledger):
    """A-26."""
    course = Course(quick_ledger, "fire_info", **GRAVE)
    course.run("center_sign")

    course.act("chief", "external_opinion", organisation="网信办", opinion="无意见")

    assert published(course)


def test_late_opinion_is_for_what_was_skipped_by_whom_it_was_asked(quick_ledger):
    """A-1, 补签."""
    course = Course(quick_ledger, "fire_info", **GRAVE)
    course.run("center_sign")
    with pytest.raises(RefusedError):
        course.act("reviewer_b", "late_opinion", step="office_opinion", opinion="同意")
    course.wait(minutes=21)

    with pytest.raises(NotYourStepError):
        course.act("editor_a", "late_opinion", step="office_opinion", opinion="同意")
    course.act("reviewer_b", "late_opinion", step="office_opinion", opinion="同意，已核密级。")

    assert published(course)
    with course.ledger.reading() as session:
        form = form_html(session, Item.seen(session, course.id))
    assert "同意，已核密级。" in form and "（补签）" in form


# --- publishing ---------------------------------------------------------------------------------


def test_channel_without_a_deed_is_named(quick_ledger):
    course = Course(quick_ledger)
    course.publish(course.run())

    for act, fields in (
        ("retry_channel", {"channel": "mini_pest"}),
        ("resolve_unknown", {"channel": "mini_pest", "published": True}),
    ):
        with pytest.raises(MalformedError):
            course.act("publisher_a", act, **fields)
        with pytest.raises(RefusedError):
            course.act("publisher_a", act, **fields | {"channel": "site"})


def test_what_was_taken_down_is_not_sent_again_by_a_retry(quick_ledger):
    """A-24: a publisher does not undo an emergency take-down."""
    course = Course(quick_ledger, channels=["site", "mini_pest"])
    course.publish(course.run())
    course.act("deputy_b", "retract", channels=["site"], reason="x")
    assert course.publish().status == "partly_published"

    with pytest.raises(RefusedError):
        course.act("publisher_a", "retry_channel", channel="site")

    assert course.turn().publish == ()


def test_operator_takes_down_its_own_channel_only(quick_ledger):
    """Requirements 1.8."""
    course = Course(quick_ledger, channels=["site", "mini_pest"])
    course.publish(course.run())

    with pytest.raises(NotAllowedError):
        course.act("pest_operator", "retract", channels=["site"], reason="x")
    course.act("pest_operator", "retract", channels=["mini_pest"], reason="x")

    assert [deed.channel for deed in course.turn().publish] == ["mini_pest"]


def notices_of(course, kind):
    def read(session):
        asked = select(Notice).where(Notice.submission_id == course.id, Notice.kind == kind)
        return session.exec(asked).all()

    return course.ledger.write(read)


def test_take_down_that_does_not_come_about_is_told_once(quick_ledger):
    """Requirements 3.2: fifteen minutes; what readers still see is for people to chase (A-24)."""
    course = Course(quick_ledger, channels=["site", "mini_pest"])
    course.publish(course.run())
    course.act("deputy_b", "retract", channels=["site"], reason="x")
    course.turn()

    course.wait(minutes=14)
    assert not notices_of(course, "takedown")
    course.wait(minutes=2)
    course.wait(minutes=30)

    told = notices_of(course, "takedown")
    assert {"supervisor_a", "deputy_b", "deputy_c", "duty"} <= {one.person_id for one in told}
    assert len(told) == len({one.person_id for one in told})
    assert {one.shown["channels"] for one in told} == {"site"}


def test_take_down_in_time_is_told_to_nobody(quick_ledger):
    course = Course(quick_ledger)
    course.publish(course.run())
    course.act("deputy_b", "retract", reason="x")
    course.act("chief", "ratify_retraction")

    assert course.publish().done
    course.wait(minutes=20)

    assert not notices_of(course, "takedown")


def test_take_down_is_ratified_by_the_final_reviewer_alone(quick_ledger):
    """A-24."""
    course = Course(quick_ledger)
    course.publish(course.run())
    course.act("deputy_b", "retract", reason="x")
    course.publish()

    with pytest.raises((NotYourStepError, NotFoundError)):
        course.act("leader_eco", "ratify_retraction")
    course.act("chief", "ratify_retraction")

    with pytest.raises(RefusedError):
        course.act("chief", "ratify_retraction")


def test_expired_channel_is_retried_only_on_a_renewed_authorisation(quick_ledger):
    """A-18."""
    course = Course(quick_ledger)
    course.publish(course.run(), state="failed")
    course.now += timedelta(days=20)

    with pytest.raises(RefusedError) as refused:
        course.act("publisher_a", "retry_channel", channel="site")
    course.act("chief", "renew_authorisation")
    course.act("publisher_a", "retry_channel", channel="site")

    assert refused.value.code == "nothing_authorised"
    assert course.publish().status == "published"


def test_renewal_that_runs_out_unused_takes_no_approval_from_what_went_out(quick_ledger):
    """A-18: found by the random acts."""
    course = Course(quick_ledger, channels=["site", "mini_pest"])
    course.run("proof3_publish")
    course.decide("publisher_a", "proof3_publish", unit="center")
    course.turn()
    course.publish()
    course.act("chief", "renew_authorisation")

    course.wait(days=20)

    assert open_keys(course) == ["proof3_publish"]


def test_authorisation_is_renewed_by_its_step_and_not_by_another_tier(quick_ledger):
    """A-18, invariant 4."""
    course = Course(quick_ledger)
    course.run("second_review")
    course.wait(hours=30)
    course.decide("chief", "second_review")
    course.turn()
    course.decide("leader_pub", "final_review")

    with pytest.raises(RefusedError) as refused:
        course.act("chief", "renew_authorisation")

    assert refused.value.code == "separation_of_duties"


def test_corrections_authorisation_expires_too(quick_ledger):
    """A-18, A-24: what is out does not keep a stale correction alive."""
    course = Course(quick_ledger)
    course.publish(course.run())
    course.act("editor_a", "correct", base_digest=course.row().digest, body=WORDING,
               change="wording", reason="错字")  # fmt: skip
    course.run("proof3_publish")

    course.wait(days=20)

    assert open_keys(course) == ["final_review"]
    assert published(course)


def test_third_proof_of_one_unit_sends_its_channels_alone(quick_ledger):
    """R2.2-3."""
    course = Course(quick_ledger, channels=["site", "mini_pest"])
    course.run("proof3_publish")

    course.decide("pest_operator", "proof3_publish", unit="pest")

    assert [deed.channel for deed in course.turn().publish] == ["mini_pest"]
    with pytest.raises(RefusedError):
        course.claim("site")
    rows = course.item(lambda i: [p for p in i.publications() if isinstance(p, Publication)])
    assert rows == []


def test_stale_round_is_refused_where_several_units_share_a_step(quick_ledger):
    course = Course(quick_ledger, channels=["site", "mini_pest"])
    course.run("proof3_publish")
    course.decide("publisher_a", "proof3_publish", unit="center", return_to="final_review",
                  **RETURN)  # fmt: skip
    course.run("proof3_publish")

    with pytest.raises(RefusedError) as refused:
        course.decide("pest_operator", "proof3_publish", round=1)

    assert refused.value.code == "stale_round"


# --- 同意，修改后发布 (A-17) --------------------------------------------------------------------


@pytest.fixture
def lenient(quick_ledger: Ledger, tmp_path: Path) -> Ledger:
    """A bureau whose pack lets the final reviewer approve with changes."""
    text = builtin_pack("hebei-lcj-2022-35").read_text(encoding="utf-8")
    pack = tmp_path / "pack.yaml"
    allowed = "approve_with_changes: [work_news, important, public_opinion]"
    pack.write_text(text.replace("approve_with_changes: []", allowed), encoding="utf-8")
    quick_ledger.write(adopt_policy, load_pack(pack), MONDAY)
    return quick_ledger


def agreed_with_changes(ledger: Ledger, **draft: Any) -> Course:
    course = Course(ledger, **draft)
    course.run("final_review")
    course.decide(course.final(), "final_review", "approve_with_changes", opinion="改一字")
    course.turn()
    return course


def test_certified_change_is_published_without_asking_the_leader_again(lenient):
    """A-17."""
    course = agreed_with_changes(lenient)

    course.edit("editor_a", body=WORDING, change="wording")
    course.act("deputy_b", "certify_changes")

    assert open_keys(course) == ["proof3_publish"]
    assert published(course)


def test_change_is_certified_by_another_than_its_editor(lenient):
    """A-17, 核改."""
    course = agreed_with_changes(lenient)
    course.edit("deputy_b", body=WORDING, change="wording")

    with pytest.raises(RefusedError) as refused:
        course.act("deputy_b", "certify_changes")
    course.act("deputy_c", "certify_changes")

    assert refused.value.code == "separation_of_duties"
    assert published(course)


def test_change_that_was_not_made_is_not_certified(lenient):
    """A-17: the leader did not agree to the text as it was."""
    course = agreed_with_changes(lenient)

    with pytest.raises(RefusedError) as refused:
        course.act("deputy_b", "certify_changes")

    assert refused.value.code == "nothing_changed"
    assert course.turn().publish == ()
    with pytest.raises(RefusedError):
        course.claim()


def test_figures_of_a_grave_opinion_go_back_to_the_leader(lenient):
    """A-17: not for casualty or figure changes."""
    course = agreed_with_changes(lenient, **OPINION)

    with pytest.raises(RefusedError) as refused:
        course.edit("editor_a", body=FIGURES)

    assert refused.value.code == "figures_changed"


def test_raised_item_forgets_the_change_its_former_reviewer_asked_for(lenient):
    """A-7, A-17."""
    course = agreed_with_changes(lenient)

    course.act("deputy_b", "set_category", category="important")

    assert open_keys(course) == ["center_sign"]
    assert published(course)
