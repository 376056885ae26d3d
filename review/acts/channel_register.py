"""The channel register (账号台账): who may publish where, opened and closed by two people (R2.2).

Proposed by a unit's head or the center, confirmed by the center's chief or the office's director,
never by the same person; administrators have no say in it.
"""

from datetime import date, datetime
from typing import Any

from sqlmodel import Session, col, select

from review.acts.showing import shown_moment
from review.acts.watching import last_posts, silence_of
from review.channel_requests import ChannelProposal, ChannelVerdict
from review.ids import new_id
from review.records import audit
from review.records.channels import ChannelChange, ChannelConnection, ChannelEntry
from review.records.people import Person, names
from review.records.tables import Channel, Unit
from review.rules.errors import MalformedError, NotAllowedError, NotFoundError, RefusedError
from review.rules.values import Role

Json = dict[str, Any]
PROPOSE = frozenset({Role.UNIT_HEAD, Role.CENTER_DEPUTY, Role.CENTER_CHIEF, Role.OFFICE_DIRECTOR})
CONFIRM = frozenset({Role.CENTER_CHIEF, Role.OFFICE_DIRECTOR})
FROM_STATES = {  # what a deed needs the channel to be
    "open": ("", "closed"),
    "change": ("active", "suspended"),
    "suspend": ("active",),
    "resume": ("suspended",),
    "close": ("active", "suspended"),
}
TO_STATE = {"open": "active", "suspend": "suspended", "resume": "active", "close": "closed"}
NEEDED = ("name", "platform", "operator_unit")
FIELDS = (
    *NEEDED, "owner_entity", "certified_on", "filing_number", "applied_by_unit",
)  # fmt: skip


def register(session: Session, now: datetime) -> list[Json]:
    """Return every channel with its entry, how long it is silent, and what is amiss (R2.2-2)."""
    entries = {one.channel_id: one for one in session.exec(select(ChannelEntry))}
    connected = set(session.exec(select(ChannelConnection.channel_id)))
    since = last_posts(session)
    found = []
    for row in session.exec(select(Channel).order_by(col(Channel.place), col(Channel.id))):
        entry = entries.get(row.id) or ChannelEntry(channel_id=row.id)
        days, level = silence_of(since[row.id], now) if row.id in since else (None, "")
        found.append(
            {
                "id": row.id,
                "name": row.name,
                "platform": row.platform,
                "operator_unit": row.operator_unit_id,
                "state": row.state,
                "owner_entity": entry.owner_entity,
                "certified_on": entry.certified_on.isoformat() if entry.certified_on else None,
                "filing_number": entry.filing_number,
                "applied_by_unit": entry.applied_by_unit_id or None,
                "reason": entry.reason,
                "opened_at": shown_moment(entry.opened_at),
                "closed_at": shown_moment(entry.closed_at),
                "days_silent": days,
                "silence": level or None,
                "connected": row.id in connected or row.platform == "website",
                "missing": _missing(entry) if row.state != "closed" else [],
            }
        )
    return found


def _missing(entry: ChannelEntry) -> list[str]:
    """Return what an inspection would ask for and the register doesn't have."""
    known = {
        "owner_entity": entry.owner_entity,
        "certified_on": entry.certified_on,
        "filing_number": entry.filing_number,
    }
    return [name for name, value in known.items() if not value]


def changes(session: Session) -> list[Json]:
    """Return the proposals that wait, the oldest first."""
    rows = session.exec(
        select(ChannelChange)
        .where(ChannelChange.state == "open")
        .order_by(col(ChannelChange.proposed_at), col(ChannelChange.id))
    ).all()
    known = names(session, {row.proposed_by_id for row in rows})
    return [_shown(row) | {"proposer": known.get(row.proposed_by_id)} for row in rows]


def _shown(row: ChannelChange) -> Json:
    return {
        "id": row.id,
        "channel": row.channel_id,
        "deed": row.deed,
        "fields": row.fields,
        "reason": row.reason,
        "state": row.state,
        "proposed_by": row.proposed_by_id,
        "proposed_at": shown_moment(row.proposed_at),
    }


