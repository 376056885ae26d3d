"""The trace (全程留痕): entries that each carry the hash of the one before, a chain an item.

A submission's row keeps the length and head of its chain, so that an entry cut off at the end
shows too; everything that belongs to no item is on the chain `bureau`, whose end only a checkpoint
kept elsewhere can prove (`checkpoints`).
"""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import func
from sqlmodel import Session, col, select

from review.records.engine import add_row, digests_of
from review.records.tables import Audit, Counter, Submission, table_of
from review.rules.digests import HASHES, digest
from review.rules.submissions import canonical

BUREAU = "bureau"
BUREAU_LOCK = 7234  # any number, but always this one
BATCH = 2000  # entries fetched at a time
PROGRESS_EVERY = 50_000  # entries between two words about how far a check has come

Bad = dict[str, Any]


class Entry(NamedTuple):
    """A row of the trace as it is written."""

    chain: str
    n: int
    at: datetime
    event: str
    person_id: str
    acting_for_id: str
    role: str
    way_in: str
    digest: str
    data: dict[str, Any]
    algorithm: str
    prev: str
    hash: str = ""


def append(
    session: Session,
    chain: Submission | str,
    event: str,
    *,
    at: datetime,
    person_id: str = "",
    acting_for_id: str = "",
    role: str = "",
    way_in: str = "",
    digest: str = "",
    data: dict[str, Any] | None = None,
) -> Entry:
    """Add an entry; no statement is sent for a submission's, whose row the caller has locked.

    Args:
        chain: The submission, or `bureau`.
        data: Codes, ids and moments; never text that a person wrote.
    """
    if isinstance(chain, Submission):
        name, n, prev = chain.id, chain.audit_n + 1, chain.audit_head
    else:
        name, n, prev = chain, *_end_of(session, chain)
    entry = Entry(
        chain=name,
        n=n,
        at=at.astimezone(UTC),
        event=event,
        person_id=person_id,
        acting_for_id=acting_for_id,
        role=str(role),
        way_in=way_in,
        digest=digest,
        data=json.loads(canonical(data or {})),  # as it will be read back, so that hashes agree
        algorithm=digests_of(session),
        prev=prev,
    )
    entry = entry._replace(hash=hash_of(entry))
    add_row(session, table_of(Audit), entry._asdict())
    if isinstance(chain, Submission):
        chain.audit_n, chain.audit_head = n, entry.hash
        session.add(chain)
    return entry


