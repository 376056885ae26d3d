"""What goes out and how far it has come: per channel, with what somebody must do about it."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from review.rendering import PUSH, WEBSITE, WECHAT
from review.rules.errors import NotAllowedError
from starter.web.dependencies import AfterQuery, ReviewsDep
from starter.web.pages.frame import SENDERS, rendered
from starter.web.pages.visitors import Visitor, VisitorDep, by_htmx

router = APIRouter(include_in_schema=False)

Json = dict[str, Any]
A_PAGE = 25  # rows
TABS = {  # by the status of the items they list
    "trouble": "",
    "authorised": "authorised",
    "publishing": "publishing",
    "partly": "partly_published",
    "published": "published",
}
OFFICE = ("office_reviewer", "office_director")

Tab = Literal["trouble", "authorised", "publishing", "partly", "published"]


@router.api_route("/publishing", methods=["GET", "HEAD"])
async def publishing(
    request: Request,
    visitor: VisitorDep,
    reviews: ReviewsDep,
    tab: Tab = "trouble",
    after: AfterQuery = None,
    q: Annotated[str | None, Query(max_length=100)] = None,
) -> Response:
    """List what waits to go out, what went out, and where a channel needs somebody."""
    if not visitor.has(*SENDERS):
        raise NotAllowedError
    trouble = await reviews.channel_trouble(visitor.person)
    listed: Json = {"items": [], "next": None}
    if tab != "trouble":
        filters = {"status": TABS[tab]} | ({"q": q} if q else {})
        listed = await reviews.submissions(visitor.person, filters, A_PAGE, after)
    names = {channel["id"]: channel["name"] for channel in await reviews.channels(visitor.person)}
    template = "_sent.html" if by_htmx(request) and after else "publishing.html"
    return rendered(
        request, template, visitor, tab=tab, tabs=list(TABS), trouble=trouble,
        rows=listed["items"], next=listed["next"], channel_names=names, q=q or "",
    )  # fmt: skip


def latest(item: Json) -> list[Json]:
    """Return each chosen channel's latest publication; one without any yet has no state."""
    found: dict[str, Json] = {
        channel: {"channel": channel, "state": None, "retracting": False}
        for channel in item["channels"]
    }
    for publication in item["publications"]:
        found[publication["channel"]] = publication
    return list(found.values())


def forgets(platform: str) -> str:
    """Return the text that says what a take-down leaves behind on a platform (A-24)."""
    return f"take_down.{platform if platform in (WEBSITE, WECHAT, PUSH) else 'other'}"


def waives(visitor: Visitor, finding: Json) -> bool:
    """Tell whether a finding is for this visitor's role to waive, so that the page offers it."""
    waiver = finding["waiver"]
    if not waiver or finding["waived_by"] or finding["severity"] == "stop":
        return False
    return visitor.has(*(OFFICE if waiver in ("office", *OFFICE) else (waiver,)))


def has_point(visitor: Visitor, item: Json, act: str) -> bool:
    """Tell whether an act that somebody may do could change anything on this item now."""
    if act == "renew_authorisation":
        return any(visitor.has(s["role"]) for s in item["plan"] if s["tier"] == 3)
    if act == "ratify_retraction":
        return any(one["state"] != "failed" for one in item["publications"])
    if act == "retract":
        gone = ("failed", "retracted")
        return any(
            one["state"] not in gone and not one["retracting"] for one in item["publications"]
        )
    return act != "urge" or bool(item["open_steps"])
