"""Each class on a server that has keys: a key that is bound to a user, with no user named."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Any

import pytest
from agentmem_client import (
    AgentMemClient,
    AsyncAgentMemClient,
    ClientPair,
    Conflict,
    Forbidden,
    Unauthorized,
    new_id,
)
from agentmem_langchain import (
    AgentMemChatMessageHistory,
    AgentMemMemory,
    AgentMemMiddleware,
    AgentMemRecallMemory,
    AgentMemRetriever,
    AgentMemStore,
    AgentMemVectorStore,
    get_memory_tools,
)
from langchain.agents import create_agent
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.messages import HumanMessage

if TYPE_CHECKING:
    from conftest import Ask, Listening, MakeKey, Way

pytestmark = pytest.mark.filterwarnings(
    "ignore::langchain_core._api.deprecation.LangChainDeprecationWarning"
)

Connection = Mapping[str, Any]


@pytest.fixture(autouse=True)
async def _closed_connections(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """Closes the async connections that the adapters of a test have opened."""
    used = []
    client_of = ClientPair.for_running_loop

    def noted(pair: ClientPair) -> AsyncAgentMemClient:
        used.append(pair)
        return client_of(pair)

    monkeypatch.setattr(ClientPair, "for_running_loop", noted)
    yield
    for pair in used:
        await pair.aclose()


@pytest.fixture
def key(make_key: MakeKey) -> Callable[..., Connection]:
    """Makes keys of a tenant of the test's own."""
    return functools.partial(make_key, new_id())


@pytest.fixture
def ann(key: Callable[..., Connection]) -> Connection:
    return key("ann")


@pytest.fixture
def bob(key: Callable[..., Connection]) -> Connection:
    return key("bob")


async def call(thing: Any, way: Way, method: str, *args: Any, **kwargs: Any) -> Any:
    if way == "sync":
        return getattr(thing, method)(*args, **kwargs)
    return await getattr(thing, f"a{method}")(*args, **kwargs)


async def messages(history: AgentMemChatMessageHistory, way: Way) -> list[str]:
    read = history.messages if way == "sync" else await history.aget_messages()
    return [message.text for message in read]


async def test_a_history_is_the_users(ann: Connection, bob: Connection, way: Way) -> None:
    hers, his = (AgentMemChatMessageHistory("s1", **place) for place in (ann, bob))
    await call(hers, way, "add_messages", [HumanMessage("I am Ann.", id="m1")])
    await call(his, way, "add_messages", [HumanMessage("I am Bob.", id="m1")])
    assert await messages(hers, way) == ["I am Ann."]
    await call(hers, way, "clear")
    assert await messages(his, way) == ["I am Bob."]


async def test_a_chains_memory_is_the_users(ann: Connection, bob: Connection, way: Way) -> None:
    hers, his = (AgentMemMemory(session_id="s1", **place) for place in (ann, bob))
    await call(hers, way, "save_context", {"input": "I am Ann."}, {"response": "Hello!"})
    assert await call(his, way, "load_memory_variables", {}) == {"history": ""}
    assert "I am Ann." in (await call(hers, way, "load_memory_variables", {}))["history"]


async def test_a_recall_is_of_the_user(ann: Connection, bob: Connection, way: Way) -> None:
    for place, said in ((ann, "I am Ann."), (bob, "I am Bob.")):
        AgentMemMemory(**place).save_context({"input": said}, {"response": "Hello!"})
    recall = AgentMemRecallMemory(require_user=False, **ann)
    recalled = await call(recall, way, "load_memory_variables", {"input": "Who am I?"})
    assert "I am Ann." in recalled["recalled"]
    assert "I am Bob." not in recalled["recalled"]


async def test_a_retriever_finds_the_users(ann: Connection, bob: Connection, way: Way) -> None:
    for place, said in ((ann, "Ann's cat is Mia."), (bob, "Bob's cat is Tom.")):
        with AgentMemClient(**place) as client:
            client.add(said)
    found = await call(AgentMemRetriever(**ann), way, "invoke", "cat")
    assert [document.page_content for document in found] == ["Ann's cat is Mia."]


