"""Decryption for Temporal's own pages and command line: `POST /codec/decode`, behind sign-in.

It opens whatever this installation encrypted, so it answers only those who look after the engine,
and other sites' scripts only when they are the pages that the settings name. Nothing is encrypted
here: what enters the engine enters through us.
"""

import base64
import binascii
from collections.abc import Callable
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Request
from google.protobuf.json_format import MessageToDict
from pydantic import Field, ValidationError
from starlette.responses import Response
from temporalio.api.common.v1 import Payload

from review.payloads import PayloadAlteredError, PayloadKeyMissingError
from review.rules.errors import NotAllowedError, NotFoundError, RefusedError, RuleError
from review.rules.values import Role, Value
from starter.web.bodies import malformed, read_body
from starter.web.dependencies import remember, signed_in_caller
from starter.web.openapi import refusals
from starter.web.problems import Answer, on_rule_error

router = APIRouter(tags=["codec"])

ROLES = frozenset({Role.SYSADMIN, Role.SUPERVISOR})
NAMESPACE_HEADER = "x-namespace"
MOST = 1000  # payloads at once; Temporal's pages send a page of a history
ALLOWED_HEADERS = "authorization, content-type, x-namespace, x-csrf-token"


class Opener(Protocol):
    """Opens one payload; the keys are set up already."""

    def opened(self, payload: Payload) -> Payload: ...


class SealedPayload(Value):
    """A payload as protobuf's JSON writes it: bytes in base64."""

    metadata: dict[Annotated[str, Field(max_length=200)], Annotated[str, Field(max_length=2_000)]]
    data: str = ""


class SealedPayloads(Value):
    """What the engine's pages and command line send."""

    payloads: Annotated[tuple[SealedPayload, ...], Field(max_length=MOST)] = ()


@router.options("/codec/decode", include_in_schema=False)
@router.options("/codec/encode", include_in_schema=False)
async def preflight(request: Request) -> Response:
    """Answer a browser that asks whether the engine's own pages may ask."""
    return Response(status_code=204, headers=cors(request))


@router.post("/codec/decode", responses=refusals(401, 403, 409, 413, 415, 422, 503))
async def decode(request: Request) -> Response:
    """Decrypt payloads; for the system administrator and supervisors."""
    return await _answered(request, _opened)


@router.post("/codec/encode", responses=refusals(401, 403, 409, 413, 415, 422, 503))
async def encode(request: Request) -> Response:
    """Encrypt nothing: what enters the engine enters through us.

    Temporal's command line asks also where a query has no arguments; that is answered.
    """
    return await _answered(request, _nothing_sealed)


async def _answered(
    request: Request, deed: Callable[[Opener, list[Payload]], list[Payload]]
) -> Response:
    """Do the deed for somebody who may; also a refusal can be read by the engine's pages."""
    try:
        opener, sent = await _allowed(request)
        done = [MessageToDict(payload) for payload in deed(opener, sent)]
        answer: Response = Answer({"payloads": done})
    except RuleError as error:
        await remember(request, error)
        answer = await on_rule_error(request, error)
    for name, value in cors(request).items():
        answer.headers[name] = value
    return answer


def _opened(opener: Opener, sent: list[Payload]) -> list[Payload]:
    try:
        return [opener.opened(payload) for payload in sent]
    except PayloadKeyMissingError as error:
        raise RefusedError("payload_key_missing") from error
    except PayloadAlteredError as error:
        raise RefusedError("payload_altered") from error


def _nothing_sealed(_opener: Opener, sent: list[Payload]) -> list[Payload]:
    if sent:
        raise RefusedError("not_encrypted_here")
    return []


async def _allowed(request: Request) -> tuple[Opener, list[Payload]]:
    """Return what opens payloads, and those sent, for somebody who may have them opened."""
    origin = request.headers.get("origin")
    if origin is not None and origin.lower() not in _origins(request):
        raise NotAllowedError(why="origin")
    opener: Opener | None = request.app.state.opener
    # A cookie is enough: nothing is changed here, and no other site may read the answer.
    caller = await signed_in_caller(request, csrf=False)
    if not {held.role for held in caller.person.roles} & ROLES:
        raise NotAllowedError
    if opener is None:
        raise NotFoundError
    if request.headers.get(NAMESPACE_HEADER, request.app.state.namespace) != (
        request.app.state.namespace
    ):
        raise NotAllowedError(why="namespace")
    return opener, _payloads(await read_body(request))


def _payloads(body: bytes) -> list[Payload]:
    """Read protobuf's JSON by a model of our own: no junk makes its parser fail in a new way."""
    try:
        sent = SealedPayloads.model_validate_json(body)
        return [
            Payload(
                metadata={name: _bytes(value) for name, value in one.metadata.items()},
                data=_bytes(one.data),
            )
            for one in sent.payloads
        ]
    except (ValidationError, binascii.Error, ValueError):
        malformed("payloads", "not_payloads")


def _bytes(value: str) -> bytes:
    """Return bytes that protobuf's JSON wrote, with or without padding, in either alphabet."""
    plain = value.rstrip("=").replace("-", "+").replace("_", "/")
    return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)


def _origins(request: Request) -> frozenset[str]:
    """Return whose scripts may ask: the engine's pages, and our own."""
    found: frozenset[str] = request.app.state.codec_origins
    return found


def cors(request: Request) -> dict[str, Any]:
    """Return what lets the engine's own pages read the answer, and nobody else's."""
    origin = request.headers.get("origin", "")
    if origin.lower() not in _origins(request):
        return {"Vary": "Origin"}
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Credentials": "true",
        "Access-Control-Allow-Methods": "POST, OPTIONS",
        "Access-Control-Allow-Headers": ALLOWED_HEADERS,
        "Access-Control-Max-Age": "600",
        "Cross-Origin-Resource-Policy": "cross-origin",
        "Vary": "Origin",
    }
