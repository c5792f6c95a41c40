"""What a classic chain recalls of other conversations, at the HTTP seam."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from agentmem_client import ImportanceWeight, InvalidFilter, RecencyWeight
from agentmem_langchain import AgentMemMemory, AgentMemRecallMemory
from agentmem_langchain._messages import to_memory
from langchain_classic.base_memory import BaseMemory
from langchain_core.documents import Document
from langchain_core.load import dumps
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from pydantic import ValidationError

if TYPE_CHECKING:
    from conftest import Fake, Way

pytestmark = pytest.mark.filterwarnings(
    "ignore::langchain_core._api.deprecation.LangChainDeprecationWarning"
)

DAY = "2026-05-08T10:00:00Z"


def hit(fake: Fake, id_: str, message: BaseMessage, **fields: Any) -> dict[str, Any]:
    memory = {**to_memory(message), "created_at": DAY, "score": 0.5, "session_id": "s0"}
    return fake.record(id=id_, **{**memory, **fields})


@pytest.fixture
def said(fake: Fake) -> list[BaseMessage]:
    """What every search finds."""
    messages: list[BaseMessage] = [HumanMessage("I sail.", id="m1"), AIMessage("On lakes?\nBrr.")]
    fake.hits = [hit(fake, str(at), message) for at, message in enumerate(messages)]
    return messages


async def load(memory: BaseMemory, way: Way, inputs: dict[str, Any] | None = None) -> Any:
    inputs = {"input": "What do I do?"} if inputs is None else inputs
    if way == "sync":
        return memory.load_memory_variables(inputs)
    return await memory.aload_memory_variables(inputs)


async def save(memory: BaseMemory, inputs: dict[str, Any], way: Way) -> None:
    if way == "sync":
        memory.save_context(inputs, {"response": "Hello!"})
    else:
        await memory.asave_context(inputs, {"response": "Hello!"})


async def clear(memory: BaseMemory, way: Way) -> None:
    if way == "sync":
        memory.clear()
    else:
        await memory.aclear()


def conditions(fake: Fake) -> list[dict[str, Any]]:
    """What the last search asks of each memory."""
    return parts(fake.bodies[-1]["filters"])


def parts(node: dict[str, Any]) -> list[dict[str, Any]]:
    if "$and" not in node:
        return [node]
    return [part for branch in node["$and"] for part in parts(branch)]


QUERY = {"@content": {"$nin": ["Human: What do I do?"]}}
MESSAGES = {"@type": {"$eq": "message"}}
ELSEWHERE = {"@session_id": {"$ne": "s1"}}


@pytest.mark.usefixtures("said")
async def test_text_with_the_day_of_each(connection: dict[str, Any], way: Way) -> None:
    memory = AgentMemRecallMemory(user_id="ann", **connection)
    assert memory.memory_variables == ["recalled"]
    assert await load(memory, way) == {
        "recalled": "(2026-05-08) Human: I sail.\n(2026-05-08) AI: On lakes?\n  Brr."
    }


async def test_messages_or_documents(
    connection: dict[str, Any], fake: Fake, said: list[BaseMessage], way: Way
) -> None:
    memory = AgentMemRecallMemory(
        require_user=False, return_as="messages", memory_key="earlier", **connection
    )
    assert await load(memory, way) == {"earlier": said}
    memory = AgentMemRecallMemory(require_user=False, return_as="documents", **connection)
    assert (await load(memory, way))["recalled"][0] == Document(
        "Human: I sail.", id="0", metadata=fake.hits[0]["metadata"]
    )


async def test_what_says_the_same_counts_once(
    connection: dict[str, Any], fake: Fake, way: Way
) -> None:
    fake.will_find("Hello!", "Hello!", "I sail.", "Hello!", "I skate.", "I ski.")
    memory = AgentMemRecallMemory(require_user=False, k=3, messages_only=False, **connection)
    recalled = (await load(memory, way))["recalled"]
    assert [line.partition(") ")[2] for line in recalled.splitlines()] == [
        *("Hello!", "I sail.", "I skate.")
    ]


@pytest.mark.parametrize(("shape", "nothing"), [("text", ""), ("messages", []), ("documents", [])])
async def test_nothing_found(
    connection: dict[str, Any], shape: Any, nothing: Any, way: Way
) -> None:
    assert await load(
        AgentMemRecallMemory(require_user=False, return_as=shape, **connection), way
    ) == {"recalled": nothing}


async def test_what_a_search_asks_for(connection: dict[str, Any], fake: Fake, way: Way) -> None:
    memory = AgentMemRecallMemory(
        user_id="ann",
        agent_id="guide",
        collection="chats",
        k=3,
        mode="hybrid",
        alpha=0.0,
        min_score=0.0,
        recency=RecencyWeight(weight=0.5),
        importance=ImportanceWeight(weight=0.0),
        filter={"role": "human"},
        **connection,
    )
    await load(memory, way)
    (body,) = fake.bodies
    assert MESSAGES in conditions(fake)
    assert QUERY in conditions(fake)
    assert {"role": {"$eq": "human"}} in conditions(fake)
    assert "session_id" not in str(conditions(fake))
    asked = {
        "query": "What do I do?",
        "limit": 6,
        "mode": "hybrid",
        "alpha": 0.0,
        "min_score": 0.0,
        "recency": {"weight": 0.5},
        "importance": {"weight": 0.0},
        "collection": "chats",
        "user_id": "ann",
        "agent_id": "guide",
    }
    assert {**body, **asked} == body


async def test_facts_are_searched_where_asked_for(
    connection: dict[str, Any], fake: Fake, way: Way
) -> None:
    fake.hits = [fake.record(id="f", content="Ann sails.", event_at=DAY, score=1.0)]
    memory = AgentMemRecallMemory(require_user=False, messages_only=False, **connection)
    assert await load(memory, way) == {"recalled": "(2026-05-08) Ann sails."}
    assert MESSAGES not in conditions(fake)
    with pytest.raises(ValidationError, match="not every memory is a message"):
        AgentMemRecallMemory(
            require_user=False, messages_only=False, return_as="messages", **connection
        )


@pytest.mark.parametrize(
    ("fields", "left_out"),
    [
        ({}, True),
        ({"include_session": False}, True),
        ({"include_session": True}, False),
        ({"store": True}, False),
        ({"store": True, "include_session": False}, True),
    ],
)
async def test_a_session_that_is_named_is_left_out(
    connection: dict[str, Any], fake: Fake, fields: dict[str, Any], left_out: bool, way: Way
) -> None:
    await load(
        AgentMemRecallMemory(require_user=False, session_id="s1", **fields, **connection), way
    )
    assert (ELSEWHERE in conditions(fake)) == left_out


async def test_beside_a_whole_conversation_the_session_is_left_out(
    connection: dict[str, Any], fake: Fake, way: Way
) -> None:
    talk = AgentMemMemory(session_id="s1", user_id="ann", collection="chats", **connection)
    await load(AgentMemRecallMemory(beside=talk), way)
    (body,) = fake.bodies
    assert ELSEWHERE in conditions(fake)
    assert (body["user_id"], body["collection"]) == ("ann", "chats")


async def test_beside_a_window_what_is_in_it_is_left_out(
    connection: dict[str, Any], fake: Fake, way: Way
) -> None:
    talk = AgentMemMemory(session_id="s1", user_id="ann", max_turns=1, **connection)
    for said in ("one", "two"):
        await save(talk, {"input": said}, way)
    fake.requests.clear()
    await load(AgentMemRecallMemory(beside=talk), way)
    prompt = ["Human: two", "AI: Hello!", "Human: What do I do?"]
    assert {"@content": {"$nin": prompt}} in conditions(fake)
    assert "session_id" not in str(conditions(fake))
    assert [request.method for request in fake.requests] == ["GET", "POST"]
    await load(AgentMemRecallMemory(beside=talk, include_session=False), way)
    assert ELSEWHERE in conditions(fake)
    assert len(fake.requests) == 3


def test_beside_stands_alone(connection: dict[str, Any]) -> None:
    talk = AgentMemMemory(session_id="s1", **connection)
    with pytest.raises(TypeError, match="beside has its scope"):
        AgentMemRecallMemory(beside=talk, user_id="ann")
    with pytest.raises(TypeError, match="leave store out"):
        AgentMemRecallMemory(beside=talk, store=True)


async def test_it_stores_and_deletes_nothing(
    connection: dict[str, Any], fake: Fake, way: Way
) -> None:
    memory = AgentMemRecallMemory(require_user=False, session_id="s1", **connection)
    await save(memory, {"input": "I sail.", "other": "?"}, way)
    await clear(memory, way)
    assert fake.requests == []


async def test_alone_it_stores_turns_and_deletes_its_own(
    connection: dict[str, Any], fake: Fake, way: Way
) -> None:
    other = fake.record(id="o", content="", session_id="s2", type="message")
    fact = fake.record(id="f", content="", session_id="s1", type="semantic")
    fake.records = [other, fact]
    memory = AgentMemRecallMemory(session_id="s1", user_id="ann", store=True, **connection)
    inputs = {"input": "I sail.", "recalled": "what was recalled is no input"}
    await save(memory, inputs, way)
    (body,) = fake.bodies
    assert body["atomic"] is True
    assert [one["content"] for one in body["memories"]] == ["Human: I sail.", "AI: Hello!"]
    assert {one["session_id"] for one in body["memories"]} == {"s1"}
    await clear(memory, way)
    assert fake.records == [other, fact]


async def test_the_input_of_several(connection: dict[str, Any], fake: Fake, way: Way) -> None:
    inputs = {"input": "I sail.", "context": "a hall"}
    with pytest.raises(ValueError, match="One input key expected"):
        await load(AgentMemRecallMemory(require_user=False, **connection), way, inputs)
    memory = AgentMemRecallMemory(require_user=False, input_key="input", store=True, **connection)
    await load(memory, way, inputs)
    assert fake.bodies[-1]["query"] == "I sail."
    await save(memory, inputs, way)
    with pytest.raises(TypeError, match="must be text, not list"):
        await load(memory, way, {"input": ["I sail."]})


@pytest.mark.usefixtures("said")
async def test_an_empty_input_recalls_nothing(
    connection: dict[str, Any], fake: Fake, way: Way
) -> None:
    assert await load(
        AgentMemRecallMemory(require_user=False, **connection), way, {"input": " "}
    ) == {"recalled": ""}
    assert fake.requests == []


def test_wrong_fields_are_found_at_once(connection: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="min_skore"):
        AgentMemRecallMemory(require_user=False, min_skore=1, **connection)
    with pytest.raises(InvalidFilter):
        AgentMemRecallMemory(require_user=False, filter={"a": {"$near": 1}}, **connection)


def test_the_key_is_in_no_repr_and_no_dump() -> None:
    memory = AgentMemRecallMemory(
        require_user=False, api_url="http://localhost:1", api_key="hush-hush"
    )
    assert "hush-hush" not in repr(memory) + str(memory) + dumps(memory) + str(memory.model_dump())


def test_everybodys_messages_are_recalled_by_choice_alone(connection: dict[str, Any]) -> None:
    some: list[dict[str, Any]] = [{}, {"session_id": "s1"}, {"agent_id": "guide"}]
    for fields in some:
        with pytest.raises(ValueError, match="whose messages"):
            AgentMemRecallMemory(**fields, **connection)
        AgentMemRecallMemory(require_user=False, **fields, **connection)
    nobodys = AgentMemMemory(session_id="s1", **connection)
    with pytest.raises(ValueError, match="whose messages"):
        AgentMemRecallMemory(beside=nobodys)
    AgentMemRecallMemory(beside=nobodys, require_user=False)
