"""The trace (全程留痕): entries that each carry the hash of the one before, a chain an item.

A submission's row keeps the length and head of its chain, so that an entry cut off at the end
shows too; everything that belongs to no item is on the chain `bureau`, whose end only a checkpoint
kept elsewhere can prove.
"""

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func
from sqlmodel import Session, col, select

from review.records.tables import Audit, Submission
from review.rules.submissions import canonical, sha256

BUREAU = "bureau"
BUREAU_LOCK = 7234  # any number, but always this one
BATCH = 2000  # entries fetched at a time


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
) -> Audit:
    """Add an entry; no statement is sent for a submission's, whose row the caller has locked.

    Args:
        chain: The submission, or `bureau`.
        data: Codes, ids and moments; never text that a person wrote.
    """
    if isinstance(chain, Submission):
        name, n, prev = chain.id, chain.audit_n + 1, chain.audit_head
    else:
        name, n, prev = chain, *_end_of(session, chain)
    entry = Audit(
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
        prev=prev,
        hash="",
    )
    entry.hash = hash_of(entry)
    session.add(entry)
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
    """Return the hash of an entry, or of its row, over all it says, the previous hash included."""
    return sha256(
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
        )
    )


def verify(session: Session) -> dict[str, Any]:
    """Recompute every chain; name the first entry that isn't what it was.

    Entries are streamed in the order they were written; what stays in memory is the head of each
    chain.

    Returns:
        `{ok, entries, heads, first_bad}`: how many entries and chains there are; `first_bad` is
        None or `{seq, chain, n, why}`, where `why` is `gap` (an entry is missing before it),
        `chain` (it does not follow the one before), `altered`, `truncated` (the chain ends before
        or after what its submission's row says) or `orphan` (its submission is gone).
    """
    heads: dict[str, tuple[int, str]] = {}
    entries = 0
    bad: dict[str, Any] | None = None
    # plain rows, not objects: three times as fast
    columns = Audit.__table__.columns  # type: ignore[attr-defined]
    for row in session.execute(
        select(*columns).order_by(columns.seq).execution_options(yield_per=BATCH)
    ):
        entries += 1
        n, prev = heads.get(row.chain, (0, ""))
        heads[row.chain] = (row.n, row.hash)
        if bad is not None:
            continue
        if row.n != n + 1:
            bad = _bad(row.seq, row.chain, row.n, "gap")
        elif row.prev != prev:
            bad = _bad(row.seq, row.chain, row.n, "chain")
        elif hash_of(row) != row.hash:
            bad = _bad(row.seq, row.chain, row.n, "altered")
    return {
        "ok": (bad := bad or _wrong_end(session, heads)) is None,
        "entries": entries,
        "heads": len(heads),
        "first_bad": bad,
    }


def _wrong_end(session: Session, heads: dict[str, tuple[int, str]]) -> dict[str, Any] | None:
    """Compare the ends of the chains with what the submissions' rows say."""
    left = set(heads) - {BUREAU}
    statement = (
        select(Submission.id, Submission.audit_n, Submission.audit_head)
        .order_by(Submission.id)
        .execution_options(yield_per=BATCH)
    )
    with session.execute(statement) as rows:
        for chain, n, head in rows:
            left.discard(chain)
            if heads.get(chain, (0, "")) != (n, head):
                return _bad(None, chain, n, "truncated")
    if left:
        return _bad(None, min(left), heads[min(left)][0], "orphan")
    return None


def _bad(seq: int | None, chain: str, n: int, why: str) -> dict[str, Any]:
    return {"seq": seq, "chain": chain, "n": n, "why": why}
