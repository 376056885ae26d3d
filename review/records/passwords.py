"""Passwords: argon2id, a few at a time, since each hash takes 64 MiB on purpose."""

import threading
from datetime import datetime

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlmodel import Session, col, select

from review.records.kept import known, note, storable
from review.records.sessions import end_sessions
from review.records.tables import PersonRow

HASHER = PasswordHasher()  # argon2id, RFC 9106's second choice: 64 MiB, about 50 ms
AT_ONCE = threading.BoundedSemaphore(2)  # hashes of this process under way; others queue


def hashed(password: str, hasher: PasswordHasher = HASHER) -> str:
    """Return what is kept of a password."""
    with AT_ONCE:
        return hasher.hash(storable(password))


def fits(hash_: str, password: str, hasher: PasswordHasher = HASHER) -> bool:
    """Tell whether a password is the one that was hashed."""
    with AT_ONCE:
        try:
            return hasher.verify(hash_, storable(password))
        except (VerificationError, InvalidHashError):
            return False


def set_password(
    session: Session,
    person_id: str,
    password: str,
    now: datetime,
    *,
    by: str = "",
    way_in: str = "",
    hasher: PasswordHasher = HASHER,
) -> None:
    """Set somebody's password and end their sessions.

    Raises:
        NotFoundError: There is no such person.
    """
    row = known(session, person_id)
    row.password_hash = hashed(password, hasher)
    session.add(row)
    end_sessions(session, person_id, now)
    note(session, "password_set", now, by, way_in, person=person_id)


def credentials(session: Session, username: str) -> tuple[str, str] | None:
    """Return the id and password hash of an enabled account that has one, or None."""
    found = session.exec(
        select(PersonRow.id, PersonRow.password_hash)
        .where(PersonRow.username == username)
        .where(col(PersonRow.disabled_at).is_(None))
        .where(PersonRow.password_hash != "")
    ).first()
    return (found[0], found[1]) if found else None
