"""The official form of an item, annex 1 or 2, filled from its decisions (R4.2, RA1, RA2)."""

from functools import cache
from zoneinfo import ZoneInfo

import segno
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from sqlmodel import Session

from review.acts.authorising import full_version
from review.acts.item import Item
from review.records.people import names
from review.records.tables import Decision, Unit
from review.rules.values import Profile
from review.texts import text

BOXES = {  # which decisions stand in which box; the order is the form's own, top to bottom
    "annex1": (("form.center", ("second_review", "final_review")),),
    "annex2": (
        ("form.leader", ("final_review",)),
        ("form.office", ("office_opinion",)),
        ("form.center", ("second_review", "center_sign")),
    ),
}


@cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("review"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip


def qr_svg(address: str) -> Markup:
    """Return a QR code of an address as SVG to stand inside a page."""
    return Markup(segno.make(address, error="m").svg_inline(scale=3, border=2, svgclass=None))


def form_html(session: Session, item: Item, language: str = "zh", *, site: str = "") -> str:
    """Return the form as a page to print.

    Args:
        site: Our public address, for the code that leads to where the text can be verified.
    """
    row = item.row
    version = full_version(session, row.id, row.version)
    form = item.policy.profiles[Profile(row.profile)].form
    approvals = [d for d in item.case.approvals() if isinstance(d, Decision)]
    people = names(session, {row.author_id, *(d.person_id for d in approvals)})
    zone = ZoneInfo(item.policy.timezone)

    def opinion(decision: Decision) -> dict[str, str]:
        day = decision.at.astimezone(zone)
        acting = text("form.acting", language) if decision.acting_for_id else ""
        return {
            "text": decision.opinion or text(f"verdict.{decision.verdict}", language),
            "name": people[decision.person_id]["name"] + acting,
            "on": text("form.date", language, year=day.year, month=day.month, day=day.day),
        }

    head = next((d for d in approvals if d.tier == 1), None)
    boxes = [
        {
            "name": text(label, language),
            "opinions": [opinion(d) for key in keys for d in approvals if d.key == key],
        }
        for label, keys in BOXES[form]
    ]
    return (
        _templates()
        .get_template("form.html")
        .render(
            language=language,
            t=lambda code: text(code, language),
            form=form,
            number=row.number,
            title=version.title,
            unit=session.get_one(Unit, row.unit_id).name,
            author=people[row.author_id]["name"],
            reviewer=opinion(head)["name"] if head else "",
            repost=row.source_type in ("repost", "unified_release"),
            source=version.source,
            boxes=boxes,
            verify=f"{site}/verify/{row.number}" if site else "",
            qr=qr_svg(f"{site}/verify/{row.number}") if site else "",
        )
    )
