"""A new text: the author's answer after a return, or an edit in an edit step (A-15, A-16)."""

from datetime import datetime
from typing import Any

from sqlmodel import Session

from review.acts import notices
from review.acts.attaching import described, use_on
from review.acts.authorising import full_version
from review.acts.entitlement import capacity
from review.acts.item import Item, planned_again
from review.acts.replanning import follow_profile
from review.acts.screening import (
    carry_waivers,
    fields_of,
    likeness_of,
    remember_first,
    remember_likeness,
    rows_of,
    screen_again,
    screen_change,
    shown_rows,
)
from review.acts.visibility import require_visible
from review.ids import new_id
from review.records.people import Person
from review.records.tables import Channel, Remark, Step, Submission, Version
from review.requests import NewVersion
from review.rules.cases import EDIT_ROLES
from review.rules.digests import algorithm_of
from review.rules.errors import MalformedError, NotAllowedError, RefusedError
from review.rules.plans import CERTIFY
from review.rules.submissions import figures_in, links_in, text_digest, version_digest
from review.rules.values import Category, Role, Status, Verdict


def new_version(
    session: Session,
    person: Person,
    submission_id: str,
    request: NewVersion,
    *,
    way_in: str,
    now: datetime,
) -> dict[str, Any]:
    """Store a new text, or take an unchanged one as the author's answer, and let the flow go on.

    Raises:
        NotAllowedError: Neither the author's unit nor somebody at an open edit step.
        RefusedError: stale_version, wrong_status.
        MalformedError: Not proofread (一校), unknown channel.
    """
    item = Item.locked(session, submission_id)
    require_visible(session, person, item.row, now)
    if item.row.status == Status.RETURNED:
        role = _answering_role(person, item)
        step = None
    else:
        step, role = _edit_step(session, person, item, now)
    if request.base_digest != item.row.digest:
        raise RefusedError(
            "stale_version",
            digest=item.row.digest,
            version=item.version.no,
            by=item.version.author_id,
            at=item.version.at.isoformat(),
        )
    version = write_version(session, item, person, role, request, step, now)
    if step is None:
        _resume(session, item, changed=version is not None, now=now)
    elif version is not None:
        _after_edit(session, item, step, version, now)
    if request.note.strip():  # an unchanged answer has no version to carry it
        session.add(
            Remark(
                id=new_id(), submission_id=item.row.id, kind="answer" if step is None else "edit",
                step_key=step.key if step else "", person_id=person.id, text=request.note, at=now,
            )
        )  # fmt: skip
    item.trace(
        "answered" if step is None else "edited",
        now,
        person,
        role=role,
        way_in=way_in,
        version=item.row.version,
        change=version.change if version else "unchanged",
        note=bool(request.note),
    )
    session.flush()
    return position_of(item)


def position_of(item: Item) -> dict[str, Any]:
    """Return where the item stands after an act (contract)."""
    row = item.row
    return {
        "id": row.id,
        "status": row.status,
        "version": row.version,
        "round": row.round,
        "digest": row.digest,
        "profile": row.profile,
        "delivered": False,
        "findings": shown_rows(rows_of(item.session, row)),
    }


def _answering_role(person: Person, item: Item) -> str:
    for role in (Role.INFO_OFFICER, Role.UNIT_HEAD):
        for held in person.roles:
            if held.role == role and held.unit_id == item.row.unit_id:
                return role
    raise NotAllowedError("not_allowed", needs=Role.INFO_OFFICER)


def _edit_step(session: Session, person: Person, item: Item, now: datetime) -> tuple[Step, str]:
    """Return the open step at which this person may change the text, and as what."""
    if item.row.status != Status.IN_REVIEW:
        raise RefusedError("wrong_status", status=item.row.status)
    for step in item.case.open_steps():
        assert isinstance(step, Step)
        certifying = step.key == CERTIFY
        editable = certifying or (
            step.role in EDIT_ROLES and step.origin == "plan" and (step.tier or step.proof)
        )
        if not editable:
            continue
        able = capacity(session, person, item, step, now)
        if able is not None:
            return step, able.role
        if certifying and any(h.role == Role.CENTER_EDITOR for h in person.roles):
            return step, Role.CENTER_EDITOR
    raise NotAllowedError("no_edit_step", open=[s.key for s in item.case.open_steps()])


