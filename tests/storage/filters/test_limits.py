"""Filters as deep, as wide and as long as they may be."""

import pytest
from agentmem_client.errors import InvalidFilter
from agentmem_client.filters import MAX_CONDITIONS, MAX_DEPTH, MAX_PATTERN, MAX_VALUES, parse
from agentmem_client.models import MAX_IDS
from agentmem_server.storage import Delete, Deleted, ListRequest, Scope, Selection, Store

from tests.storage.filters.drawing import BASE
from tests.storage.filters.filling import admitted, filled, record
from tests.storage.filters.oracle import Combined, Json, Negated, Node, Where


async def test_a_pattern_takes_the_longest_text_and_cannot_be_made_slow(store: Store) -> None:
    text = "a" * 100_000
    collection = await filled(store, "notes", [record("r", {"t": text}, text)])
    for pattern in ("%a" * (MAX_PATTERN // 2), "%" + "_" * (MAX_PATTERN - 1), "%" * MAX_PATTERN):
        for operator in ("$like", "$ilike"):
            for name in ("t", "@content"):
                assert await admitted(store, collection, {name: {operator: pattern}}) == {"r"}
                assert await admitted(store, collection, {name: {operator: pattern[1:] + "b"}}) == (
                    set()
                )


async def test_the_deepest_filter_works(store: Store) -> None:
    records = [record("r", {"a": 1}), record("s", {"a": 2}), record("t", {"b": "x"})]
    collection = await filled(store, "notes", records)

    def same_again(inner: Node, _level: int) -> Node:
        return Negated(inner)

    def among_others(inner: Node, level: int) -> Node:
        first = Where(("b",), {"$contains": "x", "$nin": [level]})
        last = Where(("a",), {"$between": [0, level]})
        return Combined("$and" if level % 3 else "$or", [first, Negated(inner), last])

    for deeper, each in ((same_again, 1), (among_others, 2)):
        node: Node = Where(("a",), {"$eq": 1})
        for level in range(1, 1 + (MAX_DEPTH - 1) // each):
            node = deeper(node, level)
            expected = {one.id for one in records if node.admits(one)}
            assert await admitted(store, collection, node.raw()) == expected
        with pytest.raises(InvalidFilter):
            parse(deeper(deeper(node, 1), 2).raw())


@pytest.mark.parametrize("combining", ["$and", "$or"])
@pytest.mark.parametrize(
    ("operator", "value"),
    [
        ("$eq", "x" * 200),
        ("$ne", 1),
        ("$between", ["a", "x" * 200]),
        ("$contains", "x"),
        ("$any", ["x"]),
        ("$ilike", "%X%"),
        ("$in", [1, "x", None]),
        ("$exists", False),
        ("$empty", True),
        ("$empty", False),
    ],
)
async def test_the_most_conditions_work(
    store: Store, combining: str, operator: str, value: Json
) -> None:
    records = [
        record("all", {f"k{n}": "x" * 200 for n in range(MAX_CONDITIONS)}),
        record("last", {f"k{MAX_CONDITIONS - 1}": "x" * 200}),
        record("none", {}),
    ]
    collection = await filled(store, "notes", records)
    branches = [Where((f"k{n}",), {operator: value}) for n in range(MAX_CONDITIONS)]
    node = Combined(combining, list(branches))
    expected = {one.id for one in records if node.admits(one)}
    assert await admitted(store, collection, node.raw()) == expected


async def test_the_most_values_work(store: Store) -> None:
    records = [
        record("number", {"a": MAX_VALUES - 1}),
        record("text", {"a": f"{BASE}{MAX_VALUES - 1}"}),
        record("other", {"a": -1}),
        record("list", {"a": ["x"]}),
    ]
    collection = await filled(store, "notes", records)
    everything = {one.id for one in records}
    some: list[Json] = list(range(MAX_VALUES))
    for values, found in ((some, "number"), ([f"{BASE}{n}" for n in some], "text")):
        assert await admitted(store, collection, {"a": {"$in": values}}) == {found}
        assert await admitted(store, collection, {"a": {"$nin": values}}) == everything - {found}
    names = [f"x{n}" for n in range(MAX_VALUES - 1)]
    assert await admitted(store, collection, {"@id": {"$in": [*names, "other"]}}) == {"other"}
    times_ = ["2026-01-01T00:00:00Z"] * MAX_VALUES
    assert await admitted(store, collection, {"@event_at": {"$nin": times_}}) == everything

    words = [f"no{n}" for n in range(MAX_CONDITIONS - 1)]
    assert await admitted(store, collection, {"a": {"$any": [*words, "x"]}}) == {"list"}
    assert await admitted(store, collection, {"a": {"$any": [*words, BASE]}}) == {"text"}
    assert await admitted(store, collection, {"a": {"$all": ["x"] * MAX_CONDITIONS}}) == {"list"}
    assert await admitted(store, collection, {"@id": {"$any": [*words, "umb"]}}) == {"number"}


@pytest.mark.parametrize("beside", [{"$empty": True}, {"$between": [BASE, BASE + "z"]}])
@pytest.mark.parametrize("long", [False, True])
async def test_all_limits_may_be_reached_at_once(
    store: Store, beside: dict[str, Json], long: bool
) -> None:
    first = BASE if long else 0
    collection = await filled(
        store, "notes", [record("r0", {"a": first}), record("r1", {"a": first})]
    )
    values = [f"{BASE}{n}" if long else n for n in range(MAX_VALUES - 1)]
    raw = {
        "$and": [
            {"a": {"$in": [first, *values]}},
            *({"$or": [{"@id": "r0"}, {f"k{n}": beside}]} for n in range(MAX_CONDITIONS // 2 - 1)),
            {"@id": {"$ne": "r1"}},
        ]
    }
    assert await admitted(store, collection, raw) == {"r0"}
    ids = ["r0", "r1", *(f"x{n}" for n in range(MAX_IDS - 2))]
    selection = Selection(Scope(), parse(raw), ids)
    page = await store.page(collection, ListRequest(selection, "created_at", "asc", 9))
    assert [one.id for one in page.records] == ["r0"]
    assert await store.write([Delete("tenant", "notes", selection)]) == [Deleted(1)]
    got = await store.get(collection, ids)
    assert [one.id for one in got] == ["r1"]
