"""The gate at the last door, and what the publisher writes down (R1.3-2, R1.3-6, R4.1-3)."""

from collections.abc import Collection, Iterator
from datetime import datetime

from sqlmodel import Session, col, func, select

from review.acts import notices
from review.acts.authorising import full_version
from review.acts.clocks import schedule, unfired
from review.acts.entitlement import remember_entitlement, was_entitled
from review.acts.item import Item
from review.acts.screening import fields_of, hold, last_look, text_of
from review.ids import new_id
from review.records import audit
from review.records.checkpoints import LEDGER_OLDER, UNREADABLE, Watch, require_current
from review.records.people import holders
from review.records.restores import was_restored_after
from review.records.tables import (
    Attempt,
    Authorisation,
    Channel,
    Publication,
    Submission,
    Unit,
    Version,
)
from review.rules.errors import RefusedError
from review.rules.gate import gate
from review.rules.positions import ChannelDeed
from review.rules.publications import FINAL, Claim, Deed, Receipt
from review.rules.screening import addresses_in, is_published
from review.rules.values import Kind, PublicationState, Role, Status, StepState

MOST_LINKS = 20  # that are looked at before a service goes live
FINDINGS = "findings"  # why the gate is closed: the last look at the text found something
ATTACHMENTS_WRONG = frozenset({"attachment_missing", "attachment_altered"})
RUNNING = (PublicationState.SUBMITTED, PublicationState.ACCEPTED)
TROUBLE = (PublicationState.FAILED, PublicationState.UNKNOWN)
FINISHED = (Status.REJECTED, Status.WITHDRAWN)
HOLDABLE = (Status.IN_REVIEW, Status.AUTHORISED, Status.PUBLISHING, Status.PARTLY_PUBLISHED)


def latest_publications(item: Item) -> dict[str, Publication]:
    """Return each channel's latest generation."""
    return {p.channel: p for p in item.publications()}


def _proofed_units(item: Item) -> set[str]:
    """Return the units whose third proof is passed and whose turn it was."""
    approved = {a.step_id for a in item.case.approvals()}
    return {
        s.unit_id
        for s in item.case.current_steps()
        if s.proof == 3 and s.id in approved and item.case.finished_before(s.position)
    }


def executable(item: Item, authorisation: Authorisation | None) -> list[str]:
    """Return the channels whose authorisation the third proof made executable (A-18)."""
    if authorisation is None or authorisation.digest != item.row.digest:
        return []
    units = _proofed_units(item)
    return [c for c, more in sorted(authorisation.channels.items()) if more["unit"] in units]


def deeds(item: Item, now: datetime) -> Iterator[ChannelDeed]:
    """Yield what is to be sent or taken back now."""
    latest = latest_publications(item)
    for channel, publication in latest.items():
        if publication.wanted == "retracted" and publication.state != PublicationState.RETRACTED:
            yield ChannelDeed(
                channel=channel, generation=publication.generation, wanted="retracted"
            )
    if item.row.status in (*FINISHED, Status.RETURNED, Status.HELD):
        return
    authorisation = item.authorisation()
    if authorisation is None or now > authorisation.valid_until:
        return
    if authorisation.publish_at is not None and now < authorisation.publish_at:
        return
    for channel in executable(item, authorisation):
        known = latest.get(channel)
        if known is None:
            yield ChannelDeed(channel=channel, generation=1)
        elif known.wanted == "retracted":
            continue
        elif known.state in RUNNING:
            yield ChannelDeed(channel=channel, generation=known.generation)
        elif known.state == PublicationState.LIVE and known.digest != authorisation.digest:
            yield ChannelDeed(channel=channel, generation=known.generation + 1)


