"""Keys, endpoints and deliveries of other systems, for the administrators (docs/integration.md)."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query
from pydantic import AwareDatetime, Field
from sqlmodel import Session

from review import requests
from review.acts import hooks
from review.records.hook_keys import Made, Scope
from review.records.people import Person
from starter.reviews import Reviews
from starter.web.bodies import body_of
from starter.web.dependencies import ID, AccessDep, Caller, CallerDep, KeyDep, ReviewsDep
from starter.web.openapi import READS, WRITES, refusals, takes
from starter.web.people import Named
from starter.web.problems import Answer

router = APIRouter(prefix="/api/v1", tags=["other systems"])

Json = dict[str, Any]
NAME = r"^[A-Za-z0-9_.-]{1,64}$"
Name = Annotated[str, Field(pattern=NAME)]
Names = Annotated[tuple[Name, ...], Field(max_length=200)]
RowId = Annotated[str, Path(description="An id.", pattern=f"^{ID.pattern}$")]
KeyName = Annotated[str, Path(description="A key's name.", pattern=NAME)]


class KeyRequest(requests.Request):
    """A new key; what is left out of its scope has no limit."""

    key: Name
    units: Names = ()
    roles: Names = ()
    people: Names = ()  # user names or ids
    steps: Names = ()
    from_at: AwareDatetime | None = None
    until_at: AwareDatetime | None = None


class SecretRequest(requests.Request):
    """A new secret; the old one ends at a moment, a day from now unless given."""

    retire_at: AwareDatetime | None = None


class EndpointRequest(requests.Request):
    """Where a system wants to be told, and of which events; none: of all."""

    endpoint: Name
    url: Annotated[str, Field(max_length=2_000)]
    events: Names = ()


class EndpointChange(requests.Request):
    """What is to be different; what is left out stays."""

    url: Annotated[str, Field(max_length=2_000)] | None = None
    events: Names = ()
    paused: bool | None = None


class OaAccount(requests.Request):
    """The account of the OA that is a person's; empty: none."""

    oa_account: Annotated[str, Field(max_length=120)]


BODIES = (KeyRequest, SecretRequest, EndpointRequest, EndpointChange, OaAccount)


async def with_secret(
    reviews: Reviews,
    caller: Caller,
    what: str,
    request: Any,
    key: str | None,
    make: Callable[[Session, Person, datetime], Made],
) -> Json:
    """Do an act that makes a secret, and show it once.

    What is kept for a repeat of the request has no secret; a repeat is answered with null.
    """
    shown: list[str] = []

    def act(session: Session, who: Person, now: datetime) -> Json:
        made = make(session, who, now)
        shown[:] = [made.secret]
        return {"id": made.id}

    answer = await reviews.administer(
        caller.person, what, request, key=key, way_in=caller.way_in, act=act
    )
    return answer | {"secret": shown[0] if shown else None}


@router.get("/hooks", responses=refusals(*READS))
async def connections(caller: CallerDep, reviews: ReviewsDep) -> Answer:
    """List keys and endpoints of other systems, without their secrets."""
    return Answer(await reviews.administration(caller.person, hooks.connections))


@router.post(
    "/hooks/keys", status_code=201, openapi_extra=takes(KeyRequest), responses=refusals(*WRITES)
)
async def make_key(
    caller: CallerDep,
    request: Annotated[KeyRequest, Depends(body_of(KeyRequest))],
    reviews: ReviewsDep,
    access: AccessDep,
    key: KeyDep,
) -> Answer:
    """Give a system a key to sign with; its secret is in this answer and in no other."""
    scope = Scope(request.units, request.roles, request.people, request.steps)
    return Answer(
        await with_secret(
            reviews, caller, "hook_key", request, key,
            lambda s, who, now: hooks.add_key(
                s, request.key, scope, now, access.hook_box, from_at=request.from_at,
                until_at=request.until_at, by=who, way_in=caller.way_in,
            ),
        ),
        201,
    )  # fmt: skip


@router.post(
    "/hooks/keys/{key_name}/secret", status_code=201, openapi_extra=takes(SecretRequest),
    responses=refusals(*WRITES),
)  # fmt: skip
async def change_key(
    key_name: KeyName,
    caller: CallerDep,
    request: Annotated[SecretRequest, Depends(body_of(SecretRequest))],
    reviews: ReviewsDep,
    access: AccessDep,
    key: KeyDep,
) -> Answer:
    """Give a system a second secret; until the old one ends, both hold."""
    return Answer(
        await with_secret(
            reviews, caller, f"hook_secret:{key_name}", request, key,
            lambda s, who, now: hooks.change_key(
                s, key_name, now, access.hook_box, retire_at=request.retire_at, by=who,
                way_in=caller.way_in,
            ),
        ),
        201,
    )  # fmt: skip


@router.delete("/hooks/keys/{key_id}", responses=refusals(*WRITES))
async def retire_key(key_id: RowId, caller: CallerDep, reviews: ReviewsDep) -> Answer:
    """End one secret now."""

    def act(session: Session, who: Person, now: datetime) -> Json:
        return hooks.retire_key(session, key_id, now, by=who, way_in=caller.way_in)

    return await _done(reviews, caller, "hook_retire", Named(id=key_id), None, act)


