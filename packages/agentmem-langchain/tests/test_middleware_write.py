"""What an agent stores of its conversations, at the HTTP seam."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from agentmem_client import ConnectionFailed
from agentmem_langchain import AgentMemMiddleware
from agentmem_langchain._messages import to_memory
from langchain.agents import create_agent
from langchain.agents.middleware import SummarizationMiddleware, before_agent
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Ask, Fake, Listening, Way
    from langchain_core.runnables import RunnableConfig

    Ann = Callable[..., AgentMemMiddleware]

CALL = {"name": "weather", "args": {"city": "Oslo"}, "id": "c1"}


def weather(city: str) -> str:
    """The weather in a city."""
    return f"Rain in {city}."


@pytest.fixture
def ann(connection: dict[str, Any]) -> Ann:
    """Makes middleware for one user."""

    def make(**options: Any) -> AgentMemMiddleware:
        return AgentMemMiddleware(**{"user_id": "ann", **connection, **options})

    return make


async def test_what_was_said_is_stored_in_one_transaction(
    ann: Ann, fake: Fake, listening: type[Listening], ask: Ask
) -> None:
    model = listening.saying(AIMessage("Let me see.", tool_calls=[CALL]), "It rains.")
    middleware = ann(agent_id="guide", collection="notes", recall=False)
    agent = create_agent(
        model, [weather], system_prompt="Be kind.", middleware=[middleware], checkpointer=None
    )
    messages = await ask(agent, "How is the weather?", "t1")
    assert [one.type for one in messages] == ["human", "ai", "tool", "ai"]
    (body,) = fake.bodies
    assert body["atomic"] is True
    assert fake.contents == ["Human: How is the weather?", "AI: It rains."]
    scope = {"user_id": "ann", "agent_id": "guide", "session_id": "t1", "collection": "notes"}
    for one, message in zip(fake.records, (messages[0], messages[-1]), strict=True):
        assert {**one, **scope, **to_memory(message)} == one


async def test_the_developer_may_choose_what_is_stored(
    ann: Ann, fake: Fake, listening: type[Listening], ask: Ask
) -> None:
    model = listening.saying(AIMessage("", tool_calls=[CALL]), "It rains.")
    middleware = ann(keep=lambda message: message.type in ("human", "tool"))
    await ask(create_agent(model, [weather], middleware=[middleware]), "Weather?")
    assert fake.contents == ["Human: Weather?", "Tool (weather): Rain in Oslo."]


async def test_each_message_of_a_thread_is_stored_once(
    ann: Ann, fake: Fake, listening: type[Listening], ask: Ask
) -> None:
    replies: list[str | AIMessage] = ["a", "b", AIMessage("", tool_calls=[CALL]), "c"]
    agent = create_agent(
        listening.saying(*replies), [weather], middleware=[ann()], checkpointer=InMemorySaver()
    )
    for said in ("one", "two", "two"):
        await ask(agent, said, "t1")
    expected = ["Human: one", "AI: a", "Human: two", "AI: b", "Human: two", "AI: c"]
    assert fake.contents == expected
    batches = [body["memories"] for body in fake.bodies if "memories" in body]
    assert [len(batch) for batch in batches] == [2, 2, 2]


async def test_without_a_checkpointer_what_came_with_the_input_is_old(
    ann: Ann, fake: Fake, listening: type[Listening], ask: Ask
) -> None:
    agent = create_agent(listening.saying("a", "b", "c"), middleware=[ann()])
    talk: list[Any] = [{"role": "user", "content": "one"}]
    messages = await ask(agent, list(talk), "t1")
    # As another service would give it: without ids.
    talk += [{"role": "assistant", "content": "a"}, {"role": "user", "content": "two"}]
    messages = await ask(agent, list(talk), "t1")
    # As this one does: with them; and two messages at once.
    await ask(agent, [*messages, ("user", "three"), ("user", "four")], "t1")
    assert fake.contents == [
        *("Human: one", "AI: a", "Human: two", "AI: b"),
        *("Human: three", "Human: four", "AI: c"),
    ]


async def test_writing_again_makes_no_second(ann: Ann, fake: Fake, way: Way) -> None:
    """As where the process ends after the write, before the checkpoint."""
    middleware = ann(session_id="s1")
    talk: list[AnyMessage] = [HumanMessage("one", id="1"), AIMessage("a", id="2")]
    state: Any = {"messages": talk[:1]}
    runtime: Any = type("Runtime", (), {"context": None})()
    state |= middleware.before_agent(state, runtime) or {}
    state["messages"] = talk
    for _ in range(2):
        if way == "sync":
            middleware.after_agent(state, runtime)
        else:
            await middleware.aafter_agent(state, runtime)
    assert len(fake.requests) == 2
    assert fake.contents == ["Human: one", "AI: a"]
    elsewhere = ann(session_id="s2")
    state |= {"agentmem": {}, "messages": talk[:1]}
    state |= elsewhere.before_agent(state, runtime) or {}
    elsewhere.after_agent(state, runtime)
    assert fake.contents == ["Human: one", "AI: a", "Human: one"]


async def test_what_a_failed_run_left_is_stored_with_the_next(
    ann: Ann, fake: Fake, listening: type[Listening], ask: Ask
) -> None:
    def reply(messages: list[BaseMessage]) -> str:
        if str(messages[-1].content) == "one":
            raise RuntimeError("the model is away")
        return "b"

    agent = create_agent(listening(reply=reply), middleware=[ann()], checkpointer=InMemorySaver())
    with pytest.raises(RuntimeError, match="away"):
        await ask(agent, "one", "t1")
    assert fake.contents == []
    await ask(agent, "two", "t1")
    assert fake.contents == ["Human: one", "Human: two", "AI: b"]


@pytest.mark.parametrize("on_error", ["raise", "log"])
async def test_what_could_not_be_stored_is_with_the_next_run(
    ann: Ann, fake: Fake, listening: type[Listening], on_error: Any, ask: Ask
) -> None:
    middleware = ann(recall=False, on_error=on_error)
    agent = create_agent(
        listening.saying("a", "b"), middleware=[middleware], checkpointer=InMemorySaver()
    )
    fake.down = True
    if on_error == "raise":
        with pytest.raises(ConnectionFailed):
            await ask(agent, "one", "t1")
    else:
        await ask(agent, "one", "t1")
    fake.down = False
    await ask(agent, "two", "t1")
    assert fake.contents == ["Human: one", "AI: a", "Human: two", "AI: b"]


async def test_a_failed_write_can_be_resumed(
    ann: Ann, fake: Fake, listening: type[Listening], ask: Ask, way: Way
) -> None:
    agent = create_agent(
        listening.saying("a"), middleware=[ann(recall=False)], checkpointer=InMemorySaver()
    )
    fake.down = True
    with pytest.raises(ConnectionFailed):
        await ask(agent, "one", "t1")
    fake.down = False
    config: RunnableConfig = {"configurable": {"thread_id": "t1"}}
    if way == "sync":
        agent.invoke(None, config)
    else:
        await agent.ainvoke(None, config)
    assert fake.contents == ["Human: one", "AI: a"]


async def test_a_run_that_ends_before_it_began(
    ann: Ann, fake: Fake, listening: type[Listening], ask: Ask
) -> None:
    """As where other middleware before it answers in its place."""

    @before_agent(can_jump_to=["end"])
    def guard(state: Any, runtime: Any) -> dict[str, Any] | None:
        if "secret" not in state["messages"][-1].text:
            return None
        return {"messages": [AIMessage("No.")], "jump_to": "end"}

    agent = create_agent(
        listening.saying("a"), middleware=[guard, ann()], checkpointer=InMemorySaver()
    )
    talk = [HumanMessage("old"), AIMessage("older"), HumanMessage("A secret?")]
    await ask(agent, talk, "t1")
    assert fake.contents == ["Human: A secret?", "AI: No."]
    await ask(agent, "one", "t1")
    await ask(agent, "Another secret?", "t1")
    assert fake.contents[2:] == ["Human: one", "AI: a", "Human: Another secret?", "AI: No."]


async def test_a_summary_costs_no_message_and_is_none(
    ann: Ann, fake: Fake, listening: type[Listening], ask: Ask
) -> None:
    calls = [AIMessage("", tool_calls=[{**CALL, "id": f"c{at}"}]) for at in range(4)]
    summary = SummarizationMiddleware(
        listening(reply=lambda _: "They spoke of the weather."),
        trigger=("messages", 5),
        keep=("messages", 2),
    )
    model = listening.saying(*calls, "It rains.", "Bye!")
    agent = create_agent(
        model, [weather], middleware=[summary, ann()], checkpointer=InMemorySaver()
    )
    messages = await ask(agent, "How is the weather?", "t1")
    assert "How is the weather?" not in [one.text for one in messages]
    assert messages[0].additional_kwargs["lc_source"] == "summarization"
    assert fake.contents == ["Human: How is the weather?", "AI: It rains."]
    assert fake.bodies[0]["query"] == "How is the weather?"
    await ask(agent, "Bye.", "t1")
    assert fake.contents[2:] == ["Human: Bye.", "AI: Bye!"]


async def test_writing_may_be_off(
    ann: Ann, fake: Fake, listening: type[Listening], ask: Ask
) -> None:
    fake.will_find("Ann sails.")
    model = listening.saying("Hello!")
    await ask(create_agent(model, middleware=[ann(write=False)]), "Hi.")
    assert "Ann sails." in model.system
    assert fake.contents == []


async def test_two_in_one_agent(ann: Ann, fake: Fake, listening: type[Listening], ask: Ask) -> None:
    both = [ann(), ann(user_id="team", name="Team")]
    agent = create_agent(listening.saying("a", "b"), middleware=both, checkpointer=InMemorySaver())
    for said in ("one", "two"):
        await ask(agent, said, "t1")
    for user in ("ann", "team"):
        stored = [one["content"] for one in fake.records if one["user_id"] == user]
        assert stored == ["Human: one", "AI: a", "Human: two", "AI: b"]


async def test_what_it_notes_is_its_own_affair(ann: Ann, listening: type[Listening]) -> None:
    agent = create_agent(listening.saying("a", "b"), middleware=[ann()])
    given: Any = {"messages": [HumanMessage("one")]}
    parts: list[Any] = [part async for part in agent.astream(given, stream_mode="messages")]
    assert [message.text for message, _ in parts] == ["a"]
    assert set(await agent.ainvoke(given)) == {"messages"}
