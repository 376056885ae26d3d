"""How much of a step's time is left, in the time that its limit counts."""

from datetime import datetime
from typing import Any

from review.records.tables import Step
from review.rules.calendar import Calendar
from review.rules.policy import Length


def remaining(step: Step, calendar: Calendar, now: datetime) -> dict[str, Any] | None:
    """Return `{clock, seconds, total}`; seconds are negative once the step is overdue.

    `clock` is `work` when only working time counts, else `wall`.
    """
    if step.opened_at is None or step.due_at is None:
        return None
    if Length.model_validate(step.limit).is_working:
        left = calendar.working_time(now, step.due_at)
        total = calendar.working_time(step.opened_at, step.due_at)
        clock = "work"
    else:
        left, total, clock = step.due_at - now, step.due_at - step.opened_at, "wall"
    return {
        "clock": clock,
        "seconds": int(left.total_seconds()),
        "total": max(int(total.total_seconds()), 1),
    }
