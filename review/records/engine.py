"""The ledger's database: SQLite or PostgreSQL, one write transaction an act."""

import asyncio
import contextvars
import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from sqlalchemy import Connection, Engine, Table, create_engine, event, insert, make_url, text
from sqlalchemy import exc as sa
from sqlalchemy.pool import QueuePool
from sqlmodel import Session

from review.rules.digests import SHA256
from review.rules.errors import LedgerUnavailableError

T = TypeVar("T")

BUSY_TIMEOUT = 5000  # milliseconds to wait for another's write or row lock
ASK_AGAIN = 0.0005  # seconds between two tries for SQLite's write lock
PATIENCE = 10.0  # seconds an act may stand in the queue; then its sender had better come again
READERS = 4
POSTGRES_WRITERS = 8
TRIES = 3  # of a transaction that PostgreSQL broke off
MIGRATIONS = Path(__file__).parent / "migrations"
DIGESTS = "digests"  # under this name a session knows what new digests are made with
UPGRADE_LOCK = 7233  # any number, but always this one

# SQLSTATE: what a second try may mend, and what means "can't be worked with now" although
# psycopg files it elsewhere than under OperationalError.
BROKEN_OFF = {"40001", "40P01"}  # serialization_failure, deadlock_detected
READ_ONLY = "25006"
NO_TABLE = "42P01"  # the schema isn't there yet


class Writing(Session):
    """A session that also writes plain rows, which cost a fraction of what objects cost.

    For what is written once and never looked at in its transaction, such as the trace: rows go
    with the next flush, after the objects that they refer to, and one statement a table.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._rows: dict[Table, list[dict[str, Any]]] = {}

    def add_row(self, table: Table, row: dict[str, Any]) -> None:
        """Add a row with a value for every column but those that the database fills."""
        self._rows.setdefault(table, []).append(row)

    def flush(self, objects: Sequence[Any] | None = None) -> None:
        super().flush(objects)
        rows, self._rows = self._rows, {}
        for table, given in rows.items():
            self.connection().execute(insert(table), given[0] if len(given) == 1 else given)

    def commit(self) -> None:
        self.flush()  # by itself it looks at objects alone
        super().commit()


def add_row(session: Session, table: Table, row: dict[str, Any]) -> None:
    """Add a row that nothing in this transaction looks at; see `Writing`."""
    assert isinstance(session, Writing)
    session.add_row(table, row)


class Ledger:
    """Sessions on the ledger: `writing` commits one act or nothing, `reading` sees a snapshot.

    Args:
        database_url: `sqlite:///PATH` or `postgresql+psycopg://…`.
        digests: What new digests and chains are made with, `sha256` or `sm3`.
    """

    def __init__(self, database_url: str, digests: str = SHA256) -> None:
        self._info = {DIGESTS: digests}
        self.is_sqlite = database_url.startswith("sqlite")
        self._writer = _engine(database_url)
        if self.is_sqlite:
            self._reader = _sqlite(_path(database_url), "BEGIN", "PRAGMA query_only=ON")
            self._engines = [self._writer, self._reader]
        else:
            self._reader = self._writer.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )
            self._engines = [self._writer]
        # SQLite has one writer anyway; here they queue instead of polling for the file's lock.
        self._turn = threading.Lock() if self.is_sqlite else None
        self._write_threads = ThreadPoolExecutor(
            1 if self.is_sqlite else POSTGRES_WRITERS, thread_name_prefix="ledger-write"
        )
        self._read_threads = ThreadPoolExecutor(READERS, thread_name_prefix="ledger-read")

    @property
    def engine(self) -> Engine:
        """The engine that writes."""
        return self._writer

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """One write transaction: committed at the end, undone by any exception.

        On SQLite it holds the only write lock from its start. On PostgreSQL it is READ COMMITTED:
        whoever judges a row locks it first (`with_for_update`).

        Raises:
            LedgerUnavailableError: Locked for too long, full, read-only or gone; nothing is kept.
        """
        with _available(), self._transaction() as session:
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A snapshot to read from; writing there fails.

        Raises:
            LedgerUnavailableError: The ledger can't be read now.
        """
        with (
            _available(),
            Session(self._reader, expire_on_commit=False, info=self._info) as session,
        ):
            yield session

    def write(self, act: Callable[..., T], *args: Any) -> T:
        """Run `act(session, *args)` in a write transaction; again when PostgreSQL broke it off.

        Raises:
            LedgerUnavailableError: See `writing`; also when it was broken off three times.
        """
        with _available():
            for left in range(TRIES - 1, -1, -1):
                try:
                    with self._transaction() as session:
                        return act(session, *args)
                except sa.DBAPIError as error:
                    if _state(error) not in BROKEN_OFF or not left:
                        raise
        raise AssertionError("unreachable")

    async def run(self, act: Callable[..., T], *args: Any) -> T:
        """Run `act(session, *args)` in a write transaction, off the event loop.

        A caller that is cancelled stops waiting; the act itself still happens whole or not at all.

        Raises:
            LedgerUnavailableError: See `write`; also when the queue is longer than ten seconds.
        """
        return await _in(self._write_threads, lambda: self.write(act, *args))

    async def read(self, look: Callable[..., T], *args: Any) -> T:
        """Run `look(session, *args)` on a snapshot, off the event loop.

        Raises:
            LedgerUnavailableError: See `reading`; also when the queue is longer than ten seconds.
        """

        def reading() -> T:
            with self.reading() as session:
                return look(session, *args)

        return await _in(self._read_threads, reading)

    def close(self) -> None:
        """Finish what is under way and close every connection."""
        self._write_threads.shutdown()
        self._read_threads.shutdown()
        for engine in self._engines:
            engine.dispose()

    @contextmanager
    def _transaction(self) -> Iterator[Session]:
        with (
            self._my_turn(),
            Writing(self._writer, expire_on_commit=False, info=self._info) as session,
        ):
            yield session
            session.commit()

    def _my_turn(self) -> AbstractContextManager[Any]:
        if self._turn is None:
            return nullcontext()
        if not self._turn.acquire(timeout=BUSY_TIMEOUT / 1000):
            raise LedgerUnavailableError
        return _released(self._turn)


