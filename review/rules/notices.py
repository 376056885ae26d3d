"""What kind of news a notice is, and when it may go out: quiet hours, and what ignores them.

People choose ways for a sort of notice, not for each of the many kinds. The inbox has them all.
"""

from datetime import datetime
from enum import StrEnum

from review.rules.calendar import Calendar
from review.rules.deadlines import out_of_quiet
from review.rules.policy import QuietHours
from review.rules.values import Category

MAIL = "mail"
USUAL = (MAIL,)  # the ways of somebody who chose none


class Sort(StrEnum):
    """What a person chooses ways for."""

    TODO = "todo"
    REMINDER = "reminder"
    ESCALATION = "escalation"
    RESULT = "result"
    DIGEST = "digest"  # what quiet hours held back, in one message


REMINDERS = frozenset({
    "remind", "urge", "returned_remind", "order_remind", "expiry_remind", "statement_remind",
    "late_opinion", "draft_old",
})  # fmt: skip
ESCALATIONS = frozenset({
    "overdue", "escalated", "nobody", "item_alarm", "gate_closed", "ledger_older",
    "attachments_wrong", "takedown", "screening_stop", "channel_failed", "channel_unknown",
    "retraction_failed", "held_by_screening", "order_lapse", "incident_registered",
    "incident_alarm", "incident_overdue", "duty",
})  # fmt: skip
RESULTS = frozenset({
    "published", "partly_published", "retracted", "rejected", "returned", "closed", "edited",
    "skipped", "order_close", "graded", "retention",
})  # fmt: skip

# What of an emergency the officers on duty are told at night: that somebody is asked, and that
# nobody answered. The reminders between are for the one who is asked (requirements, features 42).
FOR_DUTY = frozenset({"asked", "urge", "overdue", "escalated", "nobody", "item_alarm"})


def sort_of(kind: str) -> Sort:
    """Return the sort of a kind of notice; what is none of the others asks for something."""
    if kind in REMINDERS:
        return Sort.REMINDER
    if kind in ESCALATIONS:
        return Sort.ESCALATION
    return Sort.RESULT if kind in RESULTS else Sort.TODO


def not_before(kind: str, at: datetime, quiet: QuietHours | None, calendar: Calendar) -> datetime:
    """Return when a notice of an item may go out: at once, or when its quiet hours end.

    Escalations ignore quiet hours; a pack without quiet hours for a profile, as for emergencies,
    holds nothing back (requirements 3.2).

    Args:
        at: When the notice was written, aware.

    Raises:
        CalendarEndsError: The calendar stops before the quiet hours do.
    """
    if sort_of(kind) is Sort.ESCALATION:
        return at
    return out_of_quiet(at, quiet, calendar)


def concerns_duty(kind: str, category: str, at: datetime, calendar: Calendar) -> bool:
    """Tell whether a notice also goes to who is on duty: emergencies, outside working hours."""
    return category == Category.EMERGENCY and kind in FOR_DUTY and not calendar.is_working(at)
