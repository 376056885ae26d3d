"""Background material that is never published, and the editor's grade as feedback (R5.1-1)."""

from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select
from temporalio.testing import ActivityEnvironment

from activities.channels import Site
from activities.publish import Publisher
from review.acts.attaching import fetch
from review.acts.authorising import full_version, rendered
from review.acts.statistics import statistics
from review.blobs import Blobs
from review.records.engine import Ledger
from review.records.tables import Audit, Channel, Notice
from review.rendering import PUSH, WEBSITE, WECHAT, render
from review.rules.errors import MalformedError, NotAllowedError, NotFoundError, RefusedError
from review.rules.publications import PublicationRef
from review.rules.values import PublicationState
from review.uploads import examined
from tests.acting import Course
from tests.acts.test_attachments import PICTURE, AsLedger, uploaded
from tests.examples import MONDAY, who

WORDS = "基层访谈记录原文"


@pytest.fixture
def item(ledger: Ledger, tmp_path: Path) -> tuple[Course, Blobs, dict[str, Any]]:
    """An item with a public picture and a background text."""
    blobs = Blobs(tmp_path / "blobs")
    kept = {}
    for name, content in {"图.png": PICTURE, "访谈.txt": WORDS.encode()}.items():
        blobs.put(examined(name, content).content)
        kept[name] = uploaded(ledger, name, content)
    course = Course(
        ledger,
        attachments=[
            {"id": kept["图.png"]["id"], "caption": "会议现场"},
            {"id": kept["访谈.txt"]["id"], "caption": "访谈记录", "background": True},
        ],
    )
    return course, blobs, kept


async def test_background_reaches_no_page_no_channel_and_no_channel_digest(item, tmp_path: Path):
    course, blobs, kept = item
    course.run()
    site = Site(tmp_path / "site", "http://127.0.0.1", blobs.path)
    publisher = Publisher(
        AsLedger(course.ledger), {"website": site}, lambda: course.now, blobs=blobs
    )
    secret = kept["访谈.txt"]["sha256"]
    blobs.path(secret).unlink()  # what isn't sent isn't needed either

    ref = PublicationRef(submission_id=course.id, channel="site", generation=1)
    receipt = await ActivityEnvironment().run(publisher.publish, ref)

    assert receipt.state == PublicationState.LIVE
    everything = [path for path in (tmp_path / "site").rglob("*") if path.is_file()]
    assert any(path.suffix == ".png" for path in everything)
    assert not [path for path in everything if secret in path.name]
    assert not [path for path in everything if "访谈".encode() in path.read_bytes()]

    def look(one: Any) -> Any:
        channel = one.session.get(Channel, "site")
        version = full_version(one.session, one.row.id, 1)
        both = rendered(one, version, channel, "造林处")
        version.attachments = [x for x in version.attachments if not x.get("background")]
        return both.digest, rendered(one, version, channel, "造林处").digest

    with_it, without_it = course.item(look)
    assert with_it == without_it


@pytest.mark.parametrize("platform", [WEBSITE, WECHAT, PUSH, "sms"])
def test_no_platform_shows_it(platform: str):
    line = {"unit_name": "造林处", "digest": "sha256:" + "0" * 64}
    shown = {"form": "document", "caption": "公开附件"}
    hidden = {"form": "document", "caption": "背景附件", "background": True}

    content = render(
        platform, "2026-000001", "标题", "正文", [shown, hidden], line
    ).content.decode()

    assert "背景附件" not in content
    plain = render(platform, "2026-000001", "标题", "正文", [shown], line).content.decode()
    assert content == plain


def test_reviewers_see_and_fetch_it_and_approve_exactly_it(item):
    course, _, kept = item
    attachment = kept["访谈.txt"]["id"]
    digest = course.row().digest

    with course.ledger.reading() as session:
        assert fetch(session, who(session, "chief"), attachment, MONDAY).name == "访谈.txt"
        with pytest.raises(NotFoundError):
            fetch(session, who(session, "fire_info"), attachment, MONDAY)
    course.run(until="edit_proof2")
    uses = [{"id": kept["图.png"]["id"], "caption": "会议现场"},
            {"id": attachment, "caption": "访谈记录"}]  # fmt: skip
    course.edit("editor_a", attachments=uses, change="substance")
    assert course.row().digest != digest, "making it public is another version"
    (step,) = course.turn().open_steps
    with pytest.raises(RefusedError, match="stale_version"):
        course.decide(course.usual(step.step), step.step, digest=digest)


def test_digests_of_items_without_any_are_what_they_were(ledger: Ledger):
    kept = uploaded(ledger, "图.png", PICTURE)
    plain = Course(ledger, attachments=[{"id": kept["id"]}])

    (one,) = plain.item(lambda found: found.version.attachments)

    assert "background" not in one


def test_background_is_screened_like_every_upload(ledger: Ledger):
    kept = uploaded(ledger, "说明.txt", "联系人手机号13812345678".encode())

    course = Course(ledger, attachments=[{"id": kept["id"], "background": True}])

    assert any(one["field"].startswith("attachments.0") for one in course.answer["findings"])


# --- the editor's grade ---------------------------------------------------------------------------


def test_grade_is_feedback_for_the_unit_after_publication_and_the_last_one_counts(ledger: Ledger):
    course = Course(ledger)
    with pytest.raises(RefusedError, match="wrong_status"):
        course.act("editor_a", "grade", grade="A")
    course.publish(course.run())
    for person in ("afforest_head", "supervisor_a", "leader_eco", "publisher_a"):
        with pytest.raises(NotAllowedError):
            course.act(person, "grade", grade="A")
    with pytest.raises(MalformedError):
        course.act("editor_a", "grade")
    digest = course.row().digest

    course.act("editor_a", "grade", grade="B", reason="角度新，背景不足")
    course.act("chief", "grade", grade="A")

    assert (course.row().status, course.row().digest) == ("published", digest)
    with ledger.reading() as session:
        told = {
            one.person_id for one in session.exec(select(Notice).where(Notice.kind == "graded"))
        }
        entries = session.exec(select(Audit).where(Audit.event == "grade").order_by(Audit.n)).all()
        found = statistics(session, who(session, "chief"), None, None, "unit", course.now)
        others = statistics(session, who(session, "fire_info"), None, None, "unit", course.now)
    assert told == {"afforest_info", "afforest_info2", "afforest_head"}
    assert [one.data["grade"] for one in entries] == ["B", "A"]
    assert "角度新" not in str([one.data for one in entries])
    assert [(row["unit"], row["A"], row["B"], row["C"]) for row in found["grades"]] == [
        ("afforest", 1, 0, 0)
    ]
    assert others["grades"] == [], "of what one may see alone"
