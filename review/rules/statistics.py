"""Statistics of a period (R5.2-3): facts about items, and how they add up.

The ledger's rows and the trace alone both give these facts, so that a table can be recomputed
from what nobody can change. Rows come in organisational order and are no ranking (A-21).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from review.rules.calendar import Calendar
from review.rules.values import Status, Verdict

Json = dict[str, Any]

# What is said of an item; each is a column of the tables and a filter of the list.
MEASURES = (
    "submitted", "adopted", "returned", "rejected", "withdrawn", "on_time", "overdue",
    "corrected", "retracted", "original", "reposts", "ignored", "first_pass",
)  # fmt: skip
DIMENSIONS = ("unit", "kind", "category", "month")
REPOSTS = ("repost", "unified_release")
HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Fact:
    """One item: under what it counts, and as what."""

    id: str
    unit: str
    kind: str
    category: str
    month: str  # 2026-09, of the bureau's zone
    counts_as: frozenset[str]  # of MEASURES
    ignored_warnings: int = 0
    status: str = ""  # as of now; the ledger's facts alone say it


class Deed(NamedTuple):
    """One decision: at which step, by whom, and how long it had waited there."""

    item: str
    step: str
    verdict: str
    reason: str
    person: str
    hours: float | None  # working hours since the step was opened


def measures(
    *,
    repost: bool,
    adopted: bool,
    returned: bool,
    rejected: bool,
    withdrawn: bool,
    overdue: bool,
    corrected: bool,
    retracted: bool,
    ignored: bool,
) -> frozenset[str]:
    """Return as what an item counts.

    On time is what was adopted without any limit missed on its way; a first pass was adopted
    without a return.
    """
    said = {
        "submitted": True,
        "adopted": adopted,
        "returned": returned,
        "rejected": rejected,
        "withdrawn": withdrawn,
        "on_time": adopted and not overdue,
        "overdue": overdue,
        "corrected": corrected,
        "retracted": retracted,
        "original": not repost,
        "reposts": repost,
        "ignored": ignored,
        "first_pass": adopted and not returned,
    }
    return frozenset(name for name, holds in said.items() if holds)


def month_of(at: datetime, zone: ZoneInfo) -> str:
    """Return the month of a moment, as `2026-09`."""
    return f"{at.astimezone(zone):%Y-%m}"


def hours_between(opened_at: datetime | None, at: datetime, calendar: Calendar) -> float | None:
    """Return the working hours between two moments; None when a step's opening is unknown."""
    return None if opened_at is None else calendar.working_time(opened_at, at) / HOUR


# --- tables ---------------------------------------------------------------------------------------


def counted(facts: Iterable[Fact]) -> Json:
    """Return how many items count as what; rates are shares, None where there is nothing."""
    found: Json = dict.fromkeys(MEASURES, 0)
    warnings = 0
    for fact in facts:
        warnings += fact.ignored_warnings
        for name in fact.counts_as:
            found[name] += 1
    closed = found["adopted"] + found["rejected"]
    found["ignored_warnings"] = warnings
    found["first_pass_rate"] = round(found["first_pass"] / closed, 4) if closed else None
    return found


def grouped(facts: Iterable[Fact], by: Sequence[str], order: Mapping[str, int]) -> list[Json]:
    """Return a row for each combination of dimensions that occurs.

    Args:
        by: Of DIMENSIONS, or `status`.
        order: Each unit's place in the organisation.
    """
    groups: dict[tuple[str, ...], list[Fact]] = {}
    for fact in facts:
        groups.setdefault(tuple(getattr(fact, name) for name in by), []).append(fact)

    def place(key: tuple[str, ...]) -> tuple[Any, ...]:
        return tuple(
            (order.get(value, len(order)) if name == "unit" else 0, value)
            for name, value in zip(by, key, strict=True)
        )

    return [
        dict(zip(by, key, strict=True)) | counted(groups[key]) for key in sorted(groups, key=place)
    ]


