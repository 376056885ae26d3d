"""Other systems, for the administrators: keys, where they are told of things, what was delivered.

A new secret is shown on the page that answers its form, and on no other.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from sqlmodel import Session
from starlette.responses import Response

from review.acts import hooks, overseeing
from review.ids import new_id
from review.records.access import Access
from review.records.hook_keys import Made, Scope
from review.records.people import Person
from review.rules.errors import RuleError
from review.rules.values import Role
from starter.reviews import Reviews
from starter.web.bodies import parsed
from starter.web.connections import EndpointRequest, KeyRequest, SecretRequest, with_secret
from starter.web.dependencies import ID, AccessDep, Caller, ReviewsDep
from starter.web.pages.frame import go, rendered
from starter.web.pages.refusals import told
from starter.web.pages.register import local_moment
from starter.web.pages.tabs import tabs_of
from starter.web.pages.visitors import (
    WAY_IN,
    Sent,
    SentDep,
    Visitor,
    VisitorDep,
    language_of_page,
)
from starter.web.people import Named

router = APIRouter(prefix="/admin", include_in_schema=False)

Json = dict[str, Any]
Act = Callable[[Session, Person, datetime], Json]
Make = Callable[[Session, Person, datetime], Made]
Deed = Literal[
    "add_key", "change_key", "retire_key", "add_endpoint", "change_endpoint_secret", "pause",
    "go_on", "remove_endpoint", "send_again",
]  # fmt: skip
State = Literal["", "waiting", "failing", "delivered"]


@router.api_route("/hooks", methods=["GET", "HEAD"])
async def connections(
    request: Request, visitor: VisitorDep, reviews: ReviewsDep, state: State = "",
    after: Annotated[str | None, Query(pattern=f"^{ID.pattern}$")] = None,
) -> Response:  # fmt: skip
    """Show keys, endpoints and the delivery log."""
    return await _page(request, visitor, reviews, Sent({}), state=state, after=after)


@router.post("/hooks/{deed}")
async def change(
    request: Request,
    visitor: VisitorDep,
    sent: SentDep,
    deed: Deed,
    reviews: ReviewsDep,
    access: AccessDep,
) -> Response:
    """Do one act; a form sent twice does it once and shows no secret again."""
    key = sent.one("key")
    key = key if ID.fullmatch(key) else new_id()
    caller = Caller(visitor.person, WAY_IN)
    try:
        if deed in ("add_key", "change_key", "add_endpoint", "change_endpoint_secret"):
            asked, make = makes(deed, sent, access)
            made = await with_secret(reviews, caller, f"{deed}:{sent.one('id')}", asked, key, make)
            return await _page(request, visitor, reviews, sent, made=made)
        named = Named(id=sent.one("id"))
        await reviews.administer(
            visitor.person, deed, named, key=key, way_in=WAY_IN, act=does(deed, named.id)
        )
    except RuleError as error:
        if error.status in (401, 403, 503):
            raise
        return await _page(request, visitor, reviews, sent, error=error)
    return go(request, "/admin/hooks")


def makes(deed: str, sent: Sent, access: Access) -> tuple[Any, Make]:
    """Return what a form that makes a secret asks for, and the act that does it."""
    box = access.hook_box
    if deed == "add_key":
        key = _read(
            KeyRequest, key=sent.one("name").strip(), units=sent.all("units"),
            roles=sent.all("roles"), people=sent.one("people").split(),
            steps=sent.one("steps").split(), until_at=local_moment(sent.one("until"), "until_at"),
        )  # fmt: skip
        scope = Scope(key.units, key.roles, key.people, key.steps)
        return key, lambda s, who, now: hooks.add_key(
            s, key.key, scope, now, box, until_at=key.until_at, by=who, way_in=WAY_IN
        )
    if deed == "add_endpoint":
        endpoint = _read(
            EndpointRequest, endpoint=sent.one("name").strip(), url=sent.one("url").strip(),
            events=sent.all("events"),
        )  # fmt: skip
        return endpoint, lambda s, who, now: hooks.add_endpoint(
            s, endpoint.endpoint, endpoint.url, endpoint.events, now, box, by=who, way_in=WAY_IN
        )
    asked = _read(SecretRequest, retire_at=local_moment(sent.one("retire"), "retire_at"))
    change = hooks.change_key if deed == "change_key" else hooks.change_endpoint_secret
    return asked, lambda s, who, now: change(
        s, sent.one("id"), now, box, retire_at=asked.retire_at, by=who, way_in=WAY_IN
    )


def does(deed: str, row_id: str) -> Act:
    """Return the act of a form that makes no secret."""
    match deed:
        case "retire_key":
            return lambda s, who, now: hooks.retire_key(s, row_id, now, by=who, way_in=WAY_IN)
        case "remove_endpoint":
            return lambda s, who, now: hooks.remove_endpoint(s, row_id, now, by=who, way_in=WAY_IN)
        case "send_again":
            return lambda s, who, now: hooks.send_again(s, row_id, now, by=who, way_in=WAY_IN)
    paused = deed == "pause"
    return lambda s, who, now: hooks.change_endpoint(
        s, row_id, now, paused=paused, by=who, way_in=WAY_IN
    )


def _read(model: Any, **fields: Any) -> Any:
    """Judge a form's fields as the interface judges a body's."""
    return parsed(model, model.model_construct(**fields).model_dump_json(warnings=False).encode())


async def _page(
    request: Request,
    visitor: Visitor,
    reviews: Reviews,
    sent: Sent,
    *,
    error: RuleError | None = None,
    made: Json | None = None,
    state: str = "",
    after: str | None = None,
) -> Response:
    def read(session: Session, by: Person, now: datetime) -> Json:
        return {
            **hooks.connections(session, by, now),
            "log": hooks.posts(session, by, now, limit=30, state=state, after=after),
            "units": {unit["id"]: unit["name"] for unit in overseeing.units(session)},
        }

    found = await reviews.administration(visitor.person, read)
    return rendered(
        request, "connections.html", visitor, status=error.status if error else 200,
        tabs=tabs_of(visitor), **found, roles=list(Role), events=hooks.EVENTS, state=state,
        may_change=visitor.has(Role.SECURITY_ADMIN), may_send=visitor.has(*hooks.SENDERS),
        typed=sent, key=new_id(), made=made,
        refusal=told(error, language_of_page(request)) if error else None,
    )  # fmt: skip
