"""Which pack and calendar are in force from a moment on (R0-4, A-30)."""

from datetime import datetime

from sqlmodel import Session

from review.acts.item import policy_in_force
from review.packs import digest_of
from review.records import audit
from review.records.tables import CalendarRow, Pack
from review.rules.calendar import Calendar
from review.rules.errors import NotFoundError
from review.rules.policy import Policy


def adopt_policy(session: Session, policy: Policy, now: datetime) -> bool:
    """Put a pack in force for new submissions; False when it already is."""
    digest = digest_of(policy)
    try:
        if policy_in_force(session)[0] == digest:
            return False
    except NotFoundError:
        pass
    row = session.get(Pack, digest)
    if row is None:
        row = Pack(
            digest=digest,
            id=policy.id,
            version=policy.version,
            body=policy.model_dump_json(by_alias=True),
            adopted_at=now,
        )
    row.adopted_at = now
    session.add(row)
    audit.append(
        session, audit.BUREAU, "policy_adopted", at=now, digest=digest,
        data={"id": policy.id, "version": policy.version},
    )  # fmt: skip
    return True


def adopt_calendar(session: Session, calendar: Calendar, now: datetime) -> bool:
    """Put a calendar in force for deadlines set from now on; False when it is known."""
    digest = digest_of(calendar)
    if session.get(CalendarRow, digest) is not None:
        return False
    session.add(
        CalendarRow(
            digest=digest,
            version=calendar.version,
            body=calendar.model_dump_json(),
            imported_at=now,
        )
    )
    audit.append(
        session, audit.BUREAU, "calendar_imported", at=now, digest=digest,
        data={"version": calendar.version},
    )  # fmt: skip
    return True
