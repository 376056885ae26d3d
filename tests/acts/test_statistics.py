"""Statistics: every number has its list, and the trace alone tells the same (R5.2-3)."""

import json
import random
import re
from collections.abc import Iterator
from datetime import timedelta

import pytest

from review.acts import reading, statistics
from review.acts.counting import condition
from review.records import audit
from review.records.engine import Ledger, counting
from review.records.tables import Audit, Step
from review.rules.errors import MalformedError
from review.rules.statistics import MEASURES, percentile
from tests.acting import Course
from tests.bench import years
from tests.examples import MONDAY, who

FROM, TO = MONDAY - timedelta(days=800), MONDAY + timedelta(days=60)
PAGE = re.compile(r'"rendered_digest": "[^"]*"')
OWN = ("number", "request_hash", "rendered_digest", "prev", "hash", "audit_head", "seq")


def told(ledger: Ledger, by: str = "unit", person: str = "supervisor_a", **period):
    with ledger.reading() as session:
        return statistics.statistics(
            session, who(session, person), period.get("from_", FROM), period.get("to", TO), by,
            MONDAY + timedelta(days=1),
        )  # fmt: skip


def work(ledger: Ledger) -> None:
    """Drive a course of every sort, of one content kind."""
    chance = random.Random(1)
    for sort in years.SORTS:
        draft = years._text(chance) | years.DRAFTS.get(sort, {})
        course = Course(ledger, "forest_info", **draft)
        years.RUNS.get(sort, years._through)(course, chance)


@pytest.fixture(scope="session")
def worked_template(tmp_path_factory, sqlite_template: bytes) -> bytes:
    path = tmp_path_factory.mktemp("worked") / "ledger.db"
    path.write_bytes(sqlite_template)
    ledger = Ledger(f"sqlite:///{path}")
    work(ledger)
    ledger.close()
    return path.read_bytes()


@pytest.fixture
def worked(tmp_path, worked_template: bytes) -> Iterator[Ledger]:
    path = tmp_path / "worked.db"
    path.write_bytes(worked_template)
    ledger = Ledger(f"sqlite:///{path}")
    yield ledger
    ledger.close()


def test_every_number_leads_to_as_many_items_and_the_trace_alone_tells_the_same(ledger: Ledger):
    work(ledger)

    total = told(ledger)["total"]

    for measure in MEASURES:
        with ledger.reading() as session:
            found = reading.submissions(
                session, who(session, "supervisor_a"),
                {"from": FROM, "to": TO, "counted": measure}, 200, None, MONDAY,
            )  # fmt: skip
        assert len(found["items"]) == total[measure], measure
    assert {name for name in MEASURES if total[name]} == set(MEASURES)  # none is always nothing
    with ledger.reading() as session:
        found = statistics.compare(session, FROM, TO)
    assert found["ok"] and found["items"] == len(years.SORTS) and found["decisions"] > 60


def test_ledger_that_was_touched_up_differs_from_its_trace(worked: Ledger):
    def hide_lateness(session):
        late = session.exec(statistics.select(Step).where(Step.overdue_at.is_not(None))).first()
        late.overdue_at = None
        session.add(late)
        return late.submission_id

    item = worked.write(hide_lateness)

    with worked.reading() as session:
        found = statistics.compare(session, FROM, TO)
    assert not found["ok"]
    (difference,) = found["differences"]
    assert difference["id"] == item
    assert "overdue" in difference["trace"]["counts_as"]
    assert "overdue" not in difference["ledger"]["counts_as"]


def test_rows_come_in_organisational_order_and_say_who_has_nothing(worked: Ledger):
    """A-21: no ranking."""
    other = Course(worked, "fire_info", **years._text(random.Random(9)))
    other.turn()

    found = told(worked, "unit,kind,category,month")

    assert [row["unit"] for row in found["rows"]][-1] == "fire"
    assert found["rows"][-1]["month"] == "2026-11" and found["rows"][-1]["submitted"] == 1
    nothing = [unit["id"] for unit in found["units_with_nothing"]]
    assert nothing == ["office", "afforest", "wildlife", "center", "pest"]


