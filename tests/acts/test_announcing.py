"""What other systems are told: the right to-dos, in order per item, and never a grave text."""

import json
from datetime import timedelta
from typing import Any

import pytest
from sqlmodel import select

from review.acts import announcing, hooks
from review.acts.roster import close_account, open_account
from review.records.engine import Ledger
from review.records.hook_keys import PURPOSE
from review.records.hook_tables import HookEndpoint, HookPost
from review.records.kept import Box
from review.records.tables import PersonRow, Submission
from review.rules.errors import MalformedError, NotAllowedError, NotFoundError, RefusedError
from tests.acting import Course
from tests.examples import MONDAY, who

BOX = Box(b"s" * 48, PURPOSE)
URL = "https://sanshen.example"


def an_endpoint(ledger: Ledger, name: str = "oa", events: tuple[str, ...] = ()) -> str:
    made = ledger.write(
        lambda s: hooks.add_endpoint(
            s, name, "https://oa.example/todos", events, MONDAY, BOX, way_in="cli"
        )
    )
    return made.id


def told(course: Course) -> list[tuple[str, str, str]]:
    """Announce what there is; return kind, account and step of what was written since."""
    before = {post.id for post in posts(course.ledger)}
    while course.ledger.write(announcing.announce, course.now, URL):
        pass
    return [
        (p.kind, p.payload["data"].get("account") or "", p.payload["data"].get("step") or "")
        for p in posts(course.ledger)
        if p.id not in before
    ]


def posts(ledger: Ledger) -> list[HookPost]:
    with ledger.reading() as session:
        return list(session.exec(select(HookPost).order_by(HookPost.submission_id, HookPost.n)))


def test_a_whole_course_opens_and_closes_each_to_do_and_tells_of_publication(ledger):
    an_endpoint(ledger)
    course = Course(ledger)
    seen = told(course)
    while course.turn().open_steps:
        seen += told(course)
        step = course.turn().open_steps[0]
        course.decide(course.usual(step.step, step.unit), step.step, unit=step.unit or None)
        seen += told(course)
    course.publish()
    seen += told(course)

    assert seen[0] == ("todo.opened", "afforest_head", "unit_review")
    opened = [one[1:] for one in seen if one[0] == "todo.opened"]
    closed = [one[1:] for one in seen if one[0] == "todo.closed"]
    assert sorted(opened) == sorted(closed)
    assert [one[0] for one in seen if one[0].startswith("item.")] == ["item.published"]
    assert [p.n for p in posts(ledger)] == list(range(1, len(seen) + 1))
    assert all(p.payload["data"]["sequence"] == p.n for p in posts(ledger))
    assert told(course) == []


def test_payload_has_ids_number_step_account_due_and_link_and_no_body(ledger):
    an_endpoint(ledger)
    course = Course(ledger)
    course.turn()
    told(course)

    (post,) = posts(ledger)
    data = post.payload["data"]
    row = course.row()
    assert post.payload["type"] == "todo.opened"
    assert data["submission"] == row.id and data["number"] == row.number
    assert data["digest"] == row.digest and data["link"] == f"{URL}/items/{row.id}"
    assert data["due_at"] and data["account"] == "afforest_head"
    assert course.item(lambda i: i.version.body) not in json.dumps(post.payload, ensure_ascii=False)


@pytest.mark.parametrize("category", ["emergency", "public_opinion"])
def test_of_grave_items_number_and_category_are_all_that_is_said(ledger, category):
    an_endpoint(ledger)
    more: dict[str, Any] = {"found_time": "2026-11-23T08:00:00+08:00"}
    if category == "emergency":
        more = {"level": "larger", "authority_reference": "省林火指〔2026〕1号",
                "event_time": "2026-11-23T08:00:00+08:00"}  # fmt: skip
    course = Course(ledger, "fire_info", category=category, **more)
    course.turn()
    told(course)

    for post in posts(ledger):
        assert post.payload["data"]["title"] is None
        assert course.row().title not in json.dumps(post.payload, ensure_ascii=False)
    assert posts(ledger)


