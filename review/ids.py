"""Ids: opaque, sortable by the moment they were made, safe in a URL and in a workflow id."""

import secrets
import time

ALPHABET = "0123456789abcdefghijklmnopqrstuv"  # base32hex keeps the order of the bits


def new_id() -> str:
    """Return a new id, 26 characters: a UUID of version 7 (RFC 9562) in base32hex.

    The twelve bits after the millisecond tell its fraction, so ids that one process makes in a
    row sort in that order.
    """
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    fraction = rest * 4096 // 1_000_000
    value = milliseconds << 80 | 7 << 76 | fraction << 64 | 2 << 62 | secrets.randbits(62)
    return "".join(ALPHABET[value >> shift & 31] for shift in range(125, -1, -5))
