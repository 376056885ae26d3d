"""One item as people and programs get to see it (contract: GET /submissions/{id})."""

import difflib
from collections.abc import Iterable
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlmodel import Session, col, select

from review.acts.acting_terms import allowed
from review.acts.attaching import Kept
from review.acts.authorising import full_version, rendered
from review.acts.entitlement import capacity, people_for
from review.acts.item import Item, calendar_in_force
from review.acts.offers import offers
from review.acts.pace import remaining
from review.acts.screening import rows_of, shown_rows
from review.records.letters import refusals
from review.records.people import Person, names
from review.records.tables import (
    Audit,
    Channel,
    Remark,
    Step,
    StepPerson,
    Unit,
    Version,
)
from review.records.ways import unreached
from review.rendering import WECHAT, Limit, Rendered, limits, published_file
from review.rules.calendar import Calendar
from review.rules.cases import latest_steps
from review.rules.errors import NotFoundError
from review.rules.publications import published_part
from review.rules.values import Profile, PublicationState, StepState
from review.texts import sentence

Json = dict[str, Any]
ZONE = ZoneInfo("Asia/Shanghai")  # moments are shown in the bureau's time, with its offset


def shown_moment(at: datetime | None) -> str | None:
    """Return a moment as the contract shows it: RFC 3339 with offset."""
    return at.astimezone(ZONE).isoformat() if at else None


def plan_of(session: Session, item: Item, now: datetime, language: str = "zh") -> list[Json]:
    """Return each step's latest round, in order, with who is asked or will be."""
    steps = [s for s in latest_steps(item.steps) if isinstance(s, Step)]
    asked: dict[str, list[str]] = {}
    rows = session.exec(
        select(StepPerson)
        .where(StepPerson.submission_id == item.row.id)
        .where(col(StepPerson.active).is_(True))
    )
    for row in rows:
        asked.setdefault(row.step_id, []).append(row.person_id)
    for step in steps:
        if step.state == StepState.WAITING:
            asked[step.id] = [person for person, _ in people_for(session, item, step, now)]
    known = names(session, {p for people in asked.values() for p in people})
    calendar = calendar_in_force(session)
    return [_step(step, [known[p] for p in asked.get(step.id, ()) if p in known], language)
            | {"remaining": _remaining(step, calendar, now)}
            for step in steps]  # fmt: skip


def _remaining(step: Step, calendar: Calendar, now: datetime) -> Json | None:
    if step.state != StepState.OPEN:
        return None
    return remaining(step.limit, step.opened_at, step.due_at, calendar, now)


def _step(step: Step, people: list[Any], language: str) -> Json:
    return {
        "step": step.key,
        "round": step.round,
        "unit": step.unit_id or None,
        "role": step.role,
        "people": [dict(one) for one in people],
        "tier": step.tier or None,
        "proof": step.proof or None,
        "group": step.group or None,
        "limit": step.limit,
        "on_timeout": step.on_timeout,
        "state": step.state,
        "opened_at": shown_moment(step.opened_at),
        "due_at": shown_moment(step.due_at),
        "decided_at": shown_moment(step.decided_at),
        "overdue": step.overdue_at is not None,
        "reminders_sent": step.reminders_sent,
        "escalated": step.escalated,
        "explanation": [sentence(reason, language) for reason in step.explanation],
    }


