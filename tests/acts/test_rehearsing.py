"""A rehearsed pack tells what it would have changed, and changes nothing."""

from datetime import timedelta

from review.acts.rehearsing import rehearse
from review.packs import builtin_pack, load_pack
from review.records.engine import Ledger, counting
from tests.acting import Course
from tests.examples import MONDAY

FROM, TO = MONDAY - timedelta(days=1), MONDAY + timedelta(days=1)
SHIPPED = load_pack(builtin_pack("hebei-lcj-2022-35"))


def worked(ledger: Ledger) -> Course:
    """An item whose unit took 50 minutes over its review."""
    course = Course(ledger)
    course.turn()
    course.wait(minutes=50)
    course.run()
    return course


def stricter(limit: str):
    """Return the shipped pack with another limit for the unit's review of work news."""
    fields = SHIPPED.model_dump(mode="json", by_alias=True)
    for step in fields["steps"]["work_news"]:
        if step["id"] == "unit_review":
            step["limit"] = limit
    return type(SHIPPED).model_validate(fields)


def test_the_pack_in_force_changes_nothing(ledger: Ledger):
    worked(ledger)

    with ledger.reading() as session, counting(ledger) as statements:
        found = rehearse(session, SHIPPED, FROM, TO)

    assert found["items"] == 1 and found["differences"] == []
    assert not any(one.startswith(("INSERT", "UPDATE", "DELETE")) for one in statements)


def test_a_stricter_pack_calls_late_and_escalates_what_it_would_have(ledger: Ledger):
    course = worked(ledger)

    with ledger.reading() as session:
        found = rehearse(session, stricter("0.5wh"), FROM, TO)

    (difference,) = found["differences"]
    assert difference["number"] == course.row().number
    assert difference["pinned"]["late"] == [] and difference["rehearsed"]["late"] == ["unit_review"]
    assert found["totals"]["pinned"]["late"] == 0 and found["totals"]["rehearsed"]["late"] == 1
    assert found["rerouted"] == 0


def test_items_of_another_time_are_left_out(quick_ledger: Ledger):
    worked(quick_ledger)

    with quick_ledger.reading() as session:
        assert rehearse(session, stricter("0.5wh"), TO, TO + timedelta(days=9))["items"] == 0
