"""The outermost layer: correlation id, security headers, metrics, and the last net."""

import re
import secrets
import time
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from review import tracing
from review.correlation import NAME, is_decent
from starter.web.metrics import Metrics
from starter.web.pages.refusals import broken_page
from starter.web.pages.visitors import by_htmx, wants_page
from starter.web.problems import language_of, problem

if TYPE_CHECKING:
    from opentelemetry.trace import Span

log = structlog.get_logger()

TRACE_PARENT = re.compile("[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}.*")
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "media-src 'self'",
        "font-src 'self'",
        "connect-src 'self'",
        "frame-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
SECURITY_HEADERS = (
    ("Content-Security-Policy", CONTENT_SECURITY_POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), geolocation=(), microphone=()"),
    ("Cache-Control", "no-store"),
)
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
UNTRACED = frozenset({"/healthz", "/readyz", "/metrics"})
ITEM_ID = re.compile("[0-9a-z]{26}")
STRICT_TRANSPORT = ("Strict-Transport-Security", "max-age=31536000")  # a year; https only


class Edge:
    """Plain ASGI, so that it costs the decision's way next to nothing.

    A header that a route set itself stays: the public site may be cached, a preview is boxed in.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics, https: bool, language: str) -> None:
        self._app = app
        self._metrics = metrics
        self._headers = (*SECURITY_HEADERS, STRICT_TRANSPORT) if https else SECURITY_HEADERS
        self._language = language

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 0
        given = Headers(scope=scope)
        request_id = request_id_of(given.getlist("x-request-id"), given.getlist("traceparent"))
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(**{NAME: request_id})

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in self._headers:
                    headers.setdefault(name, value)
                headers["X-Request-ID"] = request_id
            await send(message)

        try:
            if scope["path"] in UNTRACED:
                await self._app(scope, receive, send_with_headers)
            else:
                parents = given.getlist("traceparent")
                with tracing.span(
                    "request", "server", parent=parents[0] if parents else "", request_id=request_id
                ) as traced:
                    await self._app(scope, receive, send_with_headers)
                    if traced is not None:
                        _name(traced, scope, status)
        except Exception as error:
            # Only a bug comes this far. Messages of exceptions may hold content, so none is logged.
            log.error("request_failed", error=type(error).__name__, frames=frames_of(error))
            if status:
                raise
            answer = self._broken(Request(scope), given, request_id)
            await answer(scope, receive, send_with_headers)
        finally:
            self._metrics.answered(scope, status, time.perf_counter() - started)
            if scope["method"] not in SAFE:
                _say(scope, status)

    def _broken(self, request: Request, given: Headers, request_id: str) -> Response:
        """Return what somebody gets for a bug: a page to read, else problem details."""
        if wants_page(request) and not by_htmx(request):
            return broken_page(request, request_id)
        return problem(
            500, "internal_error", language_of(given.get("accept-language"), self._language)
        )


def _say(scope: Scope, status: int) -> None:
    """Say which request was about which item: from here its id leads to the publication."""
    about = _about(scope)
    known = {"submission_id": about} if about else {}
    log.info("answered", route=_route(scope), status=status, **known)


def _name(traced: "Span", scope: Scope, status: int) -> None:
    """Say on a request's span what it was about."""
    traced.update_name(f"{scope['method']} {_route(scope)}")
    traced.set_attribute("http.response.status_code", status)
    if about := _about(scope):
        traced.set_attribute("submission.id", about)


def _route(scope: Scope) -> str:
    return getattr(scope.get("route"), "path", None) or "unknown"


def _about(scope: Scope) -> str:
    """Return the item's id; a path may hold anything, and what is no id of ours isn't repeated."""
    given = scope.get("path_params", {}).get("submission_id")
    about = str(scope.get("state", {}).get("submission_id") or given or "")
    return about if ITEM_ID.fullmatch(about) else ""


def request_id_of(given: Sequence[str], parents: Sequence[str] = ()) -> str:
    """Return the caller's correlation id if it is a decent one, else a new one.

    Args:
        given: The values of `X-Request-ID`.
        parents: Those of `traceparent` (W3C Trace Context), whose trace is the next best.
    """
    if len(given) == 1 and is_decent(given[0]):
        return given[0]
    if len(parents) == 1 and (parent := TRACE_PARENT.fullmatch(parents[0])):
        return parent[1]
    return secrets.token_hex(8)


def frames_of(error: BaseException) -> list[str]:
    """Return where an exception came from, innermost last, without any value."""
    frames = traceback.extract_tb(error.__traceback__)
    return [f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}" for frame in frames[-8:]]
