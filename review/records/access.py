"""Who somebody is, over the ledger: the web's door. Only hashes are kept.

What it is made of stands in modules of one notion each: `passwords`, `sessions`, `tokens`,
`lockouts`, `second_factor`, `first_key`. `Access` puts them together, so that the slow password
hash runs outside any transaction.
"""

import json
import secrets
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from argon2 import PasswordHasher
from sqlalchemy import bindparam
from sqlmodel import Session, select

from review.records import first_key, hook_keys, lockouts, second_factor
from review.records.engine import Ledger
from review.records.kept import NONCE, Box, digest_of_secret, known, note
from review.records.passwords import HASHER, credentials, fits, hashed, set_password
from review.records.people import Person, one_person, person_found, person_of_account
from review.records.sessions import (
    ABSOLUTE_LIMIT,
    IDLE_LIMIT,
    SignedIn,
    end_session,
    end_sessions,
    find_session,
    open_session,
    open_session_once,
    touch_session,
)
from review.records.tables import Pack, PersonRow
from review.records.tokens import (
    TOKEN_PREFIX,
    issue_token,
    person_of_token,
    revoke_token,
    revoke_tokens,
    tokens_of,
)
from review.records.ways import PURPOSE as NOTICE_WAYS
from review.records.ways import end_ways
from review.rules import policy
from review.rules.errors import LedgerUnavailableError, NotSignedInError
from review.webhooks import Key

__all__ = [
    "ABSOLUTE_LIMIT", "HASHER", "IDLE_LIMIT", "TOKEN_PREFIX", "Access", "SecondFactorNeededError",
    "SignedIn", "credentials", "disable", "enable", "end_session", "find_session", "issue_token",
    "open_session", "person_of_token", "revoke_token", "set_password", "tokens_of",
    "touch_session",
]  # fmt: skip

SEEN_EVERY = timedelta(minutes=1)  # how exact the idle limit is; a write each time
MOST_SESSIONS = 10_000  # remembered at once
TICKET_LIVES = timedelta(minutes=5)  # to find the telephone between the two factors
TICKET = "half a sign-in"
LINK_FORM = "form of a decision link"
LINK_FORM_LIVES = timedelta(hours=2)  # to read an item; as long as an idle session

_BY = {
    "username": one_person(PersonRow.username == bindparam("wanted")),
    "oa_account": one_person(PersonRow.oa_account == bindparam("wanted")),
}


class SecondFactorNeededError(NotSignedInError):
    """The first factor was right. `ticket` stands for it, for a form that asks for the second."""

    default_code = "second_factor_needed"

    def __init__(self, ticket: str, **params: Any) -> None:
        super().__init__(**params)
        self.ticket = ticket


def disable(
    session: Session, person_id: str, now: datetime, *, by: str = "", way_in: str = ""
) -> None:
    """Close an account and end its sessions and tokens; what the person decided stays.

    Raises:
        NotFoundError: There is no such person.
    """
    row = known(session, person_id)
    if row.disabled_at is None:
        row.disabled_at = now
        session.add(row)
        note(session, "account_disabled", now, by, way_in, person=person_id)
    end_sessions(session, person_id, now)
    revoke_tokens(session, person_id, now)
    end_ways(session, person_id, now)


def enable(
    session: Session, person_id: str, now: datetime, *, by: str = "", way_in: str = ""
) -> None:
    """Open an account again; its sessions and tokens stay ended.

    Raises:
        NotFoundError: There is no such person.
    """
    row = known(session, person_id)
    if row.disabled_at is not None:
        row.disabled_at = None
        session.add(row)
        note(session, "account_enabled", now, by, way_in, person=person_id)


@lru_cache(maxsize=4)
def _nobody(hasher: PasswordHasher) -> str:
    """Return what an unknown name is verified against, so that it takes as long as a known one."""
    return hasher.hash(secrets.token_bytes(16))


