"""When a step is due and why, and what silence leads to. Silence never approves (R1.3-7, A-14)."""

from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

from pydantic import Field

from review.rules.calendar import Calendar
from review.rules.policy import Length, Policy, QuietHours, StepRule
from review.rules.values import Moment, Profile, Value

MilestoneKind = Literal[
    "remind", "overdue", "escalate_backup", "escalate_superior", "skip", "item_alarm"
]


class Reason(Value):
    """One sentence of an explanation, by catalogue code."""

    code: str
    params: dict[str, Any] = Field(default_factory=dict)


class Due(Value):
    """A due moment with why it is that one."""

    at: Moment
    explanation: tuple[Reason, ...] = ()


class Milestone(Value):
    """A moment at which silence has a consequence. `mark` is stable and names it."""

    kind: MilestoneKind
    mark: str
    at: Moment
    shown: dict[str, Any] = Field(default_factory=dict)


def step_due(
    policy: Policy,
    profile: Profile | str,
    rule: StepRule,
    opened_at: datetime,
    calendar: Calendar,
    anchor_at: datetime | None = None,
    remaining_rules: Sequence[StepRule] = (),
) -> Due:
    """Return when a step is due.

    Args:
        opened_at: When it was opened; aware.
        anchor_at: Where the whole item's clock began (event_time, found_time, submitted_at).
        remaining_rules: This step's rule and one for each position after it; with compression,
            the step gets its share of what is left of the whole item's limit, not more than its
            own limit and not less than the floor (3.2).
    """
    profile = Profile(profile)
    terms = policy.profiles[profile]
    due_at = calendar.after(opened_at, rule.limit, terms.clock)
    reasons = [
        Reason(code="due.opened", params={"opened": _shown(opened_at, calendar)}),
        _length_reason(rule.limit),
    ]
    if rule.limit.is_working:
        reasons += _days_off_between(opened_at, due_at, calendar)
        if not calendar.is_working(opened_at):
            begins = calendar.next_working(opened_at)
            reasons.append(Reason(code="due.begins", params={"begins": _shown(begins, calendar)}))
    compression = policy.compression[profile]
    if compression is not None and anchor_at is not None and remaining_rules:
        ends = calendar.after(anchor_at, terms.item_limit, terms.clock)
        budget = sum((r.limit.wall for r in remaining_rules), timedelta())
        share = rule.limit.wall / budget
        left = max(ends - opened_at, timedelta())
        limit = min(rule.limit.wall, max(left * share, compression.floor.wall))
        if limit < rule.limit.wall:
            due_at = (opened_at + limit).astimezone(due_at.tzinfo)
            seconds = limit / timedelta(seconds=1)
            unit, amount = ("m", seconds / 60) if seconds >= 60 else ("s", seconds)
            reasons.append(
                Reason(
                    code=f"due.compressed.{unit}",
                    params={"ends": _shown(ends, calendar), "amount": f"{round(amount, 1):g}"},
                )
            )
    return Due(
        at=due_at, explanation=(*reasons, *_conclusion(rule.limit, opened_at, due_at, calendar))
    )


def step_milestones(
    policy: Policy,
    profile: Profile | str,
    rule: StepRule,
    opened_at: datetime,
    due_at: datetime,
    calendar: Calendar,
) -> tuple[Milestone, ...]:
    """Return what silence leads to, earliest first; of repeated reminders none, see `next_repeat`.

    Quiet hours move reminders only; overdue, escalation and skip come when they come. Reminders
    that quiet hours would send at one moment become one, the last of them.
    """
    profile = Profile(profile)
    quiet = policy.quiet_hours[profile]
    reminders: dict[datetime, Milestone] = {}
    for percent in policy.reminders[profile].marks:
        at = out_of_quiet(_share(opened_at, due_at, percent, rule, calendar), quiet, calendar)
        reminders[at] = Milestone(
            kind="remind", mark=f"remind:{percent}", at=at, shown={"percent": percent}
        )
    milestones = list(reminders.values())
    milestones.append(Milestone(kind="overdue", mark="overdue", at=due_at))
    if rule.on_timeout == "skip_and_flag":
        milestones.append(Milestone(kind="skip", mark="skip", at=due_at))
    else:
        escalation = policy.escalation[profile]
        for kind, percent in (
            ("escalate_backup", escalation.backup_at),
            ("escalate_superior", escalation.superior_at),
        ):
            at = _share(opened_at, due_at, percent, rule, calendar)
            milestones.append(
                Milestone.model_validate(
                    {"kind": kind, "mark": f"{kind}:{percent}", "at": at,
                     "shown": {"percent": percent}}
                )
            )  # fmt: skip
    order = {"remind": 0, "overdue": 1, "escalate_backup": 2, "escalate_superior": 3, "skip": 4}
    return tuple(sorted(milestones, key=lambda m: (m.at, order[m.kind])))


def next_repeat(
    policy: Policy,
    profile: Profile | str,
    rule: StepRule,
    due_at: datetime,
    n: int,
    fired_at: datetime,
    calendar: Calendar,
) -> Milestone | None:
    """Return the next repeated reminder after the last one, None when there are no more.

    Args:
        n: How many repetitions there have been.
        fired_at: When the last reminder went out.
    """
    profile = Profile(profile)
    reminders = policy.reminders[profile]
    if reminders.every is None:
        return None
    length = reminders.every
    if reminders.cap is not None and n >= reminders.cap:
        if not reminders.then_daily:
            return None
        daily = "1wd" if policy.profiles[profile].clock == "work" else "24h"
        length = Length.model_validate(daily)
    at = calendar.after(max(fired_at, due_at), length, policy.profiles[profile].clock)
    return Milestone(
        kind="remind",
        mark=f"repeat:{n + 1}",
        at=out_of_quiet(at, policy.quiet_hours[profile], calendar),
    )