def item_of(
    session: Session, person: Person, item: Item, now: datetime, language: str = "zh"
) -> Json:
    """Return everything about one item that its reader may see."""
    row = item.row
    version = full_version(session, row.id, row.version)
    plan = plan_of(session, item, now, language)
    open_steps = [one for one in plan if one["state"] == StepState.OPEN]
    mine = [
        s
        for s in item.steps
        if s.state == StepState.OPEN
        and isinstance(s, Step)
        and capacity(session, person, item, s, now) is not None
        and person.id not in item.case.excluded(s)
    ]
    publications = item.publications()
    authorisation = item.authorisation()
    remarks = session.exec(select(Remark).where(Remark.submission_id == row.id)).all()
    people = {row.author_id, *(d.person_id for d in item.decisions)}
    people |= {d.acting_for_id for d in item.decisions if d.acting_for_id}
    people |= {r.person_id for r in remarks} | {v.author_id for v in item.versions}
    if authorisation:
        people.add(authorisation.person_id)
    findings = rows_of(session, row)
    people |= {f.waived_by_id for f in findings if f.waived_by_id}
    known = names(session, people)
    unit = session.get_one(Unit, row.unit_id)
    due = [s["due_at"] for s in open_steps if s["due_at"]]
    acts = allowed(person, item)
    holders = [p["id"] for step in open_steps for p in step["people"]]
    wrong = refusals(session, holders).keys() | unreached(session, holders).keys()
    return {
        "id": row.id,
        "number": row.number,
        "title": version.title,
        "body": version.body,
        "category": row.category,
        "level": row.level or None,
        "profile": row.profile,
        "kind": row.kind,
        "urgency": row.urgency,
        "status": row.status,
        "version": row.version,
        "round": row.round,
        "digest": row.digest,
        "text_digest": version.text_digest,
        "form": item.policy.profiles[Profile(row.profile)].form,
        "policy": {
            "id": item.policy.id,
            "version": item.policy.version,
            "digest": row.policy_digest,
        },
        "unit": {"id": unit.id, "name": unit.name},
        "author": _named(known, row.author_id),
        "source": version.source,
        "channels": row.channels,
        "attachments": version.attachments,
        "details": row.details,
        "event_time": shown_moment(row.event_time),
        "found_time": shown_moment(row.found_time),
        "publish_at": shown_moment(row.publish_at),
        "valid_until": shown_moment(row.valid_until),
        "submitted_at": shown_moment(row.submitted_at),
        "reported_at": shown_moment(row.reported_at),
        "published_at": shown_moment(row.published_at),
        "item_due_at": shown_moment(row.due_at),
        "plan": plan,
        "open_steps": open_steps,
        "holder": [p for step in open_steps for p in step["people"]],
        "unreached": [
            p for step in open_steps for p in step["people"] if p["id"] in wrong
        ],  # their mail server or another way takes none; it waits in their inbox
        "due_at": min(due) if due else None,
        "overdue": row.overdue_at is not None or any(s["overdue"] for s in open_steps),
        "reminders_sent": sum(s.reminders_sent for s in item.steps),
        "escalated": max((s.escalated for s in item.steps if s.state == StepState.OPEN), default=0)
        > 0,
        "findings": shown_rows(findings, known, language),
        "decisions": [_decision(d, known) for d in item.decisions],
        "remarks": [
            {
                "kind": r.kind,
                "step": r.step_key or None,
                "person": _named(known, r.person_id),
                "organisation": r.organisation or None,
                "text": r.text,
                "anchor": r.anchor or None,
                "at": shown_moment(r.at),
            }
            for r in remarks
        ],
        "authorisation": None
        if authorisation is None
        else {
            "digest": authorisation.digest,
            "channels": authorisation.channels,
            "person": _named(known, authorisation.person_id),
            "at": shown_moment(authorisation.at),
            "publish_at": shown_moment(authorisation.publish_at),
            "valid_until": shown_moment(authorisation.valid_until),
        },
        "publications": [publication_of(p) for p in publications],
        "allowed_actions": ([f"decide:{step.key}" for step in mine] + acts),
        "offers": offers(item, mine),
    }


def publication_of(publication: Any) -> Json:
    """Return one channel's state (contract)."""
    return {
        "channel": publication.channel,
        "generation": publication.generation,
        "state": publication.state,
        "retracting": publication.wanted == "retracted"
        and publication.state not in (PublicationState.FAILED, PublicationState.RETRACTED),
        "digest": publication.digest,
        "rendered_digest": publication.rendered_digest,
        "url": publication.url or None,
        "at": shown_moment(publication.live_at or publication.at),
        "detail": publication.detail or None,
    }


def _named(known: dict[str, Any], person_id: str, acting_for: str | None = None) -> Json | None:
    if not person_id:
        return None
    one = dict(known.get(person_id) or {"id": person_id, "name": "", "unit": ""})
    one["acting_for"] = dict(known[acting_for]) if acting_for and acting_for in known else None
    return one


