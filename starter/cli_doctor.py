"""`sanshen doctor`: recompute the invariants; find what ledger and engine disagree on.

Nothing is mended in the ledger: what is wrong there is for people. A workflow that is missing is
started again, for it can be told everything from the ledger (design, principle 1); one that runs is
told to ask again, and ends where the ledger doesn't know its item.
"""

from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from sqlmodel import Session, col, select
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from review.acts.item import calendar_in_force, policy_in_force
from review.blobs import Blobs
from review.records import audit
from review.records.checkpoints import (
    LATEST,
    LEDGER_OLDER,
    UNREADABLE,
    CheckpointError,
    Watch,
    is_older,
)
from review.records.matters import Incident, MatterOutbox, Order, Violation
from review.records.tables import (
    Attachment,
    AttachmentOn,
    Authorisation,
    Decision,
    Outbox,
    Publication,
    Step,
    StepPerson,
    Submission,
    Version,
)
from review.rules.digests import algorithm_of
from review.rules.errors import NotFoundError
from review.rules.matters import MatterKind, OrderState
from review.rules.positions import Nudge
from review.rules.submissions import text_digest, version_digest
from review.rules.values import PublicationState, Status, StepState, Verdict
from workflows.names import matter_workflow_id, submission_workflow_id
from workflows.nudges import known, nudge, nudge_matter

UNDER_WAY = (
    Status.IN_REVIEW,
    Status.RETURNED,
    Status.HELD,
    Status.AUTHORISED,
    Status.PUBLISHING,
)
NUDGED_WITHIN = timedelta(minutes=1)  # the relay looks after two seconds; a minute is no delay
PAGE = 500  # rows at once; a ledger may hold a million

Trouble = dict[str, str]


def trouble(what: str, submission_id: str = "", **more: object) -> Trouble:
    shown = {name: str(value) for name, value in more.items()}
    return {"what": what, "submission": submission_id} | shown


def in_ledger(session: Session, now: datetime) -> list[Trouble]:
    """Return every invariant that the ledger breaks."""
    return [
        *_rules_in_force(session),
        *_trace(session),
        *_versions(session),
        *_decisions(session),
        *_open_steps(session),
        *_publications(session),
        *_nudges(session, now),
    ]


def _rules_in_force(session: Session) -> Iterator[Trouble]:
    for find in (policy_in_force, calendar_in_force):
        try:
            find(session)
        except NotFoundError as error:
            yield trouble(error.code)


def _trace(session: Session) -> Iterator[Trouble]:
    found = audit.verify(session)
    if not found["ok"]:
        yield trouble("audit_broken", first_bad=found["first_bad"])


def against_checkpoint(session: Session, watch: Watch) -> list[Trouble]:
    """Return that the ledger is older than its last checkpoint, with what to do about it."""
    do = "audit accept-loss"
    try:
        expected = watch.expected()
    except CheckpointError as error:
        return [trouble(UNREADABLE, why=error.code, file=watch.folder / LATEST)]
    if expected is None or not is_older(session, expected):
        return []
    return [trouble(LEDGER_OLDER, checkpoint=expected.no, at=expected.at.isoformat(), do=do)]


def in_blobs(session: Session, blobs: Blobs) -> list[Trouble]:
    """Return every kept file that is missing or not what was kept, with the items that use it."""
    statement = (
        select(Attachment.sha256, AttachmentOn.submission_id)
        .outerjoin(AttachmentOn, col(AttachmentOn.attachment_id) == col(Attachment.id))
        .distinct()
        .order_by(col(Attachment.sha256), col(AttachmentOn.submission_id))
    )
    uses: dict[str, list[str]] = {}
    for digest, submission_id in session.exec(statement):
        uses.setdefault(digest, []).append(submission_id or "")
    return [
        trouble(f"attachment_{what}", submission_id, sha256=digest)
        for digest, what in blobs.problems(uses).items()
        for submission_id in uses[digest]
    ]


