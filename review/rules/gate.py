"""The last door: nothing passes whose exact text lacks a required approval (R1.3-2, R4.1-2).

The gate does not trust the course of the review. It takes the pinned policy and derives anew
which approvals this text needs, looks for each, and closes when one is missing.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from review.rules.cases import Case, DecisionLike, StepLike, people_of
from review.rules.plans import ADD_SIGNER, CERTIFY, COUNTERSIGN, RECONFIRM
from review.rules.policy import Policy, StepRule
from review.rules.values import Profile, Role, Status, StepState

ADDED_ROLES = {  # who answers a step that the plan added on the way
    RECONFIRM: Role.UNIT_HEAD,
    COUNTERSIGN: Role.UNIT_HEAD,
    ADD_SIGNER: Role.UNIT_HEAD,
    CERTIFY: Role.CENTER_DEPUTY,
}
OPEN_STATUS = (Status.AUTHORISED, Status.PUBLISHING, Status.IN_REVIEW, Status.PARTLY_PUBLISHED)


class AuthorisationLike(Protocol):
    """The publish authorisation in force."""

    digest: str
    channels: dict[str, dict[str, str]]
    publish_at: datetime | None
    valid_until: datetime
    ended_at: datetime | None


def gate(
    case: Case,
    policy: Policy,
    *,
    status: str,
    channel: str,
    operator_unit: str,
    countersign_units: Sequence[str],
    authorisation: AuthorisationLike | None,
    entitled: Callable[[DecisionLike], bool],
    now: datetime,
) -> tuple[str, ...]:
    """Return why this channel may not get the current text; empty when the gate opens.

    Args:
        operator_unit: The unit that operates the channel; its third proof is needed (R2.2-3).
        entitled: Whether a decision's person held the named grant when deciding.
        now: The moment of sending, aware.
    """
    problems: list[str] = []
    counting = [d for d in case.decisions if _counts(case, d, policy) and entitled(d)]
    case = replace(case, decisions=counting)
    digest = case.digest
    version = case.version(digest)
    if status not in (*OPEN_STATUS, Status.PUBLISHED):
        problems.append(f"status:{status}")
    if version is None or not _proofread(case, digest):
        problems.append("proof:1")
    problems += _authority(authorisation, digest, channel, now)
    tiers: dict[int, set[str]] = {}
    proofs: dict[int, set[str]] = {}
    for rule in policy.rules(Profile(case.profile)):
        unit = operator_unit if rule.proof == 3 else ""
        approval = _approval(case, unit, digest, rule)
        if approval is None:
            if not (rule.tier or rule.proof) and _skipped(case, rule):
                continue
            problems.append(f"step:{rule.id}")
            continue
        if rule.tier:
            tiers.setdefault(rule.tier, set()).update(people_of(approval))
        if rule.proof:
            proofs.setdefault(rule.proof, set()).update(people_of(approval))
    for unit in dict.fromkeys(countersign_units):
        if not _countersigned(case, unit, digest, policy):
            problems.append(f"countersign:{unit}")
    for step in case.current_steps():
        if step.origin in ("add_signer", "certify") and not _approved(case, step, digest):
            problems.append(f"step:{step.key}")
    if case.needs_reconfirmation(digest):
        problems.append("step:unit_reconfirm")
    if set(tiers) != {1, 2, 3}:
        problems.append("tiers")
    problems += _same_person(case.authors(), tiers, proofs)
    return tuple(dict.fromkeys(problems))


def _authority(
    authorisation: AuthorisationLike | None, digest: str, channel: str, now: datetime
) -> list[str]:
    if authorisation is None or authorisation.ended_at is not None:
        return ["authorisation:none"]
    problems = []
    if authorisation.digest != digest:
        problems.append("authorisation:digest")
    if channel not in authorisation.channels:
        problems.append("authorisation:channel")
    if now > authorisation.valid_until:
        problems.append("authorisation:expired")
    if authorisation.publish_at is not None and now < authorisation.publish_at:
        problems.append("authorisation:early")
    return problems


def _proofread(case: Case, digest: str) -> bool:
    """The first proof is the author's, recorded with the version the text descends from."""
    by_number = {v.no: v for v in case.versions}
    version = case.version(digest)
    while version is not None:
        if version.author_role == Role.INFO_OFFICER:
            return version.proofread
        version = by_number.get(version.base_no)
    return False


def _steps(case: Case, key: str, unit: str) -> list[StepLike]:
    return [s for s in case.current_steps() if s.key == key and s.unit_id == unit]


def _counts(case: Case, decision: DecisionLike, policy: Policy) -> bool:
    """Tell whether a decision was made in a role that may make it, whatever its row says."""
    step = next((s for s in case.steps if s.id == decision.step_id), None)
    if step is None:
        return False
    wanted = ADDED_ROLES.get(step.key)
    for rule in policy.rules(Profile(case.profile)):
        if rule.id == step.key:
            own = rule.proof != 3 or step.unit_id == policy.center_unit
            wanted = rule.role if own else Role.CHANNEL_OPERATOR  # R2.2-3
    return wanted is not None and _in_rank(decision.role, wanted, policy)


def _approved(case: Case, step: StepLike, digest: str) -> bool:
    return any(a.step_id == step.id and case.covers(a, digest) for a in case.approvals())


def _approval(case: Case, unit: str, digest: str, rule: StepRule) -> DecisionLike | None:
    """Return the approval of a step that reaches this text."""
    counting = {s.id for s in _steps(case, rule.id, unit)}
    for approval in case.approvals():
        if approval.step_id not in counting:
            continue
        if (approval.tier, approval.proof) != (rule.tier or 0, rule.proof or 0):
            continue
        if case.covers(approval, digest):
            return approval
    return None


def _in_rank(role: str, wanted: Role, policy: Policy) -> bool:
    """Tell whether a role is the step's own or one above it (A-6, A-14)."""
    rank: str | None = wanted
    seen: set[str] = set()
    while rank and rank not in seen:
        if role == rank:
            return True
        seen.add(rank)
        above = policy.superiors.get(Role(rank))
        rank = str(above) if above else None
    return False


def _skipped(case: Case, rule: StepRule) -> bool:
    return str(rule.on_timeout) == "skip_and_flag" and any(
        s.state == StepState.SKIPPED for s in _steps(case, rule.id, "")
    )


def _countersigned(case: Case, unit: str, digest: str, policy: Policy) -> bool:
    rows = _steps(case, COUNTERSIGN, unit)
    clock = policy.countersign[Profile(case.profile)]
    if str(clock.on_timeout) == "skip_and_flag" and any(s.state == StepState.SKIPPED for s in rows):
        return True
    return any(_approved(case, step, digest) for step in rows)


def _same_person(
    authors: set[str], tiers: dict[int, set[str]], proofs: dict[int, set[str]]
) -> list[str]:
    problems = []
    groups = [authors, *tiers.values()]
    for index, one in enumerate(groups):
        if any(one & other for other in groups[index + 1 :]):
            problems.append("separation_of_duties:tiers")
    if proofs.get(2, set()) & proofs.get(3, set()):
        problems.append("separation_of_duties:proofs")
    return problems