def settle(item: Item, now: datetime) -> None:
    """Let the status follow the channels; an ended item may still have late milestones."""
    row = item.row
    if row.status in (*FINISHED, Status.RETURNED, Status.HELD):
        return
    latest = latest_publications(item)
    authorisation = item.authorisation()
    ready = executable(item, authorisation)
    steps_open = any(s.state in (StepState.OPEN, StepState.WAITING) for s in item.case.steps)
    states = [
        latest[c].state if c in latest and _settled(latest[c], authorisation) else ""
        for c in row.channels
    ]
    was = row.status
    if latest and all(states) and not steps_open:
        row.status = _final_status(states)
    elif ready:
        early = authorisation is not None and (
            authorisation.publish_at is not None and now < authorisation.publish_at
        )
        row.status = Status.AUTHORISED if early and not latest else Status.PUBLISHING
    elif row.status in (Status.AUTHORISED, Status.PUBLISHING) and not ready and not latest:
        row.status = Status.IN_REVIEW
    _watch(item, authorisation, bool(ready), now)
    if row.status in (Status.PUBLISHED, Status.PARTLY_PUBLISHED) and row.published_at is None:
        row.published_at = now
    if row.status != was:
        item.trace("status_changed", now, nudge=False, was=str(was), status=str(row.status))
        if row.status in (Status.PUBLISHED, Status.PARTLY_PUBLISHED, Status.RETRACTED):
            row.ended_at = now
            people = [
                (row.author_id, "author"),
                *notices.unit_people(item.session, row.unit_id, now),
            ]
            mark = f"{row.round}:{max((p.generation for p in latest.values()), default=1)}"
            notices.tell(item.session, item, people, str(row.status), mark, now)
            _watch_expiry(item)
    item.session.add(row)


def _settled(publication: Publication, authorisation: Authorisation | None) -> bool:
    if publication.wanted == "retracted":
        return publication.state == PublicationState.RETRACTED
    if publication.state == PublicationState.LIVE:
        return authorisation is None or publication.digest == authorisation.digest
    return publication.state in (PublicationState.FAILED, PublicationState.RETRACTED)


def _final_status(states: list[str]) -> Status:
    kinds = set(states)
    if kinds == {PublicationState.LIVE}:
        return Status.PUBLISHED
    if PublicationState.LIVE in kinds:
        return Status.PARTLY_PUBLISHED
    if PublicationState.RETRACTED in kinds:
        return Status.RETRACTED
    return Status.PUBLISHING  # failed everywhere: a person retries


def _watch(item: Item, authorisation: Authorisation | None, ready: bool, now: datetime) -> None:
    """Wake up when a set moment comes, and when the authorisation runs out (A-18)."""
    if authorisation is None:
        return
    known = {m.mark for m in unfired(item)}
    expires = f"expires:{authorisation.id}"
    if expires not in known:  # also when it ran out before anybody took a turn
        schedule(
            item, "", "authorisation_expired", expires, authorisation.valid_until,
            authorisation=authorisation.id,
        )  # fmt: skip
    goes_live = f"go_live:{authorisation.id}"
    set_for = authorisation.publish_at
    if ready and set_for and set_for > now and goes_live not in known:
        schedule(item, "", "go_live", goes_live, set_for)


def _watch_expiry(item: Item) -> None:
    """Content that expires: remind its unit, open a lead when it stays (R0-2)."""
    row = item.row
    if row.valid_until is None or any(m.kind.startswith("expiry") for m in unfired(item)):
        return
    clock = item.policy.content_expiry
    before = row.valid_until - clock.remind_before.wall
    after = row.valid_until + clock.lead_after.wall
    schedule(item, "", "expiry_remind", f"expiry:remind:{row.round}", before)
    schedule(item, "", "expiry_lead", f"expiry:lead:{row.round}", after)


def platform_of(session: Session, channel: str) -> str:
    """Return a channel's platform; empty when there is no such channel."""
    place = session.get(Channel, channel)
    return place.platform if place else ""


