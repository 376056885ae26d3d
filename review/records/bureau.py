"""The bureau's roster from one file: units, people with their roles, channels, delegations.

    units:
      - {id: fire, name: 森林草原防火处, kind: department, place: 3}
    people:
      - username: zhaoqiang
        name: 赵强
        unit: fire
        roles: [unit_head, {role: publisher, until: "2027-01-01T00:00:00+08:00"}]
        backup: liumin                  # B岗
      - {username: ldr_prot, name: 副局长丁, unit: bureau, supervises: [fire, pest]}
    channels:
      - {id: site, name: 局网站, platform: website, operator_unit: center}
    delegations:
      - {from: zhaoqiang, to: liumin, from_at: …, until_at: …, categories: [work_news]}

Importing the same file twice changes nothing. A role that the file no longer gives to a person it
names is revoked, never deleted, so who was entitled when stays provable (R4.1-4); whom and what
the file does not name stays as it is.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode
from sqlmodel import Session, col, select

from review.ids import new_id
from review.records import audit
from review.records.access import disable, enable
from review.records.people import in_force, not_over
from review.records.tables import Channel, Delegation, Grant, PersonRow, Unit
from review.rules.errors import MalformedError, NotFoundError, RefusedError
from review.rules.values import Category, Role

Ident = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=120)]

LARGEST = 2 * 1024 * 1024  # bytes of a roster

# Held for a unit, the person's own unless another is named; every other role is bureau-wide.
UNIT_ROLES = {Role.INFO_OFFICER, Role.UNIT_HEAD, Role.SUPERVISING_LEADER, Role.CHANNEL_OPERATOR}
# 三员分立: administration, security and audit are three persons (requirements 1.8), and none of
# them drafts, decides or publishes, nor stands in for somebody who does.
APART = {Role.SYSADMIN, Role.SECURITY_ADMIN, Role.AUDITOR}
REVIEWING = set(Role) - APART - {Role.SUPERVISOR, Role.DUTY_OFFICER}


# --- the file -----------------------------------------------------------------------------------


class Line(BaseModel):
    """Base of the roster's entries: unknown keys are slips, and slips here open doors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class UnitLine(Line):
    id: Ident
    name: Words
    kind: Annotated[str, StringConstraints(pattern="^(department|affiliate|leadership)$")] = (
        "department"
    )
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
    supervises: tuple[Ident, ...] = ()  # units whose 主管局领导 this is
    oa_account: Words | None = None
    email: Annotated[str, Field(max_length=200)] = ""
    backup: Ident | None = None
    disabled: bool = False

    def held(self) -> dict[tuple[str, str], datetime | None]:
        """Return the roles as (role, unit or empty) with the moment each ends."""
        lines = [one if isinstance(one, RoleLine) else RoleLine(role=one) for one in self.roles]
        given = {
            (line.role.value, (line.unit or self.unit) if line.role in UNIT_ROLES else ""): (
                line.until
            )
            for line in lines
            # `supervises` says for which units; the bare role beside it adds none
            if not (self.supervises and line.role is Role.SUPERVISING_LEADER and not line.unit)
        }
        supervised = {(Role.SUPERVISING_LEADER.value, unit): None for unit in self.supervises}
        return given | supervised


class ChannelLine(Line):
    id: Ident
    name: Words
    platform: Words
    operator_unit: Ident
    state: Literal["active", "suspended", "closed"] | None = None  # only of one not known yet
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


def read_roster(file: Path) -> Roster:
    """Read a roster from YAML or JSON, which is YAML too.

    Raises:
        MalformedError: With `errors`, a list of `{file, line, field, message}`: every mistake with
            the line its entry stands on. `message` is a code of the catalogue, or says what the
            file's syntax lacks.
        OSError: The file can't be read.
    """
    raw = file.read_bytes()
    if len(raw) > LARGEST:
        raise MalformedError(errors=[_mistake(file, 1, "", "too_large")])
    yaml = YAML(typ="safe", pure=True)
    yaml.Constructor = _Plain
    try:
        text = raw.decode("utf-8-sig")
        node, fields = yaml.compose(text), yaml.load(text)
    except UnicodeDecodeError:
        raise MalformedError(errors=[_mistake(file, 1, "", "not_utf8")]) from None
    except (YAMLError, RecursionError, ValueError) as error:
        mark = error.problem_mark if isinstance(error, MarkedYAMLError) else None
        why = (getattr(error, "problem", None) or str(error)).partition("\n")[0]
        line = mark.line + 1 if mark else 1
        raise MalformedError(errors=[_mistake(file, line, "", why)]) from None
    try:
        return Roster.model_validate(fields)
    except ValidationError as error:
        mistakes = [
            _mistake(file, _line_of(node, one["loc"]), _name(one["loc"]), one["type"])
            for one in error.errors(include_url=False, include_input=False)
        ]
        raise MalformedError(errors=mistakes) from None


