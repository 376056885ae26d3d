"""Who somebody is: passwords, browser sessions, tokens, OA accounts. Only hashes are kept.

The functions take a Session and are one act each; `Access` puts them together for the web, so
that the slow password hash runs outside any transaction.
"""

import hashlib
import secrets
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import and_, bindparam, update
from sqlmodel import Session, col, select

from review.ids import new_id
from review.records import audit
from review.records.engine import Ledger
from review.records.people import (
    Person,
    load_person,
    one_person,
    person_found,
    person_of,
    person_of_account,
    with_grants,
)
from review.records.tables import PersonRow, SignIn, Token
from review.rules.errors import (
    LedgerUnavailableError,
    NotFoundError,
    NotSignedInError,
    TooManyError,
)

IDLE_LIMIT = timedelta(hours=2)
ABSOLUTE_LIMIT = timedelta(hours=12)
SEEN_EVERY = timedelta(minutes=1)  # how exact the idle limit is; a write each time
MOST_FAILURES = 10  # of one account, in the window; then it is closed until they are older
FAILURE_WINDOW = timedelta(minutes=15)
MOST_NAMES = 10_000  # remembered at once, so that made-up names fill no memory
TOKEN_PREFIX = "sanshen_"  # so that a token which leaks is recognised by those who look for them

_BY_TOKEN = one_person(
    col(PersonRow.id).in_(
        select(Token.person_id)
        .where(Token.hash == bindparam("token"))
        .where(col(Token.revoked_at).is_(None))
    )
)

HASHER = PasswordHasher()  # argon2id, RFC 9106's second choice: 64 MiB, about 50 ms


class SignedIn(NamedTuple):
    """What a browser gets for a name and a password."""

    secret: str  # the cookie
    csrf: str
    person: Person


# --- passwords ----------------------------------------------------------------------------------


def set_password(
    session: Session,
    person_id: str,
    password: str,
    now: datetime,
    *,
    by: str = "",
    hasher: PasswordHasher = HASHER,
) -> None:
    """Set somebody's password and end their sessions.

    Raises:
        NotFoundError: There is no such person.
    """
    row = _known(session, person_id)
    row.password_hash = hasher.hash(_storable(password))
    session.add(row)
    _end_sessions(session, person_id, now)
    _note(session, "password_set", now, by, person=person_id)


def credentials(session: Session, username: str) -> tuple[str, str] | None:
    """Return the id and password hash of an enabled account that has one, or None."""
    found = session.exec(
        select(PersonRow.id, PersonRow.password_hash)
        .where(PersonRow.username == username)
        .where(col(PersonRow.disabled_at).is_(None))
        .where(PersonRow.password_hash != "")
    ).first()
    return (found[0], found[1]) if found else None


# --- sessions -----------------------------------------------------------------------------------


def open_session(
    session: Session, person_id: str, password_hash: str, now: datetime, *, rehashed: str = ""
) -> SignedIn | None:
    """Open a session for somebody whose password was verified against this hash.

    Args:
        rehashed: The same password under newer parameters, kept from now on.

    Returns:
        None when the account was disabled or the password changed in the meantime.
    """
    row = session.get(PersonRow, person_id, with_for_update=True)
    person = load_person(session, person_id, now)
    if row is None or person is None or row.password_hash != password_hash:
        return None
    if rehashed:
        row.password_hash = rehashed
        session.add(row)
    secret, csrf = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    session.add(
        SignIn(
            id=_digest(secret),
            person_id=person_id,
            csrf=csrf,
            created_at=now,
            seen_at=now,
            expires_at=now + ABSOLUTE_LIMIT,
        )
    )
    _note(session, "signed_in", now, person_id)
    return SignedIn(secret, csrf, person)


def find_session(
    session: Session, secret: str, now: datetime
) -> tuple[Person, str, datetime] | None:
    """Return whose session a cookie opens, its CSRF token and when it was last seen.

    One statement; None when it is unknown, ended, idle for two hours or twelve hours old, or when
    its person is disabled.
    """
    rows = session.exec(
        with_grants(
            select(PersonRow, SignIn.csrf, SignIn.seen_at)
            .join(SignIn, col(SignIn.person_id) == col(PersonRow.id))
            .where(SignIn.id == _digest(secret))
            .where(col(SignIn.ended_at).is_(None))
            .where(SignIn.expires_at > now)
            .where(SignIn.seen_at > now - IDLE_LIMIT),
            now,
        )
    ).all()
    if not rows:
        return None
    row, csrf, seen_at, _ = rows[0]
    return person_of(row, (grant for *_, grant in rows)), csrf, seen_at


