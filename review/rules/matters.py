"""Supervision orders, incidents and violation cases: which moments of theirs have a consequence.

Silence reminds, alarms, lapses or opens a lead; it decides nothing (A-22, A-23).
"""

from collections.abc import Collection
from datetime import datetime
from enum import StrEnum

from review.rules.calendar import Calendar
from review.rules.policy import Management
from review.rules.values import Level, Moment, Value


class MatterKind(StrEnum):
    """What has a workflow of its own beside the submissions (contract: workflow ids)."""

    ORDER = "supervision"
    INCIDENT = "incident"
    VIOLATION = "violation"


class OrderState(StrEnum):
    """Where a supervision order stands."""

    PROPOSED = "proposed"
    DISMISSED = "dismissed"
    ISSUED = "issued"
    LAPSED = "lapsed"
    RECTIFIED = "rectified"
    CLOSED = "closed"


class IncidentState(StrEnum):
    """Whether an incident is still followed."""

    OPEN = "open"
    CLOSED = "closed"


class IncidentKind(StrEnum):
    """What happened, in the bureau's own field."""

    FIRE = "fire"
    PEST = "pest"
    WILDLIFE = "wildlife"
    ACCIDENT = "accident"
    OTHER = "other"


class ViolationState(StrEnum):
    """How far a lead has come."""

    LEAD = "lead"
    DISMISSED = "dismissed"
    ASKED = "asked"
    STATED = "stated"
    FOUND = "found"


class ViolationResult(StrEnum):
    """What people came to (R5.3-7)."""

    CRITICISM = "criticism"
    HANDED_OVER = "handed_over"
    NONE = "none"


KINDS = range(1, 7)  # R5.3-1 to R5.3-6
LAPSED_ORDER, UNAUTHORISED = 1, 4  # the kinds that the system can see
REPEATS = 1  # one repeat
REMIND_AT = (0.5, 0.8)  # shares of an order's and of a statement's time; our default
GRAVE = frozenset({Level.MAJOR, Level.EXTREME, Level.UNKNOWN})  # unknown must fail safe


class Mark(Value):
    """A moment of a matter at which silence has a consequence."""

    kind: str
    mark: str
    at: Moment


class MatterRef(Value):
    """What a matter's workflow is started with."""

    kind: MatterKind
    matter_id: str


class MatterTurn(Value):
    """Ask for a turn; `now` is the workflow's moment, compared with the worker's own clock."""

    kind: MatterKind
    matter_id: str
    now: Moment


class MatterPosition(Value):
    """Where a matter stands, as its workflow sees it: codes and moments, never text."""

    kind: MatterKind
    matter_id: str
    number: str = ""
    state: str = ""
    next_at: Moment | None = None
    next_mark: str = ""
    done: bool = False


def order_marks(
    state: str,
    round_: int,
    started_at: datetime | None,
    due_at: datetime | None,
    rectified_at: datetime | None,
    rules: Management,
    calendar: Calendar,
) -> tuple[Mark, ...]:
    """Return what silence leads to for an order, earliest first.

    The unit is reminded while its time runs and the order lapses when it is over; whoever issued
    it is reminded of a rectification that waits to be looked at.

    Source: R5.3-1, A-23.
    """
    if state == OrderState.ISSUED and started_at and due_at:
        reminders = [
            Mark(
                kind="order_remind",
                mark=f"remind:{round_}:{share:.0%}",
                at=started_at + (due_at - started_at) * share,
            )
            for share in REMIND_AT
        ]
        return (*reminders, Mark(kind="order_lapse", mark=f"lapse:{round_}", at=due_at))
    if state == OrderState.RECTIFIED and rectified_at:
        at = calendar.after(rectified_at, rules.confirm, "work")
        return (Mark(kind="order_confirm", mark=f"confirm:{rectified_at.isoformat()}", at=at),)
    return ()


def violation_marks(
    state: str, asked_at: datetime | None, due_at: datetime | None
) -> tuple[Mark, ...]:
    """Return what silence leads to while a unit's statement is awaited; it convicts nobody.

    Source: requirements 3.2, violation statement by unit.
    """
    if state != ViolationState.ASKED or asked_at is None or due_at is None:
        return ()
    half = asked_at + (due_at - asked_at) * REMIND_AT[0]
    return (
        Mark(kind="statement_remind", mark="statement_remind", at=half),
        Mark(kind="statement_late", mark="statement_late", at=due_at),
    )


def incident_marks(
    level: str,
    event_at: datetime,
    reports: Collection[datetime],
    published: bool,
    press_held: bool,
    now: datetime,
    fired: Collection[str],
    rules: Management,
    calendar: Calendar,
) -> tuple[Mark, ...]:
    """Return what silence leads to for an open incident, earliest first; its clock is the wall's.

    Args:
        level: Missing counts as unknown, and unknown as grave.
        reports: When the submissions that still count came in.
        published: Whether one of them is out.
        now: Follow-ups that were missed while nobody could look are one reminder, not many.
        fired: The marks that have had their consequence.

    Source: R5.1-3, R5.1-4, T-1; requirements 3.2: 漏报 watch, alarms of profile C, follow-ups.
    """
    grave = level in GRAVE
    found: list[Mark] = []

    def at(kind: str, mark: str, moment: datetime) -> None:
        found.append(Mark(kind=kind, mark=mark, at=moment))

    if not reports:
        window = rules.missed_grave if grave else rules.missed_other
        at("incident_missed", "missed", calendar.after(event_at, window))
        if grave:
            at("incident_missed", "missed:again", calendar.after(event_at, rules.missed_other))
    if not published:
        if grave:
            for number, length in enumerate(rules.line_alarms, 1):
                at("incident_line", f"line:{number}", calendar.after(event_at, length))
        line = rules.line_grave if grave else rules.line_other
        at("incident_late", "late", calendar.after(event_at, line))
    if grave and not press_held:
        at("incident_press", "press", calendar.after(event_at, rules.press))
    if reports:
        latest = max(reports)
        every = calendar.after(latest, rules.follow_up) - latest
        number = max(int((now - latest) / every), 1)
        if f"follow_up:{latest.isoformat()}:{number}" in fired:
            number += 1
        mark = f"follow_up:{latest.isoformat()}:{number}"
        at("incident_follow_up", mark, latest + every * number)
    return tuple(sorted((one for one in found if one.mark not in fired), key=lambda one: one.at))
