"""Topics (R3.2-7) and what stands around an item: grouped, never reviewed together."""

from datetime import timedelta
from typing import Any

import pytest
from sqlmodel import select

from review.acts import incidents, reading, relating, supervising, topics, violations
from review.matter_requests import (
    IncidentAct,
    NewIncident,
    NewOrder,
    NewTopic,
    NewViolation,
    TopicAct,
)
from review.records.engine import Ledger
from review.records.tables import Audit
from review.rules.errors import MalformedError, NotAllowedError, NotFoundError, RefusedError
from tests.acting import Course
from tests.examples import MONDAY, who

FIRE = {
    "title": "某林场火情处置情况通报", "category": "emergency", "level": "major",
    "event_time": MONDAY - timedelta(hours=1),
}  # fmt: skip


def opened(ledger: Ledger, person: str = "editor_a", title: str = "秋冬季造林专题") -> Any:
    request = NewTopic(title=title, note="各单位造林稿件")
    return ledger.write(
        lambda s: topics.open_topic(s, who(s, person), request, way_in="api", now=MONDAY)
    )


def act(ledger: Ledger, topic: str, person: str, name: str, submission: str | None = None) -> Any:
    request = TopicAct(act=name, submission=submission)
    return ledger.write(
        lambda s: topics.act(s, who(s, person), topic, request, way_in="api", now=MONDAY)
    )


def shown(ledger: Ledger, topic: str, person: str = "chief") -> Any:
    with ledger.reading() as session:
        return topics.shown(session, who(session, person), topic, MONDAY)


def around(ledger: Ledger, person: str, submission: str) -> list[tuple[str, str]]:
    with ledger.reading() as session:
        found = relating.related(session, who(session, person), submission, MONDAY)
    return [(one["kind"], one["number"]) for one in found]


def test_items_join_at_submission_or_later_and_each_is_reviewed_by_itself(ledger):
    topic = opened(ledger)
    alone = Course(ledger)
    digest = alone.row().digest
    one = Course(ledger, topic=topic["number"], source={"type": "topic"}, title="林场造林任务完成")
    act(ledger, topic["id"], "afforest_info", "add", alone.row().number)

    one.publish(one.run())

    found = shown(ledger, topic["id"])
    assert [(item["id"], item["status"]) for item in found["items"]] == [
        (one.id, "published"), (alone.id, "in_review"),
    ]  # fmt: skip
    assert found["statuses"] == {"published": 1, "in_review": 1} and found["count"] == 2
    assert alone.row().digest == digest, "an item's text knows nothing of topics"
    with ledger.reading() as session:
        chief = who(session, "chief")
        for name in (topic["id"], topic["number"]):
            listed = reading.submissions(session, chief, {"topic": name}, 50, None, MONDAY)
            assert {item["id"] for item in listed["items"]} == {one.id, alone.id}


def test_closed_topic_takes_and_gives_no_item_until_it_is_open_again(ledger):
    topic = opened(ledger)["id"]
    course = Course(ledger, topic=topic)
    act(ledger, topic, "chief", "close")

    with pytest.raises(RefusedError, match="topic_closed"):
        Course(ledger, topic=topic, title="林场造林任务完成")
    for deed in ("add", "remove"):
        with pytest.raises(RefusedError, match="topic_closed"):
            act(ledger, topic, "chief", deed, course.id)
    with pytest.raises(RefusedError, match="nothing_changed"):
        act(ledger, topic, "chief", "close")
    act(ledger, topic, "deputy_b", "reopen")
    act(ledger, topic, "editor_b", "remove", course.id)
    assert shown(ledger, topic)["items"] == []
    with ledger.reading() as session:
        events = [
            one.event for one in session.exec(select(Audit).order_by(Audit.seq))
            if one.event.startswith("topic_")
        ]  # fmt: skip
    assert events == [
        "topic_opened", "topic_item_added", "topic_closed", "topic_reopened", "topic_item_removed",
    ]  # fmt: skip


def test_an_item_stands_in_one_topic_and_a_refused_one_leaves_no_submission(ledger):
    first, second = opened(ledger)["id"], opened(ledger, title="退耕还林专题")["id"]
    course = Course(ledger, topic=first)

    with pytest.raises(RefusedError, match="in_another_topic"):
        act(ledger, second, "chief", "add", course.id)
    with pytest.raises(RefusedError, match="nothing_changed"):
        act(ledger, second, "chief", "remove", course.id)
    with pytest.raises(MalformedError):
        Course(ledger, topic="专题〔2026〕9号", title="林场造林任务完成")
    with ledger.reading() as session:
        chief = who(session, "chief")
        assert len(reading.submissions(session, chief, {}, 50, None, MONDAY)["items"]) == 1


