"""The trace (全程留痕): entries that each carry the hash of the one before, a chain an item.

A submission's row keeps the length and head of its chain, so that an entry cut off at the end
shows too; everything that belongs to no item is on the chain `bureau`.
"""

from datetime import UTC, datetime
from typing import Any

from sqlmodel import Session, col, select

from review.records.tables import Audit, Submission
from review.rules.submissions import canonical, sha256

BUREAU = "bureau"


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
    """Add an entry; the caller holds the lock on a submission's row.

    Args:
        chain: The submission, or `bureau`.
        data: Codes, ids and moments; never text that a person wrote.
    """
    if isinstance(chain, Submission):
        name, n, prev = chain.id, chain.audit_n + 1, chain.audit_head
    else:
        last = session.exec(
            select(Audit).where(Audit.chain == chain).order_by(col(Audit.n).desc()).limit(1)
        ).first()
        name, n, prev = chain, (last.n + 1 if last else 1), (last.hash if last else "")
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
        data=data or {},
        prev=prev,
        hash="",
    )
    entry.hash = hash_of(entry)
    session.add(entry)
    if isinstance(chain, Submission):
        chain.audit_n, chain.audit_head = n, entry.hash
        session.add(chain)
    return entry


def hash_of(entry: Audit) -> str:
    """Return the hash of an entry over everything it says, the previous hash included."""
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

    Returns:
        `{ok, entries, heads, first_bad}`: how many entries and chains there are; `first_bad` is
        `{seq, chain, n, why}` or None.
    """
    heads: dict[str, tuple[int, str]] = {}
    entries = 0
    bad: dict[str, Any] | None = None
    for entry in session.exec(
        select(Audit).order_by(col(Audit.seq)).execution_options(yield_per=1000)
    ):
        entries += 1
        n, prev = heads.get(entry.chain, (0, ""))
        why = None
        if entry.n != n + 1:
            why = "gap"
        elif entry.prev != prev:
            why = "chain"
        elif hash_of(entry) != entry.hash:
            why = "altered"
        if why and bad is None:
            bad = {"seq": entry.seq, "chain": entry.chain, "n": entry.n, "why": why}
        heads[entry.chain] = (entry.n, entry.hash)
    if bad is None:
        rows = session.exec(select(Submission.id, Submission.audit_n, Submission.audit_head))
        for submission_id, n, head in rows:
            if heads.get(submission_id, (0, "")) != (n, head):
                bad = {"seq": None, "chain": submission_id, "n": n, "why": "truncated"}
                break
    return {"ok": bad is None, "entries": entries, "heads": len(heads), "first_bad": bad}
