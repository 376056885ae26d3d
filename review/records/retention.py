"""What may go after its time (A-29): reported first, removed later, and only as it was reported."""

from datetime import datetime
from typing import Any

from sqlmodel import Field, Index, SQLModel

from review.records.tables import json, maybe_moment, moment


class RetentionReport(SQLModel, table=True):
    """A list of what would go, and from when it may; one is open at a time, all are kept."""

    __tablename__ = "retention_report"

    id: str = Field(primary_key=True)
    open_mark: str | None = Field(default=None, unique=True)  # "open", or NULL when it is over
    at: datetime = moment()
    remove_from: datetime = moment()
    rules: dict[str, Any] = json(dict)  # the numbers that it was made by
    ended_at: datetime | None = maybe_moment()


class RetentionItem(SQLModel, table=True):
    """One draft or unused upload of a report, and what became of it; never anything it says."""

    __tablename__ = "retention_item"
    __table_args__ = (Index("ix_retention_item_report", "report_id", "id"),)

    id: str = Field(primary_key=True)
    report_id: str = Field(foreign_key="retention_report.id")
    kind: str  # draft, upload
    of: str  # a draft's person; an upload's id
    person_id: str  # whose it is
    as_of: datetime = moment()  # when it was last changed: another moment, and it stays
    sha256: str = ""  # of an upload's bytes
    size: int = 0
    removed_at: datetime | None = maybe_moment()
    kept_why: str = ""  # changed, used, gone
    file_at: datetime | None = maybe_moment()  # when its bytes were dealt with
