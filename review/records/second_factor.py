"""A second factor: time-based codes (RFC 6238) and, for a lost telephone, recovery codes.

A code counts once; the secret is kept sealed, recovery codes as hashes.
"""

import secrets
from datetime import datetime
from typing import NamedTuple

import pyotp
from sqlalchemy import delete
from sqlmodel import Session, col, select

from review.ids import new_id
from review.records.kept import NONCE, Box, digest_of_secret, known, note
from review.records.sessions import end_sessions, strengthen_session
from review.records.tables import RecoveryCode, SecondFactor
from review.rules.errors import NotFoundError, RefusedError

ISSUER = "Sanshen"
PERIOD = 30  # seconds a code lives, as every authenticator has it
DRIFT = (0, -1, 1)  # periods by which a telephone's clock may be off
RECOVERY_CODES = 10
PURPOSE = "second factor"


class Enrolment(NamedTuple):
    """What an authenticator is given, by hand or as a picture of the address."""

    secret: str
    uri: str


def holds(session: Session, person_id: str) -> bool:
    """Tell whether somebody has a second factor that they once proved to work."""
    statement = (
        select(SecondFactor.person_id)
        .where(SecondFactor.person_id == person_id)
        .where(col(SecondFactor.confirmed_at).is_not(None))
    )
    return session.exec(statement).first() is not None


def begin(session: Session, person_id: str, now: datetime, box: Box) -> Enrolment:
    """Make a secret for somebody's authenticator; it counts once a code has confirmed it.

    Raises:
        NotFoundError: There is no such person.
        RefusedError: `second_factor_held`: one is in use; the security administrator removes it.
    """
    row = known(session, person_id)
    held = session.get(SecondFactor, person_id, with_for_update=True)
    if held is not None and held.confirmed_at is not None:
        raise RefusedError("second_factor_held")
    secret = pyotp.random_base32()
    kept = held or SecondFactor(person_id=person_id, secret="", made_at=now)
    kept.secret = box.seal(secret.encode(), person_id, secrets.token_bytes(NONCE))
    kept.made_at, kept.last_period = now, 0
    session.add(kept)
    note(session, "second_factor_begun", now, person_id, "page")
    codes = pyotp.TOTP(secret, interval=PERIOD)
    uri = codes.provisioning_uri(name=row.username, issuer_name=ISSUER)
    return Enrolment(secret, uri)


def confirm(
    session: Session, person_id: str, code: str, cookie: str, now: datetime, box: Box
) -> list[str]:
    """Take the first code: from now on one is asked for; returns the recovery codes, once.

    The session it was given in counts as opened with it, every other one ends.

    Raises:
        RefusedError: `second_factor_wrong`; `second_factor_held`; `second_factor_not_begun`.
    """
    known(session, person_id)
    held = session.get(SecondFactor, person_id, with_for_update=True)
    if held is None:
        raise RefusedError("second_factor_not_begun")
    if held.confirmed_at is not None:
        raise RefusedError("second_factor_held")
    if not _is_current(held, code, now, box):
        raise RefusedError("second_factor_wrong")
    held.confirmed_at = now
    session.add(held)
    codes = [f"{secrets.token_hex(4)}-{secrets.token_hex(4)}" for _ in range(RECOVERY_CODES)]
    session.exec(delete(RecoveryCode).where(col(RecoveryCode.person_id) == person_id))
    for one in codes:
        session.add(RecoveryCode(id=new_id(), person_id=person_id, hash=digest_of_secret(one)))
    end_sessions(session, person_id, now, but=cookie)
    strengthen_session(session, cookie)
    note(session, "second_factor_confirmed", now, person_id, "page")
    return codes


def accept(session: Session, person_id: str, code: str, now: datetime, box: Box) -> bool:
    """Tell whether a code is right now; it is used up by that."""
    held = session.get(SecondFactor, person_id, with_for_update=True)
    if held is None or held.confirmed_at is None:
        return False
    if _is_current(held, code, now, box):
        session.add(held)
        return True
    typed = "".join(code.split()).lower()
    row = session.exec(
        select(RecoveryCode)
        .where(RecoveryCode.person_id == person_id)
        .where(RecoveryCode.hash == digest_of_secret(typed))
        .where(col(RecoveryCode.used_at).is_(None))
        .with_for_update()
    ).first()
    if row is None:
        return False
    row.used_at = now
    session.add(row)
    note(session, "recovery_code_used", now, person_id, "page", code=row.id)
    return True


def remove(
    session: Session, person_id: str, now: datetime, *, by: str = "", way_in: str = ""
) -> None:
    """Take somebody's second factor away, and end their sessions.

    Raises:
        NotFoundError: There is no such person, or no second factor.
    """
    known(session, person_id)
    held = session.get(SecondFactor, person_id, with_for_update=True)
    if held is None:
        raise NotFoundError
    session.delete(held)
    session.exec(delete(RecoveryCode).where(col(RecoveryCode.person_id) == person_id))
    end_sessions(session, person_id, now)
    note(session, "second_factor_removed", now, by, way_in, person=person_id)


def _is_current(held: SecondFactor, code: str, now: datetime, box: Box) -> bool:
    """Tell whether a code is of this period or a neighbour, and later than the last one taken."""
    opened = box.open(held.secret, held.person_id)
    typed = "".join(code.split())
    if opened is None or len(typed) != 6 or not (typed.isascii() and typed.isdecimal()):
        return False
    codes = pyotp.TOTP(opened.decode(), interval=PERIOD)
    this = int(now.timestamp()) // PERIOD
    for period in (this + off for off in DRIFT):
        if period > held.last_period and secrets.compare_digest(codes.generate_otp(period), typed):
            held.last_period = period
            return True
    return False
