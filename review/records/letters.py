"""Every try to bring a letter to a person, as the mail server answered."""

from datetime import datetime

from sqlmodel import Field, Index, Session, SQLModel, col, func, select

from review.records.tables import json, moment

SENT, REFUSED = "sent", "refused"


class LetterTry(SQLModel, table=True):
    """One try to send one letter; several notices may stand in it."""

    __tablename__ = "letter_try"
    __table_args__ = (Index("ix_letter_try_person", "person_id", "id"),)

    id: str = Field(primary_key=True)
    person_id: str = Field(foreign_key="person.id")
    address: str
    notices: list[str] = json(list)
    state: str  # sent, refused, failed or away
    detail: str = ""  # the server's three digits or the name of an error
    at: datetime = moment()


def refusals(session: Session, people: list[str]) -> dict[str, LetterTry]:
    """Return the last try of each of some people whose mail server took none of it for good."""
    if not people:
        return {}
    last = (
        select(func.max(LetterTry.id))
        .where(col(LetterTry.person_id).in_(people))
        .where(col(LetterTry.state).in_((SENT, REFUSED)))
        .group_by(col(LetterTry.person_id))
    )
    tries = session.exec(select(LetterTry).where(col(LetterTry.id).in_(last)))
    return {one.person_id: one for one in tries if one.state == REFUSED}
