"""What Prometheus may see: counts and times, never content."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from starlette.types import Scope

from review.acts.measuring import Measures, Queue
from review.rules.errors import LedgerUnavailableError

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
SECONDS = (0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
MEASURED_FOR = 10.0  # seconds; however many ask, the ledger is asked no more often


class Standing(Collector):
    """How things stand in the ledger, as it was last asked."""

    def __init__(self) -> None:
        self.measures: Measures | None = None

    def collect(self) -> Iterator[Metric]:
        def gauge(name: str, told: str, value: float) -> Metric:
            return GaugeMetricFamily(f"sanshen_{name}", told, value=value)

        found = self.measures
        yield gauge("ledger_up", "Whether the ledger can be asked.", found is not None)
        if found is None:
            return
        count = GaugeMetricFamily("sanshen_items_waiting", "Open steps.", labels=["step"])
        late = GaugeMetricFamily("sanshen_items_overdue", "Open and late steps.", labels=["step"])
        age = GaugeMetricFamily(
            "sanshen_items_oldest_seconds", "Age of the step open longest.", labels=["step"]
        )
        for one in found.steps:
            count.add_metric([one.step], one.number)
            late.add_metric([one.step], one.overdue)
            age.add_metric([one.step], one.age)
        yield from (count, late, age)
        channels = GaugeMetricFamily(
            "sanshen_publications_unsettled",
            "Publications that are not settled, by channel and state.",
            labels=["channel", "state"],
        )
        for channel, state, number in found.channels:
            channels.add_metric([channel, state], number)
        yield channels
        yield gauge("outbox_waiting", "Nudges the engine has not been given.", found.nudges)
        yield gauge("outbox_oldest_seconds", "Age of the oldest of them.", found.nudge_age)
        yield gauge("notices_waiting", "Letters due and not sent.", found.notices)
        yield gauge("notices_failing", "Those that failed at least once.", found.notices_failing)
        yield gauge("notices_oldest_seconds", "Age of the oldest of them.", found.notice_age)
        yield from _queues("messages", "Messages to chats and phones", "way", found.messages)
        yield from _queues("hooks", "Messages to other systems", "endpoint", found.hooks)
        if found.checkpoint_age is not None:
            told = "Age of the last signed state of the trace."
            yield gauge("checkpoint_age_seconds", told, found.checkpoint_age)


def _queues(name: str, told: str, label: str, queues: Iterable[Queue]) -> Iterator[Metric]:
    """Yield what waits, what of it failed at least once, and the oldest one's age."""
    waiting = GaugeMetricFamily(f"sanshen_{name}_waiting", f"{told}, due.", labels=[label])
    failing = GaugeMetricFamily(
        f"sanshen_{name}_failing", f"{told} that failed at least once.", labels=[label]
    )
    oldest = GaugeMetricFamily(
        f"sanshen_{name}_oldest_seconds", f"{told}: age of the oldest.", labels=[label]
    )
    for one in queues:
        waiting.add_metric([one.name], one.number)
        failing.add_metric([one.name], one.failing)
        oldest.add_metric([one.name], one.age)
    yield from (waiting, failing, oldest)


class Metrics:
    """The counters of one web application."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._standing = Standing()
        self._registry.register(self._standing)
        self._asking = asyncio.Lock()
        self._asked_at = -MEASURED_FOR
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        self._requests = Counter(
            "sanshen_http_requests",
            "Requests answered.",
            ("method", "route", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "sanshen_http_request_seconds",
            "Time to answer.",
            ("method", "route"),
            buckets=SECONDS,
            registry=self._registry,
        )

    def answered(self, scope: Scope, status: int, seconds: float) -> None:
        """Count one request under its route's pattern; ids would be labels without end."""
        method = scope["method"] if scope["method"] in METHODS else "other"
        route = getattr(scope.get("route"), "path", None) or "unknown"
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    async def ask(self, measures: Callable[[], Awaitable[Measures]]) -> None:
        """Have the ledger asked how things stand, unless that was just done."""
        async with self._asking:
            if time.monotonic() - self._asked_at < MEASURED_FOR:
                return
            try:
                self._standing.measures = await measures()
            except LedgerUnavailableError:
                self._standing.measures = None
            self._asked_at = time.monotonic()

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)