def under_way(session: Session, channel: str, prefix: str) -> list[tuple[str, int]]:
    """Return submission and generation of what a platform has taken under such a reference."""
    rows = session.exec(
        select(Publication.submission_id, Publication.generation)
        .where(Publication.channel == channel)
        .where(Publication.state == PublicationState.ACCEPTED)
        .where(col(Publication.reference).startswith(prefix, autoescape=True))
    )
    return [(submission, generation) for submission, generation in rows]


def links_to_check(session: Session, submission_id: str, channel: str) -> list[str]:
    """Return the addresses that a service's text leads to, each once (R1.2-1).

    None where nothing is to go out, so that a take-down waits for nobody's page.
    """
    row = session.get(Submission, submission_id)
    if row is None or row.kind != Kind.SERVICE:
        return []
    last = latest_publications(Item(session, row)).get(channel)
    if last is not None and (last.wanted == "retracted" or last.state in FINAL["publish"]):
        return []
    version = full_version(session, row.id, row.version)
    texts = text_of(fields_of(row, version)).fields
    shown = (words for name, words in texts.items() if is_published(name))
    found = (address for words in shown for address in addresses_in(words))
    return list(dict.fromkeys(found))[:MOST_LINKS]


def claim(
    session: Session,
    submission_id: str,
    channel: str,
    generation: int,
    now: datetime,
    watch: Watch | None = None,
    dead: Collection[str] = (),
) -> Claim:
    """Pass the gate and claim (submission, channel, generation) before anything is sent.

    Retracting needs no approval: it only takes away, and only what somebody entitled ordered.

    Args:
        watch: What the ledger must at least hold; an older one put back publishes nothing.
        dead: Addresses in the text that lead nowhere, as just seen (R1.2-1).

    Raises:
        RefusedError: gate_closed with `why`: nothing may be sent. The caller writes that down.
        NotFoundError: There is no such submission.
    """
    item = Item.locked(session, submission_id)
    row = item.row
    publication = next(
        (p for p in item.publications() if (p.channel, p.generation) == (channel, generation)),
        None,
    )
    place = session.get(Channel, channel)
    if place is None:
        raise RefusedError("gate_closed", why=["channel"])
    deed: Deed = "publish"
    may_send = True
    version: Version | None = None
    if publication is not None and publication.wanted == "retracted":
        deed = "retract"
    elif publication is None or publication.state not in FINAL[deed]:
        require_current(session, watch)
        authorisation = item.authorisation()
        why = _closed(item, place, publication, authorisation, generation, now)
        if not why:
            version = full_version(session, row.id, row.version)
            why = [FINDINGS] if last_look(session, item, version, now, dead) else []
        if publication is None:
            if why or authorisation is None:
                raise RefusedError("gate_closed", why=why)
            publication = _claimed(item, authorisation, channel, generation, now)
        may_send = not why
    attempts = session.exec(
        select(Attempt).where(Attempt.publication_id == publication.id).where(Attempt.deed == deed)
    ).all()
    if not may_send and not attempts:
        raise RefusedError("gate_closed", why=why)
    attempt_no = _attempt_number(session, publication)
    if publication.state not in FINAL[deed]:
        session.add(
            Attempt(
                id=new_id(),
                publication_id=publication.id,
                no=attempt_no,
                deed=deed,
                started_at=now,
            )
        )
    no = next((v.no for v in reversed(item.versions) if v.digest == publication.digest), None)
    if no is None:
        raise RefusedError("gate_closed", why=["digest"])
    if version is None or version.no != no:
        version = full_version(session, row.id, no)
    before = [p for p in item.publications() if p.channel == channel]
    live_before = [p for p in before if p.generation < generation and p.live_at]
    return Claim(
        publication_id=publication.id,
        submission_id=row.id,
        number=row.number,
        channel=channel,
        platform=place.platform,
        generation=generation,
        deed=deed,
        state=PublicationState(publication.state),
        digest=publication.digest,
        rendered_digest=publication.rendered_digest,
        title=version.title,
        body=version.body,
        attachments=tuple(version.attachments),
        source=version.source,
        unit_name=session.get_one(Unit, row.unit_id).name,
        attempt_no=attempt_no,
        # After a restore the ledger may not know a send: the channel is asked first.
        in_doubt=any(a.ended_at is None for a in attempts)
        or was_restored_after(session, row.submitted_at),
        may_send=may_send,
        reference=publication.reference,
        correction_of=live_before[-1].generation if live_before else 0,
        replaces=live_before[-1].reference if live_before else "",
        first_published_at=min((p.live_at for p in before if p.live_at), default=None),
    )


