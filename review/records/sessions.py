"""Browsers' sessions: in the ledger, so that they can be ended; idle and absolute limits."""

import secrets
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import and_, bindparam, update
from sqlmodel import Session, col, select

from review.records.kept import digest_of_secret, note
from review.records.links import end_links
from review.records.people import IDENTITY, NOW, Person, load_person, person_of, with_grants
from review.records.tables import Pack, PersonRow, SignIn, UtcDateTime

IDLE_LIMIT = timedelta(hours=2)
ABSOLUTE_LIMIT = timedelta(hours=12)

_IN_FORCE = select(Pack.digest).order_by(col(Pack.adopted_at).desc()).limit(1).scalar_subquery()
_BY_COOKIE = with_grants(
    select(  # type: ignore[call-overload]
        *IDENTITY,
        PersonRow.created_at,
        SignIn.csrf,
        SignIn.seen_at,
        SignIn.second_factor,
        _IN_FORCE.label("digest"),
    )
    .join(SignIn, col(SignIn.person_id) == col(PersonRow.id))
    .where(SignIn.id == bindparam("cookie"))
    .where(col(SignIn.ended_at).is_(None))
    .where(col(SignIn.expires_at) > NOW)
    .where(col(SignIn.seen_at) > bindparam("idle", type_=UtcDateTime)),
    NOW,
)


class SignedIn(NamedTuple):
    """What a browser gets once it has proved who uses it."""

    secret: str  # the cookie
    csrf: str
    person: Person


class Found(NamedTuple):
    """A session that is open."""

    person: Person
    csrf: str
    seen_at: datetime
    second_factor: bool  # it was opened with one
    joined_at: datetime  # when the person's account was made
    policy_digest: str  # the pack in force; empty while there is none


def open_session(
    session: Session,
    person_id: str,
    password_hash: str,
    now: datetime,
    *,
    rehashed: str = "",
    second_factor: bool = False,
) -> SignedIn | None:
    """Open a session for somebody whose password was verified against this hash.

    Args:
        rehashed: The same password under newer parameters, kept from now on.
        second_factor: A second factor was given too.

    Returns:
        None when the account was disabled or the password changed in the meantime.
    """
    row = session.get(PersonRow, person_id, with_for_update=True)
    if row is None or row.password_hash != password_hash:
        return None
    if rehashed:
        row.password_hash = rehashed
        session.add(row)
    return _opened(session, person_id, now, second_factor=second_factor, way="password")


def open_session_once(
    session: Session, person_id: str, proof: str, now: datetime, *, second_factor: bool = False
) -> SignedIn | None:
    """Open a session on the word of an identity provider, once for each of its words.

    Args:
        proof: What no two sign-ins have in common: the digest of the request's nonce.

    Returns:
        None when the account is disabled, or the word was used before.
    """
    session.get(PersonRow, person_id, with_for_update=True)  # one at a time
    if session.exec(select(SignIn.id).where(SignIn.proof == proof)).first() is not None:
        return None
    return _opened(session, person_id, now, second_factor=second_factor, way="oidc", proof=proof)


def _opened(
    session: Session, person_id: str, now: datetime, *, second_factor: bool, **more: Any
) -> SignedIn | None:
    person = load_person(session, person_id, now)
    if person is None:
        return None
    secret, csrf = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    session.add(
        SignIn(
            id=digest_of_secret(secret),
            person_id=person_id,
            csrf=csrf,
            created_at=now,
            seen_at=now,
            expires_at=now + ABSOLUTE_LIMIT,
            second_factor=second_factor,
            **more,
        )
    )
    note(
        session, "signed_in", now, person_id, "page", way=more["way"],
        second_factor=second_factor,
    )  # fmt: skip
    return SignedIn(secret, csrf, person)


def find_session(session: Session, secret: str, now: datetime) -> Found | None:
    """Return the session that a cookie opens.

    One statement; None when it is unknown, ended, idle for two hours or twelve hours old, or when
    its person is disabled.
    """
    wanted = {"cookie": digest_of_secret(secret), "idle": now - IDLE_LIMIT, "now": now}
    if session.autoflush:  # the connection does not by itself
        session.flush()
    rows = session.connection().execute(_BY_COOKIE, wanted).all()
    if not rows:
        return None
    one = rows[0]
    return Found(
        person_of(rows), one.csrf, one.seen_at, one.second_factor, one.created_at, one.digest or ""
    )


def touch_session(session: Session, secret: str, now: datetime) -> None:
    """Write down that a session was used; a session that ended stays so."""
    session.exec(
        update(SignIn)
        .where(
            and_(
                col(SignIn.id) == digest_of_secret(secret),
                col(SignIn.ended_at).is_(None),
                col(SignIn.seen_at) < now,
            )
        )
        .values(seen_at=now)
    )


def end_session(session: Session, secret: str, now: datetime) -> None:
    """End a session, however it stands."""
    key = digest_of_secret(secret)
    row = session.get(SignIn, key, with_for_update=True)
    if row is not None and row.ended_at is None:
        row.ended_at = now
        session.add(row)
        note(session, "signed_out", now, row.person_id, "page")


def end_sessions(session: Session, person_id: str, now: datetime, *, but: str = "") -> None:
    """End every session of a person, and every link to a decision that a letter brought them.

    Args:
        but: The cookie of one that goes on.
    """
    session.exec(
        update(SignIn)
        .where(
            and_(
                col(SignIn.person_id) == person_id,
                col(SignIn.ended_at).is_(None),
                col(SignIn.id) != (digest_of_secret(but) if but else ""),
            )
        )
        .values(ended_at=now)
    )
    end_links(session, person_id, now)


def strengthen_session(session: Session, secret: str) -> None:
    """Write down that a second factor was given in a session."""
    session.exec(
        update(SignIn).where(col(SignIn.id) == digest_of_secret(secret)).values(second_factor=True)
    )
