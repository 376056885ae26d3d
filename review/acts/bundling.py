"""One item as a bundle that verifies by itself: texts, files, decisions, trace, checkpoint (A-29).

`verify.py` in it needs nothing but Python; it recomputes every digest and follows the chain into
the signed checkpoint.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from datetime import UTC
from importlib.resources import files
from typing import Any

from sqlalchemy import select as columns
from sqlmodel import Session, col, select

from review.acts.item import Item, policy_of
from review.acts.showing import shown_moment
from review.records.people import Person, names
from review.records.tables import Audit, CheckpointRow, Unit, Version, table_of
from review.rules.digests import HASHES
from review.rules.errors import NotAllowedError
from review.rules.values import Role

Json = dict[str, Any]
MAY = {
    Role.AUDITOR, Role.SUPERVISOR, Role.CENTER_CHIEF, Role.OFFICE_REVIEWER, Role.OFFICE_DIRECTOR,
}  # fmt: skip
SCRIPT = "bundle_verify.py.txt"


def parts(session: Session, person: Person, found: Item) -> Iterator[tuple[str, bytes]]:
    """Yield the files that the ledger makes: their names and what is in them.

    Raises:
        NotAllowedError: For those whose roles do not read a whole trace.
    """
    if not {held.role for held in person.roles} & MAY:
        raise NotAllowedError(act="bundle")
    item = item_of(session, found)
    yield "item.json", _pretty(item)
    for version in item["versions"]:
        yield f"texts/{version['no']}.md", f"# {version['title']}\n\n{version['body']}\n".encode()
    entries = entries_of(session, found.row.id)
    lines = (json.dumps(entry, ensure_ascii=False, sort_keys=True) for entry in entries)
    yield "audit.jsonl", "".join(f"{line}\n" for line in lines).encode()
    pack = policy_of(session, found.row.policy_digest)
    yield "policy.json", pack.model_dump_json(by_alias=True, indent=1).encode()
    signed = checkpoint_of(session, entries)
    if signed is not None:
        yield "checkpoint.json", _pretty(signed)


def attachments(session: Session, submission_id: str) -> list[str]:
    """Return the digests of every file of every version."""
    held = session.exec(
        select(Version.attachments).where(Version.submission_id == submission_id)
    ).all()
    return sorted({one["sha256"] for version in held for one in version})


def script() -> bytes:
    """Return the script that checks a bundle."""
    return files("review").joinpath("templates", SCRIPT).read_bytes()


def manifest(made: Sequence[tuple[str, bytes]]) -> bytes:
    """Return the list of files with the SHA-256 of each."""
    told = {name: hashlib.sha256(content).hexdigest() for name, content in made}
    return _pretty({"format": "sanshen-bundle-1", "files": told})


def item_of(session: Session, found: Item) -> Json:
    """Return what the ledger says of an item."""
    row = found.row
    versions = session.exec(
        select(Version).where(Version.submission_id == row.id).order_by(col(Version.no))
    ).all()
    people = {row.author_id} | {
        one for d in found.decisions for one in (d.person_id, d.acting_for_id) if one
    }
    known = names(session, people)
    return {
        "id": row.id, "number": row.number, "title": row.title, "status": row.status,
        "category": row.category, "level": row.level, "kind": row.kind, "version": row.version,
        "digest": row.digest, "unit": session.get_one(Unit, row.unit_id).name,
        "author": row.author_id, "submitted_at": shown_moment(row.submitted_at),
        "published_at": shown_moment(row.published_at), "policy_digest": row.policy_digest,
        "audit_n": row.audit_n, "audit_head": row.audit_head,
        "people": [dict(known[one]) for one in sorted(known)],
        "versions": [
            {
                "no": version.no, "title": version.title, "body": version.body,
                "attachments": version.attachments, "source": version.source,
                "links": version.links, "digest": version.digest, "author": version.author_id,
                "at": shown_moment(version.at),
            }
            for version in versions
        ],
        "decisions": [
            {
                "id": made.id, "step": made.key, "unit": made.unit_id, "round": made.round,
                "verdict": made.verdict, "digest": made.digest, "person": made.person_id,
                "acting_for": made.acting_for_id, "role": made.role, "opinion": made.opinion,
                "reason_code": made.reason_code, "at": shown_moment(made.at),
                "counts": made.lapsed_at is None,
            }
            for made in found.decisions
        ],
        "publications": [
            {
                "channel": one.channel, "generation": one.generation, "state": one.state,
                "digest": one.digest, "rendered_digest": one.rendered_digest, "url": one.url,
            }
            for one in found.publications()
        ],
    }  # fmt: skip


def entries_of(session: Session, submission_id: str) -> list[Json]:
    """Return an item's trace, each entry with everything that its hash covers."""
    rows = session.exec(select(Audit).where(Audit.chain == submission_id).order_by(col(Audit.n)))
    return [
        {
            "seq": row.seq, "chain": row.chain, "n": row.n,
            "at": row.at.astimezone(UTC).isoformat(), "event": row.event,
            "person": row.person_id, "acting_for": row.acting_for_id, "role": row.role,
            "way_in": row.way_in, "digest": row.digest, "data": row.data,
            "algorithm": row.algorithm, "prev": row.prev, "hash": row.hash,
        }
        for row in rows
    ]  # fmt: skip


def checkpoint_of(session: Session, entries: Sequence[Json]) -> Json | None:
    """Return the last checkpoint with the proof that an item's latest entry lies in it.

    Entries that came after the checkpoint are bound by their chain alone; None when all did.
    """
    row = session.exec(select(CheckpointRow).order_by(col(CheckpointRow.no).desc())).first()
    covered = [entry for entry in entries if row is not None and entry["seq"] <= row.last_seq]
    if row is None or not covered:
        return None
    signed = json.loads(row.body)
    hash_of = HASHES[signed["algorithm"]]
    entry = table_of(Audit).c
    statement = columns(entry.seq, entry.hash).where(entry.seq <= row.last_seq).order_by(entry.seq)
    seqs, leaves = [], []
    for seq, hash_ in session.connection().execute(statement):
        seqs.append(seq)
        leaves.append(hash_of(b"\x00" + f"{seq}:{hash_}".encode()))
    index = seqs.index(covered[-1]["seq"])
    path = [node.hex() for node in inclusion(leaves, index, signed["algorithm"])]
    proof = {"seq": seqs[index], "index": index, "path": path}
    return {"checkpoint": signed, "proof": proof}


def inclusion(leaves: Sequence[bytes], index: int, algorithm: str) -> list[bytes]:
    """Return the audit path of a leaf, from the bottom up (RFC 9162, 2.1.3.1)."""
    hash_of = HASHES[algorithm]

    def root(part: Sequence[bytes]) -> bytes:
        if len(part) == 1:
            return part[0]
        half = 1 << (len(part) - 1).bit_length() - 1
        return hash_of(b"\x01" + root(part[:half]) + root(part[half:]))

    if len(leaves) <= 1:
        return []
    half = 1 << (len(leaves) - 1).bit_length() - 1
    if index < half:
        return [*inclusion(leaves[:half], index, algorithm), root(leaves[half:])]
    return [*inclusion(leaves[half:], index - half, algorithm), root(leaves[:half])]


def _pretty(value: Json) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode()
