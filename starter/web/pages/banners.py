"""After a form: what happened and who has the item now, as the ledger tells it."""

from typing import Any

from fastapi import Request

from review.rules.errors import NotFoundError
from review.texts import text
from starter.reviews import Reviews
from starter.web.dependencies import ID
from starter.web.pages.effects import whereabouts
from starter.web.pages.visitors import Visitor, language_of_page
from starter.web.pages.words import say


async def banner_of(
    request: Request, reviews: Reviews, visitor: Visitor, did: str | None
) -> dict[str, Any] | None:
    """Return the banner for what this visitor just did.

    Args:
        did: `ITEM.DECISION` or `ITEM` as the redirect after a form carries it; what it names must
            be this visitor's own decision, else only where the item stands is told.
    """
    if not did:
        return None
    item_id, _, decision_id = did.partition(".")
    if not ID.fullmatch(item_id):
        return None
    language = language_of_page(request)
    try:
        item = await reviews.submission(visitor.person, item_id, language, ask_engine=False)
    except NotFoundError:
        return None
    made = next((d for d in item["decisions"] if d["decision_id"] == decision_id), None)
    what = ""
    if made is not None and made["person"]["id"] == visitor.person.id:
        what = say(
            "已在%(step)s环节作出意见：%(verdict)s。", language,
            step=text(f"step.{made['step']}", language),
            verdict=text(f"verdict.{made['verdict']}", language),
        )  # fmt: skip
    return {"item": item, "what": what, "where": whereabouts(item, language)}
