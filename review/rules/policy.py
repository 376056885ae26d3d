"""A policy pack: one dated version of routes, limits and lists, every number with its clause.

The pack is data; this module says what a pack may hold and what makes one illegal. Submissions
are pinned to the version they came in under (R0-4).
"""

import re
from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_serializer, model_validator

from review.rules.values import Level, Profile, Role, Value

Clock = Literal["work", "wall"]
OnTimeout = Literal["escalate", "skip_and_flag"]
_LENGTH = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(wh|wd|s|m|h)\s*")
_WALL = {"s": 1.0, "m": 60.0, "h": 3600.0}


class Part(Value):
    """Base of a pack's parts: a key that isn't known is a mistake, not a newer version's."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Length(Part):
    """A length of time: `3.5wh`, `2wd` working, `20m`, `5h`, `8s` on the wall."""

    amount: Annotated[float, Field(gt=0)]
    unit: Literal["wh", "wd", "s", "m", "h"]

    @model_validator(mode="before")
    @classmethod
    def _parsed(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        found = _LENGTH.fullmatch(value)
        if found is None:
            raise ValueError("not a length such as 3.5wh, 2wd, 20m, 5h or 8s")
        return {"amount": float(found[1]), "unit": found[2]}

    @model_serializer
    def __str__(self) -> str:
        return f"{self.amount:.10g}{self.unit}"

    @property
    def is_working(self) -> bool:
        """Whether only working time counts."""
        return self.unit in ("wh", "wd")

    @property
    def wall(self) -> timedelta:
        """The length on the wall clock; a working hour counts as an hour, a day as 24 hours."""
        if self.unit == "wh":
            return timedelta(hours=self.amount)
        if self.unit == "wd":
            return timedelta(days=self.amount)
        return timedelta(seconds=self.amount * _WALL[self.unit])


class ProfileRule(Part):
    """A route's form, clock and whole-item limit (requirements 3.3)."""

    form: Literal["annex1", "annex2"]
    clock: Clock
    item_limit: Length
    outer_limit: Length | None = None
    anchor: Literal["submitted_at", "event_time", "found_time"]


class StepRule(Part):
    """One step of a route."""

    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
    role: Role
    limit: Length
    tier: Literal[1, 2, 3] | None = None
    proof: Literal[2, 3] | None = None
    group: str | None = None
    on_timeout: OnTimeout = "escalate"


class Reminders(Part):
    """When silence is reminded: shares of the limit in percent, then again and again."""

    marks: tuple[Annotated[int, Field(gt=0, le=1000)], ...]
    every: Length | None = None
    cap: Annotated[int, Field(ge=0)] | None = None
    then_daily: bool = False


class Escalation(Part):
    """At which share of the limit the stand-in, then the superior is called (percent)."""

    backup_at: Annotated[int, Field(ge=1, le=1000)]
    superior_at: Annotated[int, Field(ge=1, le=1000)]


class ItemAlarm(Part):
    """An alarm on the whole item: a percent of its limit, or a length from its anchor."""

    at: int | Length
    code: str
    late: bool = False


