"""Supervision orders, incidents and violation cases by their acts, on both databases."""

import threading
from datetime import timedelta

import pytest
from sqlmodel import select

from review.acts import incidents, supervising, violations
from review.acts.matters_waiting import mine
from review.acts.minding import mind
from review.acts.standing_in import file_delegation
from review.matter_requests import (
    IncidentAct,
    NewIncident,
    NewOrder,
    NewViolation,
    OrderAct,
    ViolationAct,
)
from review.records import audit
from review.records.matters import Incident, MatterEntry, MatterOutbox, Order, Violation
from review.records.tables import Audit, Notice
from review.rules.errors import MalformedError, NotAllowedError, NotFoundError, RefusedError
from review.rules.matters import MatterKind
from tests.acting import Course
from tests.examples import MONDAY, who

SECRET_WORDS = "造林数据久拖未报"


class Office:
    """People who act on matters; `now` moves only when told."""

    def __init__(self, ledger, now=MONDAY):
        self.ledger, self.now = ledger, now

    def order(self, person="chief", **fields):
        given = {"unit": "afforest", "subject": SECRET_WORDS} | fields
        return self.ledger.write(
            lambda s: supervising.open_order(
                s, who(s, person, self.now), NewOrder(**given), way_in="api", now=self.now
            )
        )

    def on_order(self, id_, person, act, **fields):
        return self.ledger.write(
            lambda s: supervising.act(
                s, who(s, person, self.now), id_, OrderAct(act=act, **fields),
                way_in="api", now=self.now,
            )
        )  # fmt: skip

    def incident(self, person="duty", ago=0, **fields):
        given = {
            "title": "某林场发生森林火情", "kind": "fire", "level": "major", "unit": "fire",
            "event_at": self.now - timedelta(minutes=ago),
        } | fields  # fmt: skip
        return self.ledger.write(
            lambda s: incidents.register(
                s, who(s, person, self.now), NewIncident(**given), way_in="api", now=self.now
            )
        )

    def on_incident(self, id_, person, act, **fields):
        return self.ledger.write(
            lambda s: incidents.act(
                s, who(s, person, self.now), id_, IncidentAct(act=act, **fields),
                way_in="api", now=self.now,
            )
        )  # fmt: skip

    def lead(self, person="supervisor_a", **fields):
        given = {"kind": 3, "unit": "afforest", "subject": SECRET_WORDS} | fields
        return self.ledger.write(
            lambda s: violations.report(
                s, who(s, person, self.now), NewViolation(**given), way_in="api", now=self.now
            )
        )

    def on_case(self, id_, person, act, **fields):
        return self.ledger.write(
            lambda s: violations.act(
                s, who(s, person, self.now), id_, ViolationAct(act=act, **fields),
                way_in="api", now=self.now,
            )
        )  # fmt: skip

    def turn(self, kind, id_, **length):
        """Let time pass, then take a turn as the workflow would."""
        self.now += timedelta(**length)
        return self.ledger.write(lambda s: mind(s, MatterKind(kind), id_, self.now))

    def rows(self, model):
        with self.ledger.reading() as session:
            return list(session.exec(select(model)))

    def row(self, model, id_):
        with self.ledger.reading() as session:
            return session.get_one(model, id_)

    def told(self, kind):
        return {one.person_id for one in self.rows(Notice) if one.kind == kind}

    def shown(self, module, person, id_):
        with self.ledger.reading() as session:
            return module.shown(session, who(session, person, self.now), id_, self.now)


@pytest.fixture
def office_at_work(ledger):
    return Office(ledger)


# --- supervision orders ---------------------------------------------------------------------------


