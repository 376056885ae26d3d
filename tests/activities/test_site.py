"""The embedded site: each file whole, each item once, whatever crashes or comes twice."""

import asyncio
import json
import subprocess
import sys
import time
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from xml.etree import ElementTree

import pytest

from activities.channels import PAGE_OF_INDEX, Site, channel_for
from review.rendering import render_claim
from review.rules.publications import Claim, Receipt
from review.rules.values import PublicationState
from tests.publications import MONDAY_9AM, TITLE, a_claim

ATOM = "{http://www.w3.org/2005/Atom}"
OURS = "{urn:x-sanshen:feed}"
BASE = "http://127.0.0.1:8080"
NASTY = "</title><script>alert(1)</script> & ]]> \"'<b>\x00\x0b\ud800"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "site"


@pytest.fixture
async def site(root: Path) -> Site:
    site = Site(root, BASE)
    await site.lay_out()
    return site


async def put(site: Site, claim: Claim, at: datetime = MONDAY_9AM) -> Receipt:
    return await site.publish(claim, render_claim(claim), at)


def entries(root: Path) -> list[ElementTree.Element]:
    return ElementTree.fromstring((root / "feed.atom").read_bytes()).findall(f"{ATOM}entry")


def snapshot(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


async def test_published_item_stands_in_page_list_and_feed(site: Site, root: Path):
    claim = a_claim()

    receipt = await put(site, claim)

    assert receipt == Receipt(
        state=PublicationState.LIVE,
        url=f"{BASE}/public/item/2026-000123.html",
        reference="s1-site-1",
    )
    page = (root / "item/2026-000123.html").read_bytes()
    assert f"sha256:{sha256(page).hexdigest()}" == claim.rendered_digest
    assert TITLE in (root / "index.html").read_text()
    [entry] = entries(root)
    assert entry.findtext(f"{OURS}number") == "2026-000123"
    assert entry.findtext(f"{OURS}digest") == claim.digest
    assert "2026-000123" in (entry.findtext(f"{ATOM}summary") or "")


async def test_repeat_of_a_key_changes_nothing(site: Site, root: Path):
    first = await put(site, a_claim())
    before = snapshot(root)

    again = await put(site, a_claim(attempt_no=2), MONDAY_9AM + timedelta(hours=1))

    assert again == first
    assert snapshot(root) == before


async def test_empty_site_has_a_list_and_a_valid_feed(site: Site, root: Path):
    assert "暂无" in (root / "index.html").read_text()
    assert entries(root) == []


async def test_feed_has_what_atom_demands(site: Site, root: Path):
    """RFC 4287: 4.1.1, 4.1.2, 3.3."""
    await put(site, a_claim())
    await put(site, a_claim(number="2026-000124", submission_id="s2", title=NASTY))

    feed = ElementTree.fromstring((root / "feed.atom").read_bytes())

    assert feed.tag == f"{ATOM}feed"
    for node in (feed, *feed.findall(f"{ATOM}entry")):
        for name in ("id", "title", "updated"):
            assert len(node.findall(f"{ATOM}{name}")) == 1
        assert (node.findtext(f"{ATOM}author/{ATOM}name") or "").strip()
        moment = datetime.fromisoformat(node.findtext(f"{ATOM}updated") or "")
        assert moment.utcoffset() is not None
        assert [link.get("rel") for link in node.findall(f"{ATOM}link")].count("alternate") == 1
    ids = [entry.findtext(f"{ATOM}id") for entry in feed.findall(f"{ATOM}entry")]
    assert len(set(ids)) == 2
    assert all(name and name.startswith("urn:uuid:") for name in ids)


async def test_nasty_title_stays_text_everywhere(site: Site, root: Path):
    await put(site, a_claim(title=NASTY, unit_name=NASTY))

    titles = [entry.findtext(f"{ATOM}title") for entry in entries(root)]

    assert titles == [NASTY.translate({0: "\ufffd", 0x0B: "\ufffd", 0xD800: "\ufffd"})]
    assert "<script" not in (root / "index.html").read_text()
    assert "<script" not in (root / "item/2026-000123.html").read_text()


async def test_correction_replaces_the_page_and_keeps_the_first_moment(site: Site, root: Path):
    await put(site, a_claim())
    better = a_claim(generation=2, correction_of=1, body="更正后的正文。")

    receipt = await site.correct(better, render_claim(better), MONDAY_9AM + timedelta(hours=3))

    assert receipt.state == PublicationState.LIVE
    assert "更正后的正文" in (root / "item/2026-000123.html").read_text()
    [entry] = entries(root)
    assert entry.findtext(f"{ATOM}published") == "2026-11-23T09:00:00+08:00"
    assert entry.findtext(f"{ATOM}updated") == "2026-11-23T12:00:00+08:00"


async def test_retracted_item_leaves_a_note_and_no_content(site: Site, root: Path):
    """A-24."""
    await put(site, a_claim())

    receipt = await site.retract(a_claim(deed="retract"), MONDAY_9AM)

    assert receipt.state == PublicationState.RETRACTED
    assert "已撤稿" in (root / "item/2026-000123.html").read_text()
    assert entries(root) == []
    for content in snapshot(root).values():
        assert TITLE.encode() not in content
    assert (await site.retract(a_claim(deed="retract"), MONDAY_9AM)) == receipt


async def test_late_sender_does_not_bring_back_what_was_retracted(site: Site, root: Path):
    await put(site, a_claim())
    await site.retract(a_claim(deed="retract"), MONDAY_9AM)

    receipt = await put(site, a_claim())

    assert receipt.state == PublicationState.RETRACTED
    assert "已撤稿" in (root / "item/2026-000123.html").read_text()


async def test_retraction_before_arrival_keeps_the_sender_out(site: Site):
    await site.retract(a_claim(deed="retract"), MONDAY_9AM)

    assert (await put(site, a_claim())).state == PublicationState.RETRACTED


async def test_new_generation_may_follow_a_retraction(site: Site, root: Path):
    await put(site, a_claim())
    await site.retract(a_claim(deed="retract"), MONDAY_9AM)

    receipt = await put(site, a_claim(generation=2))

    assert receipt.state == PublicationState.LIVE
    assert len(entries(root)) == 1


async def test_older_generation_does_not_replace_a_newer_one(site: Site, root: Path):
    await put(site, a_claim(generation=2, body="新的。"))

    receipt = await put(site, a_claim(body="旧的。"))

    assert (receipt.state, receipt.detail) == (PublicationState.FAILED, "publication.superseded")
    assert "新的" in (root / "item/2026-000123.html").read_text()


async def test_second_site_channel_of_an_item_has_a_page_of_its_own(site: Site, root: Path):
    """R2.2-3: two units may each show the same item on a site."""
    first = await put(site, a_claim())
    other = a_claim(channel="site2")

    second = await put(site, other)

    assert (first.state, second.state) == (PublicationState.LIVE, PublicationState.LIVE)
    assert first.url != second.url
    assert len(entries(root)) == 2
    assert (await site.lookup(other)).url == second.url
    await site.retract(other.model_copy(update={"deed": "retract"}), MONDAY_9AM)
    assert TITLE in (root / "item/2026-000123.html").read_text()
    assert len(entries(root)) == 1


async def test_number_of_another_item_is_not_taken_over(site: Site, root: Path):
    """A ledger restored from an older copy may give the same number again."""
    await put(site, a_claim())
    before = snapshot(root)
    change = {"submission_id": "s9"}

    publish = await put(site, a_claim(**change, body="别的。"))
    retract = await site.retract(a_claim(**change, deed="retract"), MONDAY_9AM)

    assert publish.state == retract.state == PublicationState.FAILED
    assert publish.detail == "publication.number_taken"
    assert snapshot(root) == before


async def test_other_content_under_the_same_key_is_for_a_person(site: Site, root: Path):
    await put(site, a_claim())

    receipt = await put(site, a_claim(body="别的。"))

    assert receipt.state == PublicationState.UNKNOWN
    assert "别的" not in (root / "item/2026-000123.html").read_text()


async def test_lookup_tells_by_key(site: Site):
    assert await site.lookup(a_claim()) is None

    receipt = await put(site, a_claim())

    assert await site.lookup(a_claim()) == receipt
    assert await site.lookup(a_claim(generation=2)) is None


@pytest.mark.parametrize("number", ["../evil", "a/b", "", ".hidden", "a\nb", "x" * 80])
async def test_number_cannot_leave_the_folder(site: Site, root: Path, number: str):
    before = snapshot(root)

    with pytest.raises(ValueError, match="number"):
        await put(site, a_claim(number=number))

    assert snapshot(root) == before


async def test_failed_write_shows_nothing_new(site: Site, root: Path):
    """The error leaves; what stood before still stands, and the next try completes it."""
    await put(site, a_claim())
    before = snapshot(root)
    (root / "item/2026-000124.html").mkdir()  # a rename onto a folder fails, also for root

    with pytest.raises(IsADirectoryError):
        await put(site, a_claim(number="2026-000124", submission_id="s2"))

    left = {name for name in snapshot(root) if not name.startswith(".tmp/")}
    assert left == set(before)
    (root / "item/2026-000124.html").rmdir()
    await put(site, a_claim(number="2026-000124", submission_id="s2"))
    assert len(entries(root)) == 2


async def test_crash_between_manifest_and_list_is_completed_by_the_look(
    site: Site, root: Path, tmp_path: Path
):
    await put(site, a_claim())
    whole = snapshot(root)
    for name in ("index.html", "feed.atom", "site.css"):
        (root / name).unlink()
    (root / ".tmp/feed.atom").write_bytes(b"<half")

    assert await Site(root, BASE).lookup(a_claim()) is not None

    assert snapshot(root) == whole


async def test_damaged_page_is_repaired_by_a_repeat(site: Site, root: Path):
    await put(site, a_claim())
    (root / "item/2026-000123.html").write_bytes(b"defaced")

    await put(site, a_claim())

    page = (root / "item/2026-000123.html").read_bytes()
    assert f"sha256:{sha256(page).hexdigest()}" == a_claim().rendered_digest


async def test_reader_never_sees_half_a_file(site: Site, root: Path):
    stop = False

    def read() -> int:
        looks = 0
        while not stop:
            ElementTree.fromstring((root / "feed.atom").read_bytes())
            assert (root / "index.html").read_bytes().endswith(b"</html>\n")
            looks += 1
        return looks

    reading = asyncio.create_task(asyncio.to_thread(read))
    try:
        for at in range(20):
            await put(site, a_claim(number=f"2026-{at:06}", submission_id=f"s{at}"))
    finally:
        stop = True
    assert await reading > 0
    assert list((root / ".tmp").iterdir()) == []


async def test_older_items_move_to_further_pages(site: Site, root: Path):
    manifest = json.loads((await _one_manifest(site, root)).read_text())
    for at in range(2 * PAGE_OF_INDEX + 5):
        name = f"2026-1{at:05}"
        other = manifest | {
            "number": name,
            "submission_id": f"x{at}",
            "key": f"x{at}-site-1",
            "first_published_at": (MONDAY_9AM - timedelta(hours=at + 1)).isoformat(),
        }
        (root / f"items/{name}.json").write_text(json.dumps(other))

    await site.lay_out()

    newest, oldest, between = (
        (root / name).read_text() for name in ("index.html", "page-1.html", "page-2.html")
    )
    assert [page.count("<li>") for page in (newest, between, oldest)] == [200, 6, 200]
    assert "2026-000123" in newest and f"2026-1{2 * PAGE_OF_INDEX + 4:05}" in oldest
    assert 'href="page-2.html"' in newest and 'href="index.html" rel="prev"' in between
    assert 'href="page-1.html" rel="next"' in between and 'href="page-2.html"' in oldest
    whole = snapshot(root)
    await Site(root, BASE).lay_out()
    assert snapshot(root) == whole
    for at in range(2 * PAGE_OF_INDEX + 5):
        (root / f"items/2026-1{at:05}.json").unlink()
    await site.lay_out()
    assert not list(root.glob("page-*.html"))
    assert (root / "index.html").read_text().count("<li>") == 1


async def test_list_damaged_from_outside_is_made_again(site: Site, root: Path):
    await put(site, a_claim())
    (root / "index.html").write_text("defaced")

    await site.lay_out()

    assert TITLE in (root / "index.html").read_text()


async def _one_manifest(site: Site, root: Path) -> Path:
    await put(site, a_claim())
    return root / "items/2026-000123.json"


async def test_files_of_an_item_come_and_go_with_it(root: Path, tmp_path: Path):
    """R3.1-1."""
    digest = sha256(b"picture").hexdigest()
    (tmp_path / digest).write_bytes(b"picture")
    image = {"form": "image", "sha256": digest, "media_type": "image/png", "caption": "图"}
    site = Site(root, BASE, blob=lambda name: tmp_path / name)

    receipt = await put(site, a_claim(attachments=(image,)))

    assert receipt.state == PublicationState.LIVE
    assert (root / f"files/{digest}.png").read_bytes() == b"picture"
    await site.retract(a_claim(deed="retract"), MONDAY_9AM)
    assert not (root / f"files/{digest}.png").exists()


@pytest.mark.parametrize("content", [None, b"another picture"])
async def test_item_is_not_published_with_holes(root: Path, tmp_path: Path, content: bytes | None):
    digest = sha256(b"picture").hexdigest()
    if content is not None:
        (tmp_path / digest).write_bytes(content)
    image = {"form": "image", "sha256": digest, "media_type": "image/png"}
    site = Site(root, BASE, blob=lambda name: tmp_path / name)

    receipt = await put(site, a_claim(attachments=(image,)))

    assert receipt.detail == "publication.attachment_missing"
    assert not (root / "item/2026-000123.html").exists()


PROCESS = """
import asyncio, pathlib, sys
from activities.channels import Site
from review.rendering import render_claim
from tests.publications import MONDAY_9AM, a_claim

async def main(root, mine):
    site = Site(pathlib.Path(root), "http://127.0.0.1:8080")
    for at in range(15):
        shared = a_claim(number=f"2026-8{at:05}", submission_id=f"both{at}")
        own = a_claim(number=f"2026-{mine}{at:05}", submission_id=f"own{mine}{at}")
        for claim in (shared, own):
            receipt = await site.publish(claim, render_claim(claim), MONDAY_9AM)
            assert receipt.state == "live", receipt

asyncio.run(main(*sys.argv[1:]))
"""


def test_two_processes_share_one_site(root: Path):
    workers = [
        subprocess.Popen([sys.executable, "-c", PROCESS, str(root), mine]) for mine in ("1", "2")
    ]

    assert [worker.wait(60) for worker in workers] == [0, 0]

    numbers = [entry.findtext(f"{OURS}number") for entry in entries(root)]
    assert len(numbers) == len(set(numbers)) == 45
    assert (root / "index.html").read_text().count("<li>") == 45
    assert len(list((root / "items").iterdir())) == 45


def test_killed_writer_leaves_a_site_that_goes_on(root: Path):
    for written in (2, 9):
        worker = subprocess.Popen([sys.executable, "-c", PROCESS, str(root), "1"])
        while worker.poll() is None and len(list(root.glob("items/*.json"))) < written:
            time.sleep(0.002)
        worker.kill()
        worker.wait()

    subprocess.run([sys.executable, "-c", PROCESS, str(root), "1"], check=True, timeout=60)

    assert len(entries(root)) == 30


def test_unknown_platform_says_what_there_is(root: Path):
    with pytest.raises(Exception, match=r"'douyin' .* website"):
        channel_for({"website": Site(root, BASE)}, "douyin")
