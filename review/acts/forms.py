"""The official form of an item, annex 1 or 2, filled from its decisions (R4.2, RA1, RA2)."""

from datetime import datetime
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import segno
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from sqlmodel import Session, col, select

from review.acts.authorising import full_version
from review.acts.item import Item
from review.records.people import names
from review.records.tables import Channel, Decision, FindingRow, Remark, Unit
from review.rules.values import Profile
from review.texts import in_words, text

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
    return Markup(
        segno.make(address, error="m").svg_inline(scale=3, border=2, svgclass=None)
    )  # drawn by segno  # nosec B704


def form_html(session: Session, item: Item, language: str = "zh", *, site: str = "") -> str:
    """Return the form as a page to print.

    Args:
        site: Our public address, for the code that leads to where the text can be verified.
    """
    filled = form_of(session, item, language, site=site)
    filled["qr"] = qr_svg(filled["verify"]) if site else ""
    template = _templates().get_template("form.html")
    return template.render(language=language, t=lambda code: text(code, language), **filled)


def form_of(
    session: Session, item: Item, language: str = "zh", *, site: str = ""
) -> dict[str, Any]:
    """Return what stands in the form's boxes.

    Returns:
        form (annex1, annex2), number, title, unit, author, reviewer, repost, source, verify (an
        address, or empty), and boxes in the form's own order: each with key, name and opinions,
        each of these with text, name and on (a day in words).
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
            "key": label.removeprefix("form."),
            "name": text(label, language),
            "opinions": [one for key in keys for one in opinions(key)],
        }
        for label, keys in BOXES[form]
    ]
    return {
        "form": form,
        "number": row.number,
        "title": version.title,
        "unit": session.get_one(Unit, row.unit_id).name,
        "author": people[row.author_id]["name"],
        "reviewer": opinion(head)["name"] if head else "",
        "repost": row.source_type in ("repost", "unified_release"),
        "source": version.source,
        "boxes": boxes,
        "verify": f"{site}/verify/{row.number}" if site else "",
    }


def supplement_of(session: Session, item: Item) -> list[tuple[str, str]]:
    """Return the lines of the 附页: what the trace needs and the form has no box for (RA2).

    In the bureau's language, as the form is: label and value, one that may have several lines.
    """
    row, zone = item.row, ZoneInfo(item.policy.timezone)
    version = item.version
    people = names(session, {row.author_id, *(d.person_id for d in item.decisions)})
    people |= names(session, {v.author_id for v in item.versions})

    def at(moment: datetime | None) -> str:
        return in_words(moment.astimezone(zone).isoformat(timespec="seconds")) if moment else ""

    def by(decision: Decision) -> str:
        acting = text("form.acting") if decision.acting_for_id else ""
        return f"{people[decision.person_id]['name']}{acting} {at(decision.at)}"

    current = [d for d in item.case.approvals() if isinstance(d, Decision)]
    proofs = [f"{text('form.proof.1')} {people[row.author_id]['name']} {at(row.submitted_at)}"]
    proofs += [f"{text(f'form.proof.{d.proof}')} {by(d)}" for d in current if d.proof]
    chain = [
        f"{text(f'step.{d.key}')} {text(f'verdict.{d.verdict}')} {by(d)}" for d in item.decisions
    ]
    texts = [f"{v.no} {people[v.author_id]['name']} {at(v.at)}\n{v.digest}" for v in item.versions]
    found = session.exec(
        select(FindingRow)
        .where(FindingRow.submission_id == row.id, FindingRow.version == version.no)
        .order_by(col(FindingRow.begins))
    ).all()
    screening = [
        f"{one.rule} {text(f'severity.{one.severity}')}"
        + (f" {text('form.waived')}" if one.waived_at else "")
        for one in found
    ]
    authorisation = item.authorisation()
    sent = [f"{p.channel} {text(f'publication_state.{p.state}')}" for p in item.publications()]
    units = {u.id: u.name for u in session.exec(select(Unit))} if item.countersign_units else {}
    channels = session.exec(select(Channel).where(col(Channel.id).in_(row.channels))).all()
    lines = {
        "number": row.number,
        "category": text(f"category.{row.category}"),
        "kind": text(f"kind.{row.kind}"),
        "urgency": text(f"urgency.{row.urgency}"),
        "event_time": at(row.event_time or row.found_time),
        "channels": "、".join(channel.name for channel in channels),
        "publish_at": at(row.publish_at),
        "valid_until": at(row.valid_until),
        "contact": str(row.details.get("contact") or ""),
        "countersigned": "、".join(units.get(u, u) for u in item.countersign_units),
        "pledge": text("form.pledged"),
        "proofs": "\n".join(proofs),
        "screening": "\n".join(screening) or text("form.nothing_found"),
        "other_outlets": str(row.details.get("other_outlets") or ""),
        "ai": text("form.yes" if row.details.get("ai_generated") else "form.no"),
        "versions": "\n".join(texts),
        "digest": row.digest,
        "chain": "\n".join(chain),
        "authorisation": f"{at(authorisation.at)} — {at(authorisation.valid_until)}"
        if authorisation
        else "",
        "publications": "\n".join(sent),
    }
    return [(text(f"form.more.{name}"), value or "—") for name, value in lines.items()]
