"""Where a channel needs somebody: what failed, and what nobody knows the end of."""

from datetime import datetime
from typing import Any

from sqlalchemy import exists
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, select

from review.acts.showing import publication_of
from review.acts.visibility import visible
from review.records.people import Person
from review.records.tables import Publication, Submission
from review.rules.values import PublicationState

Json = dict[str, Any]
MOST = 100
TROUBLE = (PublicationState.FAILED, PublicationState.UNKNOWN)


def channel_trouble(session: Session, person: Person, now: datetime) -> list[Json]:
    """Return the latest publications that failed or that nobody knows the end of, oldest first."""
    later = aliased(Publication)
    newer = exists().where(
        col(later.submission_id) == col(Publication.submission_id),
        col(later.channel) == col(Publication.channel),
        col(later.generation) > col(Publication.generation),
    )
    rows = session.exec(
        select(Publication, Submission.number, Submission.title)
        .join(Submission, col(Submission.id) == col(Publication.submission_id))
        .where(col(Publication.state).in_(TROUBLE))
        .where(~newer)
        .where(visible(session, person, now))
        .order_by(col(Publication.at), col(Publication.id))
        .limit(MOST)
    )
    return [
        publication_of(publication)
        | {"submission": publication.submission_id, "number": number, "title": title}
        for publication, number, title in rows
    ]
