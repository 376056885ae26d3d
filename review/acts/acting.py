"""Every other act on an item: who may, when, and what it changes (requirements 1.8, A-7..A-28)."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlmodel import Session, select

from review.acts import notices
from review.acts.acting_terms import TERMS, role_for, waiving_role
from review.acts.authorising import authorise, full_version
from review.acts.clocks import (
    drop,
    give_back,
    schedule,
    set_by_person,
    start_step_clock,
    unfired,
)
from review.acts.deciding import close_open_steps, decide
from review.acts.editing import position_of, write_version
from review.acts.entitlement import ask, capacity
from review.acts.item import Item, calendar_in_force
from review.acts.publishing import latest_publications
from review.acts.replanning import follow_profile
from review.acts.screening import must_be_mended, rows_of, screen_again
from review.acts.second_factor import require_second_factor
from review.acts.visibility import require_visible
from review.ids import new_id
from review.records.bureau import APART
from review.records.people import Person, load_person
from review.records.tables import Delegation, Publication, Remark, Step, StepPerson, Unit
from review.requests import ActRequest, DecisionRequest, NewVersion
from review.rules.calendar import Calendar
from review.rules.errors import (
    MalformedError,
    NotAllowedError,
    NotFoundError,
    NotYourStepError,
    RefusedError,
)
from review.rules.plans import ADD_SIGNER, CERTIFY, RECONFIRM, PlannedStep
from review.rules.values import (
    Category,
    Level,
    Profile,
    PublicationState,
    Role,
    Status,
    StepState,
    Verdict,
)

RANK = {  # what is graver needs no leave to raise; lowering does
    Category.WORK_NEWS: 0,
    Category.IMPORTANT: 1,
    Category.PUBLIC_OPINION: 3,
    Category.EMERGENCY: 4,  # 一般/较大 is 2
}


@dataclass
class Doing:
    """One act under way."""

    session: Session
    person: Person
    item: Item
    request: ActRequest
    way_in: str
    now: datetime
    role: str

    def need(self, *fields: str) -> None:
        """Raise MalformedError naming the fields that the act lacks."""
        missing = [name for name in fields if getattr(self.request, name) in (None, "", ())]
        if missing:
            raise MalformedError(
                errors=[{"field": name, "message": "field_needed"} for name in missing]
            )

    def open_step(self) -> Step:
        """Return the open step the act names; the only open one when it names none."""
        open_steps = [s for s in self.item.steps if s.state == StepState.OPEN]
        if self.request.step:
            open_steps = [s for s in open_steps if s.key == self.request.step]
        if self.request.unit:
            open_steps = [s for s in open_steps if s.unit_id == self.request.unit]
        if not open_steps:
            raise RefusedError("step_not_open", step=self.request.step or "")
        return open_steps[0]

    def calendar(self) -> Calendar:
        return calendar_in_force(self.session)


def act(
    session: Session,
    person: Person,
    submission_id: str,
    request: ActRequest,
    *,
    way_in: str,
    now: datetime,
) -> dict[str, Any]:
    """Do one act; returns where the item then stands.

    Raises:
        NotFoundError, NotAllowedError, MalformedError, RefusedError: see `errors.py`.
    """
    item = Item.locked(session, submission_id)
    require_visible(session, person, item.row, now)
    terms = TERMS[request.act]
    role = role_for(person, item, request.act)
    if role is None and request.act not in ("transfer", "late_opinion", "delegate"):
        raise NotAllowedError(act=request.act)
    require_second_factor(person, item)
    doing = Doing(session, person, item, request, way_in, now, role or "")
    if terms.reason:
        doing.need("reason")
    if item.row.status not in terms.when:
        raise RefusedError("wrong_status", status=item.row.status, act=request.act)
    data = DO[request.act](doing) or {}
    nudge = request.act not in ("comment", "urge", "delegate", "external_opinion", "waive", "grade")
    item.trace(
        request.act, now, person, role=doing.role, way_in=way_in, nudge=nudge,
        reason=bool(request.reason), **data,
    )  # fmt: skip
    if request.reason and request.act not in ("comment", "grade"):
        _remark(doing, request.act, request.reason)
    session.flush()
    return position_of(item)


def _remark(doing: Doing, kind: str, text: str, **more: str) -> Remark:
    remark = Remark(
        id=new_id(),
        submission_id=doing.item.row.id,
        kind=kind,
        step_key=doing.request.step or "",
        person_id=doing.person.id,
        text=text,
        anchor=doing.request.anchor,
        at=doing.now,
        **more,
    )
    doing.session.add(remark)
    return remark


def _withdraw(doing: Doing) -> None:
    row = doing.item.row
    if doing.item.publications():
        raise RefusedError("already_publishing")
    row.status, row.ended_at = Status.WITHDRAWN, doing.now
    close_open_steps(doing.item, doing.now)
    doing.item.end_authorisation("withdrawn", doing.now)


def _urge(doing: Doing) -> dict[str, Any]:
    """催办: from person to person; at most one a minute reaches somebody."""
    step = doing.open_step()
    asked = [
        (p.person_id, p.why)
        for p in doing.session.exec(
            select(StepPerson).where(StepPerson.step_id == step.id, StepPerson.active)
        )
    ]
    told = notices.tell(
        doing.session, doing.item, asked, "urge", f"{doing.person.id}:{doing.now:%Y%m%d%H%M}",
        doing.now, step_id=step.id, step=step.key, by=doing.person.id,
    )  # fmt: skip
    return {"step": step.key, "told": told}


def _comment(doing: Doing) -> None:
    text = doing.request.reason or doing.request.opinion
    if not text.strip():
        raise MalformedError(errors=[{"field": "reason", "message": "field_needed"}])
    _remark(doing, "comment", text)


def _transfer(doing: Doing) -> dict[str, Any]:
    """转办: whoever may decide the step hands it to another holder of the same role."""
    doing.need("to")
    step = doing.open_step()
    able = capacity(doing.session, doing.person, doing.item, step, doing.now)
    if able is None:
        raise NotYourStepError(step=step.key, role=step.role)
    doing.role = able.role
    return _hand_over(doing, step)


def _reassign(doing: Doing) -> dict[str, Any]:
    """改派: a supervisor moves a step within its role."""
    doing.need("to")
    return _hand_over(doing, doing.open_step())


def _hand_over(doing: Doing, step: Step) -> dict[str, Any]:
    other = load_person(doing.session, str(doing.request.to), doing.now)
    if other is None:
        raise MalformedError(errors=[{"field": "to", "message": "unknown_person"}])
    if other.id in doing.item.case.excluded(step):
        raise RefusedError("separation_of_duties", step=step.key)
    was, step.only_for = step.only_for, ""
    able = capacity(doing.session, other, doing.item, step, doing.now)
    if able is None or able.why not in ("role", "backup"):
        step.only_for = was
        raise RefusedError("not_same_role", step=step.key, role=step.role)
    step.only_for = other.id
    doing.session.add(step)
    people = ask(doing.session, doing.item, step, doing.now)
    notices.tell(
        doing.session, doing.item, people, "asked", f"handed:{doing.now.isoformat()}", doing.now,
        step_id=step.id, step=step.key,
    )  # fmt: skip
    return {"step": step.key, "to": other.id}


def _delegate(doing: Doing) -> dict[str, Any]:
    """委托: dated and by category; ends by itself (A-28)."""
    doing.need("to", "until")
    request = doing.request
    other = load_person(doing.session, str(request.to), doing.now)
    if other is None:
        raise MalformedError(errors=[{"field": "to", "message": "unknown_person"}])
    if other.id == doing.person.id:
        raise RefusedError("separation_of_duties")
    for one in (doing.person, other):
        if {held.role for held in one.roles} & APART:
            raise RefusedError("roles_apart", name=one.username)
    if request.until is None or request.until <= doing.now:
        raise MalformedError(errors=[{"field": "until", "message": "moment_in_past"}])
    doing.session.add(
        Delegation(
            id=new_id(),
            from_id=doing.person.id,
            to_id=other.id,
            categories=[str(c) for c in request.categories],
            from_at=doing.now,
            until_at=request.until,
        )
    )
    return {"to": other.id, "until": request.until.isoformat()}


def _set_category(doing: Doing) -> dict[str, Any]:
    """Raise at any moment; lower with a reason, by the chief or above, never once T3 began."""
    doing.need("category")
    row, item = doing.item.row, doing.item
    category = Category(doing.request.category or row.category)
    level = str(doing.request.level or "") if category == Category.EMERGENCY else ""
    if category == Category.EMERGENCY and not level:
        level = Level.UNKNOWN
    old, new = _gravity(row.category, row.level), _gravity(category, level)
    if (category, level) == (row.category, row.level):
        raise RefusedError("nothing_changed")
    if new < old:
        lowering = [
            r
            for r in item.policy.lower_roles
            if any(h.role == r and h.unit_id in ("", row.unit_id) for h in doing.person.roles)
        ]
        if not lowering:
            raise NotAllowedError(act="set_category", needs="lower")
        doing.role = str(lowering[0])
        doing.need("reason")
        if any(s.tier == 3 and s.opened_at is not None for s in item.steps):  # in any round
            raise RefusedError("final_review_began")
    elif doing.role not in item.policy.raise_roles:
        raise NotAllowedError(act="set_category", needs="raise")
    was = row.category
    if category == Category.EMERGENCY and row.event_time is None:
        row.event_time = row.found_time or row.submitted_at
    if category == Category.PUBLIC_OPINION and row.found_time is None:
        row.found_time = row.event_time or row.submitted_at
    row.category, row.level = category, level
    follow_profile(doing.session, item, doing.now)
    screen_again(doing.session, item, full_version(doing.session, row.id, row.version), doing.now)
    if row.status == Status.AUTHORISED and item.authorisation() is None:
        row.status = Status.IN_REVIEW
    return {"was": was, "category": str(category), "level": level}


def _gravity(category: str, level: str) -> int:
    """Return how grave an item is; 重大舆情 goes to the bureau's chief, a lesser incident not."""
    if category == Category.EMERGENCY and level in (Level.MINOR, Level.LARGER):
        return RANK[Category.PUBLIC_OPINION] - 1
    return RANK[Category(category)]