def digests_of(session: Session) -> str:
    """Return what new digests are made with: `sha256` or `sm3`."""
    return str(session.info.get(DIGESTS, SHA256))


@contextmanager
def _released(lock: threading.Lock) -> Iterator[None]:
    try:
        yield
    finally:
        lock.release()


async def _in(threads: ThreadPoolExecutor, deed: Callable[[], T]) -> T:
    """Run a deed in a pool, with the caller's context; refuse what has waited too long."""
    context = contextvars.copy_context()
    asked_at = time.monotonic()

    def run() -> T:
        if time.monotonic() - asked_at > PATIENCE:
            raise LedgerUnavailableError
        return context.run(deed)

    return await asyncio.get_running_loop().run_in_executor(threads, run)


@contextmanager
def _available() -> Iterator[None]:
    """Say of a database that can't be worked with that it is unavailable, and of nothing else."""
    try:
        yield
    except (sa.DBAPIError, sa.TimeoutError) as error:
        if isinstance(error, sa.DBAPIError) and not _is_away(error):
            raise
        raise LedgerUnavailableError from error


def _is_away(error: sa.DBAPIError) -> bool:
    if isinstance(error, (sa.OperationalError, sa.InterfaceError)) or error.connection_invalidated:
        return True
    # SQLite says of a file that is damaged or no database just "DatabaseError".
    damaged = type(error) is sa.DatabaseError
    return damaged or _state(error) in (READ_ONLY, NO_TABLE)


def _state(error: sa.DBAPIError) -> str | None:
    return getattr(error.orig, "sqlstate", None)


def _engine(database_url: str) -> Engine:
    """Return an engine whose transactions write."""
    if database_url.startswith("sqlite"):
        return _sqlite(_path(database_url), "BEGIN IMMEDIATE")
    return _postgres(database_url)


def _path(database_url: str) -> Path:
    database = make_url(database_url).database
    if not database or database == ":memory:":
        raise ValueError("the ledger is a file or a server; memory forgets")
    return Path(database).absolute()


