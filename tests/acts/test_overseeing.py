"""What those who oversee read, and which published text verifies, on both databases."""

from datetime import timedelta

from review.acts import overseeing, reading, standing_in, upkeep, waiting
from review.acts.item import Item
from review.acts.verifying import verify_text
from tests.acting import Course
from tests.examples import a_draft, who


def seen(ledger, look, person="supervisor_a", now=None):
    with ledger.reading() as session:
        return look(session, who(session, person), now)


def test_overview_counts_what_runs_and_leaves_out_what_is_over(ledger, monday):
    late = Course(ledger)
    late.turn()
    late.wait(days=8)
    over = Course(ledger, title="全省森林防火工作会议今日召开")
    over.turn()
    over.act("afforest_info", "withdraw")
    fresh = Course(ledger, "fire_info", title="秋季林草种苗质量抽检开始了")
    fresh.turn()
    now = late.now

    found = seen(ledger, lambda s, person, _: overseeing.overview(s, person, now))

    assert found["tiles"]["in_review"] == 2
    assert found["tiles"]["overdue"] == 1
    assert {unit["id"]: unit["total"] for unit in found["heat"]["units"]} == {
        "afforest": 1,
        "fire": 1,
    }
    cell = found["heat"]["units"][0]["cells"]["unit_review"]
    assert cell["overdue"] == 1 and cell["oldest"] >= timedelta(days=8).total_seconds()


def test_tiles_say_what_their_lists_show(ledger):
    course = Course(ledger)
    course.publish(course.run())
    late = Course(ledger, title="全省森林防火工作会议今日召开")
    late.turn()
    late.wait(hours=30)
    now = late.now
    _, ends = overseeing.today(now)
    shows = {
        "in_review": {"status": "in_review"},
        "due_today": {"due_by": ends, "running": True},
        "overdue": {"overdue": True, "running": True},
        "published_today": {"published_since": overseeing.today(now)[0]},
        "trouble": {"trouble": True},
    }

    tiles = seen(ledger, lambda s, person, _: overseeing.overview(s, person, now))["tiles"]

    for name, filters in shows.items():
        listed = seen(
            ledger, lambda s, person, _, f=filters: reading.submissions(s, person, f, 50, None, now)
        )
        assert len(listed["items"]) == tiles[name], name


def test_course_trace_and_upkeep_are_read(ledger):
    course = Course(ledger)
    course.run("second_review")
    course.decide(
        "deputy_b", "second_review", "return", reason_code="facts", opinion="请核对",
        return_to="author",
    )  # fmt: skip
    now = course.now + timedelta(hours=1)

    def look(session, person, _):
        return (
            overseeing.course_of(session, Item.seen(session, course.id), now),
            upkeep.trace(session, person, {"event": "decided", "person": "deputy_b"}, 10, None),
            upkeep.waiting(session, person, now),
            upkeep.in_force(session),
            upkeep.events(session, person),
        )

    told, trace, waiting, in_force, events = seen(ledger, look)

    assert [one["step"] for one in told["possession"]] == [
        "unit_review", "edit_proof2", "second_review", "",
    ]  # fmt: skip
    assert told["possession"][-1]["seconds"] == 3600
    assert [[cell["verdict"] for cell in column] for column in told["grid"][0]["cells"]] == [
        ["approve"], ["approve"], ["return"],
    ]  # fmt: skip
    assert [one["item"] for one in trace["items"]] == [course.id]
    assert waiting["outbox"]["count"] > 0 and "decided" in events
    assert in_force["packs"][0]["name"] == "hebei-lcj-2022-35"


def test_delegation_asks_the_stand_in_until_it_ends(ledger, monday):
    course = Course(ledger)
    course.turn()
    until = monday + timedelta(days=2)

    filed = ledger.write(
        lambda s: standing_in.file_delegation(
            s, who(s, "afforest_head"), monday, from_id="afforest_head", to_id="forest_head",
            from_at=None, until_at=until, way_in="page",
        )
    )  # fmt: skip
    course.decide("forest_head", "unit_review")
    (decision,) = course.item(lambda item: item.decisions)
    away = seen(ledger, lambda s, *_: overseeing.away(s, monday))
    ledger.write(
        lambda s: standing_in.end_delegation(
            s, who(s, "afforest_head"), filed["id"], monday, way_in="page"
        )
    )

    assert (decision.person_id, decision.acting_for_id) == ("forest_head", "afforest_head")
    assert [one["to"]["id"] for one in away] == ["forest_head"]
    assert seen(ledger, lambda s, *_: overseeing.away(s, monday)) == []


def test_inbox_of_a_stand_in_shows_only_the_categories_they_stand_in_for(ledger, monday):
    Course(ledger).turn()
    ledger.write(
        lambda s: standing_in.file_delegation(
            s, who(s, "afforest_head"), monday, from_id="afforest_head", to_id="forest_head",
            from_at=None, until_at=monday + timedelta(days=2), way_in="page",
            categories=("emergency",),
        )
    )  # fmt: skip

    def box() -> int:
        items = seen(ledger, lambda s, *_: waiting.inbox(s, who(s, "forest_head"), 9, None, monday))
        return len(items["items"])

    assert box() == 0
    Course(ledger, category="emergency", event_time=monday.isoformat()).turn()
    assert box() == 1


def test_only_a_public_version_verifies_and_an_edit_before_it_does_not(ledger):
    course = Course(ledger)
    before = a_draft()
    course.run("edit_proof2")
    course.edit("editor_a", body="11月18日，推进会召开，3个市作了交流发言。", change="wording")
    course.publish(course.run())
    number = course.row().number

    def verified(body):
        with ledger.reading() as session:
            return verify_text(session, number, before.title, body)

    assert verified("11月18日，推进会召开，3个市作了交流发言。") == "same"
    assert verified(before.body) == "no"
