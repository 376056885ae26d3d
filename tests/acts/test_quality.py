"""Approvals faster than anybody reads as a trend, and a sample that anybody can draw again."""

from datetime import timedelta

import pytest

from review.acts.quality import CHARACTERS_A_SECOND, quality
from review.rules.errors import NotAllowedError
from tests.acting import Course
from tests.examples import MONDAY, who

FROM, TO = MONDAY - timedelta(days=1), MONDAY + timedelta(days=40)
BODY = "11月18日，全省秋冬季造林绿化现场推进会召开，3个市作了交流发言。" * 20


def found(ledger, person="supervisor_a", size=10, seed="", from_=FROM, to=TO):
    with ledger.reading() as session:
        return quality(session, who(session, person), from_, to, size, seed, TO)


def reviewed(ledger, seconds, **draft) -> Course:
    """An item whose unit's head took so long."""
    course = Course(ledger, body=BODY, **draft)
    course.turn()
    course.now += timedelta(seconds=seconds)
    course.decide("afforest_head", "unit_review")
    course.turn()
    return course


@pytest.mark.parametrize(("more", "quick"), [(-1, 1), (1, 0)])
def test_quick_is_what_nobody_can_have_read(ledger, more, quick):
    course = Course(ledger, body=BODY)
    length = len(course.row().title) + len(BODY)
    reviewed(ledger, length / CHARACTERS_A_SECOND + more)

    [month] = found(ledger)["months"]

    assert month["month"] == "2026-11"
    assert month["tiers"][0] == {"tier": 1, "approvals": 1, "quick": quick}
    assert month["tiers"][1:] == [{"tier": n, "approvals": 0, "quick": 0} for n in (2, 3)]


def test_returns_and_proofs_are_no_approvals_and_a_repeated_text_counts_once(ledger):
    course = reviewed(ledger, 1)
    course.run("edit_proof2")
    course.decide("editor_a", "edit_proof2")
    course.turn()
    course.decide("deputy_b", "second_review", "return", reason_code="facts", opinion="请核实")
    course.turn()

    [month] = found(ledger)["months"]

    assert [one["approvals"] for one in month["tiers"]] == [1, 0, 0]


def test_the_same_seed_draws_the_same_and_another_draws_otherwise(quick_ledger):
    ids = []
    for n in range(8):
        course = Course(quick_ledger, title=f"第{n}期造林绿化工作动态")
        course.publish(course.run())
        ids.append(course.id)

    first, again, other, all_ = (
        found(quick_ledger, size=size, seed=seed)["sample"]
        for size, seed in ((3, "a"), (3, "a"), (3, "b"), (200, "a"))
    )

    assert first == again and first["of"] == 8 and len(first["items"]) == 3
    assert [one["id"] for one in other["items"]] != [one["id"] for one in first["items"]]
    assert {one["id"] for one in all_["items"]} == set(ids)
    assert all_["items"][:3] == first["items"], "a larger sample begins with the smaller one"
    assert found(quick_ledger, to=FROM, from_=FROM - timedelta(days=9))["sample"]["of"] == 0


@pytest.mark.parametrize("person", ["chief", "auditor_a", "afforest_head", "admin"])
def test_it_is_for_supervisors_alone_and_names_nobody(quick_ledger, person):
    reviewed(quick_ledger, 1)

    with pytest.raises(NotAllowedError):
        found(quick_ledger, person)
    assert "afforest_head" not in repr(found(quick_ledger)["months"])
