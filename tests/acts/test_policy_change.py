"""Dual control: one proposes other rules, another confirms them (requirements 1.8)."""

import pytest
from sqlmodel import delete, select

from review.acts import adopting
from review.acts.item import policy_in_force
from review.packs import builtin_pack, digest_of, load_pack
from review.records.tables import Audit, CalendarRow, Pack, PolicyProposal
from review.rules.errors import NotAllowedError, NotFoundError, RefusedError
from review.rules.policy import Length
from tests.examples import MONDAY, PEOPLE, grant, who


def changed(**more):
    pack = load_pack(builtin_pack("hebei-lcj-2022-35"))
    return pack.model_copy(
        update={"version": "1.1", "late_opinion": Length.model_validate("2wd")} | more
    )


def proposed(ledger, person="admin", pack=None):
    return ledger.write(
        lambda s: adopting.propose_policy(
            s, who(s, person), pack or changed(), MONDAY, way_in="api"
        )
    )


def confirmed(ledger, person, proposal):
    return ledger.write(
        lambda s: adopting.confirm_policy(s, who(s, person), proposal, MONDAY, way_in="api")
    )


def in_force(ledger):
    with ledger.reading() as session:
        return policy_in_force(session)[1].version


@pytest.mark.parametrize(("one", "other"), [("admin", "chief"), ("chief", "security")])
def test_proposed_by_one_and_confirmed_by_another(ledger, one, other):
    proposal = proposed(ledger, one)
    assert in_force(ledger) == "1.0"

    answer = confirmed(ledger, other, proposal["id"])

    assert (answer["state"], in_force(ledger)) == ("confirmed", "1.1")
    with ledger.reading() as session:
        lines = session.exec(select(Audit).where(Audit.digest == digest_of(changed()))).all()
    assert [(line.event, line.person_id) for line in lines] == [
        ("policy_proposed", one), ("policy_adopted", ""), ("policy_confirmed", other)
    ]  # fmt: skip


def test_proposal_says_what_it_changes(ledger):
    assert proposed(ledger)["changes"] == [
        {"key": "version", "before": "1.0", "after": "1.1"},
        {"key": "late_opinion", "before": "1wd", "after": "2wd"},
    ]


@pytest.mark.parametrize(("one", "other"), [("chief", "chief"), ("admin", "security")])
def test_nobody_confirms_their_own_and_administrators_not_among_themselves(ledger, one, other):
    proposal = proposed(ledger, one)

    with pytest.raises(RefusedError) as refusal:
        confirmed(ledger, other, proposal["id"])

    assert (refusal.value.code, in_force(ledger)) == ("dual_control", "1.0")


def test_only_these_roles_propose_and_confirm(ledger):
    proposal = proposed(ledger)
    for person in PEOPLE:
        if person not in ("chief", "admin"):
            with pytest.raises(NotAllowedError):
                proposed(ledger, person)
        if person not in ("chief", "security"):
            with pytest.raises(NotAllowedError):
                confirmed(ledger, person, proposal["id"])
    assert in_force(ledger) == "1.0"


def test_proposer_who_is_no_longer_chief_counts_no_longer_as_one(ledger):
    proposal = proposed(ledger, "chief")
    from review.records.bureau import revoke

    ledger.write(revoke, "chief-center_chief-", MONDAY)

    with pytest.raises(RefusedError) as refusal:
        confirmed(ledger, "security", proposal["id"])
    assert refusal.value.code == "dual_control"


def test_one_person_with_both_roles_is_still_one_person(ledger):
    ledger.write(grant, "chief", "sysadmin")  # past the roster's own refusal
    proposal = proposed(ledger, "chief")

    with pytest.raises(RefusedError):
        confirmed(ledger, "chief", proposal["id"])


def test_proposal_counts_once_and_not_after_other_rules(ledger):
    first, second = proposed(ledger), proposed(ledger, pack=changed(version="1.2"))
    confirmed(ledger, "chief", first["id"])

    for proposal in (first, second):
        with pytest.raises(RefusedError) as refusal:
            confirmed(ledger, "chief", proposal["id"])
        assert refusal.value.code == "proposal_closed"
    assert in_force(ledger) == "1.1"


def test_rejected_proposal_changes_nothing(ledger):
    proposal = proposed(ledger)

    ledger.write(
        lambda s: adopting.reject_policy(s, who(s, "chief"), proposal["id"], MONDAY, way_in="api")
    )

    with pytest.raises(RefusedError):
        confirmed(ledger, "chief", proposal["id"])
    with ledger.reading() as session:
        assert adopting.proposals(session) == []


def test_rules_in_force_are_no_proposal(ledger):
    with pytest.raises(RefusedError) as refusal:
        proposed(ledger, pack=load_pack(builtin_pack("hebei-lcj-2022-35")))
    assert refusal.value.code == "nothing_changed"
    with pytest.raises(NotFoundError):
        confirmed(ledger, "chief", "unknown")


def test_a_start_changes_no_rules_once_somebody_is_on_the_roster(ledger):
    assert not ledger.write(adopting.adopt_first_policy, changed(), MONDAY)
    assert in_force(ledger) == "1.0"
    same = load_pack(builtin_pack("hebei-lcj-2022-35"))
    assert ledger.write(adopting.adopt_first_policy, same, MONDAY)


def test_first_start_adopts_at_once(ledger):
    def forget(session):
        for table in (PolicyProposal, CalendarRow, Pack):
            session.exec(delete(table))

    ledger.write(forget)

    assert ledger.write(adopting.adopt_first_policy, changed(), MONDAY)
    assert in_force(ledger) == "1.1"
