"""What stands on the channels after publishing: drift, posts nobody authorised, silence.

The system tells people and opens leads; it changes nothing on a channel by itself (R5.3-2, R5.3-4).
"""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import exists
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, func, select

from review.acts import notices
from review.acts.authorising import full_version
from review.acts.item import Item
from review.acts.violations import open_lead
from review.records import audit
from review.records.channels import ChannelLook
from review.records.matters import Violation
from review.records.people import holders
from review.records.tables import Channel, Pack, Publication, Submission, Unit
from review.rendering import wechat_mark
from review.rules.publications import Claim, SeenPost
from review.rules.values import PublicationState, Role

Found = Literal["same", "differs", "gone", "unread"]
ALARMING = ("differs", "gone")

# When a live publication is read again: +30 min, +24 h, then daily for a week (issue 5).
LOOKS = (timedelta(minutes=30), *(timedelta(days=day) for day in range(1, 8)))
FAR_BACK = LOOKS[-1] + timedelta(days=1)  # what went live before isn't watched any more
AGAIN = timedelta(hours=1)  # a channel that could not be read is asked again

# Days without a post and what that is; the inspections fail an account at 14 (T-4).
SILENCE = ((14, "breach"), (13, "critical"), (10, "warning"), (7, "notice"))
RUNNING = (PublicationState.SUBMITTED, PublicationState.ACCEPTED, PublicationState.UNKNOWN)


def due_looks(
    session: Session, platforms: Collection[str], now: datetime, limit: int
) -> list[Claim]:
    """Return what is to be read again now, the longest due first, each as it was claimed.

    Args:
        platforms: Those whose channels can be read.
    """
    later = aliased(Publication)
    newer = exists().where(
        col(later.submission_id) == col(Publication.submission_id),
        col(later.channel) == col(Publication.channel),
        col(later.generation) > col(Publication.generation),
        col(later.live_at).is_not(None),
    )
    standing = (
        select(Publication, ChannelLook)
        .join(Channel, col(Channel.id) == col(Publication.channel))
        .join(ChannelLook, col(ChannelLook.publication_id) == col(Publication.id), isouter=True)
        .where(col(Channel.platform).in_(platforms))
        .where(Publication.state == PublicationState.LIVE)
        .where(Publication.wanted == "live")
        .where(~newer)
    )
    for publication, look in session.exec(
        standing.where(col(ChannelLook.publication_id).is_(None)).where(
            col(Publication.live_at) > now - FAR_BACK
        )
    ).all():
        assert look is None and publication.live_at is not None
        session.add(
            ChannelLook(publication_id=publication.id, next_at=publication.live_at + LOOKS[0])
        )
    session.flush()
    due = session.exec(
        standing.where(col(ChannelLook.next_at) <= now)
        .order_by(col(ChannelLook.next_at), col(Publication.id))
        .limit(limit)
    ).all()
    return [_claim_of(session, publication) for publication, _ in due]


def _claim_of(session: Session, publication: Publication) -> Claim:
    item = Item.seen(session, publication.submission_id)
    no = next(v.no for v in reversed(item.versions) if v.digest == publication.digest)
    version = full_version(session, item.row.id, no)
    return Claim(
        publication_id=publication.id,
        submission_id=item.row.id,
        number=item.row.number,
        channel=publication.channel,
        platform=session.get_one(Channel, publication.channel).platform,
        generation=publication.generation,
        state=PublicationState(publication.state),
        digest=publication.digest,
        rendered_digest=publication.rendered_digest,
        title=version.title,
        body=version.body,
        attachments=tuple(version.attachments),
        source=version.source,
        unit_name=session.get_one(Unit, item.row.unit_id).name,
        reference=publication.reference,
        may_send=False,
    )


def looked(session: Session, publication_id: str, found: Found, now: datetime) -> bool:
    """Write down what a look found; True when that is news that somebody was told.

    What was taken down or corrected since it was read is not compared: nothing is written then.
    """
    publication = session.get_one(Publication, publication_id)
    item = Item.locked(session, publication.submission_id)
    session.refresh(publication)
    latest = [p for p in item.publications() if p.channel == publication.channel][-1]
    if latest.id != publication.id or publication.wanted != "live":
        return False
    look = session.get_one(ChannelLook, publication_id, with_for_update=True)
    if publication.state != PublicationState.LIVE or publication.live_at is None:
        return False
    was = look.found
    look.seen_at = now
    if found == "unread":
        look.next_at = now + AGAIN if now < publication.live_at + FAR_BACK else None
    else:
        look.looks += 1
        look.next_at = next((at for one in LOOKS if (at := publication.live_at + one) > now), None)
        look.found = found
    session.add(look)
    if found not in ALARMING or found == was:
        return False
    place = session.get_one(Channel, publication.channel)
    item.trace(
        "channel_drift", now, nudge=False, channel=place.id,
        generation=publication.generation, found=found,
    )  # fmt: skip
    open_lead(
        session, 2, f"drift:{publication.id}:{found}:{look.looks}", now,
        unit_id=place.operator_unit_id, submission_id=item.row.id, channel=place.id, found=found,
    )  # fmt: skip
    mark = f"{place.id}:{publication.generation}:{look.looks}"
    notices.tell(
        session, item, _watchers(session, place, now), f"drift_{found}", mark, now,
        channel=place.id,
    )  # fmt: skip
    return True


