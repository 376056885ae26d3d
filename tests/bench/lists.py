"""What people look at all day, over ledgers of growing size: time, processor and statements each.

The application is called in this process, past the network, so processor time is the server's own;
a ping of the same application (`/healthz`) is the floor.
"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from sqlmodel import Session, col, select

from review.records.access import Access, issue_token, open_session
from review.records.engine import Ledger, counting, upgrade
from review.records.tables import PersonRow, Step
from review.rules.values import StepState
from review.settings import Settings
from starter.reviews import Reviews
from starter.web.app import create_app
from tests.bench.figures import Figure, ms, share
from tests.bench.ledgers import fill
from tests.examples import MONDAY, office

NOW = MONDAY + timedelta(hours=1)
SIZES = (1_000, 10_000, 100_000, 1_000_000)
REVIEWER, OVERSEER, OFFICER = "editor_a", "supervisor_a", "afforest_info"
A_HUNDRED = 100


@dataclass(frozen=True)
class Look:
    """A request, who sends it, and whether as a browser does."""

    what: str
    path: str
    who: str
    page: bool = False


@dataclass
class Took:
    """What a request cost, each time."""

    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    statements: int = 0


def looks(item: str) -> list[Look]:
    """Return the requests that are measured, about an item that waits for the reviewer."""
    return [
        Look("floor: GET /healthz", "/healthz", REVIEWER),
        Look("GET /api/v1/inbox, 40 rows", "/api/v1/inbox?limit=40", REVIEWER),
        Look("GET /api/v1/inbox, 200 rows", "/api/v1/inbox?limit=200", REVIEWER),
        Look("GET /api/v1/submissions/{id}", f"/api/v1/submissions/{item}", REVIEWER),
        Look("GET /api/v1/submissions", "/api/v1/submissions", REVIEWER),
        Look("GET /api/v1/submissions, a unit's", "/api/v1/submissions?status=in_review", OFFICER),
        Look("GET /api/v1/board", "/api/v1/board", OVERSEER),
        Look("page / (inbox)", "/", REVIEWER, page=True),
        Look("page /?tab=mine", "/?tab=mine", OFFICER, page=True),
        Look("page /?tab=done", "/?tab=done", REVIEWER, page=True),
        Look("page /?tab=told", "/?tab=told", OFFICER, page=True),
        Look("page /items/{id}", f"/items/{item}", REVIEWER, page=True),
        Look("page /items", "/items", OVERSEER, page=True),
        Look("page /items?show=overdue", "/items?show=overdue", OVERSEER, page=True),
        Look("page /board", "/board", OVERSEER, page=True),
    ]


class Place:
    """The application over a ledger, called as a server would call it."""

    def __init__(self, ledger: Ledger, data: Path) -> None:
        self.ledger = ledger
        secret = b"s" * 48
        settings = Settings(data=data, secret_key=secret.decode(), _env_file=None)
        self._app: FastAPI = create_app(
            Reviews(ledger, None, clock=lambda: NOW, secret=secret),
            Access(ledger, clock=lambda: NOW, secret=secret),
            settings,
        )
        people = (REVIEWER, OVERSEER, OFFICER)
        self._headers = {
            (who, page): ledger.write(_signed_in, who, page)
            for who in people
            for page in (False, True)
        }

    def waiting(self) -> str:
        """Return an item that waits for the reviewer."""

        def found(session: Session) -> str:
            statement = (
                select(Step.submission_id)
                .where(Step.state == StepState.OPEN)
                .where(Step.key == "edit_proof2")
                .order_by(col(Step.id))
            )
            return session.exec(statement.limit(1)).one()

        with self.ledger.reading() as session:
            return found(session)

    async def get(self, look: Look) -> tuple[int, bytes]:
        """Send a request; return its status and body."""
        path, _, query = look.path.partition("?")
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET",
            "scheme": "http", "path": path, "raw_path": path.encode(),
            "query_string": query.encode(), "root_path": "", "client": ("192.0.2.1", 1),
            "server": ("test", 80), "headers": self._headers[look.who, look.page],
        }  # fmt: skip
        status, body = 0, b""

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            nonlocal status, body
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                body += message.get("body", b"")

        await self._app(scope, receive, send)
        return status, body


def _signed_in(session: Session, who: str, page: bool) -> list[tuple[bytes, bytes]]:
    """Return the headers that show who somebody is, as a program or as a browser."""
    if not page:
        token = issue_token(session, who, "bench", NOW)
        return [(b"authorization", f"Bearer {token}".encode())]
    row = session.get_one(PersonRow, who)
    opened = open_session(session, who, row.password_hash, NOW)
    assert opened is not None, who
    cookie = f"sanshen_session={opened.secret}".encode()
    return [(b"cookie", cookie), (b"accept", b"text/html"), (b"accept-encoding", b"gzip")]


async def measure(place: Place, look: Look, rounds: int) -> Took:
    """Send a request again and again, after a first one that fills caches."""
    status, body = await place.get(look)
    if status != 200:
        raise RuntimeError(f"{look.path}: {status} {body[:300]!r}")
    took = Took()
    with counting(place.ledger) as statements:
        await place.get(look)
    took.statements = len(statements)
    for _ in range(rounds):
        processor, began = time.process_time(), time.perf_counter()
        await place.get(look)
        took.wall.append(time.perf_counter() - began)
        took.processor.append(time.process_time() - processor)
    return took


@contextmanager
def ledger_at(folder: Path, url: str | None) -> Iterator[Ledger]:
    """Open a ledger with the office's roster: the one of a URL, or a new SQLite file."""
    url = url or f"sqlite:///{folder / 'lists.db'}"
    upgrade(url)
    ledger = Ledger(url)
    try:
        ledger.write(office, MONDAY)
        yield ledger
    finally:
        ledger.close()


