"""When this ledger was put back from a copy: what the copy lacks may be online all the same."""

from datetime import datetime
from typing import Any

from sqlalchemy import update
from sqlmodel import Field, Session, SQLModel, col, select

from review.records import audit
from review.records.links import DecisionLink
from review.records.tables import SignIn, moment

RESTORED = "ledger_restored"


class Restore(SQLModel, table=True):
    """One putting back of this ledger."""

    id: int | None = Field(default=None, primary_key=True)
    at: datetime = moment()
    made_at: datetime = moment()  # when the copy was made


def note_restore(session: Session, made_at: datetime, now: datetime) -> None:
    """Write down that the ledger was put back; end all sessions and links the copy brought along.

    One that was ended or used after the copy would otherwise be open again.
    """
    session.add(Restore(at=now, made_at=made_at))
    for table in (SignIn, DecisionLink):
        session.execute(
            update(table)
            .where(col(table.ended_at).is_(None))
            .values(ended_at=now)
            .execution_options(synchronize_session=False)
        )
    told: dict[str, Any] = {"made_at": made_at.isoformat()}
    audit.append(session, audit.BUREAU, RESTORED, at=now, way_in="cli", data=told)


def was_restored_after(session: Session, moment_at: datetime) -> bool:
    """Tell whether something of that moment may have had a course this ledger doesn't know."""
    found = session.exec(select(Restore.id).where(col(Restore.at) > moment_at).limit(1))
    return found.first() is not None
