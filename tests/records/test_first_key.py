"""The first administrator: one key, shown once, never reopened."""

import pytest
from argon2 import PasswordHasher
from sqlmodel import delete, select

from review.records import access, first_key
from review.records.access import Access
from review.records.people import load_person
from review.records.tables import Audit, Delegation, FirstKey, Grant, PersonRow
from review.rules.errors import NotSignedInError, RefusedError, TooManyError
from tests.examples import MONDAY
from tests.records.test_access import PASSWORD, QUICK


@pytest.fixture
def empty(ledger):
    """A ledger with nobody in it."""

    def clear(session):
        for table in (Grant, Delegation):
            session.exec(delete(table))
        for row in session.exec(select(PersonRow)):
            row.backup_id = None
        session.flush()
        session.exec(delete(PersonRow))

    ledger.write(clear)
    return ledger


@pytest.fixture
def door(empty):
    return Access(empty, clock=lambda: MONDAY, hasher=QUICK)


def test_first_start_makes_one_key_and_no_other(empty):
    key = empty.write(first_key.make_first_key, MONDAY)

    assert len(key) > 40
    assert empty.write(first_key.make_first_key, MONDAY) is None
    with empty.reading() as session:
        kept = str([session.get_one(FirstKey, "first"), *session.exec(select(Audit))])
    assert key not in kept


def test_where_somebody_is_on_the_roster_there_is_none(ledger):
    assert ledger.write(first_key.make_first_key, MONDAY) is None


def test_key_makes_a_security_administrator_once(empty, door):
    key = empty.write(first_key.make_first_key, MONDAY)

    person_id = door.use_first_key(key, "wangfang", "王芳", PASSWORD)

    with empty.reading() as session:
        person = load_person(session, person_id, MONDAY)
    assert [held.role for held in person.roles] == ["security_admin"]
    assert door.sign_in("wangfang", PASSWORD).person.id == person_id
    for name in ("wangfang", "lisi"):
        with pytest.raises(NotSignedInError):
            door.use_first_key(key, name, "李四", PASSWORD)
    assert empty.write(first_key.make_first_key, MONDAY) is None


def test_key_is_closed_once_an_administrator_can_sign_in(ledger, empty, door):
    key = empty.write(first_key.make_first_key, MONDAY)
    person_id = door.use_first_key(key, "wangfang", "王芳", PASSWORD)

    with pytest.raises(RefusedError) as refusal:
        empty.write(first_key.make_another_key, MONDAY)
    assert refusal.value.code == "administrator_can_sign_in"

    empty.write(access.disable, person_id, MONDAY)
    again = empty.write(first_key.make_another_key, MONDAY)

    with pytest.raises(NotSignedInError):
        door.use_first_key(key, "lisi", "李四", PASSWORD)
    assert door.use_first_key(again, "lisi", "李四", PASSWORD)


def test_token_of_an_administrator_closes_the_key_too(ledger):
    ledger.write(first_key.make_another_key, MONDAY)  # nobody of the office has a password

    ledger.write(access.issue_token, "admin", "", MONDAY)

    with pytest.raises(RefusedError):
        ledger.write(first_key.make_another_key, MONDAY)


def test_guessing_keys_closes_the_address(empty, door, monkeypatch):
    from review.records import lockouts

    monkeypatch.setattr(lockouts, "MOST_OF_ADDRESS", 5)
    key = empty.write(first_key.make_first_key, MONDAY)
    for _ in range(5):
        with pytest.raises(NotSignedInError):
            door.use_first_key("first_x", "wangfang", "王芳", PASSWORD, "192.0.2.1")

    with pytest.raises(TooManyError):
        door.use_first_key(key, "wangfang", "王芳", PASSWORD, "192.0.2.1")


def test_every_use_is_on_the_trace(empty, door):
    key = empty.write(first_key.make_first_key, MONDAY)
    door.use_first_key(key, "wangfang", "王芳", PASSWORD)

    with empty.reading() as session:
        events = session.exec(select(Audit.event)).all()
    assert {"first_key_made", "first_key_used"} <= set(events)


def test_taken_name_is_refused_and_the_key_stays_good(ledger):
    key = ledger.write(first_key.make_another_key, MONDAY)
    door = Access(ledger, clock=lambda: MONDAY, hasher=PasswordHasher(time_cost=1, memory_cost=64))

    with pytest.raises(RefusedError) as refusal:
        door.use_first_key(key, "chief", "某人", PASSWORD)

    assert refusal.value.code == "named_twice"
    assert door.use_first_key(key, "wangfang", "王芳", PASSWORD)
