"""Checkpoints: what a chain can't show about its own end, a signed state kept elsewhere does."""

import base64
import json
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from sqlalchemy import delete, update
from sqlmodel import Session, col, select
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.publish import Publisher
from review.acts import publishing
from review.records import audit, checkpoints
from review.records.checkpoints import (
    Checkpoint,
    CheckpointError,
    Keys,
    Tree,
    Watch,
    is_older,
    keys_in,
    require_current,
)
from review.records.engine import Ledger
from review.records.tables import Audit, CheckpointRow, Notice, Publication
from review.rules.errors import RefusedError
from review.rules.publications import PublicationRef
from tests.acting import Course
from tests.examples import MONDAY
from workers.sealing import Sealer

SEED, OTHER_SEED = b"k" * 32, b"o" * 32


def note(ledger: Ledger, count: int = 1, event: str = "noted") -> None:
    def write(session: Session) -> None:
        for n in range(count):
            audit.append(session, audit.BUREAU, event, at=MONDAY, data={"n": n})

    ledger.write(write)


@pytest.fixture
def watch(tmp_path: Path) -> Watch:
    return Watch(tmp_path / "checkpoints", Keys([SEED]))


@pytest.fixture
def sealed(ledger: Ledger, watch: Watch) -> Checkpoint:
    """A checkpoint over five more entries, with two entries after it."""
    note(ledger, 5)
    made = checkpoints.make(ledger, watch, MONDAY)
    note(ledger, 2)
    return made


def verified(ledger: Ledger, *outside: Checkpoint, keys: Keys | None = None) -> dict:
    with ledger.reading() as session:
        return checkpoints.verify(session, keys or Keys([SEED]), outside)


def older(ledger: Ledger, expected: Checkpoint | None) -> bool:
    with ledger.reading() as session:
        return is_older(session, expected)


def latest(folder: Path) -> Checkpoint:
    """Return what a process that starts now knows."""
    found = Watch(folder, Keys([SEED])).expected()
    assert found is not None
    return found


# --- the tree -----------------------------------------------------------------------------------


def root_of_rfc(leaves: list[bytes]) -> bytes:
    """RFC 9162, 2.1.1, as it stands there."""
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return sha256(b"\x01" + root_of_rfc(leaves[:k]) + root_of_rfc(leaves[k:])).digest()


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 8, 13, 64, 100])
def test_root_is_that_of_rfc_9162(size):
    tree = Tree("sha256")
    for n in range(size):
        tree.add(n, f"sha256:{n}")

    leaves = [f"{n}:sha256:{n}".encode() for n in range(size)]
    assert tree.root == f"sha256:{root_of_rfc(leaves).hex()}"


def test_tree_goes_on_from_its_peaks():
    whole, first = Tree("sm3"), Tree("sm3")
    for n in range(11):
        whole.add(n, str(n))
        first.add(n, str(n))
    second = Tree("sm3", first.peaks, first.entries)
    for n in range(11, 20):
        whole.add(n, str(n))
        second.add(n, str(n))

    assert second.root == whole.root
    assert whole.root.startswith("sm3:")


# --- what a checkpoint shows --------------------------------------------------------------------


def test_untouched_ledger_fits_its_checkpoint(ledger, watch, sealed):
    second = checkpoints.make(ledger, watch, MONDAY)

    found = verified(ledger, sealed, second)

    assert found["ok"], found
    assert found["checkpoints"] == 4  # the ledger's own two, and those from outside
    assert second.no == sealed.no + 1 and second.prev == sealed.hash
    assert not older(ledger, latest(watch.folder))


def test_entries_cut_off_at_the_end_show(ledger, watch, sealed):
    ledger.write(lambda s: s.exec(delete(Audit).where(col(Audit.seq) >= sealed.last_seq)))

    found = verified(ledger, sealed)

    assert found["first_bad"]["why"] == "older"
    assert older(ledger, latest(watch.folder))


def test_bureau_chain_rewritten_as_a_whole_shows(ledger, watch, sealed):
    """Somebody with the database alone makes every chain fit again; the root does not."""

    def forge(session: Session) -> None:
        entries = session.exec(
            select(Audit).where(Audit.chain == audit.BUREAU).order_by(col(Audit.n))
        ).all()
        prev = ""
        for entry in entries:
            if entry.event == "noted" and entry.data == {"n": 1}:
                entry.person_id = "somebody_else"
            entry.prev = prev
            entry.hash = prev = audit.hash_of(entry)

    ledger.write(forge)
    with ledger.reading() as session:
        assert audit.verify(session)["ok"]

    assert verified(ledger, sealed)["first_bad"]["why"] in ("checkpoint", "foreign")
    assert older(ledger, latest(watch.folder))