class _Plain(SafeConstructor):
    """Leaves moments as they are written; YAML would drop their offset without saying so."""


_Plain.add_constructor("tag:yaml.org,2002:timestamp", lambda _, node: node.value)


def roster_of(fields: dict[str, Any]) -> Roster:
    """Return a roster from fields that were read elsewhere.

    Raises:
        MalformedError: With every mistake and its place.
    """
    try:
        return Roster.model_validate(fields)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        raise MalformedError(pydantic_errors=found) from None


def _mistake(file: Path, line: int, place: str, message: str) -> dict[str, Any]:
    return {"file": str(file), "line": line, "field": place, "message": message}


def _name(loc: tuple[int | str, ...]) -> str:
    return ".".join(str(place) for place in loc if str(place).islower() or isinstance(place, int))


def _line_of(node: Node | None, loc: tuple[int | str, ...]) -> int:
    """Return the line of the innermost entry on the way to a mistake."""
    line = 1
    for place in loc:
        if node is None:
            break
        line = node.start_mark.line + 1
        if isinstance(node, SequenceNode) and isinstance(place, int) and place < len(node.value):
            node = node.value[place]
        elif isinstance(node, MappingNode):
            node = next((v for k, v in node.value if k.value == place), None)
        else:
            continue  # a name that pydantic puts between, for one of several shapes
        if node is not None:
            line = node.start_mark.line + 1
    return line


# --- the ledger ---------------------------------------------------------------------------------


@dataclass
class Changes:
    """What an import changed: how much of what, and who is affected."""

    counts: Counter[str] = field(default_factory=Counter)
    people: set[str] = field(default_factory=set)  # their open steps are to be asked anew


def import_roster(session: Session, roster: Roster, now: datetime, *, by: str = "") -> Changes:
    """Bring the ledger's roster to what the file says.

    Raises:
        RefusedError: Nothing is changed then. `roles_apart`: one person would hold two of the
            three kept apart, or one of them and review, themselves or for another.
            `unknown_unit`, `unknown_person`: an entry names what is nowhere. `named_twice`: two
            entries for one. `delegation_odd`: to oneself, or over before it begins. `entry` says
            which entry, as `people[3] zhaoqiang`.
    """
    changes = Changes()
    units = set(session.exec(select(Unit.id))) | {unit.id for unit in roster.units}
    for _, unit in _each("units", roster.units, "id"):
        fields = unit.model_dump(exclude={"id"})
        changes.counts["units"] += _put(session, Unit, session.get(Unit, unit.id), unit.id, fields)
    session.flush()  # before what refers to them
    rows = {row.username: row for row in session.exec(select(PersonRow))}
    for entry, person in _each("people", roster.people, "username"):
        _require(person.unit, units, "unknown_unit", entry)
        _put_person(session, person, rows, now, by, changes)
    session.flush()
    held = _held_now(session, now)
    for entry, person in _each("people", roster.people, "username"):
        if person.backup:
            _require(person.backup, rows, "unknown_person", entry)
        row = rows[person.username]
        backup_id = rows[person.backup].id if person.backup else None
        if backup_id == row.id:
            raise RefusedError("unknown_person", name=person.backup, entry=entry)
        if row.backup_id != backup_id:
            row.backup_id = backup_id
            session.add(row)
            changes.counts["people"] += 1
            changes.people.add(row.id)
        _put_roles(session, row.id, person, entry, units, held.get(row.id, []), now, by, changes)
    for entry, channel in _each("channels", roster.channels, "id"):
        _require(channel.operator_unit, units, "unknown_unit", entry)
        fields = channel.model_dump(exclude={"id", "operator_unit", "state"})
        fields["operator_unit_id"] = channel.operator_unit
        known = session.get(Channel, channel.id)
        if known is None:
            fields["state"] = channel.state or "active"
        elif channel.state not in (None, known.state):  # opened and closed by two people (R2.2)
            raise RefusedError("channel_by_two", channel=channel.id, entry=entry)
        changes.counts["channels"] += _put(session, Channel, known, channel.id, fields)
    for number, line in enumerate(roster.delegations):
        _put_delegation(session, line, f"delegations[{number}]", rows, changes)
    session.flush()
    _require_no_stand_in(session, roster, rows, now)
    changes.counts = +changes.counts
    if changes.counts:
        _note(session, "roster_imported", now, by, **changes.counts)
    return changes


