"""A second factor: codes that count once, recovery codes, and of whom a pack asks one."""

from datetime import timedelta

import pyotp
import pytest
from sqlmodel import select

from review.acts.adopting import adopt_policy
from review.packs import builtin_pack, load_pack
from review.records import access, second_factor
from review.records.access import Access, SecondFactorNeededError
from review.records.engine import Ledger
from review.records.tables import Audit, PersonRow, RecoveryCode, SecondFactor
from review.rules.errors import NotFoundError, NotSignedInError, RefusedError, TooManyError
from review.rules.policy import Length
from review.rules.policy import SecondFactor as Asked
from tests.examples import MONDAY
from tests.records.test_access import PASSWORD, QUICK, Clock

KEY = b"k" * 48


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def door(ledger: Ledger, clock: Clock) -> Access:
    for person in ("chief", "bureau_chief"):
        ledger.write(lambda s, p=person: access.set_password(s, p, PASSWORD, MONDAY, hasher=QUICK))
    return Access(ledger, clock=clock, hasher=QUICK, secret=KEY)


def enrolled(door: Access, clock: Clock, person: str = "chief") -> tuple[pyotp.TOTP, list[str]]:
    """Set up a second factor, and let its first code's period pass."""
    cookie = door.sign_in(person, PASSWORD).secret
    made = door.begin_second_factor(person)
    assert made.uri.startswith(f"otpauth://totp/Sanshen:{person}?secret={made.secret}")
    codes = pyotp.TOTP(made.secret)
    recovery = door.confirm_second_factor(person, codes.at(clock.now), cookie)
    clock.pass_(seconds=60)
    return codes, recovery


def refused(door: Access, otp: str, person: str = "chief") -> str:
    with pytest.raises(NotSignedInError) as refusal:
        door.sign_in(person, PASSWORD, otp)
    return str(refusal.value.params.get("why", refusal.value.code))


def test_codes_are_those_of_rfc_6238(door, ledger, clock, monkeypatch):
    """RFC 6238, appendix B: the last six digits of its values for SHA-1."""
    secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
    monkeypatch.setattr(pyotp, "random_base32", lambda: secret)

    for seconds, code in ((1111111109, "081804"), (2000000000, "279037"), (59, "287082")):
        held = SecondFactor(person_id="p", secret="", made_at=MONDAY)
        held.secret = door._factors.seal(secret.encode(), "p", b"n" * 12)
        now = MONDAY.fromtimestamp(seconds, MONDAY.tzinfo)
        assert second_factor._is_current(held, code, now, door._factors)


def test_once_set_up_it_is_asked_for(door, clock):
    codes, _ = enrolled(door, clock)

    with pytest.raises(SecondFactorNeededError) as needed:
        door.sign_in("chief", PASSWORD)
    assert (needed.value.status, needed.value.code) == (401, "second_factor_needed")
    assert door.sign_in("chief", PASSWORD, codes.at(clock.now)).person.id == "chief"


def test_wrong_password_learns_nothing_of_a_second_factor(door, clock):
    codes, _ = enrolled(door, clock)

    with pytest.raises(NotSignedInError) as refusal:
        door.sign_in("chief", "wrong", codes.at(clock.now))
    assert (refusal.value.code, refusal.value.params) == ("not_signed_in", {"why": "password"})


def test_code_counts_once(door, clock):
    codes, _ = enrolled(door, clock)
    code = codes.at(clock.now)

    door.sign_in("chief", PASSWORD, code)

    assert refused(door, code) == "second_factor"


def test_first_code_is_used_up_by_confirming(door, clock):
    cookie = door.sign_in("chief", PASSWORD).secret
    codes = pyotp.TOTP(door.begin_second_factor("chief").secret)
    door.confirm_second_factor("chief", codes.at(clock.now), cookie)

    assert refused(door, codes.at(clock.now)) == "second_factor"


