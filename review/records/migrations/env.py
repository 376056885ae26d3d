"""Run migrations on the connection that `upgrade` holds, inside its transaction."""

from typing import Any, Literal

from alembic import context
from sqlmodel import AutoString, SQLModel

from review.records import (  # noqa: F401
    bulletins,
    channels,
    duty,
    hook_tables,
    letters,
    links,
    matters,
    restores,
    retention,
    tallies,
    topics,
    ways,
)
from review.records.tables import UtcDateTime


def plain(kind: str, value: Any, _context: Any) -> str | Literal[False]:
    """Write our column types as SQLAlchemy's own, so that a migration needs no code of ours."""
    if kind == "type" and isinstance(value, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    if kind == "type" and isinstance(value, AutoString):
        return "sa.String()"
    return False


given = context.config.attributes
context.configure(
    connection=given["connection"],
    target_metadata=SQLModel.metadata,
    compare_server_default=True,
    render_item=plain,
    # SQLite can't alter a table in place
    render_as_batch=given.get("render_as_batch", given["connection"].dialect.name == "sqlite"),
)
with context.begin_transaction():
    context.run_migrations()