def test_title_of_an_item_raised_before_the_message_left_is_not_said(ledger):
    endpoint = an_endpoint(ledger)
    course = Course(ledger)
    course.turn()
    told(course)

    def raise_(session: Any) -> None:
        row = session.get_one(Submission, course.id)
        row.category = "public_opinion"
        session.add(row)

    ledger.write(raise_)
    (due,) = ledger.write(announcing.take_due, endpoint, course.now)

    assert due.payload["data"]["title"] is None


def test_return_overdue_and_escalation_are_told_once(ledger):
    an_endpoint(ledger)
    course = Course(ledger)
    course.turn()
    seen = told(course)
    course.wait(hours=9)
    seen += told(course)
    course.wait(days=2)
    seen += told(course)
    course.decide("afforest_head", "unit_review", "return", opinion="补充数据", reason_code="facts",
                  return_to="author", checklist={})  # fmt: skip
    seen += told(course)

    kinds = [one[0] for one in seen]
    assert kinds.count("item.returned") == 1
    assert kinds.count("item.overdue") >= 1 and kinds.count("item.escalated") >= 1
    assert told(course) == []
    assert all(p.payload["data"].get("opinion") is None for p in posts(ledger))
    assert "补充数据" not in json.dumps([p.payload for p in posts(ledger)], ensure_ascii=False)


def test_closed_account_loses_its_to_dos_and_gets_them_back(ledger):
    an_endpoint(ledger)
    course = Course(ledger)
    course.turn()
    told(course)

    ledger.write(lambda s: close_account(s, "afforest_head", course.now, way_in="cli"))
    lost = told(course)
    ledger.write(lambda s: open_account(s, "afforest_head", course.now, way_in="cli"))
    found = told(course)

    assert ("todo.closed", "afforest_head", "unit_review") in lost
    assert ("todo.opened", "afforest_head", "unit_review") in found


def test_another_oa_account_moves_the_to_do(ledger):
    an_endpoint(ledger)
    course = Course(ledger)
    course.turn()
    told(course)

    ledger.write(
        lambda s: hooks.set_oa_account(s, "afforest_head", "zhangsan", course.now, way_in="cli")
    )

    assert told(course) == [
        ("todo.closed", "afforest_head", "unit_review"),
        ("todo.opened", "zhangsan", "unit_review"),
    ]
    ledger.write(lambda s: hooks.set_oa_account(s, "afforest_head", "", course.now, way_in="cli"))
    assert told(course) == [("todo.closed", "zhangsan", "unit_review")]


def test_text_that_changes_changes_the_to_do_or_ends_it(ledger):
    an_endpoint(ledger)
    course = Course(ledger)
    course.run("edit_proof2")
    told(course)

    course.edit("editor_a", body="11月18日，造林绿化现场推进会召开。5个市作交流发言。",
                change="wording")  # fmt: skip

    changed = [one for one in told(course) if one[0] != "todo.opened"]
    assert ("todo.closed", "editor_a", "edit_proof2") in changed or (
        "todo.changed", "editor_a", "edit_proof2"
    ) in changed  # fmt: skip


def test_held_item_has_no_to_dos_until_it_is_released(ledger):
    an_endpoint(ledger)
    course = Course(ledger)
    course.run("second_review")
    told(course)

    course.act("chief", "hold", reason="核实")
    held = told(course)
    course.act("chief", "release", reason="已核实")
    course.turn()
    released = told(course)

    assert {one[0] for one in held} == {"todo.closed"}
    assert {one[0] for one in released} == {"todo.opened"}


def test_endpoint_added_later_gets_what_is_open_and_nothing_of_the_past(ledger):
    an_endpoint(ledger)
    course = Course(ledger)
    course.run("second_review")
    told(course)
    later = course.now + timedelta(hours=1)
    course.now = later

    second = ledger.write(
        lambda s: hooks.add_endpoint(
            s, "archive", "https://two.example/", (), later, BOX, way_in="cli"
        )
    ).id
    told(course)

    mine = [post for post in posts(ledger) if post.endpoint_id == second]
    assert {post.kind for post in mine} == {"todo.opened"}
    assert {post.payload["data"]["step"] for post in mine} == {"second_review"}


def test_endpoint_gets_only_the_events_it_asked_for(ledger):
    an_endpoint(ledger, events=("item.published",))
    course = Course(ledger)
    course.run()
    told(course)
    course.publish()

    assert [one[0] for one in told(course)] == ["item.published"]


