"""A service's links are looked at before it goes live; what is gone holds it, nothing else does."""

import asyncio
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from sqlmodel import select
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities import links as module
from activities.channels import Site
from activities.links import Links
from activities.outgoing import Outgoing
from activities.publish import Publisher
from review.blobs import Blobs
from review.records.tables import FindingRow
from review.rules.publications import PublicationRef
from tests.acting import Course

SERVICE = {
    "kind": "service", "audience": "苗木经营单位", "how_to": "网上申请，五个工作日办结。",
    "valid_until": "2027-11-23T00:00:00+08:00", "title": "林木种子生产经营许可证办理指南",
}  # fmt: skip


@pytest.fixture
def pages():
    """A web server; yields its `host:port` and the paths that were asked for."""
    asked: list[str] = []
    answers = {"/ok": 200, "/moved": 302, "/gone": 410, "/missing": 404, "/sick": 500}

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            if self.path == "/hangs":
                threading.Event().wait(3)
                return
            self.send_response(answers[self.path])
            self.send_header("Location", "http://127.0.0.1:1/")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_line):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()


async def test_only_what_its_server_says_is_gone_is_dead(pages, monkeypatch):
    place, asked = pages
    monkeypatch.setattr(module, "PATIENCE", 1.0)
    outgoing = Outgoing([place], needs_tls=False)
    paths = ("/ok", "/moved", "/gone", "/missing", "/sick", "/hangs")
    addresses = [f"http://{place}{path}" for path in paths]
    others = ["http://127.0.0.1:9/", "http://[::1]/", "ftp://x/", "http://a.invalid/", "http://[/"]

    dead = await Links(outgoing).dead(addresses + others)
    await outgoing.aclose()

    assert dead == [f"http://{place}/gone", f"http://{place}/missing"]
    assert sorted(asked) == sorted(paths)  # no redirect was followed, nothing inside was asked


async def test_our_own_network_is_not_looked_at_for_others(pages):
    place, asked = pages
    outgoing = Outgoing(needs_tls=False)

    dead = await Links(outgoing).dead([f"http://{place}/gone"])
    await outgoing.aclose()

    assert (dead, asked) == ([], [])


async def publish(course: Course, folder, place: str) -> str:
    """Publish on the site, as the workflow would; return the outcome's state or the refusal."""
    outgoing = Outgoing([place], needs_tls=False)
    site = Site(folder / "site", "https://example.gov.cn", Blobs(folder / "blobs").path)
    await site.lay_out()
    publisher = Publisher(
        course.ledger, {"website": site}, lambda: course.now, blobs=Blobs(folder / "blobs"),
        links=Links(outgoing),
    )  # fmt: skip
    ref = PublicationRef(submission_id=course.id, channel="site", generation=1)
    try:
        return str((await ActivityEnvironment().run(publisher.publish, ref)).state)
    except ApplicationError as error:
        return str(error.type)
    finally:
        await outgoing.aclose()


async def test_a_dead_link_holds_a_service_until_it_is_waived(quick_ledger, tmp_path, pages):
    """R1.2-1: it says which link; a deputy may waive it with a reason, and who holds releases."""
    place, _ = pages
    body = f"办理入口：http://{place}/ok 。旧入口 http://{place}/missing，已停用。"
    course = Course(quick_ledger, body=body, **SERVICE)
    course.run()

    first = await publish(course, tmp_path, place)
    with course.ledger.reading() as session:
        rows = session.exec(select(FindingRow).where(FindingRow.rule == "LINK_DEAD")).all()
    course.now += timedelta(minutes=1)
    [row] = rows
    course.act("deputy_b", "waive", finding=row.finding_id, reason="仅作历史说明")
    course.act("chief", "release")
    course.turn()
    second = await publish(course, tmp_path, place)

    assert first == "GateClosed"
    assert body[row.begins : row.ends] == f"http://{place}/missing"
    assert second == "live"


async def test_other_items_and_take_downs_ask_nobody(quick_ledger, tmp_path, pages):
    place, asked = pages
    body = f"详见 http://{place}/missing，现场推进会召开。"
    news = Course(quick_ledger, body=body)
    news.run()
    service = Course(quick_ledger, body=body, now=news.now, **SERVICE)
    service.publish(service.run())
    service.act("deputy_b", "retract", reason="数据有误")
    service.turn()

    states = await asyncio.gather(
        publish(news, tmp_path / "a", place), publish(service, tmp_path / "b", place)
    )

    assert states[0] == "live" and asked == []
