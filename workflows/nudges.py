"""Nudge a submission's workflow; start it when it isn't there (after a loss of the engine, too)."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from temporalio.client import Client
from temporalio.common import (
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.service import RPCError, RPCStatusCode

from review.rules.matters import MatterKind, MatterRef
from review.rules.positions import Nudge, SubmissionRef
from workflows.incident import IncidentWorkflow
from workflows.names import TASK_QUEUE, matter_workflow_id, submission_workflow_id
from workflows.publication import publication_workflow_id
from workflows.submission import SubmissionWorkflow
from workflows.supervision import SupervisionWorkflow
from workflows.violation import ViolationWorkflow

CATEGORY = SearchAttributeKey.for_keyword("SanshenCategory")
UNIT = SearchAttributeKey.for_keyword("SanshenUnit")
STATUS = SearchAttributeKey.for_keyword("SanshenStatus")

# Longer than a busy engine needs, shorter than a person waits.
PATIENCE = timedelta(seconds=2)


def known(category: str, unit: str) -> Callable[[], Awaitable[tuple[str, str]]]:
    """Return what `about` asks for where it is known already."""

    async def about() -> tuple[str, str]:
        return category, unit

    return about


async def nudge(
    client: Client,
    submission: str,
    *,
    reason: str,
    about: Callable[[], Awaitable[tuple[str, str]]],
    first: bool = False,
    task_queue: str = TASK_QUEUE,
) -> bool:
    """Tell a workflow that its ledger changed; True when the engine has taken it durably.

    A running workflow is signalled. Where there is none (it ended, or the engine was lost), one is
    started with the signal.

    Args:
        about: Gives category and unit, asked for only when a workflow has to be started.
        first: The submission is new: start without a signal, which saves an event.
    """
    message = Nudge(submission_id=submission, reason=reason)
    try:
        if not first and await _signalled(client, submission, message):
            return True
        category, unit = await about()
        await client.start_workflow(
            SubmissionWorkflow.run,
            SubmissionRef(submission_id=submission),
            id=submission_workflow_id(submission),
            task_queue=task_queue,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            search_attributes=TypedSearchAttributes(
                [
                    SearchAttributePair(CATEGORY, category),
                    SearchAttributePair(UNIT, unit),
                    SearchAttributePair(STATUS, "in_review"),
                ]
            ),
            rpc_timeout=PATIENCE,
            start_signal=None if first else "decided",
            start_signal_args=() if first else (message,),
        )
    except (RPCError, RuntimeError):  # a client that never connected raises RuntimeError
        return False
    return True


MATTERS: dict[MatterKind, Any] = {
    MatterKind.ORDER: SupervisionWorkflow,
    MatterKind.INCIDENT: IncidentWorkflow,
    MatterKind.VIOLATION: ViolationWorkflow,
}


async def nudge_matter(
    client: Client, kind: MatterKind, matter_id: str, *, task_queue: str = TASK_QUEUE
) -> bool:
    """Tell a matter's workflow that its ledger changed; as `nudge`, and durable like it."""
    try:
        await client.start_workflow(
            MATTERS[kind].run,
            MatterRef(kind=kind, matter_id=matter_id),
            id=matter_workflow_id(kind, matter_id),
            task_queue=task_queue,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            rpc_timeout=PATIENCE,
            start_signal="changed",
        )
    except (RPCError, RuntimeError):  # a client that never connected raises RuntimeError
        return False
    return True


async def nudge_publication(
    client: Client, submission_id: str, channel: str, generation: int
) -> bool:
    """Have a publication's workflow ask its platform now; not durable, for it asks anyway."""
    handle = client.get_workflow_handle(publication_workflow_id(submission_id, channel, generation))
    try:
        await handle.signal("changed", rpc_timeout=PATIENCE)
    except (RPCError, RuntimeError):  # it has ended, or the engine is away
        return False
    return True


async def _signalled(client: Client, submission: str, message: Nudge) -> bool:
    """Signal the running workflow; False when there is none."""
    handle = client.get_workflow_handle(submission_workflow_id(submission))
    try:
        await handle.signal("decided", message, rpc_timeout=PATIENCE)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return False
        raise
    return True
