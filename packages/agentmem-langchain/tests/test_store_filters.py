"""LangGraph's filters, on a real server process, side by side with its own in-memory store."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from agentmem_client import F, InvalidFilter, new_id
from agentmem_langchain import AgentMemStore
from agentmem_langchain.store._filters import to_filter
from langgraph.store.memory import InMemoryStore

if TYPE_CHECKING:
    from conftest import Server

VALUES: dict[str, dict[str, Any]] = {
    "empty": {},
    "null": {"a": None},
    "one": {"a": 1},
    "one_and_more": {"a": 1, "b": "x", "c": {"d": 1}},
    "float": {"a": 1.5},
    "large": {"a": 1e308},
    "negative": {"a": -1e308},
    "text": {"a": "1"},
    "empty_text": {"a": ""},
    "list": {"a": [1, 2]},
    "list_of_objects": {"a": [{"b": 1}]},
    "object": {"a": {"b": 1, "c": "x"}},
    "object_with_null": {"a": {"b": None, "c": 2}},
    "deep": {"a": {"b": {"c": {"d": 1}}}},
    "empty_object": {"a": {}},
    "dotted": {"a.b": 1},
    "hyphen": {"access-level": "public", "user": {"access-level": "nested"}},
    "digits": {"123abc": "ok", "user": {"123abc": "ok2"}},
    "signs": {"$a": 1, "@id": 2, "\\": 3, "'": 4, '"': 5, "": 6, "ä b": 7, "$.a": 8, "a\\.b": 9},
    "quoted": {"title": "O'Brien's \"Document\" -- \\ % _ * ?"},
}

AS_IN_MEMORY: list[dict[str, Any]] = [
    {},
    {"a": 1},
    {"a": 1.0},
    {"a": 1.5},
    {"a": "1"},
    {"a": ""},
    {"a": None},
    {"a": [1, 2]},
    {"a": (1, 2)},
    {"a": [1]},
    {"a": [2, 1]},
    {"a": []},
    {"a": [{"b": 1}]},
    {"a": {"b": 1}},
    {"a": {"c": "x"}},
    {"a": {"b": 1, "c": "x"}},
    {"a": {"b": 2, "c": "x"}},
    {"a": {"b": None, "c": 2}},
    {"a": {"b": {"c": {"d": 1}}}},
    {"a": {"b": {"c": {"d": {"$eq": 1}}}}},
    {"a": {"b": {"$ne": 2}, "c": "x"}},
    {"a": {"b": {"$ne": None}}},
    {"a": {"$eq": 1}},
    {"a": {"$eq": None}},
    {"a": {"$eq": {"b": 1}}},
    {"a": {"$eq": {"b": 1, "c": "x"}}},
    {"a": {"$eq": {}}},
    {"a": {"$eq": [1, 2]}},
    {"a": {"$ne": 1}},
    {"a": {"$ne": None}},
    {"a": {"$ne": [1, 2]}},
    {"a": {"$ne": {"b": 1, "c": "x"}}},
    {"a": {"$ne": 1, "$eq": 1.5}},
    {"a": 1, "b": "x"},
    {"a": 1, "b": {"$ne": "x"}},
    {"a": 1, "c": {"d": 1}},
    {"access-level": "public"},
    {"123abc": "ok"},
    {"$a": 1},
    {"@id": 2},
    {"\\": 3},
    {"'": 4},
    {'"': 5},
    {"": 6},
    {"ä b": 7},
    {"$.a": 8},
    {"a\\.b": 9},
    {"title": "O'Brien's \"Document\" -- \\ % _ * ?"},
    {"title": "%"},
    {"a": math.nan},
    {"a": {"$ne": math.inf}},
    {"a": {"b": math.inf}},
    {"a": [math.nan]},
    {"a": 10**400},
    {"a": "\0"},
    {"a": {"$ne": "\0"}},
    {"a\0": 1},
    {"a\0": None},
    {"a\0": {"$ne": 1}},
    {"a": {"b\0": 1}},
    {"a": {"\ud800": None, "b": 1}},
    {"a') = 1 OR '1'='1' OR json_extract(value, '$.": "x"},
    {"a": "1' OR '1'='1"},
    {"a": "1\0' OR '1'='1"},
]


@pytest.fixture(scope="module")
def items(server: Server) -> Iterator[AgentMemStore]:
    with AgentMemStore(api_url=server.url, collection=new_id(), index=False) as store:
        for key, value in VALUES.items():
            store.put(("docs",), key, value)
        yield store


def found(store: AgentMemStore | InMemoryStore, wanted: dict[str, Any]) -> set[str]:
    return {item.key for item in store.search(("docs",), filter=wanted, limit=100)}


@pytest.mark.parametrize("wanted", AS_IN_MEMORY, ids=ascii)
def test_a_filter_means_what_it_means_in_memory(
    items: AgentMemStore, wanted: dict[str, Any]
) -> None:
    reference = InMemoryStore()
    for key, value in VALUES.items():
        reference.put(("docs",), key, value)
    assert found(items, wanted) == found(reference, wanted)


@pytest.mark.parametrize(
    ("wanted", "keys"),
    [
        # The in-memory store fails on these: it takes every value as a number.
        ({"a": {"$gt": 1}}, {"float", "large"}),
        ({"a": {"$gte": 1}}, {"one", "one_and_more", "float", "large"}),
        ({"a": {"$lt": 1}}, {"negative"}),
        ({"a": {"$lte": 1}}, {"one", "one_and_more", "negative"}),
        ({"a": {"$gte": 1, "$lt": 2}}, {"one", "one_and_more", "float"}),
        ({"a": {"$gt": "0"}}, {"text"}),
        ({"a": {"$lte": "1"}}, {"text", "empty_text"}),
        ({"a": {"$gt": None}}, set()),
        ({"a": {"$gt": True}}, set()),
        ({"a": {"$lt": [3]}}, set()),
        ({"a": {"b": {"$gt": 0}}}, {"object"}),
        # Every number that is stored is finite.
        ({"a": {"$lt": math.inf}}, {"one", "one_and_more", "float", "large", "negative"}),
        ({"a": {"$lte": 10**400}}, {"one", "one_and_more", "float", "large", "negative"}),
        ({"a": {"$gt": -math.inf}}, {"one", "one_and_more", "float", "large", "negative"}),
        ({"a": {"$gte": -(10**400)}}, {"one", "one_and_more", "float", "large", "negative"}),
        ({"a": {"$gt": math.inf}}, set()),
        ({"a": {"$gte": math.inf}}, set()),
        ({"a": {"$lt": -math.inf}}, set()),
        ({"a": {"$lte": -(10**400)}}, set()),
        ({"a": {"$lt": math.nan}}, set()),
        ({"a": {"$gte": math.nan}}, set()),
        ({"a": {"$lt": 10**307, "$gt": 0}}, {"one", "one_and_more", "float"}),
        # Types are JSON's.
        ({"a": True}, set()),
        # A key with a dot may be a path.
        ({"a.b": 1}, {"object", "dotted"}),
        ({"a.b": {"$gte": 1}}, {"object", "dotted"}),
        ({"a.b": {"$ne": 1}}, set(VALUES) - {"object", "dotted"}),
        ({"a.b": {"$ne": None}}, {"object", "dotted", "deep"}),
        ({"a.b": None}, set(VALUES) - {"object", "dotted", "deep"}),
        ({"a.b.c.d": 1}, {"deep"}),
        ({"a.b.c": {"d": 1}}, {"deep"}),
        ({"a.b": {"c.d": 1}}, {"deep"}),
        ({"user.access-level": "nested"}, {"hyphen"}),
        ({"user.123abc": "ok2"}, {"digits"}),
        ({".": 1}, set()),
    ],
    ids=lambda value: ascii(sorted(value) if isinstance(value, set) else value),
)
def test_what_the_in_memory_store_can_not_do(
    items: AgentMemStore, wanted: dict[str, Any], keys: set[str]
) -> None:
    assert found(items, wanted) == keys


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [
        ({"a": {"$in": [1]}}, "unknown operator '\\$in'"),
        ({"a": {"$gt": 1, "b": 2}}, "unknown operator 'b'"),
        ({"a": {"b": {"$like": "x"}}}, "unknown operator '\\$like'"),
        ({"a": {}}, "what it does not have"),
        ({"a": {"b": None}}, "what it does not have"),
        ({"a": {"b": {"$ne": 1}}}, "what it does not have"),
        ({"a": {"b": 1, "c": {}}}, "what it does not have"),
        ({1: 2}, "keys of a filter are strings"),
        ({"a": {1: 2}}, "keys of a filter are strings"),
        ("a", "a filter is a mapping"),
        ([("a", 1)], "a filter is a mapping"),
        ([], "a filter is a mapping"),
        (F("a") == 1, "a filter is a mapping"),
    ],
    ids=ascii,
)
def test_what_can_not_be_honoured_is_an_error(wanted: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        to_filter(wanted)


@pytest.mark.parametrize("wanted", [{"a": object()}, {"a": {"$ne": {1, 2}}}, {"a": {"$gt": b"x"}}])
def test_a_value_that_is_not_json_is_an_error(wanted: Any) -> None:
    with pytest.raises(InvalidFilter, match="must be JSON"):
        to_filter(wanted)


def test_the_filter_is_not_changed() -> None:
    wanted = {"a.b": {"$gt": math.inf}, "c": {"d": [1, (2,)]}}
    to_filter(wanted)
    assert wanted == {"a.b": {"$gt": math.inf}, "c": {"d": [1, (2,)]}}


def test_nothing_to_filter() -> None:
    assert to_filter(None) is None
    assert to_filter({}) is None