def _set_deadline(doing: Doing) -> dict[str, Any]:
    """延期 never past the whole item's limit; a leader may set a tighter moment (R5.1-3)."""
    doing.need("due_at")
    step, due_at = doing.open_step(), doing.request.due_at
    assert due_at is not None
    if due_at <= doing.now:
        raise MalformedError(errors=[{"field": "due_at", "message": "moment_in_past"}])
    limit = doing.item.row.due_at
    if limit is not None and due_at > limit:
        raise RefusedError("past_item_limit", limit=limit.isoformat())
    calendar = doing.calendar()
    start_step_clock(doing.item, step, calendar, doing.now, due_at)
    set_by_person(step, due_at, doing.person.name, calendar.timezone)
    return {"step": step.key, "due_at": due_at.isoformat()}


def _hold(doing: Doing) -> None:
    """缓发: nothing is decided or sent until it is released."""
    row = doing.item.row
    if any(
        p.state in (PublicationState.SUBMITTED, PublicationState.ACCEPTED)
        for p in doing.item.publications()
    ):
        raise RefusedError("already_publishing")
    row.held_status, row.status, row.held_at = row.status, Status.HELD, doing.now


def _release(doing: Doing) -> dict[str, Any] | None:
    """Go on; what was still to come gets the time back that the hold took from it.

    What was held at the last door and still stands goes back to the second proof to be mended.
    """
    row = doing.item.row
    held_at = row.held_at or doing.now
    row.status, row.held_status, row.held_at = row.held_status, "", None
    give_back(doing.item, doing.calendar(), held_at, doing.now)
    if must_be_mended(doing.session, doing.item):
        proof = min(s.position for s in doing.item.case.current_steps() if s.proof == 2)
        doing.item.restart_from(proof, doing.now, "findings")
        row.status, row.ended_at = Status.IN_REVIEW, None
        return {"restarted": True}
    return None


