"""Many conversations at once on one event loop and one client, on a real server process.

What is asserted can't be noise: every answer right, nothing lost or doubled, no thread. How long
the loop was held up is measured beside it, and goes into the test's report.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from agentmem_client import AsyncAgentMemClient, new_id
from agentmem_langchain import (
    AgentMemCombinedMemory,
    AgentMemMemory,
    AgentMemMiddleware,
    AgentMemRecallMemory,
)
from langchain.agents import create_agent
from langchain_classic.base_memory import BaseMemory
from langchain_classic.chains import ConversationChain
from langchain_classic.memory import ConversationBufferMemory
from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.prompts import PromptTemplate
from langgraph.checkpoint.memory import InMemorySaver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from conftest import Listening, Server

pytestmark = pytest.mark.filterwarnings(
    "ignore::langchain_core._api.deprecation.LangChainDeprecationWarning"
)

CONVERSATIONS = 50
TURNS = 4
STEPS = (1, 2, 5, 10, 20, 50, 100)
"""Milliseconds: the bounds of the histogram."""


@pytest.fixture
async def client(server: Server) -> AsyncIterator[AsyncAgentMemClient]:
    async with AsyncAgentMemClient(server.url) as client:
        yield client


@pytest.fixture
def no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuses the loop's thread pool, but to LangSmith: whether it traces or not, LangChain sends
    each call of a model that is wrapped through it, and it takes a thread to begin and to end."""
    run_in_executor = asyncio.BaseEventLoop.run_in_executor

    def refuse(loop: Any, executor: Any, work: Any, *args: Any) -> Any:
        caller = sys._getframe(1).f_globals["__name__"]
        if not caller.startswith("langsmith."):
            raise AssertionError(f"{caller} asked for a thread")
        return run_in_executor(loop, executor, work, *args)

    monkeypatch.setattr("asyncio.base_events.BaseEventLoop.run_in_executor", refuse)


class Lags:
    """How late a sleeping task is woken, while something runs."""

    def __init__(self) -> None:
        self._lags: list[float] = []
        self._seconds = 0.0

    async def during(self, work: Awaitable[Any]) -> Any:
        sampler = asyncio.create_task(self._sample())
        began = time.perf_counter()
        try:
            return await work
        finally:
            self._seconds = time.perf_counter() - began
            sampler.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await sampler

    async def _sample(self, every: float = 0.002) -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(every)
            self._lags.append(1_000 * (time.perf_counter() - began - every))

    def __str__(self) -> str:
        counts = Counter(
            next((f"<{step}" for step in STEPS if lag < step), f">={STEPS[-1]}")
            for lag in self._lags
        )
        order = [*(f"<{step}" for step in STEPS), f">={STEPS[-1]}"]
        shown = " ".join(f"{step}:{counts[step]}" for step in order if counts[step])
        per_turn = 1_000 * self._seconds / (CONVERSATIONS * TURNS)
        return f"ms of lag {shown} (worst {max(self._lags):.1f}); {per_turn:.1f} ms a turn"


def said(conversation: int, turn: int) -> str:
    return f"This is turn {turn} of conversation {conversation}."


def parrot(messages: list[BaseMessage]) -> str:
    """Answers which turn was said last, and how many were."""
    text = "\n".join(one.text for one in messages if one.type == "human")
    turns = re.findall(r"turn (\d+) of conversation (\d+)", text)
    return f"Heard {len(turns)}, the last being {'/'.join(turns[-1])}."


async def converse(say: Callable[[str], Awaitable[str]], conversation: int) -> list[str]:
    return [await say(said(conversation, turn)) for turn in range(TURNS)]


async def all_at_once(make: Callable[[int], Callable[[str], Awaitable[str]]]) -> list[list[str]]:
    talks = [converse(make(one), one) for one in range(CONVERSATIONS)]
    return await asyncio.gather(*talks)


def expected(conversation: int) -> list[str]:
    """A conversation's answers: the model is given what was said before, and the question."""
    return [f"Heard {turn + 1}, the last being {turn}/{conversation}." for turn in range(TURNS)]


