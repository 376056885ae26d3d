"""Notices: rows with an addressee, a reason and a key that makes each exist once."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam
from sqlmodel import Session, col, select

from review.acts.item import Item
from review.ids import new_id
from review.records.people import holders
from review.records.tables import Delegation, Grant, Notice
from review.rules.values import Role

_WRITTEN = select(Notice.key).where(col(Notice.key).in_(bindparam("keys", expanding=True)))
_DELEGATES = (
    select(Delegation)
    .where(col(Delegation.from_id).in_(bindparam("absent", expanding=True)))
    .where(col(Delegation.revoked_at).is_(None))
    .where(Delegation.from_at <= bindparam("now"))
    .where(Delegation.until_at > bindparam("now"))
)


def tell(
    session: Session,
    item: Item,
    people: Iterable[tuple[str, str]],
    kind: str,
    mark: str,
    now: datetime,
    *,
    step_id: str = "",
    **shown: Any,
) -> int:
    """Write one notice for each person, unless the same was written before; return how many.

    Args:
        people: Person id and the reason why it is them.
        kind: What happened: asked, remind, overdue, escalated, returned …
        mark: What makes this notice one of its kind, for example "remind:50".
        shown: What the message says beside number and title; codes and moments only.
    """
    return tell_of(session, item.row.id, people, kind, mark, now, step_id=step_id, **shown)


def tell_of(
    session: Session,
    about: str,
    people: Iterable[tuple[str, str]],
    kind: str,
    mark: str,
    now: datetime,
    *,
    step_id: str = "",
    **shown: Any,
) -> int:
    """Write notices as `tell` does, about whatever has this id."""
    wanted = dict(people)
    if not wanted:
        return 0
    keys = {p: f"{about}:{step_id}:{kind}:{mark}:{p}" for p in wanted}
    written = set(session.exec(_WRITTEN, params={"keys": list(keys.values())}))
    fresh = 0
    for person, why in wanted.items():
        if keys[person] in written:
            continue
        session.add(
            Notice(
                id=new_id(),
                key=keys[person],
                submission_id=about,
                step_id=step_id,
                person_id=person,
                kind=kind,
                why=why,
                shown=shown,
                at=now,
                not_before=now,
                next_try_at=now,
            )
        )
        fresh += 1
    return fresh


def with_delegates(
    session: Session, people: Iterable[tuple[str, str]], category: str, now: datetime
) -> list[tuple[str, str]]:
    """Return the people and whoever now acts for one of them (A-28)."""
    asked = dict(people)
    rows = session.exec(_DELEGATES, params={"absent": list(asked), "now": now})
    for row in rows:
        if not row.categories or category in row.categories:
            asked.setdefault(row.to_id, f"delegation:{row.from_id}")
    return list(asked.items())


def by_role(session: Session, role: Role | str, now: datetime) -> list[tuple[str, str]]:
    """Return the bureau-wide holders of a role."""
    return [(person, f"role:{role}") for person in holders(session, str(role), "", now)]


def unit_people(session: Session, unit_id: str, now: datetime) -> list[tuple[str, str]]:
    """Return a unit's information officers and head."""
    rows = session.exec(
        select(Grant.person_id)
        .where(Grant.unit_id == unit_id)
        .where(col(Grant.role).in_([Role.INFO_OFFICER, Role.UNIT_HEAD]))
        .where(Grant.from_at <= now)
        .where(col(Grant.revoked_at).is_(None))
    )
    return [(person, "unit") for person in dict.fromkeys(rows)]
