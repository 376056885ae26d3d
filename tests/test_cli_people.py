"""Administrators' commands on the console: accounts, roles, tokens, rules in two pairs of hands."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlmodel import select

from review.packs import builtin_pack
from review.records import people
from review.records.access import Access, issue_token
from review.records.engine import Ledger
from review.records.tables import Audit, Grant, PersonRow, Token
from review.settings import Settings
from starter import cli, embedded
from tests.examples import LONG_AGO, MONDAY

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, quick_ledger: Ledger, monkeypatch: pytest.MonkeyPatch, capsys) -> Run:
    """A function that gives one command and returns exit code, output and errors."""
    monkeypatch.setenv("SANSHEN_LANGUAGE", "en")
    monkeypatch.delenv("SANSHEN_TOKEN", raising=False)

    def give(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["sanshen", *words, "--data", str(tmp_path)])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        said = capsys.readouterr()
        return code, said.out.strip(), said.err.strip()

    return give


def events(ledger: Ledger) -> list[tuple[str, str]]:
    with ledger.reading() as session:
        return [(one.event, one.way_in) for one in session.exec(select(Audit))]


def test_disabling_ends_every_door_and_enabling_opens_none(run, quick_ledger):
    token = quick_ledger.write(issue_token, "chief", "", MONDAY)

    assert run("people", "disable", "chief")[0] == 0

    assert Access(quick_ledger).by_token(token) is None
    assert run("people", "enable", "chief")[0] == 0
    assert Access(quick_ledger).by_token(token) is None
    with quick_ledger.reading() as session:
        assert session.get_one(PersonRow, "chief").disabled_at is None
    assert {("account_disabled", "cli"), ("account_enabled", "cli")} <= set(events(quick_ledger))


def test_role_is_given_listed_and_taken(run, quick_ledger):
    assert run("people", "grant", "forest_info", "unit_head", "--unit", "forest")[0] == 0
    listed = json.loads(run("people", "grants", "forest_info", "--json")[1])["items"]
    (given,) = [one for one in listed if one["role"] == "unit_head"]

    assert run("people", "revoke", given["id"])[0] == 0

    with quick_ledger.reading() as session:
        assert session.get_one(Grant, given["id"]).revoked_at is not None


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("people", "disable", "nobody"), 4),
        (("people", "grant", "chief", "king"), 2),
        (("people", "grant", "chief", "auditor"), 1),
        (("people", "grant", "admin", "publisher"), 1),
        (("people", "grant", "deputy_c", "auditor"), 1),
        (("people", "revoke", "unknown"), 4),
        (("people", "reset-second-factor", "chief"), 4),
        (("token", "revoke", "unknown"), 4),
        (("policy", "confirm", "unknown"), 2),
        (("policy", "confirm", "unknown", "--token", "sanshen_x"), 5),
    ],
)
def test_what_can_not_be_is_one_line_and_an_exit_code(run, words, code):
    ended, out, errors = run(*words)

    assert (ended, out) == (code, "")
    assert errors and "\n" not in errors


def test_token_is_listed_and_revoked(run, quick_ledger):
    secret = run("token", "issue", "chief", "--label", "OA")[1].splitlines()[-1]
    (listed,) = json.loads(run("token", "list", "chief", "--json")[1])["items"]
    assert (listed["label"], secret in str(listed)) == ("OA", False)

    assert run("token", "revoke", listed["id"])[0] == 0

    assert Access(quick_ledger).by_token(secret) is None
    with quick_ledger.reading() as session:
        assert session.get_one(Token, listed["id"]).revoked_at is not None


def test_first_key_is_made_only_while_no_administrator_can_sign_in(run, quick_ledger):
    code, key, _ = run("people", "first-key")
    assert code == 0 and key.splitlines()[-1].startswith("first_")

    quick_ledger.write(issue_token, "security", "", MONDAY)

    code, out, errors = run("people", "first-key")
    assert (code, out) == (1, "") and "administrator_can_sign_in" in errors


def test_rules_change_by_two_persons(run, quick_ledger, tmp_path):
    file = tmp_path / "rules.yaml"
    shipped = builtin_pack("hebei-lcj-2022-35").read_text(encoding="utf-8")
    file.write_text(shipped.replace("late_opinion: 1wd", "late_opinion: 2wd"), encoding="utf-8")
    tokens = {
        name: quick_ledger.write(issue_token, name, "", MONDAY)
        for name in ("admin", "chief", "security")
    }

    code, out, errors = run("policy", "propose", str(file), "--token", tokens["admin"], "--json")
    assert code == 0, errors
    (proposal,) = json.loads(out)["items"]
    assert proposal["changes"] == [{"key": "late_opinion", "before": "1wd", "after": "2wd"}]
    for name, refusal in (("admin", 5), ("security", 1)):
        assert run("policy", "confirm", proposal["id"], "--token", tokens[name])[0] == refusal
    assert "late_opinion" in run("policy", "proposals")[1]
    assert run("policy", "confirm", proposal["id"], "--token", tokens["chief"])[0] == 0

    assert json.loads(run("policy", "show", "--json")[1])["late_opinion"] == "2wd"


# --- the first start ------------------------------------------------------------------------------


def test_first_start_prints_a_key_once(tmp_path, capsys):
    settings = Settings(data=tmp_path / "new", secret_key="s" * 48, _env_file=None)
    settings.data.mkdir()

    embedded.set_up_ledger(settings, False)
    first = capsys.readouterr().err
    embedded.set_up_ledger(settings, False)

    assert first.count("first_") == 1 and "first_" not in "".join(capsys.readouterr())
    ledger = Ledger(settings.ledger_url)
    key = "first_" + first.split("first_")[1].strip()
    person_id = Access(ledger).use_first_key(key, "wangfang", "王芳", "a long passphrase")
    with ledger.reading() as session:
        found = people.load_person(session, person_id, MONDAY.max.replace(tzinfo=MONDAY.tzinfo))
    assert [held.role for held in found.roles] == ["security_admin"]
    ledger.close()


def test_later_start_with_other_rules_changes_none(tmp_path, capsys):
    def settings(policy: str) -> Settings:
        return Settings(data=tmp_path, secret_key="s" * 48, policy=policy, _env_file=None)

    embedded.set_up_ledger(settings("hebei-lcj-2022-35"), False)
    embedded.set_up_ledger(settings("demo-seconds"), False)  # nobody is there yet
    ledger = Ledger(settings("demo-seconds").ledger_url)

    def join(session) -> None:
        session.add(PersonRow(
            id="p", username="p", name="p", unit_id="u", created_at=LONG_AGO
        ))  # fmt: skip

    from review.records.tables import Pack, Unit

    ledger.write(lambda s: s.add(Unit(id="u", name="u")))
    ledger.write(join)
    capsys.readouterr()

    embedded.set_up_ledger(settings("hebei-lcj-2022-35"), False)

    with ledger.reading() as session:
        latest = select(Pack.id).order_by(Pack.adopted_at.desc()).limit(1)
        assert session.exec(latest).one() == "demo-seconds"
    assert "hebei-lcj-2022-35" in capsys.readouterr().err
    ledger.close()
