"""A ledger with as many submissions as asked for, made in bulk from a few that were really made.

A model of each course is driven through the acts; its rows are then copied under new ids and on
other days, so a copy has the versions, steps, people asked, decisions, notices, authorisation and
publication that its model has. What differs: copies of a model share their text, the finished ones
keep the first entry of their trace alone (with its own hash, so the trace still verifies), and what
only the engine reads (milestones, nudges) and what near repeats are found by stay with the models.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlmodel import Session, col, select, update

from review.ids import new_id
from review.records.audit import hash_of
from review.records.engine import Ledger
from review.records.tables import (
    Audit,
    Authorisation,
    Decision,
    FindingRow,
    Notice,
    Outbox,
    Publication,
    Step,
    StepPerson,
    Submission,
    UtcDateTime,
    Version,
)
from review.rules.values import Status
from tests.acting import Course
from tests.examples import MONDAY

COPIED = (
    Submission, Version, Step, StepPerson, Decision, FindingRow, Authorisation, Publication, Notice
)  # fmt: skip
AUTHORS = ("afforest_info", "forest_info", "fire_info")
STOPS = ("unit_review", "edit_proof2", "second_review", "final_review", "proof3_publish")
BATCH = 500  # submissions written in one transaction
MOST_WAITING = 2_000  # people's inboxes don't grow with what is long over
BY_HAND = 20_000  # submissions; more are multiplied in the database
DAYS_BACK = 700  # over which the finished ones are spread

Row = dict[str, Any]
Rows = dict[str, list[Row]]  # by table


@dataclass(frozen=True)
class Model:
    """A submission's rows as the database has them."""

    id: str
    rows: Rows
    running: bool


