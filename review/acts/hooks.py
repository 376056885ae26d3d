"""Who may connect other systems, and how: keys, endpoints, OA accounts, what was delivered.

All of it is the security administrator's (requirements 1.8); sending a message again also the
system administrator's. `by` is None for whoever has the machine's console.
"""

import secrets
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import func, or_, update
from sqlmodel import Session, col, select

from review.acts.announcing import WAITS, look_again
from review.addresses import wrong_with_url
from review.ids import new_id
from review.records import hook_keys
from review.records.hook_keys import OVERLAP, Made, Scope
from review.records.hook_tables import HookEndpoint, HookPost, HookTodo
from review.records.kept import NONCE, Box, known, note
from review.records.people import Person
from review.records.tables import PersonRow, StepPerson, Submission
from review.rules.errors import MalformedError, NotAllowedError, NotFoundError, RefusedError
from review.rules.values import Role
from review.webhooks import SECRET_SIZE, written

Json = dict[str, Any]

EVENTS = (
    "todo.opened", "todo.changed", "todo.closed",
    "item.published", "item.returned", "item.overdue", "item.escalated",
)  # fmt: skip
READERS = frozenset({Role.SECURITY_ADMIN, Role.SYSADMIN, Role.AUDITOR})
SENDERS = frozenset({Role.SECURITY_ADMIN, Role.SYSADMIN})
KEEPERS = frozenset({Role.SECURITY_ADMIN})


def _by(who: Person | None, allowed: Iterable[Role] = KEEPERS) -> str:
    """Return who does it, for the trace, if they may."""
    if who is None:
        return ""
    if not {held.role for held in who.roles} & set(allowed):
        raise NotAllowedError
    return who.id


# --- keys of what comes in ------------------------------------------------------------------------


def add_key(
    session: Session,
    name: str,
    scope: Scope,
    now: datetime,
    box: Box,
    *,
    from_at: datetime | None = None,
    until_at: datetime | None = None,
    by: Person | None = None,
    way_in: str,
) -> Made:
    """Give a system its key; NotAllowedError, else as `hook_keys.make_key`."""
    return hook_keys.make_key(
        session, name, scope, now, box, from_at=from_at, until_at=until_at, by=_by(by),
        way_in=way_in,
    )  # fmt: skip


def change_key(
    session: Session,
    name: str,
    now: datetime,
    box: Box,
    *,
    retire_at: datetime | None = None,
    by: Person | None = None,
    way_in: str,
) -> Made:
    """Change a key's secret; NotAllowedError, else as `hook_keys.change_secret`."""
    return hook_keys.change_secret(
        session, name, now, box, retire_at=retire_at, by=_by(by), way_in=way_in
    )


def retire_key(
    session: Session,
    key_id: str,
    now: datetime,
    *,
    at: datetime | None = None,
    by: Person | None = None,
    way_in: str,
) -> Json:
    """End a secret; NotAllowedError, else as `hook_keys.retire_key`."""
    hook_keys.retire_key(session, key_id, now, at=at, by=_by(by), way_in=way_in)
    return {"id": key_id}


def set_oa_account(
    session: Session,
    person_id: str,
    account: str,
    now: datetime,
    *,
    by: Person | None = None,
    way_in: str,
) -> Json:
    """Say which account of the OA is this person's; empty: none. Never one's own.

    Raises:
        NotAllowedError: Not a security administrator.
        RefusedError: `own_account`; `oa_account_taken`: another person has it.
        NotFoundError: There is no such person.
    """
    who = _by(by)
    if who == person_id:
        raise RefusedError("own_account")
    row = known(session, person_id)
    account = account.strip()
    if account and not account.isprintable():
        raise MalformedError(errors=[{"field": "oa_account", "message": "unprintable"}])
    other = session.exec(select(PersonRow.id).where(PersonRow.oa_account == account)).first()
    if account and other not in (None, person_id):
        raise RefusedError("oa_account_taken")
    if (row.oa_account or "") != account:
        row.oa_account = account or None
        session.add(row)
        _look_again(session, person_id)
        note(session, "oa_account_set", now, who, way_in, person=person_id, account=account)
    return {"person": person_id, "oa_account": account or None}


# --- endpoints of what goes out -------------------------------------------------------------------