def test_code_before_one_that_was_taken_counts_no_longer(door, clock):
    codes, _ = enrolled(door, clock)
    before = codes.at(clock.now - timedelta(seconds=30))

    door.sign_in("chief", PASSWORD, codes.at(clock.now))

    assert refused(door, before) == "second_factor"


@pytest.mark.parametrize(("off", "taken"), [(-2, False), (-1, True), (1, True), (2, False)])
def test_telephone_may_be_half_a_minute_off(door, clock, off, taken):
    codes, _ = enrolled(door, clock)
    clock.pass_(minutes=5)
    code = codes.at(clock.now + timedelta(seconds=30 * off))

    if taken:
        assert door.sign_in("chief", PASSWORD, code)
    else:
        assert refused(door, code) == "second_factor"


@pytest.mark.parametrize("code", ["000000", "12345", "1234567", "１２３４５６", "abcdef", "\0" * 6])
def test_wrong_code_opens_nothing(door, clock, code):
    enrolled(door, clock)

    assert refused(door, code) == "second_factor"


def test_guessing_codes_closes_the_account(door, clock):
    codes, _ = enrolled(door, clock)
    for _ in range(10):
        refused(door, "000000")

    with pytest.raises(TooManyError):
        door.sign_in("chief", PASSWORD, codes.at(clock.now))


def test_recovery_code_opens_once(door, clock):
    _, recovery = enrolled(door, clock)

    assert len(set(recovery)) == 10
    assert door.sign_in("chief", PASSWORD, recovery[3])
    assert refused(door, recovery[3]) == "second_factor"
    assert door.sign_in("chief", PASSWORD, recovery[4])


def test_ticket_stands_for_the_first_factor(door, clock):
    codes, _ = enrolled(door, clock)
    with pytest.raises(SecondFactorNeededError) as needed:
        door.sign_in("chief", PASSWORD)

    signed_in = door.second_step(needed.value.ticket, codes.at(clock.now))

    assert door.by_session(signed_in.secret)
    with pytest.raises(NotSignedInError):
        door.second_step(needed.value.ticket, codes.at(clock.now))


def test_ticket_is_no_longer_good_after_five_minutes_or_a_new_password(door, ledger, clock):
    codes, _ = enrolled(door, clock)
    with pytest.raises(SecondFactorNeededError) as old:
        door.sign_in("chief", PASSWORD)
    clock.pass_(minutes=5, seconds=1)
    with pytest.raises(NotSignedInError):
        door.second_step(old.value.ticket, codes.at(clock.now))
    with pytest.raises(SecondFactorNeededError) as fresh:
        door.sign_in("chief", PASSWORD)

    ledger.write(lambda s: access.set_password(s, "chief", "another one", clock.now, hasher=QUICK))

    with pytest.raises(NotSignedInError):
        door.second_step(fresh.value.ticket, codes.at(clock.now))


@pytest.mark.parametrize("ticket", ["", "00", "zz", "ab" * 40])
def test_made_up_ticket_opens_nothing(door, clock, ticket):
    enrolled(door, clock)

    with pytest.raises(NotSignedInError):
        door.second_step(ticket, "000000")


def test_confirming_ends_every_other_session(door, clock):
    other = door.sign_in("chief", PASSWORD).secret
    mine = door.sign_in("chief", PASSWORD).secret
    codes = pyotp.TOTP(door.begin_second_factor("chief").secret)

    door.confirm_second_factor("chief", codes.at(clock.now), mine)

    assert door.by_session(other) is None
    assert door.by_session(mine)[0].second_factor


def test_one_in_use_is_neither_begun_nor_confirmed_again(door, clock):
    codes, _ = enrolled(door, clock)

    for deed in (
        lambda: door.begin_second_factor("chief"),
        lambda: door.confirm_second_factor("chief", codes.at(clock.now), ""),
    ):
        with pytest.raises(RefusedError) as refusal:
            deed()
        assert refusal.value.code == "second_factor_held"