def test_without_endpoints_nothing_is_looked_at(ledger):
    Course(ledger).turn()

    with ledger.reading() as session:
        assert not announcing.anything_to_announce(session)


# --- on their way ---------------------------------------------------------------------------------


def due(course: Course, endpoint: str) -> list[str]:
    return [one.id for one in course.ledger.write(announcing.take_due, endpoint, course.now)]


def settle(course: Course, post: str, attempt: int, status: int, error: str = "") -> None:
    course.ledger.write(
        lambda s: announcing.settle(s, post, attempt, course.now, status=status, error=error)
    )


def test_later_messages_of_an_item_wait_behind_one_that_fails_and_other_items_dont(ledger):
    endpoint = an_endpoint(ledger)
    one, other = Course(ledger), Course(ledger, "fire_info", title="全省防火工作会召开")
    one.turn()
    told(one)
    one.decide("afforest_head", "unit_review")
    one.turn()
    told(one)
    other.turn()
    told(other)
    queue = [post.id for post in posts(ledger) if post.submission_id == one.id]
    assert len(queue) > 2

    first = due(one, endpoint)
    assert [p for p in first if p in queue] == queue[:1]
    assert len(first) == 2, "the other item's goes too"
    assert due(one, endpoint) == [], "whoever took them has the lease"
    settle(one, queue[0], 1, 500)
    assert due(one, endpoint) == [], "it waits, and so do those behind it"
    one.now += timedelta(seconds=5)
    assert due(one, endpoint) == queue[:1]
    settle(one, queue[0], 2, 204)
    assert due(one, endpoint) == queue[1:2]


def test_tries_back_off_to_an_hour_and_go_on(ledger):
    endpoint = an_endpoint(ledger)
    course = Course(ledger)
    course.turn()
    told(course)
    waits = []
    for attempt in range(1, 15):
        (post,) = due(course, endpoint)
        settle(course, post, attempt, 0, "unreachable")
        (row,) = posts(ledger)
        waits.append((row.next_try_at - course.now).total_seconds())
        course.now = row.next_try_at

    assert waits[:4] == [5, 10, 20, 40] and waits[-1] == 3600
    assert len(row.tries) == 14 and row.error == "unreachable"


def test_message_whose_sender_died_is_due_again_after_the_lease(ledger):
    endpoint = an_endpoint(ledger)
    course = Course(ledger)
    course.turn()
    told(course)
    first = due(course, endpoint)

    course.now += announcing.LEASE

    assert due(course, endpoint) == first


def test_send_again_sends_a_delivered_message_with_its_own_id(ledger):
    endpoint = an_endpoint(ledger)
    course = Course(ledger)
    course.turn()
    told(course)
    (post,) = due(course, endpoint)
    settle(course, post, 1, 200)
    assert due(course, endpoint) == []

    ledger.write(lambda s: hooks.send_again(s, post, course.now, way_in="cli"))

    assert due(course, endpoint) == [post]


def test_paused_endpoint_gets_everything_when_it_goes_on_and_a_removed_one_nothing(ledger):
    endpoint = an_endpoint(ledger)
    course = Course(ledger)
    course.turn()
    change = lambda **more: ledger.write(  # noqa: E731
        lambda s: hooks.change_endpoint(s, endpoint, course.now, way_in="cli", **more)
    )
    change(paused=True)
    told(course)
    assert due(course, endpoint) == []
    change(paused=False)
    (post,) = due(course, endpoint)

    ledger.write(lambda s: hooks.remove_endpoint(s, endpoint, course.now, way_in="cli"))

    course.now += timedelta(hours=2)
    assert due(course, endpoint) == []
    with pytest.raises(NotFoundError):
        ledger.write(lambda s: hooks.send_again(s, post, course.now, way_in="cli"))
    assert an_endpoint(ledger), "its name can be had again"


