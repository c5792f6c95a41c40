"""Namespaces: read with what is below them, and listed."""

from typing import Any

from agentmem_client.filters import parse
from agentmem_server.storage import NamespaceRequest, Record, Scope, Selection, Store

from tests.storage.contract.stores import (
    EAST,
    Clock,
    deleting,
    get,
    ids,
    near,
    opened,
    put,
    record,
    saying,
    write,
)


def placed(identity: str, *path: str, **fields: Any) -> Record:
    return record(identity, "word", namespace=path, **fields)


PLACES = [
    ("a",),
    ("a", "b"),
    ("a", "b", "c"),
    ("a", "bb"),
    ("ab",),
    ("a,b",),
    ('a","b',),
    ("a]",),
    ("A",),
    ("a%",),
    ("*",),
    ("b", "a"),
    ("é", "𝄞"),
    ("a\n",),
]


async def all_ways(store: Store, selection: Selection) -> list[set[str]]:
    """The ids that each way to read finds: listed, by vector, by words."""
    return [
        set(await ids(store, selection)),
        set(await near(store, EAST, selection)),
        set(await saying(store, "word", selection)),
    ]


async def test_a_namespace_is_read_with_what_is_below_it_and_nothing_beside(store: Store) -> None:
    await put(store, *[placed(str(n), *path) for n, path in enumerate(PLACES)], record("none"))
    for place in [*PLACES, ("c",), ("a", "b", "c", "d"), ("a", "")]:
        below = {str(n) for n, path in enumerate(PLACES) if path[: len(place)] == place}
        assert await all_ways(store, Selection(Scope(namespace=place))) == [below] * 3, place
    kept = [placed(str(n), *path) for n, path in enumerate(PLACES)]
    assert [(await get(store, one.id)).namespace for one in kept] == PLACES
    assert (await get(store, "none")).namespace is None


async def test_a_namespace_narrows_beside_other_criteria(store: Store) -> None:
    await put(
        store,
        placed("1", "a", user_id="u", metadata={"x": 1}),
        placed("2", "a", "b", user_id="u", metadata={"x": 2}),
        placed("3", "a", "b", user_id="v", metadata={"x": 1}),
        placed("4", "b", user_id="u", metadata={"x": 1}),
    )
    selection = Selection(Scope("u", namespace=("a",)), parse({"x": 1}))
    assert await all_ways(store, selection) == [{"1"}] * 3
    going = deleting(Selection(Scope(namespace=("a", "b"))))
    assert await write(store, going) == 2
    assert await ids(store) == ["1", "4"]


async def test_an_upsert_moves_a_record_to_its_new_namespace(store: Store) -> None:
    await put(store, placed("1", "a"))
    await put(store, placed("1", "b"))
    assert await all_ways(store, Selection(Scope(namespace=("a",)))) == [set()] * 3
    assert await all_ways(store, Selection(Scope(namespace=("b",)))) == [{"1"}] * 3


async def test_namespaces_are_listed_as_they_match(store: Store, clock: Clock) -> None:
    paths = [("a", "b", "c"), ("a", "x", "c"), ("a", "b"), ("ab", "c"), ("z",)]
    records = [placed(str(n), *path) for n, path in enumerate([*paths, *paths])]
    gone = placed("gone", "gone", expires_at=clock.now + 1)
    await put(store, *records, gone, record("none"))
    await put(store, placed("other", "other"), collection="other")
    clock.advance(1)

    async def found(*prefix: str | None, **more: Any) -> list[tuple[str, ...]]:
        request = NamespaceRequest(prefix=prefix, **more)
        return await store.namespaces(await opened(store), request)

    assert await found() == sorted(paths)
    assert await found("a") == [("a", "b"), ("a", "b", "c"), ("a", "x", "c")]
    assert await found("a", None, "c") == [("a", "b", "c"), ("a", "x", "c")]
    assert await found(None) == sorted(paths)
    assert await found(suffix=["c"]) == [("a", "b", "c"), ("a", "x", "c"), ("ab", "c")]
    assert await found(suffix=["b", None]) == [("a", "b", "c")]
    assert await found("a", suffix=["x", "c"]) == [("a", "x", "c")]
    assert await found(max_depth=1) == [("a",), ("ab",), ("z",)]
    assert await found(limit=2, offset=1) == [("a", "b", "c"), ("a", "x", "c")]
    assert await found("a", "b", "c", "d") == []
    await put(store, placed("mine", "z", user_id="u"), placed("mine too", "m", user_id="u"))
    assert await found(user_id="u") == [("m",), ("z",)]
    assert await found("z", user_id="v") == []
