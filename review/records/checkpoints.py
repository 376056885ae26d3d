"""Signed states of the whole trace, kept outside the ledger as well.

A chain proves that nothing inside it was changed; it can't prove that its end, or the whole ledger,
was not replaced by an older one. A checkpoint can: it says how many entries there were and the root
of the Merkle tree over all of them (RFC 9162, 2.1), and is signed (Ed25519, RFC 8032).
"""

import base64
import binascii
import json
import os
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import Field, ValidationError
from sqlalchemy import func, text
from sqlmodel import Session, col, select

from review.records import audit
from review.records.engine import Ledger, digests_of
from review.records.tables import Audit, CheckpointRow
from review.rules.digests import HASHES, digest
from review.rules.errors import RefusedError
from review.rules.submissions import canonical
from review.rules.values import Moment, Value

FORMAT = "sanshen-checkpoint-1"
KEY_FILE = "audit.key"  # the seed in base64, readable by its owner alone
PUBLIC_FILE = "audit.pub"
LATEST, ALL = "latest.json", "checkpoints.jsonl"

EVERY_ENTRIES = 1000
EVERY = timedelta(days=1)
SIGNED = "checkpoint_signed"  # the entry that follows each one

LEDGER_OLDER = "ledger_older"  # the stable code of everything that stands still then
UNREADABLE = "checkpoint_unreadable"


class CheckpointError(Exception):
    """What should be a checkpoint is none, or is not signed by a key that we trust.

    `code`: `checkpoint_odd` (no checkpoint) or `checkpoint_forged` (signature or key is wrong).
    """

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(code)


# --- the tree -----------------------------------------------------------------------------------


class Tree:
    """A Merkle tree that grows to the right; only the roots of its full parts are kept."""

    def __init__(self, algorithm: str, peaks: Sequence[str] = (), entries: int = 0) -> None:
        self._hash = HASHES[algorithm]
        self._algorithm = algorithm
        self._peaks = [bytes.fromhex(peak) for peak in peaks]
        self.entries = entries
        self.last_seq, self.last_hash = 0, ""

    @property
    def peaks(self) -> tuple[str, ...]:
        return tuple(peak.hex() for peak in self._peaks)

    @property
    def root(self) -> str:
        """Return the root of RFC 9162 over all entries so far."""
        if not self._peaks:
            return digest(b"", self._algorithm)
        *others, node = self._peaks
        for peak in reversed(others):
            node = self._hash(b"\x01" + peak + node)
        return f"{self._algorithm}:{node.hex()}"

    def add(self, seq: int, entry_hash: str) -> None:
        """Take the next entry: its number in the log and its hash."""
        node = self._hash(b"\x00" + f"{seq}:{entry_hash}".encode())
        left = self.entries
        while left & 1:
            node = self._hash(b"\x01" + self._peaks.pop() + node)
            left >>= 1
        self._peaks.append(node)
        self.entries += 1
        self.last_seq, self.last_hash = seq, entry_hash


# --- what is signed -----------------------------------------------------------------------------


class Checkpoint(Value):
    """The state of the whole log at one moment."""

    format: str = FORMAT
    ledger: str  # the hash of the bureau's first entry: which ledger this is
    no: int = Field(ge=1)
    at: Moment
    entries: int = Field(ge=1)
    last_seq: int = Field(ge=1)
    last_hash: str
    algorithm: str
    root: str
    peaks: tuple[str, ...]
    prev: str = ""  # the hash of the checkpoint before
    lost: dict[str, Any] | None = None  # what was accepted as lost just before
    key: str  # the public key, base64
    signature: str = ""

    @property
    def hash(self) -> str:
        """Return what the next checkpoint and the ledger know this one by."""
        return digest(canonical(self.model_dump(mode="json")), self.algorithm)

    @property
    def signed_part(self) -> bytes:
        told = self.model_dump(mode="json", exclude={"signature"})
        return b"sanshen checkpoint\n" + canonical(told)

    @property
    def content(self) -> str:
        """Return it as it stands in a file."""
        return json.dumps(self.model_dump(mode="json"), ensure_ascii=False, indent=1) + "\n"

    @classmethod
    def read(cls, content: str | bytes) -> Self:
        """Return what a file holds; nothing is verified yet.

        Raises:
            CheckpointError: It holds no checkpoint.
        """
        try:
            found = cls.model_validate_json(content)
        except (ValidationError, UnicodeDecodeError):
            raise CheckpointError("checkpoint_odd") from None
        if found.format != FORMAT or found.algorithm not in HASHES:
            raise CheckpointError("checkpoint_odd")
        return found


