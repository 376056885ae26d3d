"""What supervision orders, incidents and violation cases have in common.

Every act is one transaction: the row, an entry of the matter with what was said, a line on the
bureau's trace with codes only, the nudge that its workflow is owed, and the notices.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

from sqlmodel import Session, col, or_, select

from review.acts import notices
from review.acts.item import calendar_in_force
from review.acts.repeats import add_once
from review.acts.showing import shown_moment
from review.acts.visibility import SEE_ALL
from review.correlation import current as current_request
from review.ids import new_id
from review.records import audit
from review.records.matters import (
    Incident,
    MatterCounter,
    MatterEntry,
    MatterMark,
    MatterOutbox,
    Order,
    Violation,
)
from review.records.people import Person, holders, names
from review.records.tables import Submission, Unit
from review.rules.errors import MalformedError, NotAllowedError, NotFoundError, RefusedError
from review.rules.matters import MatterKind
from review.rules.values import Role

Json = dict[str, Any]
Matter = Order | Incident | Violation
M = TypeVar("M", Order, Incident, Violation)

KIND_OF: dict[type[Any], MatterKind] = {
    Order: MatterKind.ORDER,
    Incident: MatterKind.INCIDENT,
    Violation: MatterKind.VIOLATION,
}
PAGES = {  # where people read them; a notice leads there
    MatterKind.ORDER: "orders",
    MatterKind.INCIDENT: "incidents",
    MatterKind.VIOLATION: "violations",
}
NUMBERS: dict[str, str] = {
    "topic": "专题〔{year}〕{n}号",
    MatterKind.ORDER: "督办〔{year}〕{n}号",
    MatterKind.INCIDENT: "事件〔{year}〕{n}号",
    MatterKind.VIOLATION: "线索〔{year}〕{n}号",
}
UNIT_ROLES = frozenset({Role.INFO_OFFICER, Role.UNIT_HEAD, Role.SUPERVISING_LEADER})


class Terms(NamedTuple):
    """When an act may be done and by whom."""

    states: frozenset[str]
    roles: frozenset[Role] = frozenset()  # held for the whole bureau
    unit_roles: frozenset[Role] = frozenset()  # held for the matter's unit
    needs: tuple[str, ...] = ()  # fields of the request


# --- finding one ----------------------------------------------------------------------------------


def locked(session: Session, model: type[M], matter_id: str) -> M:
    """Return a matter's row, locked; NotFoundError when there is none."""
    row = session.get(model, matter_id, with_for_update=True)
    if row is None:
        raise NotFoundError
    return row


def seen(session: Session, model: type[M], matter_id: str, locking: bool = False) -> M:
    """Return a matter's row to read, or locked to be changed."""
    if locking:
        return locked(session, model, matter_id)
    row = session.get(model, matter_id)
    if row is None:
        raise NotFoundError
    return row


def units_of(person: Person, more: Iterable[Role] = ()) -> frozenset[str] | None:
    """Return the units whose matters somebody reads; None: everybody's.

    Args:
        more: Roles that read everybody's, beside those that see every item.
    """
    held = {one.role for one in person.roles}
    if held & (SEE_ALL | set(more)):
        return None
    return frozenset(one.unit_id for one in person.roles if one.unit_id and one.role in UNIT_ROLES)


# --- who may --------------------------------------------------------------------------------------


def role_for(person: Person, terms: Terms, unit_id: str) -> str | None:
    """Return the role by which somebody may do an act; None when none does."""
    for held in person.roles:
        if held.role in terms.roles and (not held.unit_id or held.role not in UNIT_ROLES):
            return str(held.role)
        if held.role in terms.unit_roles and unit_id and held.unit_id == unit_id:
            return str(held.role)
    return None


def require(person: Person, terms: Terms, unit_id: str, state: str, act: str) -> str:
    """Return the role by which somebody does an act now.

    Raises:
        NotAllowedError: It is not this person's to do.
        RefusedError: `wrong_state`: not as it stands.
    """
    role = role_for(person, terms, unit_id)
    if role is None:
        raise NotAllowedError(act=act)
    if state not in terms.states:
        raise RefusedError("wrong_state", state=state, act=act)
    return role


def need(request: Any, *fields: str) -> None:
    """Raise MalformedError naming the fields that an act lacks."""
    missing = [
        name
        for name in fields
        if (value := getattr(request, name)) is None or not str(value).strip()
    ]
    if missing:
        raise MalformedError(errors=[{"field": f, "message": "field_needed"} for f in missing])


def known_unit(session: Session, unit_id: str) -> Unit:
    """Return a unit; MalformedError when there is none of that name."""
    unit = session.get(Unit, unit_id)
    if unit is None:
        raise MalformedError(errors=[{"field": "unit", "message": "unknown_unit"}])
    return unit


def known_submission(session: Session, name: str) -> Submission:
    """Return the submission that an id or a number names; MalformedError when there is none."""
    row = session.exec(
        select(Submission).where(or_(Submission.id == name, Submission.number == name))
    ).first()
    if row is None:
        raise MalformedError(errors=[{"field": "submission", "message": "unknown_submission"}])
    return row


def leaders_of(session: Session, unit_id: str, now: datetime) -> list[str]:
    """Return who leads a unit (分管局领导); the chief where nobody else does (A-4)."""
    return holders(session, Role.SUPERVISING_LEADER, unit_id, now) or holders(
        session, Role.BUREAU_CHIEF, "", now
    )