def _require_no_stand_in(
    session: Session, roster: Roster, rows: dict[str, PersonRow], now: datetime
) -> None:
    """Refuse a roster by which an administrator would stand in for somebody who reviews."""
    apart = select(Grant.person_id).where(in_force(now)).where(col(Grant.role).in_(APART))
    administrators = set(session.exec(apart))
    stand_ins = set(
        session.exec(select(PersonRow.backup_id).where(col(PersonRow.backup_id).is_not(None)))
    ) | set(session.exec(select(Delegation.to_id).where(not_over(now))))
    for entry, person in _each("people", roster.people, "username"):
        if rows[person.username].id in administrators & stand_ins:
            raise RefusedError("roles_apart", name=person.username, entry=entry)
    for number, line in enumerate(roster.delegations):
        if rows[line.to].id in administrators:
            raise RefusedError("roles_apart", name=line.to, entry=f"delegations[{number}]")
    for entry, person in _each("people", roster.people, "username"):
        if person.backup and rows[person.backup].id in administrators:
            raise RefusedError("roles_apart", name=person.backup, entry=entry)


def _each(what: str, lines: tuple[Any, ...], key: str) -> Iterator[tuple[str, Any]]:
    """Give each entry with its name, and refuse one that comes twice."""
    seen: set[str] = set()
    for number, line in enumerate(lines):
        name = getattr(line, key)
        entry = f"{what}[{number}] {name}"
        if name in seen:
            raise RefusedError("named_twice", name=name, entry=entry)
        seen.add(name)
        yield entry, line


def _require(name: str, known: Any, code: str, entry: str) -> None:
    if name not in known:
        raise RefusedError(code, name=name, entry=entry)


def _put(session: Session, table: Any, row: Any, key: str, fields: dict[str, Any]) -> bool:
    """Write a row; tell whether anything is new."""
    if row is None:
        session.add(table(id=key, **fields))
        return True
    new = {name: value for name, value in fields.items() if getattr(row, name) != value}
    for name, value in new.items():
        setattr(row, name, value)
    session.add(row)
    return bool(new)


def _put_person(
    session: Session,
    person: PersonLine,
    rows: dict[str, PersonRow],
    now: datetime,
    by: str,
    changes: Changes,
) -> None:
    row = rows.get(person.username)
    fields: dict[str, Any] = {
        "username": person.username,
        "name": person.name,
        "unit_id": person.unit,
        "oa_account": person.oa_account,
        "email": person.email,
    }
    if row is None:
        row = rows[person.username] = PersonRow(id=new_id(), created_at=now, **fields)
        session.add(row)
        session.flush()  # before what refers to it
        changed = True
    else:
        changed = _put(session, PersonRow, row, row.id, fields)
    if person.disabled and row.disabled_at is None:
        disable(session, row.id, now, by=by)
        changed = True
    elif not person.disabled and row.disabled_at is not None:
        enable(session, row.id, now, by=by)
        changed = True
    if changed:
        changes.counts["people"] += 1
        changes.people.add(row.id)


def _held_now(session: Session, now: datetime) -> dict[str, list[Grant]]:
    held: dict[str, list[Grant]] = {}
    for grant in session.exec(select(Grant).where(in_force(now)).order_by(col(Grant.id))):
        held.setdefault(grant.person_id, []).append(grant)
    return held


def _put_roles(
    session: Session,
    person_id: str,
    person: PersonLine,
    entry: str,
    units: set[str],
    held: list[Grant],
    now: datetime,
    by: str,
    changes: Changes,
) -> None:
    wanted = person.held()
    if _mixed({role for role, _ in wanted}):
        raise RefusedError("roles_apart", name=person.username, entry=entry)
    for _, unit in wanted:
        if unit:
            _require(unit, units, "unknown_unit", entry)
    before = changes.counts["roles"]
    for held_grant in held:
        place = (held_grant.role, held_grant.unit_id)
        if place in wanted and wanted[place] == held_grant.until_at:
            del wanted[place]
        else:
            _revoke(session, held_grant, now, by)
            changes.counts["roles"] += 1
    for (role, unit), until in wanted.items():
        _grant(session, person_id, role, unit, now, until, by or "roster")
        changes.counts["roles"] += 1
    if changes.counts["roles"] != before:
        changes.people.add(person_id)


def _put_delegation(
    session: Session,
    line: DelegationLine,
    entry: str,
    rows: dict[str, PersonRow],
    changes: Changes,
) -> None:
    for name in (line.from_, line.to):
        _require(name, rows, "unknown_person", entry)
    fields: dict[str, Any] = {
        "from_id": rows[line.from_].id,
        "to_id": rows[line.to].id,
        "from_at": line.from_at,
        "until_at": line.until_at,
        "categories": [category.value for category in line.categories],
        "filed": line.filed,
    }
    if line.from_ == line.to or line.until_at <= line.from_at:
        raise RefusedError("delegation_odd", name=line.from_, entry=entry)
    row = session.exec(
        select(Delegation)
        .where(Delegation.from_id == fields["from_id"])
        .where(Delegation.to_id == fields["to_id"])
        .where(Delegation.from_at == line.from_at)
        .where(col(Delegation.revoked_at).is_(None))
    ).first()
    if _put(session, Delegation, row, row.id if row else new_id(), fields):
        changes.counts["delegations"] += 1
        changes.people |= {rows[line.from_].id, rows[line.to].id}


