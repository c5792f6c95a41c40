"""Each class on a server that has keys: a key that is bound to a user, with no user named."""

import functools
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
from agentmem_client import (
    AgentMemClient,
    AsyncAgentMemClient,
    ClientPair,
    Conflict,
    Forbidden,
    NotAllStored,
    Unauthorized,
)
from agentmem_llamaindex import AgentMemChatStore, AgentMemMemoryBlock, AgentMemVectorStore
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.llms import MockLLM
from llama_index.core.memory import Memory
from llama_index.core.vector_stores.types import VectorStoreQuery

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
def key(make_key: Callable[..., Connection], unique: str) -> Callable[..., Connection]:
    """Makes keys of a tenant of the test's own."""
    return functools.partial(make_key, unique)


@pytest.fixture
def ann(key: Callable[..., Connection]) -> Connection:
    return key("ann")


@pytest.fixture
def bob(key: Callable[..., Connection]) -> Connection:
    return key("bob")


async def test_a_vector_store_holds_the_users(
    ann: Connection, bob: Connection, call: Any, make_node: Any
) -> None:
    hers, his = (AgentMemVectorStore(**place) for place in (ann, bob))
    await call(hers, "add", [make_node("1", [1.0, 0.0], text="Mia")])
    await call(his, "add", [make_node("2", [1.0, 0.0], text="Tom")])
    found = await call(hers, "query", VectorStoreQuery(query_embedding=[1.0, 0.0]))
    assert found.ids == ["1"]
    await call(hers, "delete_nodes", ["2"])
    await call(hers, "clear")
    assert [node.node_id for node in await call(his, "get_nodes")] == ["2"]


async def test_a_chat_is_the_users(ann: Connection, bob: Connection) -> None:
    hers, his = (AgentMemChatStore(**place) for place in (ann, bob))
    await hers.add_message("s1", ChatMessage("I am Ann."))
    await his.add_message("s1", ChatMessage("I am Bob."))
    assert [message.content for message in await hers.get_messages("s1")] == ["I am Ann."]
    assert await his.get_keys() == ["s1"]
    await hers.delete_messages("s1")
    assert [message.content for message in await his.get_messages("s1")] == ["I am Bob."]


async def test_a_block_recalls_what_is_the_users(ann: Connection, bob: Connection) -> None:
    hers, his = (AgentMemMemoryBlock(across_sessions=True, **place) for place in (ann, bob))
    session = {"session_id": "s1"}
    await hers.aput([ChatMessage("My cat is called Mia.", additional_kwargs=session)])
    await his.aput([ChatMessage("My cat is called Tom.", additional_kwargs=session)])
    recalled = await hers.aget([ChatMessage("What is my cat's name?")])
    assert "Mia" in recalled
    assert "Tom" not in recalled


async def test_what_two_users_say_alike(ann: Connection, bob: Connection) -> None:
    hello = ChatMessage("Hello!", additional_kwargs={"session_id": "s1"})
    for user_id, place in (("ann", ann), ("bob", bob)):
        await AgentMemMemoryBlock(user_id=user_id, **place).aput([hello])
    nameless = [AgentMemMemoryBlock(**place) for place in (ann, bob)]
    await nameless[0].aput([hello])
    with pytest.raises(Conflict, match="the id is in use"):
        await nameless[1].aput([hello])


async def test_a_conversation_with_both(ann: Connection) -> None:
    memory = Memory.from_defaults(
        session_id="s1",
        chat_store=AgentMemChatStore(**ann),
        memory_blocks=[AgentMemMemoryBlock(across_sessions=True, **ann)],
    )
    engine = SimpleChatEngine.from_defaults(llm=MockLLM(max_tokens=3), memory=memory)
    await engine.achat("My name is Ann.")
    with AgentMemClient(**ann) as client:
        assert {memory.user_id for memory in client.iterate()} == {"ann"}


async def test_what_a_key_does_not_open_is_said(
    ann: Connection, key: Callable[..., Connection], call: Any, make_node: Any
) -> None:
    reader = AgentMemVectorStore(**key(None, "read"))
    with pytest.raises(NotAllStored, match="lacks the scope 'write'"):
        await call(reader, "add", [make_node("1", [1.0, 0.0])])
    of_bob = AgentMemChatStore(user_id="bob", **ann)
    with pytest.raises(Forbidden, match="bound to another user: leave user_id out"):
        await of_bob.get_messages("s1")
    keyless = AgentMemMemoryBlock(api_url=ann["api_url"], user_id="ann")
    with pytest.raises(Unauthorized, match="needs an API key"):
        await keyless.aget([ChatMessage("Who am I?")])