def _versions(session: Session) -> Iterator[Trouble]:
    """Every text has the digest it says; every item stands at one of its versions."""
    for version in session.exec(select(Version).execution_options(yield_per=PAGE)):
        algorithm = algorithm_of(version.digest)
        digest = version_digest(
            version.title,
            version.body,
            version.attachments,
            version.source,
            version.links,
            algorithm,
        )
        texts = text_digest(version.title, version.body, algorithm)
        if (digest, texts) != (version.digest, version.text_digest):
            yield trouble("text_changed", version.submission_id, version=version.no)
    statement = (
        select(Submission.id)
        .outerjoin(
            Version,
            (col(Version.submission_id) == col(Submission.id))
            & (col(Version.no) == col(Submission.version))
            & (col(Version.digest) == col(Submission.digest)),
        )
        .where(col(Version.id).is_(None))
    )
    for submission_id in session.exec(statement):
        yield trouble("version_missing", submission_id)


def _decisions(session: Session) -> Iterator[Trouble]:
    """No person approves at two tiers, nor their own text (R1.3-2, A-6)."""
    tiers: dict[tuple[str, str, str], set[int]] = {}
    statement = (
        select(Decision)
        .where(col(Decision.lapsed_at).is_(None))
        .where(col(Decision.verdict).in_([Verdict.APPROVE, Verdict.APPROVE_WITH_CHANGES]))
        .where(Decision.tier > 0)
    )
    for decision in session.exec(statement):
        for person in filter(None, (decision.person_id, decision.acting_for_id)):
            held = tiers.setdefault((decision.submission_id, decision.digest, person), set())
            held.add(decision.tier)
            if len(held) > 1:
                yield trouble("two_tiers", decision.submission_id, decision=decision.id)
    own = (
        select(Decision.submission_id, Decision.id)
        .join(Submission, col(Submission.id) == col(Decision.submission_id))
        .where(Decision.tier > 0)
        .where(col(Decision.person_id) == col(Submission.author_id))
        .where(col(Decision.verdict).in_([Verdict.APPROVE, Verdict.APPROVE_WITH_CHANGES]))
    )
    for submission_id, decision_id in session.exec(own):
        yield trouble("own_text", submission_id, decision=decision_id)


def _open_steps(session: Session) -> Iterator[Trouble]:
    """Somebody is asked on every open step, and it has a due moment."""
    asked = select(StepPerson.step_id).where(col(StepPerson.active).is_(True))
    statement = (
        select(Step)
        .where(Step.state == StepState.OPEN)
        .where(col(Step.id).not_in(asked) | col(Step.due_at).is_(None))
    )
    for step in session.exec(statement):
        what = "nobody_asked" if step.due_at else "no_due_moment"
        yield trouble(what, step.submission_id, step=step.key)


def _publications(session: Session) -> Iterator[Trouble]:
    """Whatever went out had an authorisation for exactly that text and channel (R1.3-6)."""
    statement = (
        select(Publication, Authorisation)
        .outerjoin(Authorisation, col(Authorisation.id) == col(Publication.authorisation_id))
        .where(
            col(Publication.state).in_(
                [PublicationState.SUBMITTED, PublicationState.ACCEPTED, PublicationState.LIVE]
            )
        )
    )
    for publication, authorisation in session.exec(statement):
        right = (
            authorisation is not None
            and authorisation.digest == publication.digest
            and publication.channel in authorisation.channels
        )
        if not right:
            yield trouble("unauthorised", publication.submission_id, channel=publication.channel)


def _nudges(session: Session, now: datetime) -> Iterator[Trouble]:
    statement = (
        select(Outbox.submission_id)
        .where(col(Outbox.done_at).is_(None))
        .where(Outbox.at < now - NUDGED_WITHIN)
        .distinct()
    )
    for submission_id in session.exec(statement):
        yield trouble("nudge_waits", submission_id)
    matters = (
        select(MatterOutbox.kind, MatterOutbox.matter_id)
        .where(col(MatterOutbox.done_at).is_(None))
        .where(MatterOutbox.at < now - NUDGED_WITHIN)
        .distinct()
    )
    for kind, matter_id in session.exec(matters):
        yield trouble("nudge_waits", **{kind: matter_id})


def under_way(session: Session) -> list[tuple[str, str, str]]:
    """Return id, category and unit of every item that a workflow should be carrying."""
    owed = (  # a channel that has not given its final word, or still shows what is to go
        select(Publication.submission_id)
        .where(
            col(Publication.state).in_([PublicationState.SUBMITTED, PublicationState.ACCEPTED])
            | (
                (col(Publication.wanted) == "retracted")
                & (col(Publication.state) != PublicationState.RETRACTED)
            )
        )
        .distinct()
    )
    statement = select(Submission.id, Submission.category, Submission.unit_id).where(
        col(Submission.status).in_(UNDER_WAY) | col(Submission.id).in_(owed)
    )
    return [(str(a), str(b), str(c)) for a, b, c in session.exec(statement)]


