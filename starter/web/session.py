"""Sign in and out with a browser's session, and set up a second factor for it."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import Field
from starlette.responses import Response

from review import requests
from review.records.access import SignedIn
from review.records.people import Person
from review.rules.errors import NotAllowedError, NotSignedInError, TooManyError
from starter.web.bodies import body_of
from starter.web.dependencies import (
    COOKIE,
    AccessDep,
    Caller,
    EnrollingDep,
    address_of,
)
from starter.web.openapi import SIGNED_IN, refusals, takes
from starter.web.problems import Answer

router = APIRouter(prefix="/api/v1", tags=["session"])

AT_ONCE = 8  # sign-ins waiting for the slow hash; more are told to come back

Username = Annotated[str, Field(min_length=1, max_length=120)]
Password = Annotated[str, Field(min_length=1, max_length=1_000)]
Code = Annotated[str, Field(max_length=40)]


class Credentials(requests.Request):
    """Name and password of somebody who signs in, and the code of their second factor."""

    username: Username
    password: Password
    otp: Code | None = None


class FirstCode(requests.Request):
    """The first code of a new authenticator."""

    code: Annotated[str, Field(min_length=6, max_length=40)]


class FirstAdministrator(requests.Request):
    """The key that the first start printed, and whom it is to make security administrator."""

    key: Annotated[str, Field(min_length=1, max_length=200)]
    username: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
    name: Annotated[str, Field(min_length=1, max_length=120)]
    password: Annotated[str, Field(min_length=12, max_length=1_000)]


class Door:
    """Lets few in at once: the password hash is slow and hungry on purpose."""

    def __init__(self) -> None:
        self._one_at_a_time = asyncio.Semaphore(2)
        self._waiting = 0

    async def __aenter__(self) -> None:
        if self._waiting >= AT_ONCE:
            raise TooManyError
        self._waiting += 1
        try:
            await self._one_at_a_time.acquire()
        except BaseException:
            self._waiting -= 1
            raise

    async def __aexit__(self, *_: object) -> None:
        self._one_at_a_time.release()
        self._waiting -= 1


def person_shown(person: Person) -> dict[str, Any]:
    """Return a signed-in person as JSON."""
    return {
        "id": person.id,
        "username": person.username,
        "name": person.name,
        "unit": person.unit_id,
        "roles": [{"role": held.role, "unit": held.unit_id or None} for held in person.roles],
    }


def with_cookie(request: Request, answer: Response, signed_in: SignedIn) -> Response:
    """Set the session's cookie on an answer.

    Lax: a link in a mail opens the page it names. What changes anything needs the session's token
    (`prove`), which no other site knows, and no GET changes anything.
    """
    answer.set_cookie(
        COOKIE,
        signed_in.secret,
        path="/",
        httponly=True,
        samesite="lax",
        secure=request.app.state.https,
    )
    return answer


@router.post(
    "/session", openapi_extra=takes(Credentials), responses=refusals(401, 413, 415, 422, 429, 503)
)
async def sign_in(
    request: Request,
    credentials: Annotated[Credentials, Depends(body_of(Credentials))],
    access: AccessDep,
) -> Response:
    """Sign in; 401 for a wrong name or password, which is not said. Sets the session's cookie.

    401 `second_factor_needed`: send `otp` too. With `second_factor: "enrol"` in the answer, a role
    asks for a second factor; nothing else can be done in the session before one is set up.
    """
    async with request.app.state.door:
        signed_in = await asyncio.to_thread(
            access.sign_in,
            credentials.username,
            credentials.password,
            credentials.otp or "",
            address_of(request),
        )
    shown: dict[str, Any] = {
        "csrf_token": signed_in.csrf,
        "person": person_shown(signed_in.person),
    }
    if signed_in.person.must_enrol:
        shown["second_factor"] = "enrol"
    return with_cookie(request, Answer(shown), signed_in)


@router.delete("/session", status_code=204, responses=refusals(*SIGNED_IN))
async def sign_out(request: Request, caller: EnrollingDep, access: AccessDep) -> Response:
    """Sign out: the session ends in the ledger, not only in the browser."""
    if caller.session is None:
        raise NotSignedInError(why="no_session")
    await asyncio.to_thread(access.sign_out, caller.session)
    answer = Response(status_code=204)
    answer.delete_cookie(
        COOKIE, path="/", httponly=True, samesite="lax", secure=request.app.state.https
    )
    return answer


def session_of(caller: Caller) -> str:
    """Return the caller's session; who holds only a token sets up nothing for the browser.

    Raises:
        NotAllowedError: Called with a token.
    """
    if caller.session is None:
        raise NotAllowedError(why="session_only")
    return caller.session


@router.get("/me", responses=refusals(*SIGNED_IN))
async def me(caller: EnrollingDep, access: AccessDep) -> Answer:
    """Return who calls, and how it stands with their second factor."""
    holds = await asyncio.to_thread(access.holds_second_factor, caller.person.id)
    state = "in_use" if holds else "enrol" if caller.person.must_enrol else "none"
    return Answer(person_shown(caller.person) | {"second_factor": state})


@router.post("/me/second-factor", status_code=201, responses=refusals(*SIGNED_IN, 404, 409))
async def begin(caller: EnrollingDep, access: AccessDep) -> Answer:
    """Make a secret for an authenticator (RFC 6238); it counts once a code has confirmed it."""
    session_of(caller)
    made = await asyncio.to_thread(access.begin_second_factor, caller.person.id)
    return Answer({"secret": made.secret, "uri": made.uri}, 201)


@router.post(
    "/me/second-factor/confirm", openapi_extra=takes(FirstCode),
    responses=refusals(*SIGNED_IN, 404, 409, 413, 415, 422),
)  # fmt: skip
async def confirm(
    caller: EnrollingDep,
    first: Annotated[FirstCode, Depends(body_of(FirstCode))],
    access: AccessDep,
) -> Answer:
    """Take the first code; returns recovery codes, this once. Other sessions end."""
    codes = await asyncio.to_thread(
        access.confirm_second_factor, caller.person.id, first.code, session_of(caller)
    )
    return Answer({"recovery_codes": codes})


@router.post(
    "/first-administrator", status_code=201, openapi_extra=takes(FirstAdministrator),
    responses=refusals(401, 409, 413, 415, 422, 429, 503),
)  # fmt: skip
async def first_administrator(
    request: Request,
    first: Annotated[FirstAdministrator, Depends(body_of(FirstAdministrator))],
    access: AccessDep,
) -> Answer:
    """Make the first security administrator with the key that the first start printed; once."""
    async with request.app.state.door:
        person_id = await asyncio.to_thread(
            access.use_first_key,
            first.key,
            first.username,
            first.name,
            first.password,
            address_of(request),
        )
    return Answer({"id": person_id, "username": first.username}, 201)
