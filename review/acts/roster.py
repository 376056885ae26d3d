"""Change the roster and ask anew wherever the change matters to an open step.

Accounts and roles are the security administrator's (requirements 1.8): never their own, so that no
one person opens a door for themselves.
"""

from datetime import datetime
from typing import Any

from sqlmodel import Session, col, select

from review.acts.entitlement import refresh_open_steps
from review.records import bureau, second_factor
from review.records.access import disable, enable
from review.records.bureau import Roster, import_roster
from review.records.letters import refusals
from review.records.people import Person
from review.records.tables import Grant, PersonRow, SecondFactor
from review.records.ways import unreached
from review.rules.errors import NotAllowedError, NotFoundError, RefusedError
from review.rules.values import Role


def change_roster(session: Session, roster: Roster, now: datetime) -> dict[str, int]:
    """Bring the roster to what a file says; returns how much of what changed.

    A role given or taken counts from this transaction on, also for steps that are open.
    """
    changes = import_roster(session, roster, now)
    session.flush()
    if changes.people:
        refresh_open_steps(session, changes.people, now)
    return dict(changes.counts)


# --- by the console or the security administrator -----------------------------------------------


def close_account(
    session: Session, person_id: str, now: datetime, *, by: Person | None = None, way_in: str
) -> dict[str, Any]:
    """End every door of a person at once, and ask their open steps' other people.

    Args:
        by: Who does it; None is whoever has the machine's console.

    Raises:
        NotAllowedError: Not a security administrator.
        RefusedError: `own_account`.
        NotFoundError: There is no such person.
    """
    disable(session, person_id, now, by=_by(by, person_id), way_in=way_in)
    return _asked_anew(session, person_id, now)


def open_account(
    session: Session, person_id: str, now: datetime, *, by: Person | None = None, way_in: str
) -> dict[str, Any]:
    """Open an account again, without any of its former doors; raises as `close_account`."""
    enable(session, person_id, now, by=_by(by, person_id), way_in=way_in)
    return _asked_anew(session, person_id, now)


def give_role(
    session: Session,
    person_id: str,
    role: Role,
    unit_id: str,
    now: datetime,
    *,
    until: datetime | None = None,
    by: Person | None = None,
) -> dict[str, Any]:
    """Give a role from now on; raises as `close_account` and `bureau.grant`."""
    row = bureau.grant(session, person_id, role, unit_id, now, until=until, by=_by(by, person_id))
    return _asked_anew(session, person_id, now) | {"grant": row.id}


def take_role(
    session: Session, grant_id: str, now: datetime, *, by: Person | None = None
) -> dict[str, Any]:
    """End a role now; raises as `close_account`."""
    row = session.get(Grant, grant_id)
    if row is None:
        raise NotFoundError
    bureau.revoke(session, grant_id, now, by=_by(by, row.person_id))
    return _asked_anew(session, row.person_id, now) | {"grant": grant_id}


def remove_second_factor(
    session: Session, person_id: str, now: datetime, *, by: Person | None = None, way_in: str
) -> dict[str, Any]:
    """Take somebody's second factor away, for a lost telephone; raises as `close_account`."""
    second_factor.remove(session, person_id, now, by=_by(by, person_id), way_in=way_in)
    return {"person": person_id}


def people_listed(session: Session, by: Person, now: datetime) -> list[dict[str, Any]]:
    """Return everybody with their roles, for administrators and auditors.

    Raises:
        NotAllowedError: For everybody else.
    """
    if not {held.role for held in by.roles} & {Role.SECURITY_ADMIN, Role.SYSADMIN, Role.AUDITOR}:
        raise NotAllowedError
    held: dict[str, list[dict[str, Any]]] = {}
    for one in bureau.grants(session, now):
        shown = {"id": one["id"], "role": one["role"], "unit": one["unit"]}
        held.setdefault(one["person"]["id"], []).append(shown | {"until_at": one["until_at"]})
    factors = set(
        session.exec(
            select(SecondFactor.person_id).where(col(SecondFactor.confirmed_at).is_not(None))
        )
    )
    rows = session.exec(select(PersonRow).order_by(col(PersonRow.username))).all()
    wrong = refusals(session, [row.id for row in rows])
    elsewhere = unreached(session, [row.id for row in rows])
    return [
        {
            "id": row.id,
            "username": row.username,
            "name": row.name,
            "unit": row.unit_id,
            "oa_account": row.oa_account,
            "disabled_at": row.disabled_at,
            "second_factor": row.id in factors,
            "grants": held.get(row.id, []),
            "email": row.email,
            "mail_refused_at": wrong[row.id].at if row.id in wrong else None,
            "way_refused_at": elsewhere[row.id].at if row.id in elsewhere else None,
        }
        for row in rows
    ]


def _by(who: Person | None, person_id: str) -> str:
    """Return who does it, for the trace, if they may."""
    if who is None:
        return ""
    if Role.SECURITY_ADMIN not in {held.role for held in who.roles}:
        raise NotAllowedError
    if who.id == person_id:
        raise RefusedError("own_account")
    return who.id


def _asked_anew(session: Session, person_id: str, now: datetime) -> dict[str, Any]:
    session.flush()
    refresh_open_steps(session, {person_id}, now)
    return {"person": person_id}
