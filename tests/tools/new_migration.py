"""Write the migration from what the migrations build to what the tables say.

python -m tests.tools.new_migration 0002 "what changes"
"""

import sys
import tempfile
from pathlib import Path

from alembic import command
from alembic.config import Config

from review.records import engine as records


def main(revision: str, message: str) -> None:
    """Build a database from the migrations there are and compare it with the tables."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'ledger.db'}"
        scripts = Path(records.__file__).parent / "migrations"
        config = Config()
        config.set_main_option("script_location", str(scripts))
        if any((scripts / "versions").glob("0*.py")):
            records.upgrade(url)
        database = records._engine(url)
        with database.connect() as connection:
            config.attributes["connection"] = connection
            command.revision(config, message, autogenerate=True, rev_id=revision)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
