"""The rules for everybody to read: the regulation, who approves what by when, and their changes."""

from datetime import datetime
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from markupsafe import Markup
from pydantic import ValidationError
from sqlmodel import Session
from starlette.responses import Response

from review.acts import adopting
from review.acts.item import policy_in_force
from review.acts.upkeep import in_force
from review.ids import new_id
from review.packs import digest_of, load_pack
from review.records.people import Person, names
from review.rendering import body_html
from review.rules.errors import NotAllowedError, NotFoundError, RuleError
from review.rules.policy import Policy
from review.rules.values import Profile
from starter.reviews import Reviews
from starter.web.dependencies import ID, ReviewsDep
from starter.web.pages.frame import go, rendered
from starter.web.pages.items import as_refusal
from starter.web.pages.refusals import told
from starter.web.pages.tabs import tabs_of
from starter.web.pages.visitors import (
    WAY_IN,
    Sent,
    SentDep,
    Visitor,
    VisitorDep,
    language_of_page,
)
from starter.web.pasted import read_pasted
from starter.web.people import Named
from starter.web.rehearsals import LONGEST, QUARTER, Rehearsal, rehearsed
from starter.web.rehearsals import WHO as REHEARSE

router = APIRouter(prefix="/rules", include_in_schema=False)

Json = dict[str, Any]
ProposalQuery = Annotated[str | None, Query(max_length=40)]
CLAUSES = {  # by which clause a route is what it is; for packs of this regulation alone
    Profile.WORK_NEWS: ("R4.1-8", "R4.2-1"),
    Profile.REPOST_FAST: ("R3.2-4", "R4.1-8", "R4.2-1"),
    Profile.IMPORTANT: ("R4.1-9", "R4.2-2"),
    Profile.INCIDENT_MINOR: ("R4.2-2", "R5.1-3"),
    Profile.EMERGENCY: ("R4.1-10", "R4.2-2", "R5.1-3"),
    Profile.PUBLIC_OPINION: ("R4.1-10", "R4.2-2", "R5.1-4"),
}
STEP_CLAUSES = {
    "unit_review": "R4.1-5",
    "edit_proof2": "R4.1-6",
    "second_review": "R4.1-7",
    "center_sign": "RA2-8",
    "office_opinion": "RA2-9",
    "proof3_publish": "R4.1-3",
}


def policies_folder() -> Path:
    return Path(str(files("review").joinpath("policies")))


@cache
def regulation_of(pack_id: str) -> str | None:
    """Return the regulation that a shipped pack is made of, as HTML; None where none is kept."""
    file = policies_folder() / f"{pack_id}.md"
    known = {one.stem for one in policies_folder().glob("*.md")}
    return body_html(file.read_text(encoding="utf-8")) if pack_id in known else None


@router.api_route("", methods=["GET", "HEAD"])
async def rules(request: Request, visitor: VisitorDep, reviews: ReviewsDep) -> Response:
    """Show who approves what, in which time, by which clause."""

    def read(session: Session, _person: Person, _now: datetime) -> tuple[str, Policy]:
        return policy_in_force(session)

    digest, policy = await reviews.administration(visitor.person, read)
    regulation = regulation_of(policy.id)
    return rendered(
        request, "rules.html", visitor, tabs=tabs_of(visitor), policy=policy, digest=digest,
        routes=routes_of(policy, known=regulation is not None),
        regulation=Markup(regulation) if regulation else None,  # nosec B704
    )  # fmt: skip


def routes_of(policy: Policy, *, known: bool) -> list[Json]:
    """Return each route with its steps, limits and what silence leads to.

    Args:
        known: The clauses are those of this pack's regulation.
    """
    final = {Profile.WORK_NEWS: "R4.1-8", Profile.REPOST_FAST: "R4.1-8",
             Profile.IMPORTANT: "R4.1-9", Profile.INCIDENT_MINOR: "R4.1-9"}  # fmt: skip
    routes = []
    for profile, terms in policy.profiles.items():
        reminders, escalation = policy.reminders[profile], policy.escalation[profile]
        steps = [
            {
                "id": rule.id,
                "role": rule.role,
                "limit": str(rule.limit),
                "tier": rule.tier,
                "proof": rule.proof,
                "group": rule.group,
                "skips": rule.on_timeout == "skip_and_flag",
                "targets": policy.targets.get(rule.id, {}).get(profile)
                or policy.targets.get(rule.id, {}).get("default", ()),
                "clause": (
                    final.get(profile, "R4.1-10")
                    if rule.id == "final_review"
                    else STEP_CLAUSES.get(rule.id)
                )
                if known
                else None,
            }
            for rule in policy.steps[profile]
        ]
        routes.append(
            {
                "profile": profile,
                "form": terms.form,
                "clock": terms.clock,
                "limit": str(terms.item_limit),
                "outer": str(terms.outer_limit) if terms.outer_limit else None,
                "anchor": terms.anchor,
                "marks": reminders.marks,
                "every": str(reminders.every) if reminders.every else None,
                "backup_at": escalation.backup_at,
                "superior_at": escalation.superior_at,
                "authorisation": str(policy.authorisation[profile]),
                "steps": steps,
                "clauses": CLAUSES.get(profile, ()) if known else (),
            }
        )
    return routes