def fill(
    ledger: Ledger,
    count: int,
    *,
    waiting_at_most: int = MOST_WAITING,
    authors: Sequence[str] = AUTHORS,
) -> None:
    """Bring a ledger that has the office's roster to so many submissions.

    At most 2,000 of them, and at most half, wait at one of the five steps of work news; the
    others were published in the 700 days before. From 20,000 on, those are multiplied.
    """
    if count > BY_HAND:
        fill(ledger, BY_HAND, waiting_at_most=waiting_at_most, authors=authors)
        multiply(ledger, count)
        return
    with ledger.reading() as session:
        there = len(session.exec(select(Submission.id).limit(count)).all())
    models = [one for author in authors for one in _models(ledger, author)] if not there else []
    models = models or _found(ledger)
    waiting = [one for one in models if one.running]
    over = [one for one in models if not one.running]
    still = min(waiting_at_most, count // 2)
    with ledger.reading() as session:
        there = len(session.exec(select(Submission.id).limit(count)).all())
        open_now = len(
            session.exec(select(Submission.id).where(Submission.status == Status.IN_REVIEW)).all()
        )
    for start in range(there, count, BATCH):
        made = []
        for number in range(start, min(start + BATCH, count)):
            if open_now < still:
                made.append(_copy(waiting[number % len(waiting)], number, 0))
                open_now += 1
            else:
                made.append(_copy(over[number % len(over)], number, 1 + number * 7 % DAYS_BACK))
        _write(ledger, made)
    _tidy(ledger)


def multiply(ledger: Ledger, count: int) -> None:
    """Bring a filled ledger to so many submissions by copying what is over, in the database alone.

    A copy's rows have its original's ids with a suffix and its original's hashes, so the trace of a
    multiplied ledger doesn't verify; plans, sizes and times are those of real rows.
    """
    with ledger.writing() as session:
        over = f"status = '{Status.PUBLISHED}' AND number LIKE 'copy-%'"
        there = session.execute(text("SELECT count(*) FROM submission")).scalar_one()
        done = session.execute(
            text("SELECT coalesce(max(CAST(substr(id, 28) AS integer)), 0) FROM submission"
                 " WHERE length(id) > 27")
        ).scalar_one()  # fmt: skip
        originals = session.execute(
            text(f"SELECT count(*) FROM submission WHERE {over} AND length(id) < 27")
        ).scalar_one()
    while there < count:
        done += 1
        most = min(originals, count - there)
        with ledger.writing() as session:
            session.execute(text("DROP TABLE IF EXISTS pg_temp.chosen" if not ledger.is_sqlite
                                 else "DROP TABLE IF EXISTS temp.chosen"))  # fmt: skip
            session.execute(
                text(f"CREATE TEMPORARY TABLE chosen AS SELECT id FROM submission WHERE {over}"
                     f" AND length(id) < 27 ORDER BY id LIMIT {most}")
            )  # fmt: skip
            for table in (*COPIED, Audit):
                columns = [one.name for one in table.__table__.columns if one.name != "seq"]
                key = {Submission: "id", Audit: "chain"}.get(table, "submission_id")
                values = [
                    f"\"{one}\" || '-{done}'" if one in SUFFIXED[table] else f'"{one}"'
                    for one in columns
                ]
                names = ", ".join(f'"{one}"' for one in columns)
                session.execute(
                    text(f'INSERT INTO "{table.__tablename__}" ({names})'
                         f' SELECT {", ".join(values)} FROM "{table.__tablename__}"'
                         f' WHERE "{key}" IN (SELECT id FROM chosen)')
                )  # fmt: skip
        there += most
    _tidy(ledger)


SUFFIXED: dict[Any, set[str]] = {  # what names another row of the same submission
    Submission: {"id", "number"},
    Version: {"id", "submission_id"},
    Step: {"id", "submission_id"},
    StepPerson: {"step_id", "submission_id"},
    Decision: {"id", "submission_id", "step_id", "closes_step_id"},
    FindingRow: {"id", "submission_id"},
    Authorisation: {"id", "submission_id", "decision_id"},
    Publication: {"id", "submission_id", "authorisation_id"},
    Notice: {"id", "key", "submission_id"},
    Audit: {"chain"},
}


def _models(ledger: Ledger, author: str) -> Iterator[Model]:
    """Drive submissions through the acts: one to each step, an overdue one, two to the end."""
    for number, stop in enumerate((*STOPS, "late", "", "")):
        course = Course(ledger, author, body=f"今年以来，造林绿化进展顺利，第{number}期。" * 8)
        if stop == "late":
            course.turn()
            course.wait(days=2)
        elif stop:
            course.run(until=stop)
        else:
            course.run()
            course.publish()
        yield _model(ledger, course.id)


def _found(ledger: Ledger) -> list[Model]:
    """Return the models of a ledger that is being added to: those with a number of the year."""
    with ledger.reading() as session:
        really_made = col(Submission.number).startswith(f"{MONDAY.year}-")
        first = session.exec(select(Submission.id).where(really_made)).all()
    return [_model(ledger, one) for one in first]


def _model(ledger: Ledger, submission: str) -> Model:
    rows: Rows = {}
    with ledger.reading() as session:
        for table in COPIED:
            name = str(table.__tablename__)
            key = "id" if table is Submission else "submission_id"
            given = {"id": submission}
            rows[name] = _raw(session, table, f'"{key}" = :id', given)
        rows["audit"] = _raw(session, Audit, "chain = :id", {"id": submission})
        running = session.get_one(Submission, submission).status == Status.IN_REVIEW
    return Model(submission, rows, running)


def _raw(session: Session, table: Any, condition: str, given: Row) -> list[Row]:
    """Return rows with every value as the database writes it."""
    names = [column.name for column in table.__table__.columns]
    as_text = "::text" if session.get_bind().dialect.name == "postgresql" else ""
    columns = ", ".join(f'"{name}"{as_text} AS "{name}"' for name in names)
    order = 'ORDER BY "audit"."n"' if table is Audit else ""  # the number, not its text
    statement = text(f'SELECT {columns} FROM "{table.__tablename__}" WHERE {condition} {order}')
    return [dict(row) for row in session.execute(statement, given).mappings()]


def _copy(model: Model, number: int, days_back: int) -> Rows:
    """Return a model's rows as another submission's, so many days earlier."""
    ids: Row = {row["id"]: new_id() for rows in model.rows.values() for row in rows if "id" in row}
    mine = str(ids[model.id])
    back = _moved(days_back)

    def copied(table: Any, row: Row) -> Row:
        new = {name: ids.get(value, value) for name, value in row.items()}
        for column in table.__table__.columns:
            if isinstance(column.type, UtcDateTime) and new[column.name] is not None:
                new[column.name] = back(str(new[column.name]))
        return new

    tables = {str(table.__tablename__): table for table in COPIED}
    found = {name: [copied(t, row) for row in model.rows[name]] for name, t in tables.items()}
    found["submission"][0]["number"] = f"copy-{number:06d}"
    for notice in found["notice"]:
        notice["key"] = f"{mine}:{notice['key']}"
    found["audit"] = _trace(model, copied, mine)
    found["submission"][0]["audit_n"] = len(found["audit"])
    found["submission"][0]["audit_head"] = found["audit"][-1]["hash"]
    return found


def _moved(days_back: int) -> Callable[[str], str]:
    """Return what takes a written moment so many days back."""
    known: dict[str, str] = {}

    def moved(written: str) -> str:
        day = written[:10]
        if day not in known:
            known[day] = str(date.fromisoformat(day) - timedelta(days=days_back))
        return known[day] + written[10:]

    return moved


def _trace(model: Model, copied: Callable[[Any, Row], Row], chain: str) -> list[Row]:
    """Return the entries of a copy's trace that are kept, chained anew."""
    kept = model.rows["audit"] if model.running else model.rows["audit"][:1]
    entries, before = [], ""
    for row in kept:
        new = copied(Audit, row) | {"chain": chain, "prev": before}
        new["hash"] = before = _hash(new)
        del new["seq"]
        entries.append(new)
    return entries


def _hash(row: Row) -> str:
    at = datetime.fromisoformat(row["at"])
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return hash_of(Audit(**row | {"at": at, "n": int(row["n"]), "data": json.loads(row["data"])}))


def _write(ledger: Ledger, made: list[Rows]) -> None:
    _write_tables(ledger, (*(str(table.__tablename__) for table in COPIED), "audit"), made)


def _write_tables(ledger: Ledger, names: Iterable[str], made: list[Rows]) -> None:
    """Write a batch of submissions past the models, straight by the driver."""
    with ledger.writing() as session:
        cursor: Any = session.connection().connection.cursor()
        for name in names:
            rows = [row for one in made for row in one[name]]
            if not rows:
                continue
            columns = ", ".join(f'"{column}"' for column in rows[0])
            if ledger.is_sqlite:
                places = ", ".join("?" * len(rows[0]))
                statement = f'INSERT INTO "{name}" ({columns}) VALUES ({places})'
                cursor.executemany(statement, [tuple(row.values()) for row in rows])
                continue
            with cursor.copy(f'COPY "{name}" ({columns}) FROM STDIN') as copy:
                for row in rows:
                    copy.write_row(tuple(row.values()))


def _tidy(ledger: Ledger) -> None:
    """Owe nobody anything, and let the database look at what it has."""
    with ledger.writing() as session:
        session.exec(update(Outbox).values(done_at=Outbox.at).where(col(Outbox.done_at).is_(None)))
        session.exec(update(Notice).values(mailed_at=Notice.at))
    if not ledger.is_sqlite:  # where a background process does it in time; SQLite goes without
        with ledger.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql("ANALYZE")