@pytest.mark.parametrize("embedding", [None, DeterministicFakeEmbedding(size=8)])
async def test_a_vector_store_holds_the_users(
    ann: Connection, bob: Connection, way: Way, embedding: Any
) -> None:
    hers, his = (AgentMemVectorStore(embedding, **place) for place in (ann, bob))
    (id_,) = await call(hers, way, "add_texts", ["Mia"])
    (his_id,) = await call(his, way, "add_texts", ["Tom"])
    found = await call(hers, way, "similarity_search_with_relevance_scores", "Mia")
    assert [document.id for document, _ in found] == [id_]
    await call(hers, way, "delete", [his_id])
    assert [document.id for document in await call(his, way, "get_by_ids", [id_, his_id])] == [
        his_id
    ]


async def test_a_graphs_store_holds_the_users(ann: Connection, bob: Connection, way: Way) -> None:
    hers, his = (AgentMemStore(**place) for place in (ann, bob))
    await call(hers, way, "put", ("users", "ann"), "drink", {"text": "tea"})
    await call(his, way, "put", ("users", "bob"), "drink", {"text": "milk"})
    assert (await call(hers, way, "get", ("users", "ann"), "drink")).value == {"text": "tea"}
    assert await call(hers, way, "get", ("users", "bob"), "drink") is None
    (found,) = await call(his, way, "search", (), query="drink")
    assert found.value == {"text": "milk"}
    await call(hers, way, "delete", ("users", "bob"), "drink")
    assert await call(his, way, "list_namespaces") == [("users", "bob")]


async def test_an_item_is_of_one_user(ann: Connection, bob: Connection, way: Way) -> None:
    hers, his = (AgentMemStore(**place) for place in (ann, bob))
    await call(hers, way, "put", ("likes",), "drink", {"text": "tea"})
    with pytest.raises(Conflict, match="the id is in use"):
        await call(his, way, "put", ("likes",), "drink", {"text": "milk"})
    assert (await call(hers, way, "get", ("likes",), "drink")).value == {"text": "tea"}


async def test_tools_are_of_the_user(ann: Connection, bob: Connection, way: Way) -> None:
    hers, his = (
        {tool.name: tool for tool in get_memory_tools(user_id=None, **place)}
        for place in (ann, bob)
    )
    await call(hers["remember"], way, "invoke", {"content": "Ann's cat is Mia."})
    with AgentMemClient(**ann) as client:
        (memory,) = client.list().memories
    found = await call(his["search_memory"], way, "invoke", {"query": "cat"})
    assert "Mia" not in found
    await call(his["forget"], way, "invoke", {"memory_id": memory.id})
    assert "Mia" in await call(hers["search_memory"], way, "invoke", {"query": "cat"})


async def test_an_agents_memory_is_the_users(
    ann: Connection, bob: Connection, listening: type[Listening], ask: Ask
) -> None:
    of_ann: Any
    of_bob: Any
    of_ann, of_bob = (AgentMemMiddleware(require_user=False, **place) for place in (ann, bob))
    await ask(create_agent(listening.saying("Noted."), middleware=[of_ann]), "My cat is Mia.")
    await ask(create_agent(listening.saying("Noted."), middleware=[of_bob]), "My cat is Tom.")
    model = listening.saying("Mia.")
    await ask(create_agent(model, middleware=[of_ann]), "What is my cat's name?")
    assert "Mia" in model.system
    assert "Tom" not in model.system


async def test_what_a_key_does_not_open_is_said(
    ann: Connection, key: Callable[..., Connection], way: Way
) -> None:
    of_bob = AgentMemVectorStore(user_id="bob", **ann)
    with pytest.raises(Forbidden, match="bound to another user: leave user_id out"):
        await call(of_bob, way, "similarity_search", "cat")
    reader = AgentMemStore(**key(None, "read"))
    with pytest.raises(Forbidden, match="lacks the scope 'write'"):
        await call(reader, way, "put", ("likes",), "drink", {"text": "tea"})
    wrong = AgentMemRetriever(api_url=ann["api_url"], api_key="am_" + "0" * 32)
    with pytest.raises(Unauthorized, match="wrong, has expired or was revoked") as raised:
        await call(wrong, way, "invoke", "cat")
    assert "0" * 32 not in str(raised.value)
    keyless = AgentMemChatMessageHistory("s1", api_url=ann["api_url"])
    with pytest.raises(Unauthorized, match="needs an API key"):
        await messages(keyless, way)
