"""The page of a decision link from a letter: shows what is to be decided, and takes one press.

No session is needed and none is opened. Looking changes nothing, whoever looks: mail scanners and
previews follow every link. The address is secret, so it is kept out of caches, of other sites'
referrers and of logs, which name the route alone.
"""

import asyncio
import re
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.responses import Response

from review.acts.linking import DeadLinkError, Opened
from review.records.links import TOKEN_LENGTH
from review.rules.errors import (
    NotAllowedError,
    NotFoundError,
    NotSignedInError,
    RuleError,
    TooManyError,
)
from starter.web.dependencies import AccessDep, ReviewsDep, address_of, require_same_site
from starter.web.pages.frame import rendered
from starter.web.pages.items import as_refusal, seen, typed_of
from starter.web.pages.refusals import told
from starter.web.pages.shape import moment
from starter.web.pages.visitors import Sent, Visitor, language_of_page, read_form
from starter.web.problems import RETRY_AFTER

router = APIRouter(prefix="/l", include_in_schema=False)

TOKEN = re.compile(rf"[A-Za-z0-9_-]{{{TOKEN_LENGTH}}}")
LONGEST_FORM, LONGEST_CODE = 2_000, 40
HEADERS = {
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "X-Robots-Tag": "noindex, nofollow, noarchive",
}


@router.api_route("/{token}", methods=["GET", "HEAD"])
async def look(request: Request, token: str, reviews: ReviewsDep, access: AccessDep) -> Response:
    """Show what a link decides, or what became of it."""
    try:
        link = await opened(request, reviews, token)
        if link.asks_factor:
            return factor_page(request, access, link)
        return await decision_page(request, reviews, access, link)
    except (DeadLinkError, NotFoundError) as dead:
        return dead_page(request, dead)


@router.post("/{token}")
async def press(request: Request, token: str, reviews: ReviewsDep, access: AccessDep) -> Response:
    """Take a second factor, or the decision; the same press again gets the first answer."""
    require_same_site(request)
    sent = await read_form(request)
    try:
        link = await opened_again(request, reviews, token)
    except DeadLinkError as dead:
        return dead_page(request, dead)
    except NotFoundError as unknown:
        try:
            await asyncio.to_thread(access.count_link, address_of(request))
        except TooManyError as many:
            return dead_page(request, many)
        return dead_page(request, unknown)
    strong = access.read_link_form(sent.one("form")[:LONGEST_FORM], link.id)
    try:
        if link.asks_factor and not strong:
            return await factor_given(request, reviews, access, link, sent, strong)
        if strong is None:
            old = NotAllowedError("link_form_old")
            return await decision_page(request, reviews, access, link, sent=sent, error=old)
        await reviews.decide_by_link(token, link, asked_of(sent), second_factor_given=strong)
    except (DeadLinkError, NotFoundError) as dead:
        return dead_page(request, dead)
    except NotSignedInError:  # the account was closed a moment ago
        return dead_page(request, DeadLinkError(why="account"))
    except (RuleError, ValidationError) as caught:
        refusal = as_refusal(caught)
        try:
            return await decision_page(
                request, reviews, access, link, sent=sent, error=refusal, strong=bool(strong)
            )
        except (DeadLinkError, NotFoundError) as dead:
            return dead_page(request, dead)
    return rendered(
        request, "link_done.html", headers=HEADERS, number=link.number, step=link.step,
        verdict=sent.one("verdict"), item_id=link.submission_id,
    )  # fmt: skip


async def opened(request: Request, reviews: Any, token: str) -> Opened:
    """Return what a link leads to.

    Raises:
        NotFoundError: It is none of ours.
        DeadLinkError: It leads nowhere any more, or links are turned off.
    """
    if not TOKEN.fullmatch(token):
        raise NotFoundError
    if not request.app.state.decision_links:
        raise DeadLinkError(why="off")
    link: Opened = await reviews.link(token)
    return link


async def opened_again(request: Request, reviews: Any, token: str) -> Opened:
    """Return what a link leads to, or led to, for a press that comes twice."""
    try:
        return await opened(request, reviews, token)
    except DeadLinkError as dead:
        used: Opened | None = None
        if dead.params.get("why") == "used":
            used = await reviews.link_used(token)
        if used is None:
            raise
        return used