# --- what an act leaves ---------------------------------------------------------------------------


def next_number(session: Session, kind: MatterKind | str, now: datetime) -> str:
    """Return the next number of a year, `督办〔2026〕3号`."""
    zone = ZoneInfo(calendar_in_force(session).timezone)
    year = now.astimezone(zone).year
    wanted = (
        select(MatterCounter)
        .where(MatterCounter.kind == kind)
        .where(MatterCounter.year == year)
        .with_for_update()
    )
    counter = session.exec(wanted).first()
    if counter is None:
        add_once(session, MatterCounter(kind=kind, year=year, last=0))
        counter = session.exec(wanted).one()
    counter.last += 1
    session.add(counter)
    session.flush()
    return NUMBERS[kind].format(year=year, n=counter.last)


def note(
    session: Session,
    row: Matter,
    event: str,
    now: datetime,
    person: Person | None = None,
    *,
    role: str = "",
    way_in: str = "",
    said: str = "",
    nudge: bool = True,
    **data: Any,
) -> None:
    """Leave an entry, a line on the trace and the nudge; `said` stays in the entry alone."""
    kind = KIND_OF[type(row)]
    session.add(row)
    session.flush()
    session.add(
        MatterEntry(
            id=new_id(), matter_id=row.id, event=event, person_id=person.id if person else "",
            role=role, text=said, data=data, at=now,
        )
    )  # fmt: skip
    audit.append(
        session, audit.BUREAU, f"{kind}_{event}", at=now, person_id=person.id if person else "",
        role=role, way_in=way_in, data={str(kind): row.id, "number": row.number or ""} | data,
    )  # fmt: skip
    if nudge:
        session.add(
            MatterOutbox(
                id=new_id(),
                kind=kind,
                matter_id=row.id,
                reason=event,
                at=now,
                next_try_at=now,
                request_id=current_request(),
            )
        )


def tell(
    session: Session,
    row: Matter,
    people: Iterable[tuple[str, str]],
    kind: str,
    mark: str,
    now: datetime,
    **shown: Any,
) -> None:
    """Write a notice to each; it says the matter's number and where to read it, no subject."""
    at = f"{PAGES[KIND_OF[type(row)]]}/{row.id}"
    concerned = [(person, "matter") for person, _ in people]
    notices.tell_of(
        session, row.id, concerned, kind, mark, now, matter=at, number=row.number or "", **shown
    )


def by_roles(session: Session, now: datetime, *roles: Role) -> list[tuple[str, str]]:
    """Return the bureau-wide holders of roles, each with the reason why it is them."""
    return [one for role in roles for one in notices.by_role(session, role, now)]


def seen_by_engine(session: Session, matter_id: str, now: datetime) -> None:
    """A turn sees everything that was owed to the engine until now."""
    rows = session.exec(
        select(MatterOutbox)
        .where(MatterOutbox.matter_id == matter_id)
        .where(col(MatterOutbox.done_at).is_(None))
    )
    for row in rows:
        row.done_at = now
        session.add(row)


def fired(session: Session, matter_id: str) -> set[str]:
    """Return the marks that have had their consequence."""
    return set(session.exec(select(MatterMark.mark).where(MatterMark.matter_id == matter_id)))


# --- what is shown --------------------------------------------------------------------------------


def entries_of(session: Session, matter_id: str) -> list[Json]:
    """Return what happened in a matter, in order."""
    rows = session.exec(
        select(MatterEntry)
        .where(MatterEntry.matter_id == matter_id)
        .order_by(col(MatterEntry.at), col(MatterEntry.id))
    ).all()
    told = [one for row in rows for one in (row.person_id, row.data.get("acting_for")) if one]
    known = names(session, set(told))
    return [
        {
            "event": row.event,
            "person": _with_principal(known.get(row.person_id), known, row),
            "role": row.role or None,
            "text": row.text,
            "data": row.data,
            "at": shown_moment(row.at),
        }
        for row in rows
    ]


def _with_principal(person: Json | None, known: Any, row: MatterEntry) -> Json | None:
    """Return who did it, with whom they acted for beside, as `代` is shown."""
    principal = known.get(row.data.get("acting_for", ""))
    return person | {"acting_for": principal} if person and principal else person


def unit_named(session: Session, unit_id: str) -> Json | None:
    """Return a unit as it is shown."""
    unit = session.get(Unit, unit_id) if unit_id else None
    return {"id": unit.id, "name": unit.name} if unit else None


def item_named(session: Session, submission_id: str) -> Json | None:
    """Return an item as a matter names it: its number; the title stays with the item."""
    row = session.get(Submission, submission_id) if submission_id else None
    if row is None:
        return None
    return {
        "id": row.id, "number": row.number, "status": row.status, "category": row.category,
        "submitted_at": shown_moment(row.submitted_at),
        "published_at": shown_moment(row.published_at),
    }  # fmt: skip


def page_of(
    session: Session,
    model: type[M],
    conditions: Iterable[Any],
    limit: int,
    after: str | None,
) -> tuple[list[M], str | None]:
    """Return a page of matters, newest first, and where the next one begins."""
    statement = select(model).order_by(col(model.id).desc()).limit(limit + 1)
    for condition in conditions:
        statement = statement.where(condition)
    if after:
        statement = statement.where(col(model.id) < after)
    rows = list(session.exec(statement))
    return rows[:limit], rows[limit - 1].id if len(rows) > limit else None
