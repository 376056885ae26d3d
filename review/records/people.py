"""The roster: who somebody is now, who holds a role, who acts for whom (R1.3-3, A-28).

Every question names its moment, and a grant, a delegation and an account count only while they
are in force, so whatever is revoked ends with the next question.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, or_
from sqlmodel import Session, col, select

from review.records.tables import Delegation, Grant, PersonRow, Unit
from review.rules.values import Value


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


def in_force(now: datetime) -> ColumnElement[bool]:
    """Return the condition on grants that hold at a moment."""
    return and_(
        col(Grant.from_at) <= now,
        or_(col(Grant.until_at).is_(None), col(Grant.until_at) > now),
        or_(col(Grant.revoked_at).is_(None), col(Grant.revoked_at) > now),
    )


def enabled(now: datetime) -> ColumnElement[bool]:
    """Return the condition on people whose account may be used at a moment."""
    return or_(col(PersonRow.disabled_at).is_(None), col(PersonRow.disabled_at) > now)


def delegated(now: datetime) -> ColumnElement[bool]:
    """Return the condition on delegations that hold at a moment; they expire by themselves."""
    return and_(
        col(Delegation.from_at) <= now,
        col(Delegation.until_at) > now,
        or_(col(Delegation.revoked_at).is_(None), col(Delegation.revoked_at) > now),
    )


def with_grants(statement: Any, now: datetime) -> Any:
    """Add to a statement on people the grants they hold now and that they are enabled."""
    return (
        statement.add_columns(Grant)
        .join(Grant, and_(col(Grant.person_id) == col(PersonRow.id), in_force(now)), isouter=True)
        .where(enabled(now))
        .order_by(col(Grant.role), col(Grant.unit_id), col(Grant.id))
    )


def person_of(row: PersonRow, grants: Iterable[Grant | None]) -> Person:
    """Return a person's row and grants as the value that travels."""
    return Person(
        id=row.id,
        username=row.username,
        name=row.name,
        unit_id=row.unit_id,
        roles=tuple(
            Held(role=grant.role, unit_id=grant.unit_id, grant_id=grant.id)
            for grant in grants
            if grant is not None
        ),
    )


def person_where(session: Session, condition: Any, now: datetime) -> Person | None:
    """Return the enabled person a condition finds, with the roles held now; one statement."""
    rows = session.execute(with_grants(select(PersonRow).where(condition), now)).all()
    return person_of(rows[0][0], (grant for _, grant in rows)) if rows else None


def load_person(session: Session, person_id: str, now: datetime) -> Person | None:
    """Return a person with the roles held now; None when unknown or disabled. One statement."""
    return person_where(session, PersonRow.id == person_id, now)


def person_of_account(session: Session, account: str, now: datetime) -> Person | None:
    """Return whose OA account this is; mapped explicitly, never by name. One statement."""
    return person_where(session, PersonRow.oa_account == account, now)


def holders(session: Session, role: str, unit_id: str, now: datetime) -> list[str]:
    """Return the enabled holders of a role for a unit (empty: bureau-wide), in id order."""
    return list(
        session.exec(
            select(Grant.person_id)
            .join(PersonRow, col(PersonRow.id) == col(Grant.person_id))
            .where(Grant.role == str(role))
            .where(Grant.unit_id == unit_id)
            .where(in_force(now))
            .where(enabled(now))
            .distinct()
            .order_by(col(Grant.person_id))
        )
    )


def backups_of(session: Session, ids: Iterable[str], now: datetime) -> dict[str, str]:
    """Return the enabled stand-in (B岗) of each of these people who has one; one statement."""
    wanted = sorted(set(ids))
    if not wanted:
        return {}
    stood_in_for = select(PersonRow.id, PersonRow.backup_id).where(col(PersonRow.id).in_(wanted))
    of = stood_in_for.subquery()
    return {
        person_id: backup_id
        for person_id, backup_id in session.exec(
            select(of.c.id, of.c.backup_id)
            .join(PersonRow, col(PersonRow.id) == of.c.backup_id)
            .where(enabled(now))
            .order_by(of.c.id)
        )
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
