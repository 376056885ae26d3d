"""The OA's signed decisions over the real application: keys, scopes, rotation, repeats, attacks."""

import json
import random
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlmodel import select

from review.acts.deliveries import KEPT, forget_deliveries
from review.records.access import Access, disable
from review.records.engine import Ledger
from review.records.hook_keys import (
    PURPOSE,
    Made,
    Scope,
    change_secret,
    keys_listed,
    keys_now,
    make_key,
    retire_key,
)
from review.records.hook_tables import HookDelivery, HookKey
from review.records.kept import Box
from review.records.tables import Decision
from review.rules.errors import LedgerUnavailableError, MalformedError, RefusedError
from review.settings import Settings
from review.webhooks import Key
from starter.reviews import Reviews
from starter.web.app import create_app
from starter.web.hook import Verifier
from tests.acting import Course
from tests.examples import CHECKLIST, MONDAY
from tests.records.test_access import Clock

SECRET = b"s" * 48
BOX = Box(SECRET, PURPOSE)


@pytest.fixture
def course(ledger: Ledger) -> Course:
    found = Course(ledger)
    found.turn()
    return found


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Oa:
    """The OA's side of the hook."""

    def __init__(self, web: httpx.AsyncClient, clock: Clock, course: Course) -> None:
        self.web, self.clock, self.course = web, clock, course

    def decision(self, **more: Any) -> dict[str, Any]:
        return {
            "submission": self.course.id, "account": "afforest_head", "step": "unit_review",
            "verdict": "approve", "digest": self.course.row().digest, "checklist": CHECKLIST,
        } | more  # fmt: skip

    async def send(
        self, secret: str, message: str, body: dict[str, Any] | bytes, *, age: int = 0
    ) -> httpx.Response:
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        stamp = str(int(self.clock().timestamp()) - age)
        headers = {
            "webhook-id": message, "webhook-timestamp": stamp,
            "webhook-signature": Key.of("x", secret).sign(message, stamp, sent).decode(),
            "content-type": "application/json",
        }  # fmt: skip
        return await self.web.post("/hooks/decisions", content=sent, headers=headers)


@pytest.fixture
async def oa(ledger: Ledger, clock: Clock, course: Course, tmp_path: Path) -> AsyncIterator[Oa]:
    settings = Settings(data=tmp_path, secret_key=SECRET.decode(), _env_file=None)
    app = create_app(
        Reviews(ledger, None, clock=clock, secret=SECRET),
        Access(ledger, clock=clock, secret=SECRET),
        settings,
    )
    app.state.verifier = Verifier((), clock)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as web:
        yield Oa(web, clock, course)


def a_key(ledger: Ledger, name: str = "oa", **scope: tuple[str, ...]) -> str:
    made: Made = ledger.write(make_key, name, Scope(**scope), MONDAY, BOX)
    return made.secret


def decisions(ledger: Ledger) -> list[str]:
    with ledger.reading() as session:
        return list(session.exec(select(Decision.id)))


# --- keys -----------------------------------------------------------------------------------------


async def test_key_of_the_ledger_signs_and_its_secret_is_not_kept_in_the_clear(ledger, oa):
    secret = a_key(ledger)

    answer = await oa.send(secret, "m1", oa.decision())

    assert (answer.status_code, answer.json()["decision_id"]) == (200, "m1")
    with ledger.reading() as session:
        (row,) = session.exec(select(HookKey))
        assert secret.removeprefix("whsec_")[:12] not in str(row.model_dump())
        assert "secret" not in str(keys_listed(session, MONDAY))


async def test_both_secrets_hold_while_one_is_changed_then_the_new_one_alone(ledger, oa, clock):
    old = a_key(ledger)
    new = ledger.write(
        lambda s: change_secret(s, "oa", MONDAY, BOX, retire_at=MONDAY + timedelta(hours=2))
    )
    with pytest.raises(RefusedError, match="hook_key_changing"):
        ledger.write(change_secret, "oa", MONDAY, BOX)

    stale = oa.decision(digest="0" * 64)
    during = [(await oa.send(one, f"m{n}", stale)).status_code
              for n, one in enumerate((old, new.secret))]  # fmt: skip
    clock.pass_(hours=2)
    after = [(await oa.send(one, f"n{n}", stale)).status_code
             for n, one in enumerate((old, new.secret))]  # fmt: skip

    assert (during, after) == ([409, 409], [401, 409])


async def test_key_holds_only_between_its_moments_and_ends_at_once_when_retired(ledger, oa, clock):
    from_at, until_at = MONDAY + timedelta(hours=1), MONDAY + timedelta(hours=3)
    made = ledger.write(
        lambda s: make_key(s, "oa", Scope(), MONDAY, BOX, from_at=from_at, until_at=until_at)
    )
    answers = []
    for hour in range(4):
        clock.now = MONDAY + timedelta(hours=hour)
        sent = await oa.send(made.secret, f"m{hour}", oa.decision(digest="0" * 64))
        answers.append(sent.status_code)
    assert answers == [401, 409, 409, 401]

    made = ledger.write(make_key, "other", Scope(), clock(), BOX)
    assert (await oa.send(made.secret, "a", oa.decision(digest="0" * 64))).status_code == 409
    ledger.write(retire_key, made.id, clock())
    assert (await oa.send(made.secret, "b", oa.decision())).status_code == 401


