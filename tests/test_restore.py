"""A ledger put back, its engine older, newer or gone: nothing goes out twice."""

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import Session, select

from review.acts.publishing import claim
from review.records.engine import Ledger
from review.records.restores import note_restore
from review.records.tables import Publication, SignIn
from review.rules.values import PublicationState
from tests.acting import Course
from tests.faults.people import Journal, Office
from tests.faults.whole import REPOSITORY, Tree, fill

HEADS = ("afforest_head", "forest_head", "fire_head")


def sanshen(*args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "starter.cli", *args],
        capture_output=True, text=True, timeout=120,
        env={"PYTHONPATH": str(REPOSITORY), "PATH": "/usr/bin:/bin", "SANSHEN_LANGUAGE": "en"}
        | environment,
    )  # fmt: skip


async def work(tree: Tree, tokens: dict[str, str], folder: Path, until: Callable[[Office], bool],
               jobs: Callable[[Office], list[Any]], new: int = 0) -> list[str]:  # fmt: skip
    """Have people submit some items and work until it is enough; returns what was submitted."""
    journal = Journal(folder / f"journal-{datetime.now(UTC).timestamp()}.jsonl")
    people = Office(lambda: tree.url, tokens, journal, seed=7)
    people._numbers = 100 * len(list(folder.glob("journal-*")))  # keys of its own each time
    ids = [await people.submit() for _ in range(new)]
    async with asyncio.timeout(120), asyncio.TaskGroup() as group:
        for job in jobs(people):
            group.create_task(job)
        while not until(people):
            await asyncio.sleep(0.2)
        people.is_over = True
    people.close()
    journal.close()
    return ids


def once_each(data: Path, ids: list[str]) -> None:
    """See that each item has one publication, which is live, and the site one page for each."""
    ledger = Ledger(f"sqlite:///{data / 'ledger.db'}")
    with ledger.reading() as session:
        rows = session.exec(select(Publication)).all()
    ledger.close()
    assert sorted((p.submission_id, p.generation, p.state) for p in rows) == sorted(
        (one, 1, PublicationState.LIVE) for one in ids
    )
    assert len(list((data / "site" / "items").glob("*.json"))) == len(ids)


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(("same",), marks=pytest.mark.long),
        pytest.param(("engine_older", "engine_newer", "engine_gone"), marks=pytest.mark.long),
    ],
)
async def test_what_was_copied_while_it_ran_is_finished_elsewhere_and_published_once(
    names, tmp_path
):
    first = tmp_path / "first"
    tokens = fill(first)
    heads = lambda people: [people.review(head) for head in HEADS]  # noqa: E731
    everybody = lambda people: people.jobs()  # noqa: E731
    early, late = tmp_path / "early", tmp_path / "late"

    def decided(count: int) -> Callable[[Office], bool]:
        return lambda people: len(people.journal.acknowledged("decide")) >= count

    with Tree(first) as tree:
        await asyncio.to_thread(tree.start)
        known = await work(tree, tokens, tmp_path, lambda p: len(p.published) == 2, everybody, 2)
        waiting = await work(tree, tokens, tmp_path, decided(1), heads, 4)
        made = await asyncio.to_thread(
            sanshen, "backup", str(early), "--data", str(first), "--json"
        )
        assert made.returncode == 0, made.stderr
        everything = known + waiting
        everything += await work(tree, tokens, tmp_path, decided(1), heads, 2)
        again = await asyncio.to_thread(sanshen, "backup", str(late), "--data", str(first))
        assert again.returncode == 0, again.stderr
        # After both copies everything is finished here: the copies don't know.
        await work(tree, tokens, tmp_path, lambda p: set(everything) <= p.published, everybody)
        once_each(first, everything)

    combinations = {
        # name: the ledger's copy, the engine's copy, the items of that ledger
        "same": (early, early, known + waiting),
        "engine_older": (late, early, everything),
        "engine_newer": (early, late, known + waiting),
        "engine_gone": (late, None, everything),
    }
    for name in names:
        copy, engine, items = combinations[name]
        place = tmp_path / name
        done = sanshen("restore", str(copy), "--data", str(place))
        assert done.returncode == 0, done.stderr
        (place / "engine.db").unlink()
        if engine:
            shutil.copy(engine / "engine.db", place / "engine.db")
        with Tree(place) as tree:
            await asyncio.to_thread(tree.start)
            doctor = ("doctor", "--repair", "--data", str(place), "--json")
            repaired = await asyncio.to_thread(sanshen, *doctor)
            found = {one["what"] for one in json.loads(repaired.stdout)["found"]}
            assert found <= {"workflow_missing", "workflow_stray", "nudge_waits"}, repaired.stdout
            assert ("workflow_missing" in found) == (name in ("engine_older", "engine_gone"))
            assert ("workflow_stray" in found) == (name == "engine_newer")
            enough = lambda people, items=items: set(items) <= people.published  # noqa: E731
            await work(tree, tokens, tmp_path, enough, everybody)
            checked = await asyncio.to_thread(sanshen, *doctor[:1], *doctor[2:])
            assert json.loads(checked.stdout) == {"ok": True, "engine": True, "found": []}, name
        once_each(place, items)
        trace = sanshen("audit", "verify", "--data", str(place))
        assert trace.returncode == 0, trace.stderr


def test_after_a_restore_a_channel_is_asked_before_anything_is_sent(ledger):
    """Design, principle 5: it may have gone out after the copy was made."""
    course = Course(ledger, "fire_info")
    deed = course.run().publish[0]
    later = course.now + timedelta(minutes=1)
    ledger.write(note_restore, course.now, later)

    claimed = ledger.write(claim, course.id, deed.channel, 1, later + timedelta(minutes=1))

    assert claimed.may_have_arrived and claimed.may_send


def test_what_came_in_after_a_restore_is_sent_as_ever(ledger):
    ledger.write(note_restore, datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))
    course = Course(ledger, "fire_info")
    deed = course.run().publish[0]

    assert not ledger.write(claim, course.id, deed.channel, 1, course.now).may_have_arrived


def test_sessions_of_the_copy_are_closed_and_keys_from_settings_are_asked_for(tmp_path):
    data, copy, new = tmp_path / "data", tmp_path / "copy", tmp_path / "new"
    fill(data)
    now = datetime.now(UTC)
    ledger = Ledger(f"sqlite:///{data / 'ledger.db'}")

    def sign_in(session: Session) -> None:
        session.add(
            SignIn(
                id="s", person_id="fire_info", csrf="c", created_at=now, seen_at=now,
                expires_at=now + timedelta(hours=9),
            )
        )  # fmt: skip

    ledger.write(sign_in)
    ledger.close()
    made = sanshen("backup", str(copy), "--data", str(data), SANSHEN_SECRET_KEY="s" * 40)
    place = ("restore", str(copy), "--data", str(new))

    without, wrong = sanshen(*place), sanshen(*place, SANSHEN_SECRET_KEY="w" * 40)
    assert not new.exists()
    right = sanshen(*place, SANSHEN_SECRET_KEY="s" * 40)

    assert made.returncode == 0 and "SANSHEN_SECRET_KEY" in made.stderr
    assert "s" * 40 not in (copy / "manifest.json").read_text()
    assert (without.returncode, wrong.returncode, right.returncode) == (1, 1, 0), right.stderr
    assert "SANSHEN_SECRET_KEY" in without.stderr and "SANSHEN_SECRET_KEY" in wrong.stderr
    ledger = Ledger(f"sqlite:///{new / 'ledger.db'}")
    with ledger.reading() as session:
        assert session.get_one(SignIn, "s").ended_at is not None
    ledger.close()
