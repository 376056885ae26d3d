"""What other systems are told: the difference between what they know and what the ledger says.

To-dos are compared, not counted: whoever is asked now has one open, whoever no longer is has it
closed, whatever act led there. What happened to an item comes from its trace. Both are written
down as messages in the order in which they go out, in a transaction of their own, so that no
review waits for another system.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, exists, update
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from review.ids import new_id
from review.records.hook_tables import HookEndpoint, HookPost, HookTodo
from review.records.retries import due
from review.records.tables import UNANNOUNCED, Audit, PersonRow, Step, StepPerson, Submission
from review.rules.values import Category, Status, StepState, Verdict

Json = dict[str, Any]

ITEMS = 20  # looked at in one transaction: the ledger's one write lock is short
POSTS = 8  # on their way to one endpoint at a time
LEASE = timedelta(minutes=1)  # longer than a try may take; then another worker may try
FIRST_RETRY = timedelta(seconds=5)
LAST_RETRY = timedelta(hours=1)
LONGEST = timedelta(days=1)  # no message waits as long
WAITS = datetime(9999, 1, 1, tzinfo=UTC)  # behind an earlier message of its item; not looked at
TRIES_KEPT = 20
GRAVE = (Category.EMERGENCY, Category.PUBLIC_OPINION)  # number and category are all that is said
TOLD = ("status_changed", "decided", "milestone_overdue", "milestone_item_alarm",
        "milestone_escalate_backup", "milestone_escalate_superior")  # fmt: skip


class Due(NamedTuple):
    """A message to be sent now, and how to sign it; secrets still sealed."""

    id: str
    endpoint_id: str
    url: str
    payload: Json
    secrets: tuple[str, ...]
    attempts: int


def look_again(session: Session, condition: ColumnElement[bool]) -> None:
    """Have the items of a condition looked at anew, without telling of their past again."""
    announced = col(Submission.announced_n)
    session.exec(
        update(Submission)
        .where(condition)
        .where(announced >= 0)
        .values(announced_n=-1 - announced)
        .execution_options(synchronize_session=False)
    )


def anything_to_announce(session: Session) -> bool:
    """Tell whether somebody wants to be told and there is something to look at."""
    listens = select(HookEndpoint.id).where(col(HookEndpoint.removed_at).is_(None)).limit(1)
    return (
        session.exec(listens).first() is not None
        and session.exec(select(Submission.id).where(UNANNOUNCED).limit(1)).first() is not None
    )


def announce(session: Session, now: datetime, public_url: str) -> int:
    """Write down what endpoints are to be told of some items; returns how many were looked at."""
    found = session.exec(
        select(Submission).where(UNANNOUNCED).limit(ITEMS).with_for_update(skip_locked=True)
    ).all()
    # read when the items are locked: an endpoint added since has had them marked anew
    endpoints = session.exec(
        select(HookEndpoint)
        .where(col(HookEndpoint.removed_at).is_(None))
        .order_by(col(HookEndpoint.id))
    ).all()
    for row in found:
        news = list(_news(session, row))
        wanted = _wanted(session, row)
        for endpoint in endpoints:
            _tell(session, endpoint, row, news, wanted, now, public_url)
        row.announced_n = row.audit_n
        session.add(row)
    return len(found)


def _news(session: Session, row: Submission) -> Iterator[tuple[datetime, str, Json]]:
    """Yield what the item's trace says that others may want to know, in order."""
    seen = row.announced_n if row.announced_n >= 0 else -1 - row.announced_n
    entries = session.exec(
        select(Audit)
        .where(Audit.chain == row.id)
        .where(Audit.n > seen)
        .where(col(Audit.event).in_(TOLD))
        .order_by(col(Audit.n))
    )
    for entry in entries:
        step = {
            "step": entry.data.get("step", ""),
            "step_unit": entry.data.get("unit", ""),
            "round": entry.data.get("round"),
        }
        match entry.event:
            case "status_changed":
                status = entry.data.get("status")
                if status in (Status.PUBLISHED, Status.PARTLY_PUBLISHED):
                    yield entry.at, "item.published", {"status": status}
            case "decided":
                if entry.data.get("verdict") == Verdict.RETURN:
                    code = entry.data.get("reason_code", "")
                    yield entry.at, "item.returned", step | {"reason_code": code}
            case "milestone_overdue":
                yield entry.at, "item.overdue", step
            case "milestone_item_alarm":
                at = datetime.fromisoformat(entry.data["at"])
                if row.overdue_at is not None and at == row.overdue_at:
                    yield entry.at, "item.overdue", {}
            case "milestone_escalate_backup":
                yield entry.at, "item.escalated", step | {"level": 1}
            case "milestone_escalate_superior":
                yield entry.at, "item.escalated", step | {"level": 2}


