"""One submission as an act sees it: its rows, locked, and how an act leaves its trace."""

from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, or_
from sqlalchemy.orm import defer
from sqlmodel import Session, col, select

from review.acts.repeats import add_once
from review.correlation import current as current_request
from review.ids import new_id
from review.records import audit
from review.records.engine import add_row
from review.records.people import Person
from review.records.tables import (
    Authorisation,
    CalendarRow,
    Channel,
    Counter,
    Decision,
    Grant,
    Outbox,
    Pack,
    PersonRow,
    Publication,
    Step,
    Submission,
    Version,
    table_of,
)
from review.rules.calendar import Calendar
from review.rules.cases import Case
from review.rules.errors import NotFoundError
from review.rules.plans import CERTIFY, RECONFIRM, PlannedStep, plan, reconfirm_step
from review.rules.policy import Policy
from review.rules.values import Profile, StepState

LONG = (Version.body, Version.source, Version.sketch, Version.figures)  # acts read what they need

# Built once: composing a statement costs as much as SQLite needs to run it.
_LOCKED = select(Submission).where(Submission.id == bindparam("id")).with_for_update()
_STEPS = select(Step).where(Step.submission_id == bindparam("id")).order_by(col(Step.position))
_DECISIONS = (
    select(Decision)
    .where(
        or_(col(Decision.submission_id) == bindparam("id"), col(Decision.id) == bindparam("key"))
    )
    .order_by(col(Decision.at))
)
_VERSIONS = (
    select(Version)
    .where(Version.submission_id == bindparam("id"))
    .order_by(col(Version.no))
    .options(*(defer(column) for column in LONG))  # type: ignore[arg-type]
)
_AUTHORISATION = (
    select(Authorisation)
    .where(Authorisation.submission_id == bindparam("id"))
    .where(col(Authorisation.ended_at).is_(None))
    .order_by(col(Authorisation.at).desc())
)
_PUBLICATIONS = (
    select(Publication)
    .where(Publication.submission_id == bindparam("id"))
    .order_by(col(Publication.channel), col(Publication.generation))
)
_PACK = select(Pack.digest).order_by(col(Pack.adopted_at).desc()).limit(1)
_CALENDAR = select(CalendarRow.digest).order_by(col(CalendarRow.imported_at).desc()).limit(1)

_policies: dict[str, Policy] = {}
_calendars: dict[str, Calendar] = {}


def policy_of(session: Session, digest: str) -> Policy:
    """Return a pinned policy pack; packs never change, so each is read once a process."""
    if digest not in _policies:
        row = session.get(Pack, digest)
        if row is None:
            raise NotFoundError("policy_unknown", digest=digest)
        _policies[digest] = Policy.model_validate_json(row.body)
    return _policies[digest]


def policy_in_force(session: Session) -> tuple[str, Policy]:
    """Return the digest and the pack that new submissions are pinned to (R0-4)."""
    digest = session.exec(_PACK).first()
    if digest is None:
        raise NotFoundError("policy_missing")
    return digest, policy_of(session, digest)


def calendar_in_force(session: Session) -> Calendar:
    """Return the working calendar imported last (A-30)."""
    return calendar_known(session, session.exec(_CALENDAR).first())


def latest_calendar() -> Any:
    """Compose the digest of the calendar in force, for a statement that reads more beside it."""
    return _CALENDAR.scalar_subquery()


def calendar_known(session: Session, digest: str | None) -> Calendar:
    """Return an imported calendar; none ever changes, so each is read once a process."""
    if digest is None:
        raise NotFoundError("calendar_missing")
    if digest not in _calendars:
        row = session.get_one(CalendarRow, digest)
        _calendars[digest] = Calendar.model_validate_json(row.body)
    return _calendars[digest]


