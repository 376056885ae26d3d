"""Delegations: who is away, who acts for them, until when (A-28)."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import AwareDatetime, Field
from sqlmodel import Session
from starlette.responses import Response

from review import requests
from review.acts import overseeing, standing_in
from review.ids import new_id
from review.records.bureau import APART
from review.records.people import Person
from review.rules.errors import MalformedError, NotFoundError, RuleError
from review.rules.values import Category, Role
from starter.reviews import Reviews
from starter.web.dependencies import ID, ReviewsDep
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

router = APIRouter(prefix="/delegations", include_in_schema=False)

Json = dict[str, Any]


class DelegationRequest(requests.Request):
    """Who acts for whom, when and in what."""

    from_id: requests.Ident
    to_id: requests.Ident
    until_at: AwareDatetime
    from_at: AwareDatetime | None = None
    categories: Annotated[tuple[Category, ...], Field(max_length=4)] = ()
    filed: bool = False


@router.api_route("", methods=["GET", "HEAD"])
async def delegations(request: Request, visitor: VisitorDep, reviews: ReviewsDep) -> Response:
    """List the delegations that are not over, and offer to file one."""
    return await _page(request, visitor, reviews, Sent({}))


@router.post("")
async def file(
    request: Request, visitor: VisitorDep, sent: SentDep, reviews: ReviewsDep
) -> Response:
    """File a delegation; a form sent twice files it once."""
    key = sent.one("key")
    key = key if ID.fullmatch(key) else new_id()
    try:
        asked = asked_of(visitor, sent)

        def act(session: Session, who: Person, now: datetime) -> Json:
            return standing_in.file_delegation(
                session, who, now, from_id=asked.from_id, to_id=asked.to_id,
                from_at=asked.from_at, until_at=asked.until_at, categories=asked.categories,
                filed=asked.filed, way_in=WAY_IN,
            )  # fmt: skip

        await reviews.administer(
            visitor.person, "delegation", asked, key=key, way_in=WAY_IN, act=act
        )
    except RuleError as error:
        if error.status in (401, 403, 404, 503):
            raise
        return await _page(request, visitor, reviews, sent, error)
    return go(request, "/delegations")


@router.post("/{delegation_id}/end")
async def end(
    request: Request, visitor: VisitorDep, _sent: SentDep, delegation_id: str, reviews: ReviewsDep
) -> Response:
    """End a delegation now."""
    if not ID.fullmatch(delegation_id):
        raise NotFoundError

    def act(session: Session, who: Person, now: datetime) -> Json:
        return standing_in.end_delegation(session, who, delegation_id, now, way_in=WAY_IN)

    named = Named(id=delegation_id)
    await reviews.administer(
        visitor.person, "delegation_end", named, key=None, way_in=WAY_IN, act=act
    )
    return go(request, "/delegations")


def asked_of(visitor: Visitor, sent: Sent) -> DelegationRequest:
    """Return the delegation that a form asks for; one's own unless an administrator says whose.

    Raises:
        MalformedError: Somebody or the end is missing.
    """
    whose = sent.one("from") if visitor.has(Role.SECURITY_ADMIN) else visitor.person.id
    until = local_moment(sent.one("until"), "until")
    missing = [
        name for name, value in (("from", whose), ("to", sent.one("to")), ("until", until))
        if not value
    ]  # fmt: skip
    if missing or until is None:
        raise MalformedError(
            errors=[{"field": name, "message": "field_needed"} for name in missing]
        )
    return DelegationRequest(
        from_id=whose[:120],
        to_id=sent.one("to")[:120],
        until_at=until,
        from_at=local_moment(sent.one("from_at"), "from_at"),
        categories=tuple(Category(one) for one in sent.all("category") if one in set(Category)),
        filed=sent.one("filed") == "yes" and visitor.has(Role.SECURITY_ADMIN),
    )


async def _page(
    request: Request,
    visitor: Visitor,
    reviews: Reviews,
    sent: Sent,
    error: RuleError | None = None,
) -> Response:
    def read(session: Session, person: Person, now: datetime) -> Json:
        return {
            "listed": standing_in.delegations(session, person, now),
            "people": overseeing.able(session, set(Role) - APART, now),
        }

    values = await reviews.administration(visitor.person, read)
    return rendered(
        request, "delegations.html", visitor, status=error.status if error else 200, **values,
        tabs=tabs_of(visitor), categories=list(Category), typed=sent, key=new_id(),
        administrator=visitor.has(Role.SECURITY_ADMIN),
        may_file=not visitor.has(Role.SYSADMIN, Role.AUDITOR),
        refusal=told(error, language_of_page(request)) if error else None,
    )  # fmt: skip
