"""The chat history, at the HTTP seam."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest
from agentmem_client import (
    AgentMemClient,
    AgentMemError,
    AsyncAgentMemClient,
    ConnectionFailed,
    InvalidRequest,
    PayloadTooLarge,
)
from agentmem_langchain import AgentMemChatMessageHistory, MessageError
from agentmem_langchain import history as history_module
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.runnables.history import RunnableWithMessageHistory

if TYPE_CHECKING:
    from conftest import Fake, Way

TURN: list[BaseMessage] = [HumanMessage("I'm Ann."), AIMessage("Hello, Ann!")]


async def read(history: AgentMemChatMessageHistory, way: Way) -> list[BaseMessage]:
    return history.messages if way == "sync" else await history.aget_messages()


async def add(history: AgentMemChatMessageHistory, messages: list[BaseMessage], way: Way) -> None:
    if way == "sync":
        history.add_messages(messages)
    else:
        await history.aadd_messages(messages)


async def clear(history: AgentMemChatMessageHistory, way: Way) -> None:
    if way == "sync":
        history.clear()
    else:
        await history.aclear()


@pytest.fixture
def history(connection: dict[str, Any]) -> AgentMemChatMessageHistory:
    return AgentMemChatMessageHistory("s1", user_id="ann", agent_id="guide", **connection)


async def test_messages_come_back_in_order(history: AgentMemChatMessageHistory, way: Way) -> None:
    assert await read(history, way) == []
    await add(history, TURN, way)
    await add(history, [HumanMessage("Bye.")], way)
    assert await read(history, way) == [*TURN, HumanMessage("Bye.")]


async def test_a_turn_is_one_atomic_request(
    history: AgentMemChatMessageHistory, fake: Fake, way: Way
) -> None:
    await add(history, TURN, way)
    (body,) = fake.bodies
    assert body["atomic"] is True
    scope = {"session_id": "s1", "user_id": "ann", "agent_id": "guide"}
    assert [{name: memory[name] for name in scope} for memory in body["memories"]] == [scope] * 2
    assert [memory["content"] for memory in body["memories"]] == [
        "Human: I'm Ann.",
        "AI: Hello, Ann!",
    ]


async def test_nothing_to_add_is_no_request(
    history: AgentMemChatMessageHistory, fake: Fake, way: Way
) -> None:
    await add(history, [], way)
    assert fake.requests == []


async def test_a_refused_batch_raises(
    history: AgentMemChatMessageHistory, fake: Fake, way: Way
) -> None:
    fake.refuse = "payload_too_large"
    with pytest.raises(PayloadTooLarge):
        await add(history, TURN, way)


async def test_an_unstorable_message_keeps_the_whole_batch_back(
    history: AgentMemChatMessageHistory, fake: Fake, way: Way
) -> None:
    with pytest.raises(MessageError, match="artifact"):
        await add(history, [*TURN, ToolMessage("x", tool_call_id="c", artifact=object())], way)
    assert fake.requests == []


async def test_more_than_one_request_holds_goes_in_several(
    history: AgentMemChatMessageHistory,
    fake: Fake,
    way: Way,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(history_module, "MAX_BATCH", 2)
    messages: list[BaseMessage] = [HumanMessage(str(number)) for number in range(5)]
    await add(history, messages, way)
    assert [len(body["memories"]) for body in fake.bodies] == [2, 2, 1]
    assert all(body["atomic"] for body in fake.bodies)
    assert await read(history, way) == messages


async def test_all_pages_are_read(
    history: AgentMemChatMessageHistory, fake: Fake, way: Way
) -> None:
    fake.page = 2
    messages: list[BaseMessage] = [HumanMessage(str(number)) for number in range(5)]
    await add(history, messages, way)
    assert await read(history, way) == messages
    assert len(fake.requests) == 1 + 3


async def test_it_is_read_in_the_order_of_seq(
    history: AgentMemChatMessageHistory, fake: Fake, way: Way
) -> None:
    await read(history, way)
    assert fake.requests[0].url.params["order_by"] == "seq"
    assert fake.requests[0].url.params.get("order", "asc") == "asc"


async def test_the_newest_messages_are_read_alone(
    history: AgentMemChatMessageHistory, fake: Fake, way: Way
) -> None:
    async def newest(count: int) -> list[BaseMessage]:
        return history.newest(count) if way == "sync" else await history.anewest(count)

    assert await newest(3) == []
    messages: list[BaseMessage] = [HumanMessage(str(number)) for number in range(9)]
    await add(history, messages, way)
    fake.requests.clear()
    assert await newest(3) == messages[-3:]
    (request,) = fake.requests
    asked = {"limit": "3", "order": "desc", "order_by": "seq", "include_total": "false"}
    assert asked.items() <= dict(request.url.params).items()
    fake.page = 4
    assert await newest(9) == await newest(50) == messages
    with pytest.raises(ValueError, match="at least 1"):
        await newest(0)


async def test_clear_leaves_all_that_is_not_a_message_of_this_session(
    history: AgentMemChatMessageHistory, fake: Fake, way: Way
) -> None:
    scope = {"session_id": "s1", "user_id": "ann", "agent_id": "guide"}
    message = {"type": "message", "metadata": {"format": "langchain"}}
    others = [
        fake.record(id="fact", content="Ann likes chess.", type="semantic", **scope),
        fake.record(id="foreign", content="not LangChain's", type="message", **scope),
        fake.record(id="session", content="", **scope | {"session_id": "s2"}, **message),
        fake.record(id="user", content="", **scope | {"user_id": "bob"}, **message),
        fake.record(id="agent", content="", **scope | {"agent_id": "cook"}, **message),
        fake.record(id="collection", content="", collection="other", **scope, **message),
    ]
    fake.records += others
    await add(history, TURN, way)
    assert await read(history, way) == TURN
    await clear(history, way)
    assert await read(history, way) == []
    assert fake.records == others


async def test_the_collection_is_the_given_one(
    connection: dict[str, Any], fake: Fake, way: Way
) -> None:
    history = AgentMemChatMessageHistory("s1", collection="chats", **connection)
    await add(history, TURN, way)
    assert {one["collection"] for one in fake.records} == {"chats"}
    assert await read(history, way) == TURN
    await clear(history, way)
    assert fake.records == []


def test_a_session_that_is_not_given_is_a_new_one(connection: dict[str, Any]) -> None:
    one, other = (AgentMemChatMessageHistory(**connection) for _ in range(2))
    one.add_messages(TURN)
    assert one.session_id != other.session_id
    assert one.session_id != "default"
    assert other.messages == []
    assert AgentMemChatMessageHistory(one.session_id, **connection).messages == TURN


async def test_an_empty_session_is_refused(connection: dict[str, Any], way: Way) -> None:
    """`RunnableWithMessageHistory` passes one where its configuration lacks the id."""
    history = AgentMemChatMessageHistory("", **connection)
    with pytest.raises(InvalidRequest, match="session_id"):
        await read(history, way)
    with pytest.raises(InvalidRequest, match="session_id"):
        await add(history, TURN, way)
    with pytest.raises(InvalidRequest, match="session_id"):
        await clear(history, way)


async def test_a_server_that_is_away_is_an_error_never_an_empty_history(way: Way) -> None:
    def away(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    transport = httpx.MockTransport(away)
    with httpx.Client(transport=transport) as http:
        async with httpx.AsyncClient(transport=transport) as async_http:
            history = AgentMemChatMessageHistory(
                "s1",
                client=AgentMemClient(http_client=http, max_retries=0),
                async_client=AsyncAgentMemClient(http_client=async_http, max_retries=0),
            )
            with pytest.raises(ConnectionFailed):
                await read(history, way)


def test_the_key_is_in_no_repr() -> None:
    history = AgentMemChatMessageHistory("s1", api_url="http://localhost:1", api_key="hush-hush")
    assert repr(history) == "AgentMemChatMessageHistory('s1')"
    assert "hush-hush" not in repr(vars(history))


def test_the_connection_is_given_once(connection: dict[str, Any]) -> None:
    with pytest.raises(AgentMemError, match="either"):
        AgentMemChatMessageHistory("s1", api_url="http://localhost:1", **connection)


@pytest.mark.filterwarnings("ignore:RunnableWithMessageHistory is deprecated")
async def test_runnable_with_message_history_stores_each_message_once(
    connection: dict[str, Any], fake: Fake, way: Way
) -> None:
    def answer(messages: list[BaseMessage]) -> AIMessage:
        return AIMessage(f"I have read {len(messages)}.")

    chain = RunnableWithMessageHistory(
        RunnableLambda(answer),
        lambda session_id: AgentMemChatMessageHistory(session_id, **connection),
    )
    config: Any = {"configurable": {"session_id": "s1"}}
    for said in ("one", "two", "three"):
        question = [HumanMessage(said)]
        if way == "sync":
            chain.invoke(question, config)
        else:
            await chain.ainvoke(question, config)
    assert [one["content"] for one in fake.records] == [
        "Human: one",
        "AI: I have read 1.",
        "Human: two",
        "AI: I have read 3.",
        "Human: three",
        "AI: I have read 5.",
    ]
    assert sum(request.method == "POST" for request in fake.requests) == 3