def _decision(decision: Any, known: dict[str, Any]) -> Json:
    return {
        "decision_id": decision.id,
        "step": decision.key,
        "unit": decision.unit_id or None,
        "round": decision.round,
        "verdict": decision.verdict,
        "digest": decision.digest,
        "person": _named(known, decision.person_id, decision.acting_for_id),
        "acting_for": _named(known, decision.acting_for_id) if decision.acting_for_id else None,
        "role": decision.role,
        "why": decision.why,
        "opinion": decision.opinion,
        "reason_code": decision.reason_code or None,
        "return_to": decision.return_to or None,
        "way_in": decision.way_in,
        "at": shown_moment(decision.at),
        "counts": decision.lapsed_at is None,
    }


def timeline_of(session: Session, item: Item) -> list[Json]:
    """Return what happened, in order, from the audit trail (全程留痕)."""
    rows = session.exec(
        select(Audit).where(Audit.chain == item.row.id).order_by(col(Audit.n))
    ).all()
    known = names(session, _people(rows))
    return [
        {
            "n": row.n,
            "at": shown_moment(row.at),
            "event": row.event,
            "person": _named(known, row.person_id, row.acting_for_id or None),
            "role": row.role or None,
            "way_in": row.way_in or None,
            "digest": row.digest,
            "data": row.data,
        }
        for row in rows
    ]


def _people(rows: Iterable[Audit]) -> set[str]:
    return {p for row in rows for p in (row.person_id, row.acting_for_id) if p}


def versions_of(session: Session, item: Item) -> list[Json]:
    """Return every version, the oldest first, without its text."""
    known = names(session, {v.author_id for v in item.versions})
    return [
        {
            "version": v.no,
            "title": v.title,
            "digest": v.digest,
            "text_digest": v.text_digest,
            "base": v.base_no or None,
            "change": v.change,
            "figures_changed": v.figures_changed,
            "author": _named(known, v.author_id),
            "role": v.author_role,
            "at": shown_moment(v.at),
        }
        for v in item.versions
    ]


def one_version(session: Session, item: Item, no: int) -> Version:
    """Return a version with its text; NotFoundError when there is none."""
    if not any(v.no == no for v in item.versions):
        raise NotFoundError
    return full_version(session, item.row.id, no)


def diff_of(session: Session, item: Item, from_: int, to: int) -> Json:
    """Return what changed between two versions, line by line and word by word."""
    old, new = one_version(session, item, from_), one_version(session, item, to)
    changes = []
    before, after = old.body.splitlines(), new.body.splitlines()
    matcher = difflib.SequenceMatcher(a=before, b=after, autojunk=False)
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        changes.append({"change": tag, "from": before[i1:i2], "to": after[j1:j2]})
    return {
        "from": from_,
        "to": to,
        "title": {"from": old.title, "to": new.title, "changed": old.title != new.title},
        "body": changes,
        "attachments_changed": old.attachments != new.attachments,
        "source_changed": old.source != new.source,
        "figures_changed": new.figures_changed if new.base_no == from_ else None,
    }


def preview_of(session: Session, item: Item, channel_id: str) -> Rendered:
    """Return exactly the bytes that a channel would get (三校 works on this, A-3)."""
    channel = session.get(Channel, channel_id)
    if channel is None or channel_id not in item.row.channels:
        raise NotFoundError
    unit = session.get_one(Unit, item.row.unit_id)
    version = full_version(session, item.row.id, item.row.version)
    return rendered(item, version, channel, unit.name)


def file_of(session: Session, item: Item, name: str) -> Kept:
    """Return the file that a preview shows or links under this name; only what is published.

    Args:
        name: As the rendering writes it: the bytes' SHA-256 in hex with the type's ending.

    Raises:
        NotFoundError: The current version publishes no such file.
    """
    version = full_version(session, item.row.id, item.row.version)
    for one in published_part(version.attachments):
        if published_file(one) == name:
            return Kept(one["name"], one["media_type"], one["sha256"])
    raise NotFoundError


def limits_of(session: Session, item: Item) -> dict[str, list[Limit]]:
    """Return, by channel, which limits of its platform the current version exceeds."""
    unit = session.get_one(Unit, item.row.unit_id)
    version = full_version(session, item.row.id, item.row.version)
    chosen = session.exec(select(Channel).where(col(Channel.id).in_(item.row.channels)))
    found = {
        one.id: list(
            limits(one.platform, rendered(item, version, one, unit.name).content, unit.name)
        )
        for one in chosen
        if one.platform == WECHAT
    }
    return {channel: exceeded for channel, exceeded in found.items() if exceeded}
