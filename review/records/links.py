"""Links in letters that lead to one decision: the ledger holds the hash of each, never the link."""

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import and_, delete, update
from sqlmodel import Field, Session, SQLModel, col, select

from review.ids import new_id
from review.records.kept import digest_of_secret
from review.records.tables import PersonRow, maybe_moment, moment

TOKEN_BYTES = 32
TOKEN_LENGTH = 43  # characters: 32 bytes in base64url


class DecisionLink(SQLModel, table=True):
    """One link for one person to decide one step on one version.

    A step's row belongs to one round, so the step binds the round too.
    """

    __tablename__ = "decision_link"

    id: str = Field(primary_key=True)
    token_hash: str = Field(unique=True)
    person_id: str = Field(foreign_key="person.id", index=True)
    submission_id: str
    step_id: str
    digest: str
    notice_id: str = Field(index=True)
    made_at: datetime = moment()
    expires_at: datetime = moment()
    used_at: datetime | None = maybe_moment()
    ended_at: datetime | None = maybe_moment()  # the account was closed, or its sessions ended


class Asked(NamedTuple):
    """What a notice asks to be decided, and of whom."""

    notice_id: str
    person_id: str
    submission_id: str
    step_id: str
    digest: str


def decision_id(link_id: str) -> str:
    """Return the key of the one decision that a link can make."""
    return f"link-{link_id}"


def make(
    session: Session, asked: Sequence[Asked], lasts: timedelta, now: datetime
) -> dict[str, str]:
    """Keep a new link for each of some notices; returns tokens that can't be had again.

    A letter that is written again has a fresh link, for the one before can't be read any more. The
    link before that goes; the last one stays, for its letter may have arrived after all.
    """
    people = sorted({one.person_id for one in asked})
    if not people:
        return {}
    # A person's row first, as whoever closes the account does.
    alive = session.exec(
        select(PersonRow.id)
        .where(col(PersonRow.id).in_(people))
        .where(col(PersonRow.disabled_at).is_(None))
        .order_by(col(PersonRow.id))
        .with_for_update(read=True, key_share=True)
    ).all()
    tokens = {}
    for one in (one for one in asked if one.person_id in alive):
        before = session.exec(
            select(DecisionLink.id)
            .where(DecisionLink.notice_id == one.notice_id)
            .where(col(DecisionLink.used_at).is_(None))
            .order_by(col(DecisionLink.id).desc())
            .offset(1)
        ).all()
        if before:
            session.exec(delete(DecisionLink).where(col(DecisionLink.id).in_(before)))
        token = tokens[one.notice_id] = secrets.token_urlsafe(TOKEN_BYTES)
        session.add(
            DecisionLink(
                id=new_id(), token_hash=digest_of_secret(token), person_id=one.person_id,
                submission_id=one.submission_id, step_id=one.step_id, digest=one.digest,
                notice_id=one.notice_id, made_at=now, expires_at=now + lasts,
            )
        )  # fmt: skip
    return tokens


def find(session: Session, token: str) -> DecisionLink | None:
    """Return the link of a token, alive or not."""
    return session.exec(
        select(DecisionLink).where(DecisionLink.token_hash == digest_of_secret(token))
    ).first()


def locked(session: Session, token: str) -> DecisionLink | None:
    """Return the link of a token, which nobody else can use until this transaction ends."""
    found = find(session, token)
    if found is None:
        return None
    session.exec(  # a person's row first, as whoever closes the account does
        select(PersonRow.id)
        .where(PersonRow.id == found.person_id)
        .with_for_update(read=True, key_share=True)
    ).first()
    return session.exec(
        select(DecisionLink)
        .where(DecisionLink.id == found.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).first()


def end_links(session: Session, person_id: str, now: datetime) -> None:
    """End every link of a person, as their sessions end."""
    session.exec(
        update(DecisionLink)
        .where(and_(col(DecisionLink.person_id) == person_id, col(DecisionLink.ended_at).is_(None)))
        .values(ended_at=now)
    )
