"""What a decision is refused for, and that a refusal changes nothing but the trace."""

from datetime import timedelta

import pytest
from sqlmodel import select

from review.records.access import disable
from review.records.tables import Decision, Grant
from review.requests import DecisionRequest
from review.rules.errors import (
    KeyReusedError,
    MalformedError,
    NotFoundError,
    RefusedError,
    RuleError,
)
from starter.reviews import Reviews
from tests.acting import Course
from tests.examples import CHECKLIST, grant, who


def code_of(refused) -> str:
    return refused.value.code


def test_later_tier_cannot_be_decided_first(quick_ledger):
    """R4.1-11."""
    course = Course(quick_ledger)
    course.turn()

    with pytest.raises(RefusedError) as refused:
        course.decide("chief", "final_review")

    assert code_of(refused) == "step_not_open"
    assert refused.value.params["open"] == ["unit_review"]


def test_own_text_is_not_decided_by_its_author(quick_ledger):
    quick_ledger.write(lambda s: grant(s, "afforest_info", "unit_head", "afforest"))
    course = Course(quick_ledger)
    course.turn()

    with pytest.raises(RefusedError) as refused:
        course.decide("afforest_info", "unit_review")

    assert code_of(refused) == "separation_of_duties"


@pytest.mark.parametrize("second", ["second_review", "final_review"])
def test_one_person_decides_one_tier(quick_ledger, second):
    role = {"second_review": "center_deputy", "final_review": "center_chief"}[second]
    quick_ledger.write(lambda s: grant(s, "afforest_head", role))
    course = Course(quick_ledger)
    course.run(second)

    with pytest.raises(RefusedError) as refused:
        course.decide("afforest_head", second)

    assert code_of(refused) == "separation_of_duties"


def test_delegate_cannot_be_a_second_tier_for_somebody_else(quick_ledger):
    """A-28 changes who may act, never separation of duties."""
    course = Course(quick_ledger)
    course.run("final_review")
    course.act("chief", "delegate", to="deputy_b", until="2026-12-01T00:00:00+08:00")

    with pytest.raises(RefusedError) as refused:
        course.decide("deputy_b", "final_review")

    assert code_of(refused) == "separation_of_duties"


def test_nobody_delegates_to_themselves(quick_ledger):
    course = Course(quick_ledger)
    course.turn()

    with pytest.raises(RefusedError) as refused:
        course.act(
            "afforest_head", "delegate", to="afforest_head", until="2026-12-01T00:00:00+08:00"
        )

    assert code_of(refused) == "separation_of_duties"


def test_stale_text_and_stale_round_are_refused_with_what_changed(quick_ledger):
    course = Course(quick_ledger)
    course.run("second_review")
    old = course.row().digest
    course.decide("deputy_b", "second_review", "return", reason_code="facts", opinion="核实")
    course.turn()
    course.edit("afforest_info", body="改过的文字。")
    course.turn()

    with pytest.raises(RefusedError) as stale:
        course.decide("afforest_head", "unit_review", digest=old)
    with pytest.raises(RefusedError) as round_:
        course.decide("afforest_head", "unit_review", round=1)

    assert code_of(stale) == "stale_version"
    assert stale.value.params["version"] == 2
    assert code_of(round_) == "stale_round"


def test_foreign_unit_sees_nothing(quick_ledger):
    course = Course(quick_ledger)
    course.turn()

    with pytest.raises(NotFoundError):
        course.decide("forest_head", "unit_review")
    with pytest.raises(NotFoundError):
        course.decide("security", "unit_review")


def test_role_counts_only_while_it_is_held(quick_ledger):
    course = Course(quick_ledger)
    course.turn()

    def revoke(session):
        session.get_one(Grant, "afforest_head-unit_head-afforest").revoked_at = course.now

    quick_ledger.write(revoke)
    course.now += timedelta(minutes=1)

    with pytest.raises(RuleError) as refused:
        course.decide("afforest_head", "unit_review")
    assert refused.value.status in (403, 404)


async def test_disabled_account_is_out_with_the_next_request(quick_ledger):
    course = Course(quick_ledger)
    course.turn()
    with quick_ledger.reading() as session:
        head = who(session, "afforest_head")
    reviews = Reviews(quick_ledger, None, clock=lambda: course.now)
    quick_ledger.write(lambda s: disable(s, "afforest_head", course.now))
    request = DecisionRequest(
        step="unit_review", verdict="approve", digest=course.row().digest, checklist=CHECKLIST
    )

    with pytest.raises(RuleError) as refused:
        await reviews.decide(head, course.id, request, decision_id="d", way_in="api")

    assert refused.value.status == 401


def test_withdrawn_item_is_over(quick_ledger):
    course = Course(quick_ledger)
    course.run("second_review")
    course.act("afforest_info", "withdraw")
    course.turn()

    with pytest.raises(RefusedError) as refused:
        course.decide("deputy_b", "second_review")

    assert code_of(refused) == "wrong_status"


def test_decided_step_says_by_whom_and_when(quick_ledger):
    course = Course(quick_ledger)
    course.run("edit_proof2")

    with pytest.raises(RefusedError) as refused:
        course.decide("afforest_head", "unit_review")

    assert code_of(refused) == "already_decided"
    assert refused.value.params["by"] == "afforest_head"


def test_unit_head_declares_each_of_six_lines(quick_ledger):
    """R2.1-3."""
    course = Course(quick_ledger)
    course.turn()
    ticked = dict(CHECKLIST, accurate=False)
    del ticked["timely"]

    with pytest.raises(MalformedError) as refused:
        course.decide("afforest_head", "unit_review", checklist=ticked)

    fields = [one["field"] for one in refused.value.params["errors"]]
    assert fields == ["checklist.accurate", "checklist.timely"]


@pytest.mark.parametrize(
    "fields",
    [{}, {"reason_code": "facts"}, {"opinion": "核实"}, {"reason_code": "none", "opinion": "x"}],
)
def test_return_needs_a_reason_and_words(quick_ledger, fields):
    course = Course(quick_ledger)
    course.run("second_review")

    with pytest.raises(MalformedError):
        course.decide("deputy_b", "second_review", "return", **fields)


def test_only_tiers_reject_and_only_the_pack_allows_changes(quick_ledger):
    course = Course(quick_ledger)
    course.run("edit_proof2")
    with pytest.raises(RefusedError) as reject:
        course.decide("editor_a", "edit_proof2", "reject", opinion="x")
    course.run("final_review")
    with pytest.raises(RefusedError) as changes:
        course.decide("chief", "final_review", "approve_with_changes", opinion="x")

    assert code_of(reject) == "verdict_not_offered"
    assert code_of(changes) == "approve_with_changes_off"


def test_same_key_gives_the_first_answer_and_another_body_is_refused(ledger):
    course = Course(ledger)
    course.turn()

    first = course.decide("afforest_head", "unit_review", decision_id="k1")
    again = course.decide("afforest_head", "unit_review", decision_id="k1")

    assert again == first
    with pytest.raises(KeyReusedError):
        course.decide("afforest_head", "unit_review", decision_id="k1", opinion="other")
    with pytest.raises(KeyReusedError):
        course.decide("editor_a", "edit_proof2", decision_id="k1")
    with ledger.reading() as session:
        assert len(session.exec(select(Decision)).all()) == 1