class Keys:
    """The key that signs, and those whose signatures count.

    Args:
        seeds: Private keys of 32 bytes; the first one signs.
        trusted: Public keys in base64 that count besides.
    """

    def __init__(self, seeds: Sequence[bytes], trusted: Sequence[str] = ()) -> None:
        ours = [Ed25519PrivateKey.from_private_bytes(seed) for seed in seeds]
        self._signs = ours[0] if ours else None
        self._trusted = {_shown(key.public_key()) for key in ours} | set(trusted)

    @property
    def public(self) -> str:
        """Return the public key of the one that signs, in base64."""
        assert self._signs is not None, "there is no key to sign with"
        return _shown(self._signs.public_key())

    def sign(self, unsigned: Checkpoint) -> Checkpoint:
        assert self._signs is not None, "there is no key to sign with"
        ready = unsigned.model_copy(update={"key": self.public, "signature": ""})
        signature = base64.b64encode(self._signs.sign(ready.signed_part)).decode()
        return ready.model_copy(update={"signature": signature})

    def require(self, checkpoint: Checkpoint) -> None:
        """See that a checkpoint is signed by a key that counts.

        Raises:
            CheckpointError: checkpoint_forged.
        """
        try:
            if checkpoint.key not in self._trusted:
                raise InvalidSignature
            key = Ed25519PublicKey.from_public_bytes(base64.b64decode(checkpoint.key))
            key.verify(base64.b64decode(checkpoint.signature), checkpoint.signed_part)
        except (InvalidSignature, ValueError, binascii.Error):
            raise CheckpointError("checkpoint_forged") from None


def _shown(key: Ed25519PublicKey) -> str:
    return base64.b64encode(key.public_bytes_raw()).decode()


def keys_in(folder: Path, given: Sequence[str] = (), trusted: Sequence[str] = ()) -> Keys:
    """Return the keys that are set, else the one of this folder, which is made when missing.

    Args:
        folder: Holds `audit.key` (mode 0600) and `audit.pub`.
        given: Private keys in base64, which beat the folder's.
        trusted: Public keys in base64 that count besides.

    Raises:
        OSError, ValueError: The folder's key can't be read or made.
    """
    if given:
        return Keys([base64.b64decode(seed) for seed in given], trusted)
    file = folder / KEY_FILE
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not file.exists():
        seed = base64.b64encode(os.urandom(32)) + b"\n"
        new = folder / f".{KEY_FILE}.{os.getpid()}"
        _write(new, seed)
        try:
            os.link(new, file)  # of two that make one at once, the first one stays
        except FileExistsError:
            pass
        finally:
            new.unlink()
    keys = Keys(
        [base64.b64decode(file.read_text(encoding="ascii").strip(), validate=True)], trusted
    )
    public = folder / PUBLIC_FILE
    if not public.exists() or public.read_text(encoding="ascii").strip() != keys.public:
        _write(public, f"{keys.public}\n".encode(), 0o644)
    return keys


