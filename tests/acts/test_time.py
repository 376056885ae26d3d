"""Silence: each consequence once, at its moment, and never an approval (R1.3-7, A-14, 3.2)."""

from collections import Counter
from datetime import datetime, timedelta

import pytest
from sqlmodel import Session, select

from review.records.tables import Grant, MilestoneRow, Notice
from review.rules.errors import NotFoundError, NotYourStepError, RefusedError
from tests.acting import Course
from tests.acts.test_course import CATEGORIES
from tests.examples import MONDAY, SHANGHAI, grant

EVENT = "2026-11-23T08:30:00+08:00"
GRAVE = {"category": "emergency", "event_time": EVENT}


def fired(course: Course) -> list[str]:
    """Return the marks that fired, in order."""

    def look(session: Session) -> list[str]:
        rows = session.exec(
            select(MilestoneRow)
            .where(MilestoneRow.submission_id == course.id)
            .where(MilestoneRow.fired_at.is_not(None))  # type: ignore[union-attr]
        )
        return [row.mark for row in sorted(rows, key=lambda row: (row.at, row.mark))]

    with course.ledger.reading() as session:
        return look(session)


def told(course: Course, kind: str) -> Counter[str]:
    """Return how many notices of a kind each person got."""
    with course.ledger.reading() as session:
        rows = session.exec(select(Notice.person_id).where(Notice.kind == kind)).all()
    return Counter(rows)


def open_keys(course: Course) -> list[str]:
    return [step.step for step in course.turn().open_steps]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=SHANGHAI)


def submitted_at(ledger, moment: str, **draft: str) -> Course:
    """Return an item that came in at a moment."""

    class Later(Course):
        def _write(self, act):
            if not hasattr(self, "answer"):
                self.now = at(moment)
            return super()._write(act)

    course = Later(ledger, "fire_info", **draft)
    course.turn()
    return course


def test_each_consequence_comes_once_at_its_moment(quick_ledger):
    """3.2: 50 %, 100 %, backup and supervisor at 100 %, superior at 150 % of 3 working hours."""
    course = Course(quick_ledger)
    course.run("second_review")  # 9:00, due at 13:30 after the break

    marks = {}
    for minutes in range(0, 8 * 60, 30):
        course.until(MONDAY + timedelta(minutes=minutes))
        course.turn()  # a second turn in the same moment finds nothing to do
        for mark in fired(course):
            marks.setdefault(mark, f"{course.now:%H:%M}")

    assert marks == {
        "0/remind:50": "10:30",
        "0/remind:100": "12:00",
        "0/overdue": "12:00",
        "0/escalate_backup:100": "12:00",
        "0/escalate_superior:150": "15:00",
    }
    assert told(course, "remind") == {"deputy_b": 2, "deputy_c": 2}
    assert told(course, "overdue") == {"supervisor_a": 1}
    assert told(course, "escalated")["chief"] == 1
    assert open_keys(course) == ["second_review"]


@pytest.mark.parametrize("profile", CATEGORIES)
def test_a_month_of_silence_approves_nothing(ledger, profile):
    """R1.3-7, invariant 2."""
    course = Course(ledger, "fire_info", **CATEGORIES[profile])
    for _ in range(30):
        course.wait(days=1)

    row = course.row()

    assert course.item(lambda i: i.decisions) == []
    assert (row.status, course.turn().publish) == ("in_review", ())
    assert open_keys(course) == ["unit_review"]
    assert row.overdue_at is not None


def test_daily_digest_follows_the_fifth_repeat(quick_ledger):
    """3.2: every 4 working hours, at most 5, then daily."""
    course = Course(quick_ledger)
    for _ in range(24 * 14):
        course.wait(hours=1)

    repeats = [mark for mark in fired(course) if "repeat" in mark]

    # five in 2.7 working days after Monday's 13:30, then one on each of the 6 working days left
    assert repeats[:5] == [f"0/repeat:{n}" for n in range(1, 6)]
    assert len(set(repeats)) == len(repeats)
    assert 5 + 5 <= len(repeats) <= 5 + 7


def test_friday_evening_before_a_worked_saturday(quick_ledger):
    """3.4: Friday 9 October 2026, 17:25; people work on the tenth."""
    course = submitted_at(quick_ledger, "2026-10-09T17:25")

    due = course.turn().open_steps[0].due_at

    assert due == at("2026-10-10T11:55")
    assert course.until(at("2026-10-10T11:54")).overdue is False
    assert course.until(at("2026-10-10T11:55")).overdue is True


def test_sunday_emergency_does_not_wait_for_monday(quick_ledger):
    """3.2: the wall clock, no quiet hours."""
    course = submitted_at(
        quick_ledger, "2026-11-22T03:00", category="emergency",
        event_time="2026-11-22T02:50:00+08:00",
    )  # fmt: skip

    position = course.until(at("2026-11-22T03:36"))

    assert position.overdue
    assert told(course, "remind")["fire_head"] == 3
    assert told(course, "escalated")["leader_prot"] == 1
    assert course.row().due_at == at("2026-11-22T07:50")


