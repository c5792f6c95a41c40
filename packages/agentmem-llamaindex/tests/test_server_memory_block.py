"""The memory block on a real server process, alone and in LlamaIndex's memory."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from agentmem_client import AgentMemClient, EmbedderMismatch, F
from agentmem_llamaindex import AgentMemChatStore, AgentMemMemoryBlock, AgentMemVectorStore
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.memory import InsertMethod, Memory, StaticMemoryBlock, VectorMemoryBlock
from llama_index.core.storage.chat_store.base_db import MessageStatus

TALK = [
    ChatMessage("My cat is called Mia."),
    ChatMessage("What a nice name!", role="assistant"),
    ChatMessage("In winter I sail on cold lakes."),
    ChatMessage("Mind the ice.", role="assistant"),
]


@pytest.fixture
def place(api_url: str, unique: str) -> dict[str, Any]:
    """On the real server, in a collection of its own."""
    return {"api_url": api_url, "collection": unique}


@pytest.fixture
def client(api_url: str) -> Iterator[AgentMemClient]:
    with AgentMemClient(api_url) as client:
        yield client


def contents(client: AgentMemClient, place: dict[str, Any], **scope: Any) -> list[str]:
    memories = client.iterate(collection=place["collection"], **scope)
    return [memory.content for memory in memories]


def fresh(*words: str) -> list[ChatMessage]:
    return [ChatMessage(word) for word in words]


async def recall(block: AgentMemMemoryBlock, question: str, session: str = "later") -> list[str]:
    """The lines without their days."""
    text = await block.aget(fresh(question), session_id=session)
    return [line.partition(") ")[2] for line in text.splitlines()]


async def test_what_was_put_is_recalled(place: dict[str, Any]) -> None:
    block = AgentMemMemoryBlock(user_id="ann", similarity_top_k=1, **place)
    assert await recall(block, "What is the cat called?") == []
    await block.aput(TALK, session_id="first")
    assert await recall(block, "What is the cat called?") == ["User: My cat is called Mia."]
    assert await recall(block, "sailing on lakes") == ["User: In winter I sail on cold lakes."]
    await block.aclose()


async def test_a_message_is_stored_once(place: dict[str, Any], client: AgentMemClient) -> None:
    block = AgentMemMemoryBlock(user_id="ann", **place)
    copies = [[message.model_copy(deep=True) for message in TALK] for _ in range(8)]
    await asyncio.gather(*(block.aput(copy, session_id="s") for copy in copies))
    await block.aput([*TALK, *TALK], session_id="s")
    assert contents(client, place) == [
        "User: My cat is called Mia.",
        "Assistant: What a nice name!",
        "User: In winter I sail on cold lakes.",
        "Assistant: Mind the ice.",
    ]
    await block.aclose()


async def test_users_sessions_and_agents(place: dict[str, Any]) -> None:
    everybody = {
        ("ann", "s1"): "My cat is Mia.",
        ("ann", "s2"): "My cat is black.",
        ("bob", "s1"): "My cat is Tom.",
        (None, "s1"): "A cat is here.",
    }
    for (user, session), words in everybody.items():
        block = AgentMemMemoryBlock(user_id=user, **place)
        await block.aput(fresh(words), session_id=session)
        await block.aclose()

    async def recalled(session: str, **settings: Any) -> set[str]:
        block = AgentMemMemoryBlock(**settings, **place)
        lines = {line.removeprefix("User: ") for line in await recall(block, "cat", session)}
        await block.aclose()
        return lines

    assert await recalled("new", user_id="ann") == {"My cat is Mia.", "My cat is black."}
    assert await recalled("s2", user_id="ann", across_sessions=False) == {"My cat is black."}
    assert await recalled("new", user_id="bob") == {"My cat is Tom."}
    assert await recalled("new", user_id="eve") == set()
    assert await recalled("new") == set()
    assert "A cat is here." in await recalled("s1")
    assert await recalled("new", across_sessions=True) == set(everybody.values())


async def test_what_others_stored_for_the_user_is_recalled(
    place: dict[str, Any], client: AgentMemClient
) -> None:
    own = {"user_id": "ann", "collection": place["collection"]}
    client.add("Ann's cat Mia is three.", metadata={"year": 2026}, type="semantic", **own)
    client.add("Human: a cat!", metadata={"format": "langchain"}, type="message", **own)
    store = AgentMemChatStore(user_id="ann", searchable=True, **place)
    await store.add_messages("s", fresh("cat, in the conversation", "cat, archived"))
    await store.archive_oldest_messages("s", 1)
    block = AgentMemMemoryBlock(user_id="ann", **place)
    await block.aput(fresh("My cat is black."), session_id="s")
    assert set(await recall(block, "the cat", session="s")) == {
        "Ann's cat Mia is three.",
        "Human: a cat!",
        "User: My cat is black.",
    }
    narrowed = AgentMemMemoryBlock(user_id="ann", filters=F("@type") == "semantic", **place)
    assert await recall(narrowed, "the cat") == ["Ann's cat Mia is three."]
    for one in (store, block, narrowed):
        await one.aclose()


async def test_a_threshold_in_cosine(place: dict[str, Any]) -> None:
    block = AgentMemMemoryBlock(user_id="ann", mode="dense", min_score=0.5, **place)
    await block.aput(TALK, session_id="s")
    assert await recall(block, "What is the name of my cat?") == ["User: My cat is called Mia."]
    assert await recall(block, "quarterly revenue of a bank") == []
    await block.aclose()


async def test_all_or_none_are_stored(place: dict[str, Any], client: AgentMemClient) -> None:
    client.create_collection(place["collection"], embedder="client", dimension=2)
    block = AgentMemMemoryBlock(user_id="ann", **place)
    with pytest.raises(EmbedderMismatch):
        await block.aput(TALK, session_id="s")
    assert contents(client, place) == []
    await block.aclose()


def conversation(place: dict[str, Any], **options: Any) -> Memory:
    """A memory of 40 words, 20 of them for the conversation."""
    settings: dict[str, Any] = {
        "session_id": "s",
        "token_limit": 40,
        "token_flush_size": 6,
        "chat_history_token_ratio": 0.5,
        "tokenizer_fn": str.split,
        "chat_store": AgentMemChatStore(user_id="ann", **place),
    }
    return Memory.from_defaults(**(settings | options))


async def test_what_leaves_the_conversation_is_stored_once(
    place: dict[str, Any], client: AgentMemClient
) -> None:
    block = AgentMemMemoryBlock(user_id="ann", **place)
    memory = conversation(place, memory_blocks=[block])
    talk = [ChatMessage(f"This is sentence number {n} of many.") for n in range(12)]
    for message in talk:
        await memory.aput(message)
    archived = await memory.aget_all(status=MessageStatus.ARCHIVED)
    active = await memory.aget_all(status=MessageStatus.ACTIVE)
    assert [*archived, *active] == talk
    assert (len(archived), len(active)) == (10, 2)
    own = contents(client, place, filters={"@type": "message", "format": {"$exists": False}})
    assert Counter(own) == Counter(f"User: {message.content}" for message in archived)
    await aclose(memory)


async def aclose(memory: Memory) -> None:
    for one in (memory.sql_store, *memory.memory_blocks):
        if isinstance(one, AgentMemChatStore | AgentMemMemoryBlock):
            await one.aclose()


async def test_the_question_itself_lifts_no_memory(place: dict[str, Any]) -> None:
    # It is in the chat store when older messages become memories of the same session.
    block = AgentMemMemoryBlock(user_id="ann", mode="sparse", similarity_top_k=1, **place)
    memory = conversation(place, memory_blocks=[block])
    await memory.aput(ChatMessage("My cat is called Mia."))
    await memory.aput(ChatMessage("In winter I sail on lakes."))
    await memory.aput(ChatMessage("Tell me, and please be honest, what do I do when it is winter?"))
    assert len(await memory.aget_all(status=MessageStatus.ARCHIVED)) == 2
    assert "User: In winter I sail on lakes." in str((await memory.aget())[0])
    await aclose(memory)


@pytest.mark.parametrize(
    ("insert_method", "role"), [(InsertMethod.SYSTEM, "system"), (InsertMethod.USER, "user")]
)
async def test_recalled_memories_stand_in_the_prompt(
    place: dict[str, Any], insert_method: InsertMethod, role: str
) -> None:
    block = AgentMemMemoryBlock(user_id="ann", similarity_top_k=1, name="past", **place)
    await block.aput(TALK, session_id="earlier")
    memory = conversation(place, memory_blocks=[block], insert_method=insert_method)
    await memory.aput(ChatMessage("What is my cat called?"))
    prompt = await memory.aget()
    assert prompt[0].role == role
    assert "<past>\n- (" in str(prompt[0])
    assert ") User: My cat is called Mia.\n</past>" in str(prompt[0])
    assert "What is my cat called?" in str(prompt[-1])
    # What is recalled belongs to this prompt alone.
    assert await memory.aget_all() == [ChatMessage("What is my cat called?")]
    await aclose(memory)


@pytest.mark.parametrize(("priority", "kept"), [(0, 4), (1, 1)])
async def test_a_prompt_that_gets_too_long(place: dict[str, Any], priority: int, kept: int) -> None:
    block = AgentMemMemoryBlock(user_id="ann", priority=priority, tokenizer_fn=str.split, **place)
    await block.aput(TALK, session_id="earlier")
    static = StaticMemoryBlock(name="rules", static_content="Be brief.", priority=0)
    memory = conversation(place, memory_blocks=[static, block], token_limit=20)
    await memory.aput(ChatMessage("What is my own dear cat called?"))
    prompt = str((await memory.aget())[0])
    assert "Be brief." in prompt
    assert prompt.count("\n- (") == kept
    assert "User: My cat is called Mia." in prompt  # the best one
    await aclose(memory)


async def test_nothing_to_recall_in_a_prompt_that_is_too_long(place: dict[str, Any]) -> None:
    block = AgentMemMemoryBlock(user_id="ann", **place)
    memory = conversation(place, memory_blocks=[block], token_limit=5)
    await memory.aput(ChatMessage("one two three four five six seven"))
    assert await memory.aget() == [ChatMessage("one two three four five six seven")]
    await aclose(memory)


async def test_llama_index_s_own_block_on_our_vector_store(
    store: AgentMemVectorStore, embed_model: BaseEmbedding
) -> None:
    block = VectorMemoryBlock(vector_store=store, embed_model=embed_model, similarity_top_k=1)
    for session in ("s1", "s2"):
        await block.aput(fresh(f"the cat of {session}"), session_id=session)
    text = await block.aget(fresh("the cat"), session_id="s1")
    assert "the cat of s1" in text
    assert len(await store.aget_nodes()) == 2
    await store.aclose()