def percentile(values: Sequence[float], share: float) -> float | None:
    """Return the value below which a share of sorted values lies (nearest rank), None of none."""
    if not values:
        return None
    rank = max(-(-len(values) * int(share * 100) // 100), 1)
    return values[rank - 1]


def step_times(deeds: Iterable[Deed]) -> list[Json]:
    """Return the working hours that each step took: how many, the median and P90."""
    by_step: dict[str, list[float]] = {}
    for deed in deeds:
        if deed.hours is not None:
            by_step.setdefault(deed.step, []).append(deed.hours)
    return [
        {"step": step, "decisions": len(hours)} | _spread(hours)
        for step, hours in sorted(by_step.items())
    ]


def reasons(deeds: Iterable[Deed]) -> list[Json]:
    """Return how often items were returned for what, by code."""
    found: dict[str, int] = {}
    for deed in deeds:
        if deed.verdict == Verdict.RETURN:
            found[deed.reason] = found.get(deed.reason, 0) + 1
    return [{"reason": reason, "returns": found[reason]} for reason in sorted(found)]


def load(deeds: Iterable[Deed]) -> dict[str, Json]:
    """Return by person: how many decisions on how many items, and the working hours they took."""
    mine: dict[str, list[Deed]] = {}
    for deed in deeds:
        mine.setdefault(deed.person, []).append(deed)
    return {
        person: {
            "decisions": len(made),
            "items": len({deed.item for deed in made}),
            "returns": sum(deed.verdict == Verdict.RETURN for deed in made),
        }
        | _spread([deed.hours for deed in made if deed.hours is not None])
        for person, made in mine.items()
    }


def _spread(hours: list[float]) -> Json:
    hours.sort()
    return {
        name: None if value is None else round(value, 2)
        for name, value in (
            ("median_hours", percentile(hours, 0.5)),
            ("p90_hours", percentile(hours, 0.9)),
        )
    }


# --- from the trace alone -------------------------------------------------------------------------


@dataclass
class _Story:
    """What the trace has said about one item so far."""

    unit: str = ""
    kind: str = ""
    category: str = ""
    source: str = ""
    month: str = ""
    status: str = Status.IN_REVIEW
    ignored: int = 0
    opened: dict[tuple[str, str, int], datetime] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)


class Retelling:
    """Facts from the entries of a trace, which come in the order they were written."""

    def __init__(self, calendar: Calendar, zone: ZoneInfo) -> None:
        self._calendar = calendar
        self._zone = zone
        self._stories: dict[str, _Story] = {}
        self._deeds: dict[str, list[Deed]] = {}

    def begin(self, chain: str, at: datetime, data: Mapping[str, Any]) -> None:
        """Take up an item by its first entry."""
        self._stories[chain] = _Story(
            unit=data.get("unit", ""),
            kind=data.get("kind", ""),
            category=data.get("category", ""),
            source=data.get("source", ""),
            month=month_of(at, self._zone),
        )

    def tell(
        self, chain: str, at: datetime, event: str, person: str, data: Mapping[str, Any]
    ) -> None:
        """Take one entry; those of items that were not begun are passed over."""
        story = self._stories.get(chain)
        if story is None:
            return
        match event:
            case "set_category":
                story.category = data["category"]
            case "step_opened":
                story.opened[data["step"], data["unit"], data["round"]] = at
            case "milestone_overdue":
                story.seen.add("overdue")
            case "milestone_item_alarm" if data.get("late"):
                story.seen.add("overdue")
            case "status_changed":
                if data["status"] in (Status.PUBLISHED, Status.PARTLY_PUBLISHED):
                    story.seen.add("adopted")
                story.status = data["status"]
            case "withdraw" | "milestone_closed":
                story.status = Status.WITHDRAWN
            case "correct" | "retract":
                story.seen.add(event)
                story.status = Status.IN_REVIEW if event == "correct" else story.status
            case "decided":
                self._decided(chain, story, at, person, data)

    def _decided(
        self, chain: str, story: _Story, at: datetime, person: str, data: Mapping[str, Any]
    ) -> None:
        verdict = data["verdict"]
        story.ignored += data.get("ignored", 0)
        if verdict == Verdict.RETURN:
            story.seen.add("returned")
        if verdict == Verdict.REJECT:
            story.status = Status.REJECTED
        opened = story.opened.get((data["step"], data["unit"], data["round"]))
        self._deeds.setdefault(chain, []).append(
            Deed(
                chain, data["step"], verdict, data["reason_code"], person,
                hours_between(opened, at, self._calendar),
            )
        )  # fmt: skip

    def facts(self) -> list[Fact]:
        return [
            Fact(
                id=chain,
                unit=story.unit,
                kind=story.kind,
                category=story.category,
                month=story.month,
                counts_as=measures(
                    repost=story.source in REPOSTS,
                    adopted="adopted" in story.seen,
                    returned="returned" in story.seen,
                    rejected=story.status == Status.REJECTED,
                    withdrawn=story.status == Status.WITHDRAWN,
                    overdue="overdue" in story.seen,
                    corrected="correct" in story.seen,
                    retracted="retract" in story.seen,
                    ignored=story.ignored > 0,
                ),
                ignored_warnings=story.ignored,
            )
            for chain, story in self._stories.items()
        ]

    def deeds(self) -> list[Deed]:
        return [deed for made in self._deeds.values() for deed in made]