def test_people_count_what_they_see(worked: Ledger):
    elsewhere = told(worked, person="fire_head")

    assert elsewhere["total"]["submitted"] == 0 and elsewhere["reviewers"] is None
    assert [unit["id"] for unit in elsewhere["units_with_nothing"]] == ["fire"]
    assert told(worked, person="forest_head")["total"]["submitted"] == len(years.SORTS)


def test_step_times_are_working_hours(quick_ledger: Ledger):
    """Over a weekend nothing is counted but the hours of work."""
    course = Course(quick_ledger, now=MONDAY - timedelta(days=3) + timedelta(hours=8))  # Fri 17:00
    course.turn()
    course.wait(days=2, hours=17)  # Mon 10:00: half an hour on Friday, an hour and a half today
    course.decide("afforest_head", "unit_review")

    (step,) = told(quick_ledger)["steps"]

    assert step == {
        "step": "unit_review", "decisions": 1, "median_hours": 2.0, "p90_hours": 2.0
    }  # fmt: skip


def test_percentiles_are_of_the_nearest_rank():
    hours = [float(n) for n in range(1, 11)]
    assert (percentile(hours, 0.5), percentile(hours, 0.9)) == (5.0, 9.0)
    assert percentile([], 0.5) is None and percentile([4.0], 0.9) == 4.0


@pytest.mark.parametrize("by", ["", "unit,unit", "likes", "unit;kind"])
def test_unknown_dimensions_are_refused(quick_ledger: Ledger, by: str):
    with pytest.raises(MalformedError):
        told(quick_ledger, by)
    with pytest.raises(KeyError):
        condition("likes")


def test_statements_do_not_grow_with_the_ledger(worked: Ledger):
    with counting(worked) as few:
        told(worked)
    for unit in ("fire_info", "afforest_info"):
        course = Course(worked, unit, **years._text(random.Random(unit)))
        course.publish(course.run())
    with counting(worked) as more:
        told(worked)

    assert len(more) == len(few) <= 9


# --- the bulk path --------------------------------------------------------------------------------


def rows(ledger: Ledger, submission: str) -> dict[str, list[str]]:
    """Return an item's rows without ids and what is its own."""
    found = years.model_of(ledger, submission).rows
    return {
        name: sorted(
            years.ID.sub(
                "#",
                PAGE.sub("", json.dumps({k: _plain(v) for k, v in row.items() if k not in OWN})),
            )
            for row in held
        )
        for name, held in found.items()
    }


def _plain(value):
    if isinstance(value, str) and value[:1] in ("{", "["):
        return json.loads(value)
    return value


@pytest.mark.parametrize("sort", ["returned", "corrected", "overdue"])
def test_bulk_path_writes_what_the_acts_write(ledger: Ledger, sort: str):
    """Another unit's item of another week: the same rows and the same trace, both ways."""
    draft = years._text(random.Random(5))
    model = Course(ledger, "forest_info", **draft)
    years.RUNS[sort](model, random.Random(7))
    cast = {
        "forest": "fire", "forest_info": "fire_info", "forest_head": "fire_head",
        "leader_eco": "leader_prot",
        "forest_info-info_officer-forest": "fire_info-info_officer-fire",
        "forest_head-unit_head-forest": "fire_head-unit_head-fire",
        "leader_eco-supervising_leader-forest": "leader_prot-supervising_leader-fire",
    }  # fmt: skip
    made = years.copied(years.model_of(ledger, model.id), "2025-000001", 7, cast)
    ledger.write(_forget_likeness)
    really = Course(ledger, "fire_info", now=MONDAY - timedelta(days=7), **draft)
    years.RUNS[sort](really, random.Random(7))

    years._write(ledger, [made])

    bulk = made["submission"][0]["id"]
    assert rows(ledger, bulk) == rows(ledger, really.id)
    with ledger.reading() as session:
        trace = session.exec(
            statistics.select(Audit).where(Audit.chain == bulk).order_by(Audit.n)
        ).all()
        assert [entry.hash for entry in trace] == [audit.hash_of(entry) for entry in trace]
        why = audit.verify(session)["first_bad"]
    assert why is None or why["chain"] == "2025-"  # its number was given by nobody's counter


def _forget_likeness(session):
    """The same text again would rightly be found as a repeat."""
    session.connection().exec_driver_sql("DELETE FROM likeness")
    session.connection().exec_driver_sql("UPDATE version SET text_digest = 'x' || text_digest")
