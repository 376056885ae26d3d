"""The roster: who somebody is now, who holds a role, who acts for whom (R1.3-3, A-28).

Every question names its moment, and a grant, a delegation and an account count only while they
are in force, so whatever is revoked ends with the next question.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, and_, bindparam, or_
from sqlmodel import Session, col, select

from review.records.tables import Delegation, Grant, PersonRow, Unit, UtcDateTime
from review.rules.values import Value

Moment = datetime | BindParameter[datetime]
# For statements that are composed once, with their moment as a parameter.
NOW: BindParameter[datetime] = bindparam("now", type_=UtcDateTime)

# What is read of a person; every request asks who calls, so no objects are made of it.
IDENTITY: tuple[Any, ...] = (PersonRow.id, PersonRow.username, PersonRow.name, PersonRow.unit_id)


class Held(Value):
    """A role that is held now; `unit_id` empty means for the whole bureau."""

    role: str
    unit_id: str = ""
    grant_id: str = ""


class Person(Value):
    """Who acts: what authentication ends in."""

    id: str
    username: str
    name: str
    unit_id: str
    roles: tuple[Held, ...] = ()
    second_factor: bool = True  # False in a browser's session that lacks one and has no grace
    must_enrol: bool = False  # and a role asks for one: nothing else can be done before


def in_force(now: Moment) -> ColumnElement[bool]:
    """Return the condition on grants that hold at a moment."""
    return and_(
        col(Grant.from_at) <= now,
        or_(col(Grant.until_at).is_(None), col(Grant.until_at) > now),
        or_(col(Grant.revoked_at).is_(None), col(Grant.revoked_at) > now),
    )


def enabled(now: Moment) -> ColumnElement[bool]:
    """Return the condition on people whose account may be used at a moment."""
    return or_(col(PersonRow.disabled_at).is_(None), col(PersonRow.disabled_at) > now)


def delegated(now: Moment) -> ColumnElement[bool]:
    """Return the condition on delegations that hold at a moment; they expire by themselves."""
    return and_(
        col(Delegation.from_at) <= now,
        col(Delegation.until_at) > now,
        or_(col(Delegation.revoked_at).is_(None), col(Delegation.revoked_at) > now),
    )


def not_over(now: Moment) -> ColumnElement[bool]:
    """Return the condition on delegations that hold at a moment or will later."""
    return and_(
        col(Delegation.until_at) > now,
        or_(col(Delegation.revoked_at).is_(None), col(Delegation.revoked_at) > now),
    )


def with_grants(statement: Any, now: Moment) -> Any:
    """Add to a statement on people the grants they hold now and that they are enabled."""
    return (
        statement.add_columns(Grant.role, Grant.unit_id, Grant.id)
        .join(Grant, and_(col(Grant.person_id) == col(PersonRow.id), in_force(now)), isouter=True)
        .where(enabled(now))
        .order_by(col(Grant.role), col(Grant.unit_id), col(Grant.id))
    )


def person_of(rows: Sequence[Any]) -> Person:
    """Return the value that travels from rows of `IDENTITY`, whatever else, and a grant each."""
    id_, username, name, unit_id = rows[0][:4]
    return Person(
        id=id_,
        username=username,
        name=name,
        unit_id=unit_id,
        roles=tuple(
            Held(role=role, unit_id=unit, grant_id=grant)
            for *_, role, unit, grant in rows
            if grant is not None
        ),
    )


def one_person(condition: Any) -> Any:
    """Compose the statement for the enabled person a condition finds, with the roles held now."""
    return with_grants(select(*IDENTITY).where(condition), NOW)


_BY_ID = one_person(PersonRow.id == bindparam("wanted"))
_BY_ACCOUNT = one_person(PersonRow.oa_account == bindparam("wanted"))
_HOLDERS = (
    select(Grant.person_id)
    .join(PersonRow, col(PersonRow.id) == col(Grant.person_id))
    .where(Grant.role == bindparam("role"))
    .where(Grant.unit_id == bindparam("unit"))
    .where(in_force(NOW))
    .where(enabled(NOW))
    .distinct()
    .order_by(col(Grant.person_id))
)
_OF = (
    select(PersonRow.id, PersonRow.backup_id)
    .where(col(PersonRow.id).in_(bindparam("ids", expanding=True)))
    .subquery()
)
_BACKUPS = (
    select(_OF.c.id, _OF.c.backup_id)
    .join(PersonRow, col(PersonRow.id) == _OF.c.backup_id)
    .where(enabled(NOW))
    .order_by(_OF.c.id)
)


def person_found(session: Session, statement: Any, now: datetime, **wanted: str) -> Person | None:
    """Return the person that a statement of `one_person` finds."""
    if session.autoflush:  # the connection does not by itself
        session.flush()
    rows = session.connection().execute(statement, {"now": now, **wanted}).all()
    return person_of(rows) if rows else None


def load_person(session: Session, person_id: str, now: datetime) -> Person | None:
    """Return a person with the roles held now; None when unknown or disabled. One statement."""
    return person_found(session, _BY_ID, now, wanted=person_id)


def person_of_account(session: Session, account: str, now: datetime) -> Person | None:
    """Return whose OA account this is; mapped explicitly, never by name. One statement."""
    return person_found(session, _BY_ACCOUNT, now, wanted=account)


def holders(session: Session, role: str, unit_id: str, now: datetime) -> list[str]:
    """Return the enabled holders of a role for a unit (empty: bureau-wide), in id order."""
    return list(session.exec(_HOLDERS, params={"role": str(role), "unit": unit_id, "now": now}))


def backups_of(session: Session, ids: Iterable[str], now: datetime) -> dict[str, str]:
    """Return the enabled stand-in (B岗) of each of these people who has one; one statement."""
    wanted = sorted(set(ids))
    if not wanted:
        return {}
    return {
        person_id: backup_id
        for person_id, backup_id in session.execute(_BACKUPS, {"ids": wanted, "now": now})
    }


def delegations_to(session: Session, person_id: str, now: datetime) -> list[Delegation]:
    """Return the delegations by which a person may act for others now (A-28)."""
    return list(
        session.exec(
            select(Delegation)
            .where(Delegation.to_id == person_id)
            .where(delegated(now))
            .order_by(col(Delegation.id))
        )
    )


def delegations_from(session: Session, person_id: str, now: datetime) -> list[Delegation]:
    """Return the delegations by which others may act for a person now (A-28)."""
    return list(
        session.exec(
            select(Delegation)
            .where(Delegation.from_id == person_id)
            .where(delegated(now))
            .order_by(col(Delegation.id))
        )
    )


def names(session: Session, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return id, name and unit of people by id (contract: a person in JSON); one statement."""
    wanted = sorted(set(ids))
    if not wanted:
        return {}
    rows = session.exec(
        select(PersonRow.id, PersonRow.name, Unit.name)
        .join(Unit, col(Unit.id) == col(PersonRow.unit_id))
        .where(col(PersonRow.id).in_(wanted))
    )
    return {
        person_id: {"id": person_id, "name": name, "unit": unit, "acting_for": None}
        for person_id, name, unit in rows
    }
