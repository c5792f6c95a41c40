"""Items of a LangGraph store as memories: pure functions."""

import json
from typing import Any

import pytest
from agentmem_client import AgentMemError, Hit, InvalidRequest, Memory
from agentmem_client.models import MAX_NAME
from agentmem_langchain.store._items import found_by, record_id, to_item, to_memory, to_search_item
from hypothesis import given
from hypothesis import strategies as st
from langgraph.store.base import PutOp

NAMESPACE = ("users", "ann")
NOW = "2026-11-25T12:00:00Z"
labels = st.text(min_size=1, max_size=4)


def put(value: Any, key: str = "k", **options: Any) -> dict[str, Any]:
    return to_memory(PutOp(NAMESPACE, key, value, **options), ["$"])


def test_an_item_as_a_memory() -> None:
    assert put({"text": "chess", "n": [1, None]}, ttl=1.5) == {
        "id": '["users","ann","k"]',
        "namespace": ["users", "ann"],
        "content": '{"n": [1, null], "text": "chess"}',
        "metadata": {"text": "chess", "n": [1, None]},
        "payload": {"key": "k"},
        "ttl": 90.0,
        "index_texts": None,
    }


def test_an_item_without_a_time_to_live_says_nothing_of_one() -> None:
    # A ttl of None would mean "for good", whatever the collection's default is.
    assert "ttl" not in put({"text": "chess"})
    assert "ttl" not in put({"text": "chess"}, ttl=None)


def test_the_value_is_not_changed_and_not_shared() -> None:
    value = {"text": "chess"}
    memory = put(value)
    memory["metadata"]["more"] = 1
    assert value == {"text": "chess"}


@given(st.lists(labels, min_size=1, max_size=3), labels, st.lists(labels, max_size=3), labels)
def test_no_two_items_have_the_same_id(
    namespace: list[str], key: str, other: list[str], other_key: str
) -> None:
    same = (namespace, key) == (other, other_key)
    assert (record_id(namespace, key) == record_id(other, other_key)) is same


def test_labels_are_not_joined() -> None:
    ids = {
        record_id(("a", "b"), "c"),
        record_id(("a",), "b,c"),
        record_id(("a",), 'b","c'),
        record_id(('a","b',), "c"),
        record_id((), "a"),
    }
    assert len(ids) == 5


def test_the_id_of_a_long_key_is_a_digest() -> None:
    longest = "k" * (MAX_NAME - len('["users",""]'))
    assert record_id(("users",), longest) == f'["users","{longest}"]'
    digests = {record_id(("users",), longest + end) for end in ("a", "b")}
    assert len(digests) == 2
    assert {(len(id_), id_.partition(":")[0]) for id_ in digests} == {(71, "sha256")}
    assert put({}, key=longest * 2)["payload"] == {"key": longest * 2}


@pytest.mark.parametrize("key", ["", "snö", "a/b?c#d", '"', "\\", "\n", "123", "*", "$", "@id"])
def test_any_text_is_a_key(key: str) -> None:
    memory = put({"a": 1}, key=key)
    assert json.loads(memory["id"]) == [*NAMESPACE, key]
    assert to_item(stored(memory)).key == key


def test_a_key_that_is_no_text_is_taken_as_one() -> None:
    assert put({}, key=7) == put({}, key="7")  # type: ignore[arg-type]  # as `BaseStore.put` does
    assert record_id(NAMESPACE, 7) == record_id(NAMESPACE, "7")


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"a": float("nan")}, "finite"),
        ({"a": float("inf")}, "finite"),
        ({"a": "\0"}, "NUL"),
        ({"a\0": 1}, "NUL"),
        ({"a": "\ud800"}, "surrogate"),
        ({"a": {1: 2}}, "strings as keys"),
        ({"a": object()}, "must be JSON"),
        ([1], "must be a mapping"),
        ("text", "must be a mapping"),
    ],
)
def test_what_can_not_be_stored_is_refused_by_name(value: Any, problem: str) -> None:
    with pytest.raises(InvalidRequest, match=problem) as caught:
        put(value, key="likes")
    assert "item 'likes' in ('users', 'ann')" in str(caught.value)


def test_a_key_that_can_not_be_stored_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"the key of item .* NUL"):
        put({}, key="a\0b")


@pytest.mark.parametrize(
    ("fields", "index", "texts"),
    [
        (["$"], None, ['{"tags": ["x", "y", "x"], "text": "chess"}']),
        (["text"], None, ["chess"]),
        (["text", "missing"], None, ["chess"]),
        (["missing"], None, []),
        (["tags[*]"], None, ["x", "y"]),
        (["tags[-1]", "text"], None, ["x", "chess"]),
        (["text"], ["tags[1]"], ["y"]),
        (["text"], ["$"], ['{"tags": ["x", "y", "x"], "text": "chess"}']),
        (["text"], [], []),
        (["text"], False, []),
        ([], ["text"], []),
    ],
)
def test_what_an_item_is_found_by(fields: list[str], index: Any, texts: list[str]) -> None:
    op = PutOp(NAMESPACE, "k", {"text": "chess", "tags": ["x", "y", "x"]}, index=index)
    assert found_by(to_memory(op, fields)) == texts


@pytest.mark.parametrize("index", [True, "text", [1], {"text": 1}])
def test_an_index_that_is_no_list_of_paths_is_refused(index: Any) -> None:
    with pytest.raises(ValueError, match="index is False or a list of paths"):
        put({"text": "chess"}, index=index)


def test_too_many_texts_are_refused() -> None:
    value = {"tags": [str(number) for number in range(65)]}
    with pytest.raises(InvalidRequest, match="found by 65 texts, and 64 are the most"):
        put(value, index=["tags[*]"])
    assert len(found_by(put(value, index=["tags[*]", "tags[0]"][1:]))) == 1


def stored(memory: dict[str, Any], **more: Any) -> Memory:
    return Memory(collection="c", created_at=NOW, updated_at=NOW, **{**memory, **more})


def test_an_item_comes_back() -> None:
    item = to_item(stored(put({"text": "chess", "n": 2**70})))
    assert (item.namespace, item.key, item.value) == (NAMESPACE, "k", {"text": "chess", "n": 2**70})
    assert item.created_at.isoformat() == "2026-11-25T12:00:00+00:00"
    assert to_search_item(stored(put({}))).score is None
    hit = Hit(**stored(put({})).model_dump(), score=0.5)
    assert to_search_item(hit).score == 0.5


@pytest.mark.parametrize("foreign", [{"payload": None}, {"payload": {}}, {"namespace": None}])
def test_a_memory_of_another_kind_is_an_error(foreign: dict[str, Any]) -> None:
    with pytest.raises(AgentMemError, match="give the store a collection of its own"):
        to_item(stored(put({}), **foreign))
