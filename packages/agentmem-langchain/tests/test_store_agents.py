"""The LangGraph store where people use it: in agents, graphs and langmem's tools."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypedDict

import pytest
from agentmem_client import new_id
from agentmem_langchain import AgentMemStore
from langchain.agents import create_agent
from langchain.tools import ToolRuntime, tool
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime

if TYPE_CHECKING:
    from conftest import Server, StoreCalls, Way


def memory_tools(namespace: tuple[str, ...], **options: Any) -> list[Any]:
    from langmem import (  # type: ignore[import-untyped]  # has no types
        create_manage_memory_tool,
        create_search_memory_tool,
    )

    make = (create_manage_memory_tool, create_search_memory_tool)
    return [make_tool(namespace, **options) for make_tool in make]


LANGMEM = pytest.mark.filterwarnings("ignore:Importing Send from langgraph.constants")
"""trustcall, which langmem imports, uses an old name."""


class Scripted(GenericFakeChatModel):
    """Says what it is told to, whatever tools it has."""

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        return self


def calls(name: str, **arguments: Any) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": name, "args": arguments, "id": new_id()}])


def agent(store: AgentMemStore, tools: Sequence[Any], *says: AIMessage) -> Any:
    return create_agent(Scripted(messages=iter([*says, AIMessage("Done.")])), tools, store=store)


async def ask(runnable: Any, way: Way, value: Any, config: RunnableConfig | None = None) -> Any:
    if way == "sync":
        return runnable.invoke(value, config)
    return await runnable.ainvoke(value, config)


def tool_answers(result: dict[str, Any]) -> list[Any]:
    return [message.content for message in result["messages"] if isinstance(message, ToolMessage)]


QUESTION = {"messages": [HumanMessage("Remember that I like chess.")]}


@tool
def remember(key: str, text: str, runtime: ToolRuntime) -> str:
    """Remember something."""
    assert runtime.store is not None
    runtime.store.put(("users", "ann"), key, {"text": text})
    return "stored"


@tool
async def aremember(key: str, text: str, runtime: ToolRuntime) -> str:
    """Remember something."""
    assert runtime.store is not None
    await runtime.store.aput(("users", "ann"), key, {"text": text})
    return "stored"


@tool
def recall(query: str, runtime: ToolRuntime) -> list[str]:
    """Recall something."""
    assert runtime.store is not None
    return [item.value["text"] for item in runtime.store.search(("users", "ann"), query=query)]


@tool
async def arecall(query: str, runtime: ToolRuntime) -> list[str]:
    """Recall something."""
    assert runtime.store is not None
    items = await runtime.store.asearch(("users", "ann"), query=query)
    return [item.value["text"] for item in items]


async def test_an_agent_remembers_across_a_restart(server: Server, way: Way) -> None:
    collection = new_id()
    write, read = (remember, recall) if way == "sync" else (aremember, arecall)
    async with AgentMemStore(api_url=server.url, collection=collection) as store:
        result = await ask(
            agent(
                store,
                [write],
                calls(write.name, key="likes", text="Ann likes chess."),
                calls(write.name, key="car", text="Ann drives an old car."),
            ),
            way,
            QUESTION,
        )
        assert tool_answers(result) == ["stored", "stored"]

    server.restart()
    async with AgentMemStore(api_url=server.url, collection=collection) as store:
        result = await ask(
            agent(store, [read], calls(read.name, query="board games")), way, QUESTION
        )
    assert json.loads(tool_answers(result)[0])[0] == "Ann likes chess."


async def test_sync_tools_serve_an_async_agent(clients: dict[str, Any]) -> None:
    store = AgentMemStore(collection=new_id(), **clients)
    asking = agent(
        store,
        [remember, recall],
        calls("remember", key="likes", text="Ann likes chess."),
        calls("recall", query="chess"),
    )
    result = await asking.ainvoke(QUESTION)
    assert tool_answers(result) == ["stored", '["Ann likes chess."]']


class State(TypedDict):
    name: str
    visits: int


async def test_a_graph_is_compiled_with_it(store: StoreCalls, way: Way) -> None:
    def count(state: State, runtime: Runtime) -> dict[str, int]:
        assert runtime.store is not None
        item = runtime.store.get(("visits",), state["name"])
        visits = 1 if item is None else item.value["n"] + 1
        runtime.store.put(("visits",), state["name"], {"n": visits})
        return {"visits": visits}

    async def acount(state: State, runtime: Runtime) -> dict[str, int]:
        assert runtime.store is not None
        item = await runtime.store.aget(("visits",), state["name"])
        visits = 1 if item is None else item.value["n"] + 1
        await runtime.store.aput(("visits",), state["name"], {"n": visits})
        return {"visits": visits}

    node: Any = count if way == "sync" else acount
    graph = StateGraph(State)
    graph.add_node("count", node)
    graph.add_edge(START, "count")
    graph.add_edge("count", END)
    compiled = graph.compile(store=store.store)
    for expected in (1, 2, 3):
        assert (await ask(compiled, way, {"name": "ann"}))["visits"] == expected
    assert (await ask(compiled, way, {"name": "bob"}))["visits"] == 1


@LANGMEM
async def test_langmems_tools_keep_their_memories_in_it(store: StoreCalls, way: Way) -> None:
    tools = memory_tools(("memories", "{user}"))
    config: RunnableConfig = {"configurable": {"user": "ann"}}

    async def use(name: str, **arguments: Any) -> Any:
        result = await ask(
            agent(store.store, tools, calls(name, **arguments)), way, QUESTION, config
        )
        return tool_answers(result)[0]

    created = await use("manage_memory", content="Ann likes chess.", action="create")
    identity = created.removeprefix("created memory ")
    await use("manage_memory", content="Ann drives an old car.", action="create")
    best, other = json.loads(await use("search_memory", query="board games"))
    assert best["value"] == {"content": "Ann likes chess."}
    assert (best["key"], best["namespace"]) == (identity, ["memories", "ann"])
    assert best["score"] > other["score"]

    await use("manage_memory", content="Ann likes go.", action="update", id=identity)
    found = json.loads(
        await use("search_memory", query="games", filter={"content": "Ann likes go."})
    )
    assert [item["key"] for item in found] == [identity]
    await use("manage_memory", action="delete", id=identity)
    assert len(await store("search", ("memories", "ann"))) == 1
    assert await store("search", ("memories", "bob")) == []


@LANGMEM
async def test_langmems_tools_take_the_store_itself(store: StoreCalls, way: Way) -> None:
    manage, search = memory_tools(("memories",), store=store.store)
    await ask(manage, way, {"content": "Ann likes chess."})
    (found,) = json.loads(await ask(search, way, {"query": "chess", "limit": 5}))
    assert found["value"] == {"content": "Ann likes chess."}


async def test_many_at_once(clients: dict[str, Any]) -> None:
    store = AgentMemStore(collection=new_id(), **clients)
    spaces = [("notes", str(n % 5)) for n in range(50)]
    values = [{"n": n, "text": f"Note {n}"} for n in range(50)]
    await asyncio.gather(*(store.aput(spaces[n], str(n), value) for n, value in enumerate(values)))
    found = await asyncio.gather(
        *(store.asearch(("notes",), query=f"Note {n}", filter={"n": n}) for n in range(50))
    )
    assert [[item.value["n"] for item in items] for items in found] == [[n] for n in range(50)]
