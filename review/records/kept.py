"""What is kept of a secret, and how the use of one is traced."""

import hashlib
from datetime import datetime
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlmodel import Session

from review.records import audit
from review.records.tables import PersonRow
from review.rules.errors import NotFoundError

NONCE = 12  # bytes, as AES-GCM wants it


def storable(text: str) -> bytes:
    """Return any text as bytes, also what JSON can say but UTF-8 can't."""
    return text.encode("utf-8", "surrogatepass")


def digest_of_secret(secret: str) -> str:
    """Return what is kept of a secret: it is random enough for a fast hash."""
    return hashlib.sha256(storable(secret)).hexdigest()


def known(session: Session, person_id: str) -> PersonRow:
    """Return a person's row, locked, so that nobody else changes the account meanwhile.

    Raises:
        NotFoundError: There is no such person.
    """
    row = session.get(PersonRow, person_id, with_for_update=True)
    if row is None:
        raise NotFoundError
    return row


def note(
    session: Session, event: str, now: datetime, by: str, way_in: str = "", **data: Any
) -> None:
    """Leave a line on the bureau's trace; `by` empty is whoever has the machine's console."""
    way_in = way_in or ("" if by else "cli")
    audit.append(
        session, audit.BUREAU, event, at=now, person_id=by, way_in=way_in, data=data
    )  # fmt: skip


def derived(secret: bytes, purpose: str, length: int) -> bytes:
    """Return a key for one purpose, the same for ever for the same secret."""
    info = f"sanshen {purpose}".encode()
    return HKDF(SHA256(), length, salt=None, info=info).derive(secret)


class Box:
    """Seals what must be read again, under a key derived from SECRET_KEY for one purpose."""

    def __init__(self, secret: bytes, purpose: str) -> None:
        self._key = AESGCM(derived(secret, purpose, 32))

    def seal(self, content: bytes, about: str, nonce: bytes) -> str:
        """Return the content sealed; it opens only with the same `about`.

        Args:
            nonce: Twelve random bytes, used once.
        """
        return (nonce + self._key.encrypt(nonce, content, about.encode())).hex()

    def open(self, sealed: str, about: str) -> bytes | None:
        """Return what was sealed; None when it is not ours, or about something else."""
        try:
            raw = bytes.fromhex(sealed)
            return self._key.decrypt(raw[:NONCE], raw[NONCE:], about.encode())
        except (ValueError, InvalidTag):
            return None
