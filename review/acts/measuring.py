"""How things stand, in counts and ages, for those who watch the machine: no ids, names or text."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlmodel import Session, case, col, func, select

from review.records.hook_tables import HookEndpoint, HookPost
from review.records.tables import CheckpointRow, Notice, Outbox, Publication, Step
from review.records.ways import OWN, NoticeSend
from review.rules.values import PublicationState, StepState

OWN_WAYS = "own"  # people's own destinations together: one by one they would be ids
UNSETTLED = (
    PublicationState.SUBMITTED,
    PublicationState.ACCEPTED,
    PublicationState.FAILED,
    PublicationState.UNKNOWN,
)


class Waiting(NamedTuple):
    """Open steps of one kind; ages in seconds, the oldest one's."""

    step: str
    number: int
    overdue: int
    age: float


class Queue(NamedTuple):
    """What is to go out one way; the age in seconds, the oldest one's."""

    name: str
    number: int
    failing: int
    age: float


class Measures(NamedTuple):
    """What stands in the ledger at one moment. Ages are in seconds, 0 where nothing waits."""

    steps: tuple[Waiting, ...]
    channels: tuple[tuple[str, str, int], ...]  # channel, state, count: what has not settled
    nudges: int
    nudge_age: float
    notices: int
    notices_failing: int
    notice_age: float
    messages: tuple[Queue, ...]  # to chats and phones, by way
    hooks: tuple[Queue, ...]  # to other systems, by endpoint; what is paused is not late
    checkpoint_age: float | None  # None: none was ever signed


def measure(session: Session, now: datetime) -> Measures:
    """Return how things stand now; seven statements, each on an index."""
    late = func.count(col(Step.overdue_at))
    steps: Sequence[tuple[str, int, int, datetime]] = session.exec(  # type: ignore[assignment]
        select(Step.key, func.count(col(Step.id)), late, func.min(Step.opened_at))
        .where(Step.state == StepState.OPEN)
        .group_by(Step.key)
        .order_by(Step.key)
    ).all()
    channels = session.exec(
        select(Publication.channel, Publication.state, func.count(col(Publication.id)))
        .where(col(Publication.state).in_(UNSETTLED))
        .group_by(Publication.channel, Publication.state)
        .order_by(Publication.channel, Publication.state)
    ).all()
    nudges, nudged_at = session.exec(
        select(func.count(col(Outbox.id)), func.min(Outbox.at)).where(col(Outbox.done_at).is_(None))
    ).one()
    failing = func.count(func.nullif(Notice.error, ""))
    notices, notices_failing, noticed_at = session.exec(
        select(func.count(col(Notice.id)), failing, func.min(Notice.not_before))
        .where(col(Notice.mailed_at).is_(None))
        .where(Notice.not_before <= now)
    ).one()
    way = case((col(NoticeSend.way).startswith(OWN), OWN_WAYS), else_=col(NoticeSend.way))
    failed = func.count(func.nullif(NoticeSend.error, ""))
    messages: Sequence[tuple[str, int, int, datetime]] = session.exec(
        select(way, func.count(col(NoticeSend.id)), failed, func.min(NoticeSend.not_before))
        .where(col(NoticeSend.done_at).is_(None))
        .where(NoticeSend.not_before <= now)
        .group_by(way)
        .order_by(way)
    ).all()
    refused = func.count(func.nullif(HookPost.error, ""))
    hooks: Sequence[tuple[str, int, int, datetime]] = session.exec(
        select(HookEndpoint.name, func.count(col(HookPost.id)), refused, func.min(HookPost.at))
        .join(HookEndpoint, col(HookEndpoint.id) == col(HookPost.endpoint_id))
        .where(col(HookPost.done_at).is_(None))
        .where(col(HookEndpoint.paused_at).is_(None))
        .group_by(HookEndpoint.name)
        .order_by(HookEndpoint.name)
    ).all()
    signed_at = session.exec(
        select(CheckpointRow.at).order_by(col(CheckpointRow.no).desc()).limit(1)
    ).first()
    return Measures(
        steps=tuple(Waiting(key, count, over, _age(now, at)) for key, count, over, at in steps),
        channels=tuple((channel, str(state), count) for channel, state, count in channels),
        nudges=nudges,
        nudge_age=_age(now, nudged_at),
        notices=notices,
        notices_failing=notices_failing,
        notice_age=_age(now, noticed_at),
        messages=tuple(Queue(name, count, bad, _age(now, at)) for name, count, bad, at in messages),
        hooks=tuple(Queue(name, count, bad, _age(now, at)) for name, count, bad, at in hooks),
        checkpoint_age=None if signed_at is None else _age(now, signed_at),
    )


def _age(now: datetime, since: datetime | None) -> float:
    return max((now - since).total_seconds(), 0.0) if since else 0.0
