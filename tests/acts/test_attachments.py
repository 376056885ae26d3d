"""Files on items: whose they are, what the digest covers, and that no changed byte is published."""

from pathlib import Path

import pytest
from sqlmodel import select
from temporalio.testing import ActivityEnvironment

from activities.channels import Site
from activities.publish import Publisher
from review.acts import attaching
from review.blobs import ALTERED, MISSING, Blobs
from review.records.engine import Ledger
from review.records.tables import Attachment, Audit, Notice
from review.rules.errors import MalformedError, NotAllowedError, NotFoundError, RefusedError
from review.rules.publications import PublicationRef
from review.rules.values import PublicationState
from review.uploads import examined
from starter.cli_doctor import in_blobs
from starter.reviews import Reviews
from tests.acting import Course
from tests.examples import MONDAY, who
from tests.uploads.files import IDENTITY, a_docx, a_pdf, a_picture, paragraph

PICTURE = a_picture("PNG")


def uploaded(ledger: Ledger, name: str = "图.png", content: bytes = PICTURE, by="afforest_info"):
    """Write an upload down as the web does once its bytes are kept."""
    cleaned = examined(name, content)
    sha256 = attaching_sha(cleaned.content)
    return ledger.write(
        lambda s: attaching.attach(
            s, who(s, by), cleaned, sha256=sha256, original_sha256=attaching_sha(content),
            findings=[], way_in="api", now=MONDAY,
        )
    )  # fmt: skip


def attaching_sha(content: bytes) -> str:
    from review.blobs import digest_of

    return digest_of(content)


def refused(error: pytest.ExceptionInfo[MalformedError]) -> list[str]:
    return [one["message"] for one in error.value.params["errors"]]


# --- on items ---------------------------------------------------------------------------------


def test_a_version_keeps_which_bytes_it_uses(ledger: Ledger):
    one = uploaded(ledger)

    course = Course(ledger, attachments=[{"id": one["id"], "caption": "会议现场"}])

    [kept] = course.item(lambda item: item.version.attachments)
    assert (kept["sha256"], kept["media_type"], kept["name"], kept["size"]) == (
        one["sha256"], "image/png", "图.png", one["size"],
    )  # fmt: skip
    assert kept["form"] == "image"


def test_form_follows_from_the_bytes_unless_it_is_said(ledger: Ledger):
    one = uploaded(ledger, "a.pdf", a_pdf())
    course = Course(ledger, attachments=[{"id": one["id"]}])
    assert course.item(lambda item: item.version.attachments[0]["form"]) == "document"


def test_only_ones_own_uploads_and_each_once(ledger: Ledger):
    one, others = uploaded(ledger), uploaded(ledger, by="forest_info")
    for ids, message in (
        (["nothing"], "unknown_attachment"),
        ([others["id"]], "unknown_attachment"),
        ([one["id"], one["id"]], "attachment_twice"),
    ):
        with pytest.raises(MalformedError) as caught:
            Course(ledger, attachments=[{"id": id_} for id_ in ids])
        assert refused(caught) == [message]


def test_an_editor_may_keep_what_is_on_the_item_and_add_own(ledger: Ledger):
    one, own = uploaded(ledger), uploaded(ledger, by="editor_a", content=a_picture("PNG", (9, 9)))
    stranger = uploaded(ledger, by="forest_info")
    course = Course(ledger, attachments=[{"id": one["id"]}])
    course.run(until="edit_proof2")

    with pytest.raises(MalformedError) as caught:
        course.edit("editor_a", attachments=[{"id": stranger["id"]}])
    assert refused(caught) == ["unknown_attachment"]

    before = course.row().digest
    course.edit("editor_a", attachments=[{"id": one["id"]}, {"id": own["id"]}])
    assert course.row().digest != before
    course.turn()
    if course.row().status == "in_review":
        course.run(until="edit_proof2")
    course.edit("editor_a", attachments=[{"id": one["id"]}])
    assert course.row().digest == before, "the same bytes and words, the same digest"


def test_digest_goes_by_bytes_and_words_not_by_the_rows_id(ledger: Ledger):
    one, same = uploaded(ledger), uploaded(ledger)
    other = uploaded(ledger, content=a_picture("PNG", (5, 5)))
    assert one["id"] != same["id"]

    def digest(id_: str, **words: str) -> str:
        return Course(ledger, attachments=[{"id": id_} | words]).row().digest

    assert digest(one["id"]) == digest(same["id"])
    assert len({digest(one["id"]), digest(other["id"]), digest(one["id"], caption="图")}) == 3