@router.post(
    "/hooks/endpoints", status_code=201, openapi_extra=takes(EndpointRequest),
    responses=refusals(*WRITES),
)  # fmt: skip
async def add_endpoint(
    caller: CallerDep,
    request: Annotated[EndpointRequest, Depends(body_of(EndpointRequest))],
    reviews: ReviewsDep,
    access: AccessDep,
    key: KeyDep,
) -> Answer:
    """Register where a system wants to be told; the secret we sign with is shown this once."""
    return Answer(
        await with_secret(
            reviews, caller, "hook_endpoint", request, key,
            lambda s, who, now: hooks.add_endpoint(
                s, request.endpoint, request.url, request.events, now, access.hook_box, by=who,
                way_in=caller.way_in,
            ),
        ),
        201,
    )  # fmt: skip


@router.post(
    "/hooks/endpoints/{endpoint_id}", openapi_extra=takes(EndpointChange),
    responses=refusals(*WRITES),
)  # fmt: skip
async def change_endpoint(
    endpoint_id: RowId,
    caller: CallerDep,
    request: Annotated[EndpointChange, Depends(body_of(EndpointChange))],
    reviews: ReviewsDep,
    key: KeyDep,
) -> Answer:
    """Change address or events, pause or go on; what happens meanwhile is told later."""

    def act(session: Session, who: Person, now: datetime) -> Json:
        return hooks.change_endpoint(
            session, endpoint_id, now, url=request.url, events=request.events,
            paused=request.paused, by=who, way_in=caller.way_in,
        )  # fmt: skip

    return await _done(reviews, caller, f"hook_endpoint:{endpoint_id}", request, key, act)


@router.post(
    "/hooks/endpoints/{endpoint_id}/secret", status_code=201, openapi_extra=takes(SecretRequest),
    responses=refusals(*WRITES),
)  # fmt: skip
async def change_endpoint_secret(
    endpoint_id: RowId,
    caller: CallerDep,
    request: Annotated[SecretRequest, Depends(body_of(SecretRequest))],
    reviews: ReviewsDep,
    access: AccessDep,
    key: KeyDep,
) -> Answer:
    """Sign with a new secret; until a moment every message bears both signatures."""
    return Answer(
        await with_secret(
            reviews, caller, f"hook_secret:{endpoint_id}", request, key,
            lambda s, who, now: hooks.change_endpoint_secret(
                s, endpoint_id, now, access.hook_box, retire_at=request.retire_at, by=who,
                way_in=caller.way_in,
            ),
        ),
        201,
    )  # fmt: skip


@router.delete("/hooks/endpoints/{endpoint_id}", responses=refusals(*WRITES))
async def remove_endpoint(endpoint_id: RowId, caller: CallerDep, reviews: ReviewsDep) -> Answer:
    """Tell a system nothing more, also not what was on its way."""

    def act(session: Session, who: Person, now: datetime) -> Json:
        return hooks.remove_endpoint(session, endpoint_id, now, by=who, way_in=caller.way_in)

    return await _done(reviews, caller, "hook_remove", Named(id=endpoint_id), None, act)


@router.get("/hooks/messages", responses=refusals(*READS))
async def messages(
    caller: CallerDep,
    reviews: ReviewsDep,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    after: Annotated[str | None, Query(pattern=f"^{ID.pattern}$")] = None,
    endpoint: Annotated[str, Query(max_length=64)] = "",
    state: Literal["", "waiting", "failing", "delivered"] = "",
) -> Answer:
    """List what was sent or is to be sent, the newest first: ids, codes and moments."""
    return Answer(
        await reviews.administration(
            caller.person,
            lambda s, by, now: hooks.posts(
                s, by, now, limit=limit, after=after, endpoint=endpoint, state=state
            ),
        )
    )


@router.post("/hooks/messages/{message_id}/again", responses=refusals(*WRITES))
async def send_again(
    message_id: RowId, caller: CallerDep, reviews: ReviewsDep, key: KeyDep
) -> Answer:
    """Send a message now, with its own `webhook-id`, delivered before or not."""

    def act(session: Session, who: Person, now: datetime) -> Json:
        return hooks.send_again(session, message_id, now, by=who, way_in=caller.way_in)

    return await _done(reviews, caller, "hook_again", Named(id=message_id), key, act)


@router.post(
    "/people/{person_id}/oa-account", openapi_extra=takes(OaAccount), responses=refusals(*WRITES)
)
async def set_oa_account(
    person_id: RowId,
    caller: CallerDep,
    request: Annotated[OaAccount, Depends(body_of(OaAccount))],
    reviews: ReviewsDep,
    key: KeyDep,
) -> Answer:
    """Say which account of the OA is this person's; it is never guessed by a name."""

    def act(session: Session, who: Person, now: datetime) -> Json:
        return hooks.set_oa_account(
            session, person_id, request.oa_account, now, by=who, way_in=caller.way_in
        )

    return await _done(reviews, caller, f"oa_account:{person_id}", request, key, act)


async def _done(
    reviews: Reviews,
    caller: Caller,
    what: str,
    request: Any,
    key: str | None,
    act: Callable[[Session, Person, datetime], Json],
) -> Answer:
    return Answer(
        await reviews.administer(
            caller.person, what, request, key=key, way_in=caller.way_in, act=act
        )
    )