def _wanted(session: Session, row: Submission) -> dict[tuple[str, str], Json]:
    """Return whose to-do is open now, by step and person; nobody's while the item is held."""
    if row.status == Status.HELD:
        return {}
    asked = session.exec(
        select(Step, StepPerson.why, PersonRow.id, PersonRow.oa_account)
        .join(StepPerson, col(StepPerson.step_id) == col(Step.id))
        .join(PersonRow, col(PersonRow.id) == col(StepPerson.person_id))
        .where(Step.submission_id == row.id)
        .where(Step.state == StepState.OPEN)
        .where(col(StepPerson.active).is_(True))
        .where(col(PersonRow.oa_account).is_not(None))
        .where(col(PersonRow.disabled_at).is_(None))
        .order_by(col(Step.position), col(Step.id), col(PersonRow.id))
    )
    return {
        (step.id, person): {
            "todo": f"{step.id}.{person}",
            "account": account,
            "step": step.key,
            "step_unit": step.unit_id,
            "round": step.round,
            "why": why,
            "digest": row.digest,
            "due_at": step.due_at.isoformat() if step.due_at else None,
        }
        for step, why, person, account in asked
    }


def _tell(
    session: Session,
    endpoint: HookEndpoint,
    row: Submission,
    news: list[tuple[datetime, str, Json]],
    wanted: dict[tuple[str, str], Json],
    now: datetime,
    public_url: str,
) -> None:
    """Write down what one endpoint is to be told of one item: first what is over."""
    known = {
        (todo.step_id, todo.person_id): todo
        for todo in session.exec(
            select(HookTodo)
            .where(HookTodo.endpoint_id == endpoint.id)
            .where(HookTodo.submission_id == row.id)
        )
    }
    messages: list[tuple[datetime, str, Json]] = []
    for place, todo in known.items():
        if todo.open and place not in wanted:
            todo.open = False
            messages.append((now, "todo.closed", todo.told))
    if news:
        author = session.get(PersonRow, row.author_id)
        account = {"account": author.oa_account if author else None}
        messages += [(at, kind, account | more) for at, kind, more in news
                     if at >= endpoint.since_at]  # fmt: skip
    for place, said in wanted.items():
        held = known.get(place)
        if held is None:
            step_id, person_id = place
            held = known[place] = HookTodo(
                endpoint_id=endpoint.id, step_id=step_id, person_id=person_id,
                submission_id=row.id, open=False,
            )  # fmt: skip
        if not held.open:
            messages.append((now, "todo.opened", said))
        elif held.told != said:
            if held.told["account"] != said["account"]:  # another account: not the same to-do
                messages.append((now, "todo.closed", held.told))
                messages.append((now, "todo.opened", said))
            else:
                messages.append((now, "todo.changed", said))
        held.open, held.told = True, said
    session.add_all(known.values())
    about = {
        "submission": row.id,
        "number": row.number,
        "category": row.category,
        "title": None if row.category in GRAVE else row.title,
        "unit": row.unit_id,
        "link": f"{public_url}/items/{row.id}",
    }
    last = _last(session, endpoint.id, row.id)
    n, due_at = last.n if last else 0, WAITS if last and last.done_at is None else now
    for at, kind, said in messages:
        if kind not in endpoint.events:
            continue
        n += 1
        session.add(
            HookPost(
                id=f"msg_{new_id()}", endpoint_id=endpoint.id, submission_id=row.id, n=n,
                kind=kind, at=at, next_try_at=due_at,
                payload={
                    "type": kind,
                    "timestamp": at.isoformat(),
                    "data": about | said | {"sequence": n},
                },
            )
        )  # fmt: skip
        due_at = WAITS


def _last(session: Session, endpoint_id: str, submission_id: str) -> HookPost | None:
    """Return the item's last message, locked: whoever settles it then sees what comes behind."""
    return session.exec(
        select(HookPost)
        .where(HookPost.endpoint_id == endpoint_id)
        .where(HookPost.submission_id == submission_id)
        .order_by(col(HookPost.n).desc())
        .limit(1)
        .with_for_update()
    ).first()


