"""A new version of an item: the answer to a return, an edit in review, a correction after it."""

from typing import Any

from fastapi import APIRouter, Request
from pydantic import ValidationError
from starlette.responses import Response

from review.ids import new_id
from review.requests import ActRequest, NewVersion
from review.rules.errors import MalformedError, RefusedError, RuleError
from starter.reviews import Reviews
from starter.web.dependencies import ID, IdDep, ReviewsDep
from starter.web.pages import changes, manuscript
from starter.web.pages.effects import whereabouts
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

router = APIRouter(prefix="/items", include_in_schema=False)

Json = dict[str, Any]
EDITORS = ("unit_head", "center_editor", "center_deputy")
CERTIFIES = "certify_changes"
NOT_FOR_FORMS = ("not_found", "not_signed_in")


def mode_of(visitor: Visitor, item: Json) -> str:
    """Return what a new version from this visitor would be; empty when there can be none.

    Only what a page offers follows from it; whether a version is taken, `Reviews` judges.
    """
    if item["status"] == "returned":
        mine = any(
            held.role in ("info_officer", "unit_head") and held.unit_id == item["unit"]["id"]
            for held in visitor.person.roles
        )
        return "answer" if mine else ""
    if item["status"] == "in_review":
        decides = {action.partition(":")[2] for action in item["allowed_actions"]}
        for step in item["open_steps"]:
            may = step["role"] in EDITORS and (step["tier"] or step["proof"])
            if step["step"] in decides and may:
                return "edit"
            if step["step"] == CERTIFIES and visitor.has("center_editor", "center_deputy"):
                return "edit"
        return ""
    return "correct" if "correct" in item["allowed_actions"] else ""


@router.api_route("/{submission_id}/edit", methods=["GET", "HEAD"])
async def form(
    request: Request, visitor: VisitorDep, submission_id: IdDep, reviews: ReviewsDep
) -> Response:
    """Show the text to be changed, beside it what was asked for."""
    item = await known(request, visitor, reviews, submission_id)
    typed = manuscript.from_item(item) | {"change": "", "note": "", "settled": []}
    return await page(request, visitor, reviews, item, typed)


@router.post("/{submission_id}/edit")
async def take(
    request: Request,
    visitor: VisitorDep,
    sent: SentDep,
    submission_id: IdDep,
    reviews: ReviewsDep,
) -> Response:
    """Send the version, or show what it changes, as the button says that was pressed."""
    item = await known(request, visitor, reviews, submission_id)
    typed = written(sent)
    deed, _, about = sent.one("do").partition(":")
    if deed == "send":
        return await send(request, visitor, reviews, item, sent, typed)
    if deed == "drop":
        manuscript.without(typed, about)
    if deed == "mend":
        looked = await beside(request, visitor, reviews, item, typed)
        manuscript.mend(typed, looked["places"], about)
    return await page(request, visitor, reviews, item, typed, sent=sent)


@router.post("/{submission_id}/edit/look")
async def look(
    request: Request,
    visitor: VisitorDep,
    sent: SentDep,
    submission_id: IdDep,
    reviews: ReviewsDep,
) -> Response:
    """Show what is changed so far, and what the checks say of it."""
    item = await known(request, visitor, reviews, submission_id)
    typed = written(sent)
    values = await beside(request, visitor, reviews, item, typed)
    return rendered(request, "_look.html", visitor, **values, item=item, typed=typed, saved=None)


@router.post("/{submission_id}/edit/files")
async def add_file(
    request: Request, visitor: VisitorDep, submission_id: IdDep, reviews: ReviewsDep
) -> Response:
    """Take a file into the version that is being written."""
    item = await known(request, visitor, reviews, submission_id)
    barred = None
    if not mode_of(visitor, item):
        barred = RefusedError("no_edit_here", status=item["status"])
    try:
        sent, typed = await manuscript.with_file(request, visitor, reviews, barred)
    except manuscript.Refused as refused:
        typed = refused.typed | extras(refused.sent)
        return await page(
            request, visitor, reviews, item, typed, sent=refused.sent, error=refused.error
        )
    return await page(request, visitor, reviews, item, typed | extras(sent), sent=sent)


async def send(
    request: Request, visitor: Visitor, reviews: Reviews, item: Json, sent: Sent, typed: Json
) -> Response:
    """Send the version or the correction; sent twice it is one, for the hidden key is its name."""
    key = sent.one("key")
    key = key if ID.fullmatch(key) else new_id()
    id_ = item["id"]
    try:
        if mode_of(visitor, item) == "correct":
            asked = correction_of(sent, typed)
            await reviews.act(visitor.person, id_, asked, key=key, way_in=WAY_IN)
        else:
            version = version_of(item, sent, typed)
            await reviews.new_version(visitor.person, id_, version, key=key, way_in=WAY_IN)
    except (RuleError, ValidationError) as caught:
        error = as_refusal(caught)
        if error.code in NOT_FOR_FORMS:
            raise error from None
        item = await known(request, visitor, reviews, id_)
        return await page(request, visitor, reviews, item, typed, sent=sent, error=error)
    return go(request, f"/items/{id_}?did={id_}")


# --- what a form sent -----------------------------------------------------------------------------


def written(sent: Sent) -> Json:
    """Return what was typed of a version, and beside it."""
    return manuscript.typed_of(sent) | extras(sent)


def extras(sent: Sent) -> Json:
    return {
        "change": sent.one("change"),
        "note": sent.one("note"),
        "settled": list(sent.all("settled")),
    }


