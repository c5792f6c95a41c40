"""A conversation as a new user writes it, before and after the server was restarted."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from agentmem_client import AgentMemClient
from agentmem_llamaindex import AgentMemChatStore, AgentMemMemoryBlock, AgentMemVectorStore
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.base.llms.types import ChatMessage, ToolCallBlock
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.chat_engine.types import ChatMode
from llama_index.core.llms import MockLLM
from llama_index.core.llms.mock import MockFunctionCallingLLM
from llama_index.core.memory import Memory
from llama_index.core.schema import Document
from llama_index.core.storage.chat_store.base_db import MessageStatus

SAID = [
    "My cat is called Mia and she is black.",
    "In winter I sail on very cold lakes.",
    "My sister lives in a house by the sea.",
    "I would like to learn to play the piano.",
]


def remember(url: str, session: str = "first", **options: Any) -> Memory:
    """What a user writes at the start of each process."""
    settings: dict[str, Any] = {
        "session_id": session,
        "chat_store": AgentMemChatStore(api_url=url, user_id="ann"),
        "memory_blocks": [AgentMemMemoryBlock(api_url=url, user_id="ann", similarity_top_k=2)],
        "token_limit": 60,
        "token_flush_size": 10,
        "chat_history_token_ratio": 0.5,
        "tokenizer_fn": str.split,
    }
    return Memory.from_defaults(**(settings | options))


def texts(messages: Sequence[ChatMessage]) -> list[str | None]:
    return [message.content for message in messages]


async def aclose(memory: Memory) -> None:
    assert isinstance(memory.sql_store, AgentMemChatStore)
    await memory.sql_store.aclose()
    for block in memory.memory_blocks:
        assert isinstance(block, AgentMemMemoryBlock)
        await block.aclose()


async def test_a_chat_that_outlives_the_server(server: Any) -> None:
    memory = remember(server.url)
    engine = SimpleChatEngine.from_defaults(llm=MockLLM(max_tokens=3), memory=memory)
    for words in SAID:
        await engine.achat(words)
    everything = await memory.aget_all()
    assert texts(everything)[::2] == SAID
    assert len(everything) == 8
    archived = await memory.aget_all(status=MessageStatus.ARCHIVED)
    assert 0 < len(archived) < 8
    await aclose(memory)

    server.stop()
    server.start()

    memory = remember(server.url)
    assert await memory.aget_all() == everything
    assert await memory.aget_all(status=MessageStatus.ARCHIVED) == archived
    engine = SimpleChatEngine.from_defaults(llm=MockLLM(), memory=memory)
    prompt = str(await engine.achat("What is the name of my cat?"))  # the model repeats it
    assert f"User: {SAID[0]}\n" in prompt
    assert f"user: {SAID[0]}" not in prompt  # it has left the conversation
    await aclose(memory)

    # Another conversation of hers knows it too; a reset takes the conversation alone.
    other = remember(server.url, "second")
    assert await other.aget_all() == []
    await other.aput(ChatMessage("What is the name of my cat?"))
    assert f"User: {SAID[0]}" in str((await other.aget())[0])
    await memory.areset()
    assert (await memory.aget_all(), len(await other.aget_all())) == ([], 1)
    assert f"User: {SAID[0]}" in str((await other.aget())[0])
    await aclose(other)
    await aclose(memory)


@pytest.mark.usefixtures("event_loop_of_sync_code")
def test_a_chat_in_sync_code(server: Any) -> None:
    engine = SimpleChatEngine.from_defaults(llm=MockLLM(max_tokens=3), memory=remember(server.url))
    for words in SAID:
        engine.chat(words)
    assert texts(engine.chat_history)[::2] == SAID

    server.stop()
    server.start()

    memory = remember(server.url)
    assert texts(memory.get_all())[::2] == SAID
    memory.put(ChatMessage("What is the name of my cat?"))
    assert f"User: {SAID[0]}" in str(memory.get()[0])
    engine = SimpleChatEngine.from_defaults(llm=MockLLM(), memory=memory)
    engine.reset()
    assert memory.get_all() == []
    with AgentMemClient(server.url) as client:
        assert client.count(user_id="ann", filters={"format": {"$exists": False}}) > 0


@pytest.mark.usefixtures("event_loop_of_sync_code")
def test_a_conversation_that_starts_with_a_history(api_url: str, unique: str) -> None:
    history = [ChatMessage("You are brief.", role="system"), ChatMessage("Hello!")]
    memory = remember(api_url, unique, chat_history=history, memory_blocks=[])
    assert memory.get() == history
    again = remember(api_url, unique, chat_history=history[1:], memory_blocks=[])
    assert again.get_all() == history[1:]


async def test_a_conversation_about_an_index(
    server: Any, store: AgentMemVectorStore, embed_model: BaseEmbedding
) -> None:
    index = VectorStoreIndex.from_documents(
        [Document(id_="handbook", text="Everybody has 30 days of leave.")],
        storage_context=StorageContext.from_defaults(vector_store=store),
        embed_model=embed_model,
    )
    memory = remember(server.url, token_limit=3_000)
    for mode in (ChatMode.CONTEXT, ChatMode.CONDENSE_PLUS_CONTEXT):
        engine = index.as_chat_engine(mode, llm=MockLLM(), memory=memory)
        answer = await engine.achat("How many days of leave?")
        assert [node.node.ref_doc_id for node in answer.source_nodes] == ["handbook"]
    assert texts(await memory.aget_all())[::2] == ["How many days of leave?"] * 2
    await aclose(memory)
    await store.aclose()


def weather(city: str) -> str:
    """The weather of a city."""
    return f"It rains in {city}."


# LlamaIndex looks at all attributes of an agent, old ones of pydantic too.
@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")
async def test_an_agent_with_tools(server: Any) -> None:
    def answer(messages: Sequence[ChatMessage], **_: Any) -> Any:
        async def message() -> Any:
            if messages[-1].role == "tool":
                yield ChatMessage("Take an umbrella.", role="assistant")
            else:
                call = ToolCallBlock(
                    tool_call_id="1", tool_name="weather", tool_kwargs={"city": "Oslo"}
                )
                yield ChatMessage([call], role="assistant")

        return message()

    agent = FunctionAgent(tools=[weather], llm=MockFunctionCallingLLM(response_generator=answer))
    memory = remember(server.url, token_limit=3_000)
    assert str(await agent.run("Shall I go out?", memory=memory)) == "Take an umbrella."
    talk = await memory.aget_all()
    await aclose(memory)

    server.stop()
    server.start()

    memory = remember(server.url, token_limit=3_000)
    assert await memory.aget_all() == talk
    user, calling, result, said = talk
    assert (user.content, said.content) == ("Shall I go out?", "Take an umbrella.")
    (call,) = calling.blocks
    assert isinstance(call, ToolCallBlock)
    assert call.tool_kwargs == {"city": "Oslo"}
    assert (result.role, result.content) == ("tool", "It rains in Oslo.")
    await aclose(memory)


async def test_two_users_at_once(server: Any) -> None:
    async def chat(user: str) -> list[str | None]:
        memory = remember(
            server.url,
            "the same name",
            chat_store=AgentMemChatStore(api_url=server.url, user_id=user),
            memory_blocks=[AgentMemMemoryBlock(api_url=server.url, user_id=user)],
        )
        engine = SimpleChatEngine.from_defaults(llm=MockLLM(max_tokens=1), memory=memory)
        for number in range(5):
            await engine.achat(f"I am {user} and this is my sentence number {number}.")
        said = texts(await memory.aget_all())[::2]
        assert await recalled(memory, user) == {user}
        await aclose(memory)
        return said

    async def recalled(memory: Memory, user: str) -> set[str]:
        (block,) = memory.memory_blocks
        lines = (await block.aget([ChatMessage("sentence of ann and bob")])).splitlines()
        return {name for line in lines for name in ("ann", "bob") if f"I am {name}" in line}

    for user, said in zip(
        ("ann", "bob"), await asyncio.gather(chat("ann"), chat("bob")), strict=True
    ):
        assert said == [f"I am {user} and this is my sentence number {n}." for n in range(5)]
