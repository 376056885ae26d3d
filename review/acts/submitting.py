"""A submission comes in: version 1, its plan, an audit entry and a nudge, or nothing (R4.1-4)."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlmodel import Session, col, select

from review.acts.attaching import described, use_on
from review.acts.incidents import link
from review.acts.item import Item, next_number, policy_in_force
from review.acts.relating import with_authority
from review.acts.screening import (
    likeness_of,
    remember_first,
    remember_likeness,
    screen_draft,
    shown_rows,
)
from review.acts.showing import plan_of
from review.acts.topics import join
from review.ids import new_id
from review.records.engine import digests_of
from review.records.people import Person
from review.records.tables import Channel, Submission, Unit, Version
from review.requests import Draft
from review.rules.errors import MalformedError, NotAllowedError, RefusedError
from review.rules.submissions import links_in, profile_for, text_digest, version_digest
from review.rules.values import Category, Level, Role, Status

DETAILS = (
    "sub_type", "disclosure_type", "authority_reference", "ai_generated", "linked", "incident",
    "other_outlets", "contact", "countersign_units", "background", "audience", "how_to",
)  # fmt: skip


def submit(
    session: Session, person: Person, draft: Draft, *, way_in: str, now: datetime
) -> dict[str, Any]:
    """Store a new submission and return what its author gets to see.

    Raises:
        NotAllowedError: The person is no information officer.
        MalformedError: A moment or unit that the category needs is missing or impossible.
        RefusedError: not_proactive, channel_closed, screening_stop.
    """
    unit_id = unit_of(person)
    draft = with_authority(session, person, draft)
    _check(session, draft, now)
    digest_of_policy, policy = policy_in_force(session)
    source = draft.source.model_dump()
    attachments = described(session, person, draft.attachments)
    # before a row is written (R1.3-4)
    found = screen_draft(session, draft, attachments, unit_id, policy.timezone, now)
    links = links_in(draft.body)
    algorithm = digests_of(session)
    digest = version_digest(draft.title, draft.body, attachments, source, links, algorithm)
    level = (draft.level or Level.UNKNOWN) if draft.category == Category.EMERGENCY else ""
    year = now.astimezone(ZoneInfo(policy.timezone)).year
    row = Submission(
        id=new_id(),
        number=next_number(session, year),
        unit_id=unit_id,
        author_id=person.id,
        category=draft.category,
        level=level,
        profile=profile_for(draft.category, level, draft.title, draft.body, source, policy),
        kind=draft.kind,
        urgency=draft.urgency,
        status=Status.IN_REVIEW,
        title=draft.title,
        source_type=draft.source.type,
        channels=list(dict.fromkeys(draft.channels)),
        details={
            name: value
            for name, value in draft.model_dump(mode="json").items()
            if name in DETAILS and value
        },
        event_time=draft.event_time,
        found_time=draft.found_time,
        publish_at=draft.publish_at,
        valid_until=draft.valid_until,
        digest=digest,
        policy_digest=digest_of_policy,
        submitted_at=now,
    )
    session.add(row)
    session.flush()
    likeness = likeness_of(draft.title, draft.body)
    session.add(
        Version(
            id=new_id(),
            submission_id=row.id,
            no=1,
            title=draft.title,
            body=draft.body,
            attachments=attachments,
            source=source,
            links=links,
            digest=digest,
            text_digest=text_digest(draft.title, draft.body, algorithm),
            author_id=person.id,
            author_role=Role.INFO_OFFICER,
            at=now,
            **likeness,
        )
    )
    use_on(session, row.id, attachments)
    findings = remember_first(session, row, found, "submitted", now)
    remember_likeness(session, row, likeness["sketch"])
    session.flush()
    item = Item(session, row)
    for planned in item.planned():
        item.add_step(planned, 1)
    if draft.incident:
        link(session, draft.incident, row, now)
    if draft.topic:
        join(session, draft.topic, person, row, now)
    # what statistics count by, so that the trace alone gives the same tables (R5.2-3)
    item.trace(
        "submitted", now, person, role=Role.INFO_OFFICER, way_in=way_in, profile=row.profile,
        unit=unit_id, kind=str(row.kind), category=str(row.category), source=row.source_type,
    )  # fmt: skip
    session.flush()
    return {
        "id": row.id,
        "number": row.number,
        "status": row.status,
        "version": 1,
        "round": 1,
        "digest": digest,
        "profile": row.profile,
        "plan": plan_of(session, item, now),
        "findings": shown_rows(findings),
        "delivered": False,
    }


def unit_of(person: Person) -> str:
    """Return the unit a person reports for: their own first (RA1-3, not typed)."""
    units = [held.unit_id or "" for held in person.roles if held.role == Role.INFO_OFFICER]
    if not units:
        raise NotAllowedError("not_allowed", needs=Role.INFO_OFFICER)
    return person.unit_id if person.unit_id in units or not units[0] else units[0]


def _check(session: Session, draft: Draft, now: datetime) -> None:
    errors: list[dict[str, str]] = []
    if draft.category == Category.EMERGENCY and draft.event_time is None:
        errors.append({"field": "event_time", "message": "event_time_needed"})
    if draft.category == Category.PUBLIC_OPINION and draft.found_time is None:
        errors.append({"field": "found_time", "message": "found_time_needed"})
    for name in ("event_time", "found_time"):
        moment = getattr(draft, name)
        if moment is not None and moment > now:
            errors.append({"field": name, "message": "moment_in_future"})
    if draft.valid_until and draft.valid_until <= (draft.publish_at or now):
        errors.append({"field": "valid_until", "message": "moment_in_past"})
    units = set(draft.countersign_units)
    known = set(session.exec(select(Unit.id).where(col(Unit.id).in_(units)))) if units else set()
    if units - known:
        errors.append({"field": "countersign_units", "message": "unknown_unit"})
    channels = {
        c.id: c
        for c in session.exec(select(Channel).where(col(Channel.id).in_(set(draft.channels))))
    }
    for channel in draft.channels:
        if channel not in channels:
            errors.append({"field": "channels", "message": "unknown_channel", "value": channel})
    if errors:
        raise MalformedError(errors=errors)
    for channel in draft.channels:
        if channels[channel].state != "active":
            raise RefusedError("channel_closed", channel=channel)
    if draft.disclosure_type != "proactive":
        raise RefusedError("not_proactive", disclosure_type=draft.disclosure_type)