def test_order_is_issued_signed_for_answered_put_right_and_closed(office_at_work):
    """A-23: 3 working days; by 中心主要负责人, answered by the unit."""
    office = office_at_work
    order = office.order()

    assert order["number"] == "督办〔2026〕1号" and order["state"] == "issued"
    assert order["due_at"] == "2026-11-26T09:00:00+08:00"
    assert office.told("order_issued") == {"afforest_info", "afforest_info2", "afforest_head"}
    office.on_order(order["id"], "afforest_info", "sign")
    office.on_order(order["id"], "afforest_info", "reply", text="本周内补报")
    office.on_order(order["id"], "afforest_head", "rectify", text="已补报")
    closed = office.on_order(order["id"], "reviewer_b", "close", text="整改到位")
    assert closed["state"] == "closed"
    position = office.turn("supervision", order["id"], days=30)
    assert position.done and office.rows(Violation) == []


def test_silent_order_is_reminded_and_lapses_into_a_lead_once(office_at_work):
    """R5.3-1, A-23: a lapse opens a lead of kind 1 and tells 分管领导; it convicts nobody."""
    office = office_at_work
    order = office.order()
    before = office.turn("supervision", order["id"])
    assert before.next_mark == "remind:1:50%"

    after = office.turn("supervision", order["id"], days=4)
    again = office.turn("supervision", order["id"], days=4)

    assert (after.state, again.state) == ("lapsed", "lapsed")
    [lead] = office.rows(Violation)
    assert (lead.kind, lead.state, lead.unit_id, lead.opened_by_id) == (1, "lead", "afforest", "")
    assert "leader_eco" in office.told("order_lapse")
    assert "bureau_chief" not in office.told("order_lapse")
    assert lead.result == "" and lead.found_by_id == ""


def test_order_is_repeated_once_and_its_second_lapse_goes_to_the_chief(office_at_work):
    office = office_at_work
    order = office.order()
    office.turn("supervision", order["id"], days=4)
    office.on_order(order["id"], "chief", "repeat", text="仍未整改")
    office.turn("supervision", order["id"], days=7)

    assert "bureau_chief" in office.told("order_lapse")
    assert len(office.rows(Violation)) == 1
    with pytest.raises(RefusedError, match="repeated_already"):
        office.on_order(order["id"], "chief", "repeat", text="第三次")
    events = [e.event for e in office.rows(MatterEntry) if e.matter_id == order["id"]]
    assert events.count("lapse") == 2


def test_rectification_is_looked_at_by_people_never_closed_by_silence(office_at_work):
    office = office_at_work
    order = office.order()
    office.on_order(order["id"], "afforest_head", "rectify", text="已整改")

    position = office.turn("supervision", order["id"], days=60)

    assert position.state == "rectified" and not position.done
    assert office.told("order_confirm") == {"chief"}


def test_rectification_sent_back_after_the_deadline_lapses(office_at_work):
    office = office_at_work
    order = office.order()
    office.on_order(order["id"], "afforest_head", "rectify", text="已整改")
    office.now += timedelta(days=10)
    office.on_order(order["id"], "chief", "send_back", text="并未整改")

    assert office.turn("supervision", order["id"]).state == "lapsed"
    assert len(office.rows(Violation)) == 1


def test_issuer_and_unit_stay_apart(office_at_work):
    office = office_at_work
    order = office.order("director", unit="office")

    with pytest.raises(RefusedError, match="separation_of_duties"):
        office.on_order(order["id"], "director", "rectify", text="自己整改")


@pytest.mark.parametrize("person", ["afforest_head", "editor_a", "leader_eco", "auditor_a"])
def test_nobody_else_issues_an_order(office_at_work, person):
    with pytest.raises(NotAllowedError):
        office_at_work.order(person)


def test_supervisor_proposes_and_a_proposal_waits_for_a_person(office_at_work):
    office = office_at_work
    order = office.order("supervisor_a")

    assert order["state"] == "proposed" and order["number"] is None
    assert office.turn("supervision", order["id"], days=90).state == "proposed"
    with pytest.raises(NotAllowedError):
        office.on_order(order["id"], "supervisor_a", "issue")
    with pytest.raises(NotFoundError):  # the unit reads only what was issued
        office.shown(supervising, "afforest_head", order["id"])
    assert office.on_order(order["id"], "chief", "issue")["state"] == "issued"


