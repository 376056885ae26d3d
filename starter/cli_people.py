"""The roster from a file: units, people with their roles, channels and delegations.

Importing the same file twice changes nothing. A role that the file no longer gives to a person it
names is revoked, never deleted: who was entitled when stays provable (R4.1-4).
"""

from collections import Counter
from datetime import datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from sqlmodel import Session, col, select

from review.ids import new_id
from review.records import audit
from review.records.access import disable
from review.records.people import in_force
from review.records.tables import Channel, Delegation, Grant, PersonRow, Unit
from review.rules.errors import MalformedError, RefusedError
from review.rules.values import Category, Role

Ident = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=120)]

# Held for a unit, the person's own unless another is named; every other role is bureau-wide.
UNIT_ROLES = {Role.INFO_OFFICER, Role.UNIT_HEAD, Role.SUPERVISING_LEADER, Role.CHANNEL_OPERATOR}
# 三员分立: administration, security and audit are three persons (requirements 1.8).
APART = {Role.SYSADMIN, Role.SECURITY_ADMIN, Role.AUDITOR}


class Line(BaseModel):
    """Base of the roster's lines: unknown keys are slips, and slips here open doors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class UnitLine(Line):
    id: Ident
    name: Words
    kind: str = "department"
    place: int = 0
    under_chief: bool = False


class RoleLine(Line):
    role: Role
    unit: Ident | None = None
    until: AwareDatetime | None = None


class PersonLine(Line):
    username: Ident
    name: Words
    unit: Ident
    roles: tuple[Role | RoleLine, ...] = ()
    oa_account: Words | None = None
    email: Annotated[str, Field(max_length=200)] = ""
    backup: Ident | None = None
    disabled: bool = False

    def held(self) -> dict[tuple[str, str], datetime | None]:
        """Return the roles as (role, unit or empty) with the moment each ends."""
        lines = [one if isinstance(one, RoleLine) else RoleLine(role=one) for one in self.roles]
        return {
            (line.role, (line.unit or self.unit) if line.role in UNIT_ROLES else ""): line.until
            for line in lines
        }


class ChannelLine(Line):
    id: Ident
    name: Words
    platform: Words
    operator_unit: Ident
    state: str = "active"
    place: int = 0


class DelegationLine(Line):
    from_: Annotated[Ident, Field(alias="from")]
    to: Ident
    from_at: AwareDatetime
    until_at: AwareDatetime
    categories: tuple[Category, ...] = ()
    filed: bool = False


class Roster(Line):
    """The whole file."""

    units: tuple[UnitLine, ...] = ()
    people: tuple[PersonLine, ...] = ()
    channels: tuple[ChannelLine, ...] = ()
    delegations: tuple[DelegationLine, ...] = ()


def roster_of(fields: dict[str, Any]) -> Roster:
    """Return a file's fields as a roster.

    Raises:
        MalformedError: With every mistake and its place.
    """
    try:
        return Roster.model_validate(fields)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        raise MalformedError(pydantic_errors=found) from None


def import_roster(session: Session, roster: Roster, now: datetime) -> dict[str, int]:
    """Bring the ledger's roster to what the file says; return how much of what changed.

    Raises:
        RefusedError: `roles_apart`: one person would hold two of the three kept apart.
            `unknown_unit`, `unknown_person`: a line names somebody who is nowhere.
    """
    done: Counter[str] = Counter()
    for unit in roster.units:
        done["units"] += _put(session, Unit, unit.id, unit.model_dump(exclude={"id"}))
    units = set(session.exec(select(Unit.id)))
    for person in roster.people:
        done["people"] += _put_person(session, person, units, now)
    session.flush()
    ids = {row.username: row.id for row in session.exec(select(PersonRow))}
    for person in roster.people:
        backup = _known(person.backup, ids) if person.backup else None
        session.get_one(PersonRow, ids[person.username]).backup_id = backup
        done["roles"] += _put_roles(session, ids[person.username], person, units, now)
    for channel in roster.channels:
        fields = channel.model_dump(exclude={"id", "operator_unit"})
        fields["operator_unit_id"] = _known(channel.operator_unit, units)
        done["channels"] += _put(session, Channel, channel.id, fields)
    for line in roster.delegations:
        done["delegations"] += _put_delegation(session, line, ids)
    changed = {what: number for what, number in done.items() if number}
    if changed:
        audit.append(session, audit.BUREAU, "roster_imported", at=now, way_in="cli", data=changed)
    return changed


def _known(name: str, known: dict[str, str] | set[str]) -> str:
    if name not in known:
        code = "unknown_unit" if isinstance(known, set) else "unknown_person"
        raise RefusedError(code, name=name)
    return name if isinstance(known, set) else known[name]


def _put(session: Session, table: Any, key: str, fields: dict[str, Any]) -> bool:
    """Write a row; tell whether anything is new."""
    row = session.get(table, key)
    if row is not None and all(getattr(row, name) == value for name, value in fields.items()):
        return False
    row = row or table(id=key, **fields)
    for name, value in fields.items():
        setattr(row, name, value)
    session.add(row)
    return True


def _put_person(session: Session, person: PersonLine, units: set[str], now: datetime) -> bool:
    row = session.exec(select(PersonRow).where(PersonRow.username == person.username)).first()
    fields = {
        "username": person.username,
        "name": person.name,
        "unit_id": _known(person.unit, units),
        "oa_account": person.oa_account,
        "email": person.email,
        "disabled_at": ((row and row.disabled_at) or now) if person.disabled else None,
    }
    if row is None:
        fields["created_at"] = now
    elif person.disabled and row.disabled_at is None:
        disable(session, row.id, now)  # sessions and tokens end too
        return True
    return _put(session, PersonRow, row.id if row else new_id(), fields)


def _put_roles(
    session: Session, person_id: str, person: PersonLine, units: set[str], now: datetime
) -> int:
    wanted = person.held()
    if len({role for role, _ in wanted} & APART) > 1:
        raise RefusedError("roles_apart", name=person.username)
    changes = 0
    held = session.exec(select(Grant).where(Grant.person_id == person_id).where(in_force(now)))
    for grant in held.all():
        place = (grant.role, grant.unit_id)
        if place in wanted and wanted[place] == grant.until_at:
            del wanted[place]
        else:
            grant.revoked_at = now
            session.add(grant)
            changes += 1
    for (role, unit_id), until in wanted.items():
        grant = Grant(
            id=new_id(),
            person_id=person_id,
            role=str(role),
            unit_id=_known(unit_id, units) if unit_id else "",
            from_at=now,
            until_at=until,
            granted_by="roster",
        )
        session.add(grant)
        changes += 1
    return changes


def _put_delegation(session: Session, line: DelegationLine, ids: dict[str, str]) -> bool:
    fields = {
        "from_id": _known(line.from_, ids),
        "to_id": _known(line.to, ids),
        "from_at": line.from_at,
        "until_at": line.until_at,
        "categories": [str(category) for category in line.categories],
        "filed": line.filed,
    }
    if fields["from_id"] == fields["to_id"] or line.until_at <= line.from_at:
        raise RefusedError("delegation_odd", name=line.from_)
    rows = session.exec(
        select(Delegation)
        .where(Delegation.from_id == fields["from_id"])
        .where(Delegation.to_id == fields["to_id"])
        .where(Delegation.from_at == line.from_at)
        .where(col(Delegation.revoked_at).is_(None))
    )
    row = rows.first()
    return _put(session, Delegation, row.id if row else new_id(), fields)
