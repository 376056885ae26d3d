"""Real parts for tests: a ledger on SQLite and on PostgreSQL, an engine, an office's roster."""

import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event

from review.records import engine as engine_module
from review.records.engine import Ledger, upgrade
from tests.examples import MONDAY, office

REQUIRE_ALL = os.environ.get("SANSHEN_REQUIRE_ALL") == "1"


def missing(reason: str) -> None:
    """Skip for lack of a real part; an error where everything is required."""
    if REQUIRE_ALL:
        pytest.fail(f"a real part is missing: {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session", autouse=True)
def _compiled_once() -> Iterator[None]:
    """Let the many ledgers of a run share what SQLAlchemy compiles; each would do it anew.

    A statement is kept by its dialect, so engines of one kind take over the first dialect that
    has seen its server. Nor does SQLite wait for the disk, as the tests' PostgreSQL doesn't: no
    test cuts the power, and a commit that waits takes a hundred times as long.
    """
    first: dict[str, Engine] = {}

    def hurry(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA synchronous=OFF")

    def made(*args: Any, **options: Any) -> Engine:
        engine = create_engine(*args, **options)
        if engine.dialect.name == "sqlite":
            event.listen(engine, "connect", hurry)
        known = first.setdefault(engine.dialect.driver, engine)
        if getattr(known.dialect, "server_version_info", None) is not None:
            engine.dialect, engine._compiled_cache = known.dialect, known._compiled_cache
        return engine

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine_module, "create_engine", made)
        yield


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A migrated, filled ledger as bytes, so that each test starts in a millisecond."""
    path = tmp_path_factory.mktemp("template") / "ledger.db"
    url = f"sqlite:///{path}"
    upgrade(url)
    ledger = Ledger(url)
    ledger.write(office, MONDAY)
    ledger.close()
    return path.read_bytes()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The address of a real PostgreSQL with one template database, without its database name."""
    try:
        from tests.postgres import running
    except ImportError as error:
        missing(f"PostgreSQL: {error}")
    with running() as address:
        url = address.format(name="template_ledger")
        upgrade(url)
        ledger = Ledger(url)
        ledger.write(office, MONDAY)
        ledger.close()
        yield address


@pytest.fixture
def sqlite_url(tmp_path: Path, sqlite_template: bytes) -> str:
    path = tmp_path / "ledger.db"
    path.write_bytes(sqlite_template)
    return f"sqlite:///{path}"


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request: pytest.FixtureRequest) -> Iterator[Ledger]:
    """A ledger with the office's roster, on both databases."""
    if request.param == "sqlite":
        opened = Ledger(request.getfixturevalue("sqlite_url"))
        yield opened
        opened.close()
        return
    address = request.getfixturevalue("postgres")
    from tests.postgres import drop_database, fresh_database

    url = fresh_database(address)
    opened = Ledger(url)
    yield opened
    opened.close()
    drop_database(address, url)


@pytest.fixture
def quick_ledger(sqlite_url: str) -> Iterator[Ledger]:
    """A ledger on SQLite, for tests in which the database makes no difference."""
    opened = Ledger(sqlite_url)
    yield opened
    opened.close()


@pytest.fixture
def monday() -> datetime:
    return MONDAY