def _sqlite(path: Path, begin: str, *pragmas: str, mode: str = "rw") -> Engine:
    """Return an engine on a file whose transactions start with `begin`."""

    def connect() -> sqlite3.Connection:
        # mode=rw: a ledger that is gone is an error, not a new and empty ledger
        connection = sqlite3.connect(
            f"file:{quote(str(path))}?mode={mode}",
            uri=True,
            timeout=BUSY_TIMEOUT / 1000,
            check_same_thread=False,
            isolation_level=None,  # the driver begins nothing by itself; see `begun`
        )
        for pragma in (
            "PRAGMA journal_mode=WAL",
            "PRAGMA synchronous=FULL",  # an acknowledged act survives power loss
            "PRAGMA foreign_keys=ON",
            *pragmas,
        ):
            connection.execute(pragma)
        return connection

    engine = create_engine(
        "sqlite://",
        hide_parameters=True,  # an error never quotes what people wrote
        creator=connect,
        poolclass=QueuePool,
        pool_size=READERS + 2,
        pool_timeout=BUSY_TIMEOUT / 1000,
    )

    @event.listens_for(engine, "connect")
    def connected(_connection: Any, record: Any) -> None:
        record.info["file"] = _identity(path)

    @event.listens_for(engine, "checkout")
    def checked_out(_connection: Any, record: Any, _proxy: Any) -> None:
        # Another file in its place (a restored backup): what is written to the old one is lost.
        if _identity(path) != record.info["file"]:
            raise sa.DisconnectionError("the ledger's file was replaced")

    @event.listens_for(engine, "reset")
    def given_back(connection: Any, _record: Any, _state: Any) -> None:
        # After a commit that failed (disk full) SQLite may keep the transaction and its lock.
        if connection.in_transaction:
            connection.rollback()

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        # A writer takes the lock at once: no two acts judge the same state.
        if begin == "BEGIN IMMEDIATE":
            _wait_for_write_lock(connection, path.with_name(f"{path.name}.turn"))
        else:
            connection.exec_driver_sql(begin)

    return engine


def _wait_for_write_lock(connection: Connection, turnstile: Path) -> None:
    """Begin to write as soon as the other process lets go, each process in its turn.

    SQLite's own waiting sleeps longer each time, up to a tenth of a second, and so sleeps through
    the moments in which the lock is free; and a process with many acts to do would take it again
    before another one looks. Whoever waits therefore stands in a turnstile that the next must pass.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT / 1000
    raw: Any = connection.connection.dbapi_connection
    raw.execute("PRAGMA busy_timeout=0")
    try:
        with _in_turn(turnstile, deadline):
            while time.monotonic() < deadline:
                try:
                    raw.execute("BEGIN IMMEDIATE")
                    return
                except sqlite3.OperationalError as error:
                    if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                        break
                time.sleep(ASK_AGAIN)
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # the error is to be SQLAlchemy's
    finally:
        raw.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT}")


@contextmanager
def _in_turn(turnstile: Path, deadline: float) -> Iterator[None]:
    """Stand in the turnstile; it only makes waiting fair, so without one we go on all the same."""
    try:
        descriptor = os.open(turnstile, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        yield
        return
    try:
        while time.monotonic() < deadline:
            with suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            time.sleep(ASK_AGAIN)
        yield
    finally:
        os.close(descriptor)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _postgres(database_url: str) -> Engine:
    url = make_url(database_url)
    arguments: dict[str, Any] = {"connect_timeout": 5}
    if "options" not in url.query:
        arguments["options"] = f"-c lock_timeout={BUSY_TIMEOUT}"
    return create_engine(
        url,
        hide_parameters=True,  # an error never quotes what people wrote
        isolation_level="READ COMMITTED",
        pool_size=POSTGRES_WRITERS + READERS,
        pool_timeout=BUSY_TIMEOUT / 1000,
        pool_pre_ping=True,
        connect_args=arguments,
    )


@contextmanager
def counting(ledger: Ledger) -> Iterator[list[str]]:
    """Collect the statements sent to the ledger, for tests that assert how many there are.

    Begin and commit are not among them.
    """
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        if not statement.startswith("BEGIN"):
            statements.append(statement)

    for engine in ledger._engines:
        event.listen(engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        for engine in ledger._engines:
            event.remove(engine, "before_cursor_execute", note)


def upgrade(database_url: str) -> None:
    """Bring the ledger's tables up to date; harmless when they are, or when two do it at once.

    All or nothing: the migrations run in one transaction on both databases.

    Raises:
        sqlalchemy.exc.SQLAlchemyError, alembic.util.CommandError, OSError: It can't be done.
    """
    if database_url.startswith("sqlite"):
        path = _path(database_url)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_name(path.name + ".upgrade").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # let go when the file is closed
            path.touch(mode=0o600)
            # A table that is made anew leaves its references dangling for a moment.
            _upgrade(_sqlite(path, "BEGIN IMMEDIATE", "PRAGMA foreign_keys=OFF"))
    else:
        _upgrade(_postgres(database_url))


def _upgrade(engine: Engine) -> None:
    from alembic import command  # it loads much that only a start needs
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    try:
        with engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SET LOCAL lock_timeout = 0"))
                connection.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": UPGRADE_LOCK})
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            if connection.dialect.name == "sqlite":
                dangling = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
                if dangling is not None:
                    raise sa.InvalidRequestError(f"a row of {dangling[0]} refers to nothing")
    finally:
        engine.dispose()
