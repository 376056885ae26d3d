"""What people look at all day costs the same whatever else is in the ledger: statements and plans.

Every statement of a request is run again under EXPLAIN. Following a condition over an index may
cost what a person's own rows cost; reading a table or an index that grows from end to end may not,
but for a page of the newest first, which ends with its last line.
"""

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event
from sqlmodel import Session, select

from review.acts import waiting
from review.records.engine import Ledger
from review.records.tables import Delegation, PersonRow, Step, StepPerson
from tests.acting import Course
from tests.bench.ledgers import fill
from tests.bench.lists import Look, Place, looks
from tests.examples import MONDAY, who

FEW, MANY = 60, 600
MOST_STATEMENTS = 22
GROWING = (
    "submission", "version", "step", "stepperson", "decision", "finding", "authorisation",
    "publication", "notice", "audit", "attempt", "remark", "milestone", "outbox",
)  # fmt: skip
# Ends with the page: the newest first, by the key; and the board's count of items by status.
NEWEST_FIRST = re.compile(r"sqlite_autoindex_submission_1|COVERING INDEX ix_submission_list")
SCANNED = re.compile(rf"^SCAN ({'|'.join(GROWING)})\b")
ANY_OF_A_STATE = "ix_step_open"  # open steps are few; those over are nearly all


@pytest.fixture(scope="module")
def place(
    tmp_path_factory: pytest.TempPathFactory, sqlite_template: bytes
) -> Iterator[tuple[Ledger, Path]]:
    folder = tmp_path_factory.mktemp("lists")
    (folder / "ledger.db").write_bytes(sqlite_template)
    ledger = Ledger(f"sqlite:///{folder / 'ledger.db'}")
    fill(ledger, FEW)
    yield ledger, folder
    ledger.close()


async def sent(place: Place, look: Look) -> list[tuple[str, Any]]:
    """Return the statements of a request, the second time it is made, with their parameters."""
    statements: list[tuple[str, Any]] = []

    def note(_c: Connection, _cursor: Any, statement: str, given: Any, *_more: Any) -> None:
        if not statement.startswith("BEGIN"):
            statements.append((statement, given))

    engines = {place.ledger._reader, place.ledger._writer}
    assert (await place.get(look))[0] == 200, look
    for engine in engines:
        event.listen(engine, "before_cursor_execute", note)
    try:
        await place.get(look)
    finally:
        for engine in engines:
            event.remove(engine, "before_cursor_execute", note)
    return statements


def wasteful(ledger: Ledger, statements: list[tuple[str, Any]]) -> list[str]:
    """Return the steps of SQLite's plans that read a growing table from end to end."""
    found = []
    with ledger.reading() as session:
        connection = session.connection()
        for statement, given in statements:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", given)
            for *_, line in plan:
                walks = SCANNED.match(line) and not NEWEST_FIRST.search(line)
                over = ANY_OF_A_STATE in line and "decided" in map(str, given)
                if walks or (over and "'open'" not in statement and "open" not in given):
                    found.append(f"{line}  <-  {statement[:200]}")
    return found


async def test_no_request_sends_more_statements_or_scans_for_more_rows(
    place: tuple[Ledger, Path],
):
    """Issue 4, Quality; issue 2, Budgets: none growing with the number of submissions."""
    ledger, folder = place
    few = Place(ledger, folder)
    before = {look.what: await sent(few, look) for look in looks(few.waiting())}
    fill(ledger, MANY)
    many = Place(ledger, folder)
    for look in looks(many.waiting()):
        statements = await sent(many, look)
        # a page may learn more with rows to tell of, but not more with more of them
        assert len(statements) <= len(before[look.what]) + 1, look.what
        assert len(statements) <= MOST_STATEMENTS, (look.what, len(statements))
        assert wasteful(ledger, statements) == [], look.what


async def test_an_inbox_is_one_statement_beside_who_asks(place: tuple[Ledger, Path]):
    ledger, folder = place
    here = Place(ledger, folder)
    inbox = Look("inbox", "/api/v1/inbox?limit=40", "editor_a")
    assert len(await sent(here, inbox)) == 2


def test_plans_that_walk_are_told(place: tuple[Ledger, Path]):
    """The net holds: a statement that walks a growing table is told."""
    ledger, _ = place
    assert wasteful(ledger, [("SELECT count(*) FROM notice WHERE kind = ?", ("urge",))])
    assert wasteful(ledger, [("SELECT tier FROM step WHERE state = ?", ("decided",))])


def test_an_inbox_shows_the_own_and_the_absent_persons_steps(ledger: Ledger):
    """On both databases: whoever is asked themselves as well decides as themselves (A-28)."""
    course = Course(ledger)
    course.turn()
    letter = Delegation(
        id="a", from_id="afforest_head", to_id="zoe", from_at=MONDAY,
        until_at=MONDAY + timedelta(days=1),
    )  # fmt: skip

    def roster(session: Session) -> None:
        session.add(
            PersonRow(id="zoe", username="zoe", name="zoe", unit_id="forest", created_at=MONDAY)
        )
        session.flush()
        session.add(letter)

    ledger.write(roster)
    with ledger.reading() as session:
        zoe = who(session, "zoe")
        seen = waiting.inbox(session, zoe, 10, None, MONDAY)["items"]
        assert [(one["id"], one["why"], one["acting_for"]) for one in seen] == [
            (course.id, "delegation", "afforest_head")
        ]
        assert waiting.count(session, zoe, 10, MONDAY) == 1
        after = waiting.inbox(session, zoe, 10, seen[0]["after"], MONDAY)
        assert after == {"items": [], "next": None}

    def ask(session: Session) -> None:
        step = session.exec(select(Step).where(Step.state == "open")).one()
        row = StepPerson(
            step_id=step.id, person_id="zoe", submission_id=course.id, why="backup", since=MONDAY
        )
        session.add(row)

    ledger.write(ask)
    with ledger.reading() as session:
        [own] = waiting.inbox(session, zoe, 10, None, MONDAY)["items"]
    assert (own["why"], own["acting_for"]) == ("backup", None)
