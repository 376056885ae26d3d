"""Keys with which other systems sign what they send us, and what each may speak of.

A key's secret must verify, so it is kept sealed, under a key from SECRET_KEY; it is shown once.
"""

import secrets
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import or_
from sqlmodel import Session, col, select

from review.ids import new_id
from review.records.hook_tables import HookKey
from review.records.kept import NONCE, Box, note
from review.records.people import NOW, names
from review.records.tables import PersonRow, Unit
from review.rules.errors import MalformedError, NotFoundError, RefusedError
from review.rules.values import Role
from review.webhooks import SECRET_SIZE, Key, written

PURPOSE = "hook secret"
AT_ONCE = 2  # secrets of one system that hold at a moment: the old one and the new one
OVERLAP = timedelta(days=1)  # how long the old one still holds unless told otherwise

_HOLD = (
    select(HookKey)
    .where(HookKey.from_at <= NOW)
    .where(or_(col(HookKey.until_at).is_(None), col(HookKey.until_at) > NOW))
    .order_by(col(HookKey.id))
)


class Scope(NamedTuple):
    """What a key may speak of; what is empty has no limit."""

    units: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    people: tuple[str, ...] = ()  # user names or ids
    steps: tuple[str, ...] = ()


class Made(NamedTuple):
    """A new key: its row's id, and its secret, which is shown this once."""

    id: str
    secret: str


def make_key(
    session: Session,
    name: str,
    scope: Scope,
    now: datetime,
    box: Box,
    *,
    from_at: datetime | None = None,
    until_at: datetime | None = None,
    by: str = "",
    way_in: str = "",
) -> Made:
    """Give another system its first key.

    Raises:
        RefusedError: `hook_key_exists`: the name has a key that holds; change that one's secret.
        MalformedError: The scope names what there is not, or the key would end before it begins.
    """
    if _unfinished(session, name, now):
        raise RefusedError("hook_key_exists", key=name)
    people = _checked(session, scope)
    from_at = from_at or now
    if until_at is not None and until_at <= max(from_at, now):
        raise MalformedError(errors=[{"field": "until_at", "message": "moment_in_past"}])
    row = HookKey(
        id=new_id(), name=name, secret="", units=sorted(set(scope.units)),
        roles=sorted(set(scope.roles)), people=people, steps=sorted(set(scope.steps)),
        from_at=from_at, until_at=until_at, made_at=now, made_by=by,
    )  # fmt: skip
    made = _sealed(session, row, box)
    note(
        session, "hook_key_made", now, by, way_in, key=name, id=row.id, units=row.units,
        roles=row.roles, people=row.people, steps=row.steps,
    )  # fmt: skip
    return made


def change_secret(
    session: Session,
    name: str,
    now: datetime,
    box: Box,
    *,
    retire_at: datetime | None = None,
    by: str = "",
    way_in: str = "",
) -> Made:
    """Give a system a second secret with the same scope; the one before ends at a moment.

    Args:
        retire_at: When the old secret ends; a day from now unless given, now or earlier: at once.

    Raises:
        NotFoundError: No key of this name holds.
        RefusedError: `hook_key_changing`: two hold already; retire one first.
    """
    held = _unfinished(session, name, now)
    if not held:
        raise NotFoundError
    if len(held) >= AT_ONCE:
        raise RefusedError("hook_key_changing", key=name)
    (old,) = held
    ends = max(now, retire_at or now + OVERLAP)
    row = HookKey(
        **old.model_dump(exclude={"id", "secret", "from_at", "made_at", "made_by"}),
        id=new_id(), secret="", from_at=min(now, old.from_at) if old.from_at > now else now,
        made_at=now, made_by=by,
    )  # fmt: skip
    old.until_at = ends if old.until_at is None else min(old.until_at, ends)
    session.add(old)
    made = _sealed(session, row, box)
    note(
        session, "hook_secret_changed", now, by, way_in, key=name, id=row.id, old=old.id,
        old_until=old.until_at.isoformat(),
    )  # fmt: skip
    return made


