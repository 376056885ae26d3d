"""The periods that bulletins are about: months (`2026-09`) and quarters (`2026-Q3`)."""

import re
from datetime import date, datetime
from zoneinfo import ZoneInfo

from review.rules.values import Moment, Value

PERIOD = re.compile(r"([12]\d{3})-(?:(0[1-9]|1[0-2])|Q([1-4]))")


class DueRequest(Value):
    """Which bulletins are due at a moment."""

    now: Moment


class Periods(Value):
    """Periods, the earliest first."""

    periods: tuple[str, ...] = ()


class PeriodRef(Value):
    """One period whose bulletin is to be prepared."""

    period: str


def is_quarter(period: str) -> bool:
    return "Q" in period


def bounds(period: str, zone: ZoneInfo) -> tuple[datetime, datetime] | None:
    """Return a period's first moment and the first one after it; None when it names none."""
    found = PERIOD.fullmatch(period)
    if found is None:
        return None
    year, month, quarter = found.groups()
    first = int(month) if month else int(quarter) * 3 - 2
    return _begin(int(year), first, zone), _begin(int(year), first + (1 if month else 3), zone)


def _begin(year: int, month: int, zone: ZoneInfo) -> datetime:
    return datetime(year + (month - 1) // 12, (month - 1) % 12 + 1, 1, tzinfo=zone)


def past(first: datetime, now: datetime, zone: ZoneInfo) -> tuple[str, ...]:
    """Return the periods that began after the month of a moment began and are over now.

    Args:
        first: When the first item came in.
    """
    begun, today = first.astimezone(zone).date(), now.astimezone(zone).date()
    found: list[str] = []
    month = date(begun.year, begun.month, 1)
    while (after := _next(month)) <= today.replace(day=1):
        found.append(f"{month:%Y-%m}")
        if month.month % 3 == 0:
            found.append(f"{month.year}-Q{month.month // 3}")
        month = after
    return tuple(found)


def _next(month: date) -> date:
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)
