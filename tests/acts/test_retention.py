"""Retention (A-29): reported before it is removed, only as reported, and records never."""

import asyncio
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import col, func, select

from review.acts import attaching, drafting, retention
from review.blobs import Blobs
from review.records.engine import Ledger
from review.records.hook_tables import HookEndpoint, HookPost
from review.records.letters import LetterTry
from review.records.links import DecisionLink
from review.records.retention import RetentionItem
from review.records.tables import (
    Attachment,
    Audit,
    Decision,
    Drafted,
    Notice,
    SignIn,
    Submission,
    Version,
)
from review.records.ways import MessageTry
from review.rules.errors import NotAllowedError
from review.uploads import examined
from tests.acting import Course
from tests.examples import MONDAY, who
from tests.uploads.files import a_picture

PICTURE = a_picture("PNG")
YEAR, MONTH = timedelta(days=366), timedelta(days=31)


class Keeper:
    """A ledger and its files, and a clock that moves only when told."""

    def __init__(self, ledger: Ledger, folder: Path) -> None:
        self.ledger = ledger
        self.blobs = Blobs(folder / "blobs")
        self.now = MONDAY

    def draft(self, person: str = "afforest_info", **typed: Any) -> None:
        self.ledger.write(
            lambda s: drafting.keep(s, who(s, person), {"title": "草稿"} | typed, self.now)
        )

    def upload(self, content: bytes = PICTURE, person: str = "afforest_info") -> str:
        cleaned = examined("图.png", content)
        sha256 = self.blobs.put(cleaned.content)
        made = self.ledger.write(
            lambda s: attaching.attach(
                s, who(s, person), cleaned, sha256=sha256, original_sha256=sha256, findings=[],
                way_in="api", now=self.now,
            )
        )  # fmt: skip
        long_ago = self.now.timestamp() - 400 * 86_400
        os.utime(self.blobs.path(sha256), (long_ago, long_ago))
        return str(made["id"])

    def run(self, **later: int) -> Any:
        self.now += timedelta(**later)
        return asyncio.run(retention.run(self.ledger, self.blobs, lambda: self.now))

    def rows(self, model: Any) -> list[Any]:
        with self.ledger.reading() as session:
            return list(session.exec(select(model)))

    def events(self, event: str) -> list[Audit]:
        return [one for one in self.rows(Audit) if one.event == event]

    def states(self) -> list[str]:
        with self.ledger.reading() as session:
            found = retention.shown(session, who(session, "admin"), self.now)
        return [one["state"] for report in found["items"] for one in report["entries"]]


@pytest.fixture
def keeper(ledger: Ledger, tmp_path: Path) -> Keeper:
    return Keeper(ledger, tmp_path)


def test_old_draft_is_reported_then_removed_a_month_later_with_an_entry(keeper):
    keeper.draft()
    file = keeper.upload()

    assert keeper.run(days=364)["reported"] is None
    reported = keeper.run(days=2)["reported"]

    assert (reported["drafts"], reported["uploads"]) == (1, 1)
    assert len(keeper.rows(Drafted)) == 1, "a report removes nothing"
    (notice,) = [one for one in keeper.rows(Notice) if one.kind == "retention"]
    assert notice.person_id == "admin"
    (own,) = [one for one in keeper.rows(Notice) if one.kind == "draft_old"]
    assert own.person_id == "afforest_info", "whose it is can still go on with it"
    assert keeper.run(days=29)["removed"] == 0
    found = keeper.run(days=2)
    assert (found["removed"], found["files"], found["reported"]) == (2, 1, None)
    assert keeper.rows(Drafted) == [] and keeper.rows(Attachment) == []
    removed = keeper.events("retention_removed")
    assert [one.data["kind"] for one in removed] == ["draft", "upload"]
    assert removed[1].data["of"] == file
    assert "草稿" not in str([one.data for one in removed]), "no word of it is kept"
    assert keeper.blobs.problem(removed[1].data["sha256"]) == "missing"


def test_second_run_does_nothing(keeper):
    keeper.draft()
    keeper.run(days=366)
    keeper.run(days=31)
    before = len(keeper.rows(Audit))

    again = [keeper.run(), keeper.run(days=40)]

    nothing = {"removed": 0, "files": 0, "reported": None}
    assert all(one | nothing == one and not any(one["pruned"].values()) for one in again)
    assert len(keeper.rows(Audit)) == before


def test_draft_submitted_between_report_and_removal_stays_as_the_item_it_became(keeper):
    file = keeper.upload()
    keeper.draft(attachments=[file])
    keeper.run(days=366)
    course = Course(keeper.ledger, now=keeper.now, attachments=[{"id": file}])
    keeper.ledger.write(lambda s: drafting.drop(s, who(s, "afforest_info")))

    assert keeper.run(days=31)["removed"] == 0

    assert keeper.states() == ["gone", "used"]
    assert course.row().status == "in_review"
    (kept,) = course.item(lambda item: item.version.attachments)
    assert keeper.blobs.problem(kept["sha256"]) is None


def test_draft_that_was_written_on_after_the_report_stays_with_its_files(keeper):
    file = keeper.upload()
    keeper.draft(attachments=[file])
    keeper.run(days=366)
    keeper.now += timedelta(days=1)
    keeper.draft(attachments=[file], body="又写了一段")

    assert keeper.run(days=31)["removed"] == 0

    assert keeper.states() == ["changed", "used"]
    (kept,) = keeper.rows(Attachment)
    assert keeper.blobs.problem(kept.sha256) is None


def test_file_of_a_young_draft_is_not_even_listed(keeper):
    file = keeper.upload()
    keeper.now += YEAR
    keeper.draft(attachments=[file])

    assert keeper.run()["reported"] is None


