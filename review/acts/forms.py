"""The official form of an item, annex 1 or 2, filled from its decisions (R4.2, RA1, RA2)."""

from datetime import datetime
from functools import cache
from zoneinfo import ZoneInfo

import segno
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from sqlmodel import Session, col, select

from review.acts.authorising import full_version
from review.acts.item import Item
from review.records.people import names
from review.records.tables import Decision, Remark, Unit
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
    late = session.exec(
        select(Remark)
        .where(Remark.submission_id == row.id, Remark.kind == "late_opinion")
        .order_by(col(Remark.at))
    ).all()
    signers = {*(d.person_id for d in approvals), *(o.person_id for o in late)}
    people = names(session, {row.author_id, *signers})
    zone = ZoneInfo(item.policy.timezone)

    def signed(words: str, person_id: str, at: datetime, mark: str = "") -> dict[str, str]:
        day = at.astimezone(zone)
        return {
            "text": words,
            "name": people[person_id]["name"] + (text(mark, language) if mark else ""),
            "on": text("form.date", language, year=day.year, month=day.month, day=day.day),
        }

    def opinion(decision: Decision) -> dict[str, str]:
        words = decision.opinion or text(f"verdict.{decision.verdict}", language)
        acting = "form.acting" if decision.acting_for_id else ""
        return signed(words, decision.person_id, decision.at, acting)

    def opinions(key: str) -> list[dict[str, str]]:
        """What was said at a step, then what was signed later for one that was skipped (A-1)."""
        return [
            *(opinion(d) for d in approvals if d.key == key),
            *(signed(o.text, o.person_id, o.at, "form.late") for o in late if o.step_key == key),
        ]

    head = next((d for d in approvals if d.tier == 1), None)
    boxes = [
        {
            "name": text(label, language),
            "opinions": [one for key in keys for one in opinions(key)],
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
