"""The roster's file: what it brings about, and what it is refused for."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from sqlmodel import select

from review.records import access, audit, bureau
from review.records.bureau import import_roster, read_roster
from review.records.people import holders, load_person
from review.records.tables import Audit, Channel, Grant, PersonRow
from review.rules.errors import MalformedError, NotFoundError, RefusedError
from review.rules.values import Role
from tests.examples import MONDAY

ROSTER = """
units:
  - {id: leaders, name: 局领导, kind: leadership}
  - {id: water, name: 湿地管理处, place: 9}
people:
  - username: water_head
    name: 湿地处处长甲
    unit: water
    roles: [unit_head]
    backup: water_info
    oa_account: oa-water
  - username: water_info
    name: 湿地处信息员甲
    unit: water
    roles:
      - info_officer
      - {role: publisher, until: 2026-12-01T00:00:00+08:00}
  - {username: leader_water, name: 副局长戊, unit: leaders, supervises: [water, pest]}
channels:
  - {id: mini_water, name: 湿地小程序, platform: mini_program, operator_unit: water}
delegations:
  - {from: water_head, to: water_info, from_at: 2026-11-23T00:00:00+08:00,
     until_at: 2026-11-30T00:00:00+08:00, categories: [work_news]}
"""
LATER = MONDAY + timedelta(hours=1)


def written(folder: Path, content: str, name: str = "roster.yaml") -> Path:
    file = folder / name
    file.write_text(content, encoding="utf-8")
    return file


def imported(ledger, folder: Path, content: str, now=MONDAY):
    return ledger.write(import_roster, read_roster(written(folder, content)), now)


def test_file_becomes_the_roster(ledger, tmp_path):
    changes = imported(ledger, tmp_path, ROSTER)

    assert changes.counts == {
        "units": 2, "people": 4, "roles": 5, "channels": 1, "delegations": 1
    }  # fmt: skip
    with ledger.reading() as session:
        rows = {row.username: row for row in session.exec(select(PersonRow))}
        assert rows["water_head"].backup_id == rows["water_info"].id
        assert holders(session, "unit_head", "water", MONDAY) == [rows["water_head"].id]
        assert rows["water_info"].id in holders(session, "publisher", "", MONDAY)
        assert rows["water_info"].id not in holders(
            session, "publisher", "", MONDAY + timedelta(days=9)
        )
        leader = load_person(session, rows["leader_water"].id, MONDAY)
        assert {(held.role, held.unit_id) for held in leader.roles} == {
            ("supervising_leader", "water"),
            ("supervising_leader", "pest"),
        }
        assert audit.verify(session)["ok"]


def test_the_same_file_again_changes_nothing(ledger, tmp_path):
    imported(ledger, tmp_path, ROSTER)
    with ledger.reading() as session:
        before = session.exec(select(Audit.seq)).all()

    changes = imported(ledger, tmp_path, ROSTER, LATER)

    assert (changes.counts, changes.people) == ({}, set())
    with ledger.reading() as session:
        assert session.exec(select(Audit.seq)).all() == before


def test_json_says_the_same(ledger, tmp_path):
    imported(ledger, tmp_path, ROSTER)
    fields = {"units": [{"id": "water", "name": "湿地管理处", "place": 9}]}

    roster = read_roster(written(tmp_path, json.dumps(fields), "roster.json"))

    assert ledger.write(import_roster, roster, LATER).counts == {}


def test_role_no_longer_given_is_revoked_and_stays_provable(ledger, tmp_path):
    imported(ledger, tmp_path, ROSTER)

    changes = imported(ledger, tmp_path, ROSTER.replace("[unit_head]", "[]"), LATER)

    assert changes.counts == {"roles": 1}
    with ledger.reading() as session:
        row = session.exec(select(Grant).where(Grant.role == "unit_head", Grant.unit_id == "water"))
        grant = row.one()
        assert (grant.from_at, grant.revoked_at) == (MONDAY, LATER)
        assert changes.people == {grant.person_id}


def test_people_the_file_does_not_name_keep_their_roles(ledger, tmp_path):
    imported(ledger, tmp_path, ROSTER)

    with ledger.reading() as session:
        assert load_person(session, "chief", MONDAY).roles


def test_person_disabled_by_the_file_loses_every_door(ledger, tmp_path):
    imported(ledger, tmp_path, ROSTER)
    with ledger.reading() as session:
        person = session.exec(select(PersonRow).where(PersonRow.username == "water_head")).one()
    token = ledger.write(access.issue_token, person.id, "", MONDAY)

    roster = ROSTER.replace("backup: water_info\n", "disabled: true\n")
    imported(ledger, tmp_path, roster, LATER)

    with ledger.reading() as session:
        assert access.person_of_token(session, token, LATER) is None
    imported(ledger, tmp_path, ROSTER, LATER)
    with ledger.reading() as session:
        assert load_person(session, person.id, LATER) is not None
        assert access.person_of_token(session, token, LATER) is None


@pytest.mark.parametrize("was", ["closed", "suspended"])
def test_roster_opens_and_closes_no_channel_that_is_there(ledger, tmp_path, was):
    """R2.2: that takes two people and the register."""
    imported(ledger, tmp_path, ROSTER)
    line = "platform: mini_program,"

    def now_in_the_register(state: str) -> None:
        def put(session) -> None:
            session.get_one(Channel, "mini_water").state = state

        ledger.write(put)

    with pytest.raises(RefusedError, match="channel_by_two") as refusal:
        imported(ledger, tmp_path, ROSTER.replace(line, f"{line} state: {was},"), LATER)
    assert refusal.value.params["entry"] == "channels[0] mini_water"
    now_in_the_register(was)
    with pytest.raises(RefusedError, match="channel_by_two"):
        imported(ledger, tmp_path, ROSTER.replace(line, f"{line} state: active,"), LATER)
    imported(ledger, tmp_path, ROSTER, LATER)  # says nothing of it

    with ledger.reading() as session:
        assert session.get_one(Channel, "mini_water").state == was


@pytest.mark.parametrize(
    ("old", "new", "code", "entry"),
    [
        ("roles: [unit_head]", "roles: [sysadmin, auditor]", "roles_apart", "people[0] water_head"),
        ("backup: water_info", "backup: stranger", "unknown_person", "people[0] water_head"),
        ("backup: water_info", "backup: water_head", "unknown_person", "people[0] water_head"),
        ("operator_unit: water", "operator_unit: x", "unknown_unit", "channels[0] mini_water"),
        ("unit: leaders", "unit: x", "unknown_unit", "people[2] leader_water"),
        ("[water, pest]", "[x]", "unknown_unit", "people[2] leader_water"),
        ("to: water_info", "to: water_head", "delegation_odd", "delegations[0]"),
        ("to: water_info", "to: x", "unknown_person", "delegations[0]"),
        ("- username: water_info", "- username: water_head", "named_twice", "people[1] water_head"),
        ("id: leaders", "id: water", "named_twice", "units[1] water"),
    ],
)
def test_wrong_entry_is_named_and_nothing_changes(ledger, tmp_path, old, new, code, entry):
    roster = read_roster(written(tmp_path, ROSTER.replace(old, new)))

    with pytest.raises(RefusedError) as refusal:
        ledger.write(import_roster, roster, MONDAY)

    assert (refusal.value.code, refusal.value.params["entry"]) == (code, entry)
    with ledger.reading() as session:
        assert (
            session.exec(select(PersonRow).where(PersonRow.username == "leader_water")).all() == []
        )


@pytest.mark.parametrize(
    ("old", "new", "line", "field"),
    [
        ("roles: [unit_head]", "roles: [king]", 9, "people.0.roles.0"),
        ("    unit: water\n    roles: [", "    roles: [", 6, "people.0.unit"),
        ("place: 9", "plaice: 9", 4, "units.1.plaice"),
        ("until: 2026-12-01T00:00:00+08:00", "until: 2026-12-01T00:00:00", 17, "people.1.roles.1"),
        ("- {id: leaders, name: 局领导, kind: leadership}", "- {id: leaders, name: [", 4, ""),
    ],
)
def test_mistake_is_told_with_its_line(tmp_path, old, new, line, field):
    with pytest.raises(MalformedError) as refusal:
        read_roster(written(tmp_path, ROSTER.replace(old, new)))

    first = refusal.value.params["errors"][0]
    assert first["field"].startswith(field)
    assert first["line"] == line
    assert first["file"].endswith("roster.yaml")


def test_every_mistake_is_told_at_once(tmp_path):
    content = ROSTER.replace("place: 9", "plaice: 9").replace("[unit_head]", "[king]")

    with pytest.raises(MalformedError) as refusal:
        read_roster(written(tmp_path, content))

    assert {one["line"] for one in refusal.value.params["errors"]} == {4, 9}


@pytest.mark.parametrize(
    "content",
    ["", "[]", "just words", "a: !!python/name:os.system", "\ufeff&a [*a]", "[" * 200],
    ids=["empty", "list", "words", "python", "loop", "deep"],
)
def test_what_is_no_roster_is_refused(tmp_path, content):
    with pytest.raises(MalformedError):
        read_roster(written(tmp_path, content))


# --- single grants ------------------------------------------------------------------------------


def test_grant_and_revoke_are_listed_and_traced(ledger):
    row = ledger.write(
        lambda s: bureau.grant(s, "fire_info", Role.UNIT_HEAD, "fire", MONDAY, by="security")
    )
    again = ledger.write(lambda s: bureau.grant(s, "fire_info", Role.UNIT_HEAD, "fire", LATER))
    assert again.id == row.id

    with ledger.reading() as session:
        held = bureau.grants(session, MONDAY, "fire_info")
    assert [(one["role"], one["unit"]) for one in held] == [
        ("info_officer", "fire"),
        ("unit_head", "fire"),
    ]

    ledger.write(lambda s: bureau.revoke(s, row.id, LATER, by="security"))

    with ledger.reading() as session:
        assert len(bureau.grants(session, LATER, "fire_info")) == 1
        events = session.exec(select(Audit).where(Audit.chain == audit.BUREAU)).all()
        assert [one.event for one in events[-2:]] == ["role_granted", "role_revoked"]
        assert {one.person_id for one in events[-2:]} == {"security"}


def test_three_offices_are_kept_apart(ledger):
    """三员分立 (requirements 1.8)."""
    with pytest.raises(RefusedError, match="roles_apart"):
        ledger.write(lambda s: bureau.grant(s, "admin", Role.AUDITOR, "", MONDAY))


def test_nothing_is_granted_where_nobody_is(ledger):
    for person, unit in (("nobody", "fire"), ("chief", "nowhere")):
        with pytest.raises(NotFoundError):
            ledger.write(bureau.grant, person, Role.UNIT_HEAD, unit, MONDAY)
    with pytest.raises(NotFoundError):
        ledger.write(bureau.revoke, "unknown", MONDAY)


@pytest.mark.parametrize(
    ("old", "new", "entry"),
    [
        ("roles: [unit_head]", "roles: [unit_head, auditor]", "people[0] water_head"),
        ("roles: [unit_head]", "roles: [security_admin, publisher]", "people[0] water_head"),
        # stands in for the head, as B岗 and by delegation
        ("      - info_officer\n", "      - sysadmin\n", "people[1] water_info"),
    ],
)
def test_administrators_neither_review_nor_stand_in(ledger, tmp_path, old, new, entry):
    """Requirements 1.8: 三员分立."""
    content = ROSTER.replace(old, new)
    if "sysadmin" in new:
        line = "      - {role: publisher, until: 2026-12-01T00:00:00+08:00}\n"
        content = content.replace(line, "")

    with pytest.raises(RefusedError) as refusal:
        imported(ledger, tmp_path, content)

    assert (refusal.value.code, refusal.value.params["entry"]) == ("roles_apart", entry)


def test_administrator_is_given_no_reviewing_role_and_the_other_way_round(ledger):
    for person, role in (
        ("admin", Role.PUBLISHER), ("auditor_a", Role.CENTER_CHIEF), ("chief", Role.SYSADMIN),
        ("deputy_c", Role.AUDITOR), ("security", Role.SYSADMIN),
    ):  # fmt: skip
        with pytest.raises(RefusedError) as refusal:
            ledger.write(bureau.grant, person, role, "", MONDAY)
        assert refusal.value.code == "roles_apart"


def test_who_stands_in_becomes_no_administrator(ledger, tmp_path):
    imported(ledger, tmp_path, ROSTER)
    with ledger.reading() as session:
        stand_in = session.exec(select(PersonRow).where(PersonRow.username == "water_info")).one()
        held = [held.grant_id for held in load_person(session, stand_in.id, MONDAY).roles]
    for grant_id in held:
        ledger.write(bureau.revoke, grant_id, MONDAY)

    with pytest.raises(RefusedError):
        ledger.write(bureau.grant, stand_in.id, Role.AUDITOR, "", LATER)