def test_deadline_over_the_years_end_says_that_it_is_provisional(quick_ledger):
    """3.4, 暂定."""
    course = submitted_at(quick_ledger, "2026-12-31T17:00", category="work_news")

    step = course.item(lambda i: next(s for s in i.steps if s.state == "open"))

    assert step.due_at == at("2027-01-01T11:30")  # no notice yet: Monday to Friday
    assert "due.provisional" in [reason["code"] for reason in step.explanation]


def test_office_is_skipped_and_flagged_and_asked_to_sign_late(quick_ledger):
    """A-1, in C; 补签 within a working day, else the office is told."""
    course = Course(quick_ledger, "fire_info", **GRAVE)
    course.run("center_sign")

    course.wait(minutes=21)
    assert open_keys(course) == ["center_sign"]
    course.wait(days=2)

    assert told(course, "skipped")["reviewer_b"] == 1
    assert told(course, "late_opinion") == {"reviewer_b": 1}
    assert course.row().status == "in_review"


def test_office_of_an_important_item_is_never_skipped(quick_ledger):
    """A-1: blocking in B."""
    course = Course(quick_ledger, category="important")
    course.run("office_opinion")

    course.wait(days=14)

    assert open_keys(course) == ["office_opinion"]


@pytest.mark.parametrize(
    ("draft", "until", "person"),
    [
        ({}, "unit_review", "supervisor_a"),
        ({"category": "important"}, "final_review", "reviewer_b"),
        (GRAVE, "final_review", "director"),
        (GRAVE, "final_review", "duty"),
    ],
)
def test_whom_escalation_only_tells_may_not_decide(quick_ledger, draft, until, person):
    """Requirements 1.8: chase is not decide; targets are no superiors."""
    course = Course(quick_ledger, **draft)
    course.run(until)
    course.wait(days=7)
    assert told(course, "escalated")[person] >= 1

    with pytest.raises(NotYourStepError):
        course.decide(person, until)

    assert open_keys(course) == [until]


def test_superior_decides_in_place_only_once_it_came_to_them(quick_ledger):
    """提级代审, A-14."""
    course = Course(quick_ledger)
    course.run("second_review")
    with pytest.raises(NotYourStepError):
        course.decide("chief", "second_review")

    course.wait(hours=7)
    course.decide("chief", "second_review")

    decision = course.item(lambda i: i.decisions[-1])
    assert (decision.why, decision.role) == ("superior", "center_chief")


def test_tier_moves_up_when_nobody_is_left(quick_ledger):
    """A-6: the later tier, one level."""
    quick_ledger.write(lambda s: grant(s, "section_head", "center_deputy"))
    for other in ("deputy_b", "deputy_c"):
        quick_ledger.write(lambda s, o=other: s.delete(s.get_one(Grant, f"{o}-center_deputy-")))
    course = Course(quick_ledger, "center_info")
    course.run("second_review")
    people = course.turn().open_steps[0].people

    with pytest.raises(RefusedError) as refused:
        course.decide("section_head", "second_review")
    course.decide("chief", "second_review")
    course.turn()
    course.decide("leader_pub", "final_review")

    assert refused.value.code == "separation_of_duties"
    assert people == ("chief",)
    assert course.publish(course.run()).status == "published"


def test_step_that_nobody_may_decide_is_told_to_the_supervisor(quick_ledger):
    """R1.3-7: said, not skipped."""
    quick_ledger.write(lambda s: s.delete(s.get_one(Grant, "bureau_chief-bureau_chief-")))
    course = Course(quick_ledger, "fire_info", **GRAVE)
    course.run("center_sign")
    course.decide("chief", "center_sign")
    course.decide("reviewer_b", "office_opinion")
    position = course.turn()

    assert [step.step for step in position.open_steps] == ["final_review"]
    assert told(course, "nobody") == {"supervisor_a": 1}


def test_quiet_hours_hold_reminders_alone(quick_ledger):
    """3.2: none sent 21:00 to 07:30 or on days off, in A."""
    course = submitted_at(quick_ledger, "2026-11-20T16:30", category="work_news")

    for hour in range(0, 64):
        course.until(at("2026-11-20T17:00") + timedelta(hours=hour))

    assert told(course, "remind") == {}
    assert course.turn().next_at == at("2026-11-23T09:15")


def test_absent_stranger_sees_nothing_of_a_silent_item(quick_ledger):
    course = Course(quick_ledger)
    course.wait(days=7)

    with pytest.raises(NotFoundError):
        course.decide("forest_head", "unit_review")
