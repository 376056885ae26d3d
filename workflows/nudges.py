"""Nudge a submission's workflow; start it when it isn't there (after a loss of the engine, too)."""

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
from temporalio.service import RPCError

from review.rules.positions import Nudge, SubmissionRef
from workflows.names import TASK_QUEUE, submission_workflow_id
from workflows.submission import SubmissionWorkflow

CATEGORY = SearchAttributeKey.for_keyword("SanshenCategory")
UNIT = SearchAttributeKey.for_keyword("SanshenUnit")
STATUS = SearchAttributeKey.for_keyword("SanshenStatus")

# Longer than a busy engine needs, shorter than a person waits.
PATIENCE = timedelta(seconds=2)


async def nudge(
    client: Client,
    submission: str,
    *,
    reason: str,
    category: str,
    unit: str,
    first: bool = False,
    task_queue: str = TASK_QUEUE,
) -> bool:
    """Tell a workflow that its ledger changed; True when the engine has taken it durably.

    Args:
        first: The submission is new: start without a signal, which saves an event.
    """
    signal: dict[str, Any] = {} if first else {
        "start_signal": "decided",
        "start_signal_args": [Nudge(submission_id=submission, reason=reason)],
    }  # fmt: skip
    try:
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
            **signal,
        )
    except (RPCError, RuntimeError):  # a client that never connected raises RuntimeError
        return False
    return True
