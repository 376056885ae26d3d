"""Whether a decision counts, apart from who may act (entitlement is the roster's)."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Protocol

from review.rules.cases import Case, StepLike
from review.rules.errors import MalformedError, RefusedError
from review.rules.plans import CERTIFY
from review.rules.policy import Policy
from review.rules.values import Profile, Status, StepState, Value, Verdict


class Asked(Protocol):
    """What a person asks to decide."""

    @property
    def verdict(self) -> Verdict: ...
    @property
    def digest(self) -> str: ...
    @property
    def opinion(self) -> str: ...
    @property
    def reason_code(self) -> str: ...
    @property
    def return_to(self) -> str: ...
    @property
    def checklist(self) -> Mapping[str, bool]: ...


DECIDABLE = (Status.IN_REVIEW, Status.AUTHORISED, Status.PUBLISHING, Status.PARTLY_PUBLISHED)


class Standing(Value):
    """A finding that stands in the current text."""

    id: str
    rule: str
    severity: str
    is_late: bool = False  # a warning until the third proof, which it blocks
    is_waived: bool = False


class InTheWay(Value):
    """What findings mean for an approval: what blocks it, what wasn't seen, what it lets pass."""

    blocking: tuple[Standing, ...] = ()
    unseen: tuple[Standing, ...] = ()
    ignored: tuple[Standing, ...] = ()


def findings_in_the_way(standing: Iterable[Standing], proof: int, seen: frozenset[str]) -> InTheWay:
    """Judge an approval by the findings of the text it is for.

    Args:
        proof: Which proof the step is; 0 for none.
        seen: Ids of the warnings that the reviewer has ticked.

    Source: requirements 7: block must be fixed or waived, warn be ticked by every reviewer.
    """
    blocking: list[Standing] = []
    unseen: list[Standing] = []
    ignored: list[Standing] = []
    for one in standing:
        if one.is_waived:
            continue
        if one.severity in ("stop", "block") or (proof == 3 and one.is_late):
            blocking.append(one)
        elif one.severity == "warn":
            (ignored if one.id in seen else unseen).append(one)
    return InTheWay(blocking=tuple(blocking), unseen=tuple(unseen), ignored=tuple(ignored))


def find_step(case: Case, key: str, unit: str | None, round_: int | None) -> StepLike:
    """Return the step a request means: the counting row, else the latest lapsed one.

    Raises:
        MalformedError: The plan has no such step.
        RefusedError: `stale_round`: a round that is not the current one.
    """
    rows = [s for s in case.steps if s.key == key and (unit is None or s.unit_id == unit)]
    if not rows:
        raise MalformedError(errors=[{"field": "step", "message": "unknown_step", "value": key}])
    rows.sort(key=lambda s: (s.state == StepState.OPEN, s.state != StepState.LAPSED, s.round))
    step = rows[-1]
    if round_ is not None and round_ != step.round:
        raise RefusedError("stale_round", round=step.round, step=key)
    return step


def check_shape(request: Asked, step: StepLike, policy: Policy) -> None:
    """Refuse a decision that lacks what its verdict needs.

    Raises:
        MalformedError: No opinion or reason on a return, missing checklist ticks (R2.1-3).
    """
    errors: list[dict[str, str]] = []
    if request.verdict == Verdict.RETURN:
        if request.reason_code not in policy.return_reasons:
            errors.append({"field": "reason_code", "message": "reason_code_needed"})
        if not request.opinion.strip():
            errors.append({"field": "opinion", "message": "opinion_needed"})
    says_more = (Verdict.REJECT, Verdict.APPROVE_WITH_CHANGES)
    if request.verdict in says_more and not request.opinion.strip():
        errors.append({"field": "opinion", "message": "opinion_needed"})
    if request.verdict in (Verdict.APPROVE, Verdict.APPROVE_WITH_CHANGES):
        for key in policy.checklist.get(step.key, ()):
            if request.checklist.get(key) is not True:
                errors.append({"field": f"checklist.{key}", "message": "declaration_needed"})
    if errors:
        raise MalformedError(errors=errors)


def check_moment(case: Case, status: str, step: StepLike, request: Asked) -> None:
    """Refuse a decision on something that is not to be decided now, or no longer.

    Raises:
        RefusedError: already_decided, step_not_open, wrong_status, stale_version.
    """
    if step.state == StepState.DECIDED:
        made = next((d for d in reversed(case.decisions) if d.step_id == step.id), None)
        raise RefusedError(
            "already_decided",
            step=step.key,
            by=made.person_id if made else "",
            at=_moment(step.decided_at),
        )
    if status not in DECIDABLE:
        raise RefusedError("wrong_status", status=status)
    if step.state != StepState.OPEN:
        holding = case.open_steps()
        raise RefusedError(
            "step_not_open",
            step=step.key,
            state=str(step.state),
            open=[s.key for s in holding],
            since=_moment(holding[0].opened_at) if holding else "",
        )
    if request.digest != case.digest:
        current = case.version(case.digest)
        raise RefusedError(
            "stale_version",
            digest=case.digest,
            version=current.no if current else 0,
            by=current.author_id if current else "",
            at=_moment(current.at) if current else "",
        )


def check_verdict(case: Case, step: StepLike, request: Asked, policy: Policy) -> None:
    """Refuse a verdict that this step does not offer.

    Raises:
        RefusedError: verdict_not_offered, approve_with_changes_off, return_to_unknown;
            nothing_changed: the change that 同意，修改后发布 asked for was not made.
    """
    if step.key == CERTIFY and request.verdict == Verdict.APPROVE:
        asked = [a for a in case.approvals() if a.verdict == Verdict.APPROVE_WITH_CHANGES]
        if any(a.digest == case.digest for a in asked):
            raise RefusedError("nothing_changed", step=step.key)
    if request.verdict == Verdict.REJECT and not step.tier:
        raise RefusedError("verdict_not_offered", step=step.key, verdict=str(request.verdict))
    if request.verdict == Verdict.APPROVE_WITH_CHANGES:
        allowed = Profile(case.profile) in policy.approve_with_changes
        if not allowed or step.tier != 3:
            raise RefusedError("approve_with_changes_off", step=step.key)
    if request.verdict == Verdict.RETURN and request.return_to not in ("", "author"):
        return_position(case, step, request.return_to)


def return_position(case: Case, step: StepLike, return_to: str) -> int:
    """Return the position of an earlier step to go back to (A-15).

    Raises:
        RefusedError: return_to_unknown.
    """
    earlier = [
        s.position
        for s in case.current_steps()
        if s.key == return_to and s.position < step.position and s.origin == "plan"
    ]
    if not earlier:
        raise RefusedError("return_to_unknown", return_to=return_to)
    return min(earlier)


def _moment(at: datetime | None) -> str:
    return at.isoformat() if at else ""