def test_units_add_their_own_and_see_their_own_and_administrators_see_no_topic(ledger):
    topic = opened(ledger)["id"]
    mine, others = Course(ledger), Course(ledger, "fire_info", title="全省防火工作会召开")
    act(ledger, topic, "chief", "add", others.id)
    act(ledger, topic, "afforest_head", "add", mine.id)

    with pytest.raises(MalformedError):  # it isn't there for them
        act(ledger, topic, "afforest_info", "remove", others.id)
    with pytest.raises(NotAllowedError):
        act(ledger, topic, "supervisor_a", "remove", others.id)
    with pytest.raises(NotAllowedError):
        opened(ledger, "afforest_head")
    with pytest.raises(NotAllowedError):
        act(ledger, topic, "afforest_head", "close")
    seen = shown(ledger, topic, "afforest_info")
    assert [item["id"] for item in seen["items"]] == [mine.id] and seen["count"] == 2
    with ledger.reading() as session:
        admin = who(session, "admin")
        assert topics.listed(session, admin, {}, 50, None)["items"] == []
        with pytest.raises(NotFoundError):
            topics.shown(session, admin, topic, MONDAY)


def test_item_names_what_is_about_it_to_those_who_may_read_that(ledger):
    def write(do: Any) -> Any:
        return ledger.write(do)

    incident = write(
        lambda s: incidents.register(
            s, who(s, "duty"),
            NewIncident(title="某林场发生森林火情", kind="fire", level="major", unit="fire",
                        event_at=MONDAY - timedelta(hours=1)),
            way_in="api", now=MONDAY,
        )
    )  # fmt: skip
    topic = opened(ledger)
    course = Course(
        ledger, "fire_info", incident=incident["id"], topic=topic["id"],
        authority_reference="冀森防指〔2026〕1号", **FIRE,
    )  # fmt: skip
    order = write(
        lambda s: supervising.open_order(
            s, who(s, "chief"),
            NewOrder(unit="fire", subject="火情信息未按时发布", submission=course.id),
            way_in="api", now=MONDAY,
        )
    )  # fmt: skip
    lead = write(
        lambda s: violations.report(
            s, who(s, "supervisor_a"),
            NewViolation(kind=1, unit="fire", subject="火情信息迟报", submission=course.id),
            way_in="api", now=MONDAY,
        )
    )  # fmt: skip

    whole = [("incident", incident["number"]), ("topic", topic["number"]),
             ("supervision", order["number"]), ("violation", lead["number"])]  # fmt: skip
    assert around(ledger, "chief", course.id) == whole
    assert around(ledger, "fire_head", course.id) == whole[:3], "the lead is not the unit's yet"
    assert around(ledger, "leader_prot", course.id) == whole
    assert around(ledger, "publisher_a", course.id) == whole[:3]


def test_report_takes_its_incidents_authority_unless_it_names_its_own(ledger):
    incident = ledger.write(
        lambda s: incidents.register(
            s, who(s, "duty"),
            NewIncident(title="某林场发生森林火情", kind="fire", level="major", unit="fire",
                        event_at=MONDAY - timedelta(hours=1)),
            way_in="api", now=MONDAY,
        )
    )  # fmt: skip
    ledger.write(
        lambda s: incidents.act(
            s, who(s, "duty"), incident["id"],
            IncidentAct(act="authorise", authority="省森防指", reference="冀森防指〔2026〕1号"),
            way_in="api", now=MONDAY,
        )
    )  # fmt: skip

    taken = Course(ledger, "fire_info", incident=incident["number"], **FIRE)
    own = Course(
        ledger, "fire_info", incident=incident["id"], authority_reference="应急〔2026〕7号",
        **FIRE | {"title": "某林场火情处置续报"},
    )  # fmt: skip
    stranger = Course(ledger, incident=incident["id"], **FIRE | {"title": "火情影响造林工作情况"})

    assert taken.row().details["authority_reference"] == "冀森防指〔2026〕1号"
    assert own.row().details["authority_reference"] == "应急〔2026〕7号"
    assert "authority_reference" not in stranger.row().details, "not theirs to read"
    with ledger.reading() as session:
        found = relating.prefilled(session, who(session, "fire_info"), incident["id"])
        assert (found["category"], found["level"]) == ("emergency", "major")
        assert relating.prefilled(session, who(session, "afforest_info"), incident["id"]) == {}