async def factor_given(
    request: Request,
    reviews: Any,
    access: Any,
    link: Opened,
    sent: Sent,
    known: bool | None,
) -> Response:
    """Take a second factor; then show what is to be decided."""
    code = sent.one("otp").strip()[:LONGEST_CODE]
    if not code or not link.holds_factor:
        return factor_page(request, access, link)
    if known is None:
        return factor_page(request, access, link, NotAllowedError("link_form_old"))
    try:
        await asyncio.to_thread(access.give_second_factor, link.person, code, address_of(request))
    except (NotSignedInError, TooManyError) as error:
        return factor_page(request, access, link, error)
    return await decision_page(request, reviews, access, link, strong=True)


def asked_of(sent: Sent) -> dict[str, Any]:
    """Return what the form says of a decision; what the link fixes is no field of it."""
    verdict = sent.one("verdict")
    fields: dict[str, Any] = {
        "verdict": verdict,
        "opinion": sent.one("opinion").strip(),
        "findings_seen": list(sent.all("findings_seen")),
    }
    if verdict == "return":
        return fields | {name: sent.one(name) for name in ("reason_code", "return_to")}
    return fields | {"checklist": dict.fromkeys(sent.all("checklist"), True)}


# --- what is shown --------------------------------------------------------------------------------


async def decision_page(
    request: Request,
    reviews: Any,
    access: Any,
    link: Opened,
    *,
    sent: Sent | None = None,
    error: RuleError | None = None,
    strong: bool = False,
) -> Response:
    """Show the text and the form of the decision, with no verdict chosen beforehand.

    Raises:
        DeadLinkError: The step is not this person's to decide.
    """
    if link.used:
        raise DeadLinkError(why="used")
    person = link.person.model_copy(update={"second_factor": strong or not link.asks_factor})
    reader = Visitor(person, "", "")
    try:
        values = await seen(
            request, reader, reviews, link.submission_id, link.step, link.unit or ""
        )
    except NotFoundError:
        raise DeadLinkError(why="not_yours") from None
    if values["offer"] is None or values["item"]["digest"] != link.digest:
        raise DeadLinkError(why="not_yours")
    return rendered(
        request, "link.html", status=error.status if error else 200, headers=HEADERS, **values,
        typed=typed_of(sent or Sent({})), proof_in_sheet=False, person=person,
        form=access.link_form(link.id, second_factor=strong),
        refusal=told(error, language_of_page(request)) if error else None,
    )  # fmt: skip


def factor_page(
    request: Request, access: Any, link: Opened, error: RuleError | None = None
) -> Response:
    """Ask for the second factor; until then number and category are all that is said."""
    return rendered(
        request, "link_factor.html", status=error.status if error else 200,
        headers=HEADERS | _wait(error), number=link.number, category=link.category, step=link.step,
        holds=link.holds_factor, item_id=link.submission_id,
        form=access.link_form(link.id, second_factor=False),
        refusal=told(error, language_of_page(request)) if error else None,
    )  # fmt: skip


def dead_page(request: Request, error: RuleError) -> Response:
    """Say what became of a link, and what to do."""
    language = language_of_page(request)
    params = dict(error.params)
    if isinstance(error, TooManyError):
        shown: RuleError = error
        status = error.status
    elif isinstance(error, DeadLinkError):
        if params.get("at"):
            params["at"] = moment(params["at"], language)
        status, shown = HTTPStatus.GONE, DeadLinkError(**params)
    else:
        status, shown = error.status, DeadLinkError(why="unknown")
    return rendered(
        request, "link_dead.html", status=status, headers=HEADERS | _wait(error),
        refusal=told(shown, language), item_id=params.get("item", ""),
    )  # fmt: skip


def _wait(error: RuleError | None) -> dict[str, str]:
    if error is None or error.status not in RETRY_AFTER:
        return {}
    return {"Retry-After": str(error.params.get("retry_after", RETRY_AFTER[error.status]))}