def test_bytes_that_another_upload_has_stay(keeper):
    keeper.upload()
    keeper.run(days=366)
    keeper.upload(person="fire_info")

    found = keeper.run(days=31)

    assert (found["removed"], found["files"]) == (1, 0)
    (other,) = keeper.rows(Attachment)
    assert keeper.blobs.problem(other.sha256) is None


def test_run_that_was_killed_anywhere_is_ended_by_the_next(keeper, monkeypatch):
    keeper.draft()
    keeper.draft("fire_info")
    keeper.upload()
    keeper.run(days=366)
    keeper.now += MONTH

    class KilledError(Exception):
        pass

    allowed = 0

    async def run(act, *args):  # dies after so many transactions, each time a little later
        nonlocal left
        left -= 1
        if left < 0:
            raise KilledError
        return keeper.ledger.write(act, *args)

    steps = 0
    while True:
        left = allowed
        monkeypatch.setattr(keeper.ledger, "run", run)
        try:
            keeper.run()
        except KilledError:
            steps, allowed = steps + 1, allowed + 1
            monkeypatch.undo()
            with keeper.ledger.reading() as session:
                gone = session.exec(
                    select(func.count()).where(col(RetentionItem.removed_at).is_not(None))
                ).one()
            assert gone == len(keeper.events("retention_removed")), "no removal without its entry"
            continue
        monkeypatch.undo()
        break

    assert steps >= 3
    assert len(keeper.events("retention_removed")) == 3, "each once, however often it was killed"
    assert keeper.rows(Drafted) == [] and keeper.rows(Attachment) == []
    assert not list((keeper.blobs._root).rglob("*.*")), "nothing set aside is left"


def test_items_decisions_texts_and_trace_are_never_touched(keeper):
    course = Course(keeper.ledger, attachments=[{"id": keeper.upload()}])
    course.publish(course.run())
    waiting = Course(keeper.ledger, "fire_info", title="全省防火工作会召开")
    keeper.now = MONDAY + 10 * YEAR
    records = (Submission, Version, Decision, Attachment)
    before = {model: keeper.rows(model) for model in records}
    trace = [one.hash for one in keeper.rows(Audit)]

    keeper.run()
    keeper.run(days=31)

    assert {model: keeper.rows(model) for model in records} == before
    assert [one.hash for one in keeper.rows(Audit)][: len(trace)] == trace
    assert waiting.row().status == "in_review"


def test_what_only_grows_is_forgotten_but_for_the_last_of_each(keeper):
    course = Course(keeper.ledger)

    def fill(session) -> None:
        session.add(
            HookEndpoint(id="e", name="oa", url="https://oa.example", secret="", since_at=MONDAY)
        )
        session.flush()
        for n in (1, 2, 3):
            session.add(
                HookPost(
                    id=f"p{n}", endpoint_id="e", submission_id=course.id, n=n, kind="todo.opened",
                    at=MONDAY, next_try_at=MONDAY, done_at=MONDAY,
                )
            )  # fmt: skip
        session.add(
            HookPost(
                id="p4", endpoint_id="e", submission_id=course.id, n=4, kind="todo.closed",
                at=MONDAY, next_try_at=MONDAY,
            )
        )  # fmt: skip
        for n in range(3):
            session.add(
                LetterTry(id=f"t{n}", person_id="chief", address="a@b", state="refused", at=MONDAY)
            )
            session.add(MessageTry(id=f"m{n}", way="own:w", state="sent", at=MONDAY))
        for id_, more in (("old", {"ended_at": MONDAY}), ("live", {})):
            session.add(
                SignIn(
                    id=id_, person_id="chief", csrf="c", created_at=MONDAY, seen_at=MONDAY,
                    expires_at=MONDAY + timedelta(days=400), **more,
                )
            )  # fmt: skip

        for id_, days in (("old", 3), ("live", 400)):
            session.add(
                DecisionLink(
                    id=id_, token_hash=id_, person_id="chief", submission_id="x", step_id="s",
                    digest="d", notice_id="n", made_at=MONDAY,
                    expires_at=MONDAY + timedelta(days=days),
                )
            )  # fmt: skip

    keeper.ledger.write(fill)

    found = keeper.run(days=200)["pruned"]

    assert found == {
        "hook_post": 3,
        "sign_in": 1,
        "decision_link": 1,
        "letter_try": 2,
        "message_try": 2,
    }
    assert [one.id for one in keeper.rows(DecisionLink)] == ["live"]
    assert [one.id for one in keeper.rows(HookPost)] == ["p4"], "undelivered, and the last"
    assert [one.id for one in keeper.rows(SignIn)] == ["live"]
    assert [one.id for one in keeper.rows(LetterTry)] == ["t2"]
    assert [one.id for one in keeper.rows(MessageTry)] == ["m2"]
    assert sorted(one.data["table"] for one in keeper.events("retention_pruned")) == sorted(found)
    assert not any(keeper.run()["pruned"].values())


def test_only_the_system_administrator_runs_it_and_then_in_one_transaction(keeper):
    keeper.draft()
    keeper.run(days=366)
    keeper.now += MONTH

    def by(person: str) -> Any:
        return keeper.ledger.write(
            lambda s: retention.run_at_once(s, who(s, person), keeper.now, way_in="api")
        )

    with pytest.raises(NotAllowedError):
        by("deputy_b")
    assert by("admin")["removed"] == 1
    assert by("admin")["removed"] == 0
    (entry,) = keeper.events("retention_removed")
    assert (entry.person_id, entry.way_in) == ("admin", "api")
    with keeper.ledger.reading() as session, pytest.raises(NotAllowedError):
        retention.shown(session, who(session, "afforest_info"), keeper.now)