def _waive(doing: Doing) -> dict[str, Any]:
    """豁免: by the role that the rule names, with a reason; never what stops a text (section 7)."""
    doing.need("finding")
    item, id_ = doing.item, doing.request.finding
    finding = next((f for f in rows_of(doing.session, item.row) if f.finding_id == id_), None)
    if finding is None:
        raise NotFoundError("finding_unknown", finding=id_)
    if finding.severity == "stop" or not finding.waiver:
        raise RefusedError("not_waivable", finding=id_, rule=finding.rule)
    role = waiving_role(doing.person, item, finding.waiver)
    if role is None:
        raise NotAllowedError(act="waive", needs=finding.waiver)
    if finding.waived_at is not None:
        raise RefusedError("nothing_changed", finding=id_)
    doing.role = role
    finding.waived_by_id, finding.waived_role = doing.person.id, role
    finding.waived_at, finding.waive_reason = doing.now, doing.request.reason
    doing.session.add(finding)
    return {"finding": id_, "rule": finding.rule}


def _add_signer(doing: Doing) -> dict[str, Any]:
    """加签: one more unit's head must agree before the flow goes on."""
    doing.need("unit")
    item, unit = doing.item, str(doing.request.unit)
    if doing.session.get(Unit, unit) is None:
        raise MalformedError(errors=[{"field": "unit", "message": "unknown_unit"}])
    open_steps = item.case.open_steps()
    if not open_steps:
        raise RefusedError("step_not_open")
    known = [s for s in item.case.current_steps() if (s.key, s.unit_id) == (ADD_SIGNER, unit)]
    if known:
        raise RefusedError("nothing_changed", unit=unit)
    clock = item.policy.countersign[Profile(item.row.profile)]
    beside = open_steps[0]
    # nothing is sent beside a signer who was not heard yet, so the third proof comes after
    position = beside.position - 1 if beside.proof == 3 else beside.position
    planned = PlannedStep(
        key=ADD_SIGNER, unit_id=unit, position=position, role=Role.UNIT_HEAD,
        limit=str(clock.limit), origin="add_signer",
    )  # fmt: skip
    item.add_step(planned, item.row.round)
    return {"unit": unit}


