"""The first administrator: one key, shown once, that names a security administrator.

There is no default password anywhere. The key is closed for good once it was used or once an
administrator can sign in by other means; a new one is made only on the machine's console, and only
while no administrator can sign in.
"""

import secrets
from datetime import datetime

from sqlalchemy import or_
from sqlmodel import Session, col, exists, select

from review.ids import new_id
from review.records.kept import digest_of_secret, note
from review.records.people import enabled, in_force
from review.records.tables import FirstKey, Grant, PersonRow, Token, Unit
from review.rules.errors import NotSignedInError, RefusedError
from review.rules.values import Role

ONLY = "first"  # its row's key: there is at most one
ADMINISTRATORS = (Role.SECURITY_ADMIN, Role.SYSADMIN)
UNIT, UNIT_NAME = "administration", "系统管理"


def make_first_key(session: Session, now: datetime) -> str | None:
    """Return the first start's key; None for ever after, and where anybody is on the roster."""
    if session.get(FirstKey, ONLY) is not None:
        return None
    if session.exec(select(PersonRow.id).limit(1)).first() is not None:
        return None
    return _made(session, now)


def make_another_key(session: Session, now: datetime) -> str:
    """Return a new key; the one before opens nothing any more.

    Raises:
        RefusedError: `administrator_can_sign_in`: then that person gives roles.
    """
    if administrator_can_sign_in(session, now):
        raise RefusedError("administrator_can_sign_in")
    return _made(session, now)


def _made(session: Session, now: datetime) -> str:
    key = "first_" + secrets.token_urlsafe(32)
    row = session.get(FirstKey, ONLY, with_for_update=True) or FirstKey(
        id=ONLY, hash="", made_at=now
    )
    row.hash, row.made_at, row.used_at = digest_of_secret(key), now, None
    session.add(row)
    note(session, "first_key_made", now, "", "cli")
    return key


def administrator_can_sign_in(session: Session, now: datetime) -> bool:
    """Tell whether an enabled administrator has a password or a token."""
    has_token = exists().where(
        col(Token.person_id) == col(PersonRow.id), col(Token.revoked_at).is_(None)
    )
    found = session.exec(
        select(PersonRow.id)
        .join(Grant, col(Grant.person_id) == col(PersonRow.id))
        .where(col(Grant.role).in_([str(role) for role in ADMINISTRATORS]))
        .where(in_force(now))
        .where(enabled(now))
        .where(or_(col(PersonRow.password_hash) != "", has_token))
        .limit(1)
    )
    return found.first() is not None


def use_first_key(
    session: Session, key: str, username: str, name: str, password_hash: str, now: datetime
) -> str:
    """Make the first security administrator; returns their id.

    Args:
        password_hash: Of the password they will sign in with.

    Raises:
        NotSignedInError: `first_key`: unknown, used, or no longer needed; which is not said.
        RefusedError: `named_twice`: choose another user name.
    """
    row = session.get(FirstKey, ONLY, with_for_update=True)
    right = row is not None and secrets.compare_digest(row.hash, digest_of_secret(key))
    if row is None or not right or row.used_at or administrator_can_sign_in(session, now):
        raise NotSignedInError(why="first_key")
    if session.exec(select(PersonRow.id).where(PersonRow.username == username)).first():
        raise RefusedError("named_twice", name=username, entry="username")
    if session.get(Unit, UNIT) is None:
        session.add(Unit(id=UNIT, name=UNIT_NAME))
        session.flush()
    person = PersonRow(
        id=new_id(), username=username, name=name, unit_id=UNIT, created_at=now,
        password_hash=password_hash,
    )  # fmt: skip
    session.add(person)
    session.flush()
    grant = Grant(
        id=new_id(), person_id=person.id, role=Role.SECURITY_ADMIN, from_at=now,
        granted_by="first_key",
    )  # fmt: skip
    session.add(grant)
    row.used_at, row.person_id = now, person.id
    session.add(row)
    note(session, "first_key_used", now, person.id, "api", person=person.id, grant=grant.id)
    return person.id