def add_endpoint(
    session: Session,
    name: str,
    url: str,
    events: Iterable[str],
    now: datetime,
    box: Box,
    *,
    by: Person | None = None,
    way_in: str,
) -> Made:
    """Register where a system wants to be told; what is open now is told first.

    Raises:
        NotAllowedError: Not a security administrator.
        MalformedError: No URL that we send to, or an event that there is not.
        RefusedError: `hook_endpoint_exists`: the name is taken.
    """
    who = _by(by)
    wanted = list(dict.fromkeys(events)) or list(EVENTS)
    _check_url(url)
    for event in wanted:
        if event not in EVENTS:
            raise MalformedError(
                errors=[{"field": "events", "message": "unknown_value", "value": event}]
            )
    if session.exec(select(HookEndpoint.id).where(HookEndpoint.name == name)).first():
        raise RefusedError("hook_endpoint_exists", endpoint=name)
    row = HookEndpoint(
        id=new_id(), name=name, url=url, events=wanted, secret="", since_at=now, made_by=who
    )
    secret = _new_secret(row, box)
    session.add(row)
    session.exec(  # what ended before is no news; of what is open, the to-dos are
        update(Submission)
        .where(col(Submission.audit_n) > col(Submission.announced_n))
        .where(col(Submission.ended_at).is_not(None))
        .values(announced_n=Submission.audit_n)
    )
    look_again(session, col(Submission.ended_at).is_(None))
    note(session, "hook_endpoint_added", now, who, way_in, endpoint=name, events=wanted)
    return Made(row.id, secret)


def change_endpoint(
    session: Session,
    endpoint_id: str,
    now: datetime,
    *,
    url: str | None = None,
    events: Iterable[str] = (),
    paused: bool | None = None,
    by: Person | None = None,
    way_in: str,
) -> Json:
    """Change where or of what a system is told, or pause it; what happens meanwhile is kept.

    Raises:
        As `add_endpoint`, and NotFoundError.
    """
    who = _by(by)
    row = _endpoint(session, endpoint_id)
    wanted = list(dict.fromkeys(events))
    for event in wanted:
        if event not in EVENTS:
            raise MalformedError(
                errors=[{"field": "events", "message": "unknown_value", "value": event}]
            )
    if url is not None:
        _check_url(url)
        row.url = url
    if wanted:
        row.events = wanted
    if paused is not None and paused != (row.paused_at is not None):
        row.paused_at = now if paused else None
    session.add(row)
    note(
        session, "hook_endpoint_changed", now, who, way_in, endpoint=row.name, events=row.events,
        address=url is not None, paused=row.paused_at is not None,
    )  # fmt: skip
    return {"id": row.id, "paused": row.paused_at is not None}


def change_endpoint_secret(
    session: Session,
    endpoint_id: str,
    now: datetime,
    box: Box,
    *,
    retire_at: datetime | None = None,
    by: Person | None = None,
    way_in: str,
) -> Made:
    """Sign with a new secret, and until a moment with the old one beside it.

    Raises:
        NotAllowedError, NotFoundError: As `change_endpoint`.
        RefusedError: `hook_key_changing`: the last change isn't over.
    """
    who = _by(by)
    row = _endpoint(session, endpoint_id)
    if row.old_until is not None and row.old_until > now:
        raise RefusedError("hook_key_changing", key=row.name)
    opened = box.open(row.secret, row.id)
    if opened is not None:
        row.old_secret, row.old_until = row.secret, max(now, retire_at or now + OVERLAP)
    secret = _new_secret(row, box)
    session.add(row)
    note(session, "hook_secret_changed", now, who, way_in, endpoint=row.name)
    return Made(row.id, secret)


def remove_endpoint(
    session: Session, endpoint_id: str, now: datetime, *, by: Person | None = None, way_in: str
) -> Json:
    """Tell a system nothing more, also not what was still on its way; raises as the others."""
    who = _by(by)
    row = _endpoint(session, endpoint_id)
    name, row.removed_at, row.secret, row.old_secret = row.name, now, "", ""
    row.name = f"{name}~{row.id}"  # so that the name can be had again
    session.add(row)
    session.exec(
        update(HookPost)
        .where(col(HookPost.endpoint_id) == row.id)
        .where(col(HookPost.done_at).is_(None))
        .values(done_at=now, error="removed")
    )
    note(session, "hook_endpoint_removed", now, who, way_in, endpoint=name)
    return {"id": row.id}


def send_again(
    session: Session, post_id: str, now: datetime, *, by: Person | None = None, way_in: str
) -> Json:
    """Have a message sent now, whether it waits for its next try or was delivered before.

    It keeps its `webhook-id`, so a receiver that has it takes it for what it is: a repeat.

    Raises:
        NotAllowedError: Neither security nor system administrator.
        NotFoundError: There is no such message, or its endpoint is gone.
    """
    who = _by(by, SENDERS)
    row = session.get(HookPost, post_id, with_for_update=True)
    endpoint = session.get(HookEndpoint, row.endpoint_id) if row else None
    if row is None or endpoint is None or endpoint.removed_at is not None:
        raise NotFoundError
    row.done_at, row.next_try_at = None, now
    session.add(row)
    note(session, "hook_sent_again", now, who, way_in, endpoint=endpoint.name, message=row.id)
    return {"id": row.id, "next_try_at": now.isoformat()}


