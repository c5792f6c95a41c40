"""How long the items of a LangGraph store live, on a real server process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from agentmem_client import AgentMemClient, InvalidRequest
from agentmem_langchain.store._items import record_id
from langgraph.store.base import GetOp, PutOp, SearchOp

if TYPE_CHECKING:
    from conftest import StoreCalls

NAMESPACE = ("test",)
SOON = 0.01
"""Minutes."""


@pytest.fixture
def expiry(clients: dict[str, Any]) -> Callable[[StoreCalls, str], datetime | None]:
    """When an item expires; asking does not change it."""

    def ask(store: StoreCalls, key: str) -> datetime | None:
        client: AgentMemClient = clients["client"]
        collection = store.store.collection
        return client.get(record_id(NAMESPACE, key), collection=collection).expires_at

    return ask


Expiry = Callable[["StoreCalls", str], "datetime | None"]


async def gone(store: StoreCalls, key: str) -> None:
    """Wait until the item has expired; the test's timeout bounds it."""
    while await store("get", NAMESPACE, key, refresh_ttl=False) is not None:  # noqa: ASYNC110  # no event
        await asyncio.sleep(0.05)


async def test_an_expired_item_is_gone_everywhere(store: StoreCalls) -> None:
    assert store.store.supports_ttl
    await store("put", NAMESPACE, "stays", {"text": "cats"}, ttl=None)
    await store("put", ("test", "below"), "short", {"text": "cats"}, ttl=SOON)
    await store("put", NAMESPACE, "short", {"text": "cats"}, ttl=SOON)
    await gone(store, "short")
    assert [item.key for item in await store("search", NAMESPACE)] == ["stays"]
    assert [item.key for item in await store("search", NAMESPACE, query="cats")] == ["stays"]
    assert await store("list_namespaces") == [("test",)]
    await store("put", NAMESPACE, "short", {"text": "again"})
    assert (await store("get", NAMESPACE, "short")).value == {"text": "again"}


async def test_the_default_is_for_what_has_none(
    make_store: Callable[..., StoreCalls], expiry: Expiry
) -> None:
    store = make_store(ttl={"default_ttl": 10})
    await store("put", NAMESPACE, "default", {})
    await store("put", NAMESPACE, "own", {}, ttl=20)
    await store("put", NAMESPACE, "forever", {}, ttl=None)
    default, own = expiry(store, "default"), expiry(store, "own")
    assert default is not None
    assert own is not None
    assert default < own
    assert expiry(store, "forever") is None


async def test_a_put_without_a_time_to_live_ends_it(store: StoreCalls, expiry: Expiry) -> None:
    await store("put", NAMESPACE, "k", {"n": 1}, ttl=10)
    assert expiry(store, "k") is not None
    await store("put", NAMESPACE, "k", {"n": 2})
    assert expiry(store, "k") is None


async def test_reads_start_it_anew(store: StoreCalls, expiry: Expiry) -> None:
    reads: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
        ("get", (NAMESPACE, "k"), {}),
        ("search", (NAMESPACE,), {}),
        ("search", (NAMESPACE,), {"query": "cats"}),
        ("search", (NAMESPACE,), {"filter": {"text": "cats"}}),
        ("batch", ([GetOp(NAMESPACE, "k", refresh_ttl=False), GetOp(NAMESPACE, "k")],), {}),
    ]
    await store("put", NAMESPACE, "k", {"text": "cats"}, ttl=10)
    await store("put", NAMESPACE, "other", {"text": "dogs"})
    for method, args, kwargs in reads:
        before = expiry(store, "k")
        await store(method, *args, **kwargs)
        after = expiry(store, "k")
        assert before is not None
        assert after is not None
        assert after > before, (method, args, kwargs)
    assert expiry(store, "other") is None


@pytest.mark.parametrize("configured", [True, False])
async def test_or_not(
    make_store: Callable[..., StoreCalls], expiry: Expiry, configured: bool
) -> None:
    """By the store's configuration, or by the call's."""
    store = make_store(ttl={"refresh_on_read": False} if configured else None)
    how = {} if configured else {"refresh_ttl": False}
    await store("put", NAMESPACE, "k", {"text": "cats"}, ttl=10)
    before = expiry(store, "k")
    await store("get", NAMESPACE, "k", **how)
    await store("search", NAMESPACE, **how)
    await store("search", NAMESPACE, query="cats", **how)
    await store(
        "batch",
        [GetOp(NAMESPACE, "k", refresh_ttl=False), SearchOp(NAMESPACE, refresh_ttl=False)],
    )
    assert expiry(store, "k") == before
    await store("get", NAMESPACE, "k", refresh_ttl=True)
    assert expiry(store, "k") != before


async def test_only_what_is_found_is_refreshed(store: StoreCalls, expiry: Expiry) -> None:
    await store("put", NAMESPACE, "a", {"n": 1}, ttl=10)
    await store("put", NAMESPACE, "b", {"n": 2}, ttl=10)
    before = expiry(store, "b")
    await store("search", NAMESPACE, filter={"n": 1})
    await store("search", NAMESPACE, offset=2)
    assert expiry(store, "b") == before


async def test_a_read_does_not_make_an_item_newer(store: StoreCalls) -> None:
    await store("put", NAMESPACE, "old", {}, ttl=10)
    await store("put", NAMESPACE, "new", {}, ttl=10)
    old = await store("get", NAMESPACE, "old")
    assert [item.key for item in await store("search", NAMESPACE)] == ["new", "old"]
    assert (await store("get", NAMESPACE, "old")).updated_at == old.updated_at


async def test_a_time_to_live_in_a_batch(store: StoreCalls, expiry: Expiry) -> None:
    await store("batch", [PutOp(NAMESPACE, "a", {}, ttl=10), PutOp(NAMESPACE, "b", {})])
    assert expiry(store, "a") is not None
    assert expiry(store, "b") is None


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf")])
async def test_a_time_that_can_not_be_is_refused(store: StoreCalls, ttl: float) -> None:
    with pytest.raises(InvalidRequest, match="ttl"):
        await store("put", NAMESPACE, "k", {}, ttl=ttl)
    assert await store("search", ()) == []
