"""Decisions from the OA and chat platforms, signed as Standard Webhooks lays down."""

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from pydantic_core import to_jsonable_python

from review.records.access import Access
from review.requests import DecisionRequest, HookDecision
from review.rules.errors import KeyReusedError, NotAllowedError, RefusedError, RuleError
from review.webhooks import Delivery, Key, Verifier
from starter.reviews import Reviews
from starter.web.bodies import parsed, read_body, require_json
from starter.web.dependencies import AccessDep, Caller, ReviewsDep
from starter.web.openapi import refusals, takes
from starter.web.problems import Answer

__all__ = ["Delivery", "Key", "Verifier", "router"]

router = APIRouter(tags=["hooks"])

# What was judged and is the message's answer for good; what has not the form of a decision (415,
# 422) never gets that far, and 401 and 503 answer nothing.
ANSWERS = frozenset({403, 404, 409})
# A stop names what stands in a text that is kept nowhere; the same text is stopped again.
NEVER_KEPT = frozenset({"screening_stop"})


class AnsweredError(RuleError):
    """The refusal that a message got when it first came."""

    remembered = True

    def __init__(self, status: int, code: str, params: dict[str, Any]) -> None:
        super().__init__(code, **params)
        self.status = status


@router.post(
    "/hooks/decisions",
    openapi_extra=takes(HookDecision),
    responses=refusals(401, 403, 404, 409, 413, 415, 422, 503),
)
async def receive_decision(request: Request, access: AccessDep, reviews: ReviewsDep) -> Answer:
    """Take one signed decision; `webhook-id` is its id, so a repeated delivery counts once.

    The same id with the same body gets the first answer, with another body 409 `key_reused`.
    """
    verifier: Verifier = request.app.state.verifier
    body = await read_body(request)
    held = await asyncio.to_thread(access.hook_keys)
    delivery = verifier.verify(request.headers, body, held)
    require_json(request)
    sent = parsed(HookDecision, body)
    status, answer = await reviews.claim_delivery(delivery.message_id, delivery.key.id, body)
    if status == 200:
        return Answer(answer)
    if status:
        raise AnsweredError(status, answer["code"], answer["params"])
    try:
        taken = await _decide(request, delivery, sent, access, reviews)
    except RuleError as error:
        if error.code == "key_reused":
            await reviews.release_delivery(delivery.message_id)
        elif error.status in ANSWERS and error.code not in NEVER_KEPT:
            kept = {"code": error.code, "params": to_jsonable_python(error.params, fallback=str)}
            await reviews.answer_delivery(delivery.message_id, error.status, kept)
        raise
    await reviews.answer_delivery(delivery.message_id, 200, taken)
    return Answer(taken)


async def _decide(
    request: Request, delivery: Delivery, sent: HookDecision, access: Access, reviews: Reviews
) -> dict[str, Any]:
    """Judge a true message: who it speaks for, whether its key may, and what the rules say."""
    person = await asyncio.to_thread(access.by_oa_account, sent.account)
    if person is not None:  # whom a refusal is written down for
        request.state.caller = Caller(person, "oa")
    # Whether such an account exists is nothing a key learns about beyond its scope.
    if person is None or not delivery.key.may_speak_for(person):
        raise NotAllowedError(why="hook_scope")
    if not delivery.key.may_decide(sent.step):
        raise NotAllowedError(why="hook_step")
    fields = {name: getattr(sent, name) for name in DecisionRequest.model_fields}
    decision = DecisionRequest.model_construct(sent.model_fields_set & fields.keys(), **fields)
    try:
        return await reviews.decide(
            person, sent.submission, decision, decision_id=delivery.message_id, way_in="oa"
        )
    except KeyReusedError as error:
        raise RefusedError(error.code, **error.params) from None  # on the hook it is a 409
