"""structlog set-up: one line an event on standard error, for our own and others' loggers alike.

An event is a past fact with fields: ids, codes and moments, never content or names (design 7).
"""

import logging
import re
import sys
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor
from temporalio import activity, workflow

CARRIES = re.compile(r"(?:submission|publication)-([0-9a-z]+)(?:-|$)")

# HTTP clients show addresses, which can hold keys (chat webhooks do); alembic lists its plug-ins.
TALKATIVE = ("alembic", "httpcore", "httpx", "pikepdf", "urllib3", "uvicorn.access")


def drop_replayed(_: Any, __: str, event: EventDict) -> EventDict:
    """Drop what a workflow said before, when its history is read again."""
    if workflow.in_workflow() and workflow.unsafe.is_replaying_history_events():
        raise structlog.DropEvent
    return event


def add_temporal_ids(_: Any, __: str, event: EventDict) -> EventDict:
    """Name the workflow or the activity that speaks; in a workflow its clock gives the time.

    `submission_id` is the one id from a request to its publication: the web says it when it
    answers, beside the request's own, and everything a workflow or activity says has it.
    """
    if workflow.in_workflow():
        info = workflow.info()
        event.setdefault("workflow_id", info.workflow_id)
        event.setdefault("run_id", info.run_id)
        event["timestamp"] = workflow.now().isoformat()
    elif activity.in_activity():
        task = activity.info()
        event.setdefault("activity", task.activity_type)
        event.setdefault("attempt", task.attempt)
        if task.workflow_id:
            event.setdefault("workflow_id", task.workflow_id)
    if carried := CARRIES.match(str(event.get("workflow_id", ""))):
        event.setdefault("submission_id", carried[1])
    return event


def configure(
    log_format: Literal["json", "console"] = "json",
    log_level: str = "INFO",
    stream: TextIO | None = None,
) -> None:
    """Send every log line, the standard library's included, through one chain.

    Args:
        log_format: `json` for machines, `console` for a person before a terminal.
        log_level: The lowest level that is written.
        stream: Where to; standard error unless told.
    """
    output = stream or sys.stderr
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        stamp,
        add_temporal_ids,
        structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            drop_replayed,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(output)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_rendering(log_format, colors=output.isatty()),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(log_level.upper())
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(True)
    # The ids come as fields of their own.
    workflow.logger.workflow_info_on_message = False
    activity.logger.activity_info_on_message = False


def _rendering(log_format: str, *, colors: bool) -> tuple[Processor, ...]:
    """Return how an event becomes a line. Tracebacks never show variables: those hold content."""
    if log_format == "console":
        plain = structlog.dev.plain_traceback
        return (structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=plain),)
    return (
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(ensure_ascii=False),
    )
