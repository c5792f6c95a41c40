"""Vectors on the wire: a list of numbers, or base64 of little-endian float32."""

import base64
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
    if isinstance(value, str):
        try:
            value = base64.b64decode(value, validate=True)
        except ValueError:
            raise ValueError("a vector as text must be base64 of little-endian float32") from None
    data = value if isinstance(value, bytes) else _packed(value)
    if len(data) % 4:
        raise ValueError("a vector's bytes must be float32: a multiple of 4 bytes")
    if not data:
        raise ValueError("a vector must have at least one number")
    if not _are_finite(data):
        raise ValueError("a vector must hold finite numbers: no NaN, no infinity")
    return data


def _packed(value: object) -> bytes:
    if hasattr(value, "tolist"):
        value = value.tolist()
    if not isinstance(value, Sequence) or bool in set(map(type, value)):
        raise ValueError("a vector must be a list of numbers, or base64 of float32")
    floats = array("f")
    try:
        floats.extend(value)
    except (TypeError, OverflowError):
        raise ValueError("a vector must hold numbers in the range of float32") from None
    if sys.byteorder == "big":
        floats.byteswap()
    return floats.tobytes()


def _are_finite(data: bytes) -> bool:
    # What is not has an exponent of nothing but ones: the last seven bits of the last byte, which
    # are searched for without making numbers of them, and the first bit of the one before.
    last = data[3::4]
    if b"\x7f" not in last and b"\xff" not in last:
        return True
    pairs = zip(last, data[2::4], strict=True)
    return not any(byte & 0x7F == 0x7F and before & 0x80 for byte, before in pairs)


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