async def stored(client: AsyncAgentMemClient, collection: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    async for memory in client.iterate(collection=collection):
        found.setdefault(str(memory.session_id), []).append(memory.content)
    return found


def transcript(conversation: int) -> list[str]:
    return [
        line
        for turn, answer in enumerate(expected(conversation))
        for line in (f"Human: {said(conversation, turn)}", f"AI: {answer}")
    ]


def chain(model: Listening, memory: BaseMemory, **more: Any) -> Callable[[str], Awaitable[str]]:
    conversation = ConversationChain(llm=model, memory=memory, **more)

    async def say(text: str) -> str:
        return str((await conversation.ainvoke({"input": text}))["response"])

    return say


@pytest.mark.usefixtures("no_thread")
async def test_chains(
    client: AsyncAgentMemClient,
    listening: type[Listening],
    record_property: Callable[[str, object], None],
) -> None:
    model, collection = listening(reply=parrot), new_id()
    alone, remembering = Lags(), Lags()

    def forgetful(conversation: int) -> Callable[[str], Awaitable[str]]:
        return chain(model, ConversationBufferMemory())

    def memory(conversation: int) -> Callable[[str], Awaitable[str]]:
        session = f"s{conversation}"
        own = AgentMemMemory(session_id=session, collection=collection, async_client=client)
        return chain(model, own)

    answers = await alone.during(all_at_once(forgetful))
    assert answers == [expected(one) for one in range(CONVERSATIONS)]
    answers = await remembering.during(all_at_once(memory))
    assert answers == [expected(one) for one in range(CONVERSATIONS)]
    assert await stored(client, collection) == {
        f"s{one}": transcript(one) for one in range(CONVERSATIONS)
    }
    report(record_property, "chains", alone, remembering)


@pytest.mark.usefixtures("no_thread")
async def test_chains_that_recall(
    client: AsyncAgentMemClient,
    listening: type[Listening],
    record_property: Callable[[str, object], None],
) -> None:
    model, collection = listening(reply=lambda messages: "I see."), new_id()
    prompt = PromptTemplate.from_template("{recalled}\n\n{history}\n\n{input}")
    lags = Lags()

    def memory(conversation: int) -> Callable[[str], Awaitable[str]]:
        talk = AgentMemMemory(
            session_id=f"s{conversation}",
            user_id=f"u{conversation}",
            collection=collection,
            async_client=client,
            input_key="input",
            max_turns=1,
        )
        both = AgentMemCombinedMemory(memories=[talk, AgentMemRecallMemory(beside=talk)])
        return chain(model, both, prompt=prompt)

    await lags.during(all_at_once(memory))
    for given in model.given:
        recalled, history, question = given[0].text.split("\n\n")
        conversation, turn = question.rpartition(" ")[2], int(question.split()[3])
        mine = {f"Human: {said(int(conversation[:-1]), one)}" for one in range(turn)}
        newest = {f"Human: {said(int(conversation[:-1]), one)}" for one in range(turn)[-1:]}
        lines = {line.partition(") ")[2] for line in recalled.splitlines()}
        # "I see." stands in the window, and so is not recalled.
        assert lines - {"AI: I see."} == mine - newest
        assert {line for line in history.splitlines() if "Human" in line} == newest
    sessions = await stored(client, collection)
    assert {name: len(talk) for name, talk in sessions.items()} == {
        f"s{one}": 2 * TURNS for one in range(CONVERSATIONS)
    }
    report(record_property, "chains that recall", None, lags)


@pytest.mark.usefixtures("no_thread")
async def test_agents(
    client: AsyncAgentMemClient,
    listening: type[Listening],
    record_property: Callable[[str, object], None],
) -> None:
    model, collection = listening(reply=parrot), new_id()
    alone, remembering = Lags(), Lags()

    def agents(**options: Any) -> Callable[[int], Callable[[str], Awaitable[str]]]:
        agent = create_agent(model, checkpointer=InMemorySaver(), **options)

        def make(conversation: int) -> Callable[[str], Awaitable[str]]:
            configurable = {"thread_id": f"s{conversation}", "user_id": f"u{conversation}"}

            async def say(text: str) -> str:
                given: Any = {"messages": [HumanMessage(text)]}
                state = await agent.ainvoke(given, {"configurable": configurable})
                return str(state["messages"][-1].text)

            return say

        return make

    answers = await alone.during(all_at_once(agents()))
    assert answers == [expected(one) for one in range(CONVERSATIONS)]
    middleware: AgentMemMiddleware[None] = AgentMemMiddleware(
        collection=collection, async_client=client
    )
    answers = await remembering.during(all_at_once(agents(middleware=[middleware])))
    assert answers == [expected(one) for one in range(CONVERSATIONS)]
    assert await stored(client, collection) == {
        f"s{one}": transcript(one) for one in range(CONVERSATIONS)
    }
    report(record_property, "agents", alone, remembering)


def report(
    record_property: Callable[[str, object], None], what: str, alone: Lags | None, lags: Lags
) -> None:
    """Put the measure into the test's report, and on the screen where pytest shows it (-s)."""
    for name, measured in (("without memory", alone), ("with AgentMem", lags)):
        if measured is not None:
            record_property(f"{what}, {name}", str(measured))
            print(f"\n{CONVERSATIONS} {what}, {name}: {measured}")  # noqa: T201  # -s shows it
