"""Sign in and out with a browser's session."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import Field
from starlette.responses import Response

from review import requests
from review.records.people import Person
from review.rules.errors import NotSignedInError, TooManyError
from starter.web.bodies import body_of
from starter.web.dependencies import COOKIE, AccessDep, CallerDep
from starter.web.openapi import SIGNED_IN, refusals, takes
from starter.web.problems import Answer

router = APIRouter(prefix="/api/v1/session", tags=["session"])

AT_ONCE = 8  # sign-ins waiting for the slow hash; more are told to come back


class Credentials(requests.Request):
    """Name and password of somebody who signs in."""

    username: Annotated[str, Field(min_length=1, max_length=120)]
    password: Annotated[str, Field(min_length=1, max_length=1_000)]


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


@router.post("", openapi_extra=takes(Credentials), responses=refusals(401, 413, 415, 422, 429, 503))
async def sign_in(
    request: Request,
    credentials: Annotated[Credentials, Depends(body_of(Credentials))],
    access: AccessDep,
) -> Answer:
    """Sign in; 401 for a wrong name or password, which is not said. Sets the session's cookie."""
    async with request.app.state.door:
        signed_in = await asyncio.to_thread(
            access.sign_in, credentials.username, credentials.password
        )
    answer = Answer({"csrf_token": signed_in.csrf, "person": person_shown(signed_in.person)})
    answer.set_cookie(
        COOKIE,
        signed_in.secret,
        path="/",
        httponly=True,
        samesite="strict",
        secure=request.app.state.https,
    )
    return answer


@router.delete("", status_code=204, responses=refusals(*SIGNED_IN))
async def sign_out(request: Request, caller: CallerDep, access: AccessDep) -> Response:
    """Sign out: the session ends in the ledger, not only in the browser."""
    if caller.session is None:
        raise NotSignedInError(why="no_session")
    await asyncio.to_thread(access.sign_out, caller.session)
    answer = Response(status_code=204)
    answer.delete_cookie(
        COOKIE, path="/", httponly=True, samesite="strict", secure=request.app.state.https
    )
    return answer
