"""A policy pack: one dated version of routes, limits and lists, every number with its clause.

The pack is data; this module says what a pack may hold and what makes one illegal. Submissions
are pinned to the version they came in under (R0-4).
"""

import re
from collections.abc import Iterator, Sequence
from datetime import time, timedelta
from itertools import pairwise
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from review.rules.values import Level, Profile, Role, Value

Clock = Literal["work", "wall"]
OnTimeout = Literal["escalate", "skip_and_flag"]
_LENGTH = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(wh|wd|s|m|h)\s*")
_WALL = {"s": 1.0, "m": 60.0, "h": 3600.0}
LONGEST = timedelta(days=3660)  # a limit of more than ten years is a slip of the pen

# Steps that the plan adds on the way; their clocks stand beside the routes.
ADDED_STEPS = ("unit_reconfirm", "countersign", "add_signer", "certify_changes")


class Problem(Value):
    """What makes a pack or calendar illegal: where, and a code of the catalogue `policy.CODE`."""

    where: tuple[str, ...]
    code: str
    params: dict[str, Any] = Field(default_factory=dict)


def problems_error(problems: Sequence[Problem]) -> PydanticCustomError:
    """Return one error that carries every problem, for a validator to raise."""
    said = "; ".join(f"{'.'.join(one.where)}: {one.code}" for one in problems)
    listed = [one.model_dump(mode="json") for one in problems]
    return PydanticCustomError("problems", "{said}", {"said": said, "problems": listed})


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (LookupError, OSError, ValueError) as error:
        raise PydanticCustomError("zone_unknown", "is no time zone") from error
    return name


def _span(text: str) -> str:
    try:
        begins, ends = (time.fromisoformat(part) for part in text.split("-"))
    except ValueError as error:
        raise PydanticCustomError("not_a_span", "is no span such as 08:30-12:00") from error
    if begins >= ends or begins.tzinfo or ends.tzinfo:
        raise PydanticCustomError("not_a_span", "is no span such as 08:30-12:00")
    return text


def _clock_time(text: str) -> str:
    try:
        time.fromisoformat(text)
    except ValueError as error:
        raise PydanticCustomError("not_a_time", "is no time of day such as 21:00") from error
    return text


Zone = Annotated[str, AfterValidator(_zone)]
Span = Annotated[str, AfterValidator(_span)]
TimeOfDay = Annotated[str, Field(pattern=r"^\d\d:\d\d$"), AfterValidator(_clock_time)]


def spans_problem(spans: Sequence[str]) -> Problem | None:
    """Return what is wrong with the spans of a working day: none, or not one after another."""
    moments = [time.fromisoformat(part) for span in spans for part in span.split("-")]
    if not moments or any(a > b for a, b in pairwise(moments)):
        return Problem(where=("working_hours",), code="hours_disorder")
    return None


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
        if isinstance(value, Length | dict):
            return value
        found = _LENGTH.fullmatch(value) if isinstance(value, str) else None
        if found is None or not float(found[1]) > 0:
            raise PydanticCustomError("not_a_length", "is no length such as 3.5wh, 2wd, 20m or 8s")
        return {"amount": float(found[1]), "unit": found[2]}

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.amount > LONGEST.total_seconds() or self.wall > LONGEST:
            raise PydanticCustomError("length_too_long", "is longer than ten years")
        return self

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

    at: Annotated[int, Field(gt=0, le=1000)] | Length
    code: str
    late: bool = False


class QuietHours(Part):
    """Hours in which reminders wait."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    from_: Annotated[TimeOfDay, Field(alias="from")]
    until: TimeOfDay
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


_length = Length.model_validate


class Management(Part):
    """Clocks of supervision orders, incidents and violation cases (requirements 3.2, A-23)."""

    order: Length = _length("3wd")  # 督办单
    order_urgent: Length = _length("2h")  # 督办单 about C and D
    order_proposed_after: Length = _length("1wd")  # since an item's last escalation; our default
    confirm: Length = _length("1wd")  # a rectification waits to be looked at; our default
    statement: Length = _length("3wd")  # violation statement by unit
    stale_channel: Length = _length("336h")  # 14 days without a post: breach (T-4)
    missed_grave: Length = _length("60m")  # 漏报 watch, 重大 and above
    missed_other: Length = _length("4h")  # 漏报 watch, others
    line_alarms: tuple[Length, ...] = (_length("3h"), _length("4h"))  # before the line
    line_grave: Length = _length("5h")  # T-1; then it is 迟报
    line_other: Length = _length("12h")  # 一般, 较大
    press: Length = _length("20h")  # the press conference has to be within 24 h
    follow_up: Length = _length("24h")  # until the incident is closed


class Retention(Part):
    """How long what is no record is kept (A-29); audit, forms and items stay for good."""

    drafts: Length = _length("8760h")  # a draft that was never submitted: 1 year
    notice: Length = _length("720h")  # between the report and the removal; our default
    messages: Length = _length("720h")  # delivered to other systems; our default, over 7 days
    sessions: Length = _length("2160h")  # since a sign-in ended; our default
    letters: Length = _length("4320h")  # tries to bring a letter; our default


LEADERS = (Role.BUREAU_CHIEF, Role.SUPERVISING_LEADER, Role.PUBLICITY_LEADER)


class SecondFactor(Part):
    """Of whom a browser's session must have been opened with a second factor."""

    roles: tuple[Role, ...] = LEADERS  # for everything
    profiles: tuple[Profile, ...] = (Profile.EMERGENCY, Profile.PUBLIC_OPINION)  # to act on these
    grace: Length | None = None  # from when an account is made; time to set one up


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


Roles = Annotated[tuple[Role, ...], BeforeValidator(_listed)]


