"""One id from a request to its publication: web, relay, worker and publication say the same."""

import gzip
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from typing import Any

import httpx
import pytest
import structlog
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from sqlmodel import Session

from activities.mailbox import FolderMailbox
from activities.notify import Notifier
from review import logs, tracing
from review.records.access import Access, issue_token
from review.records.tables import Outbox
from review.settings import Settings
from starter.reviews import Reviews
from starter.web.app import create_app
from tests.acting import warnings_of
from tests.bureau import Bureau
from workers.relay import Relay

SECRET = "s" * 48
TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def said() -> Iterator[StringIO]:
    """What is logged, as machines read it."""
    stream = StringIO()
    logs.configure("json", "INFO", stream)
    yield stream
    structlog.reset_defaults()


def lines(said: StringIO, request_id: str) -> list[dict[str, Any]]:
    every = [json.loads(line) for line in said.getvalue().splitlines() if line.startswith("{")]
    return [line for line in every if line.get("request_id") == request_id]


async def last_decision(bureau: Bureau, reviews: Reviews, **headers: str) -> httpx.Response:
    """Take an item to its last step; decide that over HTTP, as a program does."""
    submission = await bureau.submit()
    await bureau.run(submission, until="proof3_publish")
    settings = Settings(data=bureau.data, secret_key=SECRET, _env_file=None)
    app = create_app(reviews, Access(bureau.ledger, clock=bureau.clock), settings)
    person = bureau.usual(submission, "proof3_publish")

    def token(session: Session) -> str:
        return issue_token(session, person, "oa", bureau.clock())

    bearer = {"Authorization": f"Bearer {bureau.ledger.write(token)}"}
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8080"
    ) as client:
        return await client.post(
            f"/api/v1/submissions/{submission}/decisions",
            headers=bearer | headers,
            json={
                "step": "proof3_publish", "verdict": "approve",
                "digest": bureau.row(submission).digest,
                "findings_seen": warnings_of(bureau.ledger, submission),
            },
        )  # fmt: skip


async def test_web_turn_and_publication_bear_the_requests_id(bureau: Bureau, said: StringIO):
    answer = await last_decision(bureau, bureau.reviews, **{"X-Request-ID": "oa-2026.17"})
    submission = answer.request.url.path.split("/")[4]
    await bureau.until(lambda: bureau.row(submission).status == "published")
    await bureau.handle(submission).result()

    found = lines(said, "oa-2026.17")
    assert answer.headers["X-Request-ID"] == "oa-2026.17"
    assert {line["submission_id"] for line in found if "submission_id" in line} == {submission}
    assert {(line["event"], line.get("activity")) for line in found} >= {
        ("answered", None), ("activity_done", "advance"), ("activity_done", "publish"),
    }  # fmt: skip
    assert {row.request_id for row in bureau.rows(Outbox, submission)} >= {"oa-2026.17"}


async def test_relay_goes_on_with_the_id_of_the_request(bureau: Bureau, said: StringIO):
    """The web could not reach the engine: the ledger kept whose nudge it is."""
    cut_off = Reviews(bureau.ledger, None, clock=bureau.clock)
    answer = await last_decision(bureau, cut_off, traceparent=f"00-{TRACE}-b7ad6b7169203331-01")
    submission = answer.request.url.path.split("/")[4]
    assert answer.json()["delivered"] is False
    notifier = Notifier(
        bureau.ledger, FolderMailbox(bureau.data / "mail"), bureau.clock,
        public_url="http://127.0.0.1", sender="sanshen@localhost",
    )  # fmt: skip
    relay = Relay(
        bureau.ledger, bureau.client, notifier,
        lambda: bureau.clock() + timedelta(seconds=3), task_queue=bureau.queue,
    )  # fmt: skip
    assert await relay.nudge_owed() == 1
    await bureau.until(lambda: bureau.row(submission).status == "published")
    await bureau.handle(submission).result()

    found = lines(said, TRACE)
    assert answer.headers["X-Request-ID"] == TRACE
    assert {(line["event"], line.get("activity")) for line in found} >= {
        ("answered", None), ("nudge_relayed", None),
        ("activity_done", "advance"), ("activity_done", "publish"),
    }  # fmt: skip


async def test_an_odd_id_is_carried_nowhere(bureau: Bureau, said: StringIO):
    """What anybody could put into a header is no way into a history."""
    odd = "秘密 <b>会议</b>"
    with structlog.contextvars.bound_contextvars(request_id=odd):
        submission = await bureau.submit()
    await bureau.settled(submission)

    history = await bureau.handle(submission).fetch_history()
    stored = b"".join(event.SerializeToString() for event in history.events)
    assert odd.encode() not in stored
    assert lines(said, odd) == []


class Collector:
    """A collector of OTLP over HTTP on a port of its own, which keeps every span."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        collector = self

        class Taker(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                sent = ExportTraceServiceRequest.FromString(body)
                for of_one in sent.resource_spans:
                    for scope in of_one.scope_spans:
                        collector.spans.extend(scope.spans)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Taker)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


async def test_one_trace_from_request_to_publication(bureau: Bureau):
    collector = Collector()
    tracing.begin(collector.url, "sanshen-test")
    try:
        answer = await last_decision(
            bureau, bureau.reviews, traceparent=f"00-{TRACE}-b7ad6b7169203331-01"
        )
        submission = answer.request.url.path.split("/")[4]
        await bureau.until(lambda: bureau.row(submission).status == "published")
        await bureau.handle(submission).result()
    finally:
        tracing.end()
        collector.close()

    spans = [one for one in collector.spans if one.trace_id.hex() == TRACE]
    names = {one.name for one in spans}
    ids = {one.span_id for one in spans}
    assert names >= {
        "POST /api/v1/submissions/{submission_id}/decisions", "signal decided",
        "SubmissionWorkflow heard decided", "advance", "PublicationWorkflow started", "publish",
    }  # fmt: skip
    assert {one.parent_span_id.hex() for one in spans if one.parent_span_id not in ids} == {
        "b7ad6b7169203331"
    }
    sent = b"".join(one.SerializeToString() for one in collector.spans)
    assert bureau.row(submission).title.encode() not in sent


async def test_an_errors_message_is_in_no_span():
    collector = Collector()
    tracing.begin(collector.url, "sanshen-test")
    try:
        with pytest.raises(ValueError), tracing.span("deed", "internal", parent="00-odd"):
            raise ValueError("正文里的一句话")
    finally:
        tracing.end()
        collector.close()

    (span,) = collector.spans
    assert {one.key: one.value.string_value for one in span.attributes} == {
        "error.type": "ValueError"
    }
    assert "正文".encode() not in span.SerializeToString()
    assert list(span.events) == []


def test_without_a_collector_nothing_is_imported():
    code = (
        "import sys; import review.headers, starter.web.edge; from review import tracing; "
        "tracing.begin(None, 'x'); "
        'exec(\'with tracing.span("a", "server"): pass\'); '
        "heavy = 'opentelemetry.sdk', 'opentelemetry.exporter'; "
        "sys.exit(any(name.startswith(heavy) for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