def test_who_may_fetch(ledger: Ledger):
    one = uploaded(ledger)

    def may(person: str) -> bool:
        with ledger.reading() as session:
            try:
                attaching.fetch(session, who(session, person), one["id"], MONDAY)
            except NotFoundError:
                return False
            return True

    people = ("afforest_info", "afforest_info2", "afforest_head", "chief", "forest_info", "admin")
    assert [person for person in people if may(person)] == ["afforest_info"], "before it is used"
    Course(ledger, attachments=[{"id": one["id"]}])
    assert [person for person in people if may(person)] == list(people[:4]), "as its item"


def test_readers_do_not_upload(ledger: Ledger):
    for person in ("auditor_a", "admin", "security"):
        with pytest.raises(NotAllowedError):
            uploaded(ledger, by=person)


# --- before anything is stored ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.docx", a_docx(paragraph(f"金丝雀测绘 {IDENTITY}"))),
        ("a.pdf", a_pdf(f"canary {IDENTITY}")),
        ("a.txt", f"机密★ 金丝雀测绘 {IDENTITY}".encode()),
        (f"金丝雀测绘{IDENTITY}.png", PICTURE),
    ],
)
async def test_a_stop_keeps_nothing(quick_ledger: Ledger, tmp_path: Path, name, content):
    reviews = Reviews(quick_ledger, None, blobs=Blobs(tmp_path / "blobs"))
    with quick_ledger.reading() as session:
        author = who(session, "afforest_info")

    with pytest.raises(RefusedError) as caught:
        await reviews.attach(author, name, content, key="k1", way_in="api")

    assert caught.value.code == "screening_stop"
    assert not (tmp_path / "blobs").exists()
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert IDENTITY.encode() not in kept and "金丝雀测绘".encode() not in kept
    with quick_ledger.reading() as session:
        assert session.exec(select(Attachment)).all() == []
        [entry] = session.exec(select(Audit).where(Audit.event == "screening_stop")).all()
        [notice] = session.exec(select(Notice)).all()
    assert entry.data["what"] == "attach" and notice.person_id == "security"


async def test_other_findings_are_told_and_the_file_is_kept(quick_ledger: Ledger, tmp_path: Path):
    blobs = Blobs(tmp_path / "blobs")
    reviews = Reviews(quick_ledger, None, blobs=blobs)
    with quick_ledger.reading() as session:
        author = who(session, "afforest_info")

    scanned = await reviews.attach(author, "a.pdf", a_pdf(""), key=None, way_in="api")
    internal = await reviews.attach(
        author, "a.txt", "内部资料，注意保存。".encode(), key=None, way_in="api"
    )

    assert [one["rule"] for one in scanned["findings"]] == ["PDF_NO_TEXT"]
    assert "INTERNAL_MARK" in {one["rule"] for one in internal["findings"]}
    assert blobs.problems([scanned["sha256"], internal["sha256"]]) == {}


def test_files_are_screened_with_the_item(ledger: Ledger):
    """What a list forbids in a file blocks its item; what nobody could read must be seen."""
    internal = uploaded(ledger, "a.txt", "内部资料，注意保存。".encode())
    scan = uploaded(ledger, "b.pdf", a_pdf(""))

    course = Course(ledger, attachments=[{"id": internal["id"]}, {"id": scan["id"]}])

    found = {(one["rule"], one["field"], one["severity"]) for one in course.answer["findings"]}
    assert ("INTERNAL_MARK", "attachments.0.text", "block") in found
    assert ("PDF_NO_TEXT", "attachments.1", "warn") in found
    course.turn()
    with pytest.raises(RefusedError) as caught:
        course.decide("afforest_head", "unit_review")
    assert caught.value.code == "findings_open"


def test_more_text_than_can_be_screened_is_refused(ledger: Ledger):
    ids = [
        uploaded(ledger, "a.txt", f"{number}{'造林绿化。' * 60_000}".encode())["id"]
        for number in range(3)
    ]
    with pytest.raises(MalformedError) as caught:
        Course(ledger, attachments=[{"id": id_} for id_ in ids])
    assert refused(caught) == ["attachments_too_long"]


async def test_a_full_disk_is_no_upload(quick_ledger: Ledger, tmp_path: Path):
    (tmp_path / "blobs").write_text("not a folder")
    reviews = Reviews(quick_ledger, None, blobs=Blobs(tmp_path / "blobs"))
    with quick_ledger.reading() as session:
        author = who(session, "afforest_info")

    with pytest.raises(Exception, match="ledger_unavailable"):
        await reviews.attach(author, "图.png", PICTURE, key=None, way_in="api")

    with quick_ledger.reading() as session:
        assert session.exec(select(Attachment)).all() == []


# --- at the gate --------------------------------------------------------------------------------


