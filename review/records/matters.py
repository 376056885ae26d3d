"""Matters: supervision orders, incidents and violation cases, which have a course of their own.

What is said in them (an order's subject, a unit's statement) stays in these rows: no history, no
log and no notice carries it.
"""

from datetime import datetime
from typing import Any

from sqlmodel import Field, Index, SQLModel

from review.records.tables import json, long_text, maybe_moment, moment


class Order(SQLModel, table=True):
    """A supervision order (督办单), R5.3-1, A-23; or a proposal of one that waits for a person."""

    __tablename__ = "supervision_order"
    __table_args__ = (
        Index("ix_supervision_order_state", "state", "id"),
        Index("ix_supervision_order_unit", "unit_id", "id"),
    )

    id: str = Field(primary_key=True)
    number: str | None = Field(default=None, unique=True)  # given when it is issued
    cause: str = Field(unique=True)  # one order for one cause
    unit_id: str = Field(foreign_key="unit.id")
    subject: str = long_text()
    submission_id: str = Field(default="", index=True)
    channel: str = ""
    shown: dict[str, Any] = json(dict)  # why the system proposed it: codes and moments
    urgent: bool = False  # C and D: on the wall clock
    state: str  # proposed, dismissed, issued, lapsed, rectified, closed
    proposed_by_id: str = ""  # empty: the system
    proposed_at: datetime = moment()
    issued_by_id: str = ""
    issued_at: datetime | None = maybe_moment()
    round: int = 0  # 1 once issued, 2 after the one repeat
    started_at: datetime | None = maybe_moment()  # when the deadline in force began to run
    due_at: datetime | None = maybe_moment()
    signed_by_id: str = ""
    signed_at: datetime | None = maybe_moment()
    rectified_by_id: str = ""
    rectified_at: datetime | None = maybe_moment()
    lapsed_at: datetime | None = maybe_moment()
    ended_at: datetime | None = maybe_moment()


class Incident(SQLModel, table=True):
    """An event in the register (事件登记), R5.1-3: its clock runs from the event."""

    __table_args__ = (Index("ix_incident_state", "state", "id"),)

    id: str = Field(primary_key=True)
    number: str = Field(unique=True)
    title: str
    place: str = ""
    kind: str
    level: str
    unit_id: str = Field(foreign_key="unit.id")
    event_at: datetime = moment()
    registered_at: datetime = moment()
    registered_by_id: str = Field(foreign_key="person.id")
    reported_to: str = ""  # where the incident itself was reported; that is another duty (T-13)
    authority: str = ""  # who may say what is published
    authority_reference: str = ""
    authority_by_id: str = ""
    authority_at: datetime | None = maybe_moment()
    missed_at: datetime | None = maybe_moment()  # 漏报: nothing submitted inside its window
    late_at: datetime | None = maybe_moment()  # 迟报: nothing published inside its line
    press_at: datetime | None = maybe_moment()  # the press conference was held
    press_by_id: str = ""
    final_id: str = ""  # the submission that is the 终报
    policy_digest: str = Field(foreign_key="pack.digest")  # its clock keeps the pack (R0-4)
    state: str  # open, closed
    ended_at: datetime | None = maybe_moment()


class IncidentReport(SQLModel, table=True):
    """A submission about an incident: the first is the 首报, later ones 续报, one the 终报."""

    __tablename__ = "incident_report"

    submission_id: str = Field(primary_key=True, foreign_key="submission.id")
    incident_id: str = Field(foreign_key="incident.id", index=True)
    at: datetime = moment()


class Violation(SQLModel, table=True):
    """A lead (线索) of one of the six kinds, and what people made of it (R5.3)."""

    __table_args__ = (
        Index("ix_violation_state", "state", "id"),
        Index("ix_violation_unit", "unit_id", "id"),
    )

    id: str = Field(primary_key=True)
    number: str = Field(unique=True)
    cause: str = Field(unique=True)  # one lead for one cause
    kind: int  # 1 to 6, as the regulation counts them
    unit_id: str = ""  # empty: nobody knows yet
    submission_id: str = Field(default="", index=True)
    order_id: str = ""
    channel: str = ""
    subject: str = long_text()
    shown: dict[str, Any] = json(dict)  # what the system saw: codes and moments
    state: str  # lead, dismissed, asked, stated, found
    opened_by_id: str = ""  # empty: the system
    opened_at: datetime = moment()
    asked_by_id: str = ""
    asked_at: datetime | None = maybe_moment()
    statement_due_at: datetime | None = maybe_moment()
    statement_late_at: datetime | None = maybe_moment()
    stated_by_id: str = ""
    stated_at: datetime | None = maybe_moment()
    severity: str = ""  # minor, serious; empty: no violation
    result: str = ""  # criticism, handed_over, none
    found_by_id: str = ""
    ended_at: datetime | None = maybe_moment()


class MatterEntry(SQLModel, table=True):
    """What happened in a matter, with what a person wrote."""

    __tablename__ = "matter_entry"
    __table_args__ = (Index("ix_matter_entry", "matter_id", "id"),)

    id: str = Field(primary_key=True)
    matter_id: str
    event: str
    person_id: str = ""  # empty: the system
    role: str = ""
    text: str = long_text()
    data: dict[str, Any] = json(dict)
    at: datetime = moment()


class MatterMark(SQLModel, table=True):
    """A moment of a matter that has had its consequence; the key makes it have it once."""

    __tablename__ = "matter_mark"

    matter_id: str = Field(primary_key=True)
    mark: str = Field(primary_key=True)
    at: datetime = moment()
    fired_at: datetime = moment()


class MatterOutbox(SQLModel, table=True):
    """A nudge owed to a matter's workflow; the turn that follows marks it done."""

    __tablename__ = "matter_outbox"
    __table_args__ = (
        Index("ix_matter_outbox_due", "done_at", "next_try_at"),
        Index("ix_matter_outbox_matter", "matter_id"),
    )

    id: str = Field(primary_key=True)
    kind: str  # supervision, incident, violation
    matter_id: str
    reason: str
    at: datetime = moment()
    done_at: datetime | None = maybe_moment()
    attempts: int = 0
    next_try_at: datetime = moment()
    request_id: str | None = None


class MatterCounter(SQLModel, table=True):
    """The last number given to a kind of matter in a year: 督办〔2026〕3号."""

    __tablename__ = "matter_counter"

    kind: str = Field(primary_key=True)
    year: int = Field(primary_key=True)
    last: int = 0
