"""When a step is due and why; what silence leads to (3.2, A-14). Silence never approves."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from review.packs import builtin_calendar, builtin_pack, load_calendar, load_pack
from review.rules.deadlines import (
    Due,
    item_due,
    item_milestones,
    next_repeat,
    out_of_quiet,
    step_due,
    step_milestones,
)
from review.rules.policy import QuietHours, StepRule
from review.rules.values import Profile
from review.texts import sentence

SHANGHAI = ZoneInfo("Asia/Shanghai")
CALENDAR = load_calendar(builtin_calendar())
POLICY = load_pack(builtin_pack("hebei-lcj-2022-35"))
EVENT = "2026-11-22 14:20"  # a Sunday


def at(moment: str) -> datetime:
    return datetime.fromisoformat(moment).replace(tzinfo=SHANGHAI)


def rule(profile: str, step: str) -> StepRule:
    return next(one for one in POLICY.rules(profile) if one.id == step)


def remaining(profile: str, step: str) -> tuple[StepRule, ...]:
    """Return the step and one rule for each position after it."""
    rules = POLICY.rules(profile)
    rest = rules[[one.id for one in rules].index(step) :]
    groups: set[str] = set()
    kept = []
    for one in rest:
        if one.group and one.group in groups:
            continue
        groups |= {one.group} if one.group else set()
        kept.append(one)
    return tuple(kept)


def due(profile: str, step: str, opened: str, anchor: str | None = None) -> Due:
    return step_due(
        POLICY, profile, rule(profile, step), at(opened), CALENDAR,
        at(anchor) if anchor else None, remaining(profile, step),
    )  # fmt: skip


def marks(profile: str, step: str, opened: str, due_at: str) -> dict[str, str]:
    found = step_milestones(POLICY, profile, rule(profile, step), at(opened), at(due_at), CALENDAR)
    assert list(found) == sorted(found, key=lambda one: one.at)
    return {one.mark: one.at.strftime("%m-%d %H:%M") for one in found}


def told(found: Due, language: str = "zh") -> str:
    return " ".join(sentence(one.model_dump(), language) for one in found.explanation)


# --- due ----------------------------------------------------------------------------------------


def test_friday_evening_before_a_worked_saturday_is_due_on_saturday():
    """3.4: 2026-10-10 is worked."""
    found = due("work_news", "unit_review", "2026-10-09 17:25")

    assert found.at == at("2026-10-10 11:55")
    assert told(found) == (
        "自 2026年10月9日 17:25 起计。 时限 3.5 个工作小时，只计工作时间。 "
        "调休上班日：2026年10月10日。 因此应于 2026年10月10日 11:55 前办结。"
    )


def test_friday_evening_before_a_free_weekend_names_the_days_that_do_not_count():
    found = due("work_news", "unit_review", "2026-11-20 17:25")

    assert found.at == at("2026-11-23 11:55")
    assert "Days off that don't count: 2026-11-21, 2026-11-22." in told(found, "en")


def test_step_opened_at_night_says_when_its_clock_begins():
    found = due("important", "final_review", "2026-11-23 20:00")

    assert found.at == at("2026-11-24 17:00")
    assert "自 2026年11月24日 08:30 起计时" in told(found)


def test_sunday_emergency_runs_at_once():
    """T-1, R5.1-3."""
    found = due("emergency", "unit_review", EVENT, EVENT)

    assert found.at == at("2026-11-22 14:50")
    assert [one.code for one in found.explanation] == ["due.opened", "due.limit.m", "due.at"]


def test_over_the_years_end_is_provisional():
    """3.4: 2027 is not announced; 2027-01-01 is a Friday."""
    found = due("work_news", "unit_review", "2026-12-31 17:00")
    wall = due("emergency", "unit_review", "2026-12-31 23:50", "2026-12-31 23:50")

    assert found.at == at("2027-01-01 11:30")
    assert "暂定" in told(found) and "只公布到 2026年12月31日" in told(found)
    assert "暂定" not in told(wall)
    assert "暂定" in told(item_due(POLICY, "important", at("2026-12-30 10:00"), CALENDAR))


def test_every_limit_of_the_table_is_counted():
    """3.2, on a Monday morning without lateness."""
    for profile in Profile:
        for one in POLICY.rules(profile):
            found = step_due(POLICY, profile, one, at("2026-11-23 08:30"), CALENDAR)
            used = (
                CALENDAR.working_time(at("2026-11-23 08:30"), found.at)
                if one.limit.is_working
                else found.at - at("2026-11-23 08:30")
            )
            assert used == one.limit.wall, (profile, one.id)


# --- compression --------------------------------------------------------------------------------


def test_emergency_in_time_is_not_compressed():
    assert due("emergency", "unit_review", "2026-11-22 15:00", EVENT).at == at("2026-11-22 15:30")


def test_late_emergency_gives_each_step_its_share():
    """3.2: 165 minutes of steps; 66 minutes are left, so each gets 40 %."""
    found = due("emergency", "unit_review", "2026-11-22 18:14", EVENT)
    final = due("emergency", "final_review", "2026-11-22 18:14", EVENT)

    assert found.at - at("2026-11-22 18:14") == timedelta(minutes=12)
    assert final.at - at("2026-11-22 18:14") == timedelta(minutes=66) * 60 / 75
    assert "报送偏晚" in told(found) and "压缩为 12 分钟" in told(found)


def test_compression_stops_at_the_floor_even_when_the_time_is_over():
    for opened in ("2026-11-22 19:10", "2026-11-23 09:00"):
        assert due("emergency", "unit_review", opened, EVENT).at - at(opened) == timedelta(
            minutes=10
        )
    late = due("public_opinion", "edit_proof2", "2026-11-25 09:00", EVENT)
    assert late.at - at("2026-11-25 09:00") == timedelta(minutes=20)


def test_work_news_is_never_compressed():
    found = due("work_news", "final_review", "2026-11-23 08:30", "2026-11-01 08:30")

    assert found.at == at("2026-11-23 12:00")


@given(st.integers(min_value=0, max_value=900), st.sampled_from([0, 1, 2, 3, 5, 6]))
def test_compressed_limit_is_between_floor_and_budget(minutes, index):
    one = POLICY.rules("emergency")[index]
    opened = at(EVENT) + timedelta(minutes=minutes)

    found = step_due(
        POLICY, "emergency", one, opened, CALENDAR, at(EVENT), remaining("emergency", one.id)
    )

    assert timedelta(minutes=10) <= found.at - opened <= one.limit.wall


# --- what silence leads to ----------------------------------------------------------------------


def test_work_news_is_reminded_then_escalated_in_working_time():
    """3.2: 50 %, 100 %; B岗 at 100 %, superior at 150 %."""
    assert marks("work_news", "unit_review", "2026-11-23 08:30", "2026-11-23 12:00") == {
        "remind:50": "11-23 10:15",
        "remind:100": "11-23 12:00",
        "overdue": "11-23 12:00",
        "escalate_backup:100": "11-23 12:00",
        "escalate_superior:150": "11-23 15:15",
    }


def test_shares_of_working_time_skip_the_weekend():
    found = marks("work_news", "unit_review", "2026-11-20 17:25", "2026-11-23 11:55")

    assert found["remind:50"] == "11-23 10:10"
    assert found["escalate_superior:150"] == "11-23 15:10"


def test_emergency_at_night_reminds_and_escalates_at_night():
    assert marks("emergency", "final_review", "2026-11-22 23:00", "2026-11-23 00:00") == {
        "remind:50": "11-22 23:30",
        "remind:80": "11-22 23:48",
        "remind:100": "11-23 00:00",
        "overdue": "11-23 00:00",
        "escalate_backup:100": "11-23 00:00",
        "escalate_superior:120": "11-23 00:12",
    }


def test_quiet_hours_hold_back_reminders_alone_and_make_one_of_several():
    """3.2: D ignores quiet hours from 07:00 to 23:00; escalation comes when it comes."""
    assert marks("public_opinion", "edit_proof2", "2026-11-23 22:40", "2026-11-23 23:40") == {
        "overdue": "11-23 23:40",
        "escalate_backup:100": "11-23 23:40",
        "escalate_superior:130": "11-23 23:58",
        "remind:100": "11-24 07:00",
    }


def test_office_opinion_is_skipped_at_its_limit_and_nothing_escalates():
    """A-1."""
    found = marks("emergency", "office_opinion", "2026-11-22 15:00", "2026-11-22 15:20")

    assert list(found) == ["remind:50", "remind:80", "remind:100", "overdue", "skip"]
    assert found["skip"] == "11-22 15:20"


@pytest.mark.parametrize("profile", list(Profile))
def test_silence_never_approves_or_skips_a_tier(profile):
    """R1.3-7: for every step of every route."""
    for one in POLICY.rules(profile):
        opened = at("2026-11-23 09:00")
        due_at = step_due(POLICY, profile, one, opened, CALENDAR).at
        kinds = {m.kind for m in step_milestones(POLICY, profile, one, opened, due_at, CALENDAR)}

        assert kinds <= {"remind", "overdue", "escalate_backup", "escalate_superior", "skip"}
        assert ("skip" in kinds) == (one.on_timeout == "skip_and_flag")
        assert not (one.tier and "skip" in kinds)


@given(st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 20)), st.sampled_from(list(Profile)))
def test_marks_are_unique_and_not_before_the_step_opened(opened, profile):
    opened = opened.replace(tzinfo=SHANGHAI)
    for one in POLICY.rules(profile):
        due_at = step_due(POLICY, profile, one, opened, CALENDAR).at
        found = step_milestones(POLICY, profile, one, opened, due_at, CALENDAR)

        assert len({m.mark for m in found}) == len(found)
        assert all(m.at > opened for m in found)
        assert all(m.at >= due_at for m in found if m.kind != "remind")


# --- repeats ------------------------------------------------------------------------------------


def repeat(profile: str, step: str, due_at: str, n: int, fired: str) -> tuple[str, str] | None:
    found = next_repeat(POLICY, profile, rule(profile, step), at(due_at), n, at(fired), CALENDAR)
    return (found.mark, found.at.strftime("%m-%d %H:%M")) if found else None


def test_work_news_repeats_five_times_then_daily():
    fired = "2026-11-23 12:00"

    assert repeat("work_news", "unit_review", fired, 0, fired) == ("repeat:1", "11-23 17:30")
    assert repeat("work_news", "unit_review", fired, 1, "2026-11-23 17:30") == (
        "repeat:2", "11-24 14:00",
    )  # fmt: skip
    assert repeat("work_news", "unit_review", fired, 4, "2026-11-25 09:00") == (
        "repeat:5", "11-25 14:30",
    )  # fmt: skip
    assert repeat("work_news", "unit_review", fired, 5, "2026-11-25 10:00") == (
        "repeat:6", "11-26 10:00",
    )  # fmt: skip


def test_emergency_repeats_every_ten_minutes_without_end():
    fired = "2026-11-22 23:55"

    assert repeat("emergency", "final_review", fired, 500, fired) == ("repeat:501", "11-23 00:05")


def test_opinion_repeats_wait_for_the_morning():
    fired = "2026-11-22 22:50"

    assert repeat("public_opinion", "edit_proof2", fired, 0, fired) == ("repeat:1", "11-23 07:00")


def test_daily_on_the_wall_clock_is_a_day_of_24_hours():
    demo = load_pack(builtin_pack("demo-seconds"))
    one = demo.rules("work_news")[0]
    fired = at("2026-11-21 10:00")

    found = next_repeat(demo, "work_news", one, fired, 5, fired, CALENDAR)

    assert found is not None and found.at == at("2026-11-22 10:00")


def test_pack_without_repeats_has_none():
    silent = POLICY.reminders[Profile.WORK_NEWS].model_copy(update={"every": None})
    policy = POLICY.model_copy(update={"reminders": POLICY.reminders | {Profile.WORK_NEWS: silent}})
    one = rule("work_news", "unit_review")

    assert next_repeat(policy, "work_news", one, at(EVENT), 0, at(EVENT), CALENDAR) is None


# --- quiet hours --------------------------------------------------------------------------------

NIGHT = QuietHours.model_validate({"from": "21:00", "until": "07:30", "days_off": True})
NOON = QuietHours.model_validate({"from": "12:00", "until": "13:30"})


@pytest.mark.parametrize(
    ("quiet", "moment", "sent"),
    [
        (NIGHT, "2026-11-23 20:59", "2026-11-23 20:59"),
        (NIGHT, "2026-11-23 21:00", "2026-11-24 07:30"),
        (NIGHT, "2026-11-24 07:29", "2026-11-24 07:30"),
        (NIGHT, "2026-11-24 07:30", "2026-11-24 07:30"),
        (NIGHT, "2026-11-20 22:00", "2026-11-23 07:30"),  # Friday night to Monday
        (NIGHT, "2026-11-21 12:00", "2026-11-23 07:30"),
        (NIGHT, "2026-10-09 22:00", "2026-10-10 07:30"),  # a worked Saturday
        (NIGHT, "2026-09-30 23:00", "2026-10-08 07:30"),
        (NOON, "2026-11-22 12:10", "2026-11-22 13:30"),
        (NOON, "2026-11-22 21:10", "2026-11-22 21:10"),
        (None, "2026-11-22 03:00", "2026-11-22 03:00"),
    ],
)
def test_out_of_quiet(quiet, moment, sent):
    assert out_of_quiet(at(moment), quiet, CALENDAR) == at(sent)


# --- the whole item -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("profile", "anchor", "ends"),
    [
        ("work_news", "2026-11-20 16:00", "2026-11-24 16:00"),
        ("repost_fast", "2026-11-20 16:00", "2026-11-23 16:00"),
        ("important", "2026-11-20 16:00", "2026-11-25 16:00"),
        ("incident_minor", "2026-11-22 14:20", "2026-11-23 02:20"),
        ("emergency", "2026-11-22 14:20", "2026-11-22 19:20"),
        ("public_opinion", "2026-11-22 14:20", "2026-11-23 14:20"),
    ],
)
def test_item_is_due_by_the_table(profile, anchor, ends):
    assert item_due(POLICY, profile, at(anchor), CALENDAR).at == at(ends)


@pytest.mark.parametrize(
    ("profile", "alarms"),
    [
        ("work_news", ["near 11-24 11:30", "late! 11-24 16:00"]),
        ("emergency", ["red 11-20 19:00", "near 11-20 20:00", "late! 11-20 21:00"]),
        (
            "public_opinion",
            ["half 11-21 04:00", "near 11-21 12:00", "late! 11-21 16:00", "outer! 11-22 16:00"],
        ),
    ],
)
def test_item_alarms_are_those_of_the_table(profile, alarms):
    """3.2; the last one records 迟报 (R5.1-3)."""
    found = item_milestones(POLICY, profile, at("2026-11-20 16:00"), CALENDAR)

    assert [
        f"{one.shown['code']}{'!' if one.shown['late'] else ''} {one.at:%m-%d %H:%M}"
        for one in found
    ] == alarms
    assert len({one.mark for one in found}) == len(found)


def test_every_reason_has_a_text_in_both_languages():
    for profile in Profile:
        for opened in ("2026-10-09 17:25", "2026-12-31 17:00", EVENT):
            found = [
                item_due(POLICY, profile, at(opened), CALENDAR),
                *(
                    due(profile, one.id, opened, "2026-10-09 12:00")
                    for one in POLICY.rules(profile)
                ),
            ]
            for one in found:
                for language in ("zh", "en"):
                    said = told(one, language)
                    assert "{" not in said and "due." not in said
