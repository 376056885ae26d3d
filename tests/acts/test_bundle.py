"""One item as a bundle: it verifies with its own script alone, and what is touched shows."""

import asyncio
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from review.acts.bundling import inclusion
from review.blobs import Blobs
from review.records import checkpoints
from review.records.checkpoints import Keys, Tree, Watch
from review.records.engine import Ledger
from review.rules.digests import HASHES
from review.rules.errors import NotAllowedError, NotFoundError
from starter.reviews import Reviews
from tests.acting import Course
from tests.examples import MONDAY, who


class Bundled:
    """A bundle unpacked, and its script run without anything of ours."""

    def __init__(self, folder: Path, key: str) -> None:
        self.folder = folder
        self.key = key

    def verify(self, *args: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-I", "-S", str(self.folder / "verify.py"), *args],
            capture_output=True, text=True, timeout=60, cwd="/",
        )  # fmt: skip
        assert not done.stderr, done.stderr
        return done.returncode, done.stdout

    def edit(self, name: str, was: str, new: str, *, listed: bool = True) -> None:
        """Change a file, and unless told the manifest so that it agrees."""
        import hashlib

        path = self.folder / name
        text = path.read_text(encoding="utf-8")
        assert was in text
        path.write_text(text.replace(was, new, 1), encoding="utf-8")
        if listed:
            told = json.loads((self.folder / "manifest.json").read_text())
            told["files"][name] = hashlib.sha256(path.read_bytes()).hexdigest()
            (self.folder / "manifest.json").write_text(json.dumps(told))


def bundle_of(ledger: Ledger, submission: str, tmp_path: Path, person: str = "auditor_a") -> Path:
    reviews = Reviews(ledger, None, clock=lambda: MONDAY, blobs=Blobs(tmp_path / "blobs"))
    with ledger.reading() as session:
        caller = who(session, person)
    number, file = asyncio.run(reviews.bundle(caller, submission, "https://sanshen.example"))
    with file, zipfile.ZipFile(file) as packed:
        packed.extractall(tmp_path / "out")
    return tmp_path / "out" / number


@pytest.fixture
def bundled(quick_ledger: Ledger, tmp_path: Path) -> Iterator[Bundled]:
    """A published item among others, with a checkpoint after it."""
    for title in ("全省秋季林草种苗质量抽检工作启动", "古树名木保护条例宣传月活动开始"):
        Course(quick_ledger, title=title).turn()
    course = Course(quick_ledger, title="湿地保护志愿服务队今日成立")
    course.publish(course.run())
    watch = Watch(tmp_path / "watch", Keys([b"k" * 32]))
    made = checkpoints.make(quick_ledger, watch, MONDAY)
    Course(quick_ledger, title="防火宣传走进校园").turn()
    yield Bundled(bundle_of(quick_ledger, course.id, tmp_path), made.key)


def test_bundle_verifies_with_nothing_but_python(bundled: Bundled):
    code, said = bundled.verify(bundled.key)

    assert code == 0, said
    assert bundled.key in said
    names = {path.relative_to(bundled.folder).as_posix() for path in bundled.folder.rglob("*.*")}
    assert {"form.docx", "form.html", "texts/1.md", "audit.jsonl", "policy.json"} <= names


@pytest.mark.parametrize(
    ("name", "was", "new", "listed", "told"),
    [
        ("texts/1.md", "湿地", "湿洼", False, "texts/1.md: altered"),
        ("item.json", "3个市", "4个市", True, "version 1: altered"),
        ("item.json", '"verdict": "approve"', '"verdict": "return"', True, "as the trace tells"),
        ("item.json", '"person": "afforest_head"', '"person": "chief"', True, "as the trace tells"),
        ("audit.jsonl", "afforest_head", "forest_head", True, "altered"),
        ("checkpoint.json", '"entries": ', '"entries": 1', True, "signature is wrong"),
        ("checkpoint.json", '"index": ', '"index": 1', True, "the trace is not in it"),
    ],
)
def test_what_was_touched_shows(
    bundled: Bundled, name: str, was: str, new: str, listed: bool, told: str
):
    bundled.edit(name, was, new, listed=listed)

    code, said = bundled.verify()

    assert code == 1 and told in said, said


def test_entry_cut_off_and_file_added_show(bundled: Bundled):
    lines = (bundled.folder / "audit.jsonl").read_text().splitlines(keepends=True)
    (bundled.folder / "audit.jsonl").write_text("".join(lines[:-1]))
    (bundled.folder / "more.txt").write_text("x")

    code, said = bundled.verify()

    assert code == 1 and "chain: ends elsewhere" in said and "more.txt: added" in said


def test_another_key_is_told(bundled: Bundled):
    code, said = bundled.verify("A" * 43 + "=")

    assert code == 1 and "signed by another key" in said


def test_only_who_reads_the_trace_gets_one(quick_ledger: Ledger, tmp_path: Path):
    course = Course(quick_ledger)
    course.turn()
    for person in ("afforest_info", "editor_a", "leader_eco"):
        with pytest.raises(NotAllowedError):
            bundle_of(quick_ledger, course.id, tmp_path, person)
    for person in ("fire_info", "admin", "security"):
        with pytest.raises(NotFoundError):
            bundle_of(quick_ledger, course.id, tmp_path, person)
    folder = bundle_of(quick_ledger, course.id, tmp_path)
    assert Bundled(folder, "").verify()[0] == 0  # without a checkpoint, too


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 13])
def test_proof_leads_to_the_root_that_checkpoints_sign(size: int):
    tree = Tree("sha256")
    for seq in range(size):
        tree.add(seq, f"h{seq}")
    node = HASHES["sha256"]
    leaves = [node(b"\x00" + f"{seq}:h{seq}".encode()) for seq in range(size)]

    for index in range(size):
        path, found, last, at = inclusion(leaves, index, "sha256"), leaves[index], size - 1, index
        for step in path:
            if at & 1 or at == last:
                found = node(b"\x01" + step + found)
                while at and not at & 1:
                    at, last = at >> 1, last >> 1
            else:
                found = node(b"\x01" + found + step)
            at, last = at >> 1, last >> 1
        assert re.sub("^.*:", "", tree.root) == found.hex()