def _decide_on(doing: Doing, key: str) -> dict[str, Any]:
    step = next((s for s in doing.item.steps if s.key == key and s.state == StepState.OPEN), None)
    if step is None:
        raise RefusedError("step_not_open", step=key)
    answer = decide(
        doing.session,
        doing.person,
        doing.item.row.id,
        DecisionRequest(
            step=key,
            round=step.round,
            verdict=Verdict.APPROVE,
            digest=doing.request.base_digest or doing.item.row.digest,
            opinion=doing.request.opinion or doing.request.reason,
            findings_seen=doing.request.findings_seen,
        ),
        decision_id=new_id(),
        way_in=doing.way_in,
        now=doing.now,
    )
    return {"decision_id": answer["decision_id"], "step": key}


def _late_opinion(doing: Doing) -> dict[str, Any]:
    """补签: an opinion given after its step was skipped and flagged (A-1)."""
    doing.need("step", "opinion")
    skipped = [
        s for s in doing.item.steps if s.key == doing.request.step and s.state == StepState.SKIPPED
    ]
    if not skipped:
        raise RefusedError("step_not_skipped", step=doing.request.step)
    able = capacity(doing.session, doing.person, doing.item, skipped[-1], doing.now)
    if able is None:
        raise NotYourStepError(step=skipped[-1].key, role=skipped[-1].role)
    doing.role = able.role
    _remark(doing, "late_opinion", doing.request.opinion)
    for milestone in unfired(doing.item):
        if milestone.kind == "late_opinion" and milestone.shown.get("step") == skipped[-1].key:
            drop(doing.item, milestone)
    return {"step": skipped[-1].key}


