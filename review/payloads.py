"""What the engine stores, encrypted when PAYLOAD_KEYS are set; plain pydantic JSON otherwise."""

import base64
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import (
    DataConverter,
    DefaultFailureConverterWithEncodedAttributes,
    PayloadCodec,
)

ENCODING = b"binary/encrypted"
NONCE_LENGTH = 12  # bytes, what AES-GCM is made for (NIST SP 800-38D)


class Cipher(PayloadCodec):
    """AES-256-GCM; the first key encrypts, every key decrypts, so that keys can be changed."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self._current = next(iter(keys))

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [self._encrypted(payload) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Decrypt what is encrypted; what was stored before encryption began stays as it is.

        Raises:
            KeyError: The payload's key is not among ours any more.
            cryptography.exceptions.InvalidTag: The payload was altered.
        """
        return [
            self._decrypted(payload) if payload.metadata.get("encoding") == ENCODING else payload
            for payload in payloads
        ]

    def _encrypted(self, payload: Payload) -> Payload:
        nonce = os.urandom(NONCE_LENGTH)
        key_id = self._current.encode()
        sealed = self._ciphers[self._current].encrypt(nonce, payload.SerializeToString(), key_id)
        return Payload(metadata={"encoding": ENCODING, "key": key_id}, data=nonce + sealed)

    def _decrypted(self, payload: Payload) -> Payload:
        key_id = payload.metadata["key"]
        nonce, sealed = payload.data[:NONCE_LENGTH], payload.data[NONCE_LENGTH:]
        return Payload.FromString(self._ciphers[key_id.decode()].decrypt(nonce, sealed, key_id))


def converter(keys: Mapping[str, str]) -> DataConverter:
    """Return how values travel through the engine.

    Args:
        keys: Key ids with 32 bytes in base64 each, the current one first; none, no encryption.
    """
    if not keys:
        return pydantic_data_converter
    return replace(
        pydantic_data_converter,
        payload_codec=Cipher({key_id: base64.b64decode(key) for key_id, key in keys.items()}),
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes,
    )