def test_checkpoint_row_taken_out_or_altered_shows(ledger, watch, sealed):
    altered = update(CheckpointRow).values(entries=1)
    ledger.write(lambda s: s.exec(altered))
    assert verified(ledger)["first_bad"]["why"] == "forged"

    ledger.write(lambda s: s.exec(delete(CheckpointRow)))

    assert verified(ledger, sealed)["first_bad"]["why"] == "older"
    assert older(ledger, latest(watch.folder))


@pytest.mark.parametrize(
    "changes",
    [
        {"entries": 3},
        {"root": "sha256:" + "0" * 64},
        {"last_hash": "sha256:x"},
        {"no": 9},
        {"at": MONDAY + timedelta(days=1)},
        {"ledger": "sha256:other"},
        {"prev": "sha256:other"},
        {"key": Keys([OTHER_SEED]).public},
        {"signature": base64.b64encode(b"s" * 64).decode()},
        {"signature": "no base64"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_forged_checkpoint_is_not_believed(quick_ledger, watch, changes):
    made = checkpoints.make(quick_ledger, watch, MONDAY)

    with pytest.raises(CheckpointError, match="checkpoint_forged"):
        watch.keys.require(made.model_copy(update=changes))


def test_checkpoint_of_another_key_counts_only_when_its_public_key_is_given(quick_ledger, tmp_path):
    foreign = Keys([OTHER_SEED])
    made = checkpoints.make(quick_ledger, Watch(tmp_path / "c", foreign), MONDAY)

    with pytest.raises(CheckpointError, match="checkpoint_forged"):
        Keys([SEED]).require(made)
    Keys([SEED], [foreign.public]).require(made)


def test_checkpoint_of_another_ledger_is_named_as_such(quick_ledger, watch):
    made = checkpoints.make(quick_ledger, watch, MONDAY)
    other = watch.keys.sign(made.model_copy(update={"ledger": "sha256:other"}))

    assert verified(quick_ledger, other)["first_bad"]["why"] == "foreign"


# --- an older ledger put back -------------------------------------------------------------------


@pytest.fixture
def put_back(quick_ledger: Ledger, watch: Watch, tmp_path: Path) -> Iterator[Ledger]:
    """A ledger of whose last checkpoint only the folder outside knows."""
    checkpoints.make(quick_ledger, watch, MONDAY)
    old = tmp_path / "old.db"
    copy_of(tmp_path / "ledger.db", old)
    note(quick_ledger, 3)
    checkpoints.make(quick_ledger, watch, MONDAY)
    again = Ledger(f"sqlite:///{old}")
    yield again
    again.close()


def copy_of(ledger: Path, to: Path) -> None:
    """Copy a database that is in use, its write-ahead log with it."""
    for end in ("", "-wal"):
        source = ledger.with_name(ledger.name + end)
        if source.exists():
            shutil.copy(source, to.with_name(to.name + end))


def test_older_ledger_put_back_is_noticed_and_publishes_nothing(put_back, watch):
    assert older(put_back, latest(watch.folder))
    with put_back.reading() as session, pytest.raises(RefusedError) as refused:
        require_current(session, watch)

    assert refused.value.code == "gate_closed"
    assert refused.value.params["why"] == ["ledger_older"]


def test_older_ledger_that_went_on_is_noticed(put_back, watch):
    note(put_back, 20, "went_on")

    assert older(put_back, latest(watch.folder))
    assert verified(put_back, latest(watch.folder))["first_bad"]["why"] == "older"


async def test_older_ledger_is_never_signed(put_back, watch):
    before = (watch.folder / "latest.json").read_bytes()
    sealer = Sealer(put_back, watch, lambda: MONDAY)

    assert not await sealer.seal(at_all=True)
    assert not await sealer.seal(at_all=True)

    assert (watch.folder / "latest.json").read_bytes() == before
    with put_back.reading() as session:
        alarms = session.exec(select(Audit).where(Audit.event == "ledger_older")).all()
    assert len(alarms) == 1


def test_loss_that_was_accepted_lets_the_ledger_go_on(put_back, watch):
    lost = latest(watch.folder)

    made = checkpoints.make(put_back, watch, MONDAY, lost=lost)

    assert made.no == lost.no + 1
    assert made.prev == lost.hash
    assert made.lost is not None and made.lost["entries"] == lost.entries
    assert not older(put_back, latest(watch.folder))
    assert verified(put_back, made)["ok"]
    assert verified(put_back, lost, made)["ok"]  # given up, so no contradiction any more


# --- outside ------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", ["", "{}", "[1]", "null", "\x00", '{"format": "other"}'])
def test_damaged_file_closes_the_gate(quick_ledger, watch, content):
    checkpoints.make(quick_ledger, watch, MONDAY)
    (watch.folder / "latest.json").write_text(content)

    with quick_ledger.reading() as session, pytest.raises(RefusedError) as refused:
        require_current(session, watch)

    assert refused.value.params["why"] == ["checkpoint_unreadable"]


def test_file_that_vanishes_is_remembered(put_back, watch):
    (watch.folder / "latest.json").unlink()

    with put_back.reading() as session, pytest.raises(RefusedError):
        require_current(session, watch)


def test_no_checkpoint_yet_closes_nothing(quick_ledger, watch):
    with quick_ledger.reading() as session:
        require_current(session, watch)
        require_current(session, None)


def test_every_checkpoint_is_kept_outside(quick_ledger, watch):
    made = []
    for _ in range(3):
        note(quick_ledger)
        made.append(checkpoints.make(quick_ledger, watch, MONDAY))

    assert list(checkpoints.read_all(watch.folder)) == made
    assert latest(watch.folder) == made[-1]
    assert json.loads(made[-1].content)["no"] == 3


def test_key_is_made_once_and_private(tmp_path):
    first, second = keys_in(tmp_path / "keys"), keys_in(tmp_path / "keys")

    assert first.public == second.public
    assert (tmp_path / "keys" / "audit.key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "keys" / "audit.pub").read_text().strip() == first.public
    seed = base64.b64encode(SEED).decode()
    assert keys_in(tmp_path / "keys", [seed]).public == Keys([SEED]).public


# --- when ---------------------------------------------------------------------------------------


async def test_checkpoints_are_made_at_start_daily_and_after_many_entries(
    quick_ledger, watch, monkeypatch
):
    monkeypatch.setattr(checkpoints, "EVERY_ENTRIES", 20)
    now = MONDAY
    sealer = Sealer(quick_ledger, watch, lambda: now)

    assert await sealer.seal(at_all=True)  # at start
    assert not await sealer.seal(at_all=True)  # nothing new since
    note(quick_ledger, 5)
    assert not await sealer.seal()
    note(quick_ledger, 15)
    assert await sealer.seal()  # many entries
    note(quick_ledger)
    now += timedelta(days=1)
    assert await sealer.seal()  # a day later
    now += timedelta(days=1)
    assert not await sealer.seal()  # and nothing happened


async def test_checkpoint_of_another_process_becomes_known(quick_ledger, watch, tmp_path):
    elsewhere = Watch(tmp_path / "elsewhere", watch.keys)
    made = checkpoints.make(quick_ledger, elsewhere, MONDAY)

    await Sealer(quick_ledger, watch, lambda: MONDAY).seal()

    assert latest(watch.folder) == made


# --- algorithms ---------------------------------------------------------------------------------


def test_ledger_that_goes_over_to_sm3_verifies(sqlite_url, watch):
    old = Ledger(sqlite_url)
    note(old, 3)
    first = checkpoints.make(old, watch, MONDAY)
    old.close()
    new = Ledger(sqlite_url, digests="sm3")
    note(new, 3)
    second = checkpoints.make(new, watch, MONDAY)
    with new.reading() as session:
        algorithms = {hash_.partition(":")[0] for hash_ in session.exec(select(Audit.hash))}

    found = verified(new, first, second)
    new.close()

    assert found["ok"], found
    assert algorithms == {"sha256", "sm3"}
    assert (first.root[:7], second.root[:4]) == ("sha256:", "sm3:")


# --- the gate -----------------------------------------------------------------------------------


async def test_publisher_publishes_nothing_on_an_older_ledger_and_raises_the_alarm(put_back, watch):
    """An authorised item stays where it is; the center's chief is told (R1.3-2)."""
    course = Course(put_back)
    course.run()
    publisher = Publisher(put_back, {}, lambda: course.now, watch=watch)
    ref = PublicationRef(submission_id=course.id, channel="site", generation=1)

    with pytest.raises(ApplicationError, match="gate_closed"):
        await ActivityEnvironment().run(publisher.publish, ref)

    with put_back.reading() as session:
        (closed,) = session.exec(select(Audit).where(Audit.event == "gate_closed")).all()
        alarms = session.exec(select(Notice).where(Notice.kind == "ledger_older")).all()
        assert not session.exec(select(Publication)).all()
    assert closed.data["why"] == ["ledger_older"]
    assert alarms

    checkpoints.make(put_back, watch, MONDAY, lost=watch.expected())
    with put_back.writing() as session:
        claim = publishing.claim(session, course.id, "site", 1, course.now, watch)
    assert claim.may_send


def test_two_workers_that_sign_at_once_leave_one_checkpoint(ledger, tmp_path):
    """Two workers over PostgreSQL: one of them used to end with a doubled key."""
    note(ledger, 3)
    keys = Keys([SEED])
    ready = threading.Barrier(4)

    def sign(number: int) -> Checkpoint:
        watch = Watch(tmp_path / f"c{number}", keys)
        ready.wait()
        return checkpoints.make(ledger, watch, MONDAY)

    with ThreadPoolExecutor(4) as workers:
        made = list(workers.map(sign, range(4)))

    with ledger.reading() as session:
        rows = session.exec(select(CheckpointRow)).all()
    assert {one.no for one in made} == {row.no for row in rows}
    assert [row.no for row in rows] == list(range(1, len(rows) + 1))
