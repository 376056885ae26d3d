"""Violation cases (违规情形, R5.3): lead → the unit's statement → finding by people → result.

The system opens leads and never convicts: silence makes a statement late, and nothing more.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import true
from sqlmodel import Session, and_, col, or_, select

from review.acts.item import Item, calendar_in_force, policy_in_force
from review.acts.matters import (
    Terms,
    by_roles,
    entries_of,
    item_named,
    known_submission,
    known_unit,
    leaders_of,
    locked,
    need,
    next_number,
    note,
    page_of,
    role_for,
    tell,
    unit_named,
)
from review.acts.notices import unit_people, with_delegates
from review.acts.repeats import add_once
from review.acts.showing import shown_moment
from review.ids import new_id
from review.matter_requests import NewViolation, ViolationAct
from review.records.matters import Order, Violation
from review.records.people import Person, delegations_to, load_person, names
from review.records.tables import Decision, Publication, Submission, Version
from review.rules.errors import NotAllowedError, NotFoundError, RefusedError
from review.rules.matters import (
    KINDS,
    Mark,
    MatterKind,
    ViolationResult,
    ViolationState,
    violation_marks,
)
from review.rules.values import Role

Json = dict[str, Any]
S = ViolationState
SEVERITY = {
    ViolationResult.CRITICISM: "minor",
    ViolationResult.HANDED_OVER: "serious",
    ViolationResult.NONE: "",
}
READERS = frozenset({
    Role.CENTER_CHIEF, Role.CENTER_DEPUTY, Role.OFFICE_REVIEWER, Role.OFFICE_DIRECTOR,
    Role.SUPERVISOR, Role.AUDITOR, Role.BUREAU_CHIEF, Role.PUBLICITY_LEADER,
})  # fmt: skip
OPENERS = READERS | {Role.CENTER_EDITOR, Role.SUPERVISING_LEADER}
CASES = frozenset({Role.CENTER_CHIEF, Role.OFFICE_DIRECTOR})  # the center opens the case
FINDERS = frozenset({Role.BUREAU_CHIEF})
UNIT_FINDERS = frozenset({Role.SUPERVISING_LEADER})
OPEN = frozenset({S.LEAD, S.ASKED, S.STATED})
TERMS: dict[str, Terms] = {
    "dismiss": Terms(frozenset({S.LEAD}), CASES, needs=("text",)),
    "take_up": Terms(frozenset({S.LEAD}), CASES),
    "state": Terms(frozenset({S.ASKED}), unit_roles=frozenset({Role.UNIT_HEAD}), needs=("text",)),
    "find": Terms(frozenset({S.ASKED, S.STATED}), FINDERS, UNIT_FINDERS, needs=("result", "text")),
    "note": Terms(OPEN, READERS, UNIT_FINDERS, needs=("text",)),
}


def open_lead(
    session: Session,
    kind: int,
    cause: str,
    now: datetime,
    *,
    unit_id: str = "",
    submission_id: str = "",
    order_id: str = "",
    channel: str = "",
    subject: str = "",
    person: Person | None = None,
    role: str = "",
    way_in: str = "",
    **shown: Any,
) -> str:
    """Open a lead once for one cause, and return its id; the caller's transaction carries it.

    For whoever watches: a lapsed order, the drift of a channel, an audit. It accuses nobody.

    Args:
        kind: 1 to 6, as the regulation counts (R5.3-1 … R5.3-6).
        cause: What makes it this lead and no other, such as `drift:{publication}`.
        unit_id: Whose it may be; empty when nobody knows yet.
        person: Who opens it; None is the system.
        shown: Codes and moments that tell what was seen; never an item's text.

    Raises:
        ValueError: There is no such kind.
    """
    if kind not in KINDS:
        raise ValueError("there are six kinds")
    earlier = session.exec(select(Violation.id).where(Violation.cause == cause)).first()
    if earlier is not None:
        return earlier
    row = Violation(
        id=new_id(), number=next_number(session, MatterKind.VIOLATION, now), cause=cause,
        kind=kind, unit_id=unit_id, submission_id=submission_id, order_id=order_id,
        channel=channel, subject=subject, shown=shown, state=S.LEAD,
        opened_by_id=person.id if person else "", opened_at=now,
    )  # fmt: skip
    if not add_once(session, row):  # another process saw the same at the same moment
        return session.exec(select(Violation.id).where(Violation.cause == cause)).one()
    row = locked(session, Violation, row.id)
    note(
        session, row, "opened", now, person, role=role, way_in=way_in, kind_of_violation=kind,
        unit=unit_id, submission=submission_id,
    )  # fmt: skip
    tell(
        session, row, by_roles(session, now, Role.CENTER_CHIEF, Role.SUPERVISOR),
        "lead_opened", "opened", now,
    )  # fmt: skip
    return row.id


def report(
    session: Session, person: Person, request: NewViolation, *, way_in: str, now: datetime
) -> Json:
    """Open a lead as a person.

    Raises:
        NotAllowedError: Not one of those who oversee.
        MalformedError: unknown_unit, unknown_submission.
    """
    role = next((one.role for one in person.roles if one.role in OPENERS), None)
    if role is None:
        raise NotAllowedError(act="open_lead")
    unit_id = known_unit(session, request.unit).id if request.unit else ""
    about = ""
    if request.submission:
        item = known_submission(session, request.submission)
        unit_id, about = unit_id or item.unit_id, item.id
    lead = open_lead(
        session, request.kind, f"person:{new_id()}", now, unit_id=unit_id,
        submission_id=about, subject=request.subject, person=person, role=role,
        way_in=way_in,
    )  # fmt: skip
    return answer(locked(session, Violation, lead))


def act(
    session: Session,
    person: Person,
    violation_id: str,
    request: ViolationAct,
    *,
    way_in: str,
    now: datetime,
) -> Json:
    """Do one act on a case.

    Raises:
        NotFoundError, NotAllowedError, MalformedError, RefusedError: see `errors.py`.
    """
    row = locked(session, Violation, violation_id)
    require_readable(session, person, row, now)
    terms = TERMS[request.act]
    role, actor = _standing(session, person, row, terms, now) or ("", None)
    if actor is None:
        raise NotAllowedError(act=request.act)
    if row.state not in terms.states:
        raise RefusedError("wrong_state", state=row.state, act=request.act)
    acting_for = actor.id if actor.id != person.id else ""
    need(request, *terms.needs)
    data: Json = {}
    match request.act:
        case "dismiss":
            _apart(session, {person.id}, row)
            row.state, row.found_by_id, row.ended_at = S.DISMISSED, person.id, now
        case "take_up":
            data = _take_up(session, person, row, request, now)
        case "state":
            if row.asked_by_id in (person.id, acting_for):
                raise RefusedError("separation_of_duties", act=request.act)
            row.state, row.stated_by_id, row.stated_at = S.STATED, person.id, now
        case "find":
            data = _find(session, person, acting_for, row, request, role, now)
    if acting_for:
        data |= {"acting_for": acting_for}
    note(
        session, row, request.act, now, person, role=role, way_in=way_in, said=request.text, **data
    )
    _tell(session, row, request.act, now)
    return answer(row)


def _take_up(
    session: Session, person: Person, row: Violation, request: ViolationAct, now: datetime
) -> Json:
    """The center opens the case: the unit is asked for its statement (A-22)."""
    if request.unit:
        row.unit_id = known_unit(session, request.unit).id
    if not row.unit_id:
        need(request, "unit")
    _, policy = policy_in_force(session)
    due = calendar_in_force(session).after(now, policy.management.statement, "work")
    row.state, row.asked_by_id, row.asked_at = S.ASKED, person.id, now
    row.statement_due_at = due
    return {"unit": row.unit_id, "due_at": due.isoformat()}


def _find(
    session: Session,
    person: Person,
    acting_for: str,
    row: Violation,
    request: ViolationAct,
    role: str,
    now: datetime,
) -> Json:
    """People find: minor by the leader, serious by the chief alone (A-22, R5.3-7)."""
    assert request.result is not None
    if row.state == S.ASKED and row.statement_late_at is None:
        raise RefusedError("statement_awaited", due_at=shown_moment(row.statement_due_at))
    if request.result == ViolationResult.HANDED_OVER and role != Role.BUREAU_CHIEF:
        raise NotAllowedError(act="find", needs=Role.BUREAU_CHIEF)
    both = {person.id, acting_for} - {""}
    if both & {row.asked_by_id, row.stated_by_id}:
        raise RefusedError("separation_of_duties", act="find")
    if role != Role.BUREAU_CHIEF:  # there is nobody above the chief
        _apart(session, both, row)
    row.state, row.result = S.FOUND, request.result
    row.severity = SEVERITY[request.result]
    row.found_by_id, row.ended_at = person.id, now
    return {"result": str(request.result), "severity": row.severity}


def _apart(session: Session, people: set[str], row: Violation) -> None:
    """Refuse whoever wrote, reviewed, proofread or authorised the item in question."""
    if not row.submission_id:
        return
    decided = session.exec(
        select(Decision.id)
        .where(Decision.submission_id == row.submission_id)
        .where(or_(col(Decision.person_id).in_(people), col(Decision.acting_for_id).in_(people)))
    ).first()
    wrote = session.exec(
        select(Version.id)
        .where(Version.submission_id == row.submission_id)
        .where(col(Version.author_id).in_(people))
    ).first()
    if decided or wrote:
        raise RefusedError("separation_of_duties", act="find")


def _tell(session: Session, row: Violation, act: str, now: datetime) -> None:
    due = shown_moment(row.statement_due_at) or ""
    match act:
        case "take_up":
            tell(
                session, row, _and_delegates(session, row, unit_people(session, row.unit_id, now),
                now), "statement_asked", "asked", now, due_at=due,
            )  # fmt: skip
        case "state":
            people = [(one, "leader") for one in leaders_of(session, row.unit_id, now)]
            people = _and_delegates(session, row, people, now)
            tell(
                session, row, people + by_roles(session, now, Role.CENTER_CHIEF), "stated",
                "stated", now,
            )  # fmt: skip
        case "find":
            told = unit_people(session, row.unit_id, now)
            tell(
                session, row, told + by_roles(session, now, Role.CENTER_CHIEF), "violation_found",
                "found", now,
            )  # fmt: skip


def _and_delegates(
    session: Session, row: Violation, people: Iterable[tuple[str, str]], now: datetime
) -> list[tuple[str, str]]:
    return with_delegates(session, people, _category(session, row), now)


# --- who acts for whom ----------------------------------------------------------------------------


def _category(session: Session, row: Violation) -> str:
    """Return the category of the item in question; empty: no item, which no category covers."""
    item = session.get(Submission, row.submission_id) if row.submission_id else None
    return item.category if item else ""


def _covers(session: Session, person: Person, now: datetime) -> list[tuple[Person, list[str]]]:
    """Return for whom somebody acts now in a unit's role, each with the categories covered (A-28).

    The bureau's chief finds in person: no delegation reaches the serious cases.
    """
    found = []
    for one in delegations_to(session, person.id, now):
        absent = load_person(session, one.from_id, now)
        held = tuple(
            role
            for role in (absent.roles if absent else ())
            if role.unit_id and role.role in (Role.UNIT_HEAD, Role.SUPERVISING_LEADER)
        )
        if absent is not None and held:
            found.append((absent.model_copy(update={"roles": held}), one.categories))
    return found


def covers(session: Session, person: Person, now: datetime) -> list[tuple[Person, Any]]:
    """Return for whom somebody acts now, each with the condition on the cases that it covers."""
    items = select(Submission.id)
    return [
        (
            absent,
            col(Violation.submission_id).in_(items.where(col(Submission.category).in_(categories)))
            if categories
            else true(),
        )
        for absent, categories in _covers(session, person, now)
    ]


def _for_whom(session: Session, person: Person, row: Violation, now: datetime) -> list[Person]:
    """Return as whom somebody may act on a case: first as themselves."""
    category = _category(session, row)
    return [
        person,
        *(
            absent
            for absent, categories in _covers(session, person, now)
            if not categories or category in categories
        ),
    ]


def _standing(
    session: Session, person: Person, row: Violation, terms: Terms, now: datetime
) -> tuple[str, Person] | None:
    """Return the role by which somebody may do an act, and whose it is; None when none does."""
    for one in _for_whom(session, person, row, now):
        role = role_for(one, terms, row.unit_id)
        if role is not None:
            return role, one
    return None


# --- what silence does ----------------------------------------------------------------------------


def marks(row: Violation) -> tuple[Mark, ...]:
    """Return the moments of a case that are still to come or due."""
    return violation_marks(row.state, row.asked_at, row.statement_due_at)


def fire(session: Session, row: Violation, mark: Mark, now: datetime) -> None:
    """Remind of a statement, or note that it is late: people may then find without it."""
    told = unit_people(session, row.unit_id, now)
    if mark.kind == "statement_late":
        row.statement_late_at = mark.at
        told = [
            *told,
            *by_roles(session, now, Role.CENTER_CHIEF),
            *((one, "leader") for one in leaders_of(session, row.unit_id, now)),
        ]
    tell(session, row, told, mark.kind, mark.mark, now, due_at=shown_moment(row.statement_due_at))
    note(session, row, mark.kind, now, nudge=False, at=mark.at.isoformat())


# --- reads ----------------------------------------------------------------------------------------


def require_readable(session: Session, person: Person, row: Violation, now: datetime) -> None:
    """Raise NotFoundError unless somebody may read a case; the unit from when it is asked on."""
    if {one.role for one in person.roles} & READERS or row.opened_by_id == person.id:
        return
    for one in _for_whom(session, person, row, now):
        own = [held.role for held in one.roles if held.unit_id and held.unit_id == row.unit_id]
        if Role.SUPERVISING_LEADER in own or (Role.UNIT_HEAD in own and row.asked_at is not None):
            return
    raise NotFoundError


def readable(session: Session, person: Person, now: datetime) -> Any:
    """Compose the condition on cases that somebody may read; None: every one."""
    if {one.role for one in person.roles} & READERS:
        return None
    conditions: list[Any] = [col(Violation.opened_by_id) == person.id]
    for one, covered in [(person, true()), *covers(session, person, now)]:
        led = {held.unit_id for held in one.roles if held.role == Role.SUPERVISING_LEADER} - {""}
        headed = {held.unit_id for held in one.roles if held.role == Role.UNIT_HEAD} - {""}
        theirs = or_(
            col(Violation.unit_id).in_(led),
            and_(col(Violation.unit_id).in_(headed), col(Violation.asked_at).is_not(None)),
        )
        conditions.append(and_(theirs, covered))
    return or_(*conditions)


def listed(
    session: Session,
    person: Person,
    filters: Json,
    limit: int,
    after: str | None,
    now: datetime,
) -> Json:
    """Return the cases that somebody may read, newest first.

    Args:
        filters: state, unit, kind; all optional.
    """
    conditions: list[Any] = []
    if (theirs := readable(session, person, now)) is not None:
        conditions.append(theirs)
    for name, column in (
        ("state", Violation.state), ("unit", Violation.unit_id), ("kind", Violation.kind),
    ):  # fmt: skip
        if filters.get(name):
            conditions.append(column == filters[name])
    rows, following = page_of(session, Violation, conditions, limit, after)
    return {"items": [line(session, row) for row in rows], "next": following}


def line(session: Session, row: Violation) -> Json:
    """Return one line of the list."""
    return {
        "id": row.id,
        "number": row.number,
        "kind": row.kind,
        "state": row.state,
        "unit": unit_named(session, row.unit_id),
        "by_system": not row.opened_by_id,
        "opened_at": shown_moment(row.opened_at),
        "statement_due_at": shown_moment(row.statement_due_at),
        "statement_late": row.statement_late_at is not None,
        "result": row.result or None,
        "severity": row.severity or None,
    }


def answer(row: Violation) -> Json:
    """Return what an act answers."""
    return {"id": row.id, "number": row.number, "state": row.state, "result": row.result or None}


def shown(session: Session, person: Person, violation_id: str, now: datetime) -> Json:
    """Return one case with its entries and what this person may do; NotFoundError for others."""
    row = session.get(Violation, violation_id)
    if row is None:
        raise NotFoundError
    require_readable(session, person, row, now)
    people = names(session, {row.opened_by_id, row.asked_by_id, row.stated_by_id, row.found_by_id})
    order = session.get(Order, row.order_id) if row.order_id else None
    return line(session, row) | {
        "cause": {"code": row.cause.partition(":")[0], **row.shown},
        "subject": row.subject,
        "item": item_named(session, row.submission_id),
        "order": {"id": order.id, "number": order.number} if order else None,
        "channel": row.channel or None,
        "opened_by": people.get(row.opened_by_id),
        "asked_by": people.get(row.asked_by_id),
        "stated_by": people.get(row.stated_by_id),
        "stated_at": shown_moment(row.stated_at),
        "found_by": people.get(row.found_by_id),
        "ended_at": shown_moment(row.ended_at),
        "entries": entries_of(session, row.id),
        "chain": chain_of(session, row.submission_id),
        "allowed_actions": [
            name
            for name, terms in TERMS.items()
            if row.state in terms.states and _standing(session, person, row, terms, now)
        ],
    }


def chain_of(session: Session, submission_id: str) -> list[Json]:
    """Return the chain of responsibility (责任链): who wrote, reviewed, proofread, authorised and
    published which version, with times (R1.3-3, R5.3-7).
    """
    if not submission_id:
        return []
    item = Item.seen(session, submission_id)
    links: list[tuple[datetime, Json, str, str]] = [
        (
            version.at,
            {"part": "wrote" if version.no == 1 else "edited", "role": version.author_role},
            version.author_id,
            version.digest,
        )
        for version in item.versions
    ]
    for one in item.decisions:
        part = (
            "authorised" if one.tier == 3
            else "reviewed" if one.tier
            else "proofread" if one.proof
            else "opinion"
        )  # fmt: skip
        links.append(
            (
                one.at,
                {
                    "part": part, "role": one.role, "step": one.key, "verdict": one.verdict,
                    "acting_for_id": one.acting_for_id, "proof": one.proof or None,
                    "counts": one.lapsed_at is None,
                },
                one.person_id,
                one.digest,
            )
        )  # fmt: skip
    proofs = {one.digest: one for one in item.decisions if one.proof == 3}
    publications = session.exec(
        select(Publication).where(Publication.submission_id == submission_id)
    )
    for out in publications:
        by = proofs.get(out.digest)
        links.append(
            (
                out.live_at or out.at,
                {
                    "part": "published", "role": by.role if by else "", "channel": out.channel,
                    "state": out.state,
                },
                by.person_id if by else "",
                out.digest,
            )
        )  # fmt: skip
    who = {link[2] for link in links} | {link[1].get("acting_for_id") for link in links}
    known = names(session, {one for one in who if one})
    numbers = {version.digest: version.no for version in item.versions}
    return [
        {
            **{k: v for k, v in link.items() if k != "acting_for_id"},
            "person": known.get(person),
            "acting_for": known.get(link.get("acting_for_id") or ""),
            "version": numbers.get(digest),
            "digest": digest,
            "at": shown_moment(at),
        }
        for at, link, person, digest in sorted(links, key=lambda link: link[0])
    ]