def test_item_silent_past_its_last_escalation_gets_one_proposal(ledger):
    """A-23: the unit that holds it; a person issues it."""
    course = Course(ledger)
    course.turn()
    for _ in range(40):
        course.wait(hours=4)
    office = Office(ledger, course.now)

    [order] = office.rows(Order)
    assert (order.state, order.unit_id, order.submission_id) == ("proposed", "afforest", course.id)
    assert order.shown["step"] == "unit_review"
    assert office.told("order_proposed") == {"chief", "reviewer_b", "director"}
    with pytest.raises(RefusedError, match="order_exists"):
        office.order(submission=course.id)


def test_decided_step_gets_no_proposal(ledger):
    course = Course(ledger)
    course.turn()
    for _ in range(8):
        course.wait(hours=1)
    course.decide("afforest_head", "unit_review")
    course.turn()
    course.until(MONDAY + timedelta(days=1, hours=9))  # 自审's would have been due at 15:45

    assert course.item(lambda item: item.steps[0].escalated) == 2
    assert Office(ledger).rows(Order) == []


def test_stale_channel_is_proposed_once_for_each_silence(office_at_work):
    """T-4: two weeks without a post."""
    office = office_at_work

    def look(**length):
        office.now += timedelta(**length)
        return office.ledger.write(lambda s: supervising.propose_for_stale_channels(s, office.now))

    assert look(days=13) == []
    first, again = look(days=2), look(days=20)

    assert len(first) == 2 and again == []
    assert {(o.channel, o.unit_id) for o in office.rows(Order)} == {
        ("site", "center"), ("mini_pest", "pest"),
    }  # fmt: skip


