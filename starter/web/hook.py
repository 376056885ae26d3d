"""Decisions from the OA and chat platforms, signed as Standard Webhooks lays down.

The verifier is our own: every malformed header is a 401, and one header is one header. The
package `standardwebhooks` is its oracle in the tests.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from fastapi import APIRouter, Request

from review.records.people import Person
from review.requests import DecisionRequest, HookDecision
from review.rules.errors import KeyReusedError, NotAllowedError, NotSignedInError, RefusedError
from starter.web.bodies import parsed, read_body, require_json
from starter.web.dependencies import AccessDep, Caller, ReviewsDep
from starter.web.openapi import refusals, takes
from starter.web.problems import Answer

router = APIRouter(tags=["hooks"])

TOLERANCE = timedelta(minutes=5)  # Standard Webhooks' own
MESSAGE_ID = re.compile(r"[\x21-\x7e]{1,200}")
TIMESTAMP = re.compile(r"[0-9]{1,11}")
SIGNATURES_LENGTH = 4_096
SECRET_PREFIX = "whsec_"


class HeaderList(Protocol):
    """Headers that may come more than once."""

    def getlist(self, key: str) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class Key:
    """One platform's secret, and the units for whose people it may speak; none means all."""

    id: str
    secret: bytes
    units: frozenset[str] = frozenset()

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
        return not self.units or person.unit_id in self.units

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

    def verify(self, headers: HeaderList, body: bytes) -> Delivery:
        """Return who sent a message.

        Every key is tried against every signature, in a time that tells nothing about either.

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
        for key in self._keys:
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


@router.post(
    "/hooks/decisions",
    openapi_extra=takes(HookDecision),
    responses=refusals(401, 403, 404, 409, 413, 415, 422, 503),
)
async def receive_decision(request: Request, access: AccessDep, reviews: ReviewsDep) -> Answer:
    """Take one signed decision; `webhook-id` is its id, so a repeated delivery counts once."""
    verifier: Verifier = request.app.state.verifier
    body = await read_body(request)
    delivery = verifier.verify(request.headers, body)
    require_json(request)
    sent = parsed(HookDecision, body)
    person = await asyncio.to_thread(access.by_oa_account, sent.account)
    if person is not None:  # whom a refusal is written down for
        request.state.caller = Caller(person, "oa")
    # Whether such an account exists is nothing a key learns about beyond its scope.
    if person is None or not delivery.key.may_speak_for(person):
        raise NotAllowedError(why="hook_scope")
    fields = {name: getattr(sent, name) for name in DecisionRequest.model_fields}
    decision = DecisionRequest.model_construct(sent.model_fields_set & fields.keys(), **fields)
    try:
        taken = await reviews.decide(
            person, sent.submission, decision, decision_id=delivery.message_id, way_in="oa"
        )
    except KeyReusedError as error:
        raise RefusedError(error.code, **error.params) from None  # on the hook it is a 409
    return Answer(taken)
