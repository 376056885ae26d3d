"""Sealed callbacks of 微信 and 企业微信 (消息加解密): who sent one, whom it is for, what it says.

`msg_signature` is the SHA-1 of token, timestamp, nonce and cipher text, sorted and joined; the
cipher is AES-256-CBC over 16 random bytes, a length, the text and the receiver's id. Both are the
platform's choice. What a callback says is never believed further than its use needs.

Protocol: developer.work.weixin.qq.com/document/path/90968, whose published vectors the tests use.
"""

import base64
import binascii
import hashlib
import hmac
import re
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from lxml import etree

from review.rules.errors import MalformedError, NotSignedInError

TOLERANCE = timedelta(minutes=5)
TIMESTAMP = re.compile(r"[0-9]{1,11}")
AES_KEY = re.compile(r"[A-Za-z0-9]{43}")
RANDOM, LENGTH, BLOCK = 16, 4, 32  # bytes; the padding goes by blocks of 32


class Envelope:
    """What one account's callbacks are signed and sealed with.

    Args:
        token: Signs.
        aes_key: EncodingAESKey, 43 letters and digits.
        receiver: The AppID or CorpID that must stand inside.
    """

    def __init__(self, token: str, aes_key: str, receiver: str) -> None:
        if not AES_KEY.fullmatch(aes_key):
            raise ValueError("an EncodingAESKey has 43 letters and digits")
        self._token = token
        self._key = base64.b64decode(f"{aes_key}=")
        self._receiver = receiver

    def signature(self, *parts: str) -> str:
        """Return the signature over the token and these parts, in hex."""
        signed = "".join(sorted((self._token, *parts)))
        return hashlib.sha1(signed.encode("utf-8", "surrogatepass")).hexdigest()  # nosec B324

    def check(
        self, signature: str, timestamp: str, nonce: str, sealed: str | None, now: datetime
    ) -> None:
        """Refuse what the platform did not sign within the last minutes.

        Args:
            sealed: The cipher text; None for the greeting of 公众号, which has none.

        Raises:
            NotSignedInError: It is of somebody else, or old.
        """
        if not TIMESTAMP.fullmatch(timestamp):
            raise NotSignedInError
        if abs(now - datetime.fromtimestamp(int(timestamp), UTC)) > TOLERANCE:
            raise NotSignedInError
        parts = (timestamp, nonce) if sealed is None else (timestamp, nonce, sealed)
        given = signature.encode("utf-8", "surrogatepass")
        if not hmac.compare_digest(given, self.signature(*parts).encode()):
            raise NotSignedInError

    def opened(self, sealed: str) -> bytes:
        """Return what was sealed for our account; its signature was checked before.

        Raises:
            NotSignedInError: It was sealed with another key, or for another account.
        """
        try:
            raw = base64.b64decode(sealed, validate=True)
        except (binascii.Error, ValueError):
            raise NotSignedInError from None
        if not raw or len(raw) % BLOCK:
            raise NotSignedInError
        decryptor = Cipher(AES(self._key), CBC(self._key[:16])).decryptor()
        plain = decryptor.update(raw) + decryptor.finalize()
        padding = plain[-1]
        if not 1 <= padding <= BLOCK or plain[-padding:] != bytes((padding,)) * padding:
            raise NotSignedInError
        inside = plain[RANDOM:-padding]
        length = int.from_bytes(inside[:LENGTH], "big")
        content, receiver = inside[LENGTH : LENGTH + length], inside[LENGTH + length :]
        if len(content) != length or receiver != self._receiver.encode():
            raise NotSignedInError
        return content


def texts_in(xml: bytes) -> dict[str, str]:
    """Return the texts of a callback's elements down to the second level under the root, by
    path, the first of each.

    Raises:
        MalformedError: Not XML, or with a document type, which could swell or fetch.
    """
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, dtd_validation=False,
        huge_tree=False, remove_comments=True, remove_pis=True,
    )  # fmt: skip
    try:
        root = etree.fromstring(xml, parser)
    except (etree.XMLSyntaxError, ValueError):
        raise MalformedError(errors=[{"field": "", "message": "not_xml"}]) from None
    if root.getroottree().docinfo.doctype:
        raise MalformedError(errors=[{"field": "", "message": "not_xml"}])
    found: dict[str, str] = {}
    for one in root:
        found.setdefault(one.tag, (one.text or "").strip())
        for inner in one:
            found.setdefault(f"{one.tag}/{inner.tag}", (inner.text or "").strip())
    return found
