"""Tables of what other systems tell us and are told: keys, deliveries, endpoints, to-dos."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, UniqueConstraint
from sqlmodel import Field, SQLModel

from review.records.tables import json, maybe_moment, moment


class HookKey(SQLModel, table=True):
    """A secret with which another system signs what it sends us, and what it may speak of.

    Two rows of one name overlap while the secret is being changed. An empty scope has no limit.
    """

    __tablename__ = "hook_key"

    id: str = Field(primary_key=True)
    name: str = Field(index=True)
    secret: str  # sealed with a key from SECRET_KEY; it must verify, so a hash won't do
    units: list[str] = json(list)
    roles: list[str] = json(list)
    people: list[str] = json(list)
    steps: list[str] = json(list)
    from_at: datetime = moment()
    until_at: datetime | None = maybe_moment()
    made_at: datetime = moment()
    made_by: str = ""


class HookDelivery(SQLModel, table=True):
    """A signed message that came in, by its `webhook-id`, bound to its body before it is judged."""

    __tablename__ = "hook_delivery"

    id: str = Field(primary_key=True)
    key: str  # the name of the system's key: another system's same id is another message
    body: str  # keyed hash; the text itself is nowhere kept
    status: int = 0  # 0: not answered yet
    answer: dict[str, Any] = json(dict)
    at: datetime = moment(index=True)


class HookEndpoint(SQLModel, table=True):
    """Where another system wants to be told, of what, and with which secret we sign."""

    __tablename__ = "hook_endpoint"

    id: str = Field(primary_key=True)
    name: str = Field(unique=True)
    url: str
    events: list[str] = json(list)
    secret: str  # sealed, as a key's
    old_secret: str = ""  # signs beside the new one until `old_until`
    old_until: datetime | None = maybe_moment()
    since_at: datetime = moment()
    made_by: str = ""
    paused_at: datetime | None = maybe_moment()
    removed_at: datetime | None = maybe_moment()


class HookTodo(SQLModel, table=True):
    """What an endpoint was told last of one person's task on one step."""

    __tablename__ = "hook_todo"

    endpoint_id: str = Field(primary_key=True, foreign_key="hook_endpoint.id")
    step_id: str = Field(primary_key=True, foreign_key="step.id")
    person_id: str = Field(primary_key=True, foreign_key="person.id")
    submission_id: str = Field(index=True)
    open: bool = True
    told: dict[str, Any] = json(dict)


class HookPost(SQLModel, table=True):
    """One message to one endpoint; those of an item go out in the order of `n`."""

    __tablename__ = "hook_post"
    __table_args__ = (
        UniqueConstraint("endpoint_id", "submission_id", "n"),
        Index("ix_hook_post_due", "done_at", "endpoint_id", "next_try_at"),
    )

    id: str = Field(primary_key=True)  # the `webhook-id`
    endpoint_id: str = Field(foreign_key="hook_endpoint.id")
    submission_id: str = Field(foreign_key="submission.id", index=True)
    n: int
    kind: str
    payload: dict[str, Any] = json(dict)
    at: datetime = moment()
    attempts: int = 0
    next_try_at: datetime = moment()
    done_at: datetime | None = maybe_moment()
    status: int = 0  # of the last answer
    error: str = ""  # of the last try, a code
    tries: list[dict[str, Any]] = json(list)  # the last ones: when, status or error, milliseconds