def _closed(
    item: Item,
    place: Channel,
    publication: Publication | None,
    authorisation: Authorisation | None,
    generation: int,
    now: datetime,
) -> list[str]:
    """Return why the gate is closed for this channel; empty when it is open."""
    remember_entitlement(item)
    why = list(
        gate(
            item.case,
            item.policy,
            status=item.row.status,
            channel=place.id,
            operator_unit=place.operator_unit_id,
            countersign_units=item.countersign_units,
            authorisation=authorisation,
            entitled=lambda decision: was_entitled(item.session, item, decision),
            now=now,
        )
    )
    why += _generation_problems(item, publication, place.id, generation)
    if place.id not in executable(item, authorisation):
        why.append("proof:3")
    if place.state != "active":  # closed since it was chosen (账号台账)
        why.append("channel_closed")
    return why


def _attempt_number(session: Session, publication: Publication) -> int:
    last = session.exec(
        select(func.max(Attempt.no)).where(Attempt.publication_id == publication.id)
    ).one()
    return (last or 0) + 1


def _generation_problems(
    item: Item, publication: Publication | None, channel: str, generation: int
) -> list[str]:
    """A new generation needs the last one failed or retracted, or a correction."""
    if publication is not None:
        return ["digest"] if publication.digest != item.row.digest else []
    before = [p for p in item.publications() if p.channel == channel]
    if generation != len(before) + 1:
        return ["generation"]
    last = before[-1] if before else None
    gone = (PublicationState.FAILED, PublicationState.RETRACTED)
    if last is None or last.state in gone:
        return []
    corrects = last.state == PublicationState.LIVE and last.digest != item.row.digest
    return [] if corrects else ["generation"]


def _claimed(
    item: Item, authorisation: Authorisation, channel: str, generation: int, now: datetime
) -> Publication:
    publication = Publication(
        id=new_id(),
        submission_id=item.row.id,
        channel=channel,
        generation=generation,
        authorisation_id=authorisation.id,
        digest=authorisation.digest,
        rendered_digest=authorisation.channels[channel]["rendered_digest"],
        state=PublicationState.SUBMITTED,
        at=now,
    )
    item.claimed(publication)
    item.session.flush()
    item.trace("publication_claimed", now, nudge=False, channel=channel, generation=generation)
    return publication


def refuse(
    session: Session,
    submission_id: str,
    channel: str,
    why: list[str],
    now: datetime,
    dead: Collection[str] = (),
) -> None:
    """Write down that the gate was closed, and alarm the center (R1.3-2)."""
    row = session.exec(
        select(Submission).where(Submission.id == submission_id).with_for_update()
    ).first()
    if row is None:
        audit.append(
            session, "bureau", "gate_closed", at=now,
            data={"submission": submission_id, "channel": channel, "why": ["submission"]},
        )  # fmt: skip
        return
    item = Item(session, row)
    if why == [FINDINGS] and row.status in HOLDABLE:
        _hold(item, channel, now, dead)
        return
    item.trace("gate_closed", now, nudge=False, channel=channel, why=why)
    chiefs = notices.by_role(session, Role.CENTER_CHIEF, now)
    kind = LEDGER_OLDER if set(why) & {LEDGER_OLDER, UNREADABLE} else "gate_closed"
    if why and set(why) <= ATTACHMENTS_WRONG:
        kind = "attachments_wrong"
    notices.tell(session, item, chiefs, kind, f"{channel}:{row.digest}", now)


