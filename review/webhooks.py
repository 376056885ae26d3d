"""Standard Webhooks: how a message between systems is signed, and told from a forged one.

The verifier is our own: every malformed header is a refusal, and one header is one header. The
package `standardwebhooks` is its oracle in the tests.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from review.records.people import Person
from review.rules.errors import NotSignedInError

TOLERANCE = timedelta(minutes=5)  # Standard Webhooks' own
MESSAGE_ID = re.compile(r"[\x21-\x7e]{1,200}")
TIMESTAMP = re.compile(r"[0-9]{1,11}")
SIGNATURES_LENGTH = 4_096
SECRET_PREFIX = "whsec_"
SECRET_SIZE = 32  # bytes; the standard asks for 24 to 64


class HeaderList(Protocol):
    """Headers that may come more than once."""

    def getlist(self, key: str) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class Key:
    """One system's secret and what it may speak of; an empty scope means everything.

    Args:
        units: For whose people; a unit's id.
        roles: For holders of one of these roles.
        people: For these people alone, by id.
        steps: On these steps alone.
    """

    id: str
    secret: bytes
    units: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()
    people: frozenset[str] = frozenset()
    steps: frozenset[str] = frozenset()

    @classmethod
    def of(cls, key_id: str, secret: str, units: Iterable[str] = ()) -> "Key":
        """Return the key of a secret as Standard Webhooks writes it, `whsec_` and base64.

        Raises:
            ValueError: The secret is not base64, or empty. It is not repeated.
        """
        try:
            raw = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
        except (binascii.Error, ValueError):
            raw = b""
        if not raw:
            raise ValueError(f"the secret of key {key_id!r} is not base64")
        return cls(key_id, raw, frozenset(units))

    def may_speak_for(self, person: Person) -> bool:
        """Tell whether the person is within the key's scope, by every limit that it has."""
        return (
            (not self.units or person.unit_id in self.units)
            and (not self.people or person.id in self.people)
            and (not self.roles or any(str(held.role) in self.roles for held in person.roles))
        )

    def may_decide(self, step: str) -> bool:
        """Tell whether the step is within the key's scope."""
        return not self.steps or step in self.steps

    def sign(self, message_id: str, timestamp: str, body: bytes) -> bytes:
        """Return the one signature this key gives a message, as it stands in the header."""
        signed = b".".join((message_id.encode("ascii"), timestamp.encode("ascii"), body))
        digest = hmac.new(self.secret, signed, hashlib.sha256).digest()
        return b"v1," + base64.b64encode(digest)


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message whose signature held: its id and the key that signed it."""

    message_id: str
    key: Key


class Verifier:
    """Tells true deliveries from forged, old and malformed ones."""

    def __init__(self, keys: Iterable[Key], now: Callable[[], datetime] | None = None) -> None:
        self._keys = tuple(keys)
        self._now = now or (lambda: datetime.now(UTC))

    def verify(self, headers: HeaderList, body: bytes, more: Iterable[Key] = ()) -> Delivery:
        """Return who sent a message.

        Every key is tried against every signature, in a time that tells nothing about either.

        Args:
            more: Keys that count beside the verifier's own.

        Raises:
            NotSignedInError: A header is missing, given twice or malformed, the timestamp is more
                than five minutes off, or no signature is right.
        """
        message_id = one_of(headers, "webhook-id")
        timestamp = one_of(headers, "webhook-timestamp")
        signatures = one_of(headers, "webhook-signature")
        if not MESSAGE_ID.fullmatch(message_id) or not TIMESTAMP.fullmatch(timestamp):
            raise NotSignedInError(why="hook_headers")
        if len(signatures) > SIGNATURES_LENGTH:
            raise NotSignedInError(why="hook_headers")
        if abs(self._now().timestamp() - int(timestamp)) > TOLERANCE.total_seconds():
            raise NotSignedInError(why="hook_timestamp")
        given = [signature.encode("latin-1", "replace") for signature in signatures.split(" ")]
        signer = None
        for key in (*self._keys, *more):
            expected = key.sign(message_id, timestamp, body)
            for signature in given:
                if hmac.compare_digest(expected, signature):
                    signer = key
        if signer is None:
            raise NotSignedInError(why="hook_signature")
        return Delivery(message_id, signer)


def one_of(headers: HeaderList, name: str) -> str:
    """Return a header's value, which must stand there once."""
    values = headers.getlist(name)
    if len(values) != 1:
        raise NotSignedInError(why="hook_headers")
    return values[0]


def headers_for(message_id: str, body: bytes, keys: Iterable[Key], now: datetime) -> dict[str, str]:
    """Return the headers that sign a message, by one key or by two while one is being changed."""
    timestamp = str(int(now.timestamp()))
    signatures = b" ".join(key.sign(message_id, timestamp, body) for key in keys)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": signatures.decode("ascii"),
    }


def written(secret: bytes) -> str:
    """Return a secret as Standard Webhooks writes it."""
    return SECRET_PREFIX + base64.b64encode(secret).decode("ascii")
