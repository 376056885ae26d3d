"""OpenTelemetry spans of requests, workflows' news and activities, sent by OTLP over HTTP.

Off unless a collector is named (`SANSHEN_OTLP_URL`), and then neither SDK nor exporter is imported.
A span holds ids, codes and times. The SDK's own interceptor is not used: it exports the messages of
exceptions, which may hold content, and ties a publication to the request that submitted the item;
here each request's trace goes on through turn and publication (review.headers).
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

PARENT = re.compile("00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")  # W3C Trace Context, version 00

_provider: "TracerProvider | None" = None


def begin(url: str | None, service: str) -> None:
    """Send this process's spans to a collector; the standard OTEL_* variables set the rest.

    Args:
        url: The collector's base URL, to which `/v1/traces` is added; None for no traces.
        service: What the process is called there.
    """
    global _provider
    if url is None:
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    _provider = TracerProvider(resource=Resource.create({"service.name": service}))
    exporter = OTLPSpanExporter(endpoint=f"{url.rstrip('/')}/v1/traces")
    _provider.add_span_processor(BatchSpanProcessor(exporter))


def end() -> None:
    """Send what is left, and no more; a collector that is away costs nothing but the spans."""
    global _provider
    if _provider is not None:
        _provider.shutdown()
    _provider = None


def is_on() -> bool:
    """Tell whether spans are made."""
    return _provider is not None


@contextmanager
def span(
    name: str,
    kind: Literal["server", "client", "consumer", "internal"],
    *,
    parent: str = "",
    **attributes: str | int,
) -> "Iterator[Span | None]":
    """Time what happens inside; None where there are no traces.

    Args:
        parent: A `traceparent` from elsewhere; an odd one is none. Without one the span belongs to
            the one around it.
        attributes: Ids and codes; `_` of a name stands for `.` there.
    """
    if _provider is None:
        yield None
        return
    from opentelemetry import trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    above = None
    if PARENT.fullmatch(parent):
        above = TraceContextTextMapPropagator().extract({"traceparent": parent})
    with _provider.get_tracer("sanshen").start_as_current_span(
        name,
        above,
        trace.SpanKind[kind.upper()],
        {key.replace("_", "."): value for key, value in attributes.items() if value != ""},
        record_exception=False,  # its message may hold content
        set_status_on_exception=False,
    ) as made:
        try:
            yield made
        except BaseException as error:
            made.set_attribute("error.type", type(error).__name__)
            made.set_status(trace.StatusCode.ERROR)
            raise


def traceparent() -> str:
    """Return the span around as a `traceparent`; empty where there is none."""
    if _provider is None:
        return ""
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get("traceparent", "")
