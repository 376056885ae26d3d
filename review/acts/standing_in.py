"""Written, dated delegations (委托, A-28): who is away, who acts for them, by which categories.

Whoever is away files their own; for others the security administrator does, who files standing
letters (授权书) too. What is filed counts for open steps from this transaction on.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlmodel import Session, col, select

from review.acts.entitlement import refresh_open_steps
from review.ids import new_id
from review.records import audit
from review.records.bureau import APART
from review.records.people import Person, load_person, names, not_over
from review.records.tables import Delegation
from review.rules.errors import MalformedError, NotAllowedError, NotFoundError, RefusedError
from review.rules.values import Category, Role

Json = dict[str, Any]


def delegations(session: Session, person: Person, now: datetime) -> list[Json]:
    """Return the delegations that are not over: everybody's for administrators, else one's own."""
    statement = select(Delegation).where(not_over(now)).order_by(col(Delegation.from_at))
    if not _roles(person) & {Role.SECURITY_ADMIN, Role.SYSADMIN, Role.AUDITOR, Role.SUPERVISOR}:
        mine = (col(Delegation.from_id) == person.id) | (col(Delegation.to_id) == person.id)
        statement = statement.where(mine)
    rows = session.exec(statement).all()
    known = names(session, {one for row in rows for one in (row.from_id, row.to_id)})
    return [
        {
            "id": row.id,
            "from": known.get(row.from_id),
            "to": known.get(row.to_id),
            "categories": row.categories,
            "from_at": row.from_at,
            "until_at": row.until_at,
            "filed": row.filed,
            "begun": row.from_at <= now,
            "mine": row.from_id == person.id or Role.SECURITY_ADMIN in _roles(person),
        }
        for row in rows
    ]


def file_delegation(
    session: Session,
    person: Person,
    now: datetime,
    *,
    from_id: str,
    to_id: str,
    from_at: datetime | None,
    until_at: datetime,
    categories: Iterable[Category] = (),
    filed: bool = False,
    way_in: str,
) -> Json:
    """File a delegation.

    Args:
        from_at: From when it counts; now unless later.
        filed: A standing letter lies with the office, as the chief's needs for C and D (A-28).

    Raises:
        NotAllowedError: Neither one's own nor a security administrator's act.
        MalformedError: Unknown people, or over before it begins.
        RefusedError: `delegation_odd`, `roles_apart`, `own_account`.
    """
    administrator = Role.SECURITY_ADMIN in _roles(person)
    if (from_id != person.id and not administrator) or (filed and not administrator):
        raise NotAllowedError
    if administrator and person.id in (from_id, to_id):
        raise RefusedError("own_account")
    begins = max(from_at or now, now)
    absent, other = (load_person(session, one, now) for one in (from_id, to_id))
    mistakes = [
        {"field": field, "message": "unknown_person"}
        for field, found in (("from", absent), ("to", other))
        if found is None
    ]
    if until_at <= begins:
        mistakes.append({"field": "until", "message": "moment_in_past"})
    if mistakes or absent is None or other is None:
        raise MalformedError(errors=mistakes)
    if absent.id == other.id:
        raise RefusedError("delegation_odd", name=absent.name)
    for one in (absent, other):
        if _roles(one) & APART:
            raise RefusedError("roles_apart", name=one.username)
    row = Delegation(
        id=new_id(), from_id=absent.id, to_id=other.id,
        categories=[str(one) for one in categories],
        from_at=begins, until_at=until_at, filed=filed,
    )  # fmt: skip
    session.add(row)
    _note(session, "delegation_filed", row, person, now, way_in)
    session.flush()
    refresh_open_steps(session, {absent.id, other.id}, now)
    return {"id": row.id}


def end_delegation(
    session: Session, person: Person, delegation_id: str, now: datetime, *, way_in: str
) -> Json:
    """End a delegation now; what was decided by it stays.

    Raises:
        NotFoundError: There is none, or it is somebody else's.
        RefusedError: `nothing_changed`: it is over already.
    """
    row = session.get(Delegation, delegation_id, with_for_update=True)
    administrator = Role.SECURITY_ADMIN in _roles(person)
    if row is None or (row.from_id != person.id and not administrator):
        raise NotFoundError
    if row.revoked_at is not None or row.until_at <= now:
        raise RefusedError("nothing_changed")
    row.revoked_at = now
    session.add(row)
    _note(session, "delegation_ended", row, person, now, way_in)
    session.flush()
    refresh_open_steps(session, {row.from_id, row.to_id}, now)
    return {"id": row.id}


def _roles(person: Person) -> set[str]:
    return {held.role for held in person.roles}


def _note(
    session: Session, event: str, row: Delegation, person: Person, now: datetime, way_in: str
) -> None:
    audit.append(
        session, audit.BUREAU, event, at=now, person_id=person.id, way_in=way_in,
        data={
            "delegation": row.id, "from": row.from_id, "to": row.to_id,
            "until": row.until_at.isoformat(), "filed": row.filed,
        },
    )  # fmt: skip
