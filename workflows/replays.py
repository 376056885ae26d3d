"""Whether these workflows go on with what others began: recorded and live histories replayed.

What waits for months is read again from its first event by whatever code runs then. A change that
orders its commands differently would wedge it, so such code is stopped before it takes a task.
"""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHistory
from temporalio.converter import DataConverter
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner, WorkflowReplayResult
from temporalio.workflow import NondeterminismError, _Definition

from workflows.bulletin import BulletinsDueWorkflow, BulletinWorkflow
from workflows.nudges import MATTERS
from workflows.patrol import PatrolWorkflow
from workflows.publication import PublicationWorkflow
from workflows.retention import RetentionWorkflow
from workflows.submission import SubmissionWorkflow

WORKFLOWS: tuple[type[Any], ...] = (
    SubmissionWorkflow,
    PublicationWorkflow,
    PatrolWorkflow,
    BulletinsDueWorkflow,
    BulletinWorkflow,
    RetentionWorkflow,
    *MATTERS.values(),
)


TASK_ENDS = (
    EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED,
)


class Incompatible(NamedTuple):
    """A history that today's workflows don't replay; no payload is in it."""

    workflow_id: str
    run_id: str
    why: str  # the failure's type


class IncompatibleError(Exception):
    """These workflows must not take tasks.

    Attributes:
        first: The first history that they don't replay.
    """

    def __init__(self, first: Incompatible) -> None:
        self.first = first
        super().__init__(
            f"workflow {first.workflow_id}, run {first.run_id} does not replay on this version's "
            f"code ({first.why}): it stays as it is under the version before; docs/operating.md"
        )


async def recorded(folder: Path) -> AsyncIterator[WorkflowHistory]:
    """Yield the histories of a folder, by name: `*.json` as Temporal's tools export them.

    Raises:
        ValueError: A file is no history; the message names it.
    """
    for file in sorted(folder.glob("*.json")):
        try:
            history = WorkflowHistory.from_json(file.stem, file.read_text(encoding="utf-8"))
            begun = history.events[0].workflow_execution_started_event_attributes
            yield replace(history, workflow_id=begun.workflow_id or file.stem)
        except (ValueError, LookupError, TypeError, AttributeError) as error:  # protobuf's are ours
            raise ValueError(file.name) from error


async def live(client: Client, most: int) -> AsyncIterator[WorkflowHistory]:
    """Yield the histories of running workflows, at most so many of each type.

    Raises:
        RPCError, RuntimeError: The engine can't be reached.
    """
    for one in WORKFLOWS:
        name = _Definition.must_from_class(one).name
        query = f"WorkflowType='{name}' AND ExecutionStatus='Running'"
        async for found in client.list_workflows(query, limit=most):
            handle = client.get_workflow_handle(found.id, run_id=found.run_id)
            try:
                yield await handle.fetch_history()
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:  # it was removed meanwhile
                    raise


async def replay(
    histories: AsyncIterator[WorkflowHistory], converter: DataConverter, namespace: str
) -> tuple[int, Incompatible | None]:
    """Return how many histories were replayed, and the first that is incompatible, if any.

    Args:
        namespace: Where they ran; encrypted payloads open nowhere else.
    """
    replayed = 0
    replayer = Replayer(
        workflows=WORKFLOWS,
        namespace=namespace,
        data_converter=converter,
        workflow_runner=UnsandboxedWorkflowRunner(),
    )
    async with replayer.workflow_replay_iterator(histories) as results:
        async for result in results:
            replayed += 1
            if _is_news(result):
                history, why = result.history, type(result.replay_failure).__name__
                return replayed, Incompatible(history.workflow_id, history.run_id, why)
    return replayed, None


def _is_news(result: WorkflowReplayResult) -> bool:
    """Tell whether code before this got on with what this code fails on.

    A run with a forged input fails on any code; it must not keep every worker away.
    """
    if result.replay_failure is None:
        return False
    if isinstance(result.replay_failure, NondeterminismError):
        return True
    ends = [event.event_type for event in result.history.events if event.event_type in TASK_ENDS]
    return bool(ends) and ends[-1] == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED


async def require_compatible(client: Client, most: int) -> int:
    """Return how many running workflows were replayed; 0 of each type asks for none.

    Raises:
        IncompatibleError: One of them can't go on with this code.
        RPCError, RuntimeError: The engine can't be reached.
    """
    if not most:
        return 0
    replayed, found = await replay(live(client, most), client.data_converter, client.namespace)
    if found is not None:
        raise IncompatibleError(found)
    return replayed
