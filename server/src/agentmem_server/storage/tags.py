"""Metadata as index rows, so that every filter is a look-up and equality is JSON's.

Each value in the metadata, at whatever depth, becomes one row: its path, what kind of value it is,
and the value. An array gives a row for itself and one for each element, marked as an element.
Arrays and objects only compare as wholes, so that a digest of their canonical JSON stands for them.
"""

import json
from collections.abc import Mapping
from hashlib import blake2b
from struct import pack, unpack
from typing import Any, NamedTuple, TypeAlias

from agentmem_client.filters import escape

NULL, BOOLEAN, NUMBER, STRING, ARRAY, OBJECT = range(6)
ELEMENT = 8
"""Added to the kind of a value that is an element of an array."""

PREFIX = 128
"""How many characters of a string the index orders by; the rest is compared beside it."""

Indexed: TypeAlias = int | float | str
"""What is ordered by."""

_INT64 = 2**63
_SIGN, _ALL_BITS = 1 << 63, (1 << 64) - 1
_LONGEST_PATH = 256


class Value(NamedTuple):
    """A value as the index holds it.

    ``value`` is what is ordered by (of a long string, its beginning) and ``full`` the whole of a
    string longer than `PREFIX`, otherwise empty.
    """

    kind: int
    value: Indexed
    full: str = ""


Tag: TypeAlias = tuple[str, int, Indexed, str]
"""One index row of a memory's metadata: its path, and a `Value`."""


def tags(metadata: Mapping[str, Any]) -> set[Tag]:
    """All index rows of a memory's metadata."""
    found: set[Tag] = set()
    for key, value in metadata.items():
        _add(escape(key), value, found)
    return found


def encode(value: Any) -> Value:
    """A JSON value as it is compared: equal values, and only they, are equal rows."""
    match value:
        case None:
            return Value(NULL, 0)
        case bool():
            return Value(BOOLEAN, int(value))
        case int() | float():
            return Value(NUMBER, number(value))
        case str():
            long = len(value) > PREFIX
            return Value(STRING, value[:PREFIX], value if long else "")
        case list() | tuple():
            return Value(ARRAY, _digest(value))
        case _:
            return Value(OBJECT, _digest(value))


def number(value: int | float) -> int | float:
    """A number as every store can compare it: a 64-bit integer, or else a double."""
    return float(value) if isinstance(value, int) and not -_INT64 <= value < _INT64 else value


def as_text(value: Indexed) -> str:
    """A value for a store whose column holds text: numbers as text of the same order.

    A double's bits in the order of their sign, and what the integer has beyond the nearest double.
    """
    if isinstance(value, str):
        return value
    nearest = float(value) + 0.0  # there is one zero
    beyond = int(value) - int(nearest) if isinstance(value, int) else 0
    (bits,) = unpack(">Q", pack(">d", nearest))
    ordered = bits ^ (_ALL_BITS if bits & _SIGN else _SIGN)
    return f"{ordered:016x}{beyond + _SIGN:016x}"


def short_path(path: str) -> str:
    """A path for a store whose index takes no long ones: of these, a digest."""
    if len(path) <= _LONGEST_PATH:
        return path
    return f"{path[:64]} {blake2b(path.encode(), digest_size=16).hexdigest()}"


def _add(path: str, value: Any, found: set[Tag]) -> None:
    kind, *_ = encoded = encode(value)
    found.add((path, *encoded))
    if kind == OBJECT:
        for key, inner in value.items():
            _add(f"{path}.{escape(key)}", inner, found)
    elif kind == ARRAY:
        for element in value:
            kind, indexed, full = encode(element)
            found.add((path, kind + ELEMENT, indexed, full))


def _digest(value: Any) -> str:
    canonical = json.dumps(
        _canonical(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )
    return blake2b(canonical.encode(), digest_size=16).hexdigest()


def _canonical(value: Any) -> Any:
    """The same JSON with one spelling for each number."""
    match value:
        case bool():
            return value
        case int() | float():
            plain = number(value)
            whole = isinstance(plain, float) and plain.is_integer() and -_INT64 <= plain < _INT64
            return int(plain) if whole else plain
        case list() | tuple():
            return [_canonical(element) for element in value]
        case Mapping():
            return {key: _canonical(inner) for key, inner in value.items()}
        case _:
            return value


EMPTY_ARRAY = encode([])
