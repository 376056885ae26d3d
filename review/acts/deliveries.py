"""Signed messages that came in: each bound to its body before it is judged, and answered once."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, update
from sqlmodel import Session, col

from review.acts.repeats import add_once
from review.records.hook_tables import HookDelivery
from review.rules.errors import RefusedError

KEPT = timedelta(days=30)  # how long an answer is kept; at least a week (issue 5)


def claim_delivery(
    session: Session, message_id: str, key: str, body: str, now: datetime
) -> tuple[int, dict[str, Any]]:
    """Bind a message's id to its body, and return what was answered to it; status 0: nothing yet.

    Args:
        body: Keyed hash of the bytes that were signed.

    Raises:
        RefusedError: `key_reused`: the id came before with another body, or from another system.
    """
    row = HookDelivery(id=message_id, key=key, body=body, at=now)
    if add_once(session, row):
        return 0, {}
    first = session.get_one(HookDelivery, message_id)
    if (first.key, first.body) != (key, body):
        raise RefusedError("key_reused")
    return first.status, first.answer


def answer_delivery(session: Session, message_id: str, status: int, answer: dict[str, Any]) -> None:
    """Keep the first answer to a message; a later one changes nothing."""
    session.exec(
        update(HookDelivery)
        .where(col(HookDelivery.id) == message_id)
        .where(col(HookDelivery.status) == 0)
        .values(status=status, answer=answer)
    )


def release_delivery(session: Session, message_id: str) -> None:
    """Bind an id to no body: the decision it names had come another way, with other words."""
    session.exec(
        delete(HookDelivery)
        .where(col(HookDelivery.id) == message_id)
        .where(col(HookDelivery.status) == 0)
    )


def forget_deliveries(session: Session, now: datetime) -> int:
    """Drop what was answered long ago; a decision's own id still makes it count once."""
    gone = session.exec(delete(HookDelivery).where(col(HookDelivery.at) < now - KEPT))
    return int(gone.rowcount)
