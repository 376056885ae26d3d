"""Builders: a valid value each; a test names only what matters to it."""

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlmodel import Session

from review.acts.adopting import adopt_calendar, adopt_policy
from review.acts.lists import adopt_first_lists
from review.packs import builtin_calendar, builtin_pack, load_calendar, load_pack
from review.records.people import Person, load_person
from review.records.tables import Channel, Grant, PersonRow, Unit
from review.requests import Draft

SHANGHAI = ZoneInfo("Asia/Shanghai")
MONDAY = datetime(2026, 11, 23, 9, 0, tzinfo=SHANGHAI)  # a working day, in working hours
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)

CHECKLIST = dict.fromkeys(
    ("political", "true", "accurate", "timely", "well_formed", "not_classified"), True
)
UNITS = ("office", "afforest", "forest", "fire", "wildlife", "center", "pest")
CHANNELS = {"site": "center", "mini_pest": "pest"}
PEOPLE: dict[str, tuple[str, tuple[tuple[str, str], ...]]] = {
    "afforest_info": ("afforest", (("info_officer", "afforest"),)),
    "afforest_info2": ("afforest", (("info_officer", "afforest"),)),
    "afforest_head": ("afforest", (("unit_head", "afforest"),)),
    "forest_info": ("forest", (("info_officer", "forest"),)),
    "forest_head": ("forest", (("unit_head", "forest"),)),
    "fire_info": ("fire", (("info_officer", "fire"),)),
    "fire_head": ("fire", (("unit_head", "fire"),)),
    "pest_info": ("pest", (("info_officer", "pest"),)),
    "pest_head": ("pest", (("unit_head", "pest"),)),
    "pest_operator": ("pest", (("channel_operator", "pest"),)),
    "center_info": ("center", (("info_officer", "center"),)),
    "section_head": ("center", (("unit_head", "center"),)),
    "editor_a": ("center", (("center_editor", ""),)),
    "editor_b": ("center", (("center_editor", ""),)),
    "deputy_b": ("center", (("center_deputy", ""),)),
    "deputy_c": ("center", (("center_deputy", ""),)),
    "chief": ("center", (("center_chief", ""),)),
    "publisher_a": ("center", (("publisher", ""),)),
    "publisher_b": ("center", (("publisher", ""),)),
    "supervisor_a": ("center", (("supervisor", ""),)),
    "reviewer_b": ("office", (("office_reviewer", ""),)),
    "director": ("office", (("unit_head", "office"), ("office_director", ""))),
    "security": ("office", (("security_admin", ""),)),
    "auditor_a": ("office", (("auditor", ""),)),
    "duty": ("office", (("duty_officer", ""),)),
    "admin": ("office", (("sysadmin", ""),)),
    "leader_eco": (
        "office",
        (("supervising_leader", "afforest"), ("supervising_leader", "forest")),
    ),
    "leader_prot": ("office", (("supervising_leader", "fire"), ("supervising_leader", "wildlife"))),
    "leader_pub": (
        "office",
        (
            ("supervising_leader", "center"),
            ("supervising_leader", "pest"),
            ("publicity_leader", ""),
        ),
    ),
    "bureau_chief": ("office", (("bureau_chief", ""),)),
}
BACKUPS = {"deputy_b": "deputy_c", "reviewer_b": "director"}


def office(session: Session, now: datetime) -> None:
    """Fill a ledger with a small bureau, the shipped pack and the calendar."""
    adopt_policy(session, load_pack(builtin_pack("hebei-lcj-2022-35")), now)
    adopt_calendar(session, load_calendar(builtin_calendar()), now)
    adopt_first_lists(session, now)
    for place, unit in enumerate(UNITS):
        session.add(Unit(id=unit, name=unit, place=place))
    session.flush()
    for channel, unit in CHANNELS.items():
        session.add(Channel(id=channel, name=channel, platform="website", operator_unit_id=unit))
    for person, (unit, roles) in PEOPLE.items():
        session.add(
            PersonRow(
                id=person, username=person, name=person, unit_id=unit, oa_account=person,
                created_at=LONG_AGO,
            )
        )  # fmt: skip
        session.flush()
        for role, scope in roles:
            grant(session, person, role, scope)
    session.flush()
    for person, backup in BACKUPS.items():
        session.get_one(PersonRow, person).backup_id = backup


def grant(session: Session, person: str, role: str, unit: str = "", **more: Any) -> Grant:
    """Give a role."""
    row = Grant(
        id=f"{person}-{role}-{unit}", person_id=person, role=role, unit_id=unit,
        **({"from_at": LONG_AGO} | more),
    )  # fmt: skip
    session.add(row)
    return row


def who(session: Session, person: str, now: datetime = MONDAY) -> Person:
    """Return a person as authentication would."""
    found = load_person(session, person, now)
    assert found is not None, person
    return found


def a_draft(**changes: Any) -> Draft:
    """Return a valid draft of work news for the site."""
    fields: dict[str, Any] = {
        "title": "全省秋冬季造林绿化现场推进会召开",
        "body": "11月18日，全省秋冬季造林绿化现场推进会召开。3个市作了交流发言。",
        "category": "work_news",
        "kind": "disclosure",
        "source": {"type": "own"},
        "channels": ["site"],
        "secrecy_pledge": True,
        "proofread": True,
    }
    return Draft.model_validate(fields | changes)
