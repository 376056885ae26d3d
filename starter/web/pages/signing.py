"""Sign in and out, and the language switch."""

import asyncio
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import Response

from review.records.access import SecondFactorNeededError
from review.rules.errors import NotSignedInError, RuleError, TooManyError
from review.texts import LANGUAGES
from starter.web.dependencies import COOKIE, AccessDep, address_of, require_same_site
from starter.web.pages.frame import go, rendered
from starter.web.pages.refusals import told
from starter.web.pages.visitors import (
    LANGUAGE_COOKIE,
    EnrollingSentDep,
    EnrollingVisitorDep,
    MaybeVisitorDep,
    inside,
    language_of_page,
    read_form,
)
from starter.web.session import with_cookie

router = APIRouter(include_in_schema=False)

YEAR = 365 * 24 * 3600  # seconds
LONGEST_NAME, LONGEST_PASSWORD = 120, 1_000  # characters, as in the JSON interface
LONGEST_TICKET, LONGEST_CODE = 2_000, 40


@router.get("/sign-in")
async def sign_in_page(request: Request, visitor: MaybeVisitorDep, next: str = "/") -> Response:
    """Ask for name and password; somebody who is signed in goes on at once."""
    if visitor is not None:
        return go(request, inside(next))
    return asked(request, next_=inside(next))


@router.post("/sign-in")
async def sign_in(request: Request, access: AccessDep) -> Response:
    """Sign in and go on to where one was led from."""
    require_same_site(request)
    sent = await read_form(request)
    username, password = sent.one("username").strip(), sent.one("password")
    next_ = inside(sent.one("next", "/"))
    try:
        if not username or len(username) > LONGEST_NAME or len(password) > LONGEST_PASSWORD:
            raise NotSignedInError(why="password")
        async with request.app.state.door:
            signed_in = await asyncio.to_thread(
                access.sign_in, username, password, "", address_of(request)
            )
    except SecondFactorNeededError as needed:
        return second_factor_asked(request, needed.ticket, next_)
    except (NotSignedInError, TooManyError) as error:
        return asked(request, next_=next_, username=username[:LONGEST_NAME], error=error)
    return with_cookie(request, go(request, next_), signed_in)


@router.post("/sign-in/second-factor")
async def second_step(request: Request, access: AccessDep) -> Response:
    """Take the second factor of somebody whose first was right."""
    require_same_site(request)
    sent = await read_form(request)
    ticket, next_ = sent.one("ticket")[:LONGEST_TICKET], inside(sent.one("next", "/"))
    try:
        signed_in = await asyncio.to_thread(
            access.second_step, ticket, sent.one("otp").strip()[:LONGEST_CODE], address_of(request)
        )
    except SecondFactorNeededError as needed:
        return second_factor_asked(request, needed.ticket, next_)
    except (NotSignedInError, TooManyError) as error:
        if error.params.get("why") == "second_factor":
            return second_factor_asked(request, ticket, next_, error)
        return asked(request, next_=next_, error=error)
    return with_cookie(request, go(request, next_), signed_in)


def second_factor_asked(
    request: Request, ticket: str, next_: str, error: RuleError | None = None
) -> Response:
    """Return the form that asks for the second factor."""
    return rendered(
        request, "second_step.html", status=error.status if error else 200, ticket=ticket,
        next=next_, refusal=told(error, language_of_page(request)) if error else None,
    )  # fmt: skip


def asked(
    request: Request, *, next_: str, username: str = "", error: RuleError | None = None
) -> Response:
    """Return the form that asks for name and password."""
    return rendered(
        request, "sign_in.html", status=error.status if error else 200, next=next_,
        username=username, refusal=told(error, language_of_page(request)) if error else None,
        oidc=request.app.state.oidc is not None, headers=_wait(error) if error else {},
    )  # fmt: skip


def _wait(error: RuleError) -> dict[str, str]:
    seconds = error.params.get("retry_after")
    return {"Retry-After": str(seconds)} if seconds else {}


@router.post("/sign-out")
async def sign_out(
    request: Request, visitor: EnrollingVisitorDep, sent: EnrollingSentDep, access: AccessDep
) -> Response:
    """End the session in the ledger, not only in the browser."""
    await asyncio.to_thread(access.sign_out, visitor.session)
    answer = go(request, "/sign-in")
    answer.delete_cookie(
        COOKIE, path="/", httponly=True, samesite="lax", secure=request.app.state.https
    )
    answer.headers["Clear-Site-Data"] = '"storage"'
    return answer


@router.post("/language")
async def switch(request: Request) -> Response:
    """Keep the language that was chosen; nothing but how pages look hangs on it."""
    sent = await read_form(request)
    answer = go(request, quote(inside(sent.one("next", "/")), safe="/?&=%#:;,.~+@!$'()*-_"))
    chosen = sent.one("language")
    if chosen in LANGUAGES:
        answer.set_cookie(
            LANGUAGE_COOKIE, chosen, max_age=YEAR, path="/", httponly=True, samesite="lax",
            secure=request.app.state.https,
        )  # fmt: skip
    return answer