def _write(file: Path, content: bytes, mode: int = 0o600) -> None:
    """Write a file at once or not at all, durable before it is seen."""
    new = file.with_name(f".{file.name}.{os.getpid()}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as output:
        output.write(content)
        output.flush()
        os.fsync(output.fileno())
    new.replace(file)


# --- outside the ledger -------------------------------------------------------------------------


class Watch:
    """The newest checkpoint that this process knows of, from a folder outside the ledger.

    Args:
        folder: Holds `latest.json`, and every one of them in `checkpoints.jsonl`.
        keys: Whose signatures count.
    """

    def __init__(self, folder: Path, keys: Keys) -> None:
        self.folder = folder
        self.keys = keys
        self._known: Checkpoint | None = None
        self._seen: tuple[int, int, int] | None = None

    def expected(self) -> Checkpoint | None:
        """Return what the ledger must at least hold; None where none was ever signed.

        What was seen once counts also after its file is gone.

        Raises:
            CheckpointError: The file is damaged, forged, or can't be read.
        """
        file = self.folder / LATEST
        try:
            found = file.stat()
            mark = (found.st_mtime_ns, found.st_size, found.st_ino)
            if mark == self._seen:
                return self._known
            checkpoint = Checkpoint.read(file.read_bytes())
        except FileNotFoundError:
            return self._known
        except OSError:
            raise CheckpointError("checkpoint_odd") from None
        self.keys.require(checkpoint)
        if self._known is None or checkpoint.no >= self._known.no:
            self._known, self._seen = checkpoint, mark
        return self._known

    def keep(self, checkpoint: Checkpoint) -> None:
        """Keep a checkpoint that stands in the ledger.

        Raises:
            OSError: The folder can't be written.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        line = canonical(checkpoint.model_dump(mode="json")) + b"\n"
        descriptor = os.open(self.folder / ALL, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "ab") as output:
            output.write(line)
            output.flush()
            os.fsync(output.fileno())
        _write(self.folder / LATEST, checkpoint.content.encode())
        self._known = checkpoint


def is_older(session: Session, expected: Checkpoint | None) -> bool:
    """Tell whether this ledger lacks what a checkpoint saw in it; one statement."""
    if expected is None:
        return False
    entry = select(Audit.hash).where(Audit.seq == expected.last_seq).scalar_subquery()
    signed = select(CheckpointRow.hash).where(CheckpointRow.no == expected.no).scalar_subquery()
    found = session.execute(select(entry, signed)).one()
    return tuple(found) != (expected.last_hash, expected.hash)


def require_current(session: Session, watch: "Watch | None") -> None:
    """See that this ledger is not older than its last checkpoint.

    Raises:
        RefusedError: gate_closed with `why` ledger_older or checkpoint_unreadable.
    """
    if watch is None:
        return
    try:
        older = is_older(session, watch.expected())
    except CheckpointError:
        raise RefusedError("gate_closed", why=[UNREADABLE]) from None
    if older:
        raise RefusedError("gate_closed", why=[LEDGER_OLDER])


# --- making one ---------------------------------------------------------------------------------


def last_of(session: Session) -> Checkpoint | None:
    """Return the newest checkpoint that the ledger itself keeps."""
    newest = select(CheckpointRow.body).order_by(col(CheckpointRow.no).desc()).limit(1)
    body = session.exec(newest).first()
    return None if body is None else Checkpoint.read(body)


def make(
    ledger: Ledger,
    watch: Watch,
    now: datetime,
    *,
    way_in: str = "",
    person_id: str = "",
    lost: Checkpoint | None = None,
) -> Checkpoint:
    """Sign the state of the log; kept in the ledger, then outside it.

    Writers wait only while the last number is read and while the row is added.

    Args:
        lost: The one outside that this ledger does not know, given up by those who may.

    Raises:
        RefusedError: ledger_older: this ledger lacks what the last checkpoint saw; log_empty.
        CheckpointError: The last one, outside or inside, is damaged or forged.
        LedgerUnavailableError: Not now.
        OSError: It stands in the ledger, but the folder outside can't be written.
    """
    expected = watch.expected()
    upto = ledger.write(_settled)
    with ledger.reading() as session:
        if lost is None and is_older(session, expected):
            raise RefusedError(LEDGER_OLDER)
        unsigned = _state(session, upto, now, lost)
    checkpoint = watch.keys.sign(unsigned)

    def keep(session: Session) -> Checkpoint:
        if session.get_bind().dialect.name == "postgresql":  # on SQLite one writes at a time
            session.execute(text("LOCK TABLE checkpoint IN EXCLUSIVE MODE"))
        newest = last_of(session)
        if newest is not None and newest.no >= checkpoint.no:
            return newest  # another process was quicker
        if lost is None and is_older(session, expected):  # replaced while we read
            raise RefusedError(LEDGER_OLDER)
        session.add(
            CheckpointRow(
                no=checkpoint.no,
                at=now,
                entries=checkpoint.entries,
                last_seq=checkpoint.last_seq,
                hash=checkpoint.hash,
                body=canonical(checkpoint.model_dump(mode="json")).decode(),
            )
        )
        session.flush()
        audit.append(
            session, audit.BUREAU, SIGNED, at=now, person_id=person_id, way_in=way_in,
            digest=checkpoint.root, data={"no": checkpoint.no, "entries": checkpoint.entries},
        )  # fmt: skip
        return checkpoint

    kept = ledger.write(keep)
    watch.keys.require(kept)
    watch.keep(kept)
    return kept


def _settled(session: Session) -> int:
    """Return the last number below which no entry can come any more.

    On PostgreSQL an act that is not committed yet may hold a lower number; we wait for it.
    """
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("LOCK TABLE audit IN SHARE MODE"))
    return session.exec(select(func.max(Audit.seq))).one() or 0


def _state(session: Session, upto: int, now: datetime, lost: Checkpoint | None) -> Checkpoint:
    """Return the state up to an entry, going on from the last checkpoint where that can be."""
    algorithm = digests_of(session)
    last = last_of(session)
    tree = Tree(algorithm)
    after = 0
    if last is not None and last.algorithm == algorithm and _still_there(session, last):
        tree = Tree(algorithm, last.peaks, last.entries)
        tree.last_seq, tree.last_hash = last.last_seq, last.last_hash
        after = last.last_seq
    for row in audit.rows(session, after, upto):
        tree.add(row.seq, row.hash)
    first = select(Audit.hash).where(Audit.chain == audit.BUREAU).where(Audit.n == 1)
    name = session.exec(first).first()
    if name is None or not tree.entries:
        raise RefusedError("log_empty")
    before = [one for one in (last, lost) if one is not None]
    newest = max(before, key=lambda one: one.no, default=None)
    return Checkpoint(
        ledger=name,
        no=newest.no + 1 if newest else 1,
        at=now,
        entries=tree.entries,
        last_seq=tree.last_seq,
        last_hash=tree.last_hash,
        algorithm=algorithm,
        root=tree.root,
        peaks=tree.peaks,
        prev=newest.hash if newest else "",
        lost=_told(lost) if lost else None,
        key="",
    )


def _told(lost: Checkpoint) -> dict[str, Any]:
    return {"no": lost.no, "entries": lost.entries, "hash": lost.hash, "at": lost.at.isoformat()}


def _still_there(session: Session, last: Checkpoint) -> bool:
    """Tell whether the entries that a checkpoint counted are there in the same number."""
    counted = select(func.count()).select_from(Audit).where(col(Audit.seq) <= last.last_seq)
    ended = select(Audit.hash).where(Audit.seq == last.last_seq)
    return (
        session.exec(counted).one() == last.entries
        and session.exec(ended).first() == last.last_hash
    )


def is_due(session: Session, now: datetime, *, at_all: bool = False) -> bool:
    """Tell whether it is time to sign again.

    Args:
        at_all: As soon as there is anything new, as at a start or stop.
    """
    newest = select(CheckpointRow.last_seq, CheckpointRow.at).order_by(col(CheckpointRow.no).desc())
    last_seq, at = session.exec(newest.limit(1)).first() or (0, None)
    new = session.exec(
        select(Audit.event).where(col(Audit.seq) > last_seq).order_by(col(Audit.seq)).limit(2)
    ).all()
    if not new or list(new) == [SIGNED]:
        return False
    if at_all or at is None or now - at >= EVERY:
        return True
    end = session.exec(select(func.max(Audit.seq))).one() or 0
    return bool(end - last_seq >= EVERY_ENTRIES)


# --- proof --------------------------------------------------------------------------------------


def verify(
    session: Session,
    keys: Keys | None = None,
    outside: Sequence[Checkpoint] = (),
    progress: Callable[[int], None] = lambda _entries: None,
) -> dict[str, Any]:
    """Recompute every chain, and the whole log against every checkpoint; see `audit.verify`.

    Args:
        keys: Whose signatures count; without them signatures are not looked at.
        outside: Checkpoints from elsewhere. Their signatures were verified by the caller.
        progress: Told now and then how many entries were looked at.

    Returns:
        As `audit.verify`, with `checkpoints`: how many were compared. Further `why`: `older` (a
        checkpoint elsewhere saw more than this ledger holds: it was cut off, or an older copy was
        put back), `checkpoint` (the log is not what a checkpoint signed), `foreign` (it is of
        another ledger), `forged` (the ledger's own checkpoint is altered or wrongly signed).
    """
    own, bad = _own(session, keys)
    waiting = sorted([*own, *outside], key=lambda one: one.entries)
    trees = {one.algorithm: Tree(one.algorithm) for one in waiting}
    left = iter(waiting)
    following = next(left, None)
    wrong: list[Checkpoint] = []
    count = 0

    def each(seq: int, entry_hash: str) -> None:
        nonlocal following, count
        count += 1
        for tree in trees.values():
            tree.add(seq, entry_hash)
        while following is not None and following.entries == count:
            if (trees[following.algorithm].root, seq) != (following.root, following.last_seq):
                wrong.append(following)
            following = next(left, None)

    found = audit.verify(session, each, progress)
    missing = [following, *left] if following is not None else []
    bad = found["first_bad"] or bad or _disagreeing(session, own, outside, wrong, missing)
    return found | {"ok": bad is None, "first_bad": bad, "checkpoints": len(waiting)}


def _own(session: Session, keys: Keys | None) -> tuple[list[Checkpoint], audit.Bad | None]:
    """Return the ledger's own checkpoints, and the first one that is not as it was signed."""
    own: list[Checkpoint] = []
    prev = ""
    for row in session.exec(select(CheckpointRow).order_by(col(CheckpointRow.no))):
        try:
            one = Checkpoint.read(row.body)
            if keys is not None:
                keys.require(one)
            told = (one.no, one.at, one.entries, one.last_seq, one.hash)
            before = one.lost["hash"] if one.lost and one.prev != prev else prev
            if told != (row.no, row.at, row.entries, row.last_seq, row.hash) or one.prev != before:
                raise CheckpointError("checkpoint_forged")
        except CheckpointError:
            return own, _bad(None, row.no, "forged")
        own.append(one)
        prev = one.hash
    return own, None


def _disagreeing(
    session: Session,
    own: Sequence[Checkpoint],
    outside: Sequence[Checkpoint],
    wrong: Sequence[Checkpoint],
    missing: Sequence[Checkpoint],
) -> audit.Bad | None:
    """Return what tells most about the first checkpoint that does not fit."""
    known = {one.no: one.hash for one in own}
    given_up = {one.lost["hash"] for one in own if one.lost}
    ledger = session.exec(
        select(Audit.hash).where(Audit.chain == audit.BUREAU).where(Audit.n == 1)
    ).first()
    for one in outside:
        if one.ledger != ledger:
            return _bad(one, one.no, "foreign")
        if known.get(one.no) != one.hash and one.hash not in given_up:
            return _bad(one, one.no, "older" if one.no not in known else "checkpoint")
    for one in missing:
        if one.hash not in given_up:
            return _bad(one, one.no, "older")
    for one in wrong:
        if one.hash not in given_up:
            return _bad(one, one.no, "checkpoint")
    return None


def _bad(one: Checkpoint | None, no: int, why: str) -> audit.Bad:
    return {
        "seq": one.last_seq if one else None,
        "chain": f"checkpoint-{no}",
        "n": one.entries if one else None,
        "why": why,
    }


def read_all(folder: Path) -> Iterator[Checkpoint]:
    """Yield every checkpoint that a folder outside has kept; nothing is verified yet.

    Raises:
        CheckpointError: A line holds none.
    """
    try:
        with (folder / ALL).open("rb") as lines:
            yield from map(Checkpoint.read, lines)
    except FileNotFoundError:
        return