def touch_session(session: Session, secret: str, now: datetime) -> None:
    """Write down that a session was used; a session that ended stays so."""
    session.exec(
        update(SignIn)
        .where(
            and_(
                col(SignIn.id) == _digest(secret),
                col(SignIn.ended_at).is_(None),
                col(SignIn.seen_at) < now,
            )
        )
        .values(seen_at=now)
    )


def end_session(session: Session, secret: str, now: datetime) -> None:
    """End a session, however it stands."""
    session.exec(
        update(SignIn)
        .where(and_(col(SignIn.id) == _digest(secret), col(SignIn.ended_at).is_(None)))
        .values(ended_at=now)
    )


# --- tokens -------------------------------------------------------------------------------------


def issue_token(
    session: Session, person_id: str, label: str, now: datetime, *, by: str = ""
) -> str:
    """Return a new bearer token; it can't be read again, only its hash is kept.

    Raises:
        NotFoundError: There is no such person, or the account is disabled.
    """
    if _known(session, person_id).disabled_at is not None:
        raise NotFoundError
    secret = TOKEN_PREFIX + secrets.token_urlsafe(32)
    token = Token(
        id=new_id(), person_id=person_id, hash=_digest(secret), label=label, created_at=now
    )
    session.add(token)
    _note(session, "token_issued", now, by, person=person_id, token=token.id)
    return secret


def revoke_token(session: Session, token_id: str, now: datetime, *, by: str = "") -> None:
    """End a token; one that has ended already stays as it is.

    Raises:
        NotFoundError: There is no such token.
    """
    token = session.get(Token, token_id)
    if token is None:
        raise NotFoundError
    if token.revoked_at is None:
        token.revoked_at = now
        session.add(token)
        _note(session, "token_revoked", now, by, person=token.person_id, token=token_id)


def person_of_token(session: Session, secret: str, now: datetime) -> Person | None:
    """Return whose token this is, with the roles held now; one statement."""
    return person_found(session, _BY_TOKEN, now, token=_digest(secret))


# --- accounts -----------------------------------------------------------------------------------


def disable(session: Session, person_id: str, now: datetime, *, by: str = "") -> None:
    """Close an account and end its sessions and tokens; what the person decided stays.

    Raises:
        NotFoundError: There is no such person.
    """
    row = _known(session, person_id)
    if row.disabled_at is None:
        row.disabled_at = now
        session.add(row)
        _note(session, "account_disabled", now, by, person=person_id)
    _end_sessions(session, person_id, now)
    session.exec(
        update(Token)
        .where(and_(col(Token.person_id) == person_id, col(Token.revoked_at).is_(None)))
        .values(revoked_at=now)
    )


def _known(session: Session, person_id: str) -> PersonRow:
    row = session.get(PersonRow, person_id)
    if row is None:
        raise NotFoundError
    return row


def _end_sessions(session: Session, person_id: str, now: datetime) -> None:
    session.exec(
        update(SignIn)
        .where(and_(col(SignIn.person_id) == person_id, col(SignIn.ended_at).is_(None)))
        .values(ended_at=now)
    )


def _note(session: Session, event: str, now: datetime, by: str, **data: Any) -> None:
    audit.append(session, audit.BUREAU, event, at=now, person_id=by, data=data)


def _digest(secret: str) -> str:
    """Return what is kept of a secret: it is random enough for a fast hash."""
    return hashlib.sha256(_storable(secret)).hexdigest()


def _storable(text: str) -> bytes:
    """Return any text as bytes, also what JSON can say but UTF-8 can't."""
    return text.encode("utf-8", "surrogatepass")


# --- the web's door -----------------------------------------------------------------------------


