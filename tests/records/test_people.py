"""The roster: who counts as what, at which moment (R1.3-3, A-28)."""

from datetime import timedelta

import pytest
from sqlmodel import Session

from review.records import people
from review.records.engine import Ledger, counting
from review.records.people import Held
from review.records.tables import Delegation, Grant, PersonRow
from tests.examples import MONDAY, grant

HOUR = timedelta(hours=1)


def read(ledger: Ledger, look, *args):
    with ledger.reading() as session:
        return look(session, *args)


def roles(ledger: Ledger, person: str, now=MONDAY):
    return {
        (held.role, held.unit_id) for held in read(ledger, people.load_person, person, now).roles
    }


def change(ledger: Ledger, table, key, **fields) -> None:
    def act(session: Session) -> None:
        row = session.get_one(table, key)
        for name, value in fields.items():
            setattr(row, name, value)
        session.add(row)

    ledger.write(act)


def test_person_comes_with_the_roles_held(ledger):
    found = read(ledger, people.load_person, "director", MONDAY)

    assert (found.username, found.name, found.unit_id) == ("director", "director", "office")
    assert found.roles == (
        Held(role="office_director", grant_id="director-office_director-"),
        Held(role="unit_head", unit_id="office", grant_id="director-unit_head-office"),
    )


def test_person_without_roles_is_a_person(ledger):
    change(ledger, Grant, "chief-center_chief-", revoked_at=MONDAY)

    assert read(ledger, people.load_person, "chief", MONDAY).roles == ()


def test_unknown_person_is_nobody(ledger):
    assert read(ledger, people.load_person, "nobody", MONDAY) is None


def test_disabled_person_is_nobody_from_that_moment_on(ledger):
    change(ledger, PersonRow, "chief", disabled_at=MONDAY)

    assert read(ledger, people.load_person, "chief", MONDAY) is None
    assert read(ledger, people.person_of_account, "chief", MONDAY) is None
    assert read(ledger, people.holders, "center_chief", "", MONDAY) == []
    assert read(ledger, people.load_person, "chief", MONDAY - HOUR) is not None


@pytest.mark.parametrize(
    ("given", "held"),
    [
        ({"from_at": MONDAY}, True),
        ({"from_at": MONDAY + HOUR}, False),
        ({"until_at": MONDAY + HOUR}, True),
        ({"until_at": MONDAY}, False),
        ({"revoked_at": MONDAY + HOUR}, True),
        ({"revoked_at": MONDAY}, False),
    ],
)
def test_role_is_held_between_its_two_moments(ledger, given, held):
    ledger.write(lambda s: grant(s, "fire_info", "publisher", **given))

    assert (("publisher", "") in roles(ledger, "fire_info")) is held
    assert ("fire_info" in read(ledger, people.holders, "publisher", "", MONDAY)) is held


def test_holders_are_those_of_the_unit_alone(ledger):
    assert read(ledger, people.holders, "unit_head", "fire", MONDAY) == ["fire_head"]
    assert read(ledger, people.holders, "unit_head", "", MONDAY) == []
    assert read(ledger, people.holders, "center_editor", "", MONDAY) == ["editor_a", "editor_b"]


def test_role_granted_twice_is_held_once(ledger):
    ledger.write(lambda s: s.add(Grant(id="g2", person_id="chief", role="center_chief",
                                       from_at=MONDAY)))  # fmt: skip

    assert read(ledger, people.holders, "center_chief", "", MONDAY) == ["chief"]


def test_oa_account_is_mapped_explicitly(ledger):
    change(ledger, PersonRow, "chief", oa_account="oa-17")

    assert read(ledger, people.person_of_account, "oa-17", MONDAY).id == "chief"
    assert read(ledger, people.person_of_account, "chief", MONDAY) is None


def test_names_are_shown_with_their_unit(ledger):
    found = read(ledger, people.names, ["chief", "fire_head", "nobody", "chief"])

    assert found == {
        "chief": {"id": "chief", "name": "chief", "unit": "center", "acting_for": None},
        "fire_head": {"id": "fire_head", "name": "fire_head", "unit": "fire", "acting_for": None},
    }


def test_backup_is_whoever_may_act(ledger):
    assert read(ledger, people.backups_of, ["deputy_b", "reviewer_b", "chief"], MONDAY) == {
        "deputy_b": "deputy_c",
        "reviewer_b": "director",
    }

    change(ledger, PersonRow, "deputy_c", disabled_at=MONDAY)

    assert read(ledger, people.backups_of, ["deputy_b"], MONDAY) == {}


@pytest.mark.parametrize(
    ("given", "counts"),
    [
        ({}, True),
        ({"from_at": MONDAY + HOUR}, False),
        ({"until_at": MONDAY}, False),
        ({"revoked_at": MONDAY}, False),
    ],
)
def test_delegation_expires_by_itself(ledger, given, counts):
    """A-28."""
    fields = {"from_at": MONDAY, "until_at": MONDAY + HOUR} | given
    ledger.write(lambda s: s.add(Delegation(id="d1", from_id="chief", to_id="deputy_b", **fields)))

    to = read(ledger, people.delegations_to, "deputy_b", MONDAY)
    from_ = read(ledger, people.delegations_from, "chief", MONDAY)

    assert [one.id for one in to] == [one.id for one in from_] == (["d1"] if counts else [])
    assert read(ledger, people.delegations_to, "chief", MONDAY) == []


def test_each_question_is_one_statement(ledger):
    questions = [
        (people.load_person, "director", MONDAY),
        (people.person_of_account, "director", MONDAY),
        (people.holders, "center_editor", "", MONDAY),
        (people.names, ["chief", "director"]),
        (people.backups_of, ["deputy_b"], MONDAY),
        (people.delegations_to, "deputy_b", MONDAY),
        (people.delegations_from, "chief", MONDAY),
    ]

    with counting(ledger) as statements:
        for look, *args in questions:
            read(ledger, look, *args)

    assert len(statements) == len(questions)


def test_asking_about_nobody_asks_nothing(ledger):
    with counting(ledger) as statements:
        assert read(ledger, people.names, []) == {}
        assert read(ledger, people.backups_of, [], MONDAY) == {}

    assert statements == []
