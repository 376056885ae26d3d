"""The last door against a forged ledger: whatever is missing or wrong, nothing is claimed.

Each test takes an item that is approved in full, ready to be sent, and spoils one thing with SQL
that no act would write. Source: R1.3-2, R4.1-2, invariants 1 and 4.
"""

from collections.abc import Callable
from datetime import timedelta
from itertools import combinations
from typing import Any

import pytest
from sqlalchemy import delete
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, select, update

from review.acts.publishing import claim
from review.ids import new_id
from review.records.engine import Ledger
from review.records.tables import (
    Authorisation,
    Channel,
    Decision,
    Delegation,
    Grant,
    PersonRow,
    Publication,
    Step,
    Submission,
    Version,
)
from review.rules.errors import RefusedError
from tests.acting import Course
from tests.acts.test_course import CATEGORIES
from tests.examples import LONG_AGO, MONDAY, grant

OTHER = "sha256:" + "0" * 64
PEST = {"channels": ["site", "mini_pest"]}


class UndoneError(Exception):
    """Takes a forgery back, so that one approved item serves for many."""


def approved(ledger: Ledger, profile: str = "work_news", **draft: Any) -> Course:
    """Return an item that only waits to be sent."""
    course = Course(ledger, "fire_info", **CATEGORIES[profile] | draft)
    position = course.run()
    assert [deed.channel for deed in position.publish] == sorted(draft.get("channels", ["site"]))
    return course


def closed_after(
    course: Course, forge: Callable[[Session], Any], channel: str = "site", generation: int = 1
) -> list[str]:
    """Return why the gate is closed after a forgery, which is then undone; empty when it opens."""
    why: list[str] = []

    def attempt(session: Session) -> None:
        forge(session)
        session.flush()
        session.expire_all()
        try:
            claim(session, course.id, channel, generation, course.now)
        except RefusedError as refusal:
            assert refusal.code == "gate_closed"
            why.extend(refusal.params["why"])
            rows = session.exec(
                select(Publication.id).where(
                    Publication.submission_id == course.id,
                    Publication.channel == channel,
                    Publication.generation == generation,
                )
            ).all()
            assert rows == []
        raise UndoneError

    with pytest.raises(UndoneError):
        course.ledger.write(attempt)
    return why


def approvals(course: Course) -> list[Decision]:
    return course.item(lambda item: [d for d in item.case.approvals() if isinstance(d, Decision)])


def change(course: Course, step: str, **values: Any) -> Callable[[Session], Any]:
    """Return what rewrites the decision of a step."""
    return lambda session: session.exec(
        update(Decision)
        .where(Decision.submission_id == course.id)
        .where(Decision.key == step)
        .values(**values)
    )


def spoil(table: Any, course: Course, **values: Any) -> Callable[[Session], Any]:
    """Return what rewrites an item's rows of a table."""
    key = table.id if table is Submission else table.submission_id
    return lambda session: session.exec(update(table).where(key == course.id).values(**values))


@pytest.mark.parametrize("profile", CATEGORIES)
def test_every_set_of_approvals_but_the_full_one_keeps_the_gate_closed(quick_ledger, profile):
    """R1.3-2, R4.1-8..11: all 2^n - 1 proper subsets; what is missing was removed or lapsed."""
    course = approved(quick_ledger, profile)
    ids = [decision.id for decision in approvals(course)]
    tried = 0

    for size in range(1, len(ids) + 1):
        for gone in combinations(ids, size):
            rows = update(Decision).where(Decision.id.in_(gone)).values(lapsed_at=MONDAY)
            if tried % 2:
                rows = delete(Decision).where(Decision.id.in_(gone))
            assert closed_after(course, lambda s, rows=rows: s.exec(rows)), gone
            tried += 1

    assert len(ids) == len(course.item(lambda item: item.planned()))
    assert tried == 2 ** len(ids) - 1
    assert closed_after(course, lambda s: None) == []


