"""Ids: opaque, sortable by the moment they were made, safe in a URL and in a workflow id."""

import os
import time

ALPHABET = "0123456789abcdefghijklmnopqrstuv"  # base32hex keeps the order of the bits


def new_id() -> str:
    """Return a new id, 26 characters: a UUID of version 7 (RFC 9562) in base32hex."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76  # version
    value = value & ~(0x3 << 62) | 0x2 << 62  # variant
    return "".join(ALPHABET[value >> shift & 31] for shift in range(125, -1, -5))