def test_both_secrets_sign_while_one_is_changed(ledger):
    endpoint = an_endpoint(ledger)
    course = Course(ledger)
    course.turn()
    told(course)
    ledger.write(
        lambda s: hooks.change_endpoint_secret(
            s, endpoint, course.now, BOX, retire_at=course.now + timedelta(minutes=5), way_in="cli"
        )
    )
    with pytest.raises(RefusedError, match="hook_key_changing"):
        ledger.write(
            lambda s: hooks.change_endpoint_secret(s, endpoint, course.now, BOX, way_in="cli")
        )

    (during,) = ledger.write(announcing.take_due, endpoint, course.now)
    course.now += timedelta(minutes=5)
    (after,) = ledger.write(announcing.take_due, endpoint, course.now)

    assert (len(during.secrets), len(after.secrets)) == (2, 1)
    assert all(BOX.open(sealed, endpoint) for sealed in during.secrets)


# --- who may --------------------------------------------------------------------------------------


@pytest.mark.parametrize("person", ["admin", "auditor_a", "chief", "bureau_chief", "afforest_info"])
def test_only_the_security_administrator_connects_systems(ledger, person):
    def add(session: Any) -> Any:
        by = who(session, person, MONDAY)
        return hooks.add_endpoint(
            session, "oa", "https://oa.example/", (), MONDAY, BOX, by=by, way_in="api"
        )

    def map_(session: Any) -> Any:
        by = who(session, person, MONDAY)
        return hooks.set_oa_account(session, "fire_head", "x", MONDAY, by=by, way_in="api")

    for act in (add, map_):
        with pytest.raises(NotAllowedError):
            ledger.write(act)
    with ledger.reading() as session:
        assert not session.exec(select(HookEndpoint)).all()
        assert session.get_one(PersonRow, "fire_head").oa_account == "fire_head"


def test_account_is_one_persons_and_nobody_maps_themselves(ledger):
    def as_security(session: Any, person: str, account: str) -> Any:
        by = who(session, "security", MONDAY)
        return hooks.set_oa_account(session, person, account, MONDAY, by=by, way_in="api")

    with pytest.raises(RefusedError, match="oa_account_taken"):
        ledger.write(as_security, "fire_head", "chief")
    with pytest.raises(RefusedError, match="own_account"):
        ledger.write(as_security, "security", "sec")
    assert ledger.write(as_security, "fire_head", "zhao")["oa_account"] == "zhao"


def test_events_and_addresses_that_there_are_not_are_refused(ledger):
    with pytest.raises(MalformedError):
        an_endpoint(ledger, events=("item.read",))
    with pytest.raises(MalformedError):
        ledger.write(
            lambda s: hooks.add_endpoint(s, "oa", "ftp://oa", (), MONDAY, BOX, way_in="cli")
        )


def test_endpoint_that_is_down_costs_what_is_due_and_not_what_waits(quick_ledger):
    endpoint = an_endpoint(quick_ledger)
    course = Course(quick_ledger)

    def work() -> int:
        """Return how much SQLite does to find what is due, in hundreds of its steps."""
        steps = 0

        def count() -> int:
            nonlocal steps
            steps += 1
            return 0

        with quick_ledger.reading() as session:
            raw = session.connection().connection.dbapi_connection
            raw.set_progress_handler(count, 100)
            announcing.endpoints_due(session, course.now)
            raw.set_progress_handler(None, 0)
        return steps

    course.turn()
    told(course)
    (head,) = due(course, endpoint)
    settle(course, head, 1, 0, "unreachable")
    few = work()

    def pile_up(session) -> None:
        session.add_all(
            HookPost(
                id=f"w{n}", endpoint_id=endpoint, submission_id=course.id, n=n, kind="todo.changed",
                at=course.now, next_try_at=announcing.WAITS,
            )
            for n in range(2, 3002)
        )  # fmt: skip

    quick_ledger.write(pile_up)

    assert work() <= few + 2
    assert due(course, endpoint) == [], "the first waits, and so do those behind it"
    course.now += timedelta(seconds=5)
    settle(course, due(course, endpoint)[0], 2, 200)
    assert due(course, endpoint) == ["w2"]


def test_message_written_while_another_waits_goes_out_after_it(ledger):
    endpoint = an_endpoint(ledger)
    course = Course(ledger)
    course.turn()
    told(course)
    (first,) = due(course, endpoint)
    course.decide("afforest_head", "unit_review")
    course.turn()
    told(course)

    settle(course, first, 1, 200)

    order = []
    while taken := due(course, endpoint):
        order += taken
        settle(course, taken[0], 1, 200)
    assert order == [post.id for post in posts(ledger)][1:] and len(order) > 1
