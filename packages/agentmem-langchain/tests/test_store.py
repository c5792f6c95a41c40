"""The LangGraph store on a real server process: items, batches, namespaces, its edges."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from agentmem_client import AgentMemClient, AgentMemError, InvalidRequest, new_id
from agentmem_langchain import AgentMemStore
from langgraph.store.base import (
    BaseStore,
    GetOp,
    InvalidNamespaceError,
    Item,
    ListNamespacesOp,
    MatchCondition,
    PutOp,
    SearchItem,
    SearchOp,
)

if TYPE_CHECKING:
    from conftest import StoreCalls

DOCS = ("test", "documents")


def keys(items: list[SearchItem]) -> list[str]:
    return [item.key for item in items]


async def test_put_get_update_delete(store: StoreCalls) -> None:
    assert isinstance(store.store, BaseStore)
    assert await store("get", DOCS, "doc1") is None
    value = {"title": "Test", "tags": ["a", None], "deep": {"n": 1.5, "big": 2**70, "ok": True}}
    assert await store("put", DOCS, "doc1", value) is None
    item = await store("get", DOCS, "doc1")
    assert type(item) is Item
    assert (item.namespace, item.key, item.value) == (DOCS, "doc1", value)
    assert item.created_at == item.updated_at

    await store("put", DOCS, "doc1", {"title": "Changed"})
    changed = await store("get", DOCS, "doc1")
    assert changed.value == {"title": "Changed"}
    assert changed.created_at == item.created_at
    assert changed.updated_at > item.updated_at
    assert await store("get", ("test", "other"), "doc1") is None

    assert await store("delete", DOCS, "doc1") is None
    assert await store("get", DOCS, "doc1") is None
    await store("delete", DOCS, "doc1")  # a missing one is no error


async def test_long_and_odd_keys_come_back(store: StoreCalls) -> None:
    odd = ["", "k" * 2_000, "k" * 2_001, "ä/ö?ü#", '","', "\n", "*", "sha256:x"]
    for key in odd:
        await store("put", DOCS, key, {"key": key})
    for key in odd:
        assert (await store("get", DOCS, key)).value == {"key": key}
    assert set(keys(await store("search", DOCS, limit=100))) == set(odd)
    await store("delete", DOCS, "k" * 2_000)
    assert await store("get", DOCS, "k" * 2_000) is None
    assert await store("get", DOCS, "k" * 2_001) is not None
    assert await store("get", DOCS, "a\0b") is None


async def test_a_batch_answers_in_order(store: StoreCalls) -> None:
    await store("put", ("test", "foo"), "key1", {"data": "value1"})
    await store("put", ("test", "bar"), "key2", {"data": "value2"})
    results = await store(
        "batch",
        [
            SearchOp(("test",), filter={"data": "value1"}),
            GetOp(("test", "bar"), "key2"),
            ListNamespacesOp(),
            PutOp(("test",), "key3", {"data": "value3"}),
            GetOp(("test",), "key3"),
            GetOp(("test", "foo"), "key1", refresh_ttl=False),
            GetOp(("test", "foo"), "key1"),
        ],
    )
    found, key2, namespaces, put, key3, *key1 = results
    assert [(type(item), item.key, item.score) for item in found] == [(SearchItem, "key1", None)]
    assert key2.value == {"data": "value2"}
    assert namespaces == [("test", "bar"), ("test", "foo")]
    assert put is None
    assert key3 is None  # what was there before the batch
    assert [item.value for item in key1] == [{"data": "value1"}] * 2
    assert (await store("get", ("test",), "key3")).value == {"data": "value3"}
    assert await store("batch", []) == []
    assert await store("batch", iter([GetOp(("test",), "none")])) == [None]


async def test_the_last_put_of_a_batch_counts(store: StoreCalls) -> None:
    await store("put", DOCS, "old", {"n": 0})
    ops = [
        PutOp(DOCS, "a", {"n": 1}),
        PutOp(DOCS, "b", {"n": 1}),
        PutOp(DOCS, "a", {"n": 2}),
        PutOp(DOCS, "b", None),
        PutOp(DOCS, "old", None),
        PutOp(DOCS, "c", None),
        PutOp(DOCS, "c", {"n": 3}),
        PutOp(("test", "other"), "a", {"n": 4}),
    ]
    assert await store("batch", ops) == [None] * len(ops)
    items = await store("search", ("test",), limit=100)
    assert {(item.namespace, item.key, item.value["n"]) for item in items} == {
        (DOCS, "a", 2),
        (DOCS, "c", 3),
        (("test", "other"), "a", 4),
    }


async def test_replacing_and_putting_again_in_one_batch_keeps_the_age(store: StoreCalls) -> None:
    await store("put", DOCS, "a", {"n": 1})
    created = (await store("get", DOCS, "a")).created_at
    await store("batch", [PutOp(DOCS, "a", None), PutOp(DOCS, "a", {"n": 2})])
    item = await store("get", DOCS, "a")
    assert (item.value, item.created_at) == ({"n": 2}, created)


async def test_without_a_query_the_last_updated_comes_first(store: StoreCalls) -> None:
    for key in "abc":
        await store("put", DOCS, key, {"kind": "letter"})
    await store("put", DOCS, "a", {"kind": "vowel"})
    items = await store("search", DOCS)
    assert keys(items) == ["a", "c", "b"]
    assert {item.score for item in items} == {None}
    assert keys(await store("search", DOCS, query="", limit=2)) == ["a", "c"]
    assert keys(await store("search", DOCS, limit=2, offset=1)) == ["c", "b"]
    assert keys(await store("search", DOCS, offset=3)) == []
    assert keys(await store("search", DOCS, limit=0)) == []
    assert keys(await store("search", DOCS, query="letter", limit=0)) == []
    assert keys(await store("search", DOCS, filter={"kind": "letter"}, limit=1)) == ["c"]


async def test_a_listing_takes_as_many_pages_as_it_needs(store: StoreCalls) -> None:
    total = 2_050
    ops = [PutOp(("many", str(n)), str(n), {"n": n}, index=False) for n in range(total)]
    await store("batch", ops)  # in two requests
    items = await store("search", (), limit=10_000)
    assert len(items) == len({item.key for item in items}) == total
    assert keys(await store("search", (), limit=1_500, offset=100)) == keys(items)[100:1_600]
    found = await store("list_namespaces", limit=10_000)
    assert found == sorted(("many", str(n)) for n in range(total))
    assert await store("list_namespaces", limit=1_500, offset=40) == found[40:1_540]
    await store("batch", [PutOp(op.namespace, op.key, None) for op in ops])
    assert await store("search", ()) == []


async def test_a_search_stays_within_its_labels(store: StoreCalls) -> None:
    spaces = [
        ("foo",),
        ("foo", "child"),
        ("foo", "child", "deep"),
        ("foobar",),
        ("foobar", "baz"),
        ("Foo",),
        ("user_1",),
        ("userX1",),
        ("a%b",),
        ("axxb",),
        ("star*",),
        ("starX",),
        ("*",),
        ("alice\n",),
        ('foo","child',),
    ]
    await store("batch", [PutOp(space, "k", {"v": 1}) for space in spaces])

    async def within(*prefix: str) -> set[tuple[str, ...]]:
        return {item.namespace for item in await store("search", prefix, limit=100)}

    assert await within("foo") == {("foo",), ("foo", "child"), ("foo", "child", "deep")}
    assert await within("foo", "child") == {("foo", "child"), ("foo", "child", "deep")}
    assert await within("foobar") == {("foobar",), ("foobar", "baz")}
    assert await within("fo") == set()
    assert await within() == set(spaces)
    for label in ("Foo", "user_1", "a%b", "star*", "*", "alice\n", 'foo","child'):
        assert await within(label) == {(label,)}
    assert await within("alice") == set()


async def test_namespaces(store: StoreCalls) -> None:
    spaces = [
        ("t", "documents", "public", "t"),
        ("t", "documents", "private", "t"),
        ("t", "images", "public", "t"),
        ("p", "documents", "some", "nesting", "public", "t"),
        ("foo",),
        ("foobar",),
        ("uid", "users", "alice"),
        ("uid", "users", "malice"),
        ("uid", "a", "b", "alice"),
    ]
    await store("batch", [PutOp(space, "k", {}) for space in spaces])

    async def listed(**how: Any) -> set[tuple[str, ...]]:
        found = await store("list_namespaces", **how)
        assert found == sorted(set(found))
        return set(found)

    assert await listed() == set(spaces)
    assert await listed(prefix=("t", "documents")) == set(spaces[:2])
    assert await listed(prefix=["foo"]) == {("foo",)}
    assert await listed(suffix=["alice"]) == {spaces[6], spaces[8]}
    assert await listed(prefix=("*", "documents")) == {spaces[0], spaces[1], spaces[3]}
    assert await listed(prefix=("uid", "*", "alice")) == {spaces[6]}
    assert await listed(suffix=("*", "public", "t")) == {spaces[0], spaces[2], spaces[3]}
    assert await listed(suffix=("some", "*", "public", "t")) == {spaces[3]}
    assert await listed(prefix=("t",), suffix=("public", "t")) == {spaces[0], spaces[2]}
    assert await listed(max_depth=1) == {("t",), ("p",), ("foo",), ("foobar",), ("uid",)}
    assert await listed(prefix=("t", "*"), max_depth=2) == {("t", "documents"), ("t", "images")}
    assert await listed(max_depth=100) == set(spaces)
    assert await listed(limit=0) == set()
    assert len(await listed(limit=3)) == 3
    assert len(await listed(offset=3)) == len(spaces) - 3
    await store("delete", ("foo",), "k")
    assert await listed(prefix=("foo",)) == set()


async def test_several_conditions_on_namespaces_must_all_hold(store: StoreCalls) -> None:
    spaces = [("a", "b", "c"), ("a", "x", "c"), ("a", "b"), ("c", "b", "a")]
    await store("batch", [PutOp(space, "k", {}) for space in spaces])

    async def listed(*conditions: tuple[Any, tuple[str, ...]]) -> list[tuple[str, ...]]:
        (found,) = await store(
            "batch", [ListNamespacesOp(tuple(MatchCondition(*one) for one in conditions))]
        )
        return list(found)

    assert await listed(("prefix", ("a",)), ("prefix", ("*", "b"))) == [("a", "b"), ("a", "b", "c")]
    assert await listed(("prefix", ("a", "*", "c")), ("prefix", ("*", "x"))) == [("a", "x", "c")]
    assert await listed(("suffix", ("c",)), ("suffix", ("x", "*"))) == [("a", "x", "c")]
    assert await listed(("prefix", ("a",)), ("prefix", ("c",))) == []
    assert await listed(("suffix", ("a",)), ("suffix", ("c",))) == []
    assert await listed(("prefix", ()), ("suffix", ())) == sorted(spaces)


KINDS: dict[str, Callable[[Any], Any]] = {
    "get": lambda namespace: GetOp(namespace, "key"),
    "put": lambda namespace: PutOp(namespace, "key", {"changed": True}),
    "delete": lambda namespace: PutOp(namespace, "key", None),
    "search": lambda namespace: SearchOp(namespace),
    "prefix": lambda namespace: ListNamespacesOp((MatchCondition("prefix", namespace),)),
    "suffix": lambda namespace: ListNamespacesOp((MatchCondition("suffix", namespace),)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "namespace", [("foo.bar",), ("foo", ""), ("foo", 1), ("a\0",), "foo", None], ids=ascii
)
async def test_a_bad_namespace_fails_its_whole_batch(
    store: StoreCalls, namespace: Any, kind: str
) -> None:
    await store("put", ("foo", "bar"), "key", {"original": True})
    with pytest.raises(InvalidNamespaceError):
        await store("batch", [PutOp(("valid",), "key", {}), KINDS[kind](namespace)])
    assert (await store("get", ("foo", "bar"), "key")).value == {"original": True}
    assert await store("get", ("valid",), "key") is None


@pytest.mark.parametrize(
    ("bad", "error", "problem"),
    [
        (PutOp((), "key", {}), InvalidNamespaceError, "at least one label"),
        (PutOp(("a",) * 33, "key", {}), InvalidRequest, "namespace"),
        (PutOp(("a",), "key", {"a": float("nan")}), InvalidRequest, "item 'key' in"),
        (PutOp(("a",), "key", {}, index=True), ValueError, "index"),  # type: ignore[arg-type]  # wrong on purpose
        (PutOp(("a",), "key", {}, ttl=0), InvalidRequest, "ttl"),
        (SearchOp(("a",), filter={"a": {"$in": [1]}}), ValueError, "unknown operator"),
        (SearchOp(("a",), limit=-1), ValueError, "0 or more"),
        (SearchOp(("a",), offset=-1), ValueError, "0 or more"),
        (SearchOp(("a",), query="x", limit=1_001), InvalidRequest, "limit"),
        (ListNamespacesOp(limit=-1), ValueError, "0 or more"),
        (
            ListNamespacesOp((MatchCondition("infix", ("a",)),)),  # type: ignore[arg-type]  # wrong on purpose
            ValueError,
            "match_type",
        ),
        ("get", ValueError, "unknown operation str"),
    ],
    ids=ascii,
)
async def test_a_bad_operation_fails_its_whole_batch(
    store: StoreCalls, bad: Any, error: type[Exception], problem: str
) -> None:
    with pytest.raises(error, match=problem):
        await store("batch", [PutOp(("valid",), "key", {}), bad])
    assert await store("search", ()) == []


async def test_the_base_class_checks_what_it_puts(store: StoreCalls) -> None:
    for namespace in [(), ("langgraph", "x"), ("a.b",)]:
        with pytest.raises(InvalidNamespaceError):
            await store("put", namespace, "key", {})


async def test_lists_are_taken_for_namespaces(store: StoreCalls) -> None:
    await store("batch", [PutOp(["a", "b"], "k", {"n": 1})])  # type: ignore[arg-type]  # a list
    (item, found) = await store("batch", [GetOp(["a", "b"], "k"), SearchOp(["a"])])  # type: ignore[arg-type]  # lists
    assert item.namespace == ("a", "b")
    assert [one.namespace for one in found] == [("a", "b")]


async def test_a_bad_call_fails_alone(clients: dict[str, Any]) -> None:
    store = AgentMemStore(collection=new_id(), **clients)
    await store.aput(("foo", "bar"), "key", {"original": True})
    good, bad = await asyncio.gather(
        store.aget(("foo", "bar"), "key"), store.aget(("foo.bar",), "key"), return_exceptions=True
    )
    assert isinstance(good, Item)
    assert isinstance(bad, InvalidNamespaceError)


async def test_sync_methods_work_while_a_loop_runs(clients: dict[str, Any]) -> None:
    store = AgentMemStore(collection=new_id(), **clients)
    store.put(("a",), "sync", {"n": 1})
    await store.aput(("a",), "async", {"n": 2})
    assert {item.key for item in store.search(("a",))} == {"sync", "async"}


async def test_a_store_that_was_never_written_is_empty(store: StoreCalls) -> None:
    assert await store("get", DOCS, "x") is None
    assert await store("search", DOCS) == []
    assert await store("search", DOCS, query="x") == []
    assert await store("list_namespaces") == []
    await store("delete", DOCS, "x")


async def test_collections_are_apart(make_store: Callable[..., StoreCalls]) -> None:
    one, other = make_store(), make_store()
    await one("put", DOCS, "k", {"n": 1})
    assert await other("get", DOCS, "k") is None
    assert await other("search", ()) == []


async def test_what_is_no_item_is_an_error(
    make_store: Callable[..., StoreCalls], clients: dict[str, Any]
) -> None:
    collection = new_id()
    clients["client"].add("Somebody else's.", collection=collection)
    store = make_store(collection=collection)
    with pytest.raises(AgentMemError, match="a collection of its own"):
        await store("search", ())
    assert await store("search", ("users",)) == []


async def test_an_item_can_be_read_as_a_memory(store: StoreCalls, clients: dict[str, Any]) -> None:
    await store("put", ("users", "ann"), "likes", {"text": "Ann likes chess."})
    client: AgentMemClient = clients["client"]
    collection = store.store.collection
    (hit,) = client.search("chess", collection=collection, namespace=["users"])
    assert (hit.content, hit.metadata) == (
        '{"text": "Ann likes chess."}',
        {"text": "Ann likes chess."},
    )