def known_items(session: Session, ids: list[str]) -> set[str]:
    """Return those of these ids that are items of this ledger."""
    found: set[str] = set()
    for at in range(0, len(ids), PAGE):
        some = col(Submission.id).in_(ids[at : at + PAGE])
        found |= set(session.exec(select(Submission.id).where(some)))
    return found


def minded(session: Session) -> list[tuple[str, str]]:
    """Return kind and id of every order, incident and case that a workflow should be minding."""
    proposed = col(Order.state) == OrderState.PROPOSED  # nothing is due before it is issued
    orders = select(Order.id).where(col(Order.ended_at).is_(None)).where(~proposed)
    incidents = select(Incident.id).where(col(Incident.ended_at).is_(None))
    cases = select(Violation.id).where(col(Violation.ended_at).is_(None))
    return [
        (str(kind), id_)
        for kind, statement in (
            (MatterKind.ORDER, orders),
            (MatterKind.INCIDENT, incidents),
            (MatterKind.VIOLATION, cases),
        )
        for id_ in session.exec(statement)
    ]


async def matters_in_engine(
    client: Client, matters: list[tuple[str, str]], *, repair: bool
) -> list[Trouble]:
    """Return the orders, incidents and cases that no workflow minds; with `repair`, start it.

    With `repair` those that run are nudged, too; see `in_engine`.

    Raises:
        RPCError, RuntimeError: The engine can't be reached.
    """
    found: list[Trouble] = []
    for kind, matter_id in matters:
        is_running = await _is_running(client, matter_workflow_id(kind, matter_id))
        more: dict[str, Any] = {kind: matter_id}
        if repair:
            more["repaired"] = await nudge_matter(client, MatterKind(kind), matter_id)
        if not is_running:
            found.append(trouble("workflow_missing", **more))
    return found


async def in_engine(
    client: Client, items: list[tuple[str, str, str]], *, repair: bool
) -> list[Trouble]:
    """Return the items that no workflow carries; with `repair`, start it.

    With `repair` those that run are nudged, too: an engine that was put back from an older copy
    has forgotten what it was told, and a nudge too many changes nothing.

    Raises:
        RPCError, RuntimeError: The engine can't be reached.
    """
    found: list[Trouble] = []
    for submission_id, category, unit in items:
        is_running = await _is_running(client, submission_workflow_id(submission_id))
        more: dict[str, Any] = {}
        if repair:
            more["repaired"] = await nudge(
                client, submission_id, reason="repair", about=known(category, unit)
            )
        if not is_running:
            found.append(trouble("workflow_missing", submission_id, **more))
    return found


async def carried(client: Client) -> list[str]:
    """Return the id of every item that a running workflow carries, as the engine lists them.

    Raises:
        RPCError, RuntimeError: The engine can't be reached.
    """
    prefix = submission_workflow_id("")
    query = "WorkflowType='SubmissionWorkflow' AND ExecutionStatus='Running'"
    return [
        one.id.removeprefix(prefix)
        async for one in client.list_workflows(query)
        if one.id.startswith(prefix)
    ]


async def unknown_to_ledger(client: Client, strays: list[str], *, repair: bool) -> list[Trouble]:
    """Return workflows of items that this ledger does not have; with `repair`, have them end.

    A ledger put back from an older copy does not know them. They could publish nothing: the
    ledger judges. Told to ask it again, they end by themselves; they are not terminated from
    here, where the wrong ledger may have been named.
    """
    found: list[Trouble] = []
    for submission_id in strays:
        more: dict[str, Any] = {}
        if repair:
            handle = client.get_workflow_handle(submission_workflow_id(submission_id))
            with suppress(RPCError):  # it ended meanwhile
                await handle.signal("decided", Nudge(submission_id=submission_id, reason="repair"))
            more["repaired"] = True
        found.append(trouble("workflow_stray", submission_id, **more))
    return found


async def _is_running(client: Client, workflow_id: str) -> bool:
    try:
        description = await client.get_workflow_handle(workflow_id).describe()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return False
        raise
    return description.status is WorkflowExecutionStatus.RUNNING
