"""A calendar that is imported sets open deadlines anew (3.4)."""

from datetime import date, timedelta

from review.acts.adopting import adopt_calendar, adopt_first_calendar
from review.packs import builtin_calendar, load_calendar
from tests.acting import Course


def test_new_days_off_move_open_deadlines(quick_ledger, monday):
    course = Course(quick_ledger)
    was = course.turn().open_steps[0].due_at
    shipped = load_calendar(builtin_calendar())
    changed = shipped.model_copy(
        update={"version": "2026b", "days_off": shipped.days_off | {date(2026, 11, 23)}}
    )

    assert quick_ledger.write(adopt_calendar, changed, monday)
    position = course.turn()

    assert was.day == 23
    assert position.open_steps[0].due_at.day == 24
    assert not quick_ledger.write(adopt_calendar, changed, monday)


def test_new_days_off_leave_a_deadline_that_a_person_set(quick_ledger, monday):
    course = Course(quick_ledger)
    course.turn()
    chosen = monday + timedelta(hours=5)
    course.act("supervisor_a", "set_deadline", step="unit_review", due_at=chosen, reason="x")
    shipped = load_calendar(builtin_calendar())
    changed = shipped.model_copy(
        update={"version": "2026b", "days_off": shipped.days_off | {date(2026, 11, 23)}}
    )

    quick_ledger.write(adopt_calendar, changed, monday)

    assert course.turn().open_steps[0].due_at == chosen


def test_shipped_calendar_never_replaces_an_imported_one(quick_ledger, monday):
    shipped = load_calendar(builtin_calendar())
    changed = shipped.model_copy(update={"version": "2027"})
    quick_ledger.write(adopt_calendar, changed, monday)

    assert not quick_ledger.write(adopt_first_calendar, shipped, monday)
