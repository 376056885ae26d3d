"""Twenty people who decide, items that wait for them, and a look at which steps are open."""

import itertools
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from review.acts import submitting
from review.records.engine import Ledger
from tests.examples import CHECKLIST, a_draft, who
from tests.faults.caller import Caller
from tests.faults.whole import fill

UNITS = ("afforest", "forest", "fire")
MORE = {
    **{f"{unit}_head{n}": (unit, "unit_head", unit) for unit in UNITS for n in (2, 3)},
    "editor_c": ("center", "center_editor", ""),
    "editor_d": ("center", "center_editor", ""),
    "deputy_d": ("center", "center_deputy", ""),
    "chief_b": ("center", "center_chief", ""),
}
DECIDERS = {
    **{f"unit_review/{unit}": (f"{unit}_head", f"{unit}_head2", f"{unit}_head3") for unit in UNITS},
    "edit_proof2": ("editor_a", "editor_b", "editor_c", "editor_d"),
    "second_review": ("deputy_b", "deputy_c", "deputy_d"),
    "final_review": ("chief", "chief_b"),
    "proof3_publish": ("publisher_a", "publisher_b"),
}
STEPS = ("unit_review", "edit_proof2", "second_review", "final_review", "proof3_publish")
AUTHORS = {"afforest": "afforest_info", "forest": "forest_info", "fire": "fire_info"}


def set_up(
    data: Path, waiting: int, url: str = "", more: dict[str, tuple[str, str, str]] | None = None
) -> dict[str, str]:
    """Make a ledger with the staff, and more of them, and as many submissions waiting.

    Returns:
        The tokens by name.
    """
    tokens = fill(data, MORE | (more or {}), url)
    ledger = Ledger(url or f"sqlite:///{data / 'ledger.db'}")
    for start in range(0, waiting, 100):
        ledger.write(_submit, range(start, min(start + 100, waiting)))
    ledger.close()
    return tokens


def _submit(session: Any, numbers: range) -> None:
    now = datetime.now(UTC)
    for number in numbers:
        unit = UNITS[number % len(UNITS)]
        draft = a_draft(
            title=f"第{number}期造林绿化工作动态",
            body=f"今年以来，造林绿化进展顺利，第{number}期。" * 8,
        )
        submitting.submit(session, who(session, AUTHORS[unit], now), draft, way_in="api", now=now)


class Staff:
    """The deciders over HTTP, each as themself."""

    def __init__(self, url: str, tokens: dict[str, str]) -> None:
        self._url = url
        self._callers = {name: Caller(token) for name, token in tokens.items()}
        self._turns = {step: itertools.cycle(people) for step, people in DECIDERS.items()}

    def decider(self, step: str, unit: str) -> str:
        return next(self._turns[f"{step}/{unit}" if step == "unit_review" else step])

    async def call(self, who: str, method: str, path: str, body: Any = None, key: str = "") -> Any:
        status, answer = await self._callers[who].call(self._url, method, path, body, key, 30)
        if status >= 300:
            raise RuntimeError(f"{method} {path}: {status} {answer}")
        return answer

    async def approve(self, item: str, digest: str, step: str, unit: str) -> tuple[str, Any]:
        """Approve a step as one of those who may; returns who it was and the answer."""
        name = self.decider(step, unit)
        body = {"step": step, "verdict": "approve", "digest": digest}
        if step == "unit_review":
            body["checklist"] = CHECKLIST  # type: ignore[assignment]
        path = f"/api/v1/submissions/{item}/decisions"
        return name, await self.call(name, "POST", path, body, f"{item}.{step}")

    def close(self) -> None:
        for caller in self._callers.values():
            caller.close()


class Look:
    """Reads from the ledger's file, beside the processes that are measured and at little cost."""

    NOW = "datetime('now')"

    def __init__(self, data: Path) -> None:
        self._db = sqlite3.connect(f"file:{data / 'ledger.db'}?mode=ro", uri=True)

    def rows(self, statement: str, *args: Any) -> list[Any]:
        return self._db.execute(statement, args).fetchall()

    def one(self, statement: str, *args: Any) -> Any:
        return self._db.execute(statement, args).fetchone()[0]

    def open_step(self, item: str) -> str | None:
        found = self.rows("SELECT key FROM step WHERE submission_id=? AND state='open'", item)
        return found[0][0] if found else None

    def status(self, item: str) -> str:
        return str(self.one("SELECT status FROM submission WHERE id=?", item))

    def is_quiet(self) -> bool:
        """Tell whether the engine is owed nothing and nobody a mail that may go out now."""
        owed = self.one("SELECT count(*) FROM outbox WHERE done_at IS NULL")
        unmailed = (
            f"SELECT count(*) FROM notice WHERE mailed_at IS NULL AND not_before <= {self.NOW}"
        )
        return not owed and not self.one(unmailed)

    def close(self) -> None:
        self._db.close()


class PostgresLook(Look):
    """The same on PostgreSQL, over a connection of its own."""

    NOW = "now()"

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url.replace("+psycopg", ""), autocommit=True)

    def rows(self, statement: str, *args: Any) -> list[Any]:
        return self._connection.execute(statement.replace("?", "%s"), args).fetchall()  # type: ignore[arg-type]

    def one(self, statement: str, *args: Any) -> Any:
        return self.rows(statement, *args)[0][0]

    def close(self) -> None:
        self._connection.close()
