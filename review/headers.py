"""The correlation id in Temporal's headers: from the client through workflows to activities.

Beside it goes the `traceparent` of the request where traces are on (review.tracing).
"""

import time
from collections.abc import Mapping
from typing import Any

import structlog
from temporalio import activity, workflow
from temporalio.api.common.v1 import Payload
from temporalio.client import Interceptor as ClientInterceptor
from temporalio.client import OutboundInterceptor, SignalWorkflowInput, StartWorkflowInput
from temporalio.client import WorkflowHandle as ClientHandle
from temporalio.worker import (
    ActivityInboundInterceptor,
    ContinueAsNewInput,
    ExecuteActivityInput,
    ExecuteWorkflowInput,
    HandleSignalInput,
    SignalChildWorkflowInput,
    SignalExternalWorkflowInput,
    StartActivityInput,
    StartChildWorkflowInput,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)
from temporalio.worker import Interceptor as WorkerInterceptor

from review import tracing
from review.correlation import NAME, current, is_decent

log = structlog.get_logger()

# Short: they stand in every event that starts something.
REQUEST = "request"
TRACE = "trace"

Headers = Mapping[str, Payload]


def _written(headers: Headers, carried: Mapping[str, str]) -> Headers:
    return {**headers, **{key: Payload(data=text.encode()) for key, text in carried.items()}}


def _now() -> dict[str, str]:
    """Return what goes with a call of the client."""
    found = {REQUEST: current(), TRACE: tracing.traceparent()}
    return {key: text for key, text in found.items() if text}


def _read(headers: Headers) -> dict[str, str]:
    """Return what these headers carry; anybody may have written them, so an odd one is none."""
    found = {
        key: headers[key].data.decode("ascii", "replace")
        for key in (REQUEST, TRACE)
        if key in headers
    }
    return {
        key: text
        for key, text in found.items()
        if (is_decent(text) if key == REQUEST else tracing.PARENT.fullmatch(text))
    }


class Correlation(ClientInterceptor, WorkerInterceptor):
    """Carries the id; given to a client, its workers have it too."""

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        return _Sent(next)

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _Activity(next)

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor]:
        return _Heard


class _Sent(OutboundInterceptor):
    async def start_workflow(self, input: StartWorkflowInput) -> ClientHandle[Any, Any]:
        with tracing.span(f"start {input.workflow}", "client", workflow_id=input.id):
            input.headers = _written(input.headers, _now())
            return await super().start_workflow(input)

    async def signal_workflow(self, input: SignalWorkflowInput) -> None:
        with tracing.span(f"signal {input.signal}", "client", workflow_id=input.id):
            input.headers = _written(input.headers, _now())
            await super().signal_workflow(input)


class _Activity(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        found = _read(input.headers)
        known = {NAME: found[REQUEST]} if REQUEST in found else {}
        info = activity.info()
        began = time.perf_counter()
        with (
            structlog.contextvars.bound_contextvars(**known),
            tracing.span(
                info.activity_type,
                "consumer",
                parent=found.get(TRACE, ""),
                workflow_id=info.workflow_id or "",
                attempt=info.attempt,
                request_id=found.get(REQUEST, ""),
            ),
        ):
            result = await super().execute_activity(input)
            log.info("activity_done", ms=round((time.perf_counter() - began) * 1000))
            return result


class _Heard(WorkflowInboundInterceptor):
    """What a workflow heard last, from its start or a signal; replays to the same."""

    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        self.carried: dict[str, str] = {}
        super().init(_Passed(outbound, self))

    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
        # A signal that came with the start may have been handled before.
        self.carried = self.carried or _read(input.headers)
        _say("started", self.carried)
        return await super().execute_workflow(input)

    async def handle_signal(self, input: HandleSignalInput) -> None:
        self.carried = _read(input.headers) or self.carried
        _say(f"heard {input.signal}", self.carried)
        await super().handle_signal(input)


def _say(what: str, carried: Mapping[str, str]) -> None:
    """Leave a span of no length: a workflow waits for months, and is no work in between.

    It reads the clock and draws an id, of which nothing comes back into the workflow.
    """
    if not tracing.is_on() or workflow.unsafe.is_replaying() or TRACE not in carried:
        return
    info = workflow.info()
    with (
        workflow.unsafe.sandbox_unrestricted(),
        workflow.unsafe.imports_passed_through(),
        tracing.span(
            f"{info.workflow_type} {what}",
            "consumer",
            parent=carried[TRACE],
            workflow_id=info.workflow_id,
            request_id=carried.get(REQUEST, ""),
        ),
    ):
        return


class _Passed(WorkflowOutboundInterceptor):
    def __init__(self, next: WorkflowOutboundInterceptor, heard: _Heard) -> None:
        super().__init__(next)
        self._heard = heard

    def start_activity(self, input: StartActivityInput) -> workflow.ActivityHandle[Any]:
        input.headers = _written(input.headers, self._heard.carried)
        return super().start_activity(input)

    async def start_child_workflow(
        self, input: StartChildWorkflowInput
    ) -> workflow.ChildWorkflowHandle[Any, Any]:
        input.headers = _written(input.headers, self._heard.carried)
        return await super().start_child_workflow(input)

    async def signal_external_workflow(self, input: SignalExternalWorkflowInput) -> None:
        input.headers = _written(input.headers, self._heard.carried)
        await super().signal_external_workflow(input)

    async def signal_child_workflow(self, input: SignalChildWorkflowInput) -> None:
        input.headers = _written(input.headers, self._heard.carried)
        await super().signal_child_workflow(input)

    def continue_as_new(self, input: ContinueAsNewInput) -> Any:
        input.headers = _written(input.headers, self._heard.carried)
        super().continue_as_new(input)
