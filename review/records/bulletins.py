"""Bulletins (通报, R5.2-4): one for each period, with its tables and who signed it."""

from datetime import datetime
from typing import Any

from sqlmodel import Field, SQLModel

from review.records.tables import json, long_text, maybe_moment, moment


class Bulletin(SQLModel, table=True):
    """A month's tables or a quarter's bulletin; history is kept, there is one of each period."""

    period: str = Field(primary_key=True)  # 2026-09, 2026-Q3
    state: str  # tables; draft, signed, issued
    text: str = long_text()
    tables: dict[str, Any] = json(dict)
    digest: str  # over text and tables: what is signed
    prepared_at: datetime = moment()
    signed_by_id: str | None = Field(default=None, foreign_key="person.id")
    signed_at: datetime | None = maybe_moment()
    issued_by_id: str | None = Field(default=None, foreign_key="person.id")
    issued_at: datetime | None = maybe_moment()
    submission_id: str = ""  # the ordinary item that makes it public
