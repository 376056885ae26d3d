"""What the reader may decide on an item now, and what each verdict asks for (R4.1-5..9)."""

from collections.abc import Iterable
from typing import Any

from review.acts.item import Item
from review.records.tables import Step
from review.rules.decisions import DECIDABLE, return_position
from review.rules.errors import RefusedError
from review.rules.plans import CERTIFY
from review.rules.values import Profile, Status, StepState, Verdict


def offers(item: Item, mine: Iterable[Step]) -> list[dict[str, Any]]:
    """Return one offer a step that the reader may decide.

    Args:
        mine: The open steps that the reader is entitled to decide.
    """
    if item.row.status not in DECIDABLE:
        return []
    return [
        {
            "step": step.key,
            "unit": step.unit_id or None,
            "round": step.round,
            "tier": step.tier or None,
            "proof": step.proof or None,
            "verdicts": _verdicts(item, step),
            "checklist": list(item.policy.checklist.get(step.key, ())),
            "reasons": list(item.policy.return_reasons),
            "return_to": _return_to(item, step),
        }
        for step in mine
    ]


def _verdicts(item: Item, step: Step) -> list[str]:
    found = [Verdict.APPROVE]
    changes = Profile(item.row.profile) in item.policy.approve_with_changes
    if step.tier == 3 and changes and step.key != CERTIFY:
        found.append(Verdict.APPROVE_WITH_CHANGES)
    # what goes out already is retracted, neither returned nor rejected
    if item.row.status in (Status.IN_REVIEW, Status.AUTHORISED):
        found.append(Verdict.RETURN)
        if step.tier:
            found.append(Verdict.REJECT)
    return [str(verdict) for verdict in found]


def _return_to(item: Item, step: Step) -> list[str]:
    """Return the earlier steps that a return may name, in order; the author always may be."""
    found: list[str] = []
    for earlier in item.case.current_steps():
        if earlier.state != StepState.DECIDED or earlier.key in found:
            continue
        try:
            return_position(item.case, step, earlier.key)
        except RefusedError:
            continue
        found.append(earlier.key)
    return found
