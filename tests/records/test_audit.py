"""The trace: whatever is changed, cut out or cut off shows (全程留痕)."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import delete, update
from sqlmodel import Session, col, select

from review.records import audit
from review.records.engine import Ledger, counting
from review.records.tables import Audit, Pack, Submission
from tests.examples import MONDAY


def a_submission(session: Session, submission_id: str = "s1") -> Submission:
    row = Submission(
        id=submission_id, number=f"2026-{submission_id}", unit_id="fire", author_id="fire_info",
        category="work_news", profile="work_news", kind="disclosure", status="in_review",
        title="防火", digest="sha256:d", submitted_at=MONDAY,
        policy_digest=session.exec(select(Pack.digest)).one(),
    )  # fmt: skip
    session.add(row)
    session.flush()
    return row


def locked(session: Session, submission_id: str) -> Submission:
    return session.exec(
        select(Submission).where(Submission.id == submission_id).with_for_update()
    ).one()


@pytest.fixture
def trail(ledger: Ledger) -> Ledger:
    """Two submissions of three entries each and two of the bureau, in turn."""

    def write(session: Session) -> None:
        rows = [a_submission(session, name) for name in ("s1", "s2")]
        for n in range(3):
            for row in rows:
                audit.append(
                    session, row, "decided", at=MONDAY + timedelta(hours=n), person_id="fire_head",
                    role="unit_head", way_in="api", digest="sha256:d",
                    data={"step": "unit_review", "at": MONDAY, "n": n, "list": ("a", 1.5)},
                )  # fmt: skip
        for n in range(2):
            audit.append(session, audit.BUREAU, "roster_imported", at=MONDAY, data={"n": n})

    ledger.write(write)
    return ledger


def verified(ledger: Ledger) -> dict:
    with ledger.reading() as session:
        return audit.verify(session)


def tampered(ledger: Ledger, statement) -> dict:
    ledger.write(lambda session: session.exec(statement))
    return verified(ledger)


def before(ledger: Ledger) -> int:
    """Return how many entries the ledger's own setting up left."""
    return verified(ledger)["entries"]


def test_untouched_trace_is_whole(ledger):
    already = verified(ledger)

    ledger.write(lambda s: audit.append(s, a_submission(s), "submitted", at=MONDAY))

    found = verified(ledger)
    assert found["ok"] and found["first_bad"] is None
    assert found["entries"] == already["entries"] + 1
    assert found["heads"] == already["heads"] + 1


def test_chains_of_several_items_are_whole(trail):
    assert verified(trail)["ok"]


def test_entry_of_an_item_costs_one_insert_and_one_update(trail):
    with counting(trail) as statements, trail.writing() as session:
        row = locked(session, "s1")
        audit.append(session, row, "decided", at=MONDAY)

    kinds = sorted(one.split()[0] for one in statements)
    assert kinds == ["INSERT", "SELECT", "UPDATE"]


@pytest.mark.parametrize(
    "changes",
    [
        {"event": "approved"},
        {"person_id": "fire_info"},
        {"acting_for_id": "chief"},
        {"role": "bureau_chief"},
        {"way_in": "page"},
        {"digest": "sha256:other"},
        {"at": MONDAY + timedelta(microseconds=1)},
        {"data": {"step": "final_review"}},
        {"algorithm": "md5"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_altered_entry_is_named(trail, changes):
    entry = (col(Audit.chain) == "s1") & (col(Audit.n) == 2)

    bad = tampered(trail, update(Audit).where(entry).values(**changes))["first_bad"]

    assert (bad["chain"], bad["n"], bad["why"]) == ("s1", 2, "altered")


def test_altered_entry_with_a_fitting_hash_breaks_the_chain(trail):
    def forge(session: Session) -> None:
        entry = session.exec(select(Audit).where(Audit.chain == "s1").where(Audit.n == 2)).one()
        entry.event = "approved"
        entry.hash = audit.hash_of(entry)

    trail.write(forge)

    bad = verified(trail)["first_bad"]
    assert (bad["chain"], bad["n"], bad["why"]) == ("s1", 3, "chain")


def test_entry_cut_out_is_noticed(trail):
    bad = tampered(trail, delete(Audit).where((col(Audit.chain) == "s2") & (col(Audit.n) == 2)))

    assert bad["first_bad"] | {"seq": 0} == {"seq": 0, "chain": "s2", "n": 3, "why": "gap"}


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_chain_cut_off_at_its_end_is_noticed(trail, kept):
    cut = (col(Audit.chain) == "s2") & (col(Audit.n) > kept)

    bad = tampered(trail, delete(Audit).where(cut))["first_bad"]

    assert (bad["chain"], bad["why"]) == ("s2", "truncated")


def test_entry_put_on_behind_the_rows_back_is_noticed(trail):
    def forge(session: Session) -> None:
        row = locked(session, "s1")
        entry = audit.append(session, row, "approved", at=MONDAY)
        session.flush()
        session.exec(
            update(Submission)
            .where(col(Submission.id) == "s1")
            .values(audit_n=entry.n - 1, audit_head=entry.prev)
        )

    trail.write(forge)

    assert verified(trail)["first_bad"]["why"] == "truncated"


def test_item_that_vanished_leaves_its_trace(trail):
    found = tampered(trail, delete(Submission).where(col(Submission.id) == "s1"))

    assert found["first_bad"] == {"seq": None, "chain": "s1", "n": 3, "why": "orphan"}


def test_the_first_of_several_wrongs_is_named(trail):
    altered = (col(Audit.n) == 2) & col(Audit.chain).in_(["s1", "s2"])

    found = tampered(trail, update(Audit).where(altered).values(event="approved"))

    assert found["first_bad"]["chain"] == "s1"
    assert not found["ok"]


async def test_acts_at_once_keep_the_bureaus_chain_whole(ledger):
    start = before(ledger)

    def act(session: Session, n: int) -> None:
        audit.append(session, audit.BUREAU, "counted", at=MONDAY, data={"n": n})

    await asyncio.gather(*(ledger.run(act, n) for n in range(30)))

    found = verified(ledger)
    assert found["ok"]
    assert found["entries"] == start + 30


async def test_acts_at_once_keep_an_items_chain_whole(trail):
    def act(session: Session) -> None:
        audit.append(session, locked(session, "s1"), "counted", at=MONDAY)

    await asyncio.gather(*(trail.run(act) for _ in range(30)))

    assert verified(trail)["ok"]


def test_moment_is_hashed_in_utc(ledger):
    """A moment is hashed in UTC, whatever zone it came in."""
    entry = ledger.write(lambda s: audit.append(s, a_submission(s), "submitted", at=MONDAY))

    assert entry.at.utcoffset() == timedelta(0)
    assert verified(ledger)["ok"]
