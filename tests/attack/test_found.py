"""What the machine found once, each as one small course; both databases."""

import sqlite3

import pytest
from sqlmodel import text

from review.records.engine import Ledger
from review.rules.errors import LedgerUnavailableError
from tests.acting import Course

EVENT = "2026-11-23T08:30:00+08:00"


def test_authorisation_that_ran_out_unseen_asks_the_final_review_again(ledger):
    """A-18; the engine was away from the final review on until the authorisation was over."""
    course = Course(ledger, "fire_info", category="emergency", event_time=EVENT)
    course.run(until="final_review")
    course.decide("bureau_chief", "final_review")

    course.wait(hours=25)
    position = course.turn()

    assert [step.step for step in position.open_steps] == ["final_review"]
    assert course.publish(course.run()).status == "published"


def test_step_whose_shorter_limit_is_over_when_it_is_raised_is_not_forgotten(ledger):
    """A-1, A-14: a silent office does not hold an emergency's clock."""
    course = Course(ledger, "fire_info", category="important", kind="interpretation")
    course.run(until="office_opinion")
    course.wait(hours=1)

    course.act("bureau_chief", "set_category", category="emergency")
    course.turn()
    position = course.turn()

    assert [step.step for step in position.open_steps] == ["final_review"]


def test_step_that_a_raise_made_late_comes_to_the_superior(ledger):
    """A-14."""
    course = Course(ledger, "fire_info", category="important", kind="interpretation")
    course.turn()
    course.wait(hours=2)

    course.act("deputy_b", "set_category", category="emergency")
    course.turn()
    position = course.turn()

    (step,) = position.open_steps
    assert step.step == "unit_review"
    assert "leader_prot" in step.people


def test_commit_that_failed_leaves_no_lock_behind(
    quick_ledger: Ledger, sqlite_url: str, monkeypatch
):
    """The next act of this process, and of another one, is taken."""
    dialect = quick_ledger.engine.dialect

    def full(_connection):
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(dialect, "do_commit", full)
        with pytest.raises(LedgerUnavailableError):
            quick_ledger.write(lambda s: s.exec(text("UPDATE counter SET last = 1")))

    other = Ledger(sqlite_url)
    other.write(lambda s: s.exec(text("UPDATE counter SET last = 2")))
    quick_ledger.write(lambda s: s.exec(text("UPDATE counter SET last = 3")))
    other.close()
