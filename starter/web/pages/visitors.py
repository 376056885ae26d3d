"""Who looks at a page, in which language, and what a form sent."""

import asyncio
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import parse_qs, urlsplit

from fastapi import Depends, Request

from review.records.people import Person
from review.rules.errors import MalformedError, NotAllowedError, NotSignedInError
from review.texts import LANGUAGES
from starter.web.bodies import UNPRINTABLE, malformed, read_body
from starter.web.dependencies import COOKIE, CSRF_HEADER, SECRET, access_of

LANGUAGE_COOKIE = "sanshen_language"
FORM_LIMIT = 2 * 1024 * 1024  # bytes, as for a JSON body
MOST_FIELDS = 1_000
WAY_IN = "page"


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody with a browser's session."""

    person: Person
    csrf: str
    session: str

    def has(self, *roles: str) -> bool:
        """Tell whether the visitor holds one of the roles, for whichever unit."""
        return any(held.role in roles for held in self.person.roles)


def language_of_page(request: Request) -> str:
    """Return the language of a page: `?lang=`, else the switch's cookie, else the house's."""
    for chosen in (request.query_params.get("lang"), request.cookies.get(LANGUAGE_COOKIE)):
        if chosen in LANGUAGES:
            return chosen
    return str(request.app.state.language)


async def maybe_visitor(request: Request) -> Visitor | None:
    """Return who is signed in, None for nobody; one ledger read a request."""
    if not hasattr(request.state, "visitor"):
        secret = request.cookies.get(COOKIE, "")
        found = None
        if SECRET.fullmatch(secret):
            found = await asyncio.to_thread(access_of(request).by_session, secret)
        request.state.visitor = Visitor(found[0], found[1], secret) if found else None
    visitor: Visitor | None = request.state.visitor
    return visitor


async def enrolling_visitor_of(request: Request) -> Visitor:
    """Return who is signed in, also one who has yet to set up the second factor of their role.

    Raises:
        NotSignedInError: Nobody is; the page then leads to the sign-in page and back.
    """
    visitor = await maybe_visitor(request)
    if visitor is None:
        raise NotSignedInError(**({"why": "session"} if request.cookies.get(COOKIE) else {}))
    return visitor


async def visitor_of(request: Request) -> Visitor:
    """Return who is signed in.

    Raises:
        NotSignedInError: Nobody is; the page then leads to the sign-in page and back.
        NotAllowedError: `second_factor_needed`; the page then leads to setting one up.
    """
    visitor = await enrolling_visitor_of(request)
    if visitor.person.must_enrol:
        raise NotAllowedError("second_factor_needed", why="role")
    return visitor


async def visitor_if_any(request: Request) -> Visitor | None:
    """Return who is signed in and may read, None for nobody; raises as `visitor_of`."""
    return await visitor_of(request) if await maybe_visitor(request) else None


@dataclass(frozen=True, slots=True)
class Sent:
    """The fields of a form, as text with plain line ends."""

    fields: dict[str, list[str]]

    def one(self, name: str, default: str = "") -> str:
        """Return a field's value; the last one when it came twice."""
        return self.fields[name][-1] if self.fields.get(name) else default

    def all(self, name: str) -> Sequence[str]:
        return self.fields.get(name, [])


async def read_form(request: Request) -> Sent:
    """Take a form's body apart.

    Raises:
        MalformedError: Not a form, or with characters that no ledger can keep.
        TooLargeError: Longer than any of ours.
    """
    raw = await read_body(request, FORM_LIMIT)
    try:
        fields = parse_qs(
            raw.decode("ascii"), keep_blank_values=True, max_num_fields=MOST_FIELDS,
            errors="strict",
        )  # fmt: skip
    except ValueError:
        raise MalformedError(errors=[{"field": "form", "message": "not_utf8"}]) from None
    return as_sent(fields)


def as_sent(fields: Mapping[str, Sequence[str]]) -> Sent:
    """Return a form's fields with plain line ends.

    Raises:
        MalformedError: With characters that no ledger can keep.
    """
    plain = {
        name: [value.replace("\r\n", "\n").replace("\r", "\n") for value in values]
        for name, values in fields.items()
    }
    for name, values in plain.items():
        if UNPRINTABLE.search(name) or any(UNPRINTABLE.search(value) for value in values):
            malformed(name[:100], "unprintable")
    return Sent(plain)


async def sent_of(request: Request, visitor: Annotated[Visitor, Depends(visitor_of)]) -> Sent:
    """Return a signed-in visitor's form, proved to be ours by the session's token.

    Raises:
        NotAllowedError: Neither the hidden field `csrf` nor the header carries the token.
    """
    return await _proved(request, visitor)


async def enrolling_sent_of(
    request: Request, visitor: Annotated[Visitor, Depends(enrolling_visitor_of)]
) -> Sent:
    """Return the form of a visitor who may have yet to set up a second factor; as `sent_of`."""
    return await _proved(request, visitor)


async def _proved(request: Request, visitor: Visitor) -> Sent:
    sent = await read_form(request)
    prove(request, visitor, sent)
    return sent


def prove(request: Request, visitor: Visitor, sent: Sent) -> None:
    """Refuse a form that is not ours, by the session's token."""
    given = request.headers.get(CSRF_HEADER) or sent.one("csrf")
    if not hmac.compare_digest(given.encode(), visitor.csrf.encode()):
        raise NotAllowedError(why="csrf")


def by_htmx(request: Request) -> bool:
    """Tell whether script asks, and so wants a fragment instead of a page."""
    return request.headers.get("hx-request") == "true"


def wants_page(request: Request) -> bool:
    """Tell whether a browser asks for something to read, not a program for JSON."""
    path = request.url.path
    if path.startswith(("/api/v1/", "/hooks/", "/metrics", "/healthz", "/readyz")):
        return False
    return by_htmx(request) or "text/html" in request.headers.get("accept", "")


def inside(path: str) -> str:
    """Return a path of this site to go on to; whatever leads elsewhere becomes the first page."""
    try:
        parts = urlsplit(path)
    except ValueError:
        return "/"
    plain = path.startswith("/") and not path.startswith(("//", "/\\"))
    if not plain or parts.scheme or parts.netloc or not path.isprintable() or "\\" in path:
        return "/"
    return path


VisitorDep = Annotated[Visitor, Depends(visitor_of)]
ReaderIfAnyDep = Annotated[Visitor | None, Depends(visitor_if_any)]
MaybeVisitorDep = Annotated[Visitor | None, Depends(maybe_visitor)]
SentDep = Annotated[Sent, Depends(sent_of)]
EnrollingVisitorDep = Annotated[Visitor, Depends(enrolling_visitor_of)]
EnrollingSentDep = Annotated[Sent, Depends(enrolling_sent_of)]
