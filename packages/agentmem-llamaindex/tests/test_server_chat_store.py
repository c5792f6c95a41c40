"""The chat store on a real server process, beside the one that LlamaIndex brings along."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from agentmem_client import AgentMemClient, EmbedderMismatch, InvalidRequest
from agentmem_llamaindex import AgentMemChatStore, AgentMemMemoryBlock
from llama_index.core.base.llms.types import (
    ChatMessage,
    ImageBlock,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llama_index.core.storage.chat_store.base_db import MessageStatus
from llama_index.core.storage.chat_store.sql import SQLAlchemyChatStore

ACTIVE, ARCHIVED = MessageStatus.ACTIVE, MessageStatus.ARCHIVED


@pytest.fixture
async def chat(api_url: str, unique: str) -> AsyncIterator[AgentMemChatStore]:
    """On the real server, in a collection of its own."""
    store = AgentMemChatStore(api_url=api_url, collection=unique)
    yield store
    await store.aclose()


@pytest.fixture
async def reference() -> AsyncIterator[SQLAlchemyChatStore]:
    """LlamaIndex's own store, which says what an operation means."""
    store = SQLAlchemyChatStore(table_name="messages")
    await store.get_keys()  # makes its engine
    yield store
    assert store._async_engine is not None
    await store._async_engine.dispose()


@pytest.fixture
def client(api_url: str) -> Iterator[AgentMemClient]:
    with AgentMemClient(api_url) as client:
        yield client


def texts(messages: list[ChatMessage]) -> list[str | None]:
    return [message.content for message in messages]


def said(*words: str) -> list[ChatMessage]:
    return [ChatMessage(word) for word in words]


@pytest.mark.parametrize("seed", range(3))
async def test_it_does_what_the_sql_store_does(
    chat: AgentMemChatStore, reference: SQLAlchemyChatStore, seed: int
) -> None:
    numbers = random.Random(seed)
    count = 0

    def some(at_least: int) -> list[ChatMessage]:
        nonlocal count
        words = [f"message {count + n}" for n in range(numbers.randint(at_least, 4))]
        count += len(words)
        return [ChatMessage(word, role=numbers.choice(["user", "assistant"])) for word in words]

    def operation() -> tuple[str, list[Any]]:
        key, status = numbers.choice("ab"), numbers.choice([ACTIVE, ARCHIVED])
        match numbers.randrange(12):
            case 0:
                return "set_messages", [key, some(0), status]
            case 1:
                return "delete_messages", [key, numbers.choice([None, ACTIVE, ARCHIVED])]
            case 2:
                return "delete_oldest_messages", [key, numbers.randint(0, 3)]
            case 3 | 4:
                return "archive_oldest_messages", [key, numbers.randint(0, 3)]
            case 5 | 6:
                return "add_message", [key, some(1)[0], status]
            case _:
                return "add_messages", [key, some(1), ACTIVE]

    for _ in range(30):
        method, arguments = operation()
        expected = await getattr(reference, method)(*arguments)
        assert await getattr(chat, method)(*arguments) == expected, (method, arguments)
        assert await chat.get_keys() == sorted(await reference.get_keys())
        for key in "ab":
            for status in (None, ACTIVE, ARCHIVED):
                window = {
                    "limit": numbers.choice([None, 1, 3]),
                    "offset": numbers.choice([None, 2]),
                }
                if window["limit"] is None:
                    window["offset"] = None  # SQLite has no offset without a limit
                for options in ({}, window):
                    messages = await reference.get_messages(key, status, **options)
                    assert await chat.get_messages(key, status, **options) == messages
                assert await chat.count_messages(key, status) == (
                    await reference.count_messages(key, status)
                )