def version_of(item: Json, sent: Sent, typed: Json) -> NewVersion:
    """Return the version that a form asks for; of what did not change, nothing is sent."""
    before = manuscript.from_item(item)
    fields: Json = {"base_digest": sent.one("digest"), "note": typed["note"].strip()}
    fields["proofread"] = typed["proofread"]
    fields |= {name: typed[name] for name in ("title", "body") if typed[name] != before[name]}
    if manuscript.uses_of(typed) != manuscript.uses_of(before):
        fields["attachments"] = manuscript.attachments_of(typed)
    if manuscript.source_of(typed) != manuscript.source_of(before):
        fields["source"] = manuscript.source_of(typed)
    if typed["change"]:
        fields["change"] = typed["change"]
    return NewVersion.model_validate(fields)


def correction_of(sent: Sent, typed: Json) -> ActRequest:
    """Return the correction that a form asks for."""
    return ActRequest.model_validate(
        {
            "act": "correct", "base_digest": sent.one("digest"), "reason": typed["note"].strip(),
            "title": typed["title"], "body": typed["body"],
            "change": typed["change"] or "substance",
        }
    )  # fmt: skip


def as_refusal(error: RuleError | ValidationError) -> RuleError:
    """Return a shape that is wrong as the refusal it is."""
    if isinstance(error, RuleError):
        return error
    return MalformedError(pydantic_errors=error.errors(include_url=False, include_input=False))


# --- what the page shows --------------------------------------------------------------------------


async def known(request: Request, visitor: Visitor, reviews: Reviews, id_: str) -> Json:
    """Return an item that this visitor may see."""
    language = language_of_page(request)
    return await reviews.submission(visitor.person, id_, language, ask_engine=False)


async def page(
    request: Request,
    visitor: Visitor,
    reviews: Reviews,
    item: Json,
    typed: Json,
    *,
    sent: Sent | None = None,
    error: RuleError | None = None,
) -> Response:
    """Return the form with what was typed; if the item moved on meanwhile, that comes first."""
    mode, language = mode_of(visitor, item), language_of_page(request)
    if not mode and error is None:
        error = RefusedError("no_edit_here", status=item["status"])
    moved = None
    if sent is not None and sent.one("digest") not in ("", item["digest"]):
        moved = await since(visitor, reviews, item, sent.one("version"))
    key = sent.one("key") if sent and error is None else ""
    values = await beside(request, visitor, reviews, item, typed)
    return rendered(
        request, "edit.html", visitor, status=error.status if error else 200,
        **values, item=item, typed=typed, mode=mode, moved=moved,
        key=key if ID.fullmatch(key) else new_id(),
        refusal=told(error, language) if error else None, saved=None,
        whereabouts=whereabouts(item, language), sources=await reviews.sources(),
        own_types=manuscript.OWN, repost_types=manuscript.REPOSTED,
    )  # fmt: skip


async def since(visitor: Visitor, reviews: Reviews, item: Json, number: str) -> Json | None:
    """Return what others changed since the version that a form was opened on."""
    whole = number.isascii() and number.isdecimal() and len(number) < len("10000")
    if not whole or not 0 < int(number) < item["version"]:
        return None
    diff = await reviews.diff(visitor.person, item["id"], int(number), item["version"])
    title = diff["title"]
    return {
        "title": changes.marks(title["from"], title["to"]) if title["changed"] else None,
        "lines": changes.lines_of(diff),
        "source": diff["source_changed"],
        "attachments": diff["attachments_changed"],
        "figures": diff["figures_changed"],
    }


async def beside(
    request: Request, visitor: Visitor, reviews: Reviews, item: Json, typed: Json
) -> Json:
    """Return changes, findings and preview of what is typed, and the reasons of the return."""
    moments = {name: item[name] for name in ("event_time", "found_time", "valid_until")}
    fields = {
        **item["details"],
        **{name: at for name, at in moments.items() if at},
        "category": item["category"],
        "kind": item["kind"],
        "channels": item["channels"],
        "title": typed["title"],
        "body": typed["body"],
        "source": manuscript.source_of(typed) or {},
        "attachments": [dict(one) for one in typed["attachments"]],
    }
    looked = await manuscript.looked_at(request, visitor, reviews, fields, own=item["number"])
    return {
        **looked,
        "change": change_of(item, typed),
        "reasons": reasons_of(item) if item["status"] == "returned" else [],
        "begun": True,
        "look": f"/items/{item['id']}/edit/look",
    }


def change_of(item: Json, typed: Json) -> Json | None:
    """Return what the typed text would change of the current version; None for nothing."""
    before = manuscript.from_item(item)
    after = typed
    change = {
        "title": changes.marks(before["title"], after["title"])
        if before["title"] != after["title"]
        else None,
        "lines": changes.lines_between(before["body"], after["body"]),
        "source": manuscript.source_of(before) != manuscript.source_of(after),
        "attachments": manuscript.uses_of(before) != manuscript.uses_of(after),
        "figures": changes.figures_differ(before, after),
    }
    touched = before["body"] != after["body"]
    if not (touched or change["title"] or change["source"] or change["attachments"]):
        return None
    return change


def reasons_of(item: Json) -> list[Json]:
    """Return what a return asks for, one line each, to be ticked off while mending."""
    returns = [one for one in item["decisions"] if one["verdict"] == "return"]
    if not returns:
        return []
    last = returns[-1]
    lines = [line.strip() for line in str(last["opinion"]).splitlines() if line.strip()]
    head = {"code": last["reason_code"], "text": "", "by": last}
    found = [head] if last["reason_code"] else []
    return found + [{"code": None, "text": line, "by": last} for line in lines]
