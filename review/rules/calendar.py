"""The working calendar (A-30, 3.4): hours of work, days off, worked weekends.

Days that the State Council has not announced yet are Monday to Friday, marked 暂定 (provisional).
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from typing import Self
from zoneinfo import ZoneInfo

from pydantic import field_serializer, model_validator

from review.rules.policy import Length, Problem, Span, Zone, problems_error, spans_problem
from review.rules.values import Value

ONE_DAY = timedelta(days=1)


class Calendar(Value):
    """A calendar in force."""

    version: str
    timezone: Zone = "Asia/Shanghai"
    working_hours: tuple[Span, ...] = ("08:30-12:00", "13:30-17:30")
    days_off: frozenset[date] = frozenset()
    worked_days: frozenset[date] = frozenset()
    official_from: date
    official_until: date

    @field_serializer("days_off", "worked_days", when_used="json")
    def _in_order(self, days: frozenset[date]) -> list[date]:
        """A set has another order in every process; the digest must not."""
        return sorted(days)

    @model_validator(mode="after")
    def _sound(self) -> Self:
        found = []
        if spans := spans_problem(self.working_hours):
            found.append(spans)
        if self.official_until < self.official_from:
            found.append(Problem(where=("official_until",), code="ends_before"))
        for day in sorted(self.days_off & self.worked_days):
            found.append(
                Problem(where=("worked_days",), code="day_twice", params={"day": day.isoformat()})
            )
        if found:
            raise problems_error(found)
        return self

    @cached_property
    def _zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    @cached_property
    def _spans(self) -> tuple[tuple[time, time], ...]:
        return tuple(
            (time.fromisoformat(begins), time.fromisoformat(ends))
            for begins, ends in (span.split("-") for span in self.working_hours)
        )

    @cached_property
    def hours_a_day(self) -> float:
        """How many working hours a working day has."""
        day = date(2026, 1, 5)
        spans = (
            datetime.combine(day, ends) - datetime.combine(day, begins)
            for begins, ends in self._spans
        )
        return sum(spans, timedelta()) / timedelta(hours=1)

    def is_working_day(self, day: date) -> bool:
        """Tell whether people work that day; 调休 included."""
        if day in self.worked_days:
            return True
        return day not in self.days_off and day.weekday() < 5

    def provisional(self, at: datetime) -> bool:
        """Tell whether a moment's day is not official yet (暂定)."""
        day = at.astimezone(self._zone).date()
        return not self.official_from <= day <= self.official_until

    def is_working(self, at: datetime) -> bool:
        """Tell whether a moment lies in working hours."""
        return next(self._from(at))[0] <= at

    def next_working(self, at: datetime) -> datetime:
        """Return the moment itself when it is working time, else the next one that is."""
        return max(at, next(self._from(at))[0])

    def after(self, at: datetime, length: Length, clock: str = "wall") -> datetime:
        """Return the moment a length later, aware, in the calendar's zone.

        Args:
            at: Aware, any zone.
            length: `wh` and `wd` use up working time; the others run on the wall.
            clock: The profile's; only for the caller's reading, the unit of the length decides.
        """
        if not length.is_working:
            return (at.astimezone(UTC) + length.wall).astimezone(self._zone)
        hours = length.amount * (self.hours_a_day if length.unit == "wd" else 1)
        left = timedelta(hours=hours)
        for begins, ends in self._from(at):
            begins = max(begins, at.astimezone(self._zone))
            if begins + left <= ends:
                return begins + left
            left -= ends - begins
        raise AssertionError("a calendar has no end")

    def working_time(self, a: datetime, b: datetime) -> timedelta:
        """Return how much working time lies between two moments; negative when b is earlier."""
        if b < a:
            return -self.working_time(b, a)
        # Every line of every list asks this: on the wall of the zone there is little to compare.
        from_, to = (at.astimezone(self._zone).replace(tzinfo=None) for at in (a, b))
        total, day, last = timedelta(), from_.date(), to.date()
        while day <= last:
            if self.is_working_day(day):
                for begins, ends in self._spans:
                    begun = max(datetime.combine(day, begins), from_)
                    ended = min(datetime.combine(day, ends), to)
                    if ended > begun:
                        total += ended - begun
            day += ONE_DAY
        return total

    def _from(self, at: datetime) -> Iterator[tuple[datetime, datetime]]:
        """Yield the spans of working time that end after a moment, in order, without end."""
        day = at.astimezone(self._zone).date()
        while True:
            if self.is_working_day(day):
                for begins, ends in self._spans:
                    end = datetime.combine(day, ends, self._zone)
                    if end > at:
                        yield datetime.combine(day, begins, self._zone), end
            day += timedelta(days=1)
