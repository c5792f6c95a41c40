"""Vectors on the wire."""

import base64
import math
import struct
from array import array
from typing import Any

import pytest
from agentmem_client.vectors import pack, to_base64, unpack
from hypothesis import example, given, settings
from hypothesis import strategies as st

FLOATS = st.lists(
    st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=50
)


@settings(max_examples=100, deadline=None)
@given(FLOATS)
def test_what_is_packed_unpacks_the_same(numbers: list[float]) -> None:
    packed = pack(numbers)
    assert packed == struct.pack(f"<{len(numbers)}f", *numbers)
    assert unpack(packed) == numbers
    assert pack(packed) == packed
    assert pack(to_base64(packed)) == packed
    assert pack(array("d", numbers)) == packed
    assert pack(tuple(numbers)) == packed


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=5))
@example([0x7F7FFFFF, 0xFF7FFFFF, 0x7F000000])
@example([0x7F800000])
@example([0xFF800001])
def test_all_bits_are_numbers_but_those_of_infinities_and_nan(bits: list[int]) -> None:
    data = struct.pack(f"<{len(bits)}I", *bits)
    if all(map(math.isfinite, struct.unpack(f"<{len(bits)}f", data))):
        assert pack(data) == data
    else:
        with pytest.raises(ValueError, match="finite"):
            pack(data)


def test_the_largest_numbers_fit() -> None:
    largest = 3.4028234663852886e38
    assert unpack(pack([largest] * 1_000)) == [largest] * 1_000


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ([], "at least one"),
        (b"", "at least one"),
        ("", "at least one"),
        (b"abc", "multiple of 4"),
        ("AAA=", "multiple of 4"),
        ("not base64!", "base64"),
        ("AAAAA\n==", "base64"),
        ("é", "base64"),
        ([float("nan")], "finite"),
        ([1.0, float("inf"), float("-inf")], "finite"),
        ([1e39], "finite|range"),
        (struct.pack("<f", float("nan")), "finite"),
        (base64.b64encode(struct.pack("<f", float("inf"))).decode(), "finite"),
        ([True, 1.0], "list of numbers"),
        (["1"], "hold numbers"),
        ([None], "hold numbers"),
        ([[1.0]], "hold numbers"),
        ([10**400], "range of float32"),
        ({"a": 1}, "list of numbers"),
        ({1.0, 2.0}, "list of numbers"),
        (5, "list of numbers"),
        (None, "list of numbers"),
    ],
)
def test_what_is_no_vector(value: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        pack(value)
