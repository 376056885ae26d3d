"""The ledger's transactions, on both databases, and what happens when a database is away."""

import asyncio
import os
import sqlite3
import threading
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlmodel import Session, select

from review.records import engine
from review.records.engine import Ledger, counting
from review.records.tables import Channel, Counter, PersonRow, Unit
from review.rules.errors import LedgerUnavailableError, RefusedError


def count_up(session: Session, year: int) -> int:
    row = session.get(Counter, year, with_for_update=True)
    if row is None:
        row = Counter(year=year)
    row.last += 1
    session.add(row)
    return row.last


def last(session: Session, year: int) -> int | None:
    return session.exec(select(Counter.last).where(Counter.year == year)).first()


def seen(ledger: Ledger, year: int) -> int | None:
    with ledger.reading() as session:
        return last(session, year)


def test_act_is_committed_whole(ledger):
    with ledger.writing() as session:
        session.add(Counter(year=2026, last=7))
        session.add(Counter(year=2027, last=8))

    assert (seen(ledger, 2026), seen(ledger, 2027)) == (7, 8)


def test_refused_act_leaves_nothing(ledger):
    with pytest.raises(RefusedError), ledger.writing() as session:
        session.add(Counter(year=2026, last=7))
        session.flush()
        raise RefusedError

    assert seen(ledger, 2026) is None


def test_reading_can_not_write(ledger):
    with pytest.raises((LedgerUnavailableError, DBAPIError)), ledger.reading() as session:
        session.add(Counter(year=2026, last=7))
        session.commit()

    assert seen(ledger, 2026) is None


def test_reading_sees_one_moment_while_others_write(ledger):
    ledger.write(count_up, 2026)

    with ledger.reading() as session:
        before = last(session, 2026)
        ledger.write(count_up, 2026)
        after = last(session, 2026)

    assert (before, after, seen(ledger, 2026)) == (1, 1, 2)


def test_foreign_keys_hold(ledger):
    channel = Channel(id="c1", name="c1", platform="website", operator_unit_id="nowhere")

    with pytest.raises(IntegrityError), ledger.writing() as session:
        session.add(channel)


def test_rows_can_be_used_after_the_transaction(ledger):
    with ledger.writing() as session:
        row = Unit(id="u9", name="九处")
        session.add(row)

    assert row.name == "九处"


async def test_acts_at_once_do_not_lose_each_other(ledger):
    ledger.write(count_up, 2026)

    await asyncio.gather(*(ledger.run(count_up, 2026) for _ in range(40)))

    assert await ledger.read(last, 2026) == 41


async def test_act_that_waited_too_long_is_refused_untried(ledger, monkeypatch):
    monkeypatch.setattr(engine, "PATIENCE", -1.0)

    with pytest.raises(LedgerUnavailableError):
        await ledger.run(count_up, 2026)

    assert seen(ledger, 2026) is None


def test_act_is_one_statement_each(ledger):
    ledger.write(count_up, 2026)

    with counting(ledger) as statements:
        ledger.write(count_up, 2026)
        seen(ledger, 2026)

    assert [one.split()[0] for one in statements] == ["SELECT", "UPDATE", "SELECT"]


# --- PostgreSQL ---------------------------------------------------------------------------------


def of_postgres(test):
    return pytest.mark.parametrize("ledger", ["postgresql"], indirect=True)(test)


def of_sqlite(test):
    return pytest.mark.parametrize("ledger", ["sqlite"], indirect=True)(test)


@of_postgres
def test_deadlock_is_tried_again(ledger):
    for year in (1, 2):
        ledger.write(count_up, year)
    both = threading.Barrier(2, timeout=10)
    tries: list[int] = []

    def crosswise(session: Session, first: int, second: int) -> None:
        tries.append(first)
        count_up(session, first)
        session.flush()
        if len(tries) <= 2:
            both.wait()
        count_up(session, second)

    threads = [
        threading.Thread(target=ledger.write, args=(crosswise, *way)) for way in ((1, 2), (2, 1))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)

    assert len(tries) == 3
    assert (seen(ledger, 1), seen(ledger, 2)) == (3, 3)


@of_postgres
def test_deadlock_is_tried_three_times_at_most(ledger):
    tries: list[int] = []

    def broken_off(session: Session) -> None:
        tries.append(1)
        session.connection().exec_driver_sql(
            "DO $$ BEGIN RAISE EXCEPTION 'broken off' USING ERRCODE = '40P01'; END $$"
        )

    with pytest.raises(LedgerUnavailableError):
        ledger.write(broken_off)

    assert len(tries) == 3


@of_postgres
def test_read_only_server_is_unavailable(ledger):
    with pytest.raises(LedgerUnavailableError), ledger.writing() as session:
        session.connection().exec_driver_sql("SET TRANSACTION READ ONLY")
        session.add(Counter(year=2026, last=7))


