"""Working time: 调休, holidays, noon, nights, the year that is not announced yet (A-30, 3.4)."""

from datetime import UTC, date, datetime, timedelta
from time import perf_counter
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from review.packs import builtin_calendar, load_calendar
from review.rules.calendar import Calendar
from review.rules.policy import Length

SHANGHAI = ZoneInfo("Asia/Shanghai")
CALENDAR = load_calendar(builtin_calendar())

moments = st.datetimes(
    min_value=datetime(2026, 1, 1), max_value=datetime(2027, 3, 1), timezones=st.just(SHANGHAI)
).map(lambda at: at.replace(microsecond=0))
working = st.builds(
    lambda minutes: Length(amount=minutes / 60, unit="wh"), st.integers(min_value=1, max_value=3000)
)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=SHANGHAI)


def after(begins: str, length: str) -> datetime:
    return CALENDAR.after(at(begins), Length.model_validate(length))


@pytest.mark.parametrize(
    ("begins", "length", "ends"),
    [
        ("2026-11-23 09:00", "3.5wh", "2026-11-23 14:00"),  # over noon
        ("2026-11-23 08:30", "3.5wh", "2026-11-23 12:00"),  # not 13:30
        ("2026-11-23 08:30", "1wd", "2026-11-23 17:30"),
        ("2026-11-23 14:00", "2wd", "2026-11-25 14:00"),
        ("2026-11-23 12:30", "1wh", "2026-11-23 14:30"),  # opened at noon
        ("2026-11-23 03:00", "1wh", "2026-11-23 09:30"),  # before work
        ("2026-11-22 15:00", "3.5wh", "2026-11-23 12:00"),  # a Sunday
        ("2026-11-20 17:25", "3.5wh", "2026-11-23 11:55"),  # over a weekend
        ("2026-10-09 17:25", "3.5wh", "2026-10-10 11:55"),  # before a worked Saturday
        ("2026-09-30 17:00", "1wh", "2026-10-08 09:00"),  # over National Day
        ("2026-02-13 17:00", "1wh", "2026-02-14 09:00"),  # a worked Saturday before the holiday
        ("2026-02-14 17:00", "1wh", "2026-02-24 09:00"),  # nine days of Spring Festival
        ("2026-12-31 17:00", "1wh", "2027-01-01 09:00"),  # 2027 is Monday to Friday for now
        ("2026-11-22 23:50", "20m", "2026-11-23 00:10"),  # the wall clock knows no nights
        ("2026-10-01 12:00", "24h", "2026-10-02 12:00"),
    ],
)
def test_after(begins, length, ends):
    assert after(begins, length) == at(ends)


def test_moment_of_any_zone_is_taken_and_the_bureaus_is_given():
    begins = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)

    ends = CALENDAR.after(begins, Length.model_validate("3.5wh"))

    assert ends == at("2026-11-23 14:00")
    assert ends.utcoffset() == timedelta(hours=8)


@pytest.mark.parametrize(
    ("day", "worked"),
    [
        ("2026-10-10", True),
        ("2026-09-20", True),
        ("2026-01-04", True),
        ("2026-05-09", True),
        ("2026-10-07", False),
        ("2026-09-25", False),
        ("2026-02-23", False),
        ("2026-11-21", False),
        ("2026-11-23", True),
        ("2027-01-02", False),
        ("2027-01-04", True),
    ],
)
def test_days_of_2026(day, worked):
    assert CALENDAR.is_working_day(date.fromisoformat(day)) is worked


def test_2026_has_the_announced_number_of_days():
    """3.4: 33 days off, six worked weekend days."""
    days = [date(2026, 1, 1) + timedelta(days=n) for n in range(365)]

    assert (len(CALENDAR.days_off), len(CALENDAR.worked_days)) == (33, 6)
    assert all(day.weekday() >= 5 for day in CALENDAR.worked_days)
    assert sum(map(CALENDAR.is_working_day, days)) == 248


def test_what_is_not_announced_is_provisional():
    assert not CALENDAR.provisional(at("2026-12-31 23:59"))
    assert CALENDAR.provisional(at("2027-01-01 00:00"))
    assert CALENDAR.provisional(datetime(2026, 12, 31, 16, 0, tzinfo=UTC))  # 2027 in the bureau


def test_working_moments():
    assert CALENDAR.is_working(at("2026-11-23 08:30"))
    assert not CALENDAR.is_working(at("2026-11-23 12:00"))
    assert CALENDAR.next_working(at("2026-11-21 10:00")) == at("2026-11-23 08:30")
    assert CALENDAR.next_working(at("2026-11-23 10:00")) == at("2026-11-23 10:00")


@given(moments, working)
def test_working_time_gives_the_length_back(begins, length):
    ends = CALENDAR.after(begins, length)

    wanted = timedelta(hours=length.amount)
    assert abs(CALENDAR.working_time(begins, ends) - wanted) <= timedelta(microseconds=5)


@given(moments, moments)
def test_after_working_time_is_no_later_than_the_end(a, b):
    a, b = min(a, b), max(a, b)
    used = CALENDAR.working_time(a, b)
    if not used:
        assert CALENDAR.next_working(a) >= b
        return

    again = CALENDAR.after(a, Length(amount=used / timedelta(hours=1), unit="wh"))

    assert again <= b + timedelta(milliseconds=1)
    assert CALENDAR.working_time(again, b) <= timedelta(milliseconds=1)
    assert CALENDAR.working_time(b, a) == -used


@given(moments, working, working)
def test_longer_is_never_earlier(begins, one, other):
    first, second = sorted((one, other), key=lambda length: length.amount)

    assert begins < CALENDAR.after(begins, first) <= CALENDAR.after(begins, second)


@given(moments, moments, moments)
def test_working_time_adds_up(a, b, c):
    a, b, c = sorted((a, b, c))

    whole = CALENDAR.working_time(a, c)

    assert whole == CALENDAR.working_time(a, b) + CALENDAR.working_time(b, c)


def test_another_bureau_may_have_other_hours():
    other = Calendar(
        version="x",
        working_hours=("09:00-17:00",),
        official_from=date(2026, 1, 1),
        official_until=date(2026, 12, 31),
    )

    assert other.hours_a_day == 8
    assert other.after(at("2026-11-23 16:00"), Length.model_validate("1wd")) == at(
        "2026-11-24 16:00"
    )


def test_ten_days_cost_no_more_than_a_moment():
    length = Length.model_validate("10wd")
    begins = perf_counter()

    for _ in range(200):
        CALENDAR.after(at("2026-09-24 10:00"), length)

    assert (perf_counter() - begins) / 200 < 0.005
