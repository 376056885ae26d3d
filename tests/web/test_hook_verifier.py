"""The hook's own verifier against the package `standardwebhooks`, which is its oracle."""

import base64
import secrets
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook
from starlette.datastructures import Headers

from review.records.people import Person
from review.rules.errors import NotSignedInError
from starter.web.hook import Key, Verifier

SECRET = "whsec_" + base64.b64encode(bytes(range(24))).decode()
OTHER_SECRET = "whsec_" + base64.b64encode(bytes(range(24, 56))).decode()
BODY = '{"submission":"s1","opinion":"同意"}'


def signed(
    *, body: str = BODY, message_id: str = "msg_1", secret: str = SECRET, age_seconds: float = 0
) -> dict[str, str]:
    """Return the headers that the oracle gives a message."""
    at = datetime.now(UTC) - timedelta(seconds=age_seconds)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(message_id, at, body),
    }


def verifier(*secrets_: str) -> Verifier:
    return Verifier(Key.of(f"k{n}", secret) for n, secret in enumerate(secrets_ or (SECRET,)))


def refused(headers: dict[str, str] | list[tuple[str, str]], body: str = BODY) -> str:
    pairs = headers.items() if isinstance(headers, dict) else headers
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs]
    with pytest.raises(NotSignedInError) as refusal:
        verifier().verify(Headers(raw=raw), body.encode())
    return str(refusal.value.params["why"])


def test_what_the_oracle_signs_is_taken():
    delivery = verifier().verify(Headers(signed()), BODY.encode())

    assert (delivery.message_id, delivery.key.id) == ("msg_1", "k0")


def test_what_we_sign_the_oracle_takes():
    headers = signed()
    signature = Key.of("k", SECRET).sign("msg_1", headers["webhook-timestamp"], BODY.encode())

    Webhook(SECRET).verify(BODY, headers | {"webhook-signature": signature.decode()})


@settings(max_examples=60, deadline=None)
@given(
    body=st.text(max_size=300),
    message_id=st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1),
    secret=st.binary(min_size=24, max_size=64),
)
def test_both_agree_on_any_message(body, message_id, secret):
    body = body.encode("utf-8", "replace").decode()
    message_id = message_id[:200]
    encoded = "whsec_" + base64.b64encode(secret).decode()
    headers = signed(body=body, message_id=message_id, secret=encoded)

    delivery = verifier(encoded).verify(Headers(headers), body.encode())

    assert delivery.message_id == message_id
    assert Webhook(encoded).verify(body, headers, json_parse=False) is None


def taken_by_us(headers: dict[str, str], body: str, *secrets_: str) -> bool:
    try:
        verifier(*secrets_).verify(Headers(headers), body.encode())
    except NotSignedInError:
        return False
    return True


def taken_by_the_oracle(headers: dict[str, str], body: str, secret: str) -> bool:
    try:
        Webhook(secret).verify(body, headers, json_parse=False)
    except Exception:  # it raises whatever it trips over
        return False
    return True


@settings(max_examples=300, deadline=None)
@given(
    body=st.text(st.characters(codec="utf-8"), max_size=60),
    name=st.sampled_from(
        ["body", "webhook-id", "webhook-timestamp", "webhook-signature", "secret"]
    ),
    place=st.integers(0, 200),
    other=st.characters(min_codepoint=0x21, max_codepoint=0x7E),
    age=st.sampled_from([0, 290, -290, 310, -310]),
)
def test_both_agree_on_any_message_with_one_character_changed(body, name, place, other, age):
    """Or with none: the character may be the one that stood there."""
    headers, secret = signed(body=body, age_seconds=age), SECRET

    def changed(text: str) -> str:
        at = place % max(len(text), 1)
        return text[:at] + other + text[at + 1 :]

    if name == "body":
        body = changed(body)
    elif name == "secret":
        secret = OTHER_SECRET if place % 2 else SECRET
    else:
        headers[name] = changed(headers[name])

    ours, its = taken_by_us(headers, body, secret), taken_by_the_oracle(headers, body, secret)

    # its base64 overlooks bits that a last character does not need; ours compares to the letter
    assert ours == its or (its and name == "webhook-signature")


def test_any_signature_and_any_key_of_a_rotation_will_do():
    old, new = signed(secret=SECRET), signed(secret=OTHER_SECRET)
    listed = " ".join(("v1a,abc", new["webhook-signature"], old["webhook-signature"]))

    delivery = verifier(SECRET, OTHER_SECRET).verify(
        Headers(new | {"webhook-signature": listed}), BODY.encode()
    )

    assert delivery.key.id == "k1"


def test_other_bytes_ids_times_and_keys_are_refused():
    headers = signed()

    assert refused(headers, BODY + " ") == "hook_signature"
    assert refused(headers | {"webhook-id": "msg_2"}) == "hook_signature"
    later = str(int(headers["webhook-timestamp"]) + 1)
    assert refused(headers | {"webhook-timestamp": later}) == "hook_signature"
    assert refused(signed(secret=OTHER_SECRET)) == "hook_signature"


@pytest.mark.parametrize("age_seconds", [302, -302, 10_000_000])
def test_old_and_early_messages_are_refused(age_seconds):
    assert refused(signed(age_seconds=age_seconds)) == "hook_timestamp"


@pytest.mark.parametrize("age_seconds", [295, -295])
def test_five_minutes_are_tolerated(age_seconds):
    assert verifier().verify(Headers(signed(age_seconds=age_seconds)), BODY.encode())


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
@pytest.mark.parametrize("value", [None, "", " ", "\xe9", "x" * 5_000, "1e9", "-1", "NaN", "٣"])
def test_malformed_headers_are_refused_and_never_an_error(name, value):
    if value == "٣":
        value = "\xd9\xa3"  # a digit elsewhere, as its bytes arrive
    headers = {k: v for k, v in signed().items() if k != name}
    if value is not None:
        headers[name] = value

    assert refused(headers).startswith("hook_")


@pytest.mark.parametrize(
    "signature", ["v1", "v1,", ",", "v1,@@@", "v2,{}", "v1,{}=", "v1,{},", "V1,{}", "v1, {}", "{}"]
)
def test_malformed_signatures_are_refused(signature):
    right = signed()["webhook-signature"].removeprefix("v1,")

    headers = signed() | {"webhook-signature": signature.format(right)}

    assert refused(headers) == "hook_signature"


def test_a_header_given_twice_is_refused():
    headers = list(signed().items())

    assert refused([*headers, headers[0]]) == "hook_headers"


def test_without_keys_nothing_is_taken():
    with pytest.raises(NotSignedInError):
        Verifier(()).verify(Headers(signed()), BODY.encode())


def test_bad_secrets_stop_the_start_and_are_not_repeated():
    for secret in ("whsec_", "whsec_@@@", "nothing like it"):
        with pytest.raises(ValueError, match="k9") as error:
            Key.of("k9", secret)
        assert secret == "whsec_" or secret not in str(error.value)


def test_a_key_speaks_only_for_its_units():
    person = Person(id="p1", username="wang", name="王", unit_id="u1", roles=())

    assert Key("k", secrets.token_bytes(24)).may_speak_for(person)
    assert Key("k", b"", frozenset({"u1"})).may_speak_for(person)
    assert not Key("k", b"", frozenset({"u2"})).may_speak_for(person)
