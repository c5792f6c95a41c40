"""Metadata as index rows: equal values, and only they, are equal rows."""

import json
from typing import Any

import pytest
from agentmem_client.filters import Path
from agentmem_server.storage.tags import (
    ARRAY,
    BOOLEAN,
    ELEMENT,
    EMPTY_ARRAY,
    NULL,
    NUMBER,
    OBJECT,
    PREFIX,
    STRING,
    encode,
    number,
    tags,
)
from hypothesis import given
from hypothesis import strategies as st

KINDS = [NULL, BOOLEAN, NUMBER, STRING, ARRAY, OBJECT]

LONG = "x" * PREFIX
DIFFERENT: list[list[Any]] = [
    [None],
    [True],
    [False],
    [0, 0.0, -0.0],
    [1, 1.0],
    [0.5],
    [2**53, float(2**53)],
    [2**53 + 1],
    [2**63 - 1],
    [2**63, float(2**63), 2**63 + 1],  # beyond 64 bits a number is a double
    [-(2**63), -float(2**63), -(2**63) - 1],
    [10**300, 1e300],
    ["", ""],
    ["0"],
    ["1"],
    ["true"],
    ["null"],
    [LONG],
    [LONG + "a"],
    [LONG + "b"],
    ["é"],
    ["e\u0301"],
    [[], ()],
    [{}],
    [[None]],
    [[0], [-0.0]],
    [[1], [1.0], (1,)],
    [[True]],
    [["1"]],
    [[1, 2]],
    [[2, 1]],
    [[1, [2]]],
    [{"a": 1}, {"a": 1.0}],
    [{"a": True}],
    [{"a": 1, "b": 2}, {"b": 2, "a": 1}],
    [{"a": {"b": 1}}],
    [{"a.b": 1}],
    [{"1": 1}],
    [{"": 1}],
    [[2**63], [float(2**63)]],
    [[10**300], [1e300]],
    [["1,2"]],
    [["1", "2"]],
    ['["1","2"]'],
    [{"a": "é"}],
    [{"a": "e\u0301"}],
    [[LONG + "a"]],
    [[LONG + "b"]],
]


def test_only_equal_values_are_encoded_equally() -> None:
    for position, equal in enumerate(DIFFERENT):
        assert {encode(value) for value in equal} == {encode(equal[0])}
        for others in DIFFERENT[position + 1 :]:
            assert encode(equal[0]) != encode(others[0]), (equal[0], others[0])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(json_values)
def test_what_json_gives_back_is_encoded_as_it_was(value: Any) -> None:
    if "Infinity" not in json.dumps(value):
        assert encode(json.loads(json.dumps(value))) == encode(value)


@given(json_values)
def test_an_encoded_value_is_what_a_database_holds(value: Any) -> None:
    kind, indexed, full = encode(value)
    assert kind in KINDS
    assert type(indexed) in (int, float, str)
    if isinstance(indexed, int):
        assert -(2**63) <= indexed < 2**63
    if isinstance(indexed, str):
        assert len(indexed) <= PREFIX
    if isinstance(value, str):
        assert (full or indexed) == value
    else:
        assert full == ""


@given(st.text(), st.text())
def test_a_prefix_never_contradicts_the_order_of_the_whole(a: str, b: str) -> None:
    a, b = LONG[3:] + a, LONG[3:] + b
    first, second = encode(a).value, encode(b).value
    assert isinstance(first, str)
    assert isinstance(second, str)
    if a < b:
        assert first <= second
    if first < second:
        assert a < b


def test_a_number_is_an_integer_of_64_bits_or_a_double() -> None:
    assert [type(number(x)) for x in (1, 2**63 - 1, -(2**63), 1.0)] == [int, int, int, float]
    assert [type(number(x)) for x in (2**63, -(2**63) - 1, 10**300)] == [float] * 3
    assert number(2**53 + 1) == 2**53 + 1


def test_metadata_becomes_a_row_a_value_at_every_depth() -> None:
    metadata = {"a": 1, "b": {"c": "x", "d": {"e": None}}, "f": True}
    expected = {
        ("a", NUMBER, 1, ""),
        ("b", *encode({"c": "x", "d": {"e": None}})),
        ("b.c", STRING, "x", ""),
        ("b.d", *encode({"e": None})),
        ("b.d.e", NULL, 0, ""),
        ("f", BOOLEAN, 1, ""),
    }
    assert tags(metadata) == expected
    assert tags({}) == set()


def test_an_array_has_a_row_and_one_for_each_different_element() -> None:
    found = tags({"a": [1, 1.0, True, "x", None, [1], {"b": 2}]})
    whole = encode([1, 1.0, True, "x", None, [1], {"b": 2}])
    assert found == {
        ("a", *whole),
        ("a", NUMBER + ELEMENT, 1, ""),
        ("a", BOOLEAN + ELEMENT, 1, ""),
        ("a", STRING + ELEMENT, "x", ""),
        ("a", NULL + ELEMENT, 0, ""),
        ("a", ARRAY + ELEMENT, encode([1]).value, ""),
        ("a", OBJECT + ELEMENT, encode({"b": 2}).value, ""),
    }
    assert tags({"a": []}) == {("a", *EMPTY_ARRAY)}
    long = tags({"a": [LONG + "y"]})
    assert ("a", STRING + ELEMENT, LONG, LONG + "y") in long


def test_elements_are_told_from_values_by_their_kind() -> None:
    assert not {kind + ELEMENT for kind in KINDS} & set(KINDS)
    assert max(KINDS) < ELEMENT


@given(
    st.sets(st.lists(st.text(".\\@$a", max_size=3), min_size=1, max_size=3).map(tuple), max_size=20)
)
def test_no_two_paths_are_written_alike(paths: set[tuple[str, ...]]) -> None:
    written = set()
    for path in paths:
        metadata: Any = 1
        for key in reversed(path):
            metadata = {key: metadata}
        (leaf,) = (name for name, kind, *_ in tags(metadata) if kind == NUMBER)
        assert leaf == str(Path(path))
        written.add(leaf)
    assert len(written) == len(paths)


@pytest.mark.parametrize("metadata", [{"a": (1, 2)}, {"a": [1, 2]}, {"a": [1.0, 2]}])
def test_tags_are_the_same_after_a_way_through_json(metadata: dict[str, Any]) -> None:
    assert tags(json.loads(json.dumps(metadata))) == tags(metadata) == tags({"a": [1, 2]})
