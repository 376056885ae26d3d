"""Run migrations on the connection that `upgrade` holds, inside its transaction."""

from alembic import context
from sqlmodel import SQLModel

from review.records import tables  # noqa: F401  (fills the metadata)

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=SQLModel.metadata,
    compare_server_default=True,
    render_item=context.config.attributes.get("render_item", lambda *_: False),
    render_as_batch=connection.dialect.name == "sqlite",  # it can't alter a table in place
)
with context.begin_transaction():
    context.run_migrations()
