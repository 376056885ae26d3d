"""Bearer tokens of programs and people: shown once, kept as hashes, ended at once."""

import secrets
from datetime import datetime
from typing import Any

from sqlalchemy import and_, bindparam, update
from sqlmodel import Session, col, select

from review.ids import new_id
from review.records.kept import digest_of_secret, known, note
from review.records.people import Person, one_person, person_found
from review.records.tables import PersonRow, Token
from review.rules.errors import NotFoundError

TOKEN_PREFIX = "sanshen_"  # so that a token which leaks is recognised by those who look for them

_BY_TOKEN = one_person(
    col(PersonRow.id).in_(
        select(Token.person_id)
        .where(Token.hash == bindparam("token"))
        .where(col(Token.revoked_at).is_(None))
    )
)


def issue_token(
    session: Session,
    person_id: str,
    label: str,
    now: datetime,
    *,
    by: str = "",
    way_in: str = "",
) -> str:
    """Return a new bearer token; it can't be read again, only its hash is kept.

    Raises:
        NotFoundError: There is no such person, or the account is disabled.
    """
    if known(session, person_id).disabled_at is not None:
        raise NotFoundError
    secret = TOKEN_PREFIX + secrets.token_urlsafe(32)
    token = Token(
        id=new_id(), person_id=person_id, hash=digest_of_secret(secret), label=label, created_at=now
    )
    session.add(token)
    note(session, "token_issued", now, by, way_in, person=person_id, token=token.id)
    return secret


def revoke_token(
    session: Session, token_id: str, now: datetime, *, by: str = "", way_in: str = ""
) -> None:
    """End a token; one that has ended already stays as it is.

    Raises:
        NotFoundError: There is no such token.
    """
    token = session.get(Token, token_id, with_for_update=True)
    if token is None:
        raise NotFoundError
    if token.revoked_at is None:
        token.revoked_at = now
        session.add(token)
        note(session, "token_revoked", now, by, way_in, person=token.person_id, token=token_id)


def revoke_tokens(session: Session, person_id: str, now: datetime) -> None:
    """End every token of a person."""
    session.exec(
        update(Token)
        .where(and_(col(Token.person_id) == person_id, col(Token.revoked_at).is_(None)))
        .values(revoked_at=now)
    )


def tokens_of(session: Session, person_id: str) -> list[dict[str, Any]]:
    """Return a person's tokens that open something, oldest first; never their secrets."""
    rows = session.exec(
        select(Token)
        .where(Token.person_id == person_id)
        .where(col(Token.revoked_at).is_(None))
        .order_by(col(Token.id))
    )
    return [{"id": row.id, "label": row.label, "created_at": row.created_at} for row in rows]


def person_of_token(session: Session, secret: str, now: datetime) -> Person | None:
    """Return whose token this is, with the roles held now; one statement."""
    return person_found(session, _BY_TOKEN, now, token=digest_of_secret(secret))