def write_version(
    session: Session,
    item: Item,
    person: Person,
    role: str,
    request: NewVersion,
    step: Step | None,
    now: datetime,
) -> Version | None:
    """Add a version when anything that the digest covers changed; None when nothing did.

    Figures that changed make an edit substantive whatever its mark says (A-16).
    """
    row = item.row
    old = full_version(session, row.id, row.version)
    title = request.title if request.title is not None else old.title
    body = request.body if request.body is not None else old.body
    attachments = (
        described(session, person, request.attachments, _attached(item))
        if request.attachments is not None
        else old.attachments
    )
    source = request.source.model_dump() if request.source is not None else old.source
    if role == Role.INFO_OFFICER and not request.proofread:
        raise MalformedError(errors=[{"field": "proofread", "message": "proof_needed"}])
    before = fields_of(row, old)
    _other_fields(session, row, request)
    links = links_in(body)
    algorithm = algorithm_of(row.digest)  # an item keeps its first, so that digests compare
    digest = version_digest(title, body, attachments, source, links, algorithm)
    session.add(row)
    if digest == row.digest:
        screen_again(session, item, old, now)
        return None
    after = fields_of(row, old) | {
        "title": title, "body": body, "attachments": attachments, "source": source
    }  # fmt: skip
    found = screen_change(session, item, after, now)  # before a row is written (R1.3-4)
    figures = figures_in(old.title + "\n" + old.body) != figures_in(title + "\n" + body)
    beyond_text = attachments != old.attachments or source != old.source or links != old.links
    substance = request.change == "substance" or figures or beyond_text or role == Role.INFO_OFFICER
    if step is not None and step.key == CERTIFY and figures:
        grave = row.category in (Category.EMERGENCY, Category.PUBLIC_OPINION)
        if grave:
            raise RefusedError("figures_changed", step=step.key)
    likeness = likeness_of(title, body)
    standing = rows_of(session, row)
    version = Version(
        id=new_id(),
        submission_id=row.id,
        no=row.version + 1,
        title=title,
        body=body,
        attachments=attachments,
        source=source,
        links=links,
        digest=digest,
        text_digest=text_digest(title, body, algorithm),
        base_no=row.version,
        change="substance" if substance else "wording",
        figures_changed=figures,
        author_id=person.id,
        author_role=role,
        proofread=request.proofread,
        note=request.note,
        at=now,
        **likeness,
    )
    session.add(version)
    use_on(session, row.id, attachments)
    item.versions.append(version)
    row.version, row.digest, row.title, row.source_type = (
        version.no,
        digest,
        title,
        source.get("type", row.source_type),
    )
    fresh = remember_first(session, row, found, "changed", now)
    carry_waivers(standing, fresh, before, after)
    remember_likeness(session, row, likeness["sketch"])
    session.flush()
    return version


def _attached(item: Item) -> set[str]:
    """Return the ids of every file that any version of the item has used."""
    return {one["id"] for version in item.versions for one in version.attachments}


def _other_fields(session: Session, row: Submission, request: NewVersion) -> None:
    """Fields beside the digest: where and when it goes, and its authority reference."""
    if request.channels is not None:
        wanted = list(dict.fromkeys(request.channels))
        for channel in wanted:
            if session.get(Channel, channel) is None:
                raise MalformedError(
                    errors=[{"field": "channels", "message": "unknown_channel", "value": channel}]
                )
        row.channels = wanted
    for name in ("authority_reference", "audience", "how_to"):
        given = getattr(request, name)
        if given is not None:
            row.details = row.details | {name: given}
    if request.publish_at is not None:
        row.publish_at = request.publish_at
    if request.valid_until is not None:
        row.valid_until = request.valid_until


def _resume(session: Session, item: Item, *, changed: bool, now: datetime) -> None:
    """Go on after the author's answer: unchanged where it was returned, else from the unit."""
    item.row.status = Status.IN_REVIEW
    follow_profile(session, item, now)
    position = 0
    if not changed:
        returned = next((d for d in reversed(item.decisions) if d.verdict == Verdict.RETURN), None)
        step = next((s for s in item.steps if returned and s.id == returned.step_id), None)
        position = step.position if step else 0
    item.restart_from(position, now, "answered")


def _after_edit(session: Session, item: Item, step: Step, version: Version, now: datetime) -> None:
    """Let lapse what the new text has lost, and ask the unit again where it must answer."""
    if step.key == CERTIFY:
        return
    follow_profile(session, item, now)
    lost = item.case.first_uncovered(step.position, version.digest)
    if lost is not None:
        item.restart_from(lost, now, "edited")
    _ask_signers_again(item, now)
    if version.author_role == Role.UNIT_HEAD:
        return
    item.ask_unit_again()
    people = notices.unit_people(session, item.row.unit_id, now)
    notices.tell(session, item, people, "edited", f"v{version.no}", now, change=version.change)


def _ask_signers_again(item: Item, now: datetime) -> None:
    """A signer who was added agreed to another text: ask once more (A-15)."""
    approvals = {
        a.step_id: a for a in item.case.approvals() if not item.case.covers(a, item.row.digest)
    }
    lost = [s for s in item.steps if s.origin == "add_signer" and s.id in approvals]
    if lost:
        item.row.round += 1
    for step in lost:
        item.lapse(step, now)
        item.add_step(planned_again(step), item.row.round)
