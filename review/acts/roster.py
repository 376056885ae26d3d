"""Change the roster and ask anew wherever the change matters to an open step."""

from datetime import datetime

from sqlmodel import Session

from review.acts.entitlement import refresh_open_steps
from review.records.bureau import Roster, import_roster


def change_roster(session: Session, roster: Roster, now: datetime) -> dict[str, int]:
    """Bring the roster to what a file says; returns how much of what changed.

    A role given or taken counts from this transaction on, also for steps that are open.
    """
    changes = import_roster(session, roster, now)
    session.flush()
    if changes.people:
        refresh_open_steps(session, changes.people, now)
    return dict(changes.counts)