def retire_key(
    session: Session,
    key_id: str,
    now: datetime,
    *,
    at: datetime | None = None,
    by: str = "",
    way_in: str = "",
) -> None:
    """End one secret, now or at a moment to come; never later than it would end anyway.

    Raises:
        NotFoundError: There is no such key, or it is over.
    """
    row = session.get(HookKey, key_id, with_for_update=True)
    if row is None or (row.until_at is not None and row.until_at <= now):
        raise NotFoundError
    ends = max(now, at or now)
    row.until_at = ends if row.until_at is None else min(row.until_at, ends)
    session.add(row)
    note(
        session, "hook_key_retired", now, by, way_in, key=row.name, id=row.id,
        until=row.until_at.isoformat(),
    )  # fmt: skip


def keys_now(session: Session, now: datetime, box: Box) -> list[Key]:
    """Return the keys that hold at a moment, opened; one statement.

    A key that SECRET_KEY doesn't open is left out: it was sealed with another one.
    """
    found = []
    for row in session.exec(_HOLD, params={"now": now}):
        secret = box.open(row.secret, row.id)
        if secret is not None:
            found.append(
                Key(
                    row.name, secret, frozenset(row.units), frozenset(row.roles),
                    frozenset(row.people), frozenset(row.steps),
                )
            )  # fmt: skip
    return found


def keys_listed(session: Session, now: datetime) -> list[dict[str, Any]]:
    """Return every key without its secret, the newest first."""
    rows = session.exec(select(HookKey).order_by(col(HookKey.name), col(HookKey.id).desc())).all()
    known = names(session, (person for row in rows for person in row.people))
    return [
        {
            "id": row.id,
            "key": row.name,
            "units": row.units,
            "roles": row.roles,
            "people": [known.get(person, {"id": person, "name": person}) for person in row.people],
            "steps": row.steps,
            "from_at": row.from_at,
            "until_at": row.until_at,
            "state": _state(row, now),
        }
        for row in rows
    ]


# --- private ------------------------------------------------------------------------------------


def _unfinished(session: Session, name: str, now: datetime) -> list[HookKey]:
    """Return a system's keys that are not over, locked, so that no two are made at once."""
    return list(
        session.exec(
            select(HookKey)
            .where(HookKey.name == name)
            .where(or_(col(HookKey.until_at).is_(None), col(HookKey.until_at) > now))
            .order_by(col(HookKey.id))
            .with_for_update()
        )
    )


def _sealed(session: Session, row: HookKey, box: Box) -> Made:
    secret = secrets.token_bytes(SECRET_SIZE)
    row.secret = box.seal(secret, row.id, secrets.token_bytes(NONCE))
    session.add(row)
    return Made(row.id, written(secret))


def _checked(session: Session, scope: Scope) -> list[str]:
    """Return the people's ids, once everything that a scope names is known to be there.

    A slip here would open a door, or leave one shut that looks open.
    """
    wrong: list[dict[str, str]] = []
    found = set(session.exec(select(Unit.id).where(col(Unit.id).in_(scope.units))))
    for unit in scope.units:
        if unit not in found:
            wrong.append({"field": "units", "message": "unknown_value", "value": unit})
    for role in scope.roles:
        if role not in set(Role):
            wrong.append({"field": "roles", "message": "unknown_value", "value": role})
    people = []
    for person in scope.people:
        row = _person(session, person)
        if row is None:
            wrong.append({"field": "people", "message": "unknown_value", "value": person})
        else:
            people.append(row)
    if wrong:
        raise MalformedError(errors=wrong)
    return sorted(set(people))


def _person(session: Session, person: str) -> str | None:
    return session.exec(
        select(PersonRow.id)
        .where(or_(col(PersonRow.username) == person, col(PersonRow.id) == person))
        .limit(1)
    ).first()


def _state(row: HookKey, now: datetime) -> str:
    if row.until_at is not None and row.until_at <= now:
        return "over"
    return "waiting" if row.from_at > now else "valid"