class Access:
    """Who somebody is; blocking, so the web calls it in threads."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        hasher: PasswordHasher = HASHER,
        secret: bytes = b"",
        turned_away: Callable[[str, str, str], None] = lambda what, code, person_id: None,
    ) -> None:
        """Take what it works with.

        Args:
            secret: SECRET_KEY; without it, nobody's second factor can be read.
            turned_away: Is told of each refused sign-in: what, the code, and whose name it was.
        """
        self._ledger = ledger
        self._clock = clock
        self._hasher = hasher
        self._turned_away = turned_away
        secret = secret or secrets.token_bytes(32)
        self._factors = Box(secret, second_factor.PURPOSE)
        self._tickets = Box(secret, TICKET)
        self._link_forms = Box(secret, LINK_FORM)
        self.hook_box = Box(secret, hook_keys.PURPOSE)
        self.way_box = Box(secret, NOTICE_WAYS)
        self._touched: OrderedDict[str, datetime] = OrderedDict()
        self._asked: dict[str, policy.SecondFactor] = {}
        self._nobody = _nobody(hasher)

    # --- signing in -------------------------------------------------------------------------------

    def sign_in(self, username: str, password: str, otp: str = "", address: str = "") -> SignedIn:
        """Open a session for a name, a password and, where the account has one, a second factor.

        Args:
            otp: A code of the authenticator, or a recovery code.
            address: Where the request comes from; empty when that can't be told.

        Raises:
            NotSignedInError: Name or password is wrong, or the account closed: which is not said,
                and does not show in the time it takes. `why` is `second_factor` for a wrong code.
            SecondFactorNeededError: The account has a second factor and no code was given.
            TooManyError: Too many failures in 15 minutes; the password isn't even looked at.
            LedgerUnavailableError: The session can't be written now.
        """
        now = self._clock()
        self._count(username, address, now)
        found = None
        if _is_name(username):
            with self._ledger.reading() as session:
                found = credentials(session, username)
        person_id, hash_ = found or ("", self._nobody)
        if not fits(hash_, password, self._hasher) or found is None:
            self._turned_away("sign_in", "password", person_id)
            raise NotSignedInError(why="password")
        rehashed = ""
        if self._hasher.check_needs_rehash(hash_):
            rehashed = hashed(password, self._hasher)

        def open_(session: Session, strong: bool) -> SignedIn | None:
            return open_session(
                session, person_id, hash_, now, rehashed=rehashed, second_factor=strong
            )

        claim = {"person": person_id, "name": username, "password": digest_of_secret(hash_)}
        return self._open(claim, otp, address, now, open_)

    def sign_in_known(
        self, field: str, account: str, proof: str, otp: str = "", address: str = ""
    ) -> SignedIn:
        """Open a session on the verified word of an identity provider; makes no account.

        Args:
            field: Which of ours the account is: `username` or `oa_account`.
            proof: What no two sign-ins have in common.

        Raises:
            NotSignedInError: `oidc_account`: nobody enabled has this account, or the provider's
                word was used before. Else as for `sign_in`.
        """
        now = self._clock()
        person = None
        if _is_name(account):
            with self._ledger.reading() as session:
                person = person_found(session, _BY[field], now, wanted=account)
        if person is None:
            self._turned_away("sign_in", "oidc_account", "")
            raise NotSignedInError(why="oidc_account")
        claim = {"person": person.id, "name": person.username, "proof": proof}
        return self._open(claim, otp, address, now, self._opener(claim, now))

    def second_step(self, ticket: str, otp: str, address: str = "") -> SignedIn:
        """Open the session of somebody whose first factor was right, by the second.

        Raises:
            NotSignedInError: `ticket`: too old or not ours; `second_factor`: a wrong code.
            TooManyError: As for `sign_in`.
        """
        now = self._clock()
        opened = self._tickets.open(ticket, TICKET)
        claim: dict[str, str] = json.loads(opened) if opened else {}
        if not claim or datetime.fromisoformat(claim["until"]) < now:
            raise NotSignedInError(why="ticket")
        self._count(claim["name"], address, now)
        return self._open(claim, otp, address, now, self._opener(claim, now))

    def sign_out(self, secret: str) -> None:
        """End the session of a cookie.

        Raises:
            LedgerUnavailableError: It can't be written now, so the session goes on.
        """
        with self._ledger.writing() as session:
            end_session(session, secret, self._clock())

    def use_first_key(
        self, key: str, username: str, name: str, password: str, address: str = ""
    ) -> str:
        """Make the first security administrator with the first start's key; returns their id.

        Raises:
            NotSignedInError, RefusedError: See `first_key.use_first_key`.
            TooManyError: Too many tries from this address.
        """
        now = self._clock()
        self._count("", address, now)
        hash_ = hashed(password, self._hasher)
        made = self._ledger.write(first_key.use_first_key, key, username, name, hash_, now)
        self._ledger.write(lockouts.take_back, "", address, now)
        return made

    def _count(self, username: str, address: str, now: datetime) -> None:
        refusal = self._ledger.write(lockouts.count, username, address, now)
        if refusal is not None:
            self._turned_away("sign_in", refusal.code, "")
            raise refusal

    def _opener(
        self, claim: dict[str, str], now: datetime
    ) -> Callable[[Session, bool], SignedIn | None]:
        """Return what opens the session of a first factor that was right a moment ago."""

        def open_(session: Session, strong: bool) -> SignedIn | None:
            person_id = claim["person"]
            if proof := claim.get("proof"):
                return open_session_once(session, person_id, proof, now, second_factor=strong)
            row = session.get(PersonRow, person_id)
            if row is None or digest_of_secret(row.password_hash) != claim.get("password"):
                return None
            return open_session(session, person_id, row.password_hash, now, second_factor=strong)

        return open_

    def _open(
        self,
        claim: dict[str, str],
        otp: str,
        address: str,
        now: datetime,
        open_: Callable[[Session, bool], SignedIn | None],
    ) -> SignedIn:
        """Ask for the second factor where there is one, and open the session."""

        def act(session: Session) -> SignedIn | str:
            session.get(PersonRow, claim["person"], with_for_update=True)
            strong = second_factor.holds(session, claim["person"])
            if strong and not otp:
                lockouts.take_back_address(session, address, now)
                return "needed"
            if strong and not second_factor.accept(
                session, claim["person"], otp, now, self._factors
            ):
                return "second_factor"
            opened = open_(session, strong)
            if opened is None:
                return "oidc_account" if "proof" in claim else "password"
            lockouts.take_back(session, claim["name"], address, now)
            return opened

        answer = self._ledger.write(act)
        if answer == "needed":
            until = (now + TICKET_LIVES).isoformat()
            content = json.dumps(claim | {"until": until}).encode()
            raise SecondFactorNeededError(
                self._tickets.seal(content, TICKET, secrets.token_bytes(NONCE))
            )
        if isinstance(answer, str):
            self._turned_away("sign_in", answer, claim["person"])
            raise NotSignedInError(why=answer)
        shown = self.by_session(answer.secret)
        return answer if shown is None else answer._replace(person=shown[0])

    # --- second factors ---------------------------------------------------------------------------

    def holds_second_factor(self, person_id: str) -> bool:
        """Tell whether somebody has one in use."""
        with self._ledger.reading() as session:
            return second_factor.holds(session, person_id)

    def begin_second_factor(self, person_id: str) -> second_factor.Enrolment:
        """Make a secret for somebody's authenticator; see `second_factor.begin`."""
        return self._ledger.write(second_factor.begin, person_id, self._clock(), self._factors)

    def confirm_second_factor(self, person_id: str, code: str, cookie: str) -> list[str]:
        """Take its first code, and return the recovery codes; see `second_factor.confirm`."""
        return self._ledger.write(
            second_factor.confirm, person_id, code, cookie, self._clock(), self._factors
        )

    # --- decision links ---------------------------------------------------------------------------

    def link_form(self, link_id: str, *, second_factor: bool) -> str:
        """Return what proves that a form came from the page of this link.

        Args:
            second_factor: Its person gave theirs, so that it isn't asked for again.
        """
        until = (self._clock() + LINK_FORM_LIVES).isoformat()
        content = json.dumps({"until": until, "second_factor": second_factor}).encode()
        return self._link_forms.seal(content, link_id, secrets.token_bytes(NONCE))

    def read_link_form(self, form: str, link_id: str) -> bool | None:
        """Return whether a second factor was given; None for what isn't this link's or is old."""
        opened = self._link_forms.open(form, link_id)
        said = json.loads(opened) if opened else {}
        if not said or datetime.fromisoformat(said["until"]) <= self._clock():
            return None
        return bool(said["second_factor"])

    def count_link(self, address: str) -> None:
        """Count a token that is nobody's, as a failed sign-in.

        Raises:
            TooManyError: Too many from this address.
        """
        self._count("", address, self._clock())

    def give_second_factor(self, person: Person, code: str, address: str = "") -> None:
        """Take the second factor of somebody who opened a link; counted like a sign-in.

        Raises:
            NotSignedInError: `second_factor`: a wrong code.
            TooManyError: Too many tries for this name or from this address.
        """
        now = self._clock()
        self._count(person.username, address, now)

        def act(session: Session) -> bool:
            session.get(PersonRow, person.id, with_for_update=True)
            if not second_factor.accept(session, person.id, code, now, self._factors):
                return False
            lockouts.take_back(session, person.username, address, now)
            return True

        if not self._ledger.write(act):
            self._turned_away("decision_link", "second_factor", person.id)
            raise NotSignedInError(why="second_factor")

    # --- who calls --------------------------------------------------------------------------------

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
            person = found.person
            if not found.second_factor and found.policy_digest:
                asked = self._rules(session, found.policy_digest)
                grace = asked.grace.wall if asked.grace else timedelta()
                if now >= found.joined_at + grace:
                    roles = {held.role for held in person.roles}
                    person = person.model_copy(
                        update={
                            "second_factor": False,
                            "must_enrol": bool(roles & set(map(str, asked.roles))),
                        }
                    )
        if now - found.seen_at >= SEEN_EVERY and self._may_touch(secret, now):
            try:
                with self._ledger.writing() as session:
                    touch_session(session, secret, now)
            except LedgerUnavailableError:
                pass  # reading goes on while the ledger is locked; it ends earlier, never later
        return person, found.csrf

    def is_open(self, secret: str) -> bool:
        """Tell whether a cookie still opens a session; asking is no use of it."""
        with self._ledger.reading() as session:
            return find_session(session, secret, self._clock()) is not None

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

    def hook_keys(self) -> list[Key]:
        """Return the keys with which other systems may sign now; one statement."""
        with self._ledger.reading() as session:
            return hook_keys.keys_now(session, self._clock(), self.hook_box)

    def _rules(self, session: Session, digest: str) -> policy.SecondFactor:
        """Return of whom a pack asks a second factor; read once a process."""
        if digest not in self._asked:
            body = session.exec(select(Pack.body).where(Pack.digest == digest)).one()
            self._asked[digest] = policy.Policy.model_validate_json(body).second_factor
        return self._asked[digest]

    def _may_touch(self, secret: str, now: datetime) -> bool:
        """Allow one try a minute, so that a locked ledger isn't waited for at each request."""
        key = digest_of_secret(secret)
        last = self._touched.get(key)
        if last is not None and now - last < SEEN_EVERY:
            return False
        self._touched[key] = now
        while len(self._touched) > MOST_SESSIONS:
            self._touched.popitem(last=False)
        return True


def _is_name(text: str) -> bool:
    """Tell whether a database can hold a text at all; what it can't hold is nobody's name."""
    return "\0" not in text and text.isprintable()
