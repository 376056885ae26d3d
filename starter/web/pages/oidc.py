"""Leave for the bureau's identity provider, and come back signed in."""

import asyncio

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from review.records.access import SecondFactorNeededError
from review.rules.errors import NotFoundError, NotSignedInError, TooManyError
from starter.web.dependencies import AccessDep, address_of, require_same_site
from starter.web.oidc import CALLBACK, COOKIE, LIVES, PATH, Provider
from starter.web.pages.frame import go, rendered
from starter.web.pages.signing import asked, second_factor_asked
from starter.web.pages.visitors import inside, read_form
from starter.web.session import with_cookie

router = APIRouter(include_in_schema=False)

LONGEST = 4_000  # characters of a code, a state or the cookie


def provider_in(request: Request) -> Provider:
    """Return the provider; where none is set, there is no such page."""
    provider: Provider | None = request.app.state.oidc
    if provider is None:
        raise NotFoundError
    return provider


@router.get(PATH)
async def leave(request: Request, next: str = "/") -> Response:
    """Send the browser to the provider with what it must bring back."""
    provider = provider_in(request)
    try:
        leaving = await provider.leave(inside(next))
    except NotSignedInError as error:
        return asked(request, next_=inside(next), error=error)
    answer = RedirectResponse(leaving.address, 303)
    answer.set_cookie(
        COOKIE, leaving.cookie, max_age=LIVES, path=PATH, httponly=True, samesite="strict",
        secure=request.app.state.https,
    )  # fmt: skip
    return answer


@router.get(CALLBACK)
async def come_back(request: Request, code: str = "", state: str = "", iss: str = "") -> Response:
    """Ask to go on. A GET changes nothing, and a strict cookie comes only with our own form."""
    provider_in(request)
    if not code or not state or max(map(len, (code, state, iss))) > LONGEST:
        return asked(request, next_="/", error=NotSignedInError(why="oidc"))
    return rendered(request, "oidc.html", code=code, state=state, iss=iss)


@router.post(PATH)
async def sign_in(request: Request, access: AccessDep) -> Response:
    """Give the code for the provider's word, and open a session on it."""
    provider = provider_in(request)
    require_same_site(request)
    sent = await read_form(request)
    code, state, iss = (sent.one(name)[:LONGEST] for name in ("code", "state", "iss"))
    next_ = "/"
    try:
        known = await provider.back(code, state, iss, request.cookies.get(COOKIE, "")[:LONGEST])
        next_ = inside(known.next)
        signed_in = await asyncio.to_thread(
            access.sign_in_known, provider.field, known.account, known.proof, "",
            address_of(request),
        )  # fmt: skip
        answer = with_cookie(request, go(request, next_), signed_in)
    except SecondFactorNeededError as needed:
        answer = second_factor_asked(request, needed.ticket, next_)
    except (NotSignedInError, TooManyError) as error:
        answer = asked(request, next_=next_, error=error)
    answer.delete_cookie(
        COOKIE, path=PATH, httponly=True, samesite="strict", secure=request.app.state.https
    )
    return answer