def _end_of(session: Session, chain: str) -> tuple[int, str]:
    """Return the next number and the last hash of a chain that no row keeps.

    On SQLite the transaction itself is the lock; on PostgreSQL we take one until it ends.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.exec(select(func.pg_advisory_xact_lock(BUREAU_LOCK)))
    last = session.exec(
        select(Audit.n, Audit.hash)
        .where(Audit.chain == chain)
        .order_by(col(Audit.n).desc())
        .limit(1)
    ).first()
    return (last[0] + 1, last[1]) if last else (1, "")


def hash_of(entry: Any) -> str:
    """Return the hash of an entry, or of its row, over all it says, the previous hash included.

    Its algorithm is the one the entry names; chains may go from one to another (SHA-256, SM3).

    Raises:
        KeyError: It names none that we know.
    """
    return digest(
        canonical(
            {
                "chain": entry.chain,
                "n": entry.n,
                "at": entry.at.astimezone(UTC).isoformat(),
                "event": entry.event,
                "person": entry.person_id,
                "acting_for": entry.acting_for_id,
                "role": entry.role,
                "way_in": entry.way_in,
                "digest": entry.digest,
                "data": entry.data,
                "algorithm": entry.algorithm,
                "prev": entry.prev,
            }
        ),
        entry.algorithm,
    )


def verify(
    session: Session,
    each: Callable[[int, str], None] = lambda _seq, _hash: None,
    progress: Callable[[int], None] = lambda _entries: None,
) -> dict[str, Any]:
    """Recompute every chain; name the first entry that isn't what it was.

    Entries are streamed in the order they were written; what stays in memory is the head of each
    chain.

    Args:
        each: Told number and hash of every entry, in order.
        progress: Told now and then how many entries were looked at.

    Returns:
        `{ok, entries, heads, first_bad}`: how many entries and chains there are; `first_bad` is
        None or `{seq, chain, n, why}`, where `why` is `gap` (an entry of its chain is missing
        before it), `chain` (it does not follow the one before), `altered`, `truncated` (the chain
        ends before or after what its submission's row says), `orphan` (its submission is gone),
        `vanished` (an item's number was given, but there is neither item nor trace) or `seq`
        (numbers of the whole log are missing before it).
    """
    heads: dict[str, tuple[int, str]] = {}
    entries = last_seq = 0
    bad: Bad | None = None
    gap: Bad | None = None
    # A number that was given to an act which was undone stays unused on PostgreSQL, not on SQLite.
    numbered_without_gaps = session.get_bind().dialect.name == "sqlite"
    for row in rows(session):
        entries += 1
        each(row.seq, row.hash)
        if entries % PROGRESS_EVERY == 0:
            progress(entries)
        n, prev = heads.get(row.chain, (0, ""))
        heads[row.chain] = (row.n, row.hash)
        if bad is None:
            why = _wrong_with(row, n, prev)
            bad = None if why is None else _bad(row.seq, row.chain, row.n, why)
        if gap is None and numbered_without_gaps and row.seq != last_seq + 1:
            gap = _bad(row.seq, row.chain, row.n, "seq")
        last_seq = row.seq
    bad = bad or _wrong_end(session, heads) or _vanished(session) or gap
    return {"ok": bad is None, "entries": entries, "heads": len(heads), "first_bad": bad}


def rows(session: Session, after: int = 0, upto: int | None = None) -> Iterator[Any]:
    """Yield entries in the order they were written, as plain rows: three times as fast."""
    columns = Audit.__table__.columns  # type: ignore[attr-defined]
    statement = select(*columns).where(columns.seq > after).order_by(columns.seq)
    if upto is not None:
        statement = statement.where(columns.seq <= upto)
    with session.execute(statement.execution_options(yield_per=BATCH)) as found:
        yield from found


def _wrong_with(row: Any, n: int, prev: str) -> str | None:
    """Return what is wrong with an entry that follows the `n`th, whose hash is `prev`."""
    if row.n != n + 1:
        return "gap"
    if row.prev != prev:
        return "chain"
    if row.algorithm not in HASHES or hash_of(row) != row.hash:
        return "altered"
    return None


def _wrong_end(session: Session, heads: dict[str, tuple[int, str]]) -> Bad | None:
    """Compare the ends of the chains with what the submissions' rows say."""
    left = set(heads) - {BUREAU}
    statement = (
        select(Submission.id, Submission.audit_n, Submission.audit_head)
        .order_by(Submission.id)
        .execution_options(yield_per=BATCH)
    )
    with session.execute(statement) as found:
        for chain, n, head in found:
            left.discard(chain)
            if heads.get(chain, (0, "")) != (n, head):
                return _bad(None, chain, n, "truncated")
    if left:
        return _bad(None, min(left), heads[min(left)][0], "orphan")
    return None


def _vanished(session: Session) -> Bad | None:
    """Find a number that was given to an item of which nothing is left."""
    counters = session.exec(select(Counter.year, Counter.last).order_by(col(Counter.year)))
    for year, last in counters.all():
        pattern = f"{year}-%"
        there = session.exec(
            select(func.count()).select_from(Submission).where(col(Submission.number).like(pattern))
        ).one()
        if there < last:
            return _bad(None, f"{year}-", there, "vanished")
    return None


def _bad(seq: int | None, chain: str, n: int, why: str) -> Bad:
    return {"seq": seq, "chain": chain, "n": n, "why": why}