class Item:
    """A submission's rows in one transaction, and the trace an act leaves."""

    def __init__(self, session: Session, row: Submission, key: str = "") -> None:
        """Read an item's rows.

        Args:
            key: A decision's; `elsewhere` is then the one that took it for another item.
        """
        self.session = session
        self.row = row
        self.policy = policy_of(session, row.policy_digest)
        mine = {"id": row.id}
        self.steps = list(session.exec(_STEPS, params=mine))
        taken = list(session.exec(_DECISIONS, params=mine | {"key": key}))
        self.decisions = [one for one in taken if one.submission_id == row.id]
        self.elsewhere = next((one for one in taken if one.submission_id != row.id), None)
        self.versions = list(session.exec(_VERSIONS, params=mine))
        self.roster: list[Grant | PersonRow] = []
        # none was ever issued before a final review
        final = any(one.tier == 3 or one.key == CERTIFY for one in self.decisions)
        self._authorisations: list[Authorisation] | None = None if final else []
        self._publications: list[Publication] | None = None

    @classmethod
    def locked(cls, session: Session, submission_id: str, key: str = "") -> "Item":
        """Return the item with its row locked until the transaction ends; `key` as above.

        Raises:
            NotFoundError: There is no such submission.
        """
        row = session.exec(_LOCKED, params={"id": submission_id}).first()
        if row is None:
            raise NotFoundError
        return cls(session, row, key)

    @classmethod
    def seen(cls, session: Session, submission_id: str) -> "Item":
        """Return the item for reading."""
        row = session.get(Submission, submission_id)
        if row is None:
            raise NotFoundError
        return cls(session, row)

    @property
    def case(self) -> Case:
        """The item as the rules look at it."""
        return Case(
            profile=self.row.profile,
            steps=self.steps,
            decisions=self.decisions,
            versions=self.versions,
            author_id=self.row.author_id,
            digest=self.row.digest,
        )

    @property
    def version(self) -> Version:
        """The current version."""
        return self.versions[-1]

    @property
    def countersign_units(self) -> list[str]:
        return list(self.row.details.get("countersign_units", []))

    def operators(self) -> dict[str, str]:
        """Return the operating unit of each chosen channel."""
        rows = self.session.exec(select(Channel).where(col(Channel.id).in_(self.row.channels)))
        return {channel.id: channel.operator_unit_id for channel in rows}

    def planned(self, profile: str | None = None) -> tuple[PlannedStep, ...]:
        """Return the plan that the pinned policy asks for."""
        return plan(
            Profile(profile or self.row.profile),
            self.operators(),
            self.countersign_units,
            self.policy,
        )

    def authorisation(self) -> Authorisation | None:
        """Return the publish authorisation in force."""
        if self._authorisations is None:
            found = self.session.exec(_AUTHORISATION, params={"id": self.row.id})
            self._authorisations = list(found)
        return next((a for a in self._authorisations if a.ended_at is None), None)

    def issued(self, authorisation: Authorisation) -> None:
        """Add an authorisation: from now on the one in force."""
        self.authorisation()
        assert self._authorisations is not None
        self._authorisations.insert(0, authorisation)
        self.session.add(authorisation)

    def publications(self) -> list[Publication]:
        """Return every claim, the oldest generation of a channel first."""
        if self._publications is None:
            self._publications = list(self.session.exec(_PUBLICATIONS, params={"id": self.row.id}))
        return self._publications

    def claimed(self, publication: Publication) -> None:
        """Add a claim."""
        self.publications().append(publication)
        self.publications().sort(key=lambda p: (p.channel, p.generation))
        self.session.add(publication)

    def is_going_out(self) -> bool:
        """Tell whether something was sent of what is authorised, be it before a renewal (A-18)."""
        authorisation = self.authorisation()
        return authorisation is not None and any(
            p.digest == authorisation.digest for p in self.publications()
        )

    def add_step(self, planned: PlannedStep, round_: int) -> Step:
        """Add a waiting step."""
        step = Step(
            id=new_id(),
            submission_id=self.row.id,
            round=round_,
            state=StepState.WAITING,
            **planned.model_dump(),
        )
        self.session.add(step)
        self.steps.append(step)
        self.steps.sort(key=lambda s: s.position)
        return step

    def lapse(self, step: Step, now: datetime) -> None:
        """Take a step and its decisions out of what counts."""
        step.state = StepState.LAPSED
        self.session.add(step)
        for decision in self.decisions:
            if decision.step_id == step.id and decision.lapsed_at is None:
                decision.lapsed_at = now
                self.session.add(decision)

    def end_authorisation(self, why: str, now: datetime) -> None:
        """Void the authorisation, if there is one."""
        authorisation = self.authorisation()
        if authorisation is not None:
            authorisation.ended_at, authorisation.ended_why = now, why
            self.session.add(authorisation)

    def restart_from(self, position: int, now: datetime, why: str) -> None:
        """Begin a new round at a position: what stood there lapses and is asked anew (A-15)."""
        self.row.round += 1
        planned = {(p.key, p.unit_id): p for p in self.planned()}
        again: dict[tuple[str, str], PlannedStep] = {}
        waiting: set[tuple[str, str]] = set()
        signers: list[PlannedStep] = []
        for step in self.steps:
            if step.position < position:
                continue
            slot = (step.key, step.unit_id)
            if step.state == StepState.WAITING:
                step.round = self.row.round
                waiting.add(slot)
            elif step.state != StepState.LAPSED:
                self.lapse(step, now)
                if step.origin == "add_signer":
                    signers.append(planned_again(step))
            if step.origin in ("plan", "countersign") and slot in planned:
                again[slot] = planned[slot]
        for slot, step_again in again.items():
            if slot not in waiting and step_again.position >= position:
                self.add_step(step_again, self.row.round)
        for signer in signers:
            self.add_step(signer, self.row.round)
        self.ask_unit_again()
        self.end_authorisation(why, now)
        self.session.add(self.row)

    def ask_unit_again(self) -> None:
        """Keep one reconfirmation waiting while the unit's approval lacks this text (A-16)."""
        waiting = [
            s
            for s in self.steps
            if s.key == RECONFIRM and s.state in (StepState.WAITING, StepState.OPEN)
        ]
        if not self.case.needs_reconfirmation(self.row.digest):
            for extra in waiting:
                extra.state = StepState.LAPSED
                self.session.add(extra)
        elif not waiting:
            taken = {s.round for s in self.steps if s.key == RECONFIRM}
            if self.row.round in taken:
                self.row.round += 1
            after = min(p.position for p in self.planned() if p.proof == 2)
            self.add_step(reconfirm_step(after, self.row.profile, self.policy), self.row.round)

    def trace(
        self,
        event: str,
        now: datetime,
        person: Person | None = None,
        *,
        acting_for: str | None = None,
        role: str = "",
        way_in: str = "",
        nudge: bool = True,
        **data: Any,
    ) -> None:
        """Leave an audit entry and, unless told not to, the nudge that the engine is owed."""
        audit.append(
            self.session,
            self.row,
            event,
            at=now,
            person_id=person.id if person else "",
            acting_for_id=acting_for or "",
            role=role,
            way_in=way_in,
            digest=self.row.digest,
            data=data,
        )
        if nudge:
            add_row(
                self.session,
                table_of(Outbox),
                {
                    "id": new_id(), "submission_id": self.row.id, "reason": event, "at": now,
                    "done_at": None, "attempts": 0, "next_try_at": now,
                    "request_id": current_request(),
                },
            )  # fmt: skip
        self.session.add(self.row)


def planned_again(step: Step) -> PlannedStep:
    """Return a step as it was planned, to ask it once more."""
    return PlannedStep.model_validate(
        {name: getattr(step, name) for name in PlannedStep.model_fields}
    )


def next_number(session: Session, year: int) -> str:
    """Return the next number of a year, `2026-000123`."""
    locked = select(Counter).where(Counter.year == year).with_for_update()
    counter = session.exec(locked).first()
    if counter is None:
        add_once(session, Counter(year=year, last=0))
        counter = session.exec(locked).one()
    counter.last += 1
    session.add(counter)
    session.flush()
    return f"{year}-{counter.last:06d}"


def category_and_unit(session: Session, submission_id: str) -> tuple[str, str]:
    """Return what a submission's workflow is found by in the engine's own lists."""
    row = session.get_one(Submission, submission_id)
    return row.category, row.unit_id
