"""The demo bureau: filled in once and quickly, its samples valid, its stories told as written."""

import json
import stat
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlmodel import Session, func, select

from review.acts.adopting import adopt_calendar, adopt_policy
from review.packs import builtin_calendar, builtin_pack, load_calendar, load_pack
from review.records.access import Access
from review.records.engine import Ledger, upgrade
from review.records.passwords import HASHER
from review.records.people import holders
from review.records.tables import Audit, PersonRow, Submission, Token
from review.rules.errors import NotSignedInError
from review.rules.values import Role
from review.settings import Settings, load
from starter.demo import ACCOUNTS, seed
from starter.demo.bureau import accounts, data_file, draft_of, roster
from starter.demo.stories import Act, Approve, Decide, Revise, stories

BUDGET = 3.0  # seconds of a processor, of the start's eight; 0.8 measured


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A new folder with an empty ledger and the demo's pack in force."""
    found = load(data=tmp_path, secret_key="-" * 64, database_url="")
    upgrade(found.ledger_url)
    ledger = Ledger(found.ledger_url)
    now = datetime.now(UTC)
    ledger.write(adopt_policy, load_pack(builtin_pack("demo-seconds")), now)
    ledger.write(adopt_calendar, load_calendar(builtin_calendar()), now)
    ledger.close()
    return found


def counts(settings: Settings) -> dict[str, int]:
    def count(session: Session) -> dict[str, int]:
        tables = (PersonRow, Token, Submission, Audit)
        return {t.__name__: session.exec(select(func.count()).select_from(t)).one() for t in tables}

    ledger = Ledger(settings.ledger_url)
    try:
        return ledger.write(count)
    finally:
        ledger.close()


def test_empty_ledger_is_filled_within_the_starts_budget(settings: Settings):
    began = time.process_time()

    seed(settings)

    assert time.process_time() - began < BUDGET
    assert counts(settings)["PersonRow"] == len(roster().people)


def test_filled_ledger_is_left_as_it_is(settings: Settings):
    seed(settings)
    before, file = counts(settings), (settings.data / ACCOUNTS).read_bytes()

    seed(settings)

    assert counts(settings) == before
    assert (settings.data / ACCOUNTS).read_bytes() == file


def test_accounts_are_private_and_open_the_door(settings: Settings):
    seed(settings)
    listed = accounts(settings.data)
    ledger = Ledger(settings.ledger_url)
    access = Access(ledger)

    assert stat.S_IMODE((settings.data / ACCOUNTS).stat().st_mode) == 0o600
    assert len({account["token"] for account in listed}) == len(listed)
    for account in listed:
        person = access.by_token(account["token"])
        assert person is not None and person.id == account["id"]
        assert {held.role for held in person.roles} == set(account["roles"])
    assert len({account["password"] for account in listed}) == len(listed), "each has their own"
    signed_in = access.sign_in(listed[-1]["username"], listed[-1]["password"])
    assert signed_in.person.id == listed[-1]["id"]
    with pytest.raises(NotSignedInError):
        access.sign_in(listed[0]["username"], listed[-1]["password"])
    with ledger.reading() as session:
        hashes = {one.username: one.password_hash for one in session.exec(select(PersonRow))}
    assert not HASHER.check_needs_rehash(hashes[listed[-1]["username"]]), "at full cost by now"
    ledger.close()


def test_start_that_could_not_write_the_accounts_fills_nothing(settings: Settings):
    (settings.data / ACCOUNTS).mkdir()

    with pytest.raises(OSError):
        seed(settings)
    assert counts(settings)["PersonRow"] == 0
    (settings.data / ACCOUNTS).rmdir()
    seed(settings)

    assert counts(settings)["PersonRow"] == len(roster().people)


def test_every_unit_has_an_officer_a_head_and_one_leader(settings: Settings):
    """R2.1-2, A-4."""
    seed(settings)
    ledger = Ledger(settings.ledger_url)
    now = datetime.now(UTC)

    with ledger.reading() as session:
        for unit in roster().units:
            assert holders(session, Role.INFO_OFFICER, unit.id, now)
            assert len(holders(session, Role.UNIT_HEAD, unit.id, now)) == 1
            assert len(holders(session, Role.SUPERVISING_LEADER, unit.id, now)) == 1
    ledger.close()


def test_every_sample_is_a_draft_that_the_interface_takes():
    listed = data_file("samples.yaml")["samples"]
    ids = {sample["id"]: sample["id"] for sample in listed}

    drafts = [draft_of(sample, ids, datetime.now(UTC)) for sample in listed]

    assert len(drafts) == 14
    assert {unit["unit"] for unit in listed} <= {unit.id for unit in roster().units}


def test_stories_name_people_of_the_bureau_and_steps_of_the_pack():
    people = {person.username for person in roster().people}
    policy = load_pack(builtin_pack("demo-seconds"))
    steps = {rule.id for rules in policy.steps.values() for rule in rules} | {"certify_changes"}

    for story in stories():
        for move in story.moves:
            match move:
                case Approve():
                    assert set(move.approve) <= steps and set(move.approve.values()) <= people
                case Decide():
                    assert move.decide in steps and move.who in people
                case Revise():
                    assert move.revise in people and move.at in steps | {""}
                case Act():
                    assert {move.who, move.to} <= people | {""}
        assert set(story.ends.decided) | set(story.ends.skipped) <= steps


def test_demo_leaves_a_foreign_ledger_alone(tmp_path: Path):
    (tmp_path / "ledger.db").write_bytes(b"somebody's")

    ran = subprocess.run(
        [sys.executable, "-m", "starter.cli", "demo", "--data", str(tmp_path)],
        capture_output=True,
        check=False,
    )

    assert ran.returncode == 1
    assert [file.name for file in tmp_path.iterdir()] == ["ledger.db"]


@pytest.mark.long
def test_a_day_at_the_bureau_ends_as_its_stories_say():
    ran = subprocess.run(
        [sys.executable, "-m", "starter.cli", "demo", "--json"], capture_output=True, check=False
    )
    facts = json.loads(ran.stdout)

    assert ran.returncode == 0, [item["differs"] for item in facts["items"]]
    assert facts["seconds"] < 120
    assert facts["audit"]["ok"]
    screened = ("kept_out", "blocked", "waived", "warned")
    for what in ("published", "returned", "stopped", "reminded", "escalated", *screened):
        assert facts["counts"][what] > 0
