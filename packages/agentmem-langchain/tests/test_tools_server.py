"""The tools on a real server process."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from agentmem_client import (
    AgentMemClient,
    AsyncAgentMemClient,
    ConnectionFailed,
    EmbedderMismatch,
    NotFound,
    new_id,
)
from agentmem_langchain import AgentMemChatMessageHistory, get_memory_tools
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import BaseTool

if TYPE_CHECKING:
    from conftest import Server, Way


async def use(tools: list[BaseTool], way: Way, name: str, **arguments: Any) -> ToolMessage:
    """What a model gets that calls a tool."""
    call = {"name": name, "args": arguments, "id": "call-1", "type": "tool_call"}
    (tool,) = [tool for tool in tools if tool.name == name]
    message = tool.invoke(call) if way == "sync" else await tool.ainvoke(call)
    assert isinstance(message, ToolMessage)
    return message


async def found(tools: list[BaseTool], way: Way, query: str) -> list[dict[str, str]]:
    """What a model reads of a search."""
    message = await use(tools, way, "search_memory", query=query)
    if not message.artifact:
        return []
    return [json.loads(line) for line in str(message.content).split("\n")]


async def test_remember_search_forget(clients: dict[str, Any], way: Way) -> None:
    tools = get_memory_tools(user_id="ann", collection=new_id(), **clients)
    assert await found(tools, way, "pet") == []
    for text in ("Ann's cat is called Mia.", "Ann works on Fridays."):
        assert (await use(tools, way, "remember", content=text)).status == "success"
    first, second = await found(tools, way, "What is the name of Ann's cat?")
    assert first["content"] == "Ann's cat is called Mia."
    assert set(first) == {"id", "content", "stored"}
    assert (await use(tools, way, "forget", memory_id=first["id"])).status == "success"
    assert await found(tools, way, "What is the name of Ann's cat?") == [second]
    assert (await use(tools, way, "forget", memory_id=first["id"])).status == "error"


async def test_nobody_elses_memory_can_be_reached(clients: dict[str, Any], way: Way) -> None:
    client: AgentMemClient = clients["client"]
    place: dict[str, Any] = {"collection": new_id()}
    client.add("Bob's cat is Tom.", id="bobs", user_id="bob", **place)
    client.add("Ann's cat is Mia.", id="anns", user_id="ann", metadata={"secret": True}, **place)
    history = AgentMemChatMessageHistory("s1", user_id="ann", client=client, **place)
    history.add_messages([HumanMessage("My cat is Mia.", id="m1")])
    (said,) = client.list(filters={"@type": "message"}, **place).memories
    tools = get_memory_tools(
        user_id="ann", filter={"secret": {"$exists": False}}, **place, **clients
    )
    await use(tools, way, "remember", content="Ann's cat is two years old.")
    (only,) = await found(tools, way, "cat")
    assert only["content"] == "Ann's cat is two years old."
    for id_ in ("bobs", "anns", said.id):
        assert (await use(tools, way, "forget", memory_id=id_)).status == "error"
        assert client.get(id_, **place).id == id_
    assert history.messages == [HumanMessage("My cat is Mia.", id="m1")]
    await use(tools, way, "forget", memory_id=only["id"])
    with pytest.raises(NotFound):
        client.get(only["id"], **place)


async def test_tools_of_one_user_alone(clients: dict[str, Any], way: Way) -> None:
    place: dict[str, Any] = {"collection": new_id()}
    clients["client"].add("Bob's cat is Tom.", id="bobs", user_id="bob", **place)
    tools = get_memory_tools(user_id=None, **place, **clients)
    assert [one["id"] for one in await found(tools, way, "cat")] == ["bobs"]
    assert (await use(tools, way, "forget", memory_id="bobs")).status == "success"


async def test_a_collection_that_cannot_be_used_is_an_error(
    clients: dict[str, Any], way: Way
) -> None:
    place: dict[str, Any] = {"collection": new_id()}
    clients["client"].create_collection(place["collection"], dimension=2, embedder="client")
    tools = get_memory_tools(user_id="ann", **place, **clients)
    with pytest.raises(EmbedderMismatch):
        await use(tools, way, "remember", content="Ann has a cat.")


async def test_a_server_that_is_not_there_is_an_error(way: Way) -> None:
    url = "http://127.0.0.1:9"
    arguments = {"remember": "content", "search_memory": "query", "forget": "memory_id"}
    with AgentMemClient(url, max_retries=0) as client:
        async with AsyncAgentMemClient(url, max_retries=0) as async_client:
            tools = get_memory_tools(user_id="ann", client=client, async_client=async_client)
            for name, argument in arguments.items():
                with pytest.raises(ConnectionFailed):
                    await use(tools, way, name, **{argument: "cat"})


async def test_a_model_may_call_many_at_once(clients: dict[str, Any]) -> None:
    tools = get_memory_tools(user_id="ann", collection=new_id(), k=50, **clients)
    texts = [f"Ann saw {number} swans." for number in range(20)]
    await asyncio.gather(*(use(tools, "async", "remember", content=text) for text in texts))
    assert {one["content"] for one in await found(tools, "async", "swans")} == set(texts)


def test_every_event_loop_is_served(server: Server) -> None:
    tools = get_memory_tools(user_id="ann", collection=new_id(), api_url=server.url)
    for number in range(3):
        asyncio.run(use(tools, "async", "remember", content=f"Ann has {number} cats."))
    assert len(asyncio.run(found(tools, "async", "cats"))) == 3
