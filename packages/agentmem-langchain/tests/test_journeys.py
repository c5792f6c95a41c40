"""What a new user does first with chains and agents, on a real server process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from agentmem_client import AgentMemClient, new_id
from agentmem_langchain import (
    AgentMemChatMessageHistory,
    AgentMemCombinedMemory,
    AgentMemMemory,
    AgentMemMiddleware,
    AgentMemRecallMemory,
)
from langchain.agents import create_agent
from langchain_classic.chains import ConversationChain
from langchain_classic.memory import CombinedMemory
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.prompts import PromptTemplate
from langgraph.checkpoint.memory import InMemorySaver

if TYPE_CHECKING:
    from conftest import Ask, Listening, Server, Way

pytestmark = pytest.mark.filterwarnings(
    "ignore::langchain_core._api.deprecation.LangChainDeprecationWarning"
)

PROMPT = PromptTemplate.from_template(
    "Known from before:\n{recalled}\n\nNow:\n{history}\nHuman: {input}\nAI:"
)


async def say(chain: ConversationChain, said: str, way: Way) -> str:
    if way == "sync":
        return str(chain.invoke({"input": said})["response"])
    return str((await chain.ainvoke({"input": said}))["response"])


def prompt(model: Listening) -> tuple[str, str]:
    """What the model was last given: the recalled text, and the conversation."""
    recalled, _, history = model.given[-1][0].text.partition("\n\nNow:\n")
    return recalled.removeprefix("Known from before:\n"), history


@pytest.mark.parametrize("combined", [CombinedMemory, AgentMemCombinedMemory])
async def test_a_chain_recalls_other_conversations(
    clients: dict[str, Any],
    listening: type[Listening],
    combined: type[CombinedMemory],
    way: Way,
) -> None:
    collection = new_id()

    def chain(user: str, session: str) -> tuple[ConversationChain, Listening]:
        model = listening(reply=lambda _: "I see.")
        talk = AgentMemMemory(
            session_id=session,
            user_id=user,
            collection=collection,
            input_key="input",
            **clients,
        )
        memory = combined(memories=[talk, AgentMemRecallMemory(beside=talk, k=1)])
        return ConversationChain(llm=model, memory=memory, prompt=PROMPT), model

    first, model = chain("ann", "s1")
    await say(first, "I spend my summers sailing on cold lakes.", way)
    await say(first, "My invoice is due on Friday.", way)
    assert prompt(model)[0] == ""

    second, model = chain("ann", "s2")
    await say(second, "Which hobby is about boats?", way)
    recalled, history = prompt(model)
    assert recalled.endswith("Human: I spend my summers sailing on cold lakes.")
    assert history == "\nHuman: Which hobby is about boats?\nAI:"
    await say(second, "And what is due?", way)
    recalled, history = prompt(model)
    assert recalled.endswith("Human: My invoice is due on Friday.")
    assert history.startswith("Human: Which hobby is about boats?\nAI: I see.\n")

    other, model = chain("bob", "s3")
    await say(other, "Which hobby is about boats?", way)
    assert prompt(model)[0] == ""

    client: AgentMemClient = clients["client"]
    stored = [(one.session_id, one.content) for one in client.iterate(collection=collection)]
    human = [content for _, content in stored if content.startswith("Human")]
    assert len(stored) == 2 * 5
    assert len(human) == 5
    if way == "sync":
        second.memory.clear()
    else:
        await second.memory.aclear()
    left = {one.session_id for one in client.iterate(collection=collection)}
    assert left == {"s1", "s3"}


async def test_what_leaves_the_window_is_recalled(
    clients: dict[str, Any], listening: type[Listening], way: Way
) -> None:
    talk = AgentMemMemory(user_id=new_id(), input_key="input", max_turns=1, **clients)
    recall = AgentMemRecallMemory(beside=talk, k=2, filter={"role": "human"})
    model = listening(reply=lambda _: "I see.")
    memory = AgentMemCombinedMemory(memories=[talk, recall])
    chain = ConversationChain(llm=model, memory=memory, prompt=PROMPT)
    await say(chain, "My boat is called Petrel.", way)
    await say(chain, "The weather is fine today.", way)
    await say(chain, "What is the boat's name?", way)
    recalled, history = prompt(model)
    assert [line.partition(") ")[2] for line in recalled.splitlines()] == [
        "Human: My boat is called Petrel."
    ]
    assert "Petrel" not in history
    assert history.startswith("Human: The weather is fine today.\nAI: I see.\n")


async def test_recall_on_its_own(
    clients: dict[str, Any], listening: type[Listening], way: Way
) -> None:
    user = new_id()
    template = PromptTemplate.from_template("{recalled}\nHuman: {input}\nAI:")
    model = listening(reply=lambda _: "I see.")
    memory = AgentMemRecallMemory(session_id=new_id(), user_id=user, store=True, k=1, **clients)
    chain = ConversationChain(llm=model, memory=memory, prompt=template)
    await say(chain, "My boat is called Petrel.", way)
    await say(chain, "What is my boat called?", way)
    assert "Human: My boat is called Petrel.\nHuman: What is" in model.given[-1][0].text
    client: AgentMemClient = clients["client"]
    assert len(client.list(user_id=user).memories) == 4


@dataclass
class User:
    user_id: str


def forecast(city: str) -> str:
    """The weather forecast of a city."""
    return f"Rain in {city}."


async def test_an_agent_recalls_what_another_thread_learned(
    server: Server, clients: dict[str, Any], listening: type[Listening], ask: Ask
) -> None:
    ann, bob = User(new_id()), User(new_id())
    call = {"name": "forecast", "args": {"city": "Oslo"}, "id": "c1"}

    def reply(messages: list[BaseMessage]) -> str | AIMessage:
        last = messages[-1]
        if last.type == "human" and "forecast" in last.text:
            return AIMessage("", tool_calls=[call])
        return f"I heard: {last.text}"

    model = listening(reply=reply)
    middleware: AgentMemMiddleware[User] = AgentMemMiddleware(k=2, **clients)
    agent = create_agent(
        model,
        [forecast],
        system_prompt="Be kind.",
        middleware=[middleware],
        context_schema=User,
        checkpointer=InMemorySaver(),
    )
    first, second, third = new_id(), new_id(), new_id()
    await ask(agent, "I spend my summers sailing on cold lakes.", first, context=ann)
    await ask(agent, "My invoice is due on Friday.", first, context=ann)
    messages = await ask(agent, "What is the forecast?", first, context=ann)
    assert model.system == "Be kind."  # all that is known stands in the conversation
    assert len(messages) == 8
    said = [one for one in messages if one.type != "tool" and not getattr(one, "tool_calls", [])]
    history = AgentMemChatMessageHistory(first, user_id=ann.user_id, client=clients["client"])
    assert history.messages == said

    server.restart()
    await ask(agent, "Which hobby is about boats?", second, context=ann)
    assert model.system.startswith("Be kind.\n\n")
    assert "Human: I spend my summers sailing on cold lakes." in model.system
    assert "Which hobby" not in model.system
    await ask(agent, "Which hobby is about boats?", third, context=bob)
    assert model.system == "Be kind."
    client: AgentMemClient = clients["client"]
    assert len(list(client.iterate(user_id=ann.user_id))) == 8
    assert len(list(client.iterate(user_id=bob.user_id))) == 2


async def test_an_agent_recalls_facts(
    clients: dict[str, Any], listening: type[Listening], ask: Ask
) -> None:
    user = new_id()
    client: AgentMemClient = clients["client"]
    client.add("Ann's cat is called Mia.", user_id=user, metadata={"topic": "pets"})
    client.add("Ann's car is called Mia too.", user_id=user, metadata={"topic": "car"})
    model = listening(reply=lambda _: "Mia.")
    middleware = AgentMemMiddleware(user_id=user, filter={"topic": "pets"}, **clients)
    await ask(create_agent(model, middleware=[middleware]), "What is the cat's name?")
    assert "Ann's cat is called Mia." in model.system
    assert "car" not in model.system.partition("<recalled_memories>")[2]
