"""What people look at all day costs the same whatever else is in the ledger: statements and plans.

Every statement of a request is run again under EXPLAIN. Following a condition over an index may
cost what a person's own rows cost; reading a table or an index that grows from end to end may not,
but for a page of the newest first, which ends with its last line.
"""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event
from sqlmodel import Session, select

from review.acts import reading, waiting
from review.records.engine import Ledger
from review.records.tables import Delegation, PersonRow, Step, StepPerson, Submission
from review.records.tallies import SubmissionTally
from review.requests import DecisionRequest
from starter.reviews import Reviews
from tests.acting import Course
from tests.bench.ledgers import fill, multiply
from tests.bench.lists import NOW, Look, Place, looks
from tests.examples import MONDAY, who
from tests.postgres import drop_database, fresh_database

FEW, MANY = 60, 600
MOST_STATEMENTS = 25
GROWING = (
    "submission", "version", "step", "stepperson", "decision", "finding", "authorisation",
    "publication", "notice", "audit", "attempt", "remark", "milestone", "outbox",
)  # fmt: skip
# Ends with the page: the newest first, by the key.
NEWEST_FIRST = re.compile(r"sqlite_autoindex_submission_1")
SCANNED = re.compile(rf"^SCAN ({'|'.join(GROWING)})\b")
ANY_OF_A_STATE = "ix_step_open"  # open steps are few; those over are nearly all


@pytest.fixture(scope="module")
def place(
    tmp_path_factory: pytest.TempPathFactory, sqlite_template: bytes
) -> Iterator[tuple[Ledger, Path]]:
    folder = tmp_path_factory.mktemp("lists")
    (folder / "ledger.db").write_bytes(sqlite_template)
    ledger = Ledger(f"sqlite:///{folder / 'ledger.db'}")
    fill(ledger, FEW, authors=["afforest_info"])
    yield ledger, folder
    ledger.close()


@contextmanager
def noting(ledger: Ledger) -> Iterator[list[tuple[str, Any]]]:
    """Collect the statements sent to a ledger, with their parameters."""
    statements: list[tuple[str, Any]] = []

    def note(_c: Connection, _cursor: Any, statement: str, given: Any, *_more: Any) -> None:
        if not statement.startswith("BEGIN"):
            statements.append((statement, given))

    # what is noted of the writer of PostgreSQL is also noted of its reader
    engines = [ledger._writer, ledger._reader] if ledger.is_sqlite else [ledger._writer]
    for engine in engines:
        event.listen(engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        for engine in engines:
            event.remove(engine, "before_cursor_execute", note)


async def sent(place: Place, look: Look) -> list[tuple[str, Any]]:
    """Return the statements of a request, the second time it is made, with their parameters."""
    assert (await place.get(look))[0] == 200, look
    with noting(place.ledger) as statements:
        await place.get(look)
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


# --- the same on PostgreSQL, whose planner goes by statistics -------------------------------------

ROWS = 3_000  # enough that a scan would cost more than what a request looks at
WAITING = 40
MOST_READ = (
    400  # rows that a plan's step may expect to read: far more than a page, far less than ROWS
)


@pytest.fixture(scope="module")
def server_place(
    postgres: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Ledger, Path]]:
    url = fresh_database(postgres)
    ledger = Ledger(url)
    fill(ledger, 120, waiting_at_most=WAITING, authors=["afforest_info"])
    multiply(ledger, ROWS)
    yield ledger, tmp_path_factory.mktemp("lists")
    ledger.close()
    drop_database(postgres, url)


def steps_of(plan: Any, limited: bool = False) -> Iterator[tuple[Any, bool]]:
    """Yield a plan's steps, each with whether it ends as soon as a page is full."""
    limited = (limited or plan["Node Type"] == "Limit") and plan["Node Type"] not in (
        "Sort", "Aggregate", "Hash", "Bitmap Heap Scan"
    )  # fmt: skip
    yield plan, limited
    for below in plan.get("Plans", ()):
        yield from steps_of(below, limited)


