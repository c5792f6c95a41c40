"""The chat store at the seam: what it sends, and what it makes of the answers."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from agentmem_client import InvalidRequest
from agentmem_llamaindex import AgentMemChatStore, MessageError
from agentmem_llamaindex._messages import to_item
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.storage.chat_store.base_db import AsyncDBChatStore, MessageStatus

OWN = [{"@type": {"$eq": "message"}}, {"format": {"$eq": "llamaindex"}}]
ACTIVE = {"$and": [*OWN, {"@archived": {"$eq": False}}]}
ARCHIVED = {"$and": [*OWN, {"@archived": {"$eq": True}}]}
BOTH = {"$and": OWN}


def memory(text: str) -> dict[str, Any]:
    """A message as the server answers it."""
    now = datetime(2026, 1, 1, tzinfo=UTC).isoformat()
    item = to_item(ChatMessage(text), MessageStatus.ACTIVE, searchable=False)
    return item | {"id": text, "collection": "c", "created_at": now, "updated_at": now}


def stored(*ids: str) -> dict[str, Any]:
    return {"results": [{"id": id_, "status": "stored"} for id_ in ids]}


def contents(messages: list[ChatMessage]) -> list[str | None]:
    return [message.content for message in messages]


def test_what_llama_index_asks_of_a_chat_store() -> None:
    assert issubclass(AgentMemChatStore, AsyncDBChatStore)
    assert AgentMemChatStore.class_name() == "AgentMemChatStore"
    coroutines = {
        name for name, value in vars(AsyncDBChatStore).items() if asyncio.iscoroutinefunction(value)
    }
    assert len(coroutines) == 10
    assert coroutines <= vars(AgentMemChatStore).keys()


async def test_add_messages_in_one_transaction(seam: Any) -> None:
    seam.answer("/batch", stored("1", "2"))
    store = seam.chat_store(user_id="ann", agent_id="bot", collection="c")
    await store.add_messages("s", [ChatMessage("one"), ChatMessage("two", role="assistant")])
    (body,) = seam.sent
    assert body["atomic"] is True
    first, second = body["memories"]
    scope = {"session_id": "s", "user_id": "ann", "agent_id": "bot", "collection": "c"}
    assert first.items() >= scope.items()
    assert (first["content"], first["index_texts"]) == ("User: one", [])
    assert first["metadata"] == {"role": "user", "format": "llamaindex"}
    assert second["content"] == "Assistant: two"
    assert json.loads(second["payload"])["role"] == "assistant"


async def test_searchable_messages_are_left_to_the_server_to_embed(seam: Any) -> None:
    seam.answer("/batch", stored("1"))
    await seam.chat_store(searchable=True).add_message("s", ChatMessage("one"))
    assert "index_texts" not in seam.sent[0]["memories"][0]


async def test_nothing_is_sent_when_a_message_can_not_be_stored(seam: Any) -> None:
    messages = [ChatMessage("good"), ChatMessage("bad", additional_kwargs={"x": object()})]
    for method in ("add_messages", "set_messages"):
        with pytest.raises(MessageError):
            await getattr(seam.chat_store(), method)("s", messages)
    assert seam.requests == []


async def test_no_messages_need_no_request(seam: Any) -> None:
    await seam.chat_store().add_messages("s", [])
    assert seam.requests == []


async def test_set_messages_replaces_in_the_same_transaction(seam: Any) -> None:
    seam.answer("/batch", stored("1"))
    store = seam.chat_store(user_id="ann", collection="c")
    await store.set_messages("s", [ChatMessage("one")], MessageStatus.ARCHIVED)
    (body,) = seam.sent
    assert (body["atomic"], len(body["memories"])) == (True, 1)
    assert body["memories"][0]["archived"] is True
    replaced = {"collection": "c", "session_id": "s", "user_id": "ann", "filters": BOTH}
    assert body["replacing"] == replaced


async def test_set_no_messages(seam: Any) -> None:
    seam.answer("/batch", stored())
    await seam.chat_store(collection="c").set_messages("s", [])
    (body,) = seam.sent
    assert body["memories"] == []
    assert body["replacing"] == {"collection": "c", "session_id": "s", "filters": BOTH}


async def test_get_messages(seam: Any) -> None:
    seam.answer("", {"memories": [memory("one"), memory("two")]})
    store = seam.chat_store(user_id="ann", collection="c")
    assert contents(await store.get_messages("s")) == ["one", "two"]
    await store.get_messages("s", MessageStatus.ARCHIVED)
    await store.get_messages("s", None)
    asked = [json.loads(query["filters"]) for query in seam.sent]
    assert asked == [ACTIVE, ARCHIVED, BOTH]
    scope = {"session_id": "s", "user_id": "ann", "collection": "c", "order_by": "seq"}
    assert all(query.items() >= scope.items() for query in seam.sent)


async def test_limit_and_offset(seam: Any) -> None:
    store = seam.chat_store()

    async def got(limit: int | None, offset: int | None) -> list[str | None]:
        pages = [
            {"memories": [memory("0"), memory("1")], "next_cursor": "more"},
            {"memories": [memory("2"), memory("3")], "next_cursor": None},
        ]
        seam.answer("", *pages)
        return contents(await store.get_messages("s", limit=limit, offset=offset))

    assert await got(None, None) == ["0", "1", "2", "3"]
    assert await got(3, 0) == ["0", "1", "2"]
    assert await got(None, 3) == ["3"]
    assert await got(2, 1) == ["1", "2"]
    assert await got(2, 9) == []
    seam.requests.clear()
    assert await got(2, None) == ["0", "1"]
    assert [query["limit"] for query in seam.sent] == ["2"]  # no more than are wanted
    seam.requests.clear()
    assert await got(0, 2) == []
    assert seam.requests == []


@pytest.mark.parametrize("bounds", [{"limit": -1}, {"offset": -1}])
async def test_negative_bounds_are_refused(seam: Any, bounds: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="0 or more"):
        await seam.chat_store().get_messages("s", **bounds)


async def test_count_messages(seam: Any) -> None:
    seam.answer("", {"memories": [], "total": 7})
    assert await seam.chat_store().count_messages("s") == 7
    assert json.loads(seam.sent[0]["filters"]) == ACTIVE


async def test_delete_message(seam: Any) -> None:
    seam.answer("", {"memories": [memory("one"), memory("two")]})
    seam.answer("/delete", {"deleted": 1, "memories": [memory("two")]})
    deleted = await seam.chat_store().delete_message("s", 1)
    assert deleted == ChatMessage("two")
    assert seam.sent[1]["ids"] == ["two"]


@pytest.mark.parametrize("idx", [2, 99, -1])
async def test_delete_message_out_of_range(seam: Any, idx: int) -> None:
    seam.answer("", {"memories": [memory("one"), memory("two")]})
    assert await seam.chat_store().delete_message("s", idx) is None
    assert [method for method, _, _ in seam.requests if method == "POST"] == []


@pytest.mark.parametrize(
    ("status", "filters"),
    [(None, BOTH), (MessageStatus.ACTIVE, ACTIVE), (MessageStatus.ARCHIVED, ARCHIVED)],
)
async def test_delete_messages(
    seam: Any, status: MessageStatus | None, filters: dict[str, Any]
) -> None:
    seam.answer("/delete", {"deleted": 3})
    await seam.chat_store(user_id="ann").delete_messages("s", status)
    (body,) = seam.sent
    assert (body["session_id"], body["user_id"], body["filters"]) == ("s", "ann", filters)


async def test_oldest_messages(seam: Any) -> None:
    seam.answer("", {"memories": [memory("one"), memory("two")]})
    gone = {"deleted": 2, "memories": [memory("one"), memory("two")]}
    seam.answer("/delete", gone)
    seam.answer("/archive", gone)
    store = seam.chat_store()
    assert contents(await store.delete_oldest_messages("s", 2)) == ["one", "two"]
    assert contents(await store.archive_oldest_messages("s", 2)) == ["one", "two"]
    listed, deleted, listed_again, archived = seam.sent
    assert (listed["limit"], listed["order"]) == ("2", "asc")
    assert (deleted["ids"], archived["ids"]) == (["one", "two"], ["one", "two"])
    assert json.loads(listed_again["filters"])["$and"][0] == {"@archived": {"$eq": False}}


@pytest.mark.parametrize("method", ["delete_oldest_messages", "archive_oldest_messages"])
async def test_a_number_of_the_oldest(seam: Any, method: str) -> None:
    store = seam.chat_store()
    for none in (0, -1):
        assert await getattr(store, method)("s", none) == []
    with pytest.raises(InvalidRequest, match="10000"):
        await getattr(store, method)("s", 10_001)
    assert seam.requests == []


async def test_get_keys(seam: Any) -> None:
    session = {"memories": 1, "first_at": "2026-01-01T00:00:00Z", "last_at": "2026-01-01T00:00:00Z"}
    pages = [
        {"sessions": [session | {"session_id": "a"}], "next_after": "a"},
        {"sessions": [session | {"session_id": "b"}], "next_after": None},
    ]
    seam.answer("", *pages, under="sessions")
    store = seam.chat_store(user_id="ann", agent_id="bot", collection="c")
    assert await store.get_keys() == ["a", "b"]
    first, _ = seam.sent
    assert json.loads(first["filters"]) == BOTH
    assert (first["user_id"], first["agent_id"], first["collection"]) == ("ann", "bot", "c")
