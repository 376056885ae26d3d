"""Items by status and unit, counted as they change, so that a board needn't count them all."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

ADD = (
    "INSERT INTO submission_tally (status, unit_id, items) VALUES (NEW.status, NEW.unit_id, 1)"
    " ON CONFLICT (status, unit_id) DO UPDATE SET items = submission_tally.items + 1;"
)
TAKE = (
    "UPDATE submission_tally SET items = items - 1"
    " WHERE status = OLD.status AND unit_id = OLD.unit_id;"
)
# Rows are locked in one order, whichever way an item goes: no two changes wait for each other.
MOVE = f"""
IF (OLD.status, OLD.unit_id) < (NEW.status, NEW.unit_id) THEN {TAKE} {ADD} ELSE {ADD} {TAKE} END IF;
"""


def upgrade() -> None:
    op.create_table(
        "submission_tally",
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("unit_id", sa.String(), nullable=False),
        sa.Column("items", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("status", "unit_id"),
    )
    postgres = op.get_bind().dialect.name == "postgresql"
    if postgres:  # nobody submits between the count and the triggers
        op.execute("LOCK TABLE submission IN SHARE ROW EXCLUSIVE MODE")
    op.execute(
        "INSERT INTO submission_tally (status, unit_id, items)"
        " SELECT status, unit_id, count(*) FROM submission GROUP BY status, unit_id"
    )
    for name, event, deed in (
        ("new", "INSERT", ADD), ("moved", "UPDATE OF status, unit_id", MOVE),
        ("gone", "DELETE", TAKE),
    ):  # fmt: skip
        trigger = f"submission_tally_{name}"
        when = ""
        if name == "moved":
            when = "WHEN (OLD.status <> NEW.status OR OLD.unit_id <> NEW.unit_id)"
        if postgres:
            op.execute(
                f"CREATE FUNCTION {trigger}() RETURNS trigger LANGUAGE plpgsql AS"
                f" $$ BEGIN {deed} RETURN NULL; END $$"
            )
            op.execute(
                f"CREATE TRIGGER {trigger} AFTER {event} ON submission FOR EACH ROW {when}"
                f" EXECUTE FUNCTION {trigger}()"
            )
        else:
            deed = f"{TAKE} {ADD}" if name == "moved" else deed
            op.execute(
                f"CREATE TRIGGER {trigger} AFTER {event} ON submission FOR EACH ROW {when}"
                f" BEGIN {deed} END"
            )