def scans(ledger: Ledger, statements: list[tuple[str, Any]]) -> list[str]:
    """Return the steps of PostgreSQL's plans that read a growing table from end to end, or much."""
    found = []
    with ledger.engine.connect() as connection:
        sizes = connection.exec_driver_sql(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND reltuples >= 100"
        )
        large = set(sizes.scalars()) & set(GROWING)  # what has a page or two is always scanned
        for statement, given in statements:
            if not statement.startswith(("SELECT", "UPDATE", "DELETE", "WITH")):
                continue
            told = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", given)
            [plan] = told.scalar_one()
            for step, limited in steps_of(plan["Plan"]):
                kind = step["Node Type"]
                if step.get("Relation Name") not in large or limited or kind == "ModifyTable":
                    continue
                by_index = "Index Cond" in step or kind == "Bitmap Heap Scan"
                if not by_index or step["Plan Rows"] > MOST_READ:
                    found.append(
                        f"{kind} {step['Relation Name']} of {step['Plan Rows']}  <-  {statement}"
                    )
        connection.rollback()
    return found


async def test_postgresql_scans_nothing_that_grows(server_place: tuple[Ledger, Path]):
    """Issue 7: plans of the lists, the board, an item and a decision, with statistics."""
    ledger, folder = server_place
    place = Place(ledger, folder)
    for look in looks(place.waiting()):
        assert scans(ledger, await sent(place, look)) == [], look.what


async def test_a_decision_scans_nothing_that_grows(
    server_place: tuple[Ledger, Path], place: tuple[Ledger, Path]
):
    for ledger, _ in (server_place, place):
        item = Place(ledger, Path()).waiting()
        reviews = Reviews(ledger, None, clock=lambda: NOW)
        with ledger.reading() as session:
            chosen = session.get_one(Submission, item)
            editor = who(session, "editor_a")
        request = DecisionRequest(
            step="edit_proof2", verdict="approve", digest=chosen.digest, round=chosen.round
        )
        with noting(ledger) as statements:
            await reviews.decide(editor, item, request, decision_id=None, way_in="api")
        told = wasteful if ledger.is_sqlite else scans
        assert statements
        assert told(ledger, [one for one in statements if "SAVEPOINT" not in one[0]]) == []


def test_scans_of_postgresql_are_told(server_place: tuple[Ledger, Path]):
    """The net holds: a scan is told, and an index that is followed through nearly all rows."""
    ledger, _ = server_place
    assert scans(ledger, [("SELECT count(*) FROM notice WHERE kind = 'urge'", ())])
    assert scans(ledger, [("SELECT tier FROM step WHERE state = 'decided'", ())])
    assert scans(ledger, [("SELECT id FROM submission WHERE status = 'published' ORDER BY id", ())])
    assert not scans(ledger, [("SELECT id FROM submission ORDER BY id DESC LIMIT 3", ())])


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


def test_the_tally_is_what_counting_finds(ledger: Ledger):
    """On both databases: what comes, moves and goes is counted as it does, undone acts are not."""
    course = Course(ledger)
    course.run(until="edit_proof2")
    course.act(course.author, "withdraw")
    gone = Course(ledger, now=course.now, title="第二期造林绿化工作动态")
    Course(ledger, "fire_info", now=course.now, title="防火工作动态")

    def break_off(session: Session) -> None:
        session.get_one(Submission, gone.id).status = "rejected"
        session.flush()
        raise LookupError

    with pytest.raises(LookupError):
        ledger.write(break_off)

    def counted(session: Session) -> tuple[dict[Any, int], dict[Any, int]]:
        tally = session.exec(select(SubmissionTally).where(SubmissionTally.items != 0)).all()
        rows = Counter((one.status, one.unit_id) for one in session.exec(select(Submission)))
        return {(one.status, one.unit_id): one.items for one in tally}, dict(rows)

    tally, rows = ledger.write(counted)
    assert tally == rows and sum(rows.values()) == 3
    with ledger.reading() as session:
        shown = reading.board(session, who(session, "supervisor_a"), course.now)["statuses"]
    assert shown == {"withdrawn": 1, "in_review": 2}

    def drop(session: Session) -> None:
        copied = dict(session.get_one(Submission, gone.id)) | {"id": "x", "number": "x"}
        session.add(Submission(**copied))
        session.flush()
        session.delete(session.get_one(Submission, "x"))

    ledger.write(drop)
    tally, rows = ledger.write(counted)
    assert tally == rows