# --- changes, by two persons ----------------------------------------------------------------------


@router.api_route("/changes", methods=["GET", "HEAD"])
async def changes(request: Request, visitor: VisitorDep, reviews: ReviewsDep) -> Response:
    """Show what is proposed, against what is in force, and the packs there have been."""
    return await _page(request, visitor, reviews, Sent({}))


@router.post("/changes")
async def propose(
    request: Request, visitor: VisitorDep, sent: SentDep, reviews: ReviewsDep
) -> Response:
    """Propose a pack; another person has yet to confirm it."""
    body, key = sent.one("pack"), sent.one("key")
    try:
        policy = read_pasted(body, load_pack, "pack", language_of_page(request))

        def act(session: Session, who: Person, now: datetime) -> Json:
            return adopting.propose_policy(session, who, policy, now, way_in=WAY_IN)

        await reviews.administer(
            visitor.person,
            "policy_propose",
            Named(id=digest_of(policy)),
            key=key if ID.fullmatch(key) else None,
            way_in=WAY_IN,
            act=act,
        )
    except RuleError as error:
        if error.status in (401, 403, 404, 503):
            raise
        return await _page(request, visitor, reviews, sent, error)
    return go(request, "/rules/changes")


@router.post("/changes/{proposal_id}/{deed}")
async def decide(
    request: Request,
    visitor: VisitorDep,
    sent: SentDep,
    proposal_id: str,
    deed: str,
    reviews: ReviewsDep,
) -> Response:
    """Confirm or close a proposal."""
    acts = {"confirm": adopting.confirm_policy, "reject": adopting.reject_policy}
    if deed not in acts or not ID.fullmatch(proposal_id):
        raise NotFoundError

    def act(session: Session, who: Person, now: datetime) -> Json:
        return acts[deed](session, who, proposal_id, now, way_in=WAY_IN)

    named = Named(id=proposal_id)
    try:
        await reviews.administer(
            visitor.person, f"policy_{deed}", named, key=None, way_in=WAY_IN, act=act
        )
    except RuleError as error:
        if error.status in (401, 403, 404, 503):
            raise
        return await _page(request, visitor, reviews, sent, error)
    return go(request, "/rules/changes")


# --- tried before anybody adopts it ---------------------------------------------------------------


@router.api_route("/rehearsal", methods=["GET", "HEAD"])
async def rehearsal(
    request: Request, visitor: VisitorDep, reviews: ReviewsDep, proposal: ProposalQuery = None
) -> Response:
    """Ask which pack is to be tried on which items."""
    return await _rehearsal(request, visitor, reviews, Sent({"proposal": [proposal or ""]}))


@router.post("/rehearsal")
async def rehearse(
    request: Request, visitor: VisitorDep, sent: SentDep, reviews: ReviewsDep
) -> Response:
    """Show what a pack would have done with the items of the past; nothing is changed."""
    fields = {name: sent.one(name) for name in ("pack", "proposal", "days") if sent.one(name)}
    try:
        asked = Rehearsal.model_validate(fields)
        found = await rehearsed(reviews, visitor.person, asked, language_of_page(request))
    except (RuleError, ValidationError) as caught:
        error = as_refusal(caught)
        if error.status in (401, 403, 503):
            raise error from None
        return await _rehearsal(request, visitor, reviews, sent, error=error)
    return await _rehearsal(request, visitor, reviews, sent, found=found)


async def _rehearsal(
    request: Request,
    visitor: Visitor,
    reviews: Reviews,
    sent: Sent,
    *,
    found: Json | None = None,
    error: RuleError | None = None,
) -> Response:
    if not visitor.has(*REHEARSE):
        raise NotAllowedError

    def read(session: Session, _person: Person, _now: datetime) -> list[Json]:
        return adopting.proposals(session)

    return rendered(
        request, "rehearsal.html", visitor, status=error.status if error else 200,
        tabs=tabs_of(visitor), typed=sent, found=found, quarter=QUARTER, longest=LONGEST,
        proposals=await reviews.administration(visitor.person, read),
        refusal=told(error, language_of_page(request)) if error else None,
    )  # fmt: skip


async def _page(
    request: Request,
    visitor: Visitor,
    reviews: Reviews,
    sent: Sent,
    error: RuleError | None = None,
) -> Response:
    def read(session: Session, _person: Person, _now: datetime) -> Json:
        waiting = adopting.proposals(session)
        known = names(session, {one["proposed_by"] for one in waiting})
        for one in waiting:
            one["proposer"] = known.get(one["proposed_by"])
        return {"proposals": waiting, "packs": in_force(session)["packs"]}

    values = await reviews.administration(visitor.person, read)
    return rendered(
        request, "changes_of_rules.html", visitor, status=error.status if error else 200,
        **values, tabs=tabs_of(visitor), typed=sent, key=new_id(),
        may_propose=visitor.has(*adopting.PROPOSE), may_confirm=visitor.has(*adopting.CONFIRM),
        may_close=visitor.has(*(adopting.PROPOSE | adopting.CONFIRM)),
        refusal=told(error, language_of_page(request)) if error else None,
    )  # fmt: skip
