"""Uploads over HTTP: refused early, held in memory, handed back as files."""

import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from review.blobs import Blobs
from review.records.engine import Ledger
from review.records.people import Person, load_person
from review.settings import Settings
from starter.reviews import Reviews
from starter.web import attachments
from starter.web.app import create_app
from tests.acting import Course
from tests.examples import MONDAY
from tests.uploads.files import IDENTITY, SAMPLES, a_docx, a_picture, paragraph

PATH = "/api/v1/attachments"
PICTURE = a_picture("PNG")


class EveryName:
    """Lets everybody in whose token is a name; one session, the author's."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def by_token(self, token: str) -> Person | None:
        with self._ledger.reading() as session:
            return load_person(session, token, MONDAY)

    def by_session(self, secret: str) -> tuple[Person, str] | None:
        person = self.by_token("afforest_info")
        return (person, "csrf") if person and secret == "cookie" else None


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
async def client(quick_ledger: Ledger, data: Path) -> AsyncIterator[httpx.AsyncClient]:
    reviews = Reviews(quick_ledger, None, clock=lambda: MONDAY, blobs=Blobs(data / "blobs"))
    settings = Settings(data=data, secret_key="s" * 32, _env_file=None)
    app = create_app(reviews, EveryName(quick_ledger), settings)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="http://test",
        headers={"Authorization": "Bearer afforest_info"},
    ) as found:
        yield found


def file(name: str = "图.png", content: bytes = PICTURE) -> dict[str, Any]:
    return {"files": {"file": (name, content)}}


def by(person: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {person}"}


def assert_refused(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    return dict(answer.json())


@pytest.mark.parametrize("name", SAMPLES)
async def test_a_file_comes_back_as_a_file(client: httpx.AsyncClient, name: str):
    taken = await client.post(PATH, **file(name, SAMPLES[name]))
    assert taken.status_code == 201, taken.text
    kept = taken.json()
    assert kept["name"] == name

    got = await client.get(f"{PATH}/{kept['id']}")

    assert got.status_code == 200
    assert len(got.content) == kept["size"]
    assert got.headers["content-type"].partition(";")[0] == kept["media_type"]
    assert got.headers["content-disposition"].startswith("attachment; filename*=UTF-8''")
    assert got.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in got.headers["content-security-policy"]


async def test_others_find_nothing_until_they_see_its_item(client, quick_ledger):
    id_ = (await client.post(PATH, **file())).json()["id"]
    assert_refused(await client.get(f"{PATH}/{id_}", headers=by("chief")), 404, "not_found")
    Course(quick_ledger, attachments=[{"id": id_}])
    assert (await client.get(f"{PATH}/{id_}", headers=by("chief"))).status_code == 200
    assert_refused(await client.get(f"{PATH}/{id_}", headers=by("forest_info")), 404, "not_found")
    assert_refused(await client.get(f"{PATH}/nothing"), 404, "not_found")
    assert_refused(await client.get(f"{PATH}/.."), 404, "not_found")


async def test_a_damaged_file_is_not_handed_out(client, data: Path):
    kept = (await client.post(PATH, **file())).json()
    Blobs(data / "blobs").path(kept["sha256"]).write_bytes(b"other bytes")
    assert_refused(await client.get(f"{PATH}/{kept['id']}"), 409, "attachment_wrong")


async def test_who_may_not_is_told_before_a_byte_is_read(client):
    async def never() -> AsyncIterator[bytes]:
        raise AssertionError("the body was read")
        yield b""

    for headers, status, code in (
        (by("auditor_a"), 403, "not_allowed"),
        (by("nobody"), 401, "not_signed_in"),
        ({"Authorization": "", "Cookie": "sanshen_session=cookie"}, 403, "not_allowed"),
    ):
        answer = await client.post(PATH, content=never(), headers=headers)
        assert_refused(answer, status, code)


async def test_a_session_needs_its_csrf_token(client):
    headers = {"Authorization": "", "Cookie": "sanshen_session=cookie", "X-CSRF-Token": "csrf"}
    assert (await client.post(PATH, headers=headers, **file())).status_code == 201


async def test_a_repeat_gives_the_first_answer(client):
    key = {"Idempotency-Key": "k1"}
    first = await client.post(PATH, headers=key, **file())
    again = await client.post(PATH, headers=key, **file())
    other = await client.post(PATH, headers=key, **file(content=a_picture("PNG", (3, 3))))

    assert first.json() == again.json()
    assert_refused(other, 422, "key_reused")


async def test_too_much_is_refused_by_what_it_says_and_by_what_it_is(client, monkeypatch):
    monkeypatch.setattr(attachments, "LARGEST", 1000)
    said = await client.post(PATH, **file("a.txt", b"x" * 20_000))
    assert_refused(said, 413, "too_large")

    async def slowly() -> AsyncIterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'
        for _ in range(100):
            yield b"x" * 20
        yield b"\r\n--b--\r\n"

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    assert_refused(await client.post(PATH, content=slowly(), headers=headers), 413, "too_large")


async def test_what_is_no_form_or_no_known_kind(client):
    assert_refused(await client.post(PATH, json={}), 415, "unsupported_media")
    assert_refused(await client.post(PATH), 415, "unsupported_media")
    told = await client.post(PATH, headers={"Accept-Language": "en"}, **file("a.exe", b"MZ"))
    assert "docx" in assert_refused(told, 415, "unsupported_media")["detail"]
    told = await client.post(PATH, **file("a.pdf", PICTURE))
    assert "扩展名" in assert_refused(told, 415, "unsupported_media")["detail"]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "form_broken"),
        (b"--b--\r\n", "form_broken"),
        (b"no boundary", "form_broken"),
        (b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nx',
         "form_broken"),
        (b'--b\r\nContent-Disposition: form-data; name="other"; filename="a.txt"\r\n\r\nx\r\n--b--',
         "one_file"),
        (b'--b\r\nContent-Type: text/plain\r\n\r\nx\r\n--b--', "one_file"),
        (b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nx\r\n'
         b'--b\r\nContent-Disposition: form-data; name="file"; filename="b.txt"\r\n\r\ny\r\n--b--',
         "one_file"),
        (b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nx\r\n--b--\r\n',
         "name_without_ending"),
        (b'--b\r\nContent-Disposition: form-data; name="file"; filename="\xff.txt"\r\n\r\nx\r\n'
         b'--b--\r\n', "name_without_ending"),
    ],
)  # fmt: skip
async def test_broken_forms(client, body: bytes, kind: str):
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    problem = assert_refused(await client.post(PATH, content=body, headers=headers), 422,
                             "malformed")  # fmt: skip
    assert problem["errors"][0]["type"] == kind
    assert problem["errors"][0]["message"] != kind


async def test_an_unknown_attachment_is_told(client):
    draft = {
        "title": "春季造林工作启动", "body": "正文。", "category": "work_news",
        "kind": "disclosure", "source": {"type": "own"}, "channels": ["site"],
        "secrecy_pledge": True, "proofread": True, "attachments": [{"id": "nothing"}],
    }  # fmt: skip
    problem = assert_refused(await client.post("/api/v1/submissions", json=draft), 422, "malformed")
    assert problem["errors"][0]["type"] == "unknown_attachment"


async def test_only_so_many_are_held_at_once(client):
    gauge = attachments.Gauge(1)
    client._transport.app.state.uploads = gauge
    with gauge:
        assert_refused(await client.post(PATH, **file()), 429, "too_many")
    assert (await client.post(PATH, **file())).status_code == 201


opened: list[tuple[str, str]] | None = None


def note_files(event: str, args: tuple[Any, ...]) -> None:
    """Note every file that Python opens for writing, and every temporary one."""
    if opened is None:
        return
    if event == "open":
        path, mode, flags = args
        if (mode and set(str(mode)) & set("wax+")) or (flags or 0) & (os.O_WRONLY | os.O_RDWR):
            opened.append(("open", str(path)))
    elif event in ("tempfile.mkstemp", "tempfile.mkdtemp"):
        opened.append((event, str(args[0])))


@contextmanager
def watched() -> Iterator[list[tuple[str, str]]]:
    global opened
    if not getattr(note_files, "added", False):
        sys.addaudithook(note_files)  # can't be taken away again, so it has a switch
        note_files.added = True
    opened = found = []
    try:
        yield found
    finally:
        opened = None


async def test_a_large_upload_that_is_stopped_touches_no_file(
    client, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Frameworks spool parts above a megabyte to the disk; the ledger alone is written here."""
    nowhere = tmp_path / "no" / "such" / "folder"  # whoever wants a temporary file fails
    monkeypatch.setenv("TMPDIR", str(nowhere))
    monkeypatch.setattr(tempfile, "tempdir", str(nowhere))
    text = "金丝雀测绘造林绿化。" * 38_000
    filler = "".join(paragraph(f"第{number}行金丝雀测绘。") for number in range(20_000))
    noise = BytesIO()
    Image.frombytes("RGB", (700, 700), os.urandom(700 * 700 * 3)).save(noise, "PNG")
    picture = {"word/media/a.png": noise.getvalue()}
    for name, content in (
        ("a.docx", a_docx(filler + paragraph(IDENTITY), parts=picture)),
        ("a.txt", f"{text}{IDENTITY}".encode()),
    ):
        assert len(content) > 1024 * 1024
        with watched() as found:
            answer = await client.post(PATH, **file(name, content))
        assert_refused(answer, 409, "screening_stop")
        assert IDENTITY not in answer.text
        strange = [one for one in found if "ledger.db" not in one[1]]
        assert strange == []
    assert not data.exists()
    links = Path("/proc/self/fd")
    if links.exists():
        targets = [os.readlink(one) for one in links.iterdir() if one.is_symlink()]
        assert not [one for one in targets if "(deleted)" in one and str(tmp_path) in one]
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert "金丝雀测绘".encode() not in path.read_bytes()


async def test_the_watch_sees_what_it_must(client):
    """The test above could not fail if its watch were blind."""
    with watched() as found, tempfile.TemporaryFile() as spooled:
        spooled.write(b"x")
        await client.post(PATH, **file())
    assert any(event.startswith("tempfile") or "tmp" in path for event, path in found)
    assert any("blobs" in path for _, path in found)
