"""Ids that sort by the time they were made."""

import os
import time

_VERSION_AND_VARIANT = (0x7 << 76) | (0b10 << 62)
_RANDOM = (1 << 80) - 1 & ~(0xF << 76 | 0b11 << 62)


def new_id() -> str:
    """A new UUIDv7 (RFC 9562, section 5.7): 48 bits of Unix milliseconds, then random bits.

    Being made before the request is sent, it makes a repeated request the same memory.
    """
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10))
    text = f"{(milliseconds << 80) | (random & _RANDOM) | _VERSION_AND_VARIANT:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
