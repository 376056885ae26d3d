"""What the engine stores, encrypted when PAYLOAD_KEYS are set; plain pydantic JSON otherwise.

A payload is bound to its namespace and workflow: moved to another one it does not open. Both ids
are clear to the engine anyway; the workflow's stands beside the payload, so that the codec
endpoint, which is told no workflow, can open it too.
"""

import base64
import os
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from google.protobuf.message import DecodeError
from temporalio.api.common.v1 import Payload
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import (
    ActivitySerializationContext,
    DataConverter,
    DefaultFailureConverterWithEncodedAttributes,
    PayloadCodec,
    SerializationContext,
    WithSerializationContext,
    WorkflowSerializationContext,
)

ENCODING = b"binary/encrypted"
CIPHER = b"AES-256-GCM"
MOST_BOUND = 64  # workflows and activities
RUN_OF_SCHEDULE = re.compile(rb"-\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")  # the engine's own ending
NONCE_LENGTH = 12  # bytes, what AES-GCM is made for (NIST SP 800-38D)


class PayloadError(RuntimeError):
    """A payload can't be opened; what is stored stays as it is, and opens once that is mended."""


class PayloadKeyMissingError(PayloadError):
    """The key a payload was encrypted with is not among ours."""


class PayloadAlteredError(PayloadError):
    """A payload was altered, or is not of this workflow and namespace."""


class Cipher(PayloadCodec, WithSerializationContext):
    """AES-256-GCM; the first key encrypts, every key decrypts, so that keys can be changed.

    Args:
        keys: Key ids with 32 bytes each, the current one first.
        namespace: Where payloads belong of which no workflow is known.
    """

    def __init__(self, keys: Mapping[str, bytes], namespace: str = "") -> None:
        self._ciphers = {key_id.encode(): AESGCM(key) for key_id, key in keys.items()}
        self._current = next(iter(self._ciphers))
        self._namespace = namespace.encode()
        self._workflow: bytes | None = None

    def with_context(self, context: SerializationContext) -> Self:
        """Return the same cipher for one workflow's payloads; the keys are not set up again."""
        namespace, workflow = self._namespace, None
        if isinstance(context, (WorkflowSerializationContext, ActivitySerializationContext)):
            namespace = context.namespace.encode()
            workflow = context.workflow_id.encode() if context.workflow_id else None
        bound = object.__new__(type(self))
        bound._ciphers, bound._current = self._ciphers, self._current
        bound._namespace, bound._workflow = namespace, workflow
        return bound

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [self._encrypted(payload) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Decrypt what is encrypted; what was stored before encryption began stays as it is.

        Raises:
            PayloadKeyMissingError: The payload's key is not among ours any more.
            PayloadAlteredError: It was altered, or belongs to another workflow or namespace.
        """
        return [self.opened(payload) for payload in payloads]

    def opened(self, payload: Payload) -> Payload:
        """Decrypt one payload; see `decode`."""
        if payload.metadata.get("encoding") != ENCODING:
            return payload
        key_id = payload.metadata.get("key", b"")
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            name = key_id[:64].decode("utf-8", "replace")
            raise PayloadKeyMissingError(
                f"payload key {name!r} is missing: put it back into SANSHEN_PAYLOAD_KEYS"
            )
        workflow = payload.metadata.get("workflow", b"")
        nonce, sealed = payload.data[:NONCE_LENGTH], payload.data[NONCE_LENGTH:]
        try:
            # What a payload says of itself opens it only where nobody knows better.
            if workflow and self._workflow is not None and not _is_of(workflow, self._workflow):
                raise InvalidTag
            plain = cipher.decrypt(nonce, sealed, _bound_to(self._namespace, workflow, key_id))
            return Payload.FromString(plain)
        except (InvalidTag, ValueError, DecodeError):
            raise PayloadAlteredError(
                "a payload was altered, or is not of this workflow and namespace"
            ) from None

    def _encrypted(self, payload: Payload) -> Payload:
        nonce = os.urandom(NONCE_LENGTH)
        key_id, workflow = self._current, self._workflow or b""
        sealed = self._ciphers[key_id].encrypt(
            nonce, payload.SerializeToString(), _bound_to(self._namespace, workflow, key_id)
        )
        metadata = {"encoding": ENCODING, "cipher": CIPHER, "key": key_id, "workflow": workflow}
        return Payload(metadata=metadata, data=nonce + sealed)


class _Converter(DataConverter):
    """Asked for the same workflow or activity many times a task, it is bound to it once."""

    def with_context(self, context: SerializationContext) -> Self:
        bound = self._bound.get(context)
        if bound is None:
            if len(self._bound) >= MOST_BOUND:
                self._bound.clear()
            bound = self._bound[context] = super().with_context(context)
        return bound

    @cached_property
    def _bound(self) -> dict[SerializationContext, Self]:
        return {}


def _is_of(written_for: bytes, workflow: bytes) -> bool:
    """Tell whether a payload is this workflow's own.

    A schedule's is written for the id that it was given; each run that the engine starts of it has
    the moment appended.
    """
    if workflow == written_for:
        return True
    is_longer = workflow.startswith(written_for)
    return is_longer and RUN_OF_SCHEDULE.fullmatch(workflow[len(written_for) :]) is not None


def _bound_to(namespace: bytes, workflow: bytes, key_id: bytes) -> bytes:
    """Return what is authenticated beside a payload; lengths keep the three apart."""
    parts = (namespace, workflow, key_id)
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def cipher(keys: Mapping[str, str], namespace: str) -> Cipher | None:
    """Return the codec for keys of 32 bytes in base64, the current one first; None for none."""
    if not keys:
        return None
    return Cipher({key_id: base64.b64decode(key) for key_id, key in keys.items()}, namespace)


def converter(keys: Mapping[str, str], namespace: str = "default") -> DataConverter:
    """Return how values travel through the engine.

    Args:
        keys: Key ids with 32 bytes in base64 each, the current one first; none, no encryption.
        namespace: The engine's, to which payloads are bound.
    """
    codec = cipher(keys, namespace)
    if codec is None:
        return pydantic_data_converter
    return _Converter(
        payload_converter_class=pydantic_data_converter.payload_converter_class,
        payload_codec=codec,
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes,
    )