@pytest.mark.parametrize("step", ["center_sign", "office_opinion"])
@pytest.mark.parametrize("profile", ["important", "emergency"])
def test_only_the_office_may_have_been_skipped_and_only_where_the_pack_says_so(
    quick_ledger, profile, step
):
    """A-1: skip-and-flag in C, never in B; nobody else's opinion."""
    course = approved(quick_ledger, profile)

    def skip(session: Session) -> None:
        session.exec(update(Step).where(Step.key == step).values(state="skipped"))

    legal = (profile, step) == ("emergency", "office_opinion")
    assert closed_after(course, skip) == ([] if legal else [f"step:{step}"])


@pytest.mark.parametrize("profile", ["work_news", "emergency"])
def test_what_is_missing_is_named_and_the_full_set_passes(ledger, profile):
    """R1.3-2, on both databases."""
    course = approved(ledger, profile)

    for decision in approvals(course):
        forge = lambda s, d=decision: s.delete(s.get_one(Decision, d.id))  # noqa: E731
        assert f"step:{decision.key}" in closed_after(course, forge)

    assert course.claim().channel == "site"


@pytest.mark.parametrize("profile", ["important"])
@pytest.mark.parametrize(
    ("one", "other"),
    [("unit_review", "second_review"), ("unit_review", "final_review"),
     ("second_review", "final_review")],
)  # fmt: skip
def test_one_person_at_two_tiers_closes_the_gate(quick_ledger, profile, one, other):
    """Invariant 4: even when that person holds both roles."""
    course = approved(quick_ledger, profile)
    first = next(d for d in approvals(course) if d.key == one)
    second = next(d for d in approvals(course) if d.key == other)

    def forge(session: Session) -> None:
        unit = session.get_one(Grant, second.grant_id).unit_id
        both = grant(session, first.person_id, second.role, unit)
        session.flush()
        change(course, other, person_id=first.person_id, grant_id=both.id)(session)

    assert "separation_of_duties:tiers" in closed_after(course, forge)


def test_tier_decided_on_behalf_of_another_tiers_person_closes_the_gate(quick_ledger):
    """Invariant 4, A-28: judged by person, also by whom one acts for."""
    course = approved(quick_ledger)

    def forge(session: Session) -> None:
        both = grant(session, "deputy_b", "center_chief")
        session.add(
            Delegation(id=new_id(), from_id="deputy_b", to_id="chief", from_at=LONG_AGO,
                       until_at=course.now + timedelta(days=1))
        )  # fmt: skip
        session.flush()
        change(
            course, "final_review", acting_for_id="deputy_b", grant_id=both.id, why="delegation"
        )(session)

    assert closed_after(course, forge) == ["separation_of_duties:tiers"]


@pytest.mark.parametrize("step", ["unit_review", "second_review", "final_review"])
def test_author_at_a_tier_closes_the_gate(quick_ledger, step):
    """Invariant 4."""
    course = approved(quick_ledger)
    decision = next(d for d in approvals(course) if d.key == step)

    def forge(session: Session) -> None:
        unit = session.get_one(Grant, decision.grant_id).unit_id
        own = grant(session, "fire_info", decision.role, unit)
        session.flush()
        change(course, step, person_id="fire_info", grant_id=own.id)(session)

    assert "separation_of_duties:tiers" in closed_after(course, forge)


def test_second_and_third_proof_by_one_person_closes_the_gate(quick_ledger):
    """A-3."""
    course = approved(quick_ledger)

    def forge(session: Session) -> None:
        both = grant(session, "editor_a", "publisher")
        session.flush()
        change(course, "proof3_publish", person_id="editor_a", grant_id=both.id)(session)

    assert closed_after(course, forge) == ["separation_of_duties:proofs"]


