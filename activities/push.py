"""Push: an approved item signed and sent to a system of the bureau's own (CMS, app, 小程序).

`docs/channels.md` is the receiver's side: it keeps what it got by our key, answers a repeat with
the first answer, and says under GET what it holds.
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any
from urllib.parse import quote

from activities.channels import Seen
from activities.outgoing import (
    AddressRefusedError,
    Answered,
    NotConnectedError,
    NotSentError,
    Outgoing,
)
from review.rendering import Rendered
from review.rules.publications import Claim, Connection, Receipt
from review.rules.values import PublicationState

LATER = {425: 60.0, 429: 300.0}  # "not now": the receiver kept nothing; seconds until the next try
STATES = {
    "accepted": PublicationState.ACCEPTED,
    "live": PublicationState.LIVE,
    "failed": PublicationState.FAILED,
    "retracted": PublicationState.RETRACTED,
}
LONGEST = 2_000  # characters of an id or address that is kept


class AnswerUnclearError(Exception):
    """An answer that says neither yes nor no: the item may be there."""


class Push:
    """One item, one signed POST; its key makes a repeat harmless."""

    per_second = 10.0

    def __init__(
        self,
        outgoing: Outgoing,
        connect: Callable[[str], Awaitable[Connection]],
        clock: Callable[[], datetime],
    ) -> None:
        self._outgoing = outgoing
        self._connect = connect
        self._clock = clock

    async def publish(self, claim: Claim, rendered: Rendered, at: datetime) -> Receipt:
        return await self._tell("publish", claim, at, self._shown(rendered))

    async def correct(self, claim: Claim, rendered: Rendered, at: datetime) -> Receipt:
        return await self._tell("correct", claim, at, self._shown(rendered))

    async def retract(self, claim: Claim, at: datetime) -> Receipt:
        return await self._tell("retract", claim, at, {})

    async def lookup(self, claim: Claim) -> Receipt | None:
        answer = await self._ask(claim)
        if answer is None:
            return None
        said = _said(answer)
        receipt = self._receipt(answer)
        if claim.deed == "retract" and receipt.state is PublicationState.FAILED:
            return None
        return receipt if said else Receipt(state=PublicationState.UNKNOWN)

    async def read(self, claim: Claim) -> Seen | None:
        """Return what the receiver shows, where it says so in `content`; None when it is gone.

        Raises:
            AnswerUnclearError: It can't be read back.
        """
        answer = await self._ask(claim)
        if answer is None:
            return None
        said = _said(answer)
        if said.get("state") == "retracted":
            return None
        if not isinstance(said.get("content"), str):
            raise AnswerUnclearError("no content")
        return Seen(content=said["content"].encode())

    def _shown(self, rendered: Rendered) -> dict[str, Any]:
        return {"media_type": rendered.media_type, "content": rendered.content.decode()}

    async def _tell(self, deed: str, claim: Claim, at: datetime, more: dict[str, Any]) -> Receipt:
        data = {
            "key": claim.key,
            "item": claim.submission_id,
            "number": claim.number,
            "channel": claim.channel,
            "generation": claim.generation,
            "replaces": claim.correction_of or None,
            "title": claim.title if deed != "retract" else None,
            "digest": claim.digest,
            "rendered_digest": claim.rendered_digest,
            **more,
        }
        body = json.dumps(
            {"type": f"publication.{deed}", "timestamp": at.isoformat(), "data": data},
            ensure_ascii=False,
        ).encode()
        try:
            connection = await self._connect(claim.channel)
            answer = await self._send(
                "POST", connection.address, connection.secret, f"{claim.key}.{deed}", body
            )
        except NotSentError:
            return _later("publication.not_reached", 30)
        except NotConnectedError:
            return Receipt(state=PublicationState.FAILED, detail="publication.not_connected")
        except AddressRefusedError:
            return Receipt(state=PublicationState.FAILED, detail="publication.address_refused")
        return self._receipt(answer)

    async def _ask(self, claim: Claim) -> Answered | None:
        connection = await self._connect(claim.channel)
        url = f"{connection.address.rstrip('/')}/{quote(claim.key, safe='')}"
        answer = await self._send("GET", url, connection.secret, f"{claim.key}.lookup", b"")
        if answer.status in (404, 410):
            return None
        if answer.status != 200:
            raise AnswerUnclearError(str(answer.status))
        return answer

    async def _send(
        self, method: str, url: str, secret: str, message_id: str, body: bytes
    ) -> Answered:
        timestamp = str(int(self._clock().timestamp()))
        headers = {
            "webhook-id": message_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": signature(secret, message_id, timestamp, body),
            "content-type": "application/json; charset=utf-8",
        }
        return await self._outgoing.request(method, url, content=body, headers=headers)

    def _receipt(self, answer: Answered) -> Receipt:
        said = _said(answer)
        if answer.status in LATER:
            return _later("publication.platform_busy", LATER[answer.status])
        if 400 <= answer.status < 500 and answer.status != 408:
            # The receiver understood and will not.
            return Receipt(
                state=PublicationState.FAILED,
                detail="publication.receiver_refused",
                said=str(answer.status),
            )
        if not 200 <= answer.status < 300:
            raise AnswerUnclearError(str(answer.status))
        default = "accepted" if answer.status == 202 else ""
        state = STATES.get(str(said.get("state") or default))
        if state is None:
            raise AnswerUnclearError("no state")
        failed = state is PublicationState.FAILED
        url = str(said.get("url") or "")[:LONGEST]
        return Receipt(
            state=state,
            url=url if url.startswith(("https://", "http://")) else "",
            reference=str(said.get("id") or "")[:LONGEST],
            said=str(answer.status),
            detail="publication.receiver_refused" if failed else "",
        )


def signature(secret: str, message_id: str, timestamp: str, body: bytes) -> str:
    """Return a message's signature as Standard Webhooks lays down.

    Raises:
        NotConnectedError: The secret is not base64, or empty; it is not repeated.
    """
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise NotConnectedError("the channel's secret is not base64")
    signed = b".".join((message_id.encode(), timestamp.encode(), body))
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def _said(answer: Answered) -> dict[str, Any]:
    try:
        said = json.loads(answer.content)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _later(detail: str, seconds: float) -> Receipt:
    return Receipt(state=PublicationState.SUBMITTED, detail=detail, wait_seconds=seconds)
