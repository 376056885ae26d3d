"""Topics (专题, R3.2-7): a name under which several submissions stand, each reviewed by itself."""

from datetime import datetime

from sqlmodel import Field, Index, SQLModel

from review.records.tables import long_text, maybe_moment, moment


class Topic(SQLModel, table=True):
    """A topic that the centre opened."""

    __table_args__ = (Index("ix_topic_state", "state", "id"),)

    id: str = Field(primary_key=True)
    number: str = Field(unique=True)
    title: str
    note: str = long_text()  # what belongs into it
    state: str  # open, closed
    opened_by_id: str = Field(foreign_key="person.id")
    opened_at: datetime = moment()
    closed_by_id: str = ""
    closed_at: datetime | None = maybe_moment()


class TopicItem(SQLModel, table=True):
    """A submission that stands in a topic; in one at most."""

    __tablename__ = "topic_item"

    submission_id: str = Field(primary_key=True, foreign_key="submission.id")
    topic_id: str = Field(foreign_key="topic.id", index=True)
    at: datetime = moment()
    by_id: str = Field(foreign_key="person.id")
