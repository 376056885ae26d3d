"""Which pack and calendar are in force from a moment on (R0-4, A-30).

The first pack is adopted at once; a later one is proposed by one person and confirmed by another.
One of the two is the center's chief, whose rules they are (requirements 1.8); the other may be the
system administrator who prepares the file, or the security administrator who confirms it.
"""

import json
from datetime import datetime
from typing import Any

from sqlmodel import Session, col, select

from review.acts.clocks import clock_rule, is_set_by_person, start_item_clock, start_step_clock
from review.acts.item import Item, policy_in_force
from review.ids import new_id
from review.packs import digest_of
from review.records import audit
from review.records.people import Person, load_person
from review.records.tables import (
    CalendarRow,
    Pack,
    PersonRow,
    PolicyProposal,
    Step,
    Submission,
)
from review.rules.calendar import Calendar
from review.rules.errors import NotAllowedError, NotFoundError, RefusedError
from review.rules.policy import Policy
from review.rules.values import Profile, Role, Status, StepState

PROPOSE = {Role.CENTER_CHIEF, Role.SYSADMIN}
CONFIRM = {Role.CENTER_CHIEF, Role.SECURITY_ADMIN}


def adopt_policy(session: Session, policy: Policy, now: datetime) -> bool:
    """Put a pack in force for new submissions; False when it already is."""
    digest = digest_of(policy)
    try:
        if policy_in_force(session)[0] == digest:
            return False
    except NotFoundError:
        pass
    row = session.get(Pack, digest)
    if row is None:
        row = Pack(
            digest=digest,
            id=policy.id,
            version=policy.version,
            body=policy.model_dump_json(by_alias=True),
            adopted_at=now,
        )
    row.adopted_at = now
    session.add(row)
    audit.append(
        session, audit.BUREAU, "policy_adopted", at=now, digest=digest,
        data={"id": policy.id, "version": policy.version},
    )  # fmt: skip
    return True


def adopt_first_policy(session: Session, policy: Policy, now: datetime) -> bool:
    """Put a pack in force while nobody is on the roster; tell whether it is now in force."""
    digest = digest_of(policy)
    in_force = select(Pack.digest).order_by(col(Pack.adopted_at).desc()).limit(1)
    present = session.exec(in_force).first()
    nobody = session.exec(select(PersonRow.id).limit(1)).first() is None
    if present is None or (present != digest and nobody):
        adopt_policy(session, policy, now)
        return True
    return present == digest


def propose_policy(
    session: Session, person: Person, policy: Policy, now: datetime, *, way_in: str
) -> dict[str, Any]:
    """Propose a pack; it is in force once another person has confirmed it.

    Raises:
        NotAllowedError: Neither the center's chief nor a system administrator.
        RefusedError: `nothing_changed`: it is in force already.
    """
    if not _roles(person) & PROPOSE:
        raise NotAllowedError
    base, _ = policy_in_force(session)
    digest = digest_of(policy)
    if base == digest:
        raise RefusedError("nothing_changed")
    row = PolicyProposal(
        id=new_id(),
        digest=digest,
        pack_id=policy.id,
        version=policy.version,
        body=policy.model_dump_json(by_alias=True),
        base_digest=base,
        proposed_by_id=person.id,
        proposed_at=now,
    )
    session.add(row)
    _note(session, "policy_proposed", row, person, now, way_in)
    session.flush()
    return proposal_shown(session, row)


def confirm_policy(
    session: Session, person: Person, proposal_id: str, now: datetime, *, way_in: str
) -> dict[str, Any]:
    """Put a proposed pack in force for new submissions.

    Raises:
        NotFoundError: There is no such proposal.
        NotAllowedError: Neither the center's chief nor a security administrator.
        RefusedError: `dual_control`: by who proposed it, or by two administrators without the
            chief. `proposal_closed`: decided before, or the rules have changed since.
    """
    row = _open_proposal(session, proposal_id)
    if not _roles(person) & CONFIRM:
        raise NotAllowedError
    proposer = load_person(session, row.proposed_by_id, now)
    chiefs = [one for one in (proposer, person) if one and Role.CENTER_CHIEF in _roles(one)]
    if person.id == row.proposed_by_id or not chiefs:
        raise RefusedError("dual_control")
    if policy_in_force(session)[0] != row.base_digest:
        raise RefusedError("proposal_closed")
    row.state, row.decided_by_id, row.decided_at = "confirmed", person.id, now
    session.add(row)
    adopt_policy(session, Policy.model_validate_json(row.body), now)
    _note(session, "policy_confirmed", row, person, now, way_in)
    session.flush()
    return proposal_shown(session, row)