async def test_messages_come_back_as_they_were(chat: AgentMemChatStore) -> None:
    messages = [
        ChatMessage([TextBlock(text="What is it?"), ImageBlock(image=b"GIF89a", detail="low")]),
        ChatMessage(
            role="assistant",
            blocks=[
                ThinkingBlock(content="hm", additional_information={"signature": "x"}),
                ToolCallBlock(tool_call_id="1", tool_name="look", tool_kwargs={"at": [1, None]}),
            ],
        ),
        ChatMessage(role="tool", content="a\0b \ud800", additional_kwargs={"tool_call_id": "1"}),
        ChatMessage(role="assistant", content=""),
        ChatMessage(role="assistant", content="  Ein Vogel, 日本 🙂\n"),
    ]
    await chat.add_messages("s", messages)
    assert await chat.get_messages("s") == messages
    assert await chat.archive_oldest_messages("s", 2) == messages[:2]
    assert await chat.delete_oldest_messages("s", 2) == messages[2:4]
    assert await chat.delete_message("s", 0) == messages[4]


@pytest.mark.parametrize("key", ["s", "a/b?c#d", "Gespräch 1", "日本", "..", "x" * 512])
async def test_any_key(chat: AgentMemChatStore, key: str) -> None:
    await chat.add_messages(key, said("one", "two"))
    assert texts(await chat.get_messages(key)) == ["one", "two"]
    assert await chat.get_keys() == [key]
    await chat.delete_messages(key)
    assert await chat.get_keys() == []


async def test_an_empty_key_is_refused(chat: AgentMemChatStore) -> None:
    for call in (chat.get_messages(""), chat.add_messages("", said("x"))):
        with pytest.raises(InvalidRequest, match="session_id"):
            await call


async def test_delete_message_by_its_position_among_the_active_ones(
    chat: AgentMemChatStore,
) -> None:
    await chat.add_messages("s", said("0", "1", "2", "3"))
    await chat.archive_oldest_messages("s", 1)
    assert await chat.delete_message("s", 1) == ChatMessage("2")
    assert texts(await chat.get_messages("s", None)) == ["0", "1", "3"]
    for nowhere in (2, 10, -1):
        assert await chat.delete_message("s", nowhere) is None
    assert await chat.delete_message("elsewhere", 0) is None


async def test_other_memories_of_the_session_are_none_of_its(
    chat: AgentMemChatStore, client: AgentMemClient
) -> None:
    place: dict[str, Any] = {"session_id": "s", "collection": chat.collection}
    client.add("a fact", **place)
    client.add("Human: hi", type="message", metadata={"format": "langchain"}, **place)
    client.add("elsewhere", session_id="other", collection=chat.collection)
    assert (await chat.get_messages("s", None), await chat.get_keys()) == ([], [])
    await chat.add_messages("s", said("one", "two"))
    block = AgentMemMemoryBlock(**chat.model_dump(include={"api_url", "collection"}))
    await block.aput(said("of the block"), session_id="s")
    assert texts(await chat.get_messages("s", None)) == ["one", "two"]
    assert await chat.count_messages("s", None) == 2
    assert await chat.get_keys() == ["s"]
    assert texts(await chat.delete_oldest_messages("s", 10)) == ["one", "two"]
    await chat.set_messages("s", said("three"))
    await chat.delete_messages("s")
    left = [memory.content for memory in client.list(collection=chat.collection).memories]
    assert left == ["a fact", "Human: hi", "elsewhere", "User: of the block"]
    await block.aclose()


async def test_users_and_agents_do_not_see_each_other(api_url: str, unique: str) -> None:
    place: dict[str, Any] = {"api_url": api_url, "collection": unique}
    ann = AgentMemChatStore(user_id="ann", **place)
    bob = AgentMemChatStore(user_id="bob", **place)
    bot = AgentMemChatStore(user_id="ann", agent_id="bot", **place)
    await ann.add_messages("s", said("ann's"))
    await bob.add_messages("s", said("bob's"))
    await bob.add_messages("bob's own", said("x"))
    await bot.add_messages("s", said("the agent's"))
    assert texts(await ann.get_messages("s")) == ["ann's", "the agent's"]
    assert texts(await bot.get_messages("s")) == ["the agent's"]
    assert (await ann.get_keys(), await bob.get_keys()) == (["s"], ["bob's own", "s"])
    await bot.set_messages("s", [])
    await bob.delete_messages("s")
    assert texts(await ann.get_messages("s")) == ["ann's"]
    for store in (ann, bob, bot):
        await store.aclose()