def _watchers(session: Session, place: Channel, now: datetime) -> list[tuple[str, str]]:
    """Return who runs a channel, and who answers for all of them."""
    own = holders(session, Role.CHANNEL_OPERATOR, place.operator_unit_id, now)
    return [
        *((person, "operator") for person in own),
        *notices.by_role(session, Role.PUBLISHER, now),
        *notices.by_role(session, Role.CENTER_CHIEF, now),
        *notices.by_role(session, Role.SUPERVISOR, now),
    ]


def uncovered(session: Session, channel: str, posts: Iterable[SeenPost]) -> list[SeenPost]:
    """Return the posts that no authorisation covers and that nobody was told of yet.

    Posts from before this ledger's first one on the channel are nobody's concern. One whose
    submission is still open (accepted, unknown) is ours by its mark.
    """
    rows: Any = session.exec(
        select(  # type: ignore[call-overload]
            Publication.reference, Publication.state, Publication.wanted, Publication.at,
            Publication.digest, Publication.submission_id,
        ).where(Publication.channel == channel)
    ).all()  # fmt: skip
    covered = {row.reference for row in rows if row.state in (*RUNNING, PublicationState.LIVE)}
    began = min((row.at for row in rows), default=None)
    if began is not None:
        began = began.replace(microsecond=0)  # platforms tell whole seconds
    open_marks = {
        wechat_mark(session.get_one(Submission, row.submission_id).number, row.digest)
        for row in rows
        if row.state in RUNNING
    }
    return [
        post
        for post in posts
        if post.reference not in covered
        and (post.at is None or (began is not None and post.at >= began))
        and not (post.mark and post.mark in open_marks)
        and _is_new(session, _cause(channel, post))
    ]


def tell_uncovered(session: Session, channel: str, post: SeenPost, now: datetime) -> None:
    """Open a lead for a post that no authorisation covers, and tell the channel's people."""
    place = session.get_one(Channel, channel)
    open_lead(
        session, 4, _cause(channel, post), now, unit_id=place.operator_unit_id, channel=channel,
        reference=post.reference, url=post.url,
    )  # fmt: skip
    audit.append(
        session, audit.BUREAU, "channel_post_uncovered", at=now,
        data={"channel": channel, "reference": post.reference, "url": post.url},
    )  # fmt: skip
    notices.tell_of(
        session, channel, _watchers(session, place, now), "post_uncovered", post.reference,
        now, matter="channels", number=place.name,
    )  # fmt: skip


def _cause(channel: str, post: SeenPost) -> str:
    """What makes it one lead: its address, since several channels may be one site's."""
    return f"uncovered:{post.url or f'{channel}:{post.reference}'}"


def _is_new(session: Session, cause: str) -> bool:
    return session.exec(select(Violation.id).where(Violation.cause == cause)).first() is None


def readable_channels(session: Session, platforms: Collection[str]) -> list[tuple[str, str]]:
    """Return the open channels on these platforms, as (id, platform)."""
    rows = session.exec(
        select(Channel)
        .where(col(Channel.platform).in_(platforms))
        .where(Channel.state != "closed")
        .order_by(col(Channel.id))
    )
    return [(row.id, row.platform) for row in rows]


def last_posts(session: Session) -> dict[str, datetime]:
    """Return when each channel last had a post; one that never had, since the rules began."""
    begun = session.exec(select(func.min(Pack.adopted_at))).one()
    latest = {
        channel: at
        for channel, at in session.exec(
            select(Publication.channel, func.max(Publication.live_at))
            .where(col(Publication.live_at).is_not(None))
            .group_by(Publication.channel)
        )
    }
    found = {}
    for channel in session.exec(select(Channel.id).where(Channel.state == "active")):
        at = latest.get(channel) or begun
        if at is not None:
            found[channel] = at
    return found


def silence_of(since: datetime, now: datetime) -> tuple[int, str]:
    """Return the whole days since a post, and what that is: notice … breach, or nothing."""
    days = (now - since) // timedelta(days=1)
    return days, next((level for least, level in SILENCE if days >= least), "")


def tell_silence(session: Session, now: datetime) -> int:
    """Tell a silent channel's people once at each of the four marks (T-4)."""
    told = 0
    for channel, since in last_posts(session).items():
        days, level = silence_of(since, now)
        if level:
            place = session.get_one(Channel, channel)
            told += notices.tell_of(
                session, channel, _watchers(session, place, now), f"channel_silent_{level}",
                f"{level}:{since.isoformat()}", now,
                matter="channels", number=place.name, days=days,
            )  # fmt: skip
    return told