# --- reading --------------------------------------------------------------------------------------


def connections(session: Session, by: Person | None, now: datetime) -> Json:
    """Return keys and endpoints, without a secret and without a text of any item."""
    _by(by, READERS)
    waiting: dict[str, int] = {
        endpoint: count
        for endpoint, count in session.exec(
            select(HookPost.endpoint_id, func.count())
            .where(col(HookPost.done_at).is_(None))
            .group_by(HookPost.endpoint_id)
        )
    }
    failing = set(
        session.exec(
            select(HookPost.endpoint_id)
            .where(col(HookPost.done_at).is_(None))
            .where(HookPost.error != "")
            .distinct()
        )
    )
    rows = session.exec(
        select(HookEndpoint)
        .where(col(HookEndpoint.removed_at).is_(None))
        .order_by(col(HookEndpoint.name))
    )
    return {
        "keys": hook_keys.keys_listed(session, now),
        "endpoints": [
            {
                "id": row.id, "endpoint": row.name, "url": row.url, "events": row.events,
                "since_at": row.since_at, "paused": row.paused_at is not None,
                "old_secret_until": row.old_until if row.old_secret else None,
                "waiting": waiting.get(row.id, 0), "failing": row.id in failing,
            }
            for row in rows
        ],
    }  # fmt: skip


def posts(
    session: Session,
    by: Person | None,
    now: datetime,
    *,
    limit: int = 50,
    after: str | None = None,
    endpoint: str = "",
    state: str = "",
) -> Json:
    """Return the delivery log, the newest first: ids, codes and moments.

    Args:
        state: `waiting`, `failing` or `delivered`; empty: all.
    """
    _by(by, READERS)
    statement = (
        select(HookPost, HookEndpoint.name, Submission.number)
        .join(HookEndpoint, col(HookEndpoint.id) == col(HookPost.endpoint_id))
        .join(Submission, col(Submission.id) == col(HookPost.submission_id))
        .order_by(col(HookPost.id).desc())
        .limit(limit + 1)
    )
    if after:
        statement = statement.where(HookPost.id < after)
    if endpoint:
        statement = statement.where(HookEndpoint.name == endpoint)
    if state == "delivered":
        statement = statement.where(col(HookPost.done_at).is_not(None))
    elif state:
        statement = statement.where(col(HookPost.done_at).is_(None))
        if state == "failing":
            statement = statement.where(HookPost.error != "")
    rows = session.exec(statement).all()
    items = [
        {
            "id": row.id, "endpoint": name, "event": row.kind, "number": number,
            "at": row.at, "attempts": row.attempts, "delivered_at": row.done_at,
            "next_try_at": None if row.done_at or row.next_try_at == WAITS else row.next_try_at,
            "status": row.status or None,
            "error": row.error, "tries": row.tries,
        }
        for row, name, number in rows[:limit]
    ]  # fmt: skip
    return {"items": items, "next": items[-1]["id"] if len(rows) > limit else None}


# --- private --------------------------------------------------------------------------------------


def _check_url(url: str) -> None:
    wrong = wrong_with_url(url)
    if wrong is not None:
        raise MalformedError(errors=[{"field": "url", "message": wrong}])


def _endpoint(session: Session, endpoint_id: str) -> HookEndpoint:
    row = session.get(HookEndpoint, endpoint_id, with_for_update=True)
    if row is None or row.removed_at is not None:
        raise NotFoundError
    return row


def _new_secret(row: HookEndpoint, box: Box) -> str:
    secret = secrets.token_bytes(SECRET_SIZE)
    row.secret = box.seal(secret, row.id, secrets.token_bytes(NONCE))
    return written(secret)


def _look_again(session: Session, person_id: str) -> None:
    """Have every item looked at anew on which this person is asked, or was told of."""
    asked = (
        select(StepPerson.submission_id)
        .where(StepPerson.person_id == person_id)
        .where(col(StepPerson.waits).is_(True))
    )
    told = (
        select(HookTodo.submission_id)
        .where(HookTodo.person_id == person_id)
        .where(col(HookTodo.open).is_(True))
    )
    look_again(session, or_(col(Submission.id).in_(asked), col(Submission.id).in_(told)))
