"""A matter's turn, one transaction: do what is due, say when silence next has a consequence."""

from datetime import datetime

from sqlmodel import Session

from review.acts import incidents, supervising, violations
from review.acts.matters import Matter, fired, locked, seen_by_engine
from review.records.matters import Incident, MatterMark, Order, Violation
from review.rules.matters import Mark, MatterKind, MatterPosition


def mind(session: Session, kind: MatterKind, matter_id: str, now: datetime) -> MatterPosition:
    """Take one turn for a matter and return where it then stands.

    Every mark has its consequence once: it is written down under its key in the same transaction.

    Args:
        now: The worker's own clock, aware; never the caller's word.

    Raises:
        NotFoundError: There is no such matter.
    """
    row = _locked(session, kind, matter_id)
    while (mark := _next(session, row, now)) is not None and mark.at <= now:
        session.add(MatterMark(matter_id=row.id, mark=mark.mark, at=mark.at, fired_at=now))
        _fire(session, row, mark, now)
        session.flush()
    seen_by_engine(session, row.id, now)
    return MatterPosition(
        kind=kind,
        matter_id=row.id,
        number=row.number or "",
        state=row.state,
        next_at=mark.at if mark else None,
        next_mark=mark.mark if mark else "",
        done=row.ended_at is not None and mark is None,
    )


def _locked(session: Session, kind: MatterKind, matter_id: str) -> Matter:
    match kind:
        case MatterKind.ORDER:
            return locked(session, Order, matter_id)
        case MatterKind.INCIDENT:
            return locked(session, Incident, matter_id)
        case MatterKind.VIOLATION:
            return locked(session, Violation, matter_id)


def _next(session: Session, row: Matter, now: datetime) -> Mark | None:
    """Return the earliest mark that has not had its consequence."""
    match row:
        case Order():
            coming = supervising.marks(session, row)
        case Incident():
            coming = incidents.marks(session, row, now)
        case Violation():
            coming = violations.marks(row)
    done = fired(session, row.id)
    return min((m for m in coming if m.mark not in done), key=lambda m: m.at, default=None)


def _fire(session: Session, row: Matter, mark: Mark, now: datetime) -> None:
    match row:
        case Order():
            supervising.fire(session, row, mark, now)
        case Incident():
            incidents.fire(session, row, mark, now)
        case Violation():
            violations.fire(session, row, mark, now)
