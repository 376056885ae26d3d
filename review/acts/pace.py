"""How much of a step's time is left, in the time that its limit counts."""

from datetime import datetime
from functools import lru_cache
from typing import Any

from review.rules.calendar import Calendar
from review.rules.policy import Length


@lru_cache(maxsize=1000)
def _is_working(limit: str) -> bool:
    return Length.model_validate(limit).is_working


def remaining(
    limit: str,
    opened_at: datetime | None,
    due_at: datetime | None,
    calendar: Calendar | None,
    now: datetime,
) -> dict[str, Any] | None:
    """Return `{clock, seconds, total}`; seconds are negative once the step is overdue.

    `clock` is `work` when only working time counts, else `wall`.
    """
    if opened_at is None or due_at is None or calendar is None:
        return None
    if _is_working(limit):
        left = calendar.working_time(now, due_at)
        total = calendar.working_time(opened_at, due_at)
        clock = "work"
    else:
        left, total, clock = due_at - now, due_at - opened_at, "wall"
    return {
        "clock": clock,
        "seconds": int(left.total_seconds()),
        "total": max(int(total.total_seconds()), 1),
    }
