"""Who sees what (contract): everybody else gets the same answer as for an item that isn't there."""

from datetime import datetime

from sqlalchemy import ColumnElement, Text, and_, cast, exists, false, or_, true
from sqlmodel import Session, col, select

from review.records.people import Person
from review.records.tables import Channel, Delegation, StepPerson, Submission
from review.rules.errors import NotFoundError
from review.rules.values import Category, Role

SEE_ALL = {
    Role.CENTER_EDITOR, Role.CENTER_DEPUTY, Role.CENTER_CHIEF, Role.PUBLISHER,
    Role.OFFICE_REVIEWER, Role.OFFICE_DIRECTOR, Role.SUPERVISOR, Role.AUDITOR, Role.BUREAU_CHIEF,
    Role.PUBLICITY_LEADER,
}  # fmt: skip
BLIND = {Role.SECURITY_ADMIN, Role.SYSADMIN}


def sees_all(person: Person) -> bool:
    """Tell whether no item is hidden from this person."""
    return bool({held.role for held in person.roles} & SEE_ALL)


def visible(session: Session, person: Person, now: datetime) -> ColumnElement[bool]:
    """Return the condition on submissions that this person may see."""
    if sees_all(person):
        return true()
    roles = {held.role for held in person.roles}
    if roles and roles <= BLIND:
        return false()
    conditions: list[ColumnElement[bool]] = []
    units = {
        held.unit_id
        for held in person.roles
        if held.unit_id
        and held.role in (Role.INFO_OFFICER, Role.UNIT_HEAD, Role.SUPERVISING_LEADER)
    }
    if units:
        conditions.append(col(Submission.unit_id).in_(units))
    if Role.DUTY_OFFICER in roles:
        conditions.append(col(Submission.category) == Category.EMERGENCY)
    operated = {held.unit_id for held in person.roles if held.role == Role.CHANNEL_OPERATOR}
    if operated:
        conditions += _operated(session, {unit for unit in operated if unit})
    conditions.append(col(Submission.author_id) == person.id)
    asked = {person.id} | {
        delegator
        for delegator in session.exec(
            select(Delegation.from_id)
            .where(Delegation.to_id == person.id)
            .where(col(Delegation.revoked_at).is_(None))
            .where(Delegation.from_at <= now)
            .where(Delegation.until_at > now)
        )
    }
    conditions.append(
        exists().where(
            and_(
                col(StepPerson.submission_id) == col(Submission.id),
                col(StepPerson.person_id).in_(asked),
            )
        )
    )
    return or_(*conditions)


def _operated(session: Session, units: set[str]) -> list[ColumnElement[bool]]:
    """An operator sees what goes to its channels; the list of channels is short."""
    channels = session.exec(
        select(Channel.id).where(col(Channel.operator_unit_id).in_(units))
    ).all()
    return [cast(col(Submission.channels), Text).contains(f'"{c}"') for c in channels]


def require_visible(session: Session, person: Person, row: Submission, now: datetime) -> None:
    """Raise NotFoundError unless the person may see the item."""
    if sees_all(person):
        return
    units = {
        held.unit_id
        for held in person.roles
        if held.role in (Role.INFO_OFFICER, Role.UNIT_HEAD, Role.SUPERVISING_LEADER)
    }
    if row.unit_id in units:
        return
    found = session.exec(
        select(Submission.id).where(Submission.id == row.id).where(visible(session, person, now))
    ).first()
    if found is None:
        raise NotFoundError
