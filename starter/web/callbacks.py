"""What platforms call back about: that a publication has been looked at (发布结果 of 公众号).

A callback proves nothing and changes nothing. It has the publication's workflow ask the platform
now instead of in a minute; what counts is the platform's answer to us.
"""

import re
from typing import Annotated

import structlog
from fastapi import APIRouter, Path, Query, Request
from starlette.responses import PlainTextResponse, Response

from review.envelopes import texts_in
from review.rules.errors import MalformedError, NotSignedInError
from starter.web.bodies import read_body
from starter.web.dependencies import ReviewsDep
from starter.web.openapi import refusals

router = APIRouter(tags=["hooks"])
log = structlog.get_logger()

LIMIT = 64 * 1024  # bytes of a callback
JOB = re.compile(r"[0-9]{1,32}")
ECHO = re.compile(r"[A-Za-z0-9_-]{1,128}")
FINISHED = "PUBLISHJOBFINISH"
ADDRESS = "/hooks/wechat/{channel}"

ChannelId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_.-]{1,120}$")]
Part = Annotated[str, Query(max_length=200)]


@router.get(
    ADDRESS, response_class=PlainTextResponse, responses=refusals(401, 404, 422, 503)
)  # fmt: skip
async def greet(
    channel: ChannelId,
    reviews: ReviewsDep,
    signature: Part = "",
    timestamp: Part = "",
    nonce: Part = "",
    echostr: Part = "",
) -> Response:
    """Show 公众号 that this address is ours, when it is entered there."""
    envelope = await reviews.envelope(channel)
    envelope.check(signature, timestamp, nonce, None, reviews.now())
    if not ECHO.fullmatch(echostr):
        raise MalformedError(errors=[{"field": "echostr", "message": "unknown_value"}])
    return PlainTextResponse(echostr)


@router.post(ADDRESS, response_class=PlainTextResponse, responses=refusals(401, 404, 413, 422, 503))
async def receive(
    request: Request,
    channel: ChannelId,
    reviews: ReviewsDep,
    msg_signature: Part = "",
    timestamp: Part = "",
    nonce: Part = "",
) -> Response:
    """Take a sealed callback of 公众号 (安全模式); what is about no publication leaves nothing.

    An open one (明文模式) is refused: its signature does not cover what it says.
    """
    envelope = await reviews.envelope(channel)
    outside = texts_in(await read_body(request, LIMIT))
    if "Encrypt" not in outside:
        raise NotSignedInError
    envelope.check(msg_signature, timestamp, nonce, outside["Encrypt"], reviews.now())
    said = texts_in(envelope.opened(outside["Encrypt"]))
    job = said.get("PublishEventInfo/publish_id", "")
    if said.get("Event") == FINISHED and JOB.fullmatch(job):
        told = await reviews.ask_platform_now(channel, job)
        log.info("publication_called_back", channel=channel, told=told)
    return PlainTextResponse("success")
