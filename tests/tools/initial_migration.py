"""Write migration 0001 anew from the tables: `python -m tests.tools.initial_migration`.

Only until the first release; after it, every change of the tables is a migration of its own.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

from review.records import engine

FILE = engine.MIGRATIONS / "versions" / "0001_first.py"


def main() -> None:
    FILE.unlink(missing_ok=True)
    config = Config()
    config.set_main_option("script_location", str(engine.MIGRATIONS).replace("%", "%%"))
    config.attributes["render_as_batch"] = False
    with create_engine("sqlite://").begin() as connection:
        config.attributes["connection"] = connection
        made: Any = command.revision(
            config, "The ledger's first tables", autogenerate=True, rev_id="0001"
        )
    Path(made.path).rename(FILE)
    lines = [line for line in FILE.read_text().splitlines() if "### " not in line]
    FILE.write_text("\n".join(lines) + "\n")
    for arguments in (["format", "-q"], ["check", "--fix", "-q"]):
        subprocess.run([sys.executable, "-m", "ruff", *arguments, str(FILE)], check=True)
    print(FILE)


if __name__ == "__main__":
    main()
