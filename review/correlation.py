"""One id from a request to its publication, carried by ledger and engine.

The edge binds it to the request's log lines; the ledger keeps it with the nudge that is owed; the
client puts it on what it starts and signals, a workflow passes on the last one it heard, and an
activity binds it to its own lines. It holds no word of an item, and nothing is decided by it: what
came in some odd shape is left out. Silence has no request of its own: what a timer leads to bears
the id of the last one before it.
"""

import re

import structlog

NAME = "request_id"  # in log lines
ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def current() -> str:
    """Return the id of the request that is being served; empty where there is no decent one."""
    bound = str(structlog.contextvars.get_contextvars().get(NAME, ""))
    return bound if is_decent(bound) else ""


def is_decent(text: str) -> bool:
    """Tell whether something may go on as an id: short, and of letters that carry no markup."""
    return ID.fullmatch(text) is not None