# --- on their way ---------------------------------------------------------------------------------


def endpoints_due(session: Session, now: datetime) -> list[str]:
    """Return the endpoints for which a message may go out now.

    What waits behind another message is not looked at, so an endpoint that is down for a day
    costs no more than one that has nothing to be told.
    """
    return list(
        session.exec(
            select(HookEndpoint.id)
            .where(col(HookEndpoint.paused_at).is_(None))
            .where(col(HookEndpoint.removed_at).is_(None))
            .where(_due(now).where(HookPost.endpoint_id == HookEndpoint.id).exists())
        )
    )


def take_due(session: Session, endpoint_id: str, now: datetime) -> list[Due]:
    """Take the messages that one endpoint may get now, at most the first of each item.

    Whoever took them has the lease's length to say what came of it; then they are due again.
    """
    taken = []
    rows = session.exec(
        _due(now)
        .join(HookEndpoint, col(HookEndpoint.id) == col(HookPost.endpoint_id))
        .where(HookPost.endpoint_id == endpoint_id)
        .where(col(HookEndpoint.paused_at).is_(None))
        .where(col(HookEndpoint.removed_at).is_(None))
        .order_by(col(HookPost.next_try_at), col(HookPost.id))
        .limit(POSTS)
        .with_for_update(skip_locked=True, of=HookPost)
    ).all()
    for post in rows:
        endpoint = session.get_one(HookEndpoint, post.endpoint_id)
        row = session.get_one(Submission, post.submission_id)
        if row.category in GRAVE and post.payload["data"]["title"] is not None:  # raised since
            post.payload = post.payload | {"data": post.payload["data"] | {"title": None}}
        post.attempts += 1
        post.next_try_at = now + LEASE
        session.add(post)
        old = endpoint.old_until is not None and endpoint.old_until > now and endpoint.old_secret
        secrets = (endpoint.secret, endpoint.old_secret) if old else (endpoint.secret,)
        taken.append(Due(post.id, endpoint.id, endpoint.url, post.payload, secrets, post.attempts))
    return taken


def _due(now: datetime) -> Any:
    """Compose which messages may go out: due, and none of their item waits before them."""
    before = aliased(HookPost)
    return (
        select(HookPost)
        .where(col(HookPost.done_at).is_(None))
        .where(due(col(HookPost.next_try_at), now, LONGEST, before=WAITS))
        .where(
            ~exists()
            .where(col(before.endpoint_id) == col(HookPost.endpoint_id))
            .where(col(before.submission_id) == col(HookPost.submission_id))
            .where(col(before.n) < col(HookPost.n))
            .where(col(before.done_at).is_(None))
        )
    )


def settle(
    session: Session,
    post_id: str,
    attempt: int,
    now: datetime,
    *,
    status: int = 0,
    error: str = "",
    took: int = 0,
    wait: timedelta | None = None,
) -> None:
    """Write down what came of a try; a failure is tried again, later each time, until it is taken.

    Args:
        attempt: Which try it was; one that lasted longer than its lease delays no later one.
        status: The answer's; 0: there was none, and `error` says why.
        took: Milliseconds.
        wait: How long the receiver asks us to wait.
    """
    row = session.get_one(HookPost, post_id, with_for_update=True)
    tried = {"at": now.isoformat(), "status": status or None, "error": error, "ms": took}
    row.tries = [*row.tries, tried][-TRIES_KEPT:]
    if 200 <= status < 300:
        row.done_at = row.done_at or now
        row.status, row.error = status, ""
        session.flush()
        _next_of(session, row, now)
    elif row.done_at is None and row.attempts == attempt:
        back_off = min(FIRST_RETRY * 2 ** min(attempt - 1, 12), LAST_RETRY)
        row.status, row.error = status, error or "refused"
        row.next_try_at = now + max(back_off, min(wait or timedelta(), LAST_RETRY))
    session.add(row)


def _next_of(session: Session, done: HookPost, now: datetime) -> None:
    """Have the message due that waited behind one that was taken."""
    following = session.exec(
        select(HookPost)
        .where(HookPost.endpoint_id == done.endpoint_id)
        .where(HookPost.submission_id == done.submission_id)
        .where(col(HookPost.done_at).is_(None))
        .order_by(col(HookPost.n))
        .limit(1)
        .with_for_update()
    ).first()
    if following is not None and following.next_try_at == WAITS:
        following.next_try_at = now
        session.add(following)