def _grade(doing: Doing) -> dict[str, Any]:
    """The editor's grade (R5.1-1): feedback for the unit once it is out; the last one counts."""
    doing.need("grade")
    grade = str(doing.request.grade)
    _remark(doing, "grade", doing.request.reason).anchor = grade
    row = doing.item.row
    people = [
        (row.author_id, "author"),
        *notices.unit_people(doing.session, row.unit_id, doing.now),
    ]
    notices.tell(
        doing.session, doing.item, people, "graded", doing.now.isoformat(), doing.now, grade=grade
    )
    return {"grade": grade}


def _external_opinion(doing: Doing) -> dict[str, Any]:
    """Joint review with 宣传、网信、公安 where needed: recorded, never blocking (A-26)."""
    doing.need("organisation", "opinion")
    _remark(
        doing, "external_opinion", doing.request.opinion, organisation=doing.request.organisation
    )
    return {"organisation": doing.request.organisation}


def _renew_authorisation(doing: Doing) -> dict[str, Any]:
    """The final reviewer lets an authorisation run anew, for the same text only (A-18)."""
    item = doing.item
    final = next((s for s in item.steps if s.tier == 3 and s.state == StepState.DECIDED), None)
    authorisation = item.authorisation()
    if final is None or authorisation is None or authorisation.digest != item.row.digest:
        raise RefusedError("nothing_authorised")
    able = capacity(doing.session, doing.person, item, final, doing.now)
    if able is None:
        raise NotYourStepError(step=final.key, role=final.role)
    excluded = item.case.excluded(final)
    if doing.person.id in excluded or (able.acting_for or "") in excluded:
        raise RefusedError("separation_of_duties", step=final.key)
    decision = next(d for d in reversed(item.decisions) if d.step_id == final.id)
    renewed = authorise(doing.session, item, decision, doing.now)
    doing.role = able.role
    return {"valid_until": renewed.valid_until.isoformat()}


def _channel(doing: Doing, name: str, role: str) -> Publication:
    """Return a channel's latest publication; an operator touches its own unit's only."""
    publication = latest_publications(doing.item).get(name)
    if publication is None:
        raise MalformedError(errors=[{"field": "channel", "message": "not_published_there"}])
    if role == Role.CHANNEL_OPERATOR:
        unit = doing.item.operators().get(name)
        if not any(h.role == role and h.unit_id == unit for h in doing.person.roles):
            raise NotAllowedError(act=doing.request.act, channel=name)
    return publication


def _retract(doing: Doing) -> dict[str, Any]:
    """撤稿; by a deputy or the duty office at once, to be ratified within the day (A-24)."""
    wanted = doing.request.channels or tuple(latest_publications(doing.item))
    taken: list[str] = []
    for name in wanted:
        publication = _channel(doing, name, doing.role)
        gone = (PublicationState.FAILED, PublicationState.RETRACTED)
        if publication.state in gone or publication.wanted == "retracted":
            continue
        publication.wanted = "retracted"
        doing.session.add(publication)
        taken.append(name)
    if not taken:
        raise RefusedError("nothing_changed")
    schedule(
        doing.item, "", "takedown", f"takedown:{doing.now.isoformat()}",
        doing.calendar().after(doing.now, doing.item.policy.emergency_takedown, "wall"),
        channels=taken,
    )  # fmt: skip
    if doing.role in (Role.CENTER_DEPUTY, Role.DUTY_OFFICER):
        limit = doing.item.policy.retraction_ratify
        schedule(
            doing.item, "", "ratify", f"ratify:{doing.now.isoformat()}",
            doing.calendar().after(doing.now, limit, "wall"),
        )  # fmt: skip
    return {"channels": taken}


def _ratify_retraction(doing: Doing) -> None:
    """The original final reviewer confirms an emergency take-down (A-24)."""
    pending = [m for m in unfired(doing.item) if m.kind == "ratify"]
    if not pending:
        raise RefusedError("nothing_to_ratify")
    final = next((s for s in doing.item.case.current_steps() if s.tier == 3), None)
    assert final is None or isinstance(final, Step)
    if final is None or capacity(doing.session, doing.person, doing.item, final, doing.now) is None:
        raise NotYourStepError(step=final.key if final else "final_review", role=doing.role)
    for milestone in pending:
        drop(doing.item, milestone)


