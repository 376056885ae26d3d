"""Who is asked on a step, and in what capacity somebody may decide it (R1.3-3, A-6, A-14, A-28)."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam
from sqlmodel import Session, col, or_, select

from review.acts.item import Item
from review.records.people import Person, backups_of, delegations_to, holders, load_person
from review.records.tables import (
    Decision,
    Delegation,
    Grant,
    PersonRow,
    Step,
    StepPerson,
    Submission,
    Unit,
)
from review.rules.cases import DecisionLike
from review.rules.values import Category, Role, StepState

_ASKED = select(StepPerson).where(StepPerson.step_id == bindparam("step"))


@dataclass(frozen=True)
class Capacity:
    """In what capacity a person acts: by which grant, how they came to it, for whom."""

    role: str
    grant_id: str
    why: str = "role"  # role, backup, superior, delegation
    acting_for: str | None = None


def scope(row: Submission, step: Step, role: str) -> str:
    """Return the unit for which a role must be held to act on a step; empty: bureau-wide."""
    if role in (Role.UNIT_HEAD, Role.CHANNEL_OPERATOR):
        return step.unit_id or row.unit_id
    if role == Role.SUPERVISING_LEADER:
        return row.unit_id
    return ""


def capacity(
    session: Session, person: Person, item: Item, step: Step, now: datetime
) -> Capacity | None:
    """Return in what capacity a person may decide a step now, or None.

    Separation of duties is judged elsewhere: this only asks the roster, live.
    """
    if step.only_for and step.only_for != person.id:
        return _by_superior(session, person, item, step) or _by_delegation(
            session, person, item, step, now
        )
    return (
        _by_role(session, person, item.row, step, step.role)
        or _by_superior(session, person, item, step)
        or _by_delegation(session, person, item, step, now)
        or _by_backup(session, person, item, step, now)
    )


def _by_role(
    session: Session, person: Person, row: Submission, step: Step, role: str
) -> Capacity | None:
    wanted = scope(row, step, role)
    for held in person.roles:
        if held.role == role and (held.unit_id or "") == wanted:
            return Capacity(role, held.grant_id)
    if role == Role.SUPERVISING_LEADER:  # units directly under the chief
        unit = session.get(Unit, row.unit_id)
        if unit is not None and unit.under_chief:
            for held in person.roles:
                if held.role == Role.BUREAU_CHIEF:
                    return Capacity(Role.BUREAU_CHIEF, held.grant_id, "superior")
    return None


def _by_superior(session: Session, person: Person, item: Item, step: Step) -> Capacity | None:
    """提级代审: somebody above decides in place once the step came to them."""
    if not any(held.role in _above(item, step.role) for held in person.roles):
        return None
    asked = session.get(StepPerson, (step.id, person.id))
    if asked is None or not asked.active or asked.why != "superior":
        return None
    for role in _above(item, step.role):
        found = _by_role(session, person, item.row, step, role)
        if found:
            return Capacity(found.role, found.grant_id, "superior")
    return None


def _by_delegation(
    session: Session, person: Person, item: Item, step: Step, now: datetime
) -> Capacity | None:
    """委托: dated, by category; for the chief in C and D only when filed (A-28)."""
    for delegation in delegations_to(session, person.id, now):
        if delegation.categories and item.row.category not in delegation.categories:
            continue
        if step.only_for and step.only_for != delegation.from_id:
            continue
        absent = load_person(session, delegation.from_id, now)
        if absent is None:
            continue
        held = _by_role(session, absent, item.row, step, step.role)
        if held is None or (needs_filed(item, held.role) and not delegation.filed):
            continue
        return Capacity(held.role, held.grant_id, "delegation", absent.id)
    return None


def _by_backup(
    session: Session, person: Person, item: Item, step: Step, now: datetime
) -> Capacity | None:
    """B岗: the standing stand-in of somebody who holds the role."""
    principals = session.exec(
        select(PersonRow.id).where(PersonRow.backup_id == person.id).order_by(col(PersonRow.id))
    ).all()
    for principal in principals:
        absent = load_person(session, principal, now)
        held = _by_role(session, absent, item.row, step, step.role) if absent else None
        if held is not None and not needs_filed(item, held.role):
            return Capacity(held.role, held.grant_id, "backup", principal)
    return None


def needs_filed(item: Item, role: str) -> bool:
    """Tell whether only a filed 授权书 lets somebody act for it: the chief, C and D (A-28)."""
    grave = item.row.category in (Category.EMERGENCY, Category.PUBLIC_OPINION)
    return role == Role.BUREAU_CHIEF and grave


def _above(item: Item, role: str) -> list[str]:
    """Return the roles above one, nearest first."""
    chain: list[str] = []
    above = item.policy.superiors.get(Role(role))
    while above and str(above) not in chain:
        chain.append(str(above))
        above = item.policy.superiors.get(Role(above))
    return chain


def people_for(session: Session, item: Item, step: Step, now: datetime) -> list[tuple[str, str]]:
    """Return who is asked on a step, each with the reason: role, backup, transfer, superior.

    Whoever separation of duties excludes is left out; when nobody is left, the step moves one
    level up (A-6).
    """
    excluded = item.case.excluded(step)
    if step.only_for:
        return [(step.only_for, "transfer")]
    asked = _holders(session, item, step, step.role, excluded, now)
    if asked:
        mine = {person for person, _ in asked}
        standing = {} if needs_filed(item, step.role) else backups_of(session, mine, now)
        backups = set(standing.values()) - mine - excluded
        return asked + [(backup, "backup") for backup in sorted(backups)]
    for role in _above(item, step.role):
        higher = _holders(session, item, step, role, excluded, now)
        if higher:
            return [(person, "superior") for person, _ in higher]
    return []


def _holders(
    session: Session, item: Item, step: Step, role: str, excluded: set[str], now: datetime
) -> list[tuple[str, str]]:
    people = leaders(session, item, role, scope(item.row, step, role), now)
    return [(person, "role") for person in people if person not in excluded]


def leaders(session: Session, item: Item, role: str, unit: str, now: datetime) -> list[str]:
    """Return a role's holders; the chief leads a unit that has no other leader (A-4)."""
    people = holders(session, role, unit, now)
    if not people and role == Role.SUPERVISING_LEADER:
        own = session.get(Unit, item.row.unit_id)
        if own is not None and own.under_chief:
            return holders(session, Role.BUREAU_CHIEF, "", now)
    return people