@pytest.mark.parametrize("step", [
    "unit_review", "edit_proof2", "second_review", "center_sign", "office_opinion",
    "final_review", "proof3_publish",
])  # fmt: skip
def test_forged_approval_closes_the_gate(quick_ledger, step):
    """R1.3-2, R1.3-3."""
    course = approved(quick_ledger, "important")
    decision = next(d for d in approvals(course) if d.key == step)
    before, after = decision.at - timedelta(seconds=1), decision.at + timedelta(seconds=1)
    grants = update(Grant).where(Grant.id == decision.grant_id)
    people = update(PersonRow).where(PersonRow.id == decision.person_id)
    stranger = "security-security_admin-"
    forgeries: dict[str, Callable[[Session], Any]] = {
        "revoked": lambda s: s.exec(grants.values(revoked_at=before)),
        "ended": lambda s: s.exec(grants.values(until_at=before)),
        "not yet": lambda s: s.exec(grants.values(from_at=after)),
        "other grant": change(course, step, grant_id=stranger),
        "no grant": change(course, step, grant_id=""),
        "other unit": lambda s: s.exec(grants.values(unit_id="forest")),
        "disabled": lambda s: s.exec(people.values(disabled_at=before)),
        "other digest": change(course, step, digest=OTHER),
        "other role": change(
            course, step, role="security_admin", grant_id=stranger, person_id="security"
        ),
        "other tier": change(course, step, tier=(decision.tier + 1) % 4, proof=1),
        "returned": change(course, step, verdict="return"),
        "rejected": change(course, step, verdict="reject"),
    }

    for name, forge in forgeries.items():
        assert f"step:{step}" in closed_after(course, forge), name


@pytest.mark.parametrize("step", ["unit_review", "second_review", "final_review"])
def test_grant_revoked_after_the_decision_leaves_it_valid(quick_ledger, step):
    """R1.3-3: somebody who leaves has decided what they decided."""
    course = approved(quick_ledger)
    decision = next(d for d in approvals(course) if d.key == step)
    later = decision.at + timedelta(seconds=1)

    def leave(session: Session) -> None:
        session.exec(update(Grant).where(Grant.id == decision.grant_id).values(revoked_at=later))
        session.exec(
            update(PersonRow).where(PersonRow.id == decision.person_id).values(disabled_at=later)
        )

    assert closed_after(course, leave) == []


def test_acting_for_somebody_without_a_delegation_then_in_force_closes_the_gate(quick_ledger):
    """A-28: the row's word that somebody acted for another proves nothing."""
    course = approved(quick_ledger)
    at = next(d.at for d in approvals(course) if d.key == "second_review")
    hour = timedelta(hours=1)
    good = {"from_id": "deputy_b", "from_at": at - hour, "until_at": at + hour}
    delegations: dict[str, dict[str, Any] | None] = {
        "none": None,
        "expired": good | {"until_at": at - timedelta(seconds=1)},
        "revoked": good | {"revoked_at": at - timedelta(seconds=1)},
        "future": good | {"from_at": at + timedelta(seconds=1)},
        "of another": good | {"from_id": "deputy_c"},
    }

    def forge(session: Session, terms: dict[str, Any] | None) -> None:
        change(
            course, "second_review", person_id="admin", acting_for_id="deputy_b", why="delegation"
        )(session)
        if terms:
            session.add(Delegation(id=new_id(), to_id="admin", **terms))

    for name, terms in delegations.items():
        why = closed_after(course, lambda s, terms=terms: forge(s, terms))
        assert "step:second_review" in why, name
    assert closed_after(course, lambda s: forge(s, good)) == []


def test_publisher_of_the_center_does_not_proof_another_units_channel(quick_ledger):
    """R2.2-3."""
    course = approved(quick_ledger, **PEST)

    def forge(session: Session) -> None:
        session.exec(
            update(Decision)
            .where(Decision.submission_id == course.id, Decision.unit_id == "pest")
            .values(role="publisher", person_id="publisher_a", grant_id="publisher_a-publisher-")
        )

    assert "step:proof3_publish" in closed_after(course, forge, "mini_pest")
    assert closed_after(course, forge, "site") == []


