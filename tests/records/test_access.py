"""Who somebody is: passwords, sessions, tokens, OA accounts."""

import sqlite3
import threading
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from sqlmodel import Session, select

from review.records import access, audit, bureau, engine, lockouts, passwords
from review.records.access import Access
from review.records.engine import Ledger, counting
from review.records.tables import Attempts, Audit, PersonRow, SignIn, Token
from review.rules.errors import NotFoundError, NotSignedInError, TooManyError
from tests.examples import MONDAY

QUICK = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
PASSWORD = "通行短语 one two"


class Clock:
    """Stands until it is moved."""

    def __init__(self) -> None:
        self.now = MONDAY

    def __call__(self) -> datetime:
        return self.now

    def pass_(self, **length: float) -> None:
        self.now += timedelta(**length)


class CountingHasher(PasswordHasher):
    """Keeps which hashes were verified."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=64, parallelism=1)
        self.verified: list[str | bytes] = []

    def verify(self, hash, password):
        self.verified.append(hash)
        return super().verify(hash, password)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def door(ledger: Ledger, clock: Clock) -> Access:
    ledger.write(lambda s: access.set_password(s, "chief", PASSWORD, MONDAY, hasher=QUICK))
    return Access(ledger, clock=clock, hasher=QUICK)


def refused(door: Access, username: str = "chief", password: str = "wrong") -> str:
    with pytest.raises(NotSignedInError) as refusal:
        door.sign_in(username, password)
    return str(refusal.value.params)


def refused_from(door: Access, username: str, address: str) -> None:
    with pytest.raises(NotSignedInError):
        door.sign_in(username, "wrong", address=address)


# --- passwords and sessions ---------------------------------------------------------------------


def test_name_and_password_open_a_session(door):
    signed_in = door.sign_in("chief", PASSWORD)

    assert signed_in.person.id == "chief"
    person, csrf = door.by_session(signed_in.secret)
    assert (person, csrf) == (signed_in.person, signed_in.csrf)


def test_ledger_holds_no_secret(door, ledger):
    signed_in = door.sign_in("chief", PASSWORD)
    token = ledger.write(access.issue_token, "chief", "OA", MONDAY)

    with ledger.reading() as session:
        rows = [session.exec(select(table)).all() for table in (SignIn, Token, PersonRow, Audit)]
    kept = str([[row.model_dump() for row in found] for found in rows])
    assert not [one for one in (signed_in.secret, token, PASSWORD) if one in kept]
    assert "$argon2id$" in kept


@pytest.mark.parametrize(
    ("username", "password"),
    [
        ("chief", "wrong"),
        ("chief", ""),
        ("nobody", PASSWORD),
        ("deputy_b", PASSWORD),  # has no password
        ("chief\0", PASSWORD),
        ("\ud800", "\ud800"),
        ("Chief", PASSWORD),
    ],
)
def test_every_wrong_pair_gets_the_same_answer(door, username, password):
    assert refused(door, username, password) == "{'why': 'password'}"


def test_disabled_account_gets_the_same_answer(door, ledger):
    ledger.write(access.disable, "chief", MONDAY)

    assert refused(door, "chief", PASSWORD) == "{'why': 'password'}"


def test_unknown_name_costs_one_verification_like_a_known_one(ledger, clock):
    hasher = CountingHasher()
    ledger.write(lambda s: access.set_password(s, "chief", PASSWORD, MONDAY, hasher=hasher))
    door = Access(ledger, clock=clock, hasher=hasher)

    refused(door, "chief")  # the first of each makes the rows of its count
    refused(door, "nobody")
    hasher.verified.clear()

    with counting(ledger) as statements:
        refused(door, "chief")
        known = [one.split("WHERE")[0] for one in statements]
        refused(door, "nobody")

    assert known == [one.split("WHERE")[0] for one in statements][len(known) :]
    assert len(hasher.verified) == 2
    assert len({str(one)[: str(one).rindex("p=")] for one in hasher.verified}) == 1


def test_account_closes_after_ten_failures_in_a_quarter_of_an_hour(door, clock):
    for _ in range(10):
        refused(door)
        clock.pass_(seconds=60)

    with pytest.raises(TooManyError) as refusal:
        door.sign_in("chief", PASSWORD)
    assert refusal.value.params == {"retry_after": 301}
    clock.pass_(seconds=301)
    assert door.sign_in("chief", PASSWORD).person.id == "chief"


def test_unknown_name_closes_like_a_known_one(door):
    for _ in range(10):
        refused(door, "nobody")

    with pytest.raises(TooManyError):
        door.sign_in("nobody", PASSWORD)
    assert door.sign_in("chief", PASSWORD)


def test_success_starts_the_count_anew(door):
    for _ in range(3):
        for _ in range(9):
            refused(door)
        door.sign_in("chief", PASSWORD)


def test_many_tries_at_once_gain_nothing(door, monkeypatch):
    tried: list[str] = []
    monkeypatch.setattr(access, "fits", lambda hash_, password, hasher: tried.append(password))

    def knock() -> None:
        with pytest.raises((NotSignedInError, TooManyError)):
            door.sign_in("chief", "wrong")

    threads = [threading.Thread(target=knock) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(tried) == 10


def test_two_processes_count_together(door, ledger, clock):
    other = Access(ledger, clock=clock, hasher=QUICK)

    for _ in range(5):
        refused(door)
        refused(other)

    for either in (door, other):
        with pytest.raises(TooManyError):
            either.sign_in("chief", PASSWORD)


def test_address_closes_after_too_many_failures_whatever_the_names(door, clock, monkeypatch):
    monkeypatch.setattr(lockouts, "MOST_OF_ADDRESS", 12)
    for n in range(12):
        refused_from(door, f"name{n}", "192.0.2.1")

    with pytest.raises(TooManyError):
        door.sign_in("chief", PASSWORD, address="192.0.2.1")
    assert door.sign_in("chief", PASSWORD, address="192.0.2.2")
    clock.pass_(minutes=15, seconds=1)
    assert door.sign_in("chief", PASSWORD, address="192.0.2.1")


def test_success_takes_back_only_its_own_attempt_of_the_address(door, monkeypatch):
    monkeypatch.setattr(lockouts, "MOST_OF_ADDRESS", 12)
    for n in range(11):
        refused_from(door, f"name{n}", "192.0.2.1")

    for _ in range(3):
        door.sign_in("chief", PASSWORD, address="192.0.2.1")
    refused_from(door, "chief", "192.0.2.1")

    with pytest.raises(TooManyError):
        door.sign_in("chief", PASSWORD, address="192.0.2.1")


def test_made_up_names_fill_no_ledger(door, ledger, clock):
    for n in range(20):
        refused(door, f"name{n}")
        clock.pass_(minutes=2)

    with ledger.reading() as session:
        assert len(session.exec(select(Attempts)).all()) <= 9


def test_no_name_is_kept_of_a_failed_sign_in(door, ledger):
    refused(door, "my-password-in-the-wrong-field")

    with ledger.reading() as session:
        rows = [session.exec(select(table)).all() for table in (Attempts, Audit)]
    assert "wrong-field" not in str([[row.model_dump() for row in found] for found in rows])


def test_few_passwords_are_hashed_at_once():
    at_once, most = [0], [0]

    class Watched(PasswordHasher):
        def verify(self, hash, password):
            at_once[0] += 1
            most[0] = max(most[0], at_once[0])
            time.sleep(0.01)
            at_once[0] -= 1
            return True

    threads = [
        threading.Thread(target=passwords.fits, args=("h", "p", Watched())) for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert most[0] == 2


def test_session_ends_after_two_idle_hours(door, clock):
    secret = door.sign_in("chief", PASSWORD).secret

    clock.pass_(hours=1, minutes=59)
    assert door.by_session(secret)
    clock.pass_(hours=1, minutes=59)
    assert door.by_session(secret)
    clock.pass_(hours=2)
    assert door.by_session(secret) is None


def test_session_ends_after_twelve_hours_however_busy(door, clock):
    secret = door.sign_in("chief", PASSWORD).secret

    for _ in range(11):
        clock.pass_(hours=1)
        assert door.by_session(secret)
    clock.pass_(hours=1)
    assert door.by_session(secret) is None


def test_session_ends_with_signing_out(door):
    secret, other = (door.sign_in("chief", PASSWORD).secret for _ in range(2))

    door.sign_out(secret)

    assert door.by_session(secret) is None
    assert door.by_session(other)
    door.sign_out("unknown")


def test_session_ends_with_a_new_password(door, ledger):
    secret = door.sign_in("chief", PASSWORD).secret

    ledger.write(lambda s: access.set_password(s, "chief", "another one", MONDAY, hasher=QUICK))

    assert door.by_session(secret) is None
    refused(door, "chief", PASSWORD)
    assert door.sign_in("chief", "another one")


def test_session_does_not_outlive_a_password_that_changes_meanwhile(door, ledger):
    with ledger.reading() as session:
        person_id, hash_ = access.credentials(session, "chief")
    ledger.write(lambda s: access.set_password(s, "chief", "another one", MONDAY, hasher=QUICK))

    assert ledger.write(access.open_session, person_id, hash_, MONDAY) is None


def test_revoked_role_is_gone_from_the_next_request_on(door, ledger):
    signed_in = door.sign_in("chief", PASSWORD)
    assert [held.role for held in signed_in.person.roles] == ["center_chief"]

    ledger.write(bureau.revoke, "chief-center_chief-", MONDAY)

    person, _ = door.by_session(signed_in.secret)
    assert person.roles == ()


@pytest.mark.parametrize("secret", ["", "unknown", "\ud800", "x\0", "é" * 500])
def test_unknown_secret_is_nobodys(door, secret):
    assert door.by_session(secret) is None
    assert door.by_token(secret) is None
    assert door.by_oa_account(secret) is None


def test_request_with_a_session_is_one_statement_and_a_write_a_minute(door, ledger, clock):
    secret = door.sign_in("chief", PASSWORD).secret  # reads the pack in force, once a process

    kinds = []
    for seconds in (10, 10, 50, 10):
        clock.pass_(seconds=seconds)
        with counting(ledger) as statements:
            door.by_session(secret)
        kinds.append([one.split()[0] for one in statements])

    assert kinds == [["SELECT"], ["SELECT"], ["SELECT", "UPDATE"], ["SELECT"]]


@pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)
def test_session_is_read_while_the_ledger_is_locked(ledger, clock, door, monkeypatch):
    secret = door.sign_in("chief", PASSWORD).secret
    with ledger.reading() as session:
        path = session.connection().exec_driver_sql("PRAGMA database_list").first()[2]
    monkeypatch.setattr(engine, "BUSY_TIMEOUT", 50)
    impatient = Ledger(f"sqlite:///{Path(path)}")
    other = sqlite3.connect(path)
    other.execute("BEGIN IMMEDIATE")
    clock.pass_(minutes=5)

    assert Access(impatient, clock=clock, hasher=QUICK).by_session(secret)

    other.rollback()
    other.close()
    impatient.close()


def test_older_password_hash_is_renewed(ledger, clock):
    older = PasswordHasher(time_cost=2, memory_cost=64, parallelism=1)
    ledger.write(lambda s: access.set_password(s, "chief", PASSWORD, MONDAY, hasher=older))

    Access(ledger, clock=clock, hasher=QUICK).sign_in("chief", PASSWORD)

    with ledger.reading() as session:
        assert "t=1" in session.get_one(PersonRow, "chief").password_hash
    assert Access(ledger, clock=clock, hasher=QUICK).sign_in("chief", PASSWORD)


def test_shipped_password_hash_is_argon2id_of_rfc_9106():
    parameters = access.HASHER.hash("x").split("$")

    assert (parameters[1], parameters[3]) == ("argon2id", "m=65536,t=3,p=4")


# --- tokens and accounts ------------------------------------------------------------------------


def test_token_is_its_persons_in_one_statement(door, ledger):
    token = ledger.write(access.issue_token, "director", "OA bridge", MONDAY)

    with counting(ledger) as statements:
        person = door.by_token(token)

    assert person.id == "director"
    assert {held.role for held in person.roles} == {"unit_head", "office_director"}
    assert len(statements) == 1


def test_revoked_token_is_nobodys(door, ledger):
    token = ledger.write(access.issue_token, "director", "OA bridge", MONDAY)
    with ledger.reading() as session:
        token_id = session.exec(select(Token.id)).one()

    ledger.write(access.revoke_token, token_id, MONDAY)

    assert door.by_token(token) is None
    with pytest.raises(NotFoundError):
        ledger.write(access.revoke_token, "unknown", MONDAY)


def test_disabling_ends_sessions_and_tokens(door, ledger):
    token = ledger.write(access.issue_token, "chief", "", MONDAY)
    secret = door.sign_in("chief", PASSWORD).secret

    ledger.write(access.disable, "chief", MONDAY)

    assert door.by_session(secret) is None
    assert door.by_token(token) is None
    assert door.by_oa_account("chief") is None

    def enable(session: Session) -> None:
        session.get_one(PersonRow, "chief").disabled_at = None

    ledger.write(enable)
    assert door.by_session(secret) is None
    assert door.by_token(token) is None


def test_nothing_is_issued_to_who_is_not_there(ledger):
    ledger.write(access.disable, "duty", MONDAY)

    for person in ("nobody", "duty"):
        with pytest.raises(NotFoundError):
            ledger.write(access.issue_token, person, "", MONDAY)
    for deed in (access.disable, lambda s, p, n: access.set_password(s, p, "x", n, hasher=QUICK)):
        with pytest.raises(NotFoundError):
            ledger.write(deed, "nobody", MONDAY)


def test_what_opens_doors_is_on_the_trace(door, ledger):
    ledger.write(access.issue_token, "chief", "", MONDAY)
    door.sign_in("chief", PASSWORD)
    ledger.write(lambda s: access.disable(s, "chief", MONDAY, by="security"))

    with ledger.reading() as session:
        events = session.exec(select(Audit.event).where(Audit.chain == audit.BUREAU)).all()
        assert audit.verify(session)["ok"]
    assert events[-4:] == ["password_set", "token_issued", "signed_in", "account_disabled"]
