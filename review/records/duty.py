"""Who is on duty (值班), when and for which unit (requirements, feature 42)."""

from datetime import datetime

from sqlmodel import Field, Index, Session, SQLModel, col, select

from review.records.tables import maybe_moment, moment


class DutyShift(SQLModel, table=True):
    """One person on duty from a moment to another, for a unit or (empty) the whole bureau."""

    __tablename__ = "duty_shift"
    __table_args__ = (Index("ix_duty_shift", "unit_id", "until_at"),)

    id: str = Field(primary_key=True)
    unit_id: str = ""
    person_id: str = Field(foreign_key="person.id")
    from_at: datetime = moment()
    until_at: datetime = moment()
    added_at: datetime = moment()
    removed_at: datetime | None = maybe_moment()  # kept, so that who was on duty stays provable


def on_duty(session: Session, units: set[str], at: datetime) -> list[DutyShift]:
    """Return who is on duty for one of some units, or for the whole bureau."""
    return list(
        session.exec(
            select(DutyShift)
            .where(col(DutyShift.unit_id).in_(units | {""}))
            .where(DutyShift.from_at <= at)
            .where(DutyShift.until_at > at)
            .where(col(DutyShift.removed_at).is_(None))
            .order_by(col(DutyShift.unit_id), col(DutyShift.person_id))
        )
    )