def test_each_channel_needs_its_own_operators_proof(quick_ledger):
    """R2.2-3, 三校."""
    course = approved(quick_ledger, **PEST)

    def forge(session: Session) -> None:
        session.exec(
            update(Decision)
            .where(Decision.submission_id == course.id, Decision.unit_id == "pest")
            .values(lapsed_at=MONDAY)
        )

    assert "step:proof3_publish" in closed_after(course, forge, "mini_pest")
    assert closed_after(course, forge, "site") == []


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"digest": OTHER}, "authorisation:digest"),
        ({"channels": {}}, "authorisation:channel"),
        ({"valid_until": MONDAY - timedelta(seconds=1)}, "authorisation:expired"),
        ({"publish_at": MONDAY + timedelta(seconds=1)}, "authorisation:early"),
        ({"ended_at": MONDAY}, "authorisation:none"),
    ],
)
def test_authorisation_for_something_else_closes_the_gate(quick_ledger, values, why):
    """R1.3-6, A-18."""
    course = approved(quick_ledger)

    assert why in closed_after(course, spoil(Authorisation, course, **values))


def test_text_that_was_changed_behind_the_reviewers_closes_the_gate(quick_ledger):
    """Invariant 1: whatever the versions say of themselves."""
    course = approved(quick_ledger)

    def slip_in(session: Session) -> None:
        first = session.exec(select(Version).where(Version.submission_id == course.id)).one()
        session.add(
            Version(
                **first.model_dump()
                | {"id": new_id(), "no": 2, "base_no": 1, "change": "wording", "digest": OTHER}
            )
        )
        spoil(Submission, course, digest=OTHER, version=2)(session)
        spoil(Authorisation, course, digest=OTHER)(session)

    assert "step:final_review" in closed_after(course, slip_in)
    assert closed_after(course, spoil(Submission, course, digest=OTHER))


def test_text_that_its_author_did_not_proof_closes_the_gate(quick_ledger):
    """R2.1-3, 一校."""
    course = approved(quick_ledger)

    assert closed_after(course, spoil(Version, course, proofread=False)) == ["proof:1"]


@pytest.mark.parametrize("status", ["held", "withdrawn", "rejected", "returned", "retracted"])
def test_item_that_is_stopped_closes_the_gate(quick_ledger, status):
    """R4.1-2, 缓发."""
    course = approved(quick_ledger)

    assert closed_after(course, spoil(Submission, course, status=status)) == [f"status:{status}"]


@pytest.mark.parametrize("generation", [0, 2, 3, -1])
def test_generation_out_of_turn_closes_the_gate(quick_ledger, generation):
    course = approved(quick_ledger)

    why = closed_after(course, lambda s: None, generation=generation)

    assert why == ["generation"]


def test_second_generation_of_what_is_live_closes_the_gate(quick_ledger):
    course = approved(quick_ledger)
    course.publish()

    assert closed_after(course, lambda s: None, generation=2) == ["generation"]


@pytest.mark.parametrize("channel", ["nowhere", "mini_pest", ""])
def test_channel_that_was_not_chosen_closes_the_gate(quick_ledger, channel):
    course = approved(quick_ledger)

    assert closed_after(course, lambda s: None, channel)


def test_channel_that_was_closed_meanwhile_closes_the_gate(quick_ledger):
    """R2.2: an account that is out of use gets nothing more."""
    course = approved(quick_ledger)

    def close(session: Session) -> None:
        session.get_one(Channel, "site").state = "closed"

    assert closed_after(course, close) == ["channel_closed"]


def test_item_in_the_middle_of_its_review_closes_the_gate(quick_ledger):
    """R4.1-11: an authorisation out of nowhere replaces no review."""
    course = Course(quick_ledger)
    course.run("second_review")

    def forge(session: Session) -> None:
        row = session.get_one(Submission, course.id)
        session.add(
            Authorisation(
                id=new_id(), submission_id=course.id, round=1, digest=row.digest,
                channels={"site": {"rendered_digest": OTHER, "unit": "center"}},
                person_id="chief", decision_id="made-up", at=course.now,
                valid_until=course.now + timedelta(days=1),
            )
        )  # fmt: skip

    why = closed_after(course, forge)

    assert {"step:second_review", "step:final_review", "step:proof3_publish", "tiers"} <= set(why)