async def test_key_sealed_under_another_secret_key_signs_nothing(ledger, oa):
    made = ledger.write(make_key, "oa", Scope(), MONDAY, Box(b"another" * 8, PURPOSE))

    assert (await oa.send(made.secret, "m1", oa.decision())).status_code == 401


@pytest.mark.parametrize(
    ("scope", "taken"),
    [
        ({}, True),
        ({"units": ("afforest",)}, True),
        ({"units": ("fire",)}, False),
        ({"roles": ("unit_head",)}, True),
        ({"roles": ("center_chief",)}, False),
        ({"people": ("afforest_head",)}, True),
        ({"people": ("fire_head",)}, False),
        ({"steps": ("unit_review", "second_review")}, True),
        ({"steps": ("final_review",)}, False),
        ({"units": ("afforest",), "roles": ("center_chief",)}, False),
        ({"units": ("afforest",), "steps": ("final_review",)}, False),
    ],
)
async def test_key_speaks_and_decides_only_within_every_limit_of_its_scope(
    ledger, oa, scope, taken
):
    secret = a_key(ledger, **scope)

    answer = await oa.send(secret, "m1", oa.decision())

    assert answer.status_code == (200 if taken else 403)
    assert bool(decisions(ledger)) is taken


@pytest.mark.parametrize(
    "scope", [{"units": ("x",)}, {"roles": ("king",)}, {"people": ("nobody",)}]
)
def test_scope_that_names_what_there_is_not_is_refused(ledger, scope):
    with pytest.raises(MalformedError):
        a_key(ledger, **scope)
    with ledger.reading() as session:
        assert not keys_now(session, MONDAY, BOX)


def test_second_key_of_a_name_is_refused(ledger):
    a_key(ledger)

    with pytest.raises(RefusedError, match="hook_key_exists"):
        a_key(ledger)


# --- repeats --------------------------------------------------------------------------------------


async def test_same_message_gets_the_first_answer_and_counts_once(ledger, oa):
    secret = a_key(ledger)

    first = await oa.send(secret, "m1", oa.decision())
    again = await oa.send(secret, "m1", oa.decision())
    other = await oa.send(secret, "m1", oa.decision(opinion="另一意见"))

    assert first.json() == again.json()
    assert (other.status_code, other.json()["code"]) == (409, "key_reused")
    assert decisions(ledger) == ["m1"]


async def test_refusal_is_the_answer_too_even_when_it_would_be_taken_by_now(ledger, oa):
    secret = a_key(ledger)
    early = oa.decision(step="second_review", account="deputy_b", checklist={})

    first = await oa.send(secret, "m1", early)
    oa.course.run("second_review")
    again = await oa.send(secret, "m1", early)
    anew = await oa.send(secret, "m2", early)

    assert first.status_code == 409 and first.json() == again.json()
    assert anew.status_code == 200


async def test_first_answer_is_looked_up_before_the_scope(ledger, oa):
    secret = a_key(ledger)
    body = oa.decision()
    first = await oa.send(secret, "m1", body)
    ledger.write(disable, "afforest_head", MONDAY)

    again = await oa.send(secret, "m1", body)

    assert (again.status_code, again.json()) == (200, first.json())


async def test_another_systems_message_of_the_same_id_is_another_message(ledger, oa):
    one, other = a_key(ledger), a_key(ledger, "chat")
    body = oa.decision()
    await oa.send(one, "m1", body)

    answer = await oa.send(other, "m1", body)

    assert (answer.status_code, answer.json()["code"]) == (409, "key_reused")


async def test_unsigned_and_unavailable_are_never_the_answer(ledger, oa):
    secret = a_key(ledger)
    body = oa.decision()
    reviews = oa.web._transport.app.state.reviews
    decide = reviews.decide

    assert (await oa.send("whsec_" + "A" * 32, "m1", body)).status_code == 401

    async def away(*_args: Any, **_more: Any) -> Any:
        raise LedgerUnavailableError

    reviews.decide = away
    assert (await oa.send(secret, "m1", body)).status_code == 503
    reviews.decide = decide
    assert (await oa.send(secret, "m1", body)).status_code == 200


async def test_crash_between_decision_and_answer_loses_and_doubles_nothing(ledger, oa):
    secret = a_key(ledger)
    body = oa.decision()
    reviews = oa.web._transport.app.state.reviews
    keep = reviews.answer_delivery

    async def crash(*_args: Any) -> None:
        raise RuntimeError("the process ends here")

    reviews.answer_delivery = crash
    assert (await oa.send(secret, "m1", body)).status_code == 500
    assert decisions(ledger) == ["m1"]
    reviews.answer_delivery = keep

    again = await oa.send(secret, "m1", body)

    assert (again.status_code, again.json()["decision_id"]) == (200, "m1")
    assert decisions(ledger) == ["m1"]


