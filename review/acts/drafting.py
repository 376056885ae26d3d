"""What somebody is still writing: one draft a person, kept only while nothing in it stops it."""

from datetime import datetime
from typing import Any

from sqlmodel import Session

from review.records.people import Person
from review.records.tables import Drafted

Json = dict[str, Any]


def keep(session: Session, person: Person, typed: Json, now: datetime) -> None:
    """Keep what was typed in place of what was kept before.

    Args:
        typed: The form's fields, screened by the stop rules already (R1.3-4).
    """
    row = session.get(Drafted, person.id, with_for_update=True)
    if row is None:
        row = Drafted(person_id=person.id, at=now)
    elif row.typed == typed:
        return
    row.typed, row.at = typed, now
    session.add(row)


def kept(session: Session, person: Person) -> Json | None:
    """Return what is kept of this person's, `{typed, at}`; None when there is nothing."""
    row = session.get(Drafted, person.id)
    return {"typed": row.typed, "at": row.at} if row else None


def drop(session: Session, person: Person) -> None:
    """Forget the draft: it was submitted, or its writer wants it gone."""
    row = session.get(Drafted, person.id)
    if row is not None:
        session.delete(row)