# --- single grants ------------------------------------------------------------------------------


def grants(session: Session, now: datetime, person_id: str | None = None) -> list[dict[str, Any]]:
    """Return the roles held now, of everybody or of one person, by unit, person and role."""
    statement = (
        select(Grant, PersonRow.username, PersonRow.name)
        .join(PersonRow, col(PersonRow.id) == col(Grant.person_id))
        .where(in_force(now))
        .order_by(col(Grant.unit_id), col(PersonRow.username), col(Grant.role), col(Grant.id))
    )
    if person_id is not None:
        statement = statement.where(Grant.person_id == person_id)
    return [
        {
            "id": grant.id,
            "person": {"id": grant.person_id, "username": username, "name": name},
            "role": grant.role,
            "unit": grant.unit_id or None,
            "from_at": grant.from_at,
            "until_at": grant.until_at,
        }
        for grant, username, name in session.exec(statement)
    ]


def grant(
    session: Session,
    person_id: str,
    role: Role,
    unit_id: str,
    now: datetime,
    *,
    until: datetime | None = None,
    by: str = "",
) -> Grant:
    """Give somebody a role from now on; one that is held already is returned as it is.

    Args:
        unit_id: For a unit's role its unit; for any other it does not matter.

    Raises:
        NotFoundError: There is no such person or unit.
        RefusedError: `roles_apart`: the person holds another of the three kept apart, or would be
            an administrator and review.
    """
    person = session.get(PersonRow, person_id, with_for_update=True)
    place = unit_id if role in UNIT_ROLES else ""
    if person is None or (role in UNIT_ROLES and session.get(Unit, place) is None):
        raise NotFoundError
    held = _held_now_by(session, person_id, now)
    if _mixed({one.role for one in held} | {role.value}):
        raise RefusedError("roles_apart", name=person.username)
    if role in APART and _stands_in(session, person_id, now):
        raise RefusedError("roles_apart", name=person.username)
    for one in held:
        if (one.role, one.unit_id, one.until_at) == (role, place, until):
            return one
    return _grant(session, person_id, role.value, place, now, until, by)


def revoke(session: Session, grant_id: str, now: datetime, *, by: str = "") -> Grant:
    """End a role now; it counts no longer from the next request on.

    Raises:
        NotFoundError: There is no such grant.
    """
    row = session.get(Grant, grant_id, with_for_update=True)
    if row is None:
        raise NotFoundError
    if row.revoked_at is None:
        _revoke(session, row, now, by)
    return row


def _mixed(roles: set[str]) -> bool:
    """Tell whether these roles can't be one person's (requirements 1.8)."""
    apart = roles & APART
    return len(apart) > 1 or bool(apart and roles & REVIEWING)


def _stands_in(session: Session, person_id: str, now: datetime) -> bool:
    """Tell whether somebody stands in for another, by delegation or as B岗."""
    delegated_to = select(Delegation.id).where(Delegation.to_id == person_id).where(not_over(now))
    if session.exec(delegated_to.limit(1)).first() is not None:
        return True
    statement = select(PersonRow.id).where(PersonRow.backup_id == person_id).limit(1)
    return session.exec(statement).first() is not None


def _held_now_by(session: Session, person_id: str, now: datetime) -> list[Grant]:
    return list(
        session.exec(select(Grant).where(Grant.person_id == person_id).where(in_force(now)))
    )


def _grant(
    session: Session,
    person_id: str,
    role: str,
    unit_id: str,
    now: datetime,
    until: datetime | None,
    by: str,
) -> Grant:
    row = Grant(
        id=new_id(),
        person_id=person_id,
        role=role,
        unit_id=unit_id,
        from_at=now,
        until_at=until,
        granted_by=by,
    )
    session.add(row)
    data = {"person": person_id, "role": role, "unit": unit_id, "grant": row.id}
    _note(session, "role_granted", now, by, **data)
    return row


def _revoke(session: Session, row: Grant, now: datetime, by: str) -> None:
    row.revoked_at = now
    session.add(row)
    data = {"person": row.person_id, "role": row.role, "unit": row.unit_id, "grant": row.id}
    _note(session, "role_revoked", now, by, **data)


def _note(session: Session, event: str, now: datetime, by: str, **data: Any) -> None:
    audit.append(session, audit.BUREAU, event, at=now, person_id=by, data=data)