def _size(ledger: Ledger) -> int:
    """Return the bytes of tables and indexes."""
    with ledger.engine.connect() as connection:
        if ledger.is_sqlite:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            return int(pages * connection.exec_driver_sql("PRAGMA page_size").scalar_one())
        size = "SELECT pg_database_size(current_database())"
        return int(connection.exec_driver_sql(size).scalar_one())


async def bench(
    folder: Path, *, most: int = SIZES[-1], rounds: int = A_HUNDRED, url: str | None = None
) -> list[Figure]:
    """Measure each request at 1,000, 10,000 … submissions, up to `most`; and the ledger's size.

    Args:
        url: An empty PostgreSQL database; without it, a SQLite file.
    """
    figures: list[Figure] = []
    which = "PostgreSQL" if url else "SQLite"
    with ledger_at(folder, url) as ledger:
        for size in [*(size for size in SIZES if size < most), most]:
            await asyncio.to_thread(fill, ledger, size)
            each = _size(ledger) / size
            figures.append(
                Figure(
                    f"{size:,}: ledger a submission, {which}", f"{each / 1024:.1f} KiB",
                    numbers={"of": f"bytes, {which}", "x": size, "bytes": round(each)},
                )
            )  # fmt: skip
            place = Place(ledger, folder)
            floor = ""
            for look in looks(place.waiting()):
                took = await measure(place, look, rounds)
                figures.append(
                    Figure(
                        f"{size:,}: {look.what}",
                        f"{ms(took.wall)}, processor {share(took.processor, 0.5) * 1000:.1f} ms,"
                        f" {took.statements} statements",
                        floor,
                        "p99 50 ms" if floor else "",
                        {
                            "of": f"{look.what}, {which}",
                            "x": size,
                            "processor_ms": round(share(took.processor, 0.5) * 1000, 2),
                            "statements": took.statements,
                        },
                    )
                )
                floor = floor or ms(took.wall)
    return figures
