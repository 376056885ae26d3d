"""The plan: (profile, channels, countersigners, policy) → steps in order (R1.3-1).

Steps with the same position are open together. Positions leave room for steps that come later:
reconfirmation after a substantive edit (A-16), added signers, certified changes (A-17).
"""

from collections.abc import Mapping, Sequence

from review.rules.policy import Policy, StepRule
from review.rules.values import Profile, Role, Value

SPACE = 100  # between two positions of the pack

RECONFIRM = "unit_reconfirm"
COUNTERSIGN = "countersign"
ADD_SIGNER = "add_signer"
CERTIFY = "certify_changes"


class PlannedStep(Value):
    """One step to be taken: who by role, for which unit, in what time, with what on silence."""

    key: str
    unit_id: str = ""
    position: int
    role: str
    tier: int = 0
    proof: int = 0
    group: str = ""
    limit: str
    on_timeout: str = "escalate"
    origin: str = "plan"


def _planned(rule: StepRule, position: int, **more: str) -> PlannedStep:
    fields = {
        "key": rule.id,
        "position": position,
        "role": str(rule.role),
        "tier": rule.tier or 0,
        "proof": rule.proof or 0,
        "group": rule.group or "",
        "limit": str(rule.limit),
        "on_timeout": str(rule.on_timeout),
    }
    return PlannedStep.model_validate(fields | more)


def plan(
    profile: Profile,
    operators: Mapping[str, str],
    countersign_units: Sequence[str],
    policy: Policy,
) -> tuple[PlannedStep, ...]:
    """Return the steps in order.

    Args:
        operators: The operating unit of each chosen channel (R2.2-3); one third proof a unit.
        countersign_units: Units whose heads must agree before the final review (A-25).
    """
    steps: list[PlannedStep] = []
    position = 0
    group = ""
    for rule in policy.rules(profile):
        if not rule.group or rule.group != group:
            position += SPACE
        group = rule.group or ""
        if rule.tier == 3 and countersign_units:
            clock = policy.countersign[profile]
            steps += [
                PlannedStep(
                    key=COUNTERSIGN,
                    unit_id=unit,
                    position=position - SPACE // 2,
                    role=Role.UNIT_HEAD,
                    limit=str(clock.limit),
                    on_timeout=str(clock.on_timeout),
                    origin="countersign",
                )
                for unit in dict.fromkeys(countersign_units)
            ]
        if rule.proof == 3:
            for unit in sorted(set(operators.values())):
                own = unit == policy.center_unit
                role = rule.role if own else Role.CHANNEL_OPERATOR
                steps.append(_planned(rule, position, unit_id=unit, role=str(role)))
        else:
            steps.append(_planned(rule, position))
    return tuple(steps)


def reconfirm_step(after: int, profile: str, policy: Policy) -> PlannedStep:
    """Return the unit's reconfirmation after a substantive edit by the center (A-16)."""
    clock = policy.reconfirm[Profile(profile)]
    return PlannedStep(
        key=RECONFIRM,
        position=after + 1,
        role=Role.UNIT_HEAD,
        limit=str(clock.limit),
        on_timeout=str(clock.on_timeout),
        origin="reconfirm",
    )


def certify_step(after: int, limit: str) -> PlannedStep:
    """Return the certification (核改) that follows 同意，修改后发布 (A-17)."""
    return PlannedStep(
        key=CERTIFY, position=after + 1, role=Role.CENTER_DEPUTY, limit=limit, origin="certify"
    )