def _correct(doing: Doing) -> dict[str, Any]:
    """更正: a new version through second review and final review; the next generation replaces."""
    doing.need("base_digest")
    item, row = doing.item, doing.item.row
    if doing.request.base_digest != row.digest:
        raise RefusedError("stale_version", digest=row.digest, version=row.version)
    position = min(s.position for s in item.case.current_steps() if s.proof == 2)
    version = None
    if doing.request.title is not None or doing.request.body is not None:
        version = write_version(
            doing.session, item, doing.person, doing.role,
            NewVersion(
                base_digest=row.digest, title=doing.request.title, body=doing.request.body,
                change=doing.request.change,
            ),
            None, doing.now,
        )  # fmt: skip
    row.status, row.ended_at, row.due_at = Status.IN_REVIEW, None, None
    row.details = row.details | {"clock_from": doing.now.isoformat()}
    item.restart_from(position, doing.now, "correction")
    if version is not None:
        item.ask_unit_again()
    return {"base": doing.request.base_digest}


def _retry_channel(doing: Doing) -> dict[str, Any]:
    """Send again after a failure, as a new generation; the gate is asked again."""
    doing.need("channel")
    name = str(doing.request.channel)
    publication = _channel(doing, name, doing.role)
    if publication.state == PublicationState.UNKNOWN:
        raise RefusedError("publication_unknown", channel=name)
    if publication.state != PublicationState.FAILED:  # what was taken down stays down
        raise RefusedError("nothing_changed", state=publication.state)
    authorisation = doing.item.authorisation()
    if (
        authorisation is None
        or authorisation.digest != doing.item.row.digest
        or name not in authorisation.channels
        or authorisation.valid_until < doing.now
    ):
        raise RefusedError("nothing_authorised")
    doing.item.claimed(
        Publication(
            id=new_id(), submission_id=doing.item.row.id, channel=name,
            generation=publication.generation + 1, authorisation_id=authorisation.id,
            digest=authorisation.digest,
            rendered_digest=authorisation.channels[name]["rendered_digest"],
            state=PublicationState.SUBMITTED, at=doing.now,
        )
    )  # fmt: skip
    doing.item.row.status = Status.PUBLISHING
    return {"channel": name, "generation": publication.generation + 1}


def _resolve_unknown(doing: Doing) -> dict[str, Any]:
    """A person says what is true where the platform can't be asked (principle 5)."""
    doing.need("channel", "published")
    name = str(doing.request.channel)
    publication = _channel(doing, name, doing.role)
    if publication.state != PublicationState.UNKNOWN:
        raise RefusedError("nothing_changed", state=publication.state)
    live = bool(doing.request.published)
    # What stood there once and does no longer has been taken down, and stays down.
    gone = PublicationState.RETRACTED if publication.live_at else PublicationState.FAILED
    publication.state = PublicationState.LIVE if live else gone
    publication.detail = "resolved_by_person"
    if live and publication.live_at is None:
        publication.live_at = doing.now
    doing.session.add(publication)
    return {"channel": name, "published": live}


DO: dict[str, Callable[[Doing], dict[str, Any] | None]] = {
    "withdraw": _withdraw,
    "urge": _urge,
    "comment": _comment,
    "transfer": _transfer,
    "reassign": _reassign,
    "delegate": _delegate,
    "set_category": _set_category,
    "set_deadline": _set_deadline,
    "hold": _hold,
    "release": _release,
    "waive": _waive,
    "add_signer": _add_signer,
    "reconfirm": lambda doing: _decide_on(doing, RECONFIRM),
    "certify_changes": lambda doing: _decide_on(doing, CERTIFY),
    "late_opinion": _late_opinion,
    "external_opinion": _external_opinion,
    "grade": _grade,
    "renew_authorisation": _renew_authorisation,
    "retract": _retract,
    "ratify_retraction": _ratify_retraction,
    "correct": _correct,
    "retry_channel": _retry_channel,
    "resolve_unknown": _resolve_unknown,
}