class Failures:
    """Counts failed sign-ins by the name given, whether or not such an account exists."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._moments: OrderedDict[str, deque[datetime]] = OrderedDict()

    def count(self, username: str, now: datetime) -> None:
        """Count an attempt as failed before it is judged, so that many at once gain nothing.

        Raises:
            TooManyError: There were ten in a quarter of an hour; `retry_after` in seconds.
        """
        with self._lock:
            moments = self._moments.setdefault(username, deque(maxlen=MOST_FAILURES))
            self._moments.move_to_end(username)
            free_at = moments[0] + FAILURE_WINDOW if len(moments) == MOST_FAILURES else now
            if free_at > now:
                raise TooManyError(retry_after=int((free_at - now).total_seconds()) + 1)
            moments.append(now)
            while len(self._moments) > MOST_NAMES:
                self._moments.popitem(last=False)

    def forget(self, username: str) -> None:
        """Start anew after a success."""
        with self._lock:
            self._moments.pop(username, None)


class Access:
    """Who somebody is, over the ledger; blocking, so the web calls it in threads.

    How many passwords are verified at once is the caller's to bound.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        hasher: PasswordHasher = HASHER,
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._hasher = hasher
        self._failures = Failures()
        self._touched: OrderedDict[str, datetime] = OrderedDict()
        # What an unknown name is verified against, so that it takes as long as a known one.
        self._nobody = hasher.hash(secrets.token_bytes(16))

    def sign_in(self, username: str, password: str) -> SignedIn:
        """Open a session for a name and a password.

        Raises:
            NotSignedInError: Name or password is wrong, or the account closed: which is not said,
                and does not show in the time it takes.
            TooManyError: Ten failures in 15 minutes; the password isn't even looked at.
            LedgerUnavailableError: The session can't be written now.
        """
        now = self._clock()
        self._failures.count(username, now)
        found = None
        if _is_name(username):
            with self._ledger.reading() as session:
                found = credentials(session, username)
        person_id, hash_ = found or ("", self._nobody)
        if not self._fits(hash_, password) or found is None:
            raise NotSignedInError(why="password")
        rehashed = ""
        if self._hasher.check_needs_rehash(hash_):
            rehashed = self._hasher.hash(_storable(password))
        with self._ledger.writing() as session:
            signed_in = open_session(session, person_id, hash_, now, rehashed=rehashed)
        if signed_in is None:
            raise NotSignedInError(why="password")
        self._failures.forget(username)
        return signed_in

    def sign_out(self, secret: str) -> None:
        """End the session of a cookie.

        Raises:
            LedgerUnavailableError: It can't be written now, so the session goes on.
        """
        with self._ledger.writing() as session:
            end_session(session, secret, self._clock())

    def by_session(self, secret: str) -> tuple[Person, str] | None:
        """Return whose session a cookie opens and its CSRF token; one statement.

        At most once a minute a second, separate one writes down that the session was used. When
        that can't be written now, the session is read all the same.
        """
        now = self._clock()
        with self._ledger.reading() as session:
            found = find_session(session, secret, now)
        if found is None:
            return None
        person, csrf, seen_at = found
        if now - seen_at >= SEEN_EVERY and self._may_touch(secret, now):
            try:
                with self._ledger.writing() as session:
                    touch_session(session, secret, now)
            except LedgerUnavailableError:
                pass  # reading goes on while the ledger is locked; it ends earlier, never later
        return person, csrf

    def by_token(self, token: str) -> Person | None:
        """Return whose bearer token this is; one statement."""
        with self._ledger.reading() as session:
            return person_of_token(session, token, self._clock())

    def by_oa_account(self, account: str) -> Person | None:
        """Return whose OA account this is; one statement."""
        if not _is_name(account):
            return None
        with self._ledger.reading() as session:
            return person_of_account(session, account, self._clock())

    def _fits(self, hash_: str, password: str) -> bool:
        try:
            return self._hasher.verify(hash_, _storable(password))
        except (VerificationError, InvalidHashError):
            return False

    def _may_touch(self, secret: str, now: datetime) -> bool:
        """Allow one try a minute, so that a locked ledger isn't waited for at each request."""
        key = _digest(secret)
        last = self._touched.get(key)
        if last is not None and now - last < SEEN_EVERY:
            return False
        self._touched[key] = now
        while len(self._touched) > MOST_NAMES:
            self._touched.popitem(last=False)
        return True


def _is_name(text: str) -> bool:
    """Tell whether a database can hold a text at all; what it can't hold is nobody's name."""
    return "\0" not in text and text.isprintable()