@of_postgres
def test_lost_connection_is_unavailable_and_the_next_act_works(ledger):
    with pytest.raises(LedgerUnavailableError), ledger.writing() as session:
        session.connection().exec_driver_sql("SELECT pg_terminate_backend(pg_backend_pid())")

    assert ledger.write(count_up, 2026) == 1


def test_server_that_is_gone_is_unavailable():
    ledger = Ledger("postgresql+psycopg://postgres@127.0.0.1:1/ledger")

    with pytest.raises(LedgerUnavailableError):
        ledger.write(count_up, 2026)
    with pytest.raises(LedgerUnavailableError), ledger.reading() as session:
        last(session, 2026)

    ledger.close()


# --- SQLite -------------------------------------------------------------------------------------


def file_of(ledger: Ledger) -> Path:
    with ledger.reading() as session:
        return Path(session.connection().exec_driver_sql("PRAGMA database_list").first()[2])


def test_sqlite_survives_power_loss_and_checks_references(sqlite_url, monkeypatch):
    monkeypatch.setattr(engine, "create_engine", create_engine)  # not the tests' faster one
    ledger = Ledger(sqlite_url)
    with ledger.writing() as session:
        found = {
            name: session.connection().exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }

    assert found == {
        "journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 5000
    }  # fmt: skip
    ledger.close()


@of_sqlite
def test_writer_holds_the_lock_from_its_start(ledger):
    other = sqlite3.connect(file_of(ledger), timeout=0)

    with ledger.writing() as session:
        session.connection()
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")

    other.close()


@of_sqlite
def test_locked_ledger_is_unavailable_for_writing_and_can_be_read(ledger, monkeypatch):
    monkeypatch.setattr(engine, "BUSY_TIMEOUT", 50)
    impatient = Ledger(str(f"sqlite:///{file_of(ledger)}"))
    other = sqlite3.connect(file_of(ledger))
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(LedgerUnavailableError):
        impatient.write(count_up, 2026)
    assert seen(impatient, 2026) is None

    other.rollback()
    assert impatient.write(count_up, 2026) == 1
    other.close()
    impatient.close()


@of_sqlite
def test_writers_of_one_process_queue(ledger, monkeypatch):
    monkeypatch.setattr(engine, "BUSY_TIMEOUT", 50)

    with ledger.writing(), pytest.raises(LedgerUnavailableError):
        ledger.write(count_up, 2026)

    assert ledger.write(count_up, 2026) == 1


@of_sqlite
def test_full_disk_is_unavailable_and_keeps_nothing(ledger):
    def fill(session: Session) -> None:
        connection = session.connection()
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
        session.add(Counter(year=2026, last=7))
        session.add(Unit(id="big", name="大" * 100_000))

    with pytest.raises(LedgerUnavailableError):
        ledger.write(fill)

    assert seen(ledger, 2026) is None


@of_sqlite
def test_missing_ledger_is_unavailable_and_none_is_made(ledger, tmp_path):
    path = tmp_path / "nowhere.db"
    lost = Ledger(f"sqlite:///{path}")

    with pytest.raises(LedgerUnavailableError):
        lost.write(count_up, 2026)

    assert not path.exists()
    lost.close()


@of_sqlite
def test_damaged_ledger_is_unavailable(ledger, tmp_path):
    path = tmp_path / "damaged.db"
    path.write_bytes(b"no database at all, only words; " * 400)
    damaged = Ledger(f"sqlite:///{path}")

    with pytest.raises(LedgerUnavailableError):
        damaged.write(count_up, 2026)

    damaged.close()


@of_sqlite
def test_restored_file_is_used_at_once(ledger, tmp_path):
    """What is written to a file that was replaced would be lost with it."""
    path, backup = file_of(ledger), tmp_path / "backup.db"
    with sqlite3.connect(path) as source, sqlite3.connect(backup) as target:
        source.backup(target)
    source.close()
    target.close()
    ledger.write(count_up, 2026)

    for side in ("-wal", "-shm"):
        Path(f"{path}{side}").unlink(missing_ok=True)
    os.replace(backup, path)

    assert seen(ledger, 2026) is None
    assert ledger.write(count_up, 2026) == 1


@of_sqlite
def test_ledger_that_was_taken_away_is_unavailable(ledger):
    path = file_of(ledger)
    ledger.write(count_up, 2026)
    path.rename(path.with_suffix(".away"))

    with pytest.raises(LedgerUnavailableError):
        ledger.write(count_up, 2026)

    path.with_suffix(".away").rename(path)
    assert ledger.write(count_up, 2026) == 2


def test_ledger_in_memory_is_no_ledger():
    with pytest.raises(ValueError, match="memory"):
        Ledger("sqlite://")


def test_account_is_one_persons(ledger):
    """R4.1-4: the database itself refuses the second."""
    with ledger.reading() as session:
        first = session.exec(select(PersonRow)).first()

    with pytest.raises(IntegrityError), ledger.writing() as session:
        session.add(
            PersonRow(
                id="another", username=first.username, name="他", unit_id=first.unit_id,
                created_at=first.created_at,
            )
        )  # fmt: skip
