"""A person's own ways of notices, and the duty roster."""

from datetime import datetime
from typing import Any, Literal

from fastapi import APIRouter, Request
from sqlmodel import Session
from starlette.responses import Response

from review.acts import duty, ways
from review.ids import new_id
from review.records.people import Person
from review.rules.errors import MalformedError, RuleError
from review.rules.notices import MAIL, Sort
from starter.reviews import Reviews
from starter.web.bodies import malformed
from starter.web.dependencies import ID, AccessDep, ReviewsDep
from starter.web.pages.frame import go, rendered
from starter.web.pages.refusals import told
from starter.web.pages.visitors import (
    WAY_IN,
    Sent,
    SentDep,
    Visitor,
    VisitorDep,
    language_of_page,
)
from starter.web.people import Named
from starter.web.ways import OwnWay, WaysRequest, named_of

router = APIRouter(include_in_schema=False)

Json = dict[str, Any]
Deed = Literal["choose", "add", "remove"]
HERE = "/notices"


@router.api_route("/notices", methods=["GET", "HEAD"])
async def page(request: Request, visitor: VisitorDep, reviews: ReviewsDep) -> Response:
    """Show by which ways I am told of what."""
    return await _page(request, visitor, reviews)


@router.post("/notices/{deed}")
async def change(
    request: Request,
    visitor: VisitorDep,
    sent: SentDep,
    deed: Deed,
    reviews: ReviewsDep,
    access: AccessDep,
) -> Response:
    """Choose ways, add one or remove one; a form sent twice does it once."""
    key = sent.one("key")
    key = key if ID.fullmatch(key) else new_id()
    named, allowed = named_of(request), request.app.state.own_ways
    asked: Any
    try:
        if deed == "choose":
            asked = _choices(sent)

            def act(session: Session, who: Person, now: datetime) -> Json:
                return ways.choose(session, who, now, asked.choices, named, way_in=WAY_IN)

        elif deed == "add":
            name, url = sent.one("name").strip(), sent.one("url").strip()
            if not 0 < len(name) <= 60:
                malformed("name", "field_needed")
            asked = OwnWay(name=name, url=url[:2_000])

            def act(session: Session, who: Person, now: datetime) -> Json:
                return ways.add_way(
                    session, who, now, name, url, access.way_box, allowed, way_in=WAY_IN
                )

        else:
            asked = Named(id=sent.one("way")[:64])

            def act(session: Session, who: Person, now: datetime) -> Json:
                return ways.remove_way(session, who, asked.id, now, way_in=WAY_IN)

        await reviews.administer(
            visitor.person, f"notices:{deed}", asked, key=key, way_in=WAY_IN, act=act
        )
    except RuleError as error:
        if error.status in (401, 403, 404, 503):
            raise
        return await _page(request, visitor, reviews, error)
    return go(request, HERE)


@router.api_route("/duty", methods=["GET", "HEAD"])
async def on_duty(request: Request, visitor: VisitorDep, reviews: ReviewsDep) -> Response:
    """Show who is on duty now and next."""
    shifts = await reviews.administration(visitor.person, duty.shifts_listed)
    return rendered(request, "duty.html", visitor, shifts=shifts)


def _choices(sent: Sent) -> WaysRequest:
    """Return what the boxes of the form say, each sort's whole.

    Raises:
        MalformedError: More ways than anybody has.
    """
    choices = {sort: tuple(dict.fromkeys(sent.all(sort))) for sort in Sort}
    if any(len(ways) > 100 or any(len(way) > 80 for way in ways) for ways in choices.values()):
        raise MalformedError(errors=[{"field": "ways", "message": "way_unknown"}])
    return WaysRequest(choices=choices)


async def _page(
    request: Request, visitor: Visitor, reviews: Reviews, error: RuleError | None = None
) -> Response:
    named = named_of(request)
    tends = visitor.has(*ways.TENDERS)

    def read(session: Session, who: Person, now: datetime) -> Json:
        return {
            "mine": ways.ways_shown(session, who, now, named),
            "named": ways.named_listed(session, who, now, named) if tends else [],
        }

    found = await reviews.administration(visitor.person, read)
    return rendered(
        request, "notices.html", visitor, status=error.status if error else 200, **found,
        sorts=list(Sort), mail=MAIL, tends=tends, allowed=request.app.state.own_ways, key=new_id(),
        refusal=told(error, language_of_page(request)) if error else None,
    )  # fmt: skip
