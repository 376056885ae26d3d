"""What is known of each channel besides its name: register, connection, and what was seen there."""

from datetime import date, datetime
from typing import Any

from sqlmodel import Field, Index, SQLModel

from review.records.tables import json, long_text, maybe_moment, moment


class ChannelEntry(SQLModel, table=True):
    """A channel's line in the register (账号台账), R2.2-1 and R2.2-2; changed by two people."""

    __tablename__ = "channel_entry"

    channel_id: str = Field(primary_key=True, foreign_key="channel.id")
    owner_entity: str = ""  # 认证主体
    certified_on: date | None = None  # 认证
    filing_number: str = ""  # 备案编号
    applied_by_unit_id: str = ""
    reason: str = long_text()
    opened_at: datetime | None = maybe_moment()
    closed_at: datetime | None = maybe_moment()


class ChannelChange(SQLModel, table=True):
    """An opening, a change or a closing that one person proposed and another has yet to confirm."""

    __tablename__ = "channel_change"
    __table_args__ = (Index("ix_channel_change_state", "state", "proposed_at"),)

    id: str = Field(primary_key=True)
    channel_id: str
    deed: str  # open, change, close
    fields: dict[str, Any] = json(dict)
    reason: str = long_text()
    state: str  # open, confirmed, rejected
    proposed_by_id: str = Field(foreign_key="person.id")
    proposed_at: datetime = moment()
    decided_by_id: str | None = Field(default=None, foreign_key="person.id")
    decided_at: datetime | None = maybe_moment()


class ChannelConnection(SQLModel, table=True):
    """How a channel's platform is reached; the secret is sealed with a key from SECRET_KEY."""

    __tablename__ = "channel_connection"

    channel_id: str = Field(primary_key=True, foreign_key="channel.id")
    address: str = ""
    account: str = ""
    secret: str = ""
    options: dict[str, Any] = json(dict)
    set_at: datetime = moment()
    set_by: str = ""


class ChannelLook(SQLModel, table=True):
    """When a live publication is read again, and what the last look found (R5.3-2, R5.3-4)."""

    __tablename__ = "channel_look"
    __table_args__ = (Index("ix_channel_look_next", "next_at"),)

    publication_id: str = Field(primary_key=True, foreign_key="publication.id")
    looks: int = 0
    next_at: datetime | None = maybe_moment()  # empty: the week is over, or it can't be read
    seen_at: datetime | None = maybe_moment()
    found: str = ""  # same, differs, gone, unread
