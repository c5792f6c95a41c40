"""The memory of a classic chain, at the HTTP seam."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from agentmem_client import AgentMemError
from agentmem_langchain import AgentMemChatMessageHistory, AgentMemMemory
from langchain_classic.chains import ConversationChain
from langchain_core.language_models import FakeListChatModel
from langchain_core.load import dumps
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from pydantic import ValidationError

if TYPE_CHECKING:
    from conftest import Fake, Way

pytestmark = pytest.mark.filterwarnings(
    "ignore::langchain_core._api.deprecation.LangChainDeprecationWarning"
)


async def load(memory: AgentMemMemory, way: Way) -> Any:
    inputs = {"input": "?"}
    if way == "sync":
        return memory.load_memory_variables(inputs)
    return await memory.aload_memory_variables(inputs)


async def save(
    memory: AgentMemMemory, inputs: dict[str, Any], outputs: dict[str, str], way: Way
) -> None:
    if way == "sync":
        memory.save_context(inputs, outputs)
    else:
        await memory.asave_context(inputs, outputs)


async def test_a_turn_comes_back_as_text(connection: dict[str, Any], way: Way) -> None:
    memory = AgentMemMemory(session_id="s1", **connection)
    assert await load(memory, way) == {"history": ""}
    await save(memory, {"input": "I'm Ann."}, {"response": "Hello!"}, way)
    assert await load(memory, way) == {"history": "Human: I'm Ann.\nAI: Hello!"}


async def test_the_prefixes_and_the_key_are_the_given_ones(
    connection: dict[str, Any], way: Way
) -> None:
    memory = AgentMemMemory(
        session_id="s1", memory_key="talk", human_prefix="Guest", ai_prefix="Host", **connection
    )
    await save(memory, {"input": "I'm Ann."}, {"response": "Hello!"}, way)
    memory.chat_memory.add_messages([SystemMessage("Be kind.")])
    assert memory.memory_variables == ["talk"]
    assert await load(memory, way) == {"talk": "Guest: I'm Ann.\nHost: Hello!\nSystem: Be kind."}


async def test_or_as_messages(connection: dict[str, Any], way: Way) -> None:
    memory = AgentMemMemory(session_id="s1", return_messages=True, **connection)
    await save(memory, {"input": "I'm Ann."}, {"response": "Hello!"}, way)
    assert await load(memory, way) == {"history": [HumanMessage("I'm Ann."), AIMessage("Hello!")]}


async def test_a_turn_is_one_atomic_request(
    connection: dict[str, Any], fake: Fake, way: Way
) -> None:
    memory = AgentMemMemory(session_id="s1", user_id="ann", **connection)
    await save(memory, {"input": "I'm Ann."}, {"response": "Hello!"}, way)
    (body,) = fake.bodies
    assert body["atomic"] is True
    assert len(body["memories"]) == 2


async def test_several_inputs_need_a_key(connection: dict[str, Any], way: Way) -> None:
    inputs = {"input": "I'm Ann.", "context": "a hall"}
    memory = AgentMemMemory(session_id="s1", **connection)
    with pytest.raises(ValueError, match="One input key expected"):
        await save(memory, inputs, {"response": "Hello!"}, way)
    memory = AgentMemMemory(session_id="s1", input_key="input", **connection)
    await save(memory, inputs, {"response": "Hello!"}, way)
    assert await load(memory, way) == {"history": "Human: I'm Ann.\nAI: Hello!"}


async def test_clear(connection: dict[str, Any], fake: Fake, way: Way) -> None:
    memory = AgentMemMemory(session_id="s1", **connection)
    await save(memory, {"input": "I'm Ann."}, {"response": "Hello!"}, way)
    if way == "sync":
        memory.clear()
    else:
        await memory.aclear()
    assert await load(memory, way) == {"history": ""}
    assert fake.records == []


async def test_a_conversation_chain_hands_the_model_what_was_said(
    connection: dict[str, Any], fake: Fake, way: Way
) -> None:
    prompts: list[str] = []

    class Listening(FakeListChatModel):
        def _call(self, messages: Any, *args: Any, **kwargs: Any) -> str:
            prompts.append(messages[0].content)
            return super()._call(messages, *args, **kwargs)

    chain = ConversationChain(
        llm=Listening(responses=["Hello, Ann!", "You are Ann."]),
        memory=AgentMemMemory(session_id="s1", **connection),
    )
    for said in ("I'm Ann.", "Who am I?"):
        if way == "sync":
            answer = chain.invoke({"input": said})
        else:
            answer = await chain.ainvoke({"input": said})
    assert answer["response"] == "You are Ann."
    assert "Human: I'm Ann.\nAI: Hello, Ann!\nHuman: Who am I?" in prompts[1]
    # A read and a write for each turn.
    assert [request.method for request in fake.requests] == ["GET", "POST"] * 2


async def talk(memory: AgentMemMemory, turns: int, way: Way) -> None:
    for number in range(turns):
        await save(memory, {"input": f"question {number}"}, {"response": f"answer {number}"}, way)


async def test_a_window_of_turns_reads_the_newest_messages_alone(
    connection: dict[str, Any], fake: Fake, way: Way
) -> None:
    memory = AgentMemMemory(session_id="s1", max_turns=2, **connection)
    assert await load(memory, way) == {"history": ""}
    await talk(memory, 5, way)
    fake.requests.clear()
    assert await load(memory, way) == {
        "history": "Human: question 3\nAI: answer 3\nHuman: question 4\nAI: answer 4"
    }
    (request,) = fake.requests
    assert (request.url.params["limit"], request.url.params["order"]) == ("4", "desc")
    assert len(memory.chat_memory.messages) == 10


async def test_a_window_of_tokens(connection: dict[str, Any], fake: Fake, way: Way) -> None:
    def words(messages: list[BaseMessage]) -> int:
        return sum(len(str(message.content).split()) for message in messages)

    memory = AgentMemMemory(
        session_id="s1", max_tokens=7, token_counter=words, return_messages=True, **connection
    )
    await talk(memory, 500, way)
    fake.requests.clear()
    # Seven words would hold the answer before too, but not its question.
    expected = [HumanMessage("question 499"), AIMessage("answer 499")]
    assert await load(memory, way) == {"history": expected}
    assert len(fake.requests) == 1


async def test_a_window_of_both_and_tokens_by_a_rule_of_thumb(
    connection: dict[str, Any], way: Way
) -> None:
    memory = AgentMemMemory(session_id="s1", max_turns=3, max_tokens=10_000, **connection)
    await talk(memory, 5, way)
    assert (await load(memory, way))["history"].count("Human:") == 3
    memory = AgentMemMemory(session_id="s1", max_turns=3, max_tokens=20, **connection)
    assert (await load(memory, way))["history"].count("Human:") == 1


@pytest.mark.parametrize(
    "fields",
    [{"max_turns": 0}, {"max_tokens": 0}, {"max_tokens": 9, "token_counter": 3}],
)
def test_a_window_that_can_not_be(connection: dict[str, Any], fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=list(fields)[-1]):
        AgentMemMemory(**fields, **connection)


def test_a_counter_needs_something_to_count_for(connection: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="counts for max_tokens"):
        AgentMemMemory(token_counter=len, max_turns=1, **connection)


def test_a_model_counts_tokens(connection: dict[str, Any]) -> None:
    class Counting(FakeListChatModel):
        def get_num_tokens_from_messages(self, messages: Any, tools: Any = None) -> int:
            return 10 * len(messages)

    memory = AgentMemMemory(max_tokens=25, token_counter=Counting(responses=[]), **connection)
    memory.save_context({"input": "one"}, {"response": "1"})
    memory.save_context({"input": "two"}, {"response": "2"})
    assert memory.load_memory_variables({}) == {"history": "Human: two\nAI: 2"}


def test_a_ready_history_is_taken(connection: dict[str, Any]) -> None:
    history = AgentMemChatMessageHistory("s1", **connection)
    assert AgentMemMemory(chat_memory=history).chat_memory is history
    with pytest.raises(TypeError, match="chat_memory"):
        AgentMemMemory(chat_memory=history, session_id="s2")
    with pytest.raises(TypeError, match="chat_memory"):
        AgentMemMemory(chat_memory=history, session_id="")


def test_a_session_that_is_not_given_is_a_new_one(connection: dict[str, Any]) -> None:
    sessions = {AgentMemMemory(**connection).chat_memory.session_id for _ in range(3)}
    assert len(sessions) == 3


def test_an_unknown_field_is_refused(connection: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="sesion_id"):
        AgentMemMemory(sesion_id="s1", **connection)


def test_the_key_is_in_no_repr_and_no_dump() -> None:
    memory = AgentMemMemory(session_id="s1", api_url="http://localhost:1", api_key="hush-hush")
    assert "hush-hush" not in repr(memory) + str(memory) + dumps(memory) + str(memory.model_dump())
    chain = ConversationChain(llm=FakeListChatModel(responses=["x"]), memory=memory)
    assert "hush-hush" not in repr(chain) + dumps(chain)


def test_a_wrong_address_is_found_at_once() -> None:
    with pytest.raises(AgentMemError, match="api_url"):
        AgentMemMemory(session_id="s1", api_url="localhost")