def test_removing_it_ends_sessions_and_asks_no_more(door, ledger, clock):
    codes, _ = enrolled(door, clock)
    cookie = door.sign_in("chief", PASSWORD, codes.at(clock.now)).secret

    ledger.write(lambda s: second_factor.remove(s, "chief", clock.now, by="security"))

    assert door.by_session(cookie) is None
    assert door.sign_in("chief", PASSWORD)
    with pytest.raises(NotFoundError):
        ledger.write(lambda s: second_factor.remove(s, "chief", clock.now))


def test_neither_secret_nor_codes_are_kept_as_they_are(door, ledger, clock):
    cookie = door.sign_in("chief", PASSWORD).secret
    made = door.begin_second_factor("chief")
    recovery = door.confirm_second_factor("chief", pyotp.TOTP(made.secret).at(clock.now), cookie)

    with ledger.reading() as session:
        rows = [session.exec(select(table)).all() for table in (SecondFactor, RecoveryCode, Audit)]
    kept = str([[row.model_dump() for row in found] for found in rows])
    assert not [one for one in (made.secret, *recovery) if one in kept]


def test_copied_secret_opens_nothing_for_another_person_or_key(door, ledger, clock):
    enrolled(door, clock)
    with ledger.reading() as session:
        sealed = session.get_one(SecondFactor, "chief").secret

    assert door._factors.open(sealed, "chief")
    assert door._factors.open(sealed, "deputy_b") is None
    assert Access(ledger, hasher=QUICK, secret=b"x" * 48)._factors.open(sealed, "chief") is None


# --- of whom a pack asks one -------------------------------------------------------------------


def asked(ledger: Ledger, **second: object) -> None:
    pack = load_pack(builtin_pack("hebei-lcj-2022-35"))
    changed = pack.model_copy(update={"second_factor": Asked(**second)})
    ledger.write(adopt_policy, changed, MONDAY + timedelta(seconds=1))


def test_shipped_rules_ask_leaders_and_leave_two_weeks(door, ledger, clock):
    secret = door.sign_in("bureau_chief", PASSWORD).secret
    assert door.by_session(secret)[0].must_enrol

    def join_now(session):
        session.get_one(PersonRow, "bureau_chief").created_at = MONDAY - timedelta(days=13)

    ledger.write(join_now)
    person = door.by_session(secret)[0]
    assert (person.must_enrol, person.second_factor) == (False, True)
    clock.pass_(days=1)
    assert door.sign_in("bureau_chief", PASSWORD).person.must_enrol


def test_other_roles_do_everything_but_the_gravest_routes(door, clock):
    person = door.sign_in("chief", PASSWORD).person

    assert (person.must_enrol, person.second_factor) == (False, False)


def test_demo_pack_asks_nobody(door, ledger, clock):
    demo = load_pack(builtin_pack("demo-seconds"))
    assert (demo.second_factor.roles, demo.second_factor.profiles) == ((), ())
    ledger.write(adopt_policy, demo, MONDAY + timedelta(seconds=1))

    assert not door.sign_in("bureau_chief", PASSWORD).person.must_enrol


def test_token_and_oa_account_are_asked_nothing(door, ledger):
    token = ledger.write(access.issue_token, "bureau_chief", "", MONDAY)

    for person in (door.by_token(token), door.by_oa_account("bureau_chief")):
        assert (person.must_enrol, person.second_factor) == (False, True)


def test_session_with_one_is_asked_no_more(door, ledger, clock):
    asked(ledger, roles=("bureau_chief",), grace=Length.model_validate("1s"))
    codes, _ = enrolled(door, clock, "bureau_chief")

    person = door.sign_in("bureau_chief", PASSWORD, codes.at(clock.now)).person

    assert (person.must_enrol, person.second_factor) == (False, True)


def test_role_given_during_a_session_counts_at_the_next_request(door, ledger):
    from review.records.bureau import grant
    from review.rules.values import Role

    secret = door.sign_in("chief", PASSWORD).secret
    assert not door.by_session(secret)[0].must_enrol

    ledger.write(lambda s: grant(s, "chief", Role.PUBLICITY_LEADER, "", MONDAY))

    assert door.by_session(secret)[0].must_enrol