def test_one_cause_has_one_order_whoever_asks_at_once(office_at_work):
    office = office_at_work
    made = []

    def propose():
        made.append(
            office.ledger.write(
                lambda s: supervising.propose(s, "stale:site:x", "center", office.now)
            )
        )

    threads = [threading.Thread(target=propose) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len([one for one in made if one]) == 1 and len(office.rows(Order)) == 1


# --- violation cases ------------------------------------------------------------------------------


def test_case_goes_from_lead_to_statement_to_finding(office_at_work):
    """A-22: the center opens it, the unit states, its leader finds."""
    office = office_at_work
    lead = office.lead()
    with pytest.raises(NotFoundError):  # a lead is nobody's accusation yet
        office.shown(violations, "afforest_head", lead["id"])

    office.on_case(lead["id"], "chief", "take_up")
    assert office.row(Violation, lead["id"]).statement_due_at.isoformat().startswith("2026-11-26")
    office.on_case(lead["id"], "afforest_head", "state", text="系录入错误")
    found = office.on_case(lead["id"], "leader_eco", "find", result="criticism", text="属实")

    assert found["result"] == "criticism"
    row = office.row(Violation, lead["id"])
    assert (row.severity, row.found_by_id) == ("minor", "leader_eco")


def test_silence_convicts_nobody_and_a_late_statement_does_not_block(office_at_work):
    office = office_at_work
    lead = office.lead()
    office.on_case(lead["id"], "chief", "take_up")
    with pytest.raises(RefusedError, match="statement_awaited"):
        office.on_case(lead["id"], "leader_eco", "find", result="criticism", text="属实")

    position = office.turn("violation", lead["id"], days=40)

    assert position.state == "asked" and office.row(Violation, lead["id"]).result == ""
    assert {"afforest_head", "leader_eco", "chief"} <= office.told("statement_late")
    office.on_case(lead["id"], "leader_eco", "find", result="none", text="情节不成立")


def test_serious_cases_are_the_chiefs(office_at_work):
    """A-22, R5.3-7."""
    office = office_at_work
    lead = office.lead()
    office.on_case(lead["id"], "chief", "take_up")
    office.on_case(lead["id"], "afforest_head", "state", text="说明")

    with pytest.raises(NotAllowedError):
        office.on_case(lead["id"], "leader_eco", "find", result="handed_over", text="严重")
    with pytest.raises(NotAllowedError):  # another unit's leader
        office.on_case(lead["id"], "chief", "find", result="criticism", text="属实")
    found = office.on_case(lead["id"], "bureau_chief", "find", result="handed_over", text="严重")
    assert found["result"] == "handed_over"


def test_whoever_reviewed_the_item_neither_dismisses_nor_finds(ledger):
    course = Course(ledger, category="important", kind="interpretation")
    course.publish(course.run())
    office = Office(ledger, course.now)
    lead = office.lead(submission=course.id)

    with pytest.raises(RefusedError, match="separation_of_duties"):
        office.on_case(lead["id"], "chief", "dismiss", text="没有问题")
    office.on_case(lead["id"], "chief", "take_up")
    office.on_case(lead["id"], "afforest_head", "state", text="说明")
    with pytest.raises(RefusedError, match="separation_of_duties"):
        office.on_case(lead["id"], "leader_eco", "find", result="none", text="没有问题")


def test_chain_of_responsibility_names_who_did_what_when(ledger):
    """R1.3-3, R5.3-7 (责任链)."""
    course = Course(ledger)
    course.publish(course.run())
    office = Office(ledger, course.now)
    lead = office.lead(submission=course.id)

    chain = office.shown(violations, "auditor_a", lead["id"])["chain"]

    assert [(one["part"], one["person"]["id"]) for one in chain] == [
        ("wrote", "afforest_info"), ("reviewed", "afforest_head"), ("proofread", "editor_a"),
        ("reviewed", "deputy_b"), ("authorised", "chief"), ("proofread", "publisher_a"),
        ("published", "publisher_a"),
    ]  # fmt: skip
    assert all(one["at"] and one["version"] == 1 for one in chain)


def test_lead_opens_once_for_one_cause(office_at_work):
    office = office_at_work

    def open_(kind=4):
        return office.ledger.write(
            lambda s: violations.open_lead(s, kind, "drift:p1", office.now, channel="site")
        )

    assert open_() == open_() and len(office.rows(Violation)) == 1
    with pytest.raises(ValueError):
        open_(7)


# --- incidents ------------------------------------------------------------------------------------


def test_silent_incident_is_missed_late_and_never_forgotten(office_at_work):
    """R5.1-3: the clock runs from the event, before any submission."""
    office = office_at_work
    incident = office.incident(ago=30)
    assert incident["number"] == "事件〔2026〕1号"

    assert office.turn("incident", incident["id"]).next_mark == "missed"
    office.turn("incident", incident["id"], minutes=29)
    assert office.row(Incident, incident["id"]).missed_at is None
    office.turn("incident", incident["id"], minutes=2)
    row = office.row(Incident, incident["id"])
    assert row.missed_at == row.event_at + timedelta(minutes=60)
    assert {"fire_info", "fire_head", "duty", "supervisor_a"} <= office.told("incident_missed")
    office.turn("incident", incident["id"], hours=5)

    row = office.row(Incident, incident["id"])
    assert row.late_at == row.event_at + timedelta(hours=5)
    marks = [n.key.split(":")[3:] for n in office.rows(Notice) if n.kind == "incident_line"]
    assert {mark[0] + mark[1] for mark in marks} == {"line1", "line2"}
    assert "bureau_chief" in office.told("incident_late")


def test_lesser_incident_waits_four_hours(office_at_work):
    office = office_at_work
    incident = office.incident(level="minor")

    office.turn("incident", incident["id"], hours=3, minutes=59)
    assert office.row(Incident, incident["id"]).missed_at is None
    office.turn("incident", incident["id"], minutes=2)
    assert office.row(Incident, incident["id"]).missed_at is not None
    assert office.told("incident_press") == set()


def test_reports_are_grouped_and_followed_up_until_closed(ledger):
    """R5.1-4: 首报, 续报, 终报."""
    office = Office(ledger)
    incident = office.incident()
    fields = {"category": "emergency", "level": "major", "event_time": MONDAY.isoformat()}
    first = Course(ledger, "fire_info", incident=incident["number"], **fields)
    assert office.turn("incident", incident["id"], minutes=61).next_mark == "line:1"
    assert office.row(Incident, incident["id"]).missed_at is None
    first.run()
    second = Course(
        ledger,
        "fire_info",
        now=office.now,
        incident=first.id,
        title="火情扑救进展续报情况",
        **fields,
    )
    final = Course(
        ledger, "fire_info", now=office.now + timedelta(hours=1), incident=incident["id"],
        title="火情扑救工作全部结束", **fields,
    )  # fmt: skip
    office.turn("incident", incident["id"], hours=26)
    office.on_incident(incident["id"], "duty", "final", submission=final.id)

    shown = office.shown(incidents, "chief", incident["id"])

    assert [(one["id"], one["report"]) for one in shown["reports"]] == [
        (first.id, "first"), (second.id, "follow_up"), (final.id, "final"),
    ]  # fmt: skip
    assert {"fire_info", "duty"} <= office.told("incident_follow_up")
    with pytest.raises(RefusedError, match="final_report_missing"):
        office.on_incident(incident["id"], "duty", "close")
    final.publish(final.run())
    office.on_incident(incident["id"], "duty", "close")
    before = len(office.rows(Notice))
    assert office.turn("incident", incident["id"], days=30).done
    assert len(office.rows(Notice)) == before


def test_withdrawn_report_is_no_report(ledger):
    office = Office(ledger)
    incident = office.incident()
    report = Course(
        ledger, "fire_info", incident=incident["id"], category="emergency", level="major",
        event_time=MONDAY.isoformat(),
    )  # fmt: skip
    report.act("fire_info", "withdraw")
    office.turn("incident", incident["id"], minutes=61)

    assert office.row(Incident, incident["id"]).missed_at is not None


def test_submission_naming_no_incident_is_refused(ledger):
    with pytest.raises(MalformedError) as refusal:
        Course(ledger, incident="no-such-incident")

    assert refusal.value.params["errors"][0]["message"] == "unknown_incident"


def test_authority_and_press_conference_are_written_down(office_at_work):
    """A-27."""
    office = office_at_work
    incident = office.incident()
    office.on_incident(
        incident["id"], "director", "authorise", authority="省森防指", reference="冀森防〔2026〕8号"
    )
    office.on_incident(incident["id"], "leader_pub", "press_held")
    office.turn("incident", incident["id"], hours=25)

    shown = office.shown(incidents, "bureau_chief", incident["id"])
    assert shown["authority"]["organisation"] == "省森防指"
    assert shown["authority"]["person"]["id"] == "director"
    assert office.told("incident_press") == set()


def test_only_the_duty_officer_registers_and_lowers_nothing_alone(office_at_work):
    office = office_at_work
    with pytest.raises(NotAllowedError):
        office.incident("fire_head")
    with pytest.raises(MalformedError):
        office.incident(event_at=MONDAY + timedelta(hours=1))
    incident = office.incident()
    with pytest.raises(NotAllowedError):
        office.on_incident(incident["id"], "duty", "set_level", level="minor", text="误报")
    office.on_incident(incident["id"], "chief", "set_level", level="minor", text="核实后降级")
    with pytest.raises(NotFoundError):
        office.shown(incidents, "forest_head", incident["id"])


# --- what every act leaves ------------------------------------------------------------------------


def test_trace_notices_and_nudges_hold_no_word_of_a_matter(office_at_work):
    """Text stays in the matter's own rows: none in trace, notices or what goes to the engine."""
    office = office_at_work
    order = office.order()
    office.on_order(order["id"], "afforest_head", "rectify", text=SECRET_WORDS)
    lead = office.lead()
    office.on_case(lead["id"], "chief", "take_up", text=SECRET_WORDS)

    said = [str(row.model_dump()) for t in (Audit, Notice, MatterOutbox) for row in office.rows(t)]

    assert said and not [line for line in said if SECRET_WORDS in line]
    with office.ledger.reading() as session:
        assert audit.verify(session)["ok"]


def test_turn_at_the_same_moment_changes_nothing(office_at_work):
    office = office_at_work
    order = office.order()
    office.turn("supervision", order["id"], days=4)
    counts = {t: len(office.rows(t)) for t in (Audit, Notice, Violation, MatterEntry)}

    office.turn("supervision", order["id"])

    assert counts == {t: len(office.rows(t)) for t in counts}


# --- delegates ------------------------------------------------------------------------------------


def away(office, absent, stand_in, *categories):
    office.ledger.write(
        lambda s: file_delegation(
            s, who(s, absent, office.now), office.now, from_id=absent, to_id=stand_in,
            from_at=None, until_at=office.now + timedelta(days=30), categories=categories,
            way_in="page",
        )
    )  # fmt: skip


def cases_of(office, person):
    with office.ledger.reading() as session:
        me = who(session, person, office.now)
        found = violations.listed(session, me, {}, 50, None, office.now)["items"]
        waiting = [one["path"].split("/")[-1] for one in mine(session, me, office.now)]
    return [one["id"] for one in found], waiting


def test_delegates_of_head_and_leader_find_the_case_and_write_on_it_for_them(office_at_work):
    office = office_at_work
    lead = office.lead()["id"]
    office.on_case(lead, "chief", "take_up", text="请说明")
    assert cases_of(office, "forest_head") == ([], [])
    with pytest.raises(NotFoundError):
        office.on_case(lead, "forest_head", "state", text="说明")
    away(office, "afforest_head", "forest_head")
    away(office, "leader_eco", "leader_prot")

    assert cases_of(office, "forest_head") == ([lead], [lead])
    office.on_case(lead, "forest_head", "state", text="数据核对耽误，已改")
    assert cases_of(office, "leader_prot") == ([lead], [lead])
    office.on_case(lead, "leader_prot", "find", result="criticism", text="通报批评")

    with office.ledger.reading() as session:
        shown = violations.shown(session, who(session, "chief", office.now), lead, office.now)
        said = [
            (one["person"]["id"], one["person"]["acting_for"]["id"])
            for one in shown["entries"]
            if one["event"] in ("state", "find")
        ]
    assert said == [("forest_head", "afforest_head"), ("leader_prot", "leader_eco")]
    assert shown["state"] == "found"


def test_delegation_for_a_category_covers_only_cases_about_such_items(ledger):
    course = Course(ledger)
    office = Office(ledger)
    about, plain = office.lead(submission=course.id)["id"], office.lead()["id"]
    for one in (about, plain):
        office.on_case(one, "chief", "take_up", text="请说明")
    away(office, "afforest_head", "forest_head", "work_news")
    away(office, "afforest_head", "pest_head", "emergency")

    assert cases_of(office, "forest_head") == ([about], [about])
    assert cases_of(office, "pest_head") == ([], [])
    with pytest.raises(NotFoundError):
        office.on_case(plain, "forest_head", "state", text="说明")


def test_nobody_judges_by_delegation_what_the_absent_or_they_themselves_did(ledger):
    course = Course(ledger)
    course.run(until="edit_proof2")  # the unit's head approved it
    office = Office(ledger, course.now)
    lead = office.lead(submission=course.id)["id"]
    office.on_case(lead, "chief", "take_up", text="请说明")
    office.on_case(lead, "afforest_head", "state", text="说明")
    away(office, "leader_eco", "afforest_head")
    away(office, "bureau_chief", "leader_prot")

    with pytest.raises(RefusedError, match="separation_of_duties"):
        office.on_case(lead, "afforest_head", "find", result="none", text="不成立")
    with pytest.raises(NotFoundError):  # the chief finds in person
        office.on_case(lead, "leader_prot", "find", result="none", text="不成立")
