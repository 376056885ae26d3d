"""Which request a nudge is of, so that the log of whoever sends it later says so."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Without a value where programs of before go on inserting.
    for table in ("outbox", "matter_outbox"):
        op.add_column(table, sa.Column("request_id", sa.String(), nullable=True))


def downgrade() -> None:
    raise NotImplementedError("the ledger only grows; restore a backup instead")
