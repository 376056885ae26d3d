"""Failed sign-ins, by name and by address, counted in the ledger so that every web process knows.

An attempt counts as failed before it is judged, so that many at once gain nothing; a success takes
it back. A name that is nobody's is counted and closes like any other.
"""

from datetime import UTC, datetime, timedelta

from sqlalchemy import delete
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, SQLModel, col, select

from review.records.kept import digest_of_secret, note
from review.records.tables import Attempts
from review.rules.errors import TooManyError

MOST_OF_NAME = 10  # failures in the window; then the name is closed until they are older
MOST_OF_ADDRESS = 100  # a whole house may stand behind one
WINDOW = timedelta(minutes=15)
SWEPT = 100  # keys forgotten at a time


def count(session: Session, username: str, address: str, now: datetime) -> TooManyError | None:
    """Count an attempt; return the refusal, with `retry_after` in seconds, of one too many.

    Args:
        address: Where it comes from; empty when that can't be told, which counts nothing.
    """
    for kind, name, most in _kinds(username, address):
        row = _locked(session, kind, name, now)
        moments = [moment for moment in _moments(row) if moment > now - WINDOW]
        if len(moments) >= most:
            free_at = moments[-most] + WINDOW
            return TooManyError(retry_after=int((free_at - now).total_seconds()) + 1)
        moments.append(now)
        row.moments, row.last_at = [one.isoformat() for one in moments], now
        session.add(row)
        if len(moments) == most:
            until = (moments[0] + WINDOW).isoformat()
            note(session, "sign_in_closed", now, "", kind=kind, key=row.key[-64:], until=until)
    _sweep(session, now)
    return None


def take_back(session: Session, username: str, address: str, now: datetime) -> None:
    """Forget a name's failures after a success, and this attempt of its address."""
    for kind, name, _ in _kinds(username, address):
        row = _locked(session, kind, name, now)
        row.moments = [] if kind == "name" else row.moments[:-1]
        session.add(row)


def take_back_address(session: Session, address: str, now: datetime) -> None:
    """Forget this attempt of its address: its password was right, though more is asked."""
    if address:
        row = _locked(session, "address", address, now)
        row.moments = row.moments[:-1]
        session.add(row)


def _kinds(username: str, address: str) -> list[tuple[str, str, int]]:
    kinds = [("name", username, MOST_OF_NAME), ("address", address, MOST_OF_ADDRESS)]
    return [one for one in kinds if one[1]]


def _locked(session: Session, kind: str, name: str, now: datetime) -> Attempts:
    """Return the row of a name or address, made when missing, locked in either case."""
    key = f"{kind}:{digest_of_secret(name)}"
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    fresh = Attempts(key=key, moments=[], last_at=now)
    table = SQLModel.metadata.tables[str(Attempts.__tablename__)]
    session.connection().execute(
        dialect.insert(table)
        .values(fresh.model_dump())
        .on_conflict_do_update(index_elements=["key"], set_={"last_at": now})
    )
    return session.exec(select(Attempts).where(Attempts.key == key).with_for_update()).one()


def _moments(row: Attempts) -> list[datetime]:
    return [datetime.fromisoformat(one).astimezone(UTC) for one in row.moments]


def _sweep(session: Session, now: datetime) -> None:
    """Forget keys whose failures are all too old, so that made-up names fill no ledger."""
    old = (
        select(Attempts.key)
        .where(Attempts.last_at <= now - WINDOW)
        .limit(SWEPT)
        .with_for_update(skip_locked=True)
    )
    keys = session.exec(old).all()
    if keys:
        session.exec(delete(Attempts).where(col(Attempts.key).in_(keys)))