def propose(
    session: Session, person: Person, request: ChannelProposal, now: datetime, *, way_in: str
) -> Json:
    """Propose to open, change, suspend or close a channel.

    Raises:
        NotAllowedError: Neither a unit's head nor of the center's or the office's lead.
        MalformedError: missing, unknown_unit.
        RefusedError: `channel_state`: it is not what the deed needs. `proposal_waits`: another
            proposal about it is open. `nothing_changed`.
    """
    if not {held.role for held in person.roles} & PROPOSE:
        raise NotAllowedError
    place = session.get(Channel, request.channel)
    fields = {
        name: value.isoformat() if isinstance(value, date) else value
        for name in FIELDS
        if (value := getattr(request, name)) is not None
    }
    wanting = [name for name in NEEDED if request.deed == "open" and name not in fields]
    if wanting:
        raise MalformedError(errors=[{"field": name, "message": "missing"} for name in wanting])
    for name in ("operator_unit", "applied_by_unit"):
        if name in fields and session.get(Unit, fields[name]) is None:
            raise MalformedError(errors=[{"field": name, "message": "unknown_unit"}])
    _require_state(place, request.deed)
    if request.deed == "change" and not fields:
        raise RefusedError("nothing_changed")
    waiting = session.exec(
        select(ChannelChange.id)
        .where(ChannelChange.channel_id == request.channel)
        .where(ChannelChange.state == "open")
    ).first()
    if waiting is not None:
        raise RefusedError("proposal_waits")
    row = ChannelChange(
        id=new_id(),
        channel_id=request.channel,
        deed=request.deed,
        fields=fields if request.deed in ("open", "change") else {},
        reason=request.reason,
        state="open",
        proposed_by_id=person.id,
        proposed_at=now,
    )
    session.add(row)
    _note(session, "channel_change_proposed", row, person, now, way_in)
    session.flush()
    return _shown(row)


def decide(
    session: Session,
    person: Person,
    change_id: str,
    verdict: ChannelVerdict,
    now: datetime,
    *,
    way_in: str,
) -> Json:
    """Confirm or reject a proposal; a confirmed one holds at once.

    Raises:
        NotFoundError: There is no such proposal.
        NotAllowedError: Neither the center's chief nor the office's director.
        RefusedError: `proposal_closed`: decided before. `channel_two_people`: by who proposed it.
            `channel_state`: the channel is not what it was when it was proposed.
    """
    row = session.get(ChannelChange, change_id, with_for_update=True)
    if row is None:
        raise NotFoundError
    if not {held.role for held in person.roles} & CONFIRM:
        raise NotAllowedError
    if row.state != "open":
        raise RefusedError("proposal_closed")
    if verdict.verdict == "confirm":
        if person.id == row.proposed_by_id:
            raise RefusedError("channel_two_people")
        _carry_out(session, row, now)
    row.state = "confirmed" if verdict.verdict == "confirm" else "rejected"
    row.decided_by_id, row.decided_at = person.id, now
    session.add(row)
    _note(session, f"channel_change_{row.state}", row, person, now, way_in)
    session.flush()
    return _shown(row)


def _carry_out(session: Session, row: ChannelChange, now: datetime) -> None:
    place = session.get(Channel, row.channel_id, with_for_update=True)
    _require_state(place, row.deed)
    fields = row.fields
    if place is None:
        place = Channel(
            id=row.channel_id, name=fields["name"], platform=fields["platform"],
            operator_unit_id=fields["operator_unit"],
        )  # fmt: skip
    place.name = fields.get("name", place.name)
    place.platform = fields.get("platform", place.platform)
    place.operator_unit_id = fields.get("operator_unit", place.operator_unit_id)
    place.state = TO_STATE.get(row.deed, place.state)
    session.add(place)
    session.flush()
    entry = session.get(ChannelEntry, place.id) or ChannelEntry(channel_id=place.id)
    entry.owner_entity = fields.get("owner_entity", entry.owner_entity)
    entry.filing_number = fields.get("filing_number", entry.filing_number)
    entry.applied_by_unit_id = fields.get("applied_by_unit", entry.applied_by_unit_id)
    if "certified_on" in fields:
        entry.certified_on = date.fromisoformat(fields["certified_on"])
    if row.deed == "open":
        entry.opened_at, entry.closed_at, entry.reason = now, None, row.reason
    if row.deed == "close":
        entry.closed_at = now
    session.add(entry)


def _require_state(place: Channel | None, deed: str) -> None:
    state = place.state if place is not None else ""
    if state not in FROM_STATES[deed]:
        raise RefusedError("channel_state", state=state)


def _note(
    session: Session, event: str, row: ChannelChange, person: Person, now: datetime, way_in: str
) -> None:
    audit.append(
        session, audit.BUREAU, event, at=now, person_id=person.id, way_in=way_in,
        data={"channel": row.channel_id, "deed": row.deed, "change": row.id},
    )  # fmt: skip
