"""What stands around an item: its incident, its topic, orders and cases about it.

Each is named only to those who may read it; the item itself they may read already.
"""

from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import String, bindparam, literal, union_all
from sqlmodel import Session, or_, select

from review.acts import incidents, supervising, topics, violations
from review.records.matters import Incident, IncidentReport, Order, Violation
from review.records.people import Person
from review.records.topics import Topic, TopicItem
from review.requests import Draft
from review.rules.errors import NotFoundError

Json = dict[str, Any]
MOST = 50  # of a kind
R = TypeVar("R", Incident, Topic, Order, Violation)
_ITEM = bindparam("item", type_=String)
_ABOUT = union_all(  # one statement, for most items have nothing about them
    *(
        select(literal(kind), id_).where(of == _ITEM)
        for kind, id_, of in (
            ("incident", IncidentReport.incident_id, IncidentReport.submission_id),
            ("topic", TopicItem.topic_id, TopicItem.submission_id),
            ("supervision", Order.id, Order.submission_id),
            ("violation", Violation.id, Violation.submission_id),
        )
    )
)


def related(session: Session, person: Person, submission_id: str, now: datetime) -> list[Json]:
    """Return what a person may read of what is about an item: kind, page, number, state."""
    about: dict[str, list[str]] = {}
    for kind, id_ in session.connection().execute(_ABOUT, {"item": submission_id}):
        about.setdefault(kind, []).append(id_)
    found: list[Json] = []
    for incident in _rows(session, Incident, about.get("incident")):
        if _may(lambda row=incident: incidents.require_readable(person, row)):
            found.append(_line("incident", "/incidents", incident, incident.title))
    for topic in _rows(session, Topic, about.get("topic")):
        if topics.reads(person):
            found.append(_line("topic", "/topics", topic, topic.title))
    for order in _rows(session, Order, about.get("supervision")):
        if _may(lambda row=order: supervising.require_readable(person, row)):
            found.append(_line("supervision", "/orders", order))
    for case in _rows(session, Violation, about.get("violation")):
        if _may(lambda row=case: violations.require_readable(session, person, row, now)):
            found.append(_line("violation", "/violations", case))
    return found


def _rows(session: Session, model: type[R], ids: list[str] | None) -> list[R]:
    return [session.get_one(model, id_) for id_ in sorted(ids or ())[:MOST]]


def _may(require: Any) -> bool:
    try:
        require()
    except NotFoundError:
        return False
    return True


def _line(kind: str, page: str, row: Any, title: str = "") -> Json:
    return {
        "kind": kind, "id": row.id, "path": f"{page}/{row.id}", "number": row.number,
        "state": row.state, "title": title or None,
    }  # fmt: skip


def prefilled(session: Session, person: Person, name: str) -> Json:
    """Return what a text about an incident starts with; nothing of one that isn't to be read.

    Args:
        name: The incident's id or number.
    """
    row = session.exec(
        select(Incident).where(or_(Incident.id == name, Incident.number == name))
    ).first()
    if row is None or not _may(lambda: incidents.require_readable(person, row)):
        return {}
    return {
        "category": "emergency", "incident": row.number, "event_time": row.event_at,
        "level": "" if row.level == "unknown" else row.level,
        "authority_reference": row.authority_reference,
    }  # fmt: skip


def with_authority(session: Session, person: Person, draft: Draft) -> Draft:
    """Return a submission with its incident's reference where it names none of its own (A-27)."""
    if draft.authority_reference or not draft.incident:
        return draft
    reference = prefilled(session, person, draft.incident).get("authority_reference")
    return draft.model_copy(update={"authority_reference": reference}) if reference else draft
