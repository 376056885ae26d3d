"""Accounts and roles, for the security administrator; others who may read them do (1.8)."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from sqlmodel import Session
from starlette.responses import RedirectResponse, Response

from review.acts import hooks, overseeing, roster
from review.ids import new_id
from review.records.bureau import UNIT_ROLES
from review.records.people import Person
from review.rules.errors import NotFoundError, RuleError
from review.rules.values import Role
from starter.reviews import Reviews
from starter.web.bodies import malformed
from starter.web.connections import OaAccount
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
from starter.web.people import GrantRequest, Named

router = APIRouter(prefix="/admin", include_in_schema=False)

Json = dict[str, Any]
PersonId = Annotated[str, Path(pattern=f"^{ID.pattern}$")]
Deed = Literal["disable", "enable", "give", "take", "remove_second_factor", "oa_account"]


@router.get("")
async def first(visitor: VisitorDep) -> Response:
    """Lead to the first of the administrators' pages that this visitor may read."""
    return RedirectResponse(tabs_of(visitor)[0].path, 303)


@router.api_route("/people", methods=["GET", "HEAD"])
async def people(
    request: Request,
    visitor: VisitorDep,
    reviews: ReviewsDep,
    q: Annotated[str, Query(max_length=100)] = "",
) -> Response:
    """List everybody with their roles."""
    found = await _everybody(visitor, reviews)
    wanted = q.strip().casefold()
    shown = [
        one
        for one in found["people"]
        if not wanted or wanted in f"{one['username']} {one['name']} {one['unit']}".casefold()
    ]
    return rendered(
        request, "people.html", visitor, tabs=tabs_of(visitor), people=shown, q=q,
        units=found["units"], count=len(found["people"]),
    )  # fmt: skip


@router.api_route("/people/{person_id}", methods=["GET", "HEAD"])
async def person(
    request: Request, visitor: VisitorDep, person_id: PersonId, reviews: ReviewsDep
) -> Response:
    """Show one account, and to a security administrator what may be done with it."""
    return await _page(request, visitor, reviews, person_id, Sent({}))


@router.post("/people/{person_id}/{deed}")
async def change(
    request: Request,
    visitor: VisitorDep,
    sent: SentDep,
    person_id: PersonId,
    deed: Deed,
    reviews: ReviewsDep,
) -> Response:
    """Do one act on an account; a form sent twice does it once."""
    key = sent.one("key")
    key = key if ID.fullmatch(key) else new_id()
    try:
        asked, act = deed_of(deed, person_id, sent)
        await reviews.administer(
            visitor.person, f"{deed}:{person_id}", asked, key=key, way_in=WAY_IN, act=act
        )
    except RuleError as error:
        if error.status in (401, 403, 404, 503):
            raise
        return await _page(request, visitor, reviews, person_id, sent, error)
    return go(request, f"/admin/people/{person_id}")


def deed_of(
    deed: Deed, person_id: str, sent: Sent
) -> tuple[Any, Callable[[Session, Person, datetime], Json]]:
    """Return what a form asks for and the act that does it."""
    named = Named(id=person_id)
    if deed == "give":
        role = sent.one("role")
        if role not in set(Role):
            malformed("role", "unknown_value")
        asked = GrantRequest(
            role=Role(role),
            unit=sent.one("unit") if Role(role) in UNIT_ROLES else "",
            until=local_moment(sent.one("until"), "until"),
        )
        return asked, lambda s, who, now: roster.give_role(
            s, person_id, asked.role, asked.unit, now, until=asked.until, by=who
        )
    if deed == "take":
        grant = Named(id=sent.one("grant"))
        return grant, lambda s, who, now: roster.take_role(s, grant.id, now, by=who)
    if deed == "oa_account":
        account = OaAccount(oa_account=sent.one("oa_account")[:120])
        return account, lambda s, who, now: hooks.set_oa_account(
            s, person_id, account.oa_account, now, by=who, way_in=WAY_IN
        )
    acts = {
        "disable": roster.close_account,
        "enable": roster.open_account,
        "remove_second_factor": roster.remove_second_factor,
    }
    act = acts[deed]
    return named, lambda s, who, now: act(s, person_id, now, by=who, way_in=WAY_IN)


async def _page(
    request: Request,
    visitor: Visitor,
    reviews: Reviews,
    person_id: str,
    sent: Sent,
    error: RuleError | None = None,
) -> Response:
    found = await _everybody(visitor, reviews)
    one = next((one for one in found["people"] if one["id"] == person_id), None)
    if one is None:
        raise NotFoundError
    return rendered(
        request, "person.html", visitor, status=error.status if error else 200,
        tabs=tabs_of(visitor), one=one, units=found["units"], roles=list(Role),
        may_change=visitor.has(Role.SECURITY_ADMIN) and person_id != visitor.person.id,
        unit_roles=UNIT_ROLES, typed=sent, key=new_id(),
        refusal=told(error, language_of_page(request)) if error else None,
    )  # fmt: skip


async def _everybody(visitor: Visitor, reviews: Reviews) -> Json:
    def read(session: Session, by: Person, now: datetime) -> Json:
        return {
            "people": roster.people_listed(session, by, now),
            "units": {unit["id"]: unit["name"] for unit in overseeing.units(session)},
        }

    return await reviews.administration(visitor.person, read)
