"""Who somebody proves to be: password, session, token, OA account (design, Edges)."""

import hashlib
import secrets
import threading
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import update
from sqlmodel import Session, col, select

from review.ids import new_id
from review.records.engine import Ledger
from review.records.people import Person, load_person, person_of_account, person_where
from review.records.tables import Grant, PersonRow, SignIn, Token
from review.rules.errors import NotSignedInError, TooManyError

IDLE = timedelta(hours=2)  # a session that is not used ends
ABSOLUTE = timedelta(hours=12)  # every session ends: a working day
SEEN_EVERY = timedelta(minutes=1)  # how exactly "last used" is kept
FAILURES = 10  # wrong passwords in a row, within the window, until the account waits
WINDOW = timedelta(minutes=15)

_hasher = PasswordHasher()  # argon2id with the library's own, current defaults
_NOBODY = _hasher.hash(secrets.token_hex())  # so that an unknown name takes as long as a known one


def hashed(secret: str) -> str:
    """Return how a random secret is kept: it has 256 bits, so one plain hash is enough."""
    return hashlib.sha256(secret.encode()).hexdigest()


@dataclass(frozen=True)
class SignedIn:
    """A new session: the cookie's secret, the CSRF token, the person."""

    secret: str
    csrf: str
    person: Person


def issue_token(session: Session, person_id: str, label: str, now: datetime) -> str:
    """Return a new bearer token; it is shown once and kept as a hash."""
    secret = "st_" + secrets.token_urlsafe(32)
    session.add(
        Token(id=new_id(), person_id=person_id, hash=hashed(secret), label=label, created_at=now)
    )
    return secret


def set_password(session: Session, person_id: str, password: str, now: datetime) -> None:
    """Set a password; every session of the person ends."""
    row = session.get_one(PersonRow, person_id)
    row.password_hash = _hasher.hash(password)
    session.add(row)
    _end_sessions(session, person_id, now)


def disable(session: Session, person_id: str, now: datetime) -> None:
    """Disable an account: sessions and tokens end with the same transaction."""
    row = session.get_one(PersonRow, person_id)
    row.disabled_at = now
    session.add(row)
    _end_sessions(session, person_id, now)
    session.exec(
        update(Token)
        .where(col(Token.person_id) == person_id)
        .where(col(Token.revoked_at).is_(None))
        .values(revoked_at=now)
    )


def revoke_role(session: Session, person_id: str, role: str, now: datetime) -> int:
    """Take a role away from now on; what was decided with it before stays."""
    grants = session.exec(
        select(Grant)
        .where(Grant.person_id == person_id)
        .where(Grant.role == role)
        .where(col(Grant.revoked_at).is_(None))
    ).all()
    for grant in grants:
        grant.revoked_at = now
        session.add(grant)
    return len(grants)


def _end_sessions(session: Session, person_id: str, now: datetime) -> None:
    session.exec(
        update(SignIn)
        .where(col(SignIn.person_id) == person_id)
        .where(col(SignIn.ended_at).is_(None))
        .values(ended_at=now)
    )


class Access:
    """Finds out who calls; every method may be called from any thread."""

    def __init__(self, ledger: Ledger, clock: Callable[[], datetime] | None = None) -> None:
        self._ledger = ledger
        self._clock = clock or (lambda: datetime.now(UTC))
        self._failures: dict[str, deque[datetime]] = defaultdict(deque)
        self._lock = threading.Lock()

    def by_token(self, secret: str) -> Person | None:
        """Return whose token this is; one statement."""
        now = self._clock()
        owner = (
            select(Token.person_id)
            .where(Token.hash == hashed(secret))
            .where(col(Token.revoked_at).is_(None))
            .scalar_subquery()
        )
        with self._ledger.reading() as session:
            return person_where(session, col(PersonRow.id) == owner, now)

    def by_oa_account(self, account: str) -> Person | None:
        """Return whose OA account this is."""
        with self._ledger.reading() as session:
            return person_of_account(session, account, self._clock())

    def by_session(self, secret: str) -> tuple[Person, str] | None:
        """Return who is signed in and the session's CSRF token; None when it ended."""
        now = self._clock()
        with self._ledger.reading() as session:
            row = session.get(SignIn, hashed(secret))
            if row is None or row.ended_at is not None:
                return None
            if now >= row.expires_at or now - row.seen_at > IDLE:
                return None
            person = load_person(session, row.person_id, now)
        if person is None:
            return None
        if now - row.seen_at > SEEN_EVERY:
            self._ledger.write(_seen, row.id, now)
        return person, row.csrf

    def sign_in(self, username: str, password: str) -> SignedIn:
        """Check a name and password and begin a session.

        Raises:
            NotSignedInError: Wrong, unknown or disabled; the same answer in the same time.
            TooManyError: Too many failures on this name; wait.
        """
        now = self._clock()
        self._wait_enough(username, now)
        with self._ledger.reading() as session:
            row = session.exec(select(PersonRow).where(PersonRow.username == username)).first()
        known = row.password_hash if row is not None and row.password_hash else _NOBODY
        try:
            _hasher.verify(known, password)
        except (VerificationError, InvalidHashError):
            self._failed(username, now)
            raise NotSignedInError(why="password") from None
        if row is None or known is _NOBODY:
            self._failed(username, now)
            raise NotSignedInError(why="password")
        secret, csrf = secrets.token_urlsafe(32), secrets.token_urlsafe(24)
        person = self._ledger.write(_begin, row.id, secret, csrf, now)
        if person is None:
            raise NotSignedInError(why="password")
        with self._lock:
            self._failures.pop(username, None)
        return SignedIn(secret, csrf, person)

    def sign_out(self, secret: str) -> None:
        """End a session."""
        self._ledger.write(_end, hashed(secret), self._clock())

    def _wait_enough(self, username: str, now: datetime) -> None:
        with self._lock:
            failures = self._failures[username]
            while failures and now - failures[0] > WINDOW:
                failures.popleft()
            if len(failures) >= FAILURES:
                raise TooManyError(retry_after=int((WINDOW - (now - failures[0])).total_seconds()))

    def _failed(self, username: str, now: datetime) -> None:
        with self._lock:
            self._failures[username].append(now)
            if len(self._failures) > 10_000:  # many names tried: forget the oldest
                del self._failures[next(iter(self._failures))]


def _begin(
    session: Session, person_id: str, secret: str, csrf: str, now: datetime
) -> Person | None:
    person = load_person(session, person_id, now)
    if person is not None:
        session.add(
            SignIn(
                id=hashed(secret),
                person_id=person_id,
                csrf=csrf,
                created_at=now,
                seen_at=now,
                expires_at=now + ABSOLUTE,
            )
        )
    return person


def _seen(session: Session, sign_in_id: str, now: datetime) -> None:
    row = session.get(SignIn, sign_in_id)
    if row is not None and row.ended_at is None:
        row.seen_at = now
        session.add(row)


def _end(session: Session, sign_in_id: str, now: datetime) -> None:
    row = session.get(SignIn, sign_in_id)
    if row is not None:
        row.ended_at = now
        session.add(row)
