"""Digests with their algorithm's name beside them: `sha256:…`, or `sm3:…` (GB/T 32905-2016).

Which one a new digest takes is a setting; which one a digest that is there was made with stands in
front of it, so that ledgers of both kinds verify.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import Literal

Algorithm = Literal["sha256", "sm3"]
SHA256: Algorithm = "sha256"
SM3: Algorithm = "sm3"


def _sm3_of_cryptography(data: bytes) -> bytes:
    from cryptography.hazmat.primitives.hashes import SM3 as Sm3
    from cryptography.hazmat.primitives.hashes import Hash

    running = Hash(Sm3())
    running.update(data)
    return running.finalize()


def _sm3_of_python(data: bytes) -> bytes:
    return hashlib.new("sm3", data).digest()


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


# Not every OpenSSL that Python is built with knows SM3; the one inside `cryptography` does.
HASHES: Mapping[str, Callable[[bytes], bytes]] = {
    SHA256: _sha256,
    SM3: _sm3_of_python if SM3 in hashlib.algorithms_available else _sm3_of_cryptography,
}


def digest(data: bytes, algorithm: str = SHA256) -> str:
    """Return a digest with its algorithm's name in front.

    Raises:
        KeyError: There is no such algorithm here.
    """
    return f"{algorithm}:{HASHES[algorithm](data).hex()}"


def algorithm_of(known: str) -> str:
    """Return what a digest was made with; SHA-256 where no name that we know stands in front."""
    name = known.partition(":")[0]
    return name if name in HASHES else SHA256


def hex_of(known: str) -> str:
    """Return a digest without its algorithm's name."""
    return known.rpartition(":")[2]