def _hold(item: Item, channel: str, now: datetime, dead: Collection[str]) -> None:
    """Hold an item whose text must not go live by the lists of this moment, and say why."""
    session, row = item.session, item.row
    version = full_version(session, row.id, row.version)
    found = last_look(session, item, version, now, dead)
    if not found:  # waived meanwhile: try again
        item.trace("gate_opened", now, channel=channel)
        return
    hold(session, item, found, now)
    rules = sorted({one.rule for one in found})
    item.trace(
        "held_by_screening", now, channel=channel, rules=rules, findings=[one.id for one in found]
    )
    people = [
        (row.author_id, "author"),
        *notices.unit_people(session, row.unit_id, now),
        *notices.by_role(session, Role.PUBLISHER, now),
        *notices.by_role(session, Role.CENTER_CHIEF, now),  # who may release it
    ]
    mark = f"{row.digest}:{now.isoformat()}"
    notices.tell(session, item, people, "held_by_screening", mark, now, rules=rules)


def finish(
    session: Session, publication_id: str, attempt_no: int, receipt: Receipt, now: datetime
) -> None:
    """Write down what the channel said to one try."""
    publication = session.get_one(Publication, publication_id)
    item = Item.locked(session, publication.submission_id)
    attempt = session.exec(
        select(Attempt)
        .where(Attempt.publication_id == publication_id)
        .where(Attempt.no == attempt_no)
    ).one()
    attempt.outcome = receipt.state
    attempt.detail = f"{receipt.detail} {receipt.said}".strip()
    for earlier in session.exec(  # what an earlier try left open is answered with this one
        select(Attempt)
        .where(Attempt.publication_id == publication_id)
        .where(Attempt.deed == attempt.deed)
        .where(col(Attempt.ended_at).is_(None))
    ):
        earlier.ended_at = now
        session.add(earlier)
    if (attempt.deed, receipt.state) != ("retract", PublicationState.SUBMITTED):
        publication.state = receipt.state  # a take-down that must wait leaves things as they are
    publication.detail = receipt.detail
    kind = f"channel_{receipt.state}"
    if attempt.deed == "retract" and receipt.state in TROUBLE:
        kind = _still_there(publication, receipt)
    publication.url = receipt.url or publication.url
    publication.reference = receipt.reference or publication.reference
    if receipt.state == PublicationState.LIVE and publication.live_at is None:
        publication.live_at = now
    session.add(attempt)
    session.add(publication)
    session.flush()
    item.trace(
        f"publication_{receipt.state}", now, nudge=False, channel=publication.channel,
        generation=publication.generation, attempt=attempt_no, deed=attempt.deed,
    )  # fmt: skip
    if receipt.state in TROUBLE:
        operators = _operators(session, publication.channel, now)
        mark = f"{publication.channel}:{publication.generation}"
        if attempt.deed == "retract":  # each refusal is told: somebody wants it gone
            mark += f":{attempt_no}"
        notices.tell(session, item, operators, kind, mark, now, channel=publication.channel)


def _still_there(publication: Publication, receipt: Receipt) -> str:
    """End a take-down that failed: what was live still is, and a person decides what to do.

    It never counts as a failed publication, which could be sent anew and would stand there twice;
    nor is the platform asked again and again by itself. The person may take it down once more.

    Returns:
        The kind of notice that tells the channel's people (A-24).
    """
    publication.wanted = "live"
    if receipt.state == PublicationState.FAILED and publication.live_at is not None:
        publication.state = PublicationState.LIVE
        return "retraction_failed"
    publication.state = PublicationState.UNKNOWN
    return "channel_unknown"


def _operators(session: Session, channel: str, now: datetime) -> list[tuple[str, str]]:
    place = session.get_one(Channel, channel)
    own = holders(session, Role.CHANNEL_OPERATOR, place.operator_unit_id, now)
    return [(p, "operator") for p in own] or notices.by_role(session, Role.PUBLISHER, now)
