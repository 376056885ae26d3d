"""Other systems on the console: keys and endpoints, shown once, and what was delivered."""

import json

import pytest

from review.acts import announcing
from review.records.access import Access
from review.records.hook_keys import PURPOSE, keys_now
from review.records.kept import Box
from tests.acting import Course
from tests.examples import MONDAY
from tests.test_cli_people import Run, events, run

__all__ = ["run"]

SECRET = "s" * 48


@pytest.fixture(autouse=True)
def secret_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANSHEN_SECRET_KEY", SECRET)


def test_key_is_made_changed_and_retired(run: Run, quick_ledger):
    code, secret, said = run("hook", "add", "oa", "--unit", "fire", "--step", "unit_review")
    assert (code, secret[:6]) == (0, "whsec_") and "once" in said
    (key,) = Access(quick_ledger, secret=SECRET.encode()).hook_keys()
    assert (key.units, key.steps) == ({"fire"}, {"unit_review"})

    other = run("hook", "rotate", "oa", "--retire-at", "2099-01-01T00:00+08:00")[1]
    assert other != secret
    listed = run("hook", "list", "--json")[1]
    assert secret not in listed and other not in listed
    rows = json.loads(listed)["keys"]
    assert [row["state"] for row in rows] == ["valid", "valid"]
    assert run("hook", "rotate", "oa")[0] == 1, "two hold already"

    for row in rows:
        assert run("hook", "retire", row["id"])[0] == 0
    assert Access(quick_ledger, secret=SECRET.encode()).hook_keys() == []
    assert {("hook_key_made", "cli"), ("hook_key_retired", "cli")} <= set(events(quick_ledger))


def test_endpoint_is_told_paused_and_sent_again(run: Run, quick_ledger):
    made = json.loads(run("hook", "tell", "oa", "https://oa.example/todos", "--json")[1])
    course = Course(quick_ledger)
    course.turn()
    quick_ledger.write(announcing.announce, MONDAY, "https://sanshen.example")

    (message,) = json.loads(run("hook", "log", "--json")[1])["items"]
    assert message["event"] == "todo.opened" and "title" not in message
    assert run("hook", "resend", message["id"])[0] == 0
    assert run("hook", "pause", "oa")[0] == 0
    assert quick_ledger.write(announcing.take_due, made["id"], MONDAY) == []
    assert run("hook", "go-on", "oa")[0] == 0
    assert run("hook", "resign", "oa")[1].startswith("whsec_")
    assert "todo.opened" in run("hook", "log", "--state", "waiting")[1]
    assert run("hook", "untell", "oa")[0] == 0
    assert run("hook", "untell", "oa")[0] == 4


def test_oa_account_is_said_for_a_person(run: Run, quick_ledger):
    assert run("people", "oa-account", "fire_head", "oa10023")[0] == 0

    person = Access(quick_ledger).by_oa_account("oa10023")
    assert person is not None and person.id == "fire_head"
    assert run("people", "oa-account", "chief", "oa10023")[0] == 1
    assert run("people", "oa-account", "fire_head")[0] == 0
    assert Access(quick_ledger).by_oa_account("oa10023") is None


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("hook", "add", "oa", "--unit", "nowhere"), 2),
        (("hook", "add", "oa", "--role", "king"), 2),
        (("hook", "add", "oa", "--until", "tomorrow"), 2),
        (("hook", "add", "oa", "--until", "2020-01-01T00:00+08:00"), 2),
        (("hook", "rotate", "oa"), 4),
        (("hook", "retire", "none"), 4),
        (("hook", "tell", "oa", "file:///etc/passwd"), 2),
        (("hook", "tell", "oa", "https://oa.example", "--event", "item.read"), 2),
        (("hook", "resend", "none"), 4),
        (("hook", "pause", "oa"), 4),
        (("hook", "log", "--state", "lost"), 2),
        (("people", "oa-account", "nobody", "x"), 4),
    ],
)
def test_refusals_have_their_exit_codes(run: Run, quick_ledger, words, code):
    found, out, said = run(*words)

    assert (found, out) == (code, "")
    assert said and "Traceback" not in said
    with quick_ledger.reading() as session:
        assert keys_now(session, MONDAY, Box(SECRET.encode(), PURPOSE)) == []


def test_without_the_secret_key_no_secret_is_made(run: Run, monkeypatch):
    monkeypatch.delenv("SANSHEN_SECRET_KEY")

    assert run("hook", "add", "oa")[0] == 2
    assert run("hook", "list")[0] == 0