class AsLedger:
    """The ledger as a worker has it, for activities in a test's own loop."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def run(self, act, *args):
        return self._ledger.write(act, *args)

    async def read(self, look, *args):
        with self._ledger.reading() as session:
            return look(session, *args)


@pytest.fixture
def house(quick_ledger: Ledger, tmp_path: Path):
    """An item with a picture and a document, ready to be published."""
    blobs = Blobs(tmp_path / "blobs")
    files = {"图.png": PICTURE, "附件.docx": a_docx(), "声.txt": "文字稿。".encode()}
    kept = {}
    for name, content in files.items():
        blobs.put(examined(name, content).content)
        kept[name] = uploaded(quick_ledger, name, content)
    course = Course(
        quick_ledger, attachments=[{"id": one["id"], "caption": name} for name, one in kept.items()]
    )
    course.run()
    site = Site(tmp_path / "site", "http://127.0.0.1", blobs.path)
    publisher = Publisher(
        AsLedger(quick_ledger), {"website": site}, lambda: course.now, blobs=blobs
    )
    return course, blobs, publisher, kept, tmp_path / "site"


async def sent(course: Course, publisher: Publisher) -> PublicationState:
    ref = PublicationRef(submission_id=course.id, channel="site", generation=1)
    return (await ActivityEnvironment().run(publisher.publish, ref)).state


async def test_pictures_are_shown_and_documents_linked(house):
    course, _, publisher, kept, site = house

    assert await sent(course, publisher) == PublicationState.LIVE

    page = (site / "item" / f"{course.row().number}.html").read_text()
    assert f'<img src="../files/{kept["图.png"]["sha256"]}.png" alt="图.png">' in page
    assert f'<a href="../files/{kept["附件.docx"]["sha256"]}.docx">' in page
    assert {path.name for path in (site / "files").iterdir()} == {
        f"{kept['图.png']['sha256']}.png",
        f"{kept['附件.docx']['sha256']}.docx",
        f"{kept['声.txt']['sha256']}.txt",
    }


@pytest.mark.parametrize("wrong", [MISSING, ALTERED])
async def test_a_changed_byte_stops_publishing(house, wrong: str):
    course, blobs, publisher, kept, site = house
    path = blobs.path(kept["附件.docx"]["sha256"])
    content = bytearray(path.read_bytes())
    if wrong == MISSING:
        path.unlink()
    else:
        content[len(content) // 2] ^= 1
        path.write_bytes(content)

    assert await sent(course, publisher) == PublicationState.FAILED

    assert not (site / "item").exists() or not list((site / "item").iterdir())
    with course.ledger.reading() as session:
        entries = session.exec(select(Audit).where(Audit.event == "gate_closed")).all()
        told = session.exec(select(Notice).where(Notice.kind == "attachments_wrong")).all()
    assert [entry.data["why"] for entry in entries] == [[f"attachment_{wrong}"]]
    assert [notice.person_id for notice in told] == ["chief"]
    assert course.item(lambda item: item.publications()[0].detail) == (
        "publication.attachment_missing"
    )


async def test_without_the_folder_of_files_nothing_with_files_goes_out(house):
    course, _, publisher, *_ = house
    publisher._blobs = None
    assert await sent(course, publisher) == PublicationState.FAILED


async def test_doctor_names_files_and_the_items_that_use_them(house):
    course, blobs, _, kept, _ = house
    unused = uploaded(course.ledger, "b.png", a_picture("PNG", (3, 3)))
    blobs.path(kept["图.png"]["sha256"]).write_bytes(b"changed")

    with course.ledger.reading() as session:
        found = in_blobs(session, blobs)

    assert sorted((one["what"], one["submission"], one["sha256"]) for one in found) == [
        ("attachment_altered", course.id, kept["图.png"]["sha256"]),
        ("attachment_missing", "", unused["sha256"]),
    ]


# --- the folder ---------------------------------------------------------------------------------


def test_a_file_is_kept_whole_private_and_mended(tmp_path: Path):
    blobs = Blobs(tmp_path / "blobs")

    digest = blobs.put(b"content")
    path = blobs.path(digest)

    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o077 == 0
    assert blobs.read(digest) == b"content"
    assert [one.name for one in path.parent.iterdir()] == [digest]
    path.write_bytes(b"changed")
    assert blobs.read(digest) is None
    assert blobs.put(b"content") == digest
    assert blobs.problem(digest) is None


@pytest.mark.parametrize("digest", ["", "../../etc/passwd", "A" * 64, "a" * 63])
def test_only_digests_name_files(tmp_path: Path, digest: str):
    with pytest.raises(ValueError):
        Blobs(tmp_path).path(digest)
