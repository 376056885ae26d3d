"""The ways in. Each takes the same acts; a later one joins by one line in `SURFACES`."""

import json
from typing import Any, Protocol

from pydantic import ValidationError

from review.ids import new_id
from review.requests import ActRequest, DecisionRequest, Draft, NewVersion
from review.rules.errors import RuleError
from tests.attack.world import HOOK_KEY, Answer, World

Body = dict[str, Any]


class Surface(Protocol):
    """A way in.

    Args (of `send`): `kind` is submit, decide, version or act; `key` the caller's.
    """

    name: str
    kinds: frozenset[str]
    when_disabled: str  # the code for somebody whose account is closed

    def send(
        self, world: World, person: str, kind: str, submission: str, body: Body, key: str | None
    ) -> Answer: ...


EVERY = frozenset({"submit", "decide", "version", "act"})
SHAPES: dict[str, Any] = {
    "submit": Draft, "decide": DecisionRequest, "version": NewVersion, "act": ActRequest,
}  # fmt: skip


class Direct:
    """`Reviews`, as pages and programs call it."""

    name, kinds, when_disabled = "reviews", EVERY, "not_signed_in"

    def send(
        self, world: World, person: str, kind: str, submission: str, body: Body, key: str | None
    ) -> Answer:
        who = world.person(person)
        try:
            request = SHAPES[kind].model_validate(body)
        except ValidationError:
            return Answer("malformed", {})
        way: Any = {"way_in": "page"}
        calls: dict[str, Any] = {
            "submit": lambda r: r.submit(who, request, key=key, **way),
            "decide": lambda r: r.decide(who, submission, request, decision_id=key, **way),
            "version": lambda r: r.new_version(who, submission, request, key=key, **way),
            "act": lambda r: r.act(who, submission, request, key=key, **way),
        }
        try:
            return Answer("ok", world.run(calls[kind](world.reviews)))
        except RuleError as refusal:
            return Answer(refusal.code, refusal.params)


PATHS = {
    "submit": "/api/v1/submissions",
    "decide": "/api/v1/submissions/{}/decisions",
    "version": "/api/v1/submissions/{}/versions",
    "act": "/api/v1/submissions/{}/acts",
}


def answered(response: Any) -> Answer:
    body = response.json() if response.content else {}
    assert response.status_code < 500 or response.status_code == 503, response.text
    return Answer("ok" if response.status_code < 400 else body["code"], body)


class Api:
    """The HTTP interface with a bearer token."""

    name, kinds, when_disabled = "api", EVERY, "not_signed_in"

    def send(
        self, world: World, person: str, kind: str, submission: str, body: Body, key: str | None
    ) -> Answer:
        headers = self.headers(world, person)
        if key:
            headers["Idempotency-Key"] = key
        path = PATHS[kind].format(submission)
        return answered(world.run(world.web.post(path, json=body, headers=headers)))

    def headers(self, world: World, person: str) -> dict[str, str]:
        token = world.dead[person][0] if person in world.closed else world.token(person)
        return {"Authorization": f"Bearer {token}"}


class Cookie(Api):
    """The HTTP interface with a browser's session and its CSRF token."""

    name = "session"

    def headers(self, world: World, person: str) -> dict[str, str]:
        if person in world.closed:
            return {"Cookie": f"sanshen_session={world.dead[person][1]}"}
        secret, csrf = world.cookie(person)
        return {"Cookie": f"sanshen_session={secret}", "X-CSRF-Token": csrf}


class Hook:
    """The OA's signed decisions; an account that is closed is outside every key's scope."""

    name, kinds, when_disabled = "hook", frozenset({"decide"}), "not_allowed"

    def send(
        self, world: World, person: str, kind: str, submission: str, body: Body, key: str | None
    ) -> Answer:
        sent = json.dumps(body | {"submission": submission, "account": person}).encode()
        stamp = str(int(world.now.timestamp()))
        message = key or new_id()
        headers = {
            "webhook-id": message,
            "webhook-timestamp": stamp,
            "webhook-signature": HOOK_KEY.sign(message, stamp, sent).decode(),
            "content-type": "application/json",
        }
        return answered(
            world.run(world.web.post("/hooks/decisions", content=sent, headers=headers))
        )


SURFACES: tuple[Surface, ...] = (Direct(), Api(), Cookie(), Hook())