async def test_ids_are_kept_a_week_at_least_and_a_decision_counts_once_for_ever(ledger, oa, clock):
    secret = a_key(ledger)
    body = oa.decision()
    await oa.send(secret, "m1", body)

    clock.pass_(days=7)
    assert ledger.write(forget_deliveries, clock()) == 0
    clock.now = MONDAY + KEPT + timedelta(seconds=1)
    assert ledger.write(forget_deliveries, clock()) == 1

    assert (await oa.send(secret, "m1", body)).status_code == 200
    assert (await oa.send(secret, "m1", oa.decision(opinion="x"))).status_code == 409
    assert decisions(ledger) == ["m1"]


async def test_a_stopped_text_is_kept_neither_as_an_answer_nor_as_a_plain_hash(ledger, oa):
    secret = a_key(ledger)
    body = oa.decision(opinion="机密★长期 不得公开")

    first = await oa.send(secret, "m1", body)
    again = await oa.send(secret, "m1", body)

    assert [first.json()["code"], again.json()["code"]] == ["screening_stop"] * 2
    with ledger.reading() as session:
        (row,) = session.exec(select(HookDelivery))
        assert (row.status, row.answer) == (0, {})
    assert not decisions(ledger)


# --- attacks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("age", [301, -302, 86_400])
async def test_old_and_early_messages_change_nothing(ledger, oa, age):
    secret = a_key(ledger)

    assert (await oa.send(secret, "m1", oa.decision(), age=age)).status_code == 401
    assert not decisions(ledger)


async def test_closed_unknown_and_unmapped_accounts_are_one_refusal(ledger, oa):
    secret = a_key(ledger)
    ledger.write(disable, "afforest_head", MONDAY)

    answers = [
        await oa.send(secret, f"m{n}", oa.decision(account=account))
        for n, account in enumerate(("afforest_head", "nobody", "", "修复处处长", "%", "a\\u0000"))
    ]

    assert {answer.status_code for answer in answers} <= {403, 422}
    assert answers[0].json() == answers[1].json(), "whether an account exists is nobody's business"
    assert not decisions(ledger)


def junk(good: dict[str, Any]) -> Iterator[bytes]:
    """Yield a thousand bodies, each wrong in a way of its own, always the same ones."""
    dice = random.Random(5)
    names = [*good, "round", "unit", "opinion", "return_to", "findings_seen", "decided_at", "x"]
    shaped = ["submission", "account", "step", "opinion", "unit", "return_to", "reason_code"]
    values: list[Any] = [
        None, True, -1, 0, 10**30, 1e308, "", " ", "x" * 5000, [], {}, [[]], {"a": {}}, "\ud800",
        "\x00", "0" * 64, "approve", "publish", "../..", "2026-02-30T00:00:00Z", {"political": 1},
    ]  # fmt: skip
    for number in range(1_000):
        raw = json.dumps(good).encode()
        match number % 5:
            case 0:
                yield dice.randbytes(dice.randrange(200))
            case 1:
                cut = dice.randrange(len(raw))
                yield raw[:cut] + dice.randbytes(1) + raw[cut + 1 :]
            case 2:
                yield raw[: dice.randrange(len(raw))]
            case 3:
                texts = [one for one in values if isinstance(one, str)]
                wrong = {dice.choice(shaped): dice.choice(texts)}
                yield json.dumps(good | wrong | {"digest": "0" * 64}).encode()
            case _:
                some = {k: v for k, v in good.items() if dice.random() < 0.7}
                wrong = {dice.choice(names): dice.choice(values), "digest": dice.choice(values)}
                yield json.dumps(some | wrong).encode()


async def test_a_thousand_junk_bodies_get_4xx_and_change_nothing(quick_ledger, clock, tmp_path):
    """Signed by a true key: the shape, the scope and the rules still judge."""
    course = Course(quick_ledger)
    course.turn()
    settings = Settings(data=tmp_path, secret_key=SECRET.decode(), _env_file=None)
    app = create_app(
        Reviews(quick_ledger, None, clock=clock, secret=SECRET),
        Access(quick_ledger, clock=clock, secret=SECRET),
        settings,
    )
    app.state.verifier = Verifier((), clock)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    secret = a_key(quick_ledger)
    answers: dict[int, int] = {}
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as web:
        oa = Oa(web, clock, course)
        for number, body in enumerate(junk(oa.decision())):
            if body == json.dumps(oa.decision()).encode():
                continue
            answer = await oa.send(secret, f"m{number}", body)
            answers[answer.status_code] = answers.get(answer.status_code, 0) + 1

    print(f"\nsigned junk: {sum(answers.values())} bodies, {dict(sorted(answers.items()))}")
    assert sum(answers.values()) > 990
    assert {403, 409, 422} <= set(answers), "it got as far as scope and rules too"
    assert all(400 <= status < 500 for status in answers), answers
    assert not decisions(quick_ledger)
    assert course.row().status == "in_review"
