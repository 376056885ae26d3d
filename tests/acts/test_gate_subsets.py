"""For every category, every proper subset of approvals: nothing is published (R1.3-2, R4.1-2)."""

from itertools import combinations

import pytest
from sqlmodel import col, select

from review.records.tables import Decision, Publication, Step
from review.rules.errors import RefusedError
from review.rules.values import StepState
from tests.acting import Course
from tests.acts.test_course import CATEGORIES


def approved(ledger, profile: str) -> Course:
    course = Course(ledger, "fire_info", **CATEGORIES[profile])
    course.run()
    return course


def publications(ledger) -> int:
    with ledger.reading() as session:
        return len(session.exec(select(Publication)).all())


def take_away(session, submission_id: str, keys: set[str]) -> None:
    """Undo approvals in the ledger itself, as somebody who can write to it would."""
    for step in session.exec(
        select(Step).where(Step.submission_id == submission_id).where(col(Step.key).in_(keys))
    ):
        step.state = StepState.OPEN
        session.add(step)


@pytest.mark.parametrize("profile", CATEGORIES)
def test_no_proper_subset_of_approvals_opens_the_gate(quick_ledger, profile):
    course = approved(quick_ledger, profile)
    keys = course.item(lambda i: [s.key for s in i.case.current_steps()])
    tried = 0

    for size in range(1, len(keys) + 1):
        for missing in combinations(keys, size):
            with pytest.raises(RefusedError) as refused, quick_ledger.writing() as session:
                take_away(session, course.id, set(missing))
                session.flush()
                from review.acts.publishing import claim

                claim(session, course.id, "site", 1, course.now)
            assert refused.value.code == "gate_closed"
            tried += 1

    assert tried == 2 ** len(keys) - 1
    assert publications(quick_ledger) == 0
    assert course.claim().digest == course.row().digest


@pytest.mark.parametrize(
    "forgery",
    [
        {"digest": "sha256:" + "0" * 64},
        {"person_id": "editor_a"},
        {"role": "info_officer"},
        {"verdict": "return"},
        {"grant_id": "afforest_info-info_officer-afforest"},
        {"grant_id": "nowhere"},
    ],
)
@pytest.mark.parametrize("step", ["unit_review", "second_review", "final_review"])
def test_forged_approval_does_not_open_the_gate(quick_ledger, step, forgery):
    """Invariant 1: by an authorised person, for this digest."""
    course = Course(quick_ledger)
    course.run()

    def forge(session):
        row = session.exec(select(Decision).where(Decision.key == step)).one()
        for name, value in forgery.items():
            setattr(row, name, value)
        session.add(row)

    quick_ledger.write(forge)

    with pytest.raises(RefusedError):
        course.claim()
    assert publications(quick_ledger) == 0


def test_one_person_at_two_tiers_does_not_open_the_gate(quick_ledger):
    """Requirements 0, invariant 4."""
    course = Course(quick_ledger)
    course.run()

    def forge(session):
        from tests.examples import grant

        grant(session, "deputy_b", "center_chief")
        row = session.exec(select(Decision).where(Decision.key == "final_review")).one()
        row.person_id, row.grant_id = "deputy_b", "deputy_b-center_chief-"
        session.add(row)

    quick_ledger.write(forge)

    with pytest.raises(RefusedError) as refused:
        course.claim()
    assert "separation_of_duties:tiers" in refused.value.params["why"]


def test_second_and_third_proof_by_one_person_does_not_open_the_gate(quick_ledger):
    """A-3."""
    course = Course(quick_ledger)
    course.run()

    def forge(session):
        from tests.examples import grant

        grant(session, "editor_a", "publisher")
        row = session.exec(select(Decision).where(Decision.key == "proof3_publish")).one()
        row.person_id, row.grant_id = "editor_a", "editor_a-publisher-"
        session.add(row)

    quick_ledger.write(forge)

    with pytest.raises(RefusedError) as refused:
        course.claim()
    assert "separation_of_duties:proofs" in refused.value.params["why"]


@pytest.mark.parametrize("generation", [0, 2, 7])
def test_generation_out_of_turn_is_refused(quick_ledger, generation):
    course = Course(quick_ledger)
    course.run()

    with pytest.raises(RefusedError):
        course.claim(generation=generation)


def test_channel_that_was_not_authorised_is_refused(quick_ledger):
    """R1.3-6: the publisher acts only on an authorisation."""
    course = Course(quick_ledger)
    course.run()

    with pytest.raises(RefusedError):
        course.claim("mini_pest")