def reject_policy(
    session: Session, person: Person, proposal_id: str, now: datetime, *, way_in: str
) -> dict[str, Any]:
    """Close a proposal without effect; whoever may propose or confirm may do so.

    Raises:
        NotFoundError, NotAllowedError, RefusedError: As `confirm_policy`.
    """
    row = _open_proposal(session, proposal_id)
    if not _roles(person) & (PROPOSE | CONFIRM):
        raise NotAllowedError
    row.state, row.decided_by_id, row.decided_at = "rejected", person.id, now
    session.add(row)
    _note(session, "policy_rejected", row, person, now, way_in)
    return proposal_shown(session, row)


def proposals(session: Session) -> list[dict[str, Any]]:
    """Return the proposals that wait, oldest first, each with what it would change."""
    waiting = (
        select(PolicyProposal)
        .where(PolicyProposal.state == "open")
        .order_by(col(PolicyProposal.id))
    )
    return [proposal_shown(session, row) for row in session.exec(waiting)]


def proposal_shown(session: Session, row: PolicyProposal) -> dict[str, Any]:
    """Return a proposal with every key it changes, before and after."""
    base = session.get_one(Pack, row.base_digest)
    return {
        "id": row.id,
        "pack": row.pack_id,
        "version": row.version,
        "digest": row.digest,
        "state": row.state,
        "proposed_by": row.proposed_by_id,
        "proposed_at": row.proposed_at.isoformat(),
        "decided_by": row.decided_by_id,
        "changes": differences(json.loads(base.body), json.loads(row.body)),
    }


def differences(before: Any, after: Any, place: str = "") -> list[dict[str, Any]]:
    """Return what two packs differ in: the place, and what stands there in each."""
    if isinstance(before, dict) and isinstance(after, dict):
        keys = [*before, *(key for key in after if key not in before)]
        return [
            one
            for key in keys
            for one in differences(
                before.get(key), after.get(key), f"{place}.{key}" if place else str(key)
            )
        ]
    return [] if before == after else [{"key": place, "before": before, "after": after}]


def _open_proposal(session: Session, proposal_id: str) -> PolicyProposal:
    row = session.get(PolicyProposal, proposal_id, with_for_update=True)
    if row is None:
        raise NotFoundError
    if row.state != "open":
        raise RefusedError("proposal_closed")
    return row


def _roles(person: Person) -> set[str]:
    return {held.role for held in person.roles}


def _note(
    session: Session, event: str, row: PolicyProposal, person: Person, now: datetime, way_in: str
) -> None:
    audit.append(
        session, audit.BUREAU, event, at=now, person_id=person.id, way_in=way_in,
        digest=row.digest, data={"proposal": row.id, "base": row.base_digest},
    )  # fmt: skip


def adopt_first_calendar(session: Session, calendar: Calendar, now: datetime) -> bool:
    """Put the shipped calendar in force where there is none; an imported one stays."""
    if session.exec(select(CalendarRow.digest).limit(1)).first() is not None:
        return False
    return adopt_calendar(session, calendar, now)


def adopt_calendar(
    session: Session, calendar: Calendar, now: datetime, *, by: str = "", way_in: str = ""
) -> bool:
    """Put a calendar in force; open deadlines in working time are set anew by it (3.4).

    Returns:
        False when it already was in force.
    """
    digest = digest_of(calendar)
    latest = select(CalendarRow.digest).order_by(col(CalendarRow.imported_at).desc()).limit(1)
    if session.exec(latest).first() == digest:
        return False
    row = session.get(CalendarRow, digest) or CalendarRow(
        digest=digest,
        version=calendar.version,
        body=calendar.model_dump_json(),
        imported_at=now,
    )
    row.imported_at = now
    session.add(row)
    session.flush()
    _set_deadlines_anew(session, calendar, now)
    audit.append(
        session, audit.BUREAU, "calendar_imported", at=now, person_id=by, way_in=way_in,
        digest=digest, data={"version": calendar.version},
    )  # fmt: skip
    return True


def _set_deadlines_anew(session: Session, calendar: Calendar, now: datetime) -> None:
    """Reckon open deadlines in working time by a new calendar; what has fired stays fired."""
    submissions = session.exec(
        select(Submission.id)
        .join(Step, col(Step.submission_id) == col(Submission.id))
        .where(Step.state == StepState.OPEN)
        .where(Submission.status != Status.HELD)
        .distinct()
    ).all()
    for submission_id in submissions:
        item = Item.locked(session, submission_id)
        if item.policy.profiles[Profile(item.row.profile)].clock != "work":
            continue
        before = [(step.id, step.due_at) for step in item.steps]
        for step in item.steps:
            if step.state != StepState.OPEN or is_set_by_person(step):
                continue
            if clock_rule(step).limit.is_working:
                start_step_clock(item, step, calendar, now)
        start_item_clock(item, calendar, now)
        if before != [(step.id, step.due_at) for step in item.steps]:
            item.trace("deadlines_set_anew", now, calendar=calendar.version)