class QuietHours(Part):
    """Hours in which reminders wait."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    from_: Annotated[str, Field(alias="from", pattern=r"^\d\d:\d\d$")]
    until: Annotated[str, Field(pattern=r"^\d\d:\d\d$")]
    days_off: bool = False


class Compression(Part):
    """Steps shrink when an item came late, never below the floor."""

    floor: Length


class OtherClock(Part):
    """The limit of a step that the plan adds on the way."""

    limit: Length
    on_timeout: OnTimeout = "escalate"


class Returned(Part):
    """What happens while a returned item waits for its unit."""

    remind: tuple[Length, ...]
    close_after: Length


class ContentExpiry(Part):
    """Content that expires (R0-2)."""

    remind_before: Length
    lead_after: Length


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Roles = Annotated[tuple[Role, ...], BeforeValidator(_listed)]


class Policy(Part):
    """One version of the rules; see `docs/policy.md` for every key."""

    id: Annotated[str, Field(min_length=1)]
    version: Annotated[str, Field(min_length=1)]
    title: dict[str, str] = Field(default_factory=dict)
    basis: tuple[str, ...] = ()
    timezone: str = "Asia/Shanghai"
    working_hours: Annotated[tuple[str, ...], Field(min_length=1)]
    center_unit: str
    profiles: dict[Profile, ProfileRule]
    steps: dict[Profile, tuple[StepRule, ...]]
    reminders: dict[Profile, Reminders]
    escalation: dict[Profile, Escalation]
    targets: dict[str, dict[str, Roles]]
    superiors: dict[Role, Role | None]
    item_alarms: dict[Profile, tuple[ItemAlarm, ...]]
    quiet_hours: dict[Profile, QuietHours | None]
    compression: dict[Profile, Compression | None]
    authorisation: dict[Profile, Length]
    approve_with_changes: tuple[Profile, ...] = ()
    reconfirm: dict[Profile, OtherClock]
    countersign: dict[Profile, OtherClock]
    returned: Returned
    late_opinion: Length
    retraction_ratify: Length
    emergency_takedown: Length
    content_expiry: ContentExpiry
    return_reasons: Annotated[tuple[str, ...], Field(min_length=1)]
    checklist: dict[str, tuple[str, ...]]
    levels: dict[Level, Profile]
    fast_lane: bool = True
    raise_roles: tuple[Role, ...]
    lower_roles: tuple[Role, ...]

    def rules(self, profile: Profile | str) -> tuple[StepRule, ...]:
        """Return a route's steps in order."""
        return self.steps[Profile(profile)]

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for name in (
            "profiles", "steps", "reminders", "escalation", "item_alarms", "quiet_hours",
            "compression", "authorisation", "reconfirm", "countersign",
        ):  # fmt: skip
            missing = [str(p) for p in Profile if p not in getattr(self, name)]
            if missing:
                raise ValueError(f"{name}: no entry for {', '.join(missing)}")
        for level in Level:
            if level not in self.levels:
                raise ValueError(f"levels: no entry for {level}")
        for profile, rules in self.steps.items():
            _check_steps(profile, rules)
        for profile, reminders in self.reminders.items():
            if list(reminders.marks) != sorted(set(reminders.marks)):
                raise ValueError(f"reminders.{profile}.marks: must rise")
        for profile, escalation in self.escalation.items():
            if escalation.superior_at < escalation.backup_at:
                raise ValueError(f"escalation.{profile}: the superior comes after the stand-in")
        for grave in (Profile.EMERGENCY,):
            if grave in self.approve_with_changes:
                raise ValueError("approve_with_changes: not for emergencies (A-17)")
        return self


def _check_steps(profile: Profile, rules: tuple[StepRule, ...]) -> None:
    """Raise ValueError for a route that can't carry three reviews and three proofs."""
    where = f"steps.{profile}"
    ids = [rule.id for rule in rules]
    if len(set(ids)) != len(ids):
        raise ValueError(f"{where}: a step id stands twice")
    if [rule.tier for rule in rules if rule.tier] != [1, 2, 3]:
        raise ValueError(f"{where}: needs tiers 1, 2 and 3 once each, in this order (R4.1-11)")
    if [rule.proof for rule in rules if rule.proof] != [2, 3]:
        raise ValueError(f"{where}: needs proofs 2 and 3 once each, in this order (A-3)")
    if rules[-1].proof != 3:
        raise ValueError(f"{where}: the third proof is the last step (A-3)")
    seen: list[str] = []
    previous: str | None = None
    for rule in rules:
        if rule.tier and rule.on_timeout == "skip_and_flag":
            raise ValueError(f"{where}.{rule.id}: a tier is never skipped (skip_and_flag)")
        if rule.proof and rule.on_timeout == "skip_and_flag":
            raise ValueError(f"{where}.{rule.id}: a proof is never skipped (skip_and_flag)")
        if rule.tier and rule.group:
            raise ValueError(f"{where}.{rule.id}: a tier is never in a group (R4.1-11)")
        if rule.group and rule.group != previous and rule.group in seen:
            raise ValueError(f"{where}.{rule.id}: group {rule.group} is torn apart")
        if rule.group:
            seen.append(rule.group)
        previous = rule.group
