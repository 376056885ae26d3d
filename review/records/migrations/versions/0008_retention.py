"""What may go after its time, reported before it is removed; and a due index an endpoint long."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "retention_report",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("open_mark", sa.String(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("remove_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("rules", sa.JSON(), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("open_mark"),
    )
    op.create_table(
        "retention_item",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("report_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("of", sa.String(), nullable=False),
        sa.Column("person_id", sa.String(), nullable=False),
        sa.Column("as_of", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("kept_why", sa.String(), nullable=False),
        sa.Column("file_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["report_id"], ["retention_report.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_retention_item_report", "retention_item", ["report_id", "id"])
    op.drop_index("ix_hook_post_due", table_name="hook_post")
    op.create_index("ix_hook_post_due", "hook_post", ["done_at", "endpoint_id", "next_try_at"])