async def test_searches_find_the_messages_only_where_that_is_wanted(
    api_url: str, unique: str, client: AgentMemClient
) -> None:
    found = {}
    for searchable in (False, True):
        store = AgentMemChatStore(
            api_url=api_url, collection=f"{unique}-{searchable}", searchable=searchable
        )
        await store.add_messages("s", said("The cat is called Mia."))
        await store.archive_oldest_messages("s", 1)
        hits = client.search("cat", session_id="s", collection=store.collection)
        found[searchable] = [hit.content for hit in hits]
        assert texts(await store.get_messages("s", ARCHIVED)) == ["The cat is called Mia."]
        await store.aclose()
    assert found == {False: [], True: ["User: The cat is called Mia."]}


async def test_where_an_index_keeps_its_nodes(
    api_url: str, unique: str, client: AgentMemClient
) -> None:
    client.create_collection(unique, embedder="client", dimension=2)
    store = AgentMemChatStore(api_url=api_url, collection=unique)
    await store.add_messages("s", said("one"))
    embedded = store.model_copy(update={"searchable": True})
    for method in (embedded.add_messages, embedded.set_messages):
        with pytest.raises(EmbedderMismatch):
            await method("s", said("two", "three"))
    assert texts(await store.get_messages("s")) == ["one"]  # none was added, none was lost
    await store.aclose()


async def test_several_writers_keep_one_order(api_url: str, unique: str) -> None:
    writers = [AgentMemChatStore(api_url=api_url, collection=unique) for _ in range(4)]

    async def write(number: int) -> None:
        for turn in range(5):
            names = [f"{number}.{turn}.{part}" for part in range(3)]
            await writers[number].add_messages("s", said(*names))

    await asyncio.gather(*(write(number) for number in range(len(writers))))
    orders = [texts(await writer.get_messages("s")) for writer in writers]
    assert orders == [orders[0]] * len(writers)
    turns = [orders[0][start : start + 3] for start in range(0, 60, 3)]
    for number in range(len(writers)):
        own = [turn for turn in turns if str(turn[0]).startswith(f"{number}.")]
        assert own == [[f"{number}.{turn}.{part}" for part in range(3)] for turn in range(5)]
    for writer in writers:
        await writer.aclose()


async def test_of_several_callers_each_message_goes_to_one(chat: AgentMemChatStore) -> None:
    names = [str(number) for number in range(40)]
    await chat.add_messages("s", said(*names))
    parts = await asyncio.gather(*(chat.delete_oldest_messages("s", 7) for _ in range(6)))
    given = [name for part in parts for name in texts(part)]
    assert len(given) == len(set(given))
    assert [
        *sorted(given, key=lambda name: int(str(name))),
        *texts(await chat.get_messages("s")),
    ] == names


async def test_more_than_fit_into_one_request(chat: AgentMemChatStore) -> None:
    names = [str(number) for number in range(2_100)]
    await chat.add_messages("s", said(*names))
    assert texts(await chat.get_messages("s")) == names
    assert texts(await chat.get_messages("s", limit=3, offset=2_050)) == names[2_050:2_053]
    await chat.set_messages("s", said(*names[::-1]))
    assert texts(await chat.get_messages("s", None)) == names[::-1]
    assert texts(await chat.archive_oldest_messages("s", 2_090)) == names[::-1][:2_090]
    assert await chat.count_messages("s") == 10


def test_one_store_in_several_event_loops(api_url: str, unique: str) -> None:
    store = AgentMemChatStore(api_url=api_url, collection=unique)

    async def add(number: int) -> int:
        await store.add_message("s", ChatMessage(str(number)))
        return await store.count_messages("s")

    assert [asyncio.run(add(number)) for number in range(3)] == [1, 2, 3]
