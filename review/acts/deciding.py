"""A decision is judged, recorded and committed in one transaction, or refused (R4.1)."""

from datetime import datetime
from typing import Any

from sqlmodel import Session

from review.acts import notices
from review.acts.authorising import authorise
from review.acts.entitlement import Capacity, capacity
from review.acts.item import Item
from review.acts.repeats import request_hash
from review.acts.screening import require_no_open
from review.acts.second_factor import require_second_factor
from review.acts.visibility import require_visible
from review.ids import new_id
from review.records.people import Person
from review.records.tables import Decision, Step
from review.requests import DecisionRequest
from review.rules.cases import people_of
from review.rules.decisions import (
    check_moment,
    check_shape,
    check_verdict,
    find_step,
    return_position,
)
from review.rules.errors import KeyReusedError, NotYourStepError, RefusedError
from review.rules.plans import CERTIFY, certify_step
from review.rules.values import Status, StepState, Verdict


def decide(
    session: Session,
    person: Person,
    submission_id: str,
    request: DecisionRequest,
    *,
    decision_id: str,
    way_in: str,
    now: datetime,
) -> dict[str, Any]:
    """Judge one decision and record it; the answer is true once the transaction commits.

    Args:
        decision_id: The caller's key; the same key with the same body gives the first answer.
        now: The moment it is judged by; `request.decided_at` is only recorded.

    Raises:
        KeyReusedError: The key came before with another body or person.
        NotFoundError: No such item, or not visible to this person.
        NotYourStepError: Nothing on the roster lets this person decide this step.
        RefusedError: separation_of_duties, stale_version, stale_round, already_decided …
    """
    hash_ = request_hash(f"decide:{submission_id}", request)
    item = Item.locked(session, submission_id, decision_id)
    first = next((d for d in item.decisions if d.id == decision_id), item.elsewhere)
    if first is not None:
        if first.request_hash != hash_ or first.person_id != person.id:
            raise KeyReusedError
        return first.answer
    require_visible(session, person, item.row, now)
    step = _step(session, person, item, request, now)
    able = capacity(session, person, item, step, now)
    if able is None:
        raise NotYourStepError(step=step.key, role=step.role)
    require_second_factor(person, item)
    check_shape(request, step, item.policy)
    check_moment(item.case, item.row.status, step, request)
    excluded = item.case.excluded(step)
    if person.id in excluded or (able.acting_for or "") in excluded:
        raise RefusedError("separation_of_duties", step=step.key)
    check_verdict(item.case, step, request, item.policy)
    ignored = 0
    if request.verdict in (Verdict.APPROVE, Verdict.APPROVE_WITH_CHANGES):
        ignored = require_no_open(session, item, step.proof, request.findings_seen, now)
    decision = _record(session, person, item, step, request, able, decision_id, way_in, now)
    decision.request_hash = hash_
    _take_effect(session, person, item, step, decision, request, now)
    item.trace(
        "decided",
        now,
        person,
        acting_for=able.acting_for,
        role=able.role,
        way_in=way_in,
        decision_id=decision.id,
        step=step.key,
        unit=step.unit_id,
        round=step.round,
        verdict=str(request.verdict),
        reason_code=request.reason_code,
        grant=able.grant_id,
        why=able.why,
        ignored=ignored,
    )
    decision.answer = {
        "decision_id": decision.id,
        "accepted": True,
        "delivered": False,
        "status": item.row.status,
        "next": [
            {"step": s.key, "unit": s.unit_id, "round": s.round, "role": s.role}
            for s in item.case.next_to_open()
        ]
        if item.row.status == Status.IN_REVIEW
        else [],
    }
    session.add(decision)
    return decision.answer


def _step(
    session: Session, person: Person, item: Item, request: DecisionRequest, now: datetime
) -> Step:
    """Return the step meant; where several units share a key, the one this person may decide."""
    if request.unit is None:
        same = [s for s in item.case.current_steps() if s.key == request.step]
        if len({s.unit_id for s in same}) > 1:
            for step in sorted(same, key=lambda s: s.state != StepState.OPEN):
                if isinstance(step, Step) and capacity(session, person, item, step, now):
                    found = find_step(item.case, step.key, step.unit_id, request.round)
                    assert isinstance(found, Step)
                    return found
    found = find_step(item.case, request.step, request.unit, request.round)
    assert isinstance(found, Step)
    return found


def _record(
    session: Session,
    person: Person,
    item: Item,
    step: Step,
    request: DecisionRequest,
    able: Capacity,
    decision_id: str,
    way_in: str,
    now: datetime,
) -> Decision:
    decision = Decision(
        id=decision_id or new_id(),
        submission_id=item.row.id,
        step_id=step.id,
        closes_step_id=step.id,
        key=step.key,
        unit_id=step.unit_id,
        round=step.round,
        tier=step.tier,
        proof=step.proof,
        verdict=request.verdict,
        digest=item.row.digest,
        person_id=person.id,
        acting_for_id=able.acting_for,
        role=able.role,
        grant_id=able.grant_id,
        why=able.why,
        opinion=request.opinion,
        reason_code=request.reason_code,
        return_to=request.return_to,
        checklist=dict(request.checklist),
        findings_seen=list(request.findings_seen),
        way_in=way_in,
        at=now,
        decided_at=request.decided_at,
        request_hash="",
    )
    step.state = StepState.DECIDED
    step.decided_at = now
    session.add(step)
    session.add(decision)
    item.decisions.append(decision)
    return decision


def _take_effect(
    session: Session,
    person: Person,
    item: Item,
    step: Step,
    decision: Decision,
    request: DecisionRequest,
    now: datetime,
) -> None:
    row = item.row
    match request.verdict:
        case Verdict.APPROVE:
            if step.tier == 1 and row.reported_at is None:
                row.reported_at = now  # 报送 (R4.1-5)
            if step.tier == 3 or step.key == CERTIFY:
                authorise(session, item, decision, now)
        case Verdict.APPROVE_WITH_CHANGES:
            item.add_step(certify_step(step.position, step.limit), row.round)
        case Verdict.REJECT:
            if item.publications():  # a correction: what is out is retracted, not rejected
                raise RefusedError("already_publishing", step=step.key)
            row.status = Status.REJECTED
            row.ended_at = now
            close_open_steps(item, now)
            _tell_unit(session, item, "rejected", decision, now)
        case Verdict.RETURN:
            if item.is_going_out():
                raise RefusedError("already_publishing", step=step.key)
            if request.return_to in ("", "author"):
                row.status = Status.RETURNED
                row.ended_at = None
                row.held_at = None
                close_open_steps(item, now)
                item.end_authorisation("returned", now)
                _tell_unit(session, item, "returned", decision, now)
            else:
                position = return_position(item.case, step, request.return_to)
                item.restart_from(position, now, "returned")


def close_open_steps(item: Item, now: datetime) -> None:
    """Let what is open lapse: the item stopped, or waits for its author."""
    for step in item.steps:
        if step.state == StepState.OPEN:
            item.lapse(step, now)


def _tell_unit(session: Session, item: Item, kind: str, decision: Decision, now: datetime) -> None:
    people = [(item.row.author_id, "author"), *notices.unit_people(session, item.row.unit_id, now)]
    people = [one for one in people if one[0] not in people_of(decision)]
    notices.tell(
        session,
        item,
        people,
        kind,
        decision.id,
        now,
        step=decision.key,
        reason_code=decision.reason_code,
    )