@pytest.mark.parametrize("step", ["countersign", "add_signer"])
def test_missing_signature_of_another_unit_closes_the_gate(quick_ledger, step):
    """A-25, 加签."""
    course = Course(quick_ledger, category="important", countersign_units=["forest"])
    course.run("second_review")
    course.act("chief", "add_signer", unit="pest")
    course.turn()
    course.decide("pest_head", "add_signer", unit="pest")
    course.run("countersign")
    course.decide("forest_head", "countersign", unit="forest")
    course.run()
    decision = next(d for d in approvals(course) if d.key == step)
    forgeries: dict[str, Callable[[Session], Any]] = {
        "removed": lambda s: s.delete(s.get_one(Decision, decision.id)),
        "lapsed": change(course, step, lapsed_at=MONDAY),
        "other_digest": change(course, step, digest=OTHER),
        "other_role": change(
            course, step, role="center_editor", person_id="editor_b",
            grant_id="editor_b-center_editor-",
        ),
        "revoked": lambda s: s.exec(
            update(Grant).where(Grant.id == decision.grant_id).values(revoked_at=LONG_AGO)
        ),
    }  # fmt: skip

    missing = {"countersign": "countersign:forest", "add_signer": "step:add_signer"}[step]
    for name, forge in forgeries.items():
        assert missing in closed_after(course, forge), name
    assert closed_after(course, lambda s: None) == []


def test_missing_reconfirmation_closes_the_gate(quick_ledger):
    """A-16."""
    course = Course(quick_ledger)
    course.run("edit_proof2")
    course.edit("editor_a", body="11月18日，推进会召开。4个市作了交流发言。", change="wording")
    first = course.item(lambda item: item.versions[0].digest)
    course.run()
    forgeries: dict[str, Callable[[Session], Any]] = {
        "removed": lambda s: s.exec(
            delete(Decision).where(Decision.key == "unit_reconfirm")
        ),
        "other_role": change(
            course, "unit_reconfirm", role="center_editor", person_id="editor_b",
            grant_id="editor_b-center_editor-",
        ),
        "other_digest": change(course, "unit_reconfirm", digest=OTHER),
        "early_version": change(course, "unit_reconfirm", digest=first),
    }  # fmt: skip

    for name, forge in forgeries.items():
        assert {"step:unit_review", "step:unit_reconfirm"} <= set(closed_after(course, forge)), name
    assert closed_after(course, lambda s: None) == []


# --- what the database itself forbids -----------------------------------------------------------


def refused_by_the_database(ledger: Ledger, *rows: Any) -> None:
    def add(session: Session) -> None:
        session.add_all(rows)
        session.flush()

    with pytest.raises(IntegrityError):
        ledger.write(add)


def test_step_takes_one_closing_decision(ledger):
    """Invariant 4: one closing decision a step round."""
    course = approved(ledger)
    first = approvals(course)[0]

    again = Decision(**first.model_dump(exclude={"id", "person_id"}), id="x", person_id="chief")
    refused_by_the_database(ledger, again)

    assert len(approvals(course)) == 5


def test_decision_id_counts_once(ledger):
    course = approved(ledger)
    first = approvals(course)[0]

    again = Decision(**first.model_dump(exclude={"closes_step_id"}))
    refused_by_the_database(ledger, again)

    assert len(approvals(course)) == 5


def test_generation_is_claimed_once(ledger):
    course = approved(ledger)
    course.claim()
    first = course.item(lambda item: item.publications()[0])

    refused_by_the_database(ledger, Publication(**first.model_dump(exclude={"id"}), id="x"))

    assert len(course.item(lambda item: item.publications())) == 1


def test_step_stands_once_in_a_round(ledger):
    course = approved(ledger)
    first = course.item(lambda item: item.steps[0])

    refused_by_the_database(ledger, Step(**first.model_dump(exclude={"id"}), id="x"))

    assert len(course.item(lambda item: item.steps)) == 5
