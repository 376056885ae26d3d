"""Who calls, and what every route needs of a request. Authentication ends in a `Person`."""

import asyncio
import hmac
import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from fastapi import Depends, Header, Path, Query, Request

from review.records.access import Access
from review.records.people import Person
from review.rules.errors import NotAllowedError, NotFoundError, NotSignedInError, RuleError
from starter.reviews import Reviews
from starter.turned_away import TurnedAway
from starter.web.bodies import YEARS, malformed

COOKIE = "sanshen_session"
CSRF_HEADER = "x-csrf-token"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
SECRET = re.compile(r"[\x21-\x7e]{1,300}")
ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
CLI_AGENT = "sanshen-cli"  # how our command line names itself; recorded, never trusted
BUREAU_ZONE = ZoneInfo("Asia/Shanghai")  # a day without a zone is the bureau's


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls and by which way; with a session, its secret too."""

    person: Person
    way_in: str
    session: str | None = None


def reviews_of(request: Request) -> Reviews:
    reviews: Reviews = request.app.state.reviews
    return reviews


def access_of(request: Request) -> Access:
    access: Access = request.app.state.access
    return access


async def caller_of(request: Request) -> Caller:
    """Return who calls, and leave it on the request; see `signed_in_caller`."""
    return await signed_in_caller(request)


async def enrolling_caller(request: Request) -> Caller:
    """Return who calls, also one who has yet to set up the second factor that a role asks for."""
    return await signed_in_caller(request, enrolling=True)


async def signed_in_caller(
    request: Request, *, csrf: bool = True, enrolling: bool = False
) -> Caller:
    """Return who calls: by bearer token, else by session cookie and CSRF header.

    One ledger read. A role revoked or an account disabled counts from the next request on.

    Args:
        csrf: Whether a session's unsafe method needs the header; not where nothing is changed.
        enrolling: Whether somebody may pass whose role asks for a second factor they lack.

    Raises:
        NotSignedInError: Neither is given, or it is unknown, ended or too old.
        NotAllowedError: A session's unsafe request comes without its CSRF token, or
            `second_factor_needed`.
    """
    access = access_of(request)
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        token = token.strip()
        person = (
            await asyncio.to_thread(access.by_token, token) if SECRET.fullmatch(token) else None
        )
        if person is None:
            raise NotSignedInError(why="token")
        agent = request.headers.get("user-agent", "")
        return _known(request, Caller(person, "cli" if agent.startswith(CLI_AGENT) else "api"))
    secret = request.cookies.get(COOKIE, "")
    found = await asyncio.to_thread(access.by_session, secret) if SECRET.fullmatch(secret) else None
    if found is None:
        raise NotSignedInError(**({"why": "session"} if secret else {}))
    person, expected = found
    caller = _known(request, Caller(person, "page", secret))
    if csrf and request.method not in SAFE_METHODS:
        given = request.headers.get(CSRF_HEADER, "")
        if not hmac.compare_digest(given.encode(), expected.encode()):
            raise NotAllowedError(why="csrf")
    if person.must_enrol and not enrolling:
        raise NotAllowedError("second_factor_needed", why="role")
    return caller


def address_of(request: Request) -> str:
    """Return where a request comes from, for counting failed sign-ins; empty for nobody knows.

    A proxy of ours is believed about whom it speaks for; everybody else speaks for themselves.
    """
    peer = request.client.host if request.client else ""
    proxies: frozenset[str] = request.app.state.proxies
    if peer not in proxies:
        return peer
    hops = ",".join(request.headers.getlist("x-forwarded-for")).split(",")
    return next((hop for hop in map(str.strip, reversed(hops)) if hop not in proxies), "")[:100]


def require_same_site(request: Request) -> None:
    """Refuse a form that another site sent, where there is no session's token to prove it ours.

    Raises:
        NotAllowedError: The browser says that it was another site's.
    """
    site = request.headers.get("sec-fetch-site", "same-origin")
    if site not in ("same-origin", "none"):
        raise NotAllowedError(why="other_site")


def _known(request: Request, caller: Caller) -> Caller:
    """Leave who calls on the request, so that a refusal knows whom it refuses."""
    request.state.caller = caller
    return caller


async def remember(request: Request, error: RuleError) -> None:
    """Leave a refusal in the trace; see `TurnedAway`."""
    turned_away = request.app.state.turned_away
    if not isinstance(turned_away, TurnedAway):
        return
    caller: Caller | None = getattr(request.state, "caller", None)
    route = getattr(request.scope.get("route"), "path", "?")
    who = (caller.person.id, caller.way_in) if caller else ("", "")
    await turned_away.remember(error, f"{request.method} {route}", *who)


async def id_of(
    submission_id: Annotated[str, Path(description="An item's id.", examples=["01jd3v"])],
) -> str:
    """Return the item's id; what can't be one is simply not there."""
    if not ID.fullmatch(submission_id):
        raise NotFoundError
    return submission_id


async def key_of(
    request: Request,
    idempotency_key: Annotated[
        str | None,
        Header(
            min_length=1,
            max_length=200,
            pattern=r"^[\x20-\x7e]+$",
            description="The same key with the same body gives the first answer again.",
        ),
    ] = None,
) -> str | None:
    """Return the request's key, which makes a repeat harmless."""
    if len(request.headers.getlist("idempotency-key")) > 1:
        malformed("idempotency-key", "given_twice")
    return idempotency_key


def moment_of(value: str | None, field: str, *, end: bool = False) -> datetime | None:
    """Return a day or a moment of a query as an aware moment.

    Args:
        value: `2026-11-22` or RFC 3339 with offset.
        field: Its name, for the refusal.
        end: A day stands for its end: the first moment of the next one.
    """
    if value is None:
        return None
    try:
        # A plus sign that was not escaped arrives as a space.
        moment = datetime.fromisoformat(value.replace(" ", "+"))
        if len(value) == len("2026-11-22"):
            moment = datetime.combine(moment.date(), time(), BUREAU_ZONE) + timedelta(days=end)
    except (ValueError, OverflowError):
        malformed(field, "day_or_moment")
    if moment.year not in YEARS:
        malformed(field, "moment_out_of_range")
    if moment.tzinfo is None:
        malformed(field, "timezone_aware")
    return moment


def listing(found: Any) -> Any:
    """Return a list as every list of the interface looks."""
    return {"items": found, "next": None} if isinstance(found, (list, tuple)) else found


CallerDep = Annotated[Caller, Depends(caller_of)]
EnrollingDep = Annotated[Caller, Depends(enrolling_caller)]
ReviewsDep = Annotated[Reviews, Depends(reviews_of)]
AccessDep = Annotated[Access, Depends(access_of)]
IdDep = Annotated[str, Depends(id_of)]
KeyDep = Annotated[str | None, Depends(key_of)]
LimitQuery = Annotated[int, Query(ge=1, le=200, description="How many at most.")]
AfterQuery = Annotated[
    str | None,
    Query(max_length=300, pattern=r"^[\x21-\x7e]+$", description="`next` of the page before."),
]
FromQuery = Annotated[
    str | None, Query(alias="from", max_length=40, description="A day, or RFC 3339; included.")
]
ToQuery = Annotated[
    str | None, Query(max_length=40, description="A day, included, or RFC 3339, not included.")
]
