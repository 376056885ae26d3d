"""What a drill must see: every broken promise, done to a whole that kept them all."""

import json
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from copy import copy
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from activities.channels import Site
from review.records.engine import Ledger
from review.records.tables import Decision
from review.rendering import render_claim
from tests.acting import Course
from tests.examples import MONDAY
from tests.faults.drill import Report, _check_ledger, _check_site
from tests.faults.people import Journal


class Kept:
    """Three items that went from draft to publication, journalled as a drill's people do it."""

    def __init__(self, folder: Path, template: bytes) -> None:
        self.data = folder / "data"
        self.data.mkdir()
        (self.data / "ledger.db").write_bytes(template)
        self.journal = Journal(folder / "journal.jsonl")

    async def fill(self) -> None:
        ledger = Ledger(f"sqlite:///{self.data / 'ledger.db'}")
        site = Site(self.data / "site", "http://127.0.0.1")
        await site.lay_out()
        for author in ("afforest_info", "forest_info", "fire_info"):
            course = Course(ledger, author)
            self._say("submit", course.id, author, {}, {"id": course.id})
            position = course.run()
            (deed,) = position.publish
            claim = course.claim(deed.channel, deed.generation)
            await site.publish(claim, render_claim(claim), MONDAY)
            course.publish()
        with ledger.reading() as session:
            for one in session.exec(select(Decision)):
                body = {"verdict": one.verdict, "digest": one.digest}
                self._say("decide", one.id, one.person_id, body, {})
        ledger.close()

    def _say(self, kind: str, key: str, who: str, body: Any, answer: Any) -> None:
        self.journal.ask(key, kind=kind, who=who, path="", body=body)
        self.journal.answer(key, 200, answer)

    def sql(self, *statements: str) -> None:
        with sqlite3.connect(self.data / "ledger.db") as raw:
            raw.execute("PRAGMA foreign_keys=OFF")
            for statement in statements:
                assert raw.execute(statement).rowcount, statement
        raw.close()

    def manifest(self, change: Callable[[dict[str, Any]], None], name: str = "") -> None:
        path = sorted((self.data / "site" / "items").glob("*.json"))[0]
        shown = json.loads(path.read_text(encoding="utf-8"))
        change(shown)
        (path.with_name(name) if name else path).write_text(json.dumps(shown), encoding="utf-8")

    def check(self) -> Report:
        report = Report(seed=0)
        feed = (self.data / "site" / "feed.atom").read_text(encoding="utf-8")
        _check_ledger(self.data, self.journal, report)
        _check_site(self.data, feed, report)
        return report


@pytest.fixture(scope="module")
async def template(
    tmp_path_factory: pytest.TempPathFactory, sqlite_template: bytes
) -> AsyncIterator[Kept]:
    whole = Kept(tmp_path_factory.mktemp("kept"), sqlite_template)
    await whole.fill()
    yield whole
    whole.journal.close()


@pytest.fixture
def kept(tmp_path: Path, template: Kept) -> Iterator[Kept]:
    """A copy to spoil."""
    whole = copy(template)
    whole.data = tmp_path / "data"
    shutil.copytree(template.data, whole.data)
    whole.journal = Journal(tmp_path / "journal.jsonl")
    whole.journal.asked = dict(template.journal.asked)
    whole.journal.answers = dict(template.journal.answers)
    yield whole
    whole.journal.close()


def test_a_whole_that_kept_its_promises_is_clean(kept: Kept) -> None:
    report = kept.check()

    assert report.is_clean, report.line()
    assert (report.items, report.published, report.acked) == (3, 3, 15)


FINAL = "(SELECT id FROM decision WHERE key='final_review' LIMIT 1)"
SABOTAGE: dict[str, tuple[str, ...]] = {
    "acked_lost": (f"DELETE FROM decision WHERE id={FINAL}",),
    "phantom": (f"UPDATE decision SET id='another' WHERE id={FINAL}",),
    "unauthorised": (f"UPDATE decision SET person_id='pest_head' WHERE id={FINAL}",),
    "stuck": ("UPDATE submission SET status='publishing' WHERE author_id='fire_info'",),
    "audit_verify": ("UPDATE audit SET person_id='deputy_b' WHERE event='decided'",),
}


@pytest.mark.parametrize("promise", SABOTAGE)
def test_a_broken_promise_in_the_ledger_is_seen(kept: Kept, promise: str) -> None:
    kept.sql(*SABOTAGE[promise])

    report = kept.check()

    assert getattr(report, promise) not in (0, "ok"), report.line()
    assert not report.is_clean


def test_a_publication_with_another_text_is_unauthorised(kept: Kept) -> None:
    kept.sql("UPDATE publication SET digest='sha256:0' WHERE channel='site'")

    assert kept.check().unauthorised == 3


def test_an_item_that_stands_twice_on_the_site_is_seen(kept: Kept) -> None:
    kept.manifest(lambda shown: shown.update(number="2026-000099"), "2026-000099.json")

    assert kept.check().double_published == 1


def test_a_second_generation_that_nobody_asked_for_is_seen(kept: Kept) -> None:
    kept.manifest(lambda shown: shown.update(generation=2))

    assert kept.check().double_published == 1


def test_an_entry_that_stands_twice_in_the_feed_is_seen(kept: Kept) -> None:
    path = kept.data / "site" / "feed.atom"
    feed = path.read_text(encoding="utf-8")
    begin, end = feed.index("<entry"), feed.index("</entry>") + len("</entry>")
    path.write_text(feed[:end] + feed[begin:end] + feed[end:], encoding="utf-8")

    assert kept.check().double_published == 1


def test_an_acknowledged_submission_that_is_gone_is_lost(kept: Kept) -> None:
    kept._say("submit", "s-4", "fire_info", {}, {"id": "gone"})

    assert kept.check().acked_lost == 2  # the item, and its version
