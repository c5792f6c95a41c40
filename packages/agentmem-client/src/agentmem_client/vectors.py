"""Vectors on the wire: a list of numbers, or base64 of little-endian float32."""

import base64
import math
import sys
from array import array
from collections.abc import Sequence


def pack(value: object) -> bytes:
    """Any form of a vector as little-endian float32 bytes (4 a number).

    Args:
        value: numbers in a sequence (or a numpy array), base64 text of float32, or the bytes.

    Raises:
        ValueError: when it is none of these, is empty, or holds NaN or an infinity.
    """
    floats = array("f")
    if isinstance(value, str):
        try:
            value = base64.b64decode(value, validate=True)
        except ValueError:
            raise ValueError("a vector as text must be base64 of little-endian float32") from None
    if isinstance(value, bytes):
        if len(value) % 4:
            raise ValueError("a vector's bytes must be float32: a multiple of 4 bytes")
        floats.frombytes(value)
        if sys.byteorder == "big":
            floats.byteswap()
    else:
        if hasattr(value, "tolist"):
            value = value.tolist()
        if not isinstance(value, Sequence) or bool in set(map(type, value)):
            raise ValueError("a vector must be a list of numbers, or base64 of float32")
        try:
            floats.extend(value)
        except (TypeError, OverflowError):
            raise ValueError("a vector must hold numbers in the range of float32") from None
    if not floats:
        raise ValueError("a vector must have at least one number")
    # Finite float32 numbers can't overflow a float64 sum, so one test covers all of them.
    if not math.isfinite(sum(floats)):
        raise ValueError("a vector must hold finite numbers: no NaN, no infinity")
    if sys.byteorder == "big":
        floats.byteswap()
    return floats.tobytes()


def unpack(data: bytes) -> list[float]:
    """The numbers in little-endian float32 bytes."""
    floats = array("f")
    floats.frombytes(data)
    if sys.byteorder == "big":
        floats.byteswap()
    return floats.tolist()


def to_base64(data: bytes) -> str:
    """Float32 bytes as they travel in JSON."""
    return base64.b64encode(data).decode("ascii")