def item_due(
    policy: Policy, profile: Profile | str, anchor_at: datetime, calendar: Calendar
) -> Due:
    """Return when the whole item is due."""
    terms = policy.profiles[Profile(profile)]
    at = calendar.after(anchor_at, terms.item_limit, terms.clock)
    anchored = Reason(
        code=f"due.item.{terms.anchor}", params={"anchor": _shown(anchor_at, calendar)}
    )
    return Due(
        at=at,
        explanation=(
            anchored,
            _length_reason(terms.item_limit),
            *_conclusion(terms.item_limit, anchor_at, at, calendar),
        ),
    )


def item_milestones(
    policy: Policy, profile: Profile | str, anchor_at: datetime, calendar: Calendar
) -> tuple[Milestone, ...]:
    """Return the alarms of the whole item, earliest first; `late` ones record 迟报."""
    profile = Profile(profile)
    due_at = item_due(policy, profile, anchor_at, calendar).at
    terms = policy.profiles[profile]
    limit = terms.item_limit
    alarms = []
    for alarm in policy.item_alarms[profile]:
        if isinstance(alarm.at, Length):
            at, name = calendar.after(anchor_at, alarm.at), str(alarm.at)
        else:
            at = _portion(anchor_at, due_at, alarm.at, limit.is_working, calendar)
            name = f"{alarm.at}%"
        alarms.append(
            Milestone(
                kind="item_alarm",
                mark=f"alarm:{alarm.code}:{name}",
                at=at,
                shown={"code": alarm.code, "late": alarm.late},
            )
        )
    if terms.outer_limit is not None:  # beyond the whole item's own limit (T-2)
        at = calendar.after(anchor_at, terms.outer_limit, terms.clock)
        shown = {"code": "outer", "late": True}
        mark = f"alarm:outer:{terms.outer_limit}"
        alarms.append(Milestone(kind="item_alarm", mark=mark, at=at, shown=shown))
    return tuple(sorted(alarms, key=lambda m: m.at))


def out_of_quiet(at: datetime, quiet: QuietHours | None, calendar: Calendar) -> datetime:
    """Return the moment, or the end of the quiet time that it falls into."""
    if quiet is None:
        return at
    zone = ZoneInfo(calendar.timezone)
    begins, ends = time.fromisoformat(quiet.from_), time.fromisoformat(quiet.until)
    local = at.astimezone(zone)
    while True:
        if quiet.days_off and not calendar.is_working_day(local.date()):
            local = datetime.combine(local.date() + timedelta(days=1), ends, zone)
            continue
        clock = local.time()
        if begins > ends and clock >= begins:  # the evening part of a night
            local = datetime.combine(local.date() + timedelta(days=1), ends, zone)
            continue
        early = clock < ends if begins > ends else begins <= clock < ends
        if early:
            local = datetime.combine(local.date(), ends, zone)
            continue
        return local


def _share(
    opened_at: datetime, due_at: datetime, percent: int, rule: StepRule, calendar: Calendar
) -> datetime:
    return _portion(opened_at, due_at, percent, rule.limit.is_working, calendar)


def _portion(a: datetime, b: datetime, percent: int, working: bool, calendar: Calendar) -> datetime:
    """Return the moment when a share of the time from a to b is used up, beyond b too."""
    if percent == 100:
        return b
    if not working:
        return (a + (b - a) * (percent / 100)).astimezone(ZoneInfo(calendar.timezone))
    used = calendar.working_time(a, b) * (percent / 100)
    if used <= timedelta():
        return b
    return calendar.after(a, Length(amount=used / timedelta(hours=1), unit="wh"))


def _length_reason(limit: Length) -> Reason:
    return Reason(
        code=f"due.limit.{limit.unit}",
        params={"amount": f"{limit.amount:.10g}", "limit": str(limit)},
    )


def _conclusion(
    limit: Length, begins_at: datetime, due_at: datetime, calendar: Calendar
) -> Iterator[Reason]:
    """Say the due moment, and when it counts days that are not official yet (暂定, 3.4)."""
    yield Reason(code="due.at", params={"at": _shown(due_at, calendar)})
    if limit.is_working and (calendar.provisional(begins_at) or calendar.provisional(due_at)):
        yield Reason(
            code="due.provisional",
            params={
                "calendar": calendar.version,
                "from": calendar.official_from.isoformat(),
                "until": calendar.official_until.isoformat(),
            },
        )


def _days_off_between(a: datetime, b: datetime, calendar: Calendar) -> list[Reason]:
    """Say which days between two moments do not count, and which weekend days do."""
    zone = ZoneInfo(calendar.timezone)
    first, last = a.astimezone(zone).date(), b.astimezone(zone).date()
    days = [first + timedelta(days=n) for n in range(min((last - first).days, 60) + 1)]
    off = [d for d in days if not calendar.is_working_day(d)]
    worked = [d for d in days if d in calendar.worked_days]
    reasons = []
    if off:
        reasons.append(Reason(code="due.days_off", params={"days": _days(off)}))
    if worked:
        reasons.append(Reason(code="due.worked_days", params={"days": _days(worked)}))
    return reasons


def _days(days: Sequence[date]) -> str:
    return ", ".join(d.isoformat() for d in days)


def _shown(at: datetime, calendar: Calendar) -> str:
    return at.astimezone(ZoneInfo(calendar.timezone)).isoformat(timespec="seconds")