class Policy(Part):
    """One version of the rules; see `docs/policy.md` for every key."""

    id: Annotated[str, Field(min_length=1)]
    version: Annotated[str, Field(min_length=1)]
    title: dict[str, str] = Field(default_factory=dict)
    basis: tuple[str, ...] = ()
    timezone: Zone = "Asia/Shanghai"
    working_hours: tuple[Span, ...]
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
    second_factor: SecondFactor = SecondFactor()
    management: Management = Management()
    retention: Retention = Retention()

    def rules(self, profile: Profile | str) -> tuple[StepRule, ...]:
        """Return a route's steps in order."""
        return self.steps[Profile(profile)]

    @model_validator(mode="after")
    def _legal(self) -> Self:
        if found := list(_problems(self)):
            raise problems_error(found)
        return self


EVERY_PROFILE = (
    "profiles", "steps", "reminders", "escalation", "item_alarms", "quiet_hours", "compression",
    "authorisation", "reconfirm", "countersign",
)  # fmt: skip


def _problems(policy: Policy) -> Iterator[Problem]:
    """Yield everything that makes a well-formed pack illegal."""
    gaps = [
        Problem(where=(name,), code="no_entry", params={"name": str(profile)})
        for name in EVERY_PROFILE
        for profile in Profile
        if profile not in getattr(policy, name)
    ]
    gaps += [
        Problem(where=("levels",), code="no_entry", params={"name": str(level)})
        for level in Level
        if level not in policy.levels
    ]
    if gaps:  # what follows looks entries up
        yield from gaps
        return
    if spans := spans_problem(policy.working_hours):
        yield spans
    for profile in Profile:
        yield from _route_problems(profile, policy.steps[profile])
        yield from _clock_problems(policy, profile)
    for level, profile in policy.levels.items():
        if policy.profiles[profile].form != "annex2":
            yield Problem(where=("levels", str(level)), code="emergency_form")
    if Profile.EMERGENCY in policy.approve_with_changes:
        yield Problem(where=("approve_with_changes",), code="changes_in_emergency")
    for role in policy.superiors:
        if _goes_round(role, policy.superiors):
            yield Problem(where=("superiors", str(role)), code="superiors_circle")
    known = {rule.id for rules in policy.steps.values() for rule in rules} | set(ADDED_STEPS)
    for name, table in (("targets", policy.targets), ("checklist", policy.checklist)):
        for step in table:
            if step not in known:
                yield Problem(where=(name, step), code="step_unknown", params={"step": step})
    for step in sorted(known - set(policy.targets)):
        yield Problem(where=("targets",), code="no_entry", params={"name": step})
    for step, roles in policy.targets.items():
        for key in roles:
            if key != "default" and key not in set(Profile):
                yield Problem(where=("targets", step, key), code="route_unknown")


def _goes_round(role: Role, superiors: dict[Role, Role | None]) -> bool:
    above, steps = superiors[role], 0
    while above is not None and steps <= len(superiors):
        if above == role:
            return True
        above, steps = superiors.get(above), steps + 1
    return False


def _clock_problems(policy: Policy, profile: Profile) -> Iterator[Problem]:
    """Yield what is wrong with a route's limits, reminders, escalation and compression."""
    name = str(profile)
    terms, reminders = policy.profiles[profile], policy.reminders[profile]
    outer = terms.outer_limit
    if outer and outer.wall < terms.item_limit.wall:
        yield Problem(where=("profiles", name, "outer_limit"), code="outer_shorter")
    if list(reminders.marks) != sorted(set(reminders.marks)):
        yield Problem(where=("reminders", name, "marks"), code="marks_fall")
    if reminders.every is None and (reminders.cap is not None or reminders.then_daily):
        yield Problem(where=("reminders", name), code="repeat_missing")
    escalation = policy.escalation[profile]
    if escalation.superior_at < escalation.backup_at:
        yield Problem(where=("escalation", name, "superior_at"), code="superior_first")
    if policy.compression[profile] is not None:
        rules = policy.steps[profile]
        if terms.item_limit.is_working or any(rule.limit.is_working for rule in rules):
            yield Problem(where=("compression", name), code="compression_working")


def _route_problems(profile: Profile, rules: tuple[StepRule, ...]) -> Iterator[Problem]:
    """Yield what keeps a route from carrying three reviews and three proofs."""
    where = ("steps", str(profile))
    ids = [rule.id for rule in rules]
    for twice in sorted({one for one in ids if ids.count(one) > 1}):
        yield Problem(where=(*where, twice), code="step_twice")
    for added in sorted(set(ids) & set(ADDED_STEPS)):
        yield Problem(where=(*where, added), code="step_reserved")
    if [rule.tier for rule in rules if rule.tier] != [1, 2, 3]:
        yield Problem(where=where, code="tiers")
    if [rule.proof for rule in rules if rule.proof] != [2, 3]:
        yield Problem(where=where, code="proofs")
    elif rules[-1].proof != 3:
        yield Problem(where=where, code="proof_last")
    seen: set[str] = set()
    previous: str | None = None
    for rule in rules:
        if rule.on_timeout == "skip_and_flag" and (rule.tier or rule.proof):
            code = "tier_skipped" if rule.tier else "proof_skipped"
            yield Problem(where=(*where, rule.id, "on_timeout"), code=code)
        if rule.group and (rule.tier or rule.proof):
            yield Problem(where=(*where, rule.id, "group"), code="tier_grouped")
        if rule.group and rule.group != previous and rule.group in seen:
            yield Problem(where=(*where, rule.id, "group"), code="group_torn")
        if rule.group:
            seen.add(rule.group)
        previous = rule.group
