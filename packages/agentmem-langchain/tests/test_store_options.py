"""How a LangGraph store is made and closed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from agentmem_client import AgentMemError, new_id
from agentmem_langchain import AgentMemStore

if TYPE_CHECKING:
    from conftest import Server


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"index": {"dims": 3}}, "dims and embed together"),
        ({"index": {"embed": lambda texts: []}}, "dims and embed together"),
        ({"index": {"feilds": ["text"]}}, "unknown option 'feilds' in index"),
        ({"index": {"fields": "text"}}, "fields in index is a list"),
        ({"ttl": {"default": 5}}, "unknown option 'default' in ttl"),
        ({"mode": "fuzzy"}, "mode is one of hybrid, dense, sparse"),
        ({"mode": "dense", "index": False}, "index=False"),
    ],
)
def test_options_are_checked(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        AgentMemStore(**options)


def test_connection_settings_are_checked() -> None:
    with pytest.raises(AgentMemError, match="api_url"):
        AgentMemStore(api_url="localhost")
    store = AgentMemStore(api_url="http://localhost:1", api_key="hush-hush")
    assert "hush-hush" not in repr(store) + str(vars(store))


def test_what_was_configured_can_be_read() -> None:
    config: Any = {"dims": 2, "embed": lambda texts: [[0.0, 1.0] for _ in texts]}
    ttl: Any = {"default_ttl": 5.0}
    store = AgentMemStore(index=config, ttl=ttl)
    config["dims"], ttl["default_ttl"] = 3, 6.0
    assert store.index_config is not None
    assert store.index_config["dims"] == 2
    assert store.ttl_config == {"default_ttl": 5.0}
    assert store.embeddings is not None
    assert store.embeddings.embed_query("x") == [0.0, 1.0]
    plain = AgentMemStore()
    assert (plain.index_config, plain.ttl_config, plain.embeddings) == (None, None, None)


async def test_it_closes_what_it_made(server: Server) -> None:
    with AgentMemStore(api_url=server.url, collection=new_id()) as store:
        store.put(("a",), "k", {})
        sync_http = store._clients.sync._http
    assert sync_http.is_closed
    async with AgentMemStore(api_url=server.url, collection=new_id()) as store:
        await store.aput(("a",), "k", {})
        http = store._clients.for_running_loop()._http
    assert http.is_closed


async def test_it_leaves_ready_clients_open(clients: dict[str, Any]) -> None:
    with AgentMemStore(**clients, collection=new_id()):
        pass
    async with AgentMemStore(**clients, collection=new_id()):
        pass
    assert clients["client"].health().status == "healthy"
    assert (await clients["async_client"].health()).status == "healthy"


def test_every_event_loop_is_served(server: Server) -> None:
    store = AgentMemStore(api_url=server.url, collection=new_id())

    async def put_many(start: int) -> None:
        puts = [store.aput(("a",), str(start + number), {}) for number in range(70)]
        await asyncio.gather(*puts)  # more than have their turn at once

    for start in (0, 100):
        asyncio.run(put_many(start))
    assert len(store.search(("a",), limit=1_000)) == 140
    store.close()
