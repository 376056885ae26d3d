"""The publish authorisation: what exactly may go where, until when (R1.3-6, A-18)."""

from datetime import datetime

from sqlalchemy.orm import undefer
from sqlmodel import Session, col, select

from review.acts.item import Item, calendar_in_force
from review.ids import new_id
from review.records.tables import Authorisation, Channel, Decision, Unit, Version
from review.rendering import Rendered, render
from review.rules.publications import published_line
from review.rules.values import Profile


def full_version(session: Session, submission_id: str, no: int) -> Version:
    """Return a version with its text."""
    return session.exec(
        select(Version)
        .where(Version.submission_id == submission_id)
        .where(Version.no == no)
        .options(undefer(Version.body), undefer(Version.source))  # type: ignore[arg-type]
        .execution_options(populate_existing=True)
    ).one()


def rendered(item: Item, version: Version, channel: Channel, unit_name: str) -> Rendered:
    """Return the bytes one channel gets: what is proofed is what is sent."""
    return render(
        channel.platform,
        item.row.number,
        version.title,
        version.body,
        version.attachments,
        published_line(unit_name, version.digest, version.source),
    )


def authorise(session: Session, item: Item, decision: Decision, now: datetime) -> Authorisation:
    """Issue the authorisation that follows the final review; the third proof makes it executable.

    It outlives a moment set for publication: its time runs from that moment (A-18).
    """
    with session.no_autoflush:  # the decision is written once, with its answer
        item.end_authorisation("replaced", now)
        row = item.row
        final = next((d for d in reversed(item.decisions) if d.tier == 3), decision)
        version = full_version(session, row.id, item.version.no)
        goes_to = session.exec(
            select(Channel, Unit.name)
            .join(Unit, col(Unit.id) == row.unit_id)
            .where(col(Channel.id).in_(row.channels))
        ).all()
        begins = max(now, row.publish_at) if row.publish_at else now
        profile = Profile(row.profile)
        authorisation = Authorisation(
            id=new_id(),
            submission_id=row.id,
            round=row.round,
            digest=version.digest,
            channels={
                channel.id: {
                    "rendered_digest": rendered(item, version, channel, unit_name).digest,
                    "unit": channel.operator_unit_id,
                }
                for channel, unit_name in goes_to
            },
            person_id=final.person_id,
            decision_id=final.id,
            at=now,
            publish_at=row.publish_at,
            valid_until=calendar_in_force(session).after(
                begins, item.policy.authorisation[profile], item.policy.profiles[profile].clock
            ),
        )
        item.issued(authorisation)
    return authorisation
