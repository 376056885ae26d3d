"""The migrations build what the tables say, on both databases, whoever runs them and how often."""

import itertools
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect
from sqlmodel import SQLModel

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
    tables,
    tallies,
    topics,
    ways,
)
from review.records.engine import Ledger, upgrade

_number = itertools.count()


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'sub' / 'new.db'}"
    address = request.getfixturevalue("postgres")
    from tests.postgres import _create

    name = f"empty_{next(_number)}"
    _create(address, name, "template1")
    return address.format(name=name)


def test_migrations_build_what_the_tables_say(empty_url):
    upgrade(empty_url)

    ledger = Ledger(empty_url)
    with ledger.engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        difference = compare_metadata(context, SQLModel.metadata)
    ledger.close()
    assert difference == []


def test_upgrading_again_changes_nothing(empty_url):
    upgrade(empty_url)
    upgrade(empty_url)

    ledger = Ledger(empty_url)
    assert set(SQLModel.metadata.tables) <= set(inspect(ledger.engine).get_table_names())
    ledger.close()


def test_processes_that_upgrade_at_once_agree(empty_url):
    command = [sys.executable, "-c", "import sys; from review.records.engine import upgrade; "
               "upgrade(sys.argv[1])", empty_url]  # fmt: skip

    processes = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(2)]

    for process in processes:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said.decode()
    ledger = Ledger(empty_url)
    with ledger.engine.connect() as connection:
        assert MigrationContext.configure(connection).get_current_revision()
    ledger.close()


def test_ledger_file_is_for_its_owner_only(tmp_path):
    path = tmp_path / "ledger.db"

    upgrade(f"sqlite:///{path}")

    assert path.stat().st_mode & 0o077 == 0
