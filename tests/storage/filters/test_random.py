"""Every filter admits what its docstring says: random ones against the oracle."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest
from agentmem_server.storage import Collection, DropCollection, Record, Store, open_store
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.storage.filters.drawing import (
    ON_ALL,
    ON_STRINGS,
    ON_VALUES,
    SMALL,
    WILD,
    Pool,
    drawn,
    filters,
    known_paths,
)
from tests.storage.filters.filling import admitted, filled
from tests.storage.filters.oracle import Json, Node, Where


@dataclass
class World:
    """A collection, what is in it, and a way to wait for what the store does."""

    store: Store
    collection: Collection
    pool: Pool
    records: list[Record]
    wait: Callable[[Coroutine[Any, Any, Any]], Any]

    def admitted(self, raw: dict[str, Json]) -> set[str]:
        """The ids that a filter, as it comes over the wire, admits; by all ways to ask."""
        return self.wait(admitted(self.store, self.collection, raw))  # type: ignore[no-any-return]  # JSON


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    """One event loop for all examples: hypothesis runs each as a plain function."""
    with asyncio.Runner() as one:
        yield one


@pytest.fixture(scope="module")
def lasting(runner: asyncio.Runner, new_url: Callable[[], str]) -> Iterator[Store]:
    """One store for all examples."""
    store = runner.run(open_store(new_url(), readers=1))
    yield store
    runner.run(store.close())


def world_of(name: str, pool: Pool, runner: asyncio.Runner, store: Store) -> World:
    records = drawn(pool, 200)
    # Another collection has the same: nothing of it may come.
    runner.run(filled(store, f"like {name}", records))
    collection = runner.run(filled(store, name, records))
    return World(store, collection, pool, records, runner.run)


@pytest.fixture(scope="module")
def small(runner: asyncio.Runner, lasting: Store) -> World:
    """200 records of few values, so that filters match."""
    return world_of("small", SMALL, runner, lasting)


@pytest.fixture(scope="module")
def wild(runner: asyncio.Runner, lasting: Store) -> World:
    """200 records of many values, and strange ones."""
    return world_of("wild", WILD, runner, lasting)


def check_random_filters(world: World) -> float:
    """Runs many filters on a world; returns the share that some records meet and some don't."""
    sizes: list[int] = []

    @settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
    @given(filters(world.pool, world.records))
    def check(node: Node) -> None:
        expected = {one.id for one in world.records if node.admits(one)}
        sizes.append(len(expected))
        assert world.admitted(node.raw()) == expected

    check()
    assert len(world.records) == 200
    return sum(0 < size < 200 for size in sizes) / len(sizes)


# The shares are about .3 and .2; less than this would be a test that tests nothing.


def test_random_filters_on_records_of_few_values(small: World) -> None:
    assert check_random_filters(small) > 0.1


def test_random_filters_on_records_of_strange_values(wild: World) -> None:
    assert check_random_filters(wild) > 0.05


@pytest.mark.parametrize("operator", ON_VALUES + ON_STRINGS + ON_ALL)
def test_every_operator_tells_records_apart(small: World, operator: str) -> None:
    """Each operator, with what is there: some records meet it, and some don't."""
    known = [pair for one in small.records for pair in known_paths(one.metadata)]
    pairs = {repr(pair): pair for pair in known}  # each once: repr tells 1 from 1.0 and True
    sizes: list[int] = []
    for path, value in list(pairs.values())[:40]:
        element = value[0] if isinstance(value, list) and value else value
        match operator:
            case "$between":
                operand: Json = [value, value]
            case "$in" | "$nin":
                operand = [value, "no"]
            case "$any" | "$all":
                operand = [element, element]
            case "$like" | "$ilike":
                operand = f"%{value}" if isinstance(value, str) else "a%"
            case "$exists" | "$empty":
                operand = True
            case _:
                operand = element if operator == "$contains" else value
        node = Where(path, {operator: operand})
        expected = {one.id for one in small.records if node.admits(one)}
        sizes.append(len(expected))
        assert small.admitted(node.raw()) == expected
    assert any(0 < size < len(small.records) for size in sizes)


def test_random_records_are_admitted_as_the_oracle_says(
    lasting: Store, runner: asyncio.Runner
) -> None:
    numbers = count()

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(WILD.records(), min_size=1, max_size=6), st.data())
    def check(records: list[Record], data: st.DataObject) -> None:
        name = f"few {next(numbers)}"
        for number, one in enumerate(records):
            one.id = f"r{number}"
        collection = runner.run(filled(lasting, name, records))
        few = World(lasting, collection, WILD, records, runner.run)
        for node in data.draw(st.lists(filters(WILD, records), min_size=1, max_size=4)):
            assert few.admitted(node.raw()) == {one.id for one in records if node.admits(one)}
        runner.run(lasting.write([DropCollection("tenant", name)]))

    check()