def ask(session: Session, item: Item, step: Step, now: datetime) -> list[tuple[str, str]]:
    """Write down who is asked on an open step; who no longer is stays visible but inactive."""
    wanted = dict(people_for(session, item, step, now))
    rows = {row.person_id: row for row in session.exec(_ASKED, params={"step": step.id})}
    for person, row in rows.items():
        keep = person in wanted or row.why == "superior"
        if row.active != keep:
            row.active = keep
            session.add(row)
    for person, why in wanted.items():
        if person not in rows:
            session.add(
                StepPerson(
                    step_id=step.id,
                    person_id=person,
                    submission_id=item.row.id,
                    why=why,
                    since=now,
                )
            )
        elif rows[person].why != why:
            rows[person].why = why
            session.add(rows[person])
    return list(wanted.items())


def ask_also(
    session: Session, item: Item, step: Step, person_id: str, why: str, now: datetime
) -> bool:
    """Ask one more person on a step; False when they were asked before."""
    row = session.get(StepPerson, (step.id, person_id))
    if row is not None and row.active:
        if row.why != why and why == "superior" and row.why == "backup":
            row.why = why
            session.add(row)
        return False
    if row is None:
        row = StepPerson(
            step_id=step.id, person_id=person_id, submission_id=item.row.id, why=why, since=now
        )
    row.active, row.why = True, why
    session.add(row)
    return True


def remember_entitlement(item: Item) -> None:
    """Fetch in two statements what `was_entitled` looks up for each decision of an item."""
    people = {person for d in item.decisions for person in (d.person_id, d.acting_for_id) if person}
    grants = {decision.grant_id for decision in item.decisions}
    item.roster = [  # a session keeps what it has fetched only as long as somebody holds it
        *item.session.exec(select(Grant).where(col(Grant.id).in_(grants))),
        *item.session.exec(select(PersonRow).where(col(PersonRow.id).in_(people))),
    ]


def was_entitled(session: Session, item: Item, decision: DecisionLike) -> bool:
    """Tell whether the grant named by a decision was held, for the right unit, when it was made.

    The gate asks this of every approval; it looks at the roster's history, not at what the
    decision says of itself.
    """
    if not isinstance(decision, Decision):
        return False
    grant = session.get(Grant, decision.grant_id)
    holder = decision.acting_for_id or decision.person_id
    if grant is None or grant.person_id != holder or grant.role != decision.role:
        return False
    step = next((s for s in item.steps if s.id == decision.step_id), None)
    if step is None or grant.unit_id != scope(item.row, step, decision.role):
        return False
    if decision.acting_for_id is not None and not _stood_in(session, item, decision):
        return False
    person = session.get(PersonRow, decision.person_id)
    if person is None or (person.disabled_at and person.disabled_at <= decision.at):
        return False
    began = grant.from_at <= decision.at
    ended = any(
        end is not None and end <= decision.at for end in (grant.until_at, grant.revoked_at)
    )
    return began and not ended


def _stood_in(session: Session, item: Item, decision: Decision) -> bool:
    """Tell whether somebody acted for another by a delegation then in force, or as B岗 (A-28)."""
    absent, filed = decision.acting_for_id, needs_filed(item, decision.role)
    if decision.why == "backup":
        row = session.get(PersonRow, absent)
        own = row is not None and row.backup_id == decision.person_id
        asked = session.get(StepPerson, (decision.step_id, decision.person_id)) is not None
        return (own or asked) and not filed
    return any(
        (one.filed or not filed) and (one.revoked_at is None or one.revoked_at > decision.at)
        for one in session.exec(
            select(Delegation)
            .where(Delegation.from_id == absent)
            .where(Delegation.to_id == decision.person_id)
            .where(Delegation.from_at <= decision.at)
            .where(Delegation.until_at > decision.at)
        )
    )


def refresh_open_steps(session: Session, person_ids: set[str], now: datetime) -> None:
    """Ask anew on every open step, after the roster changed for these people."""
    asked = select(StepPerson.step_id).where(col(StepPerson.person_id).in_(person_ids))
    open_steps = session.exec(
        select(Step)
        .where(Step.state == StepState.OPEN)
        .where(or_(col(Step.id).in_(asked), col(Step.role).in_(_roles(session, person_ids))))
        .order_by(col(Step.submission_id), col(Step.id))
    ).all()
    for step in open_steps:
        item = Item.locked(session, step.submission_id)
        ask(session, item, step, now)
        if item.row.announced_n >= 0:  # no entry of the trace says that others are asked now
            item.row.announced_n = -1 - item.row.announced_n
            session.add(item.row)


def _roles(session: Session, person_ids: set[str]) -> list[str]:
    return list(
        session.exec(select(Grant.role).where(col(Grant.person_id).in_(person_ids)).distinct())
    )
