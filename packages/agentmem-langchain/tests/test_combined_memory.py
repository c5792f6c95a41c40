"""Several memories of a classic chain as one, without a thread when async."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from agentmem_langchain import AgentMemCombinedMemory, AgentMemMemory, AgentMemRecallMemory
from agentmem_langchain._messages import to_memory
from langchain_classic.memory import CombinedMemory
from langchain_core.messages import HumanMessage

if TYPE_CHECKING:
    from conftest import Fake, Way

pytestmark = pytest.mark.filterwarnings(
    "ignore::langchain_core._api.deprecation.LangChainDeprecationWarning"
)

INPUTS = {"input": "What do I do?"}


@pytest.fixture(params=[CombinedMemory, AgentMemCombinedMemory])
def combined(request: pytest.FixtureRequest, connection: dict[str, Any]) -> CombinedMemory:
    """LangChain's own, and ours."""
    talk = AgentMemMemory(session_id="s1", user_id="ann", input_key="input", **connection)
    memory: CombinedMemory = request.param(memories=[talk, AgentMemRecallMemory(beside=talk)])
    return memory


async def test_each_fills_its_variable_and_one_stores(
    combined: CombinedMemory, fake: Fake, way: Way
) -> None:
    fake.hits = [fake.record(id="1", score=1.0, **to_memory(HumanMessage("I sail.")))]
    if way == "sync":
        combined.save_context({**INPUTS, "history": "", "recalled": ""}, {"response": "You sail."})
        loaded = combined.load_memory_variables(INPUTS)
    else:
        await combined.asave_context(
            {**INPUTS, "history": "", "recalled": ""}, {"response": "You sail."}
        )
        loaded = await combined.aload_memory_variables(INPUTS)
    assert loaded["history"] == "Human: What do I do?\nAI: You sail."
    assert loaded["recalled"].endswith("Human: I sail.")
    assert [one["content"] for one in fake.records] == ["Human: What do I do?", "AI: You sail."]
    if way == "sync":
        combined.clear()
    else:
        await combined.aclear()
    assert fake.records == []


async def test_the_async_half_takes_no_thread(
    connection: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any) -> None:
        raise AssertionError("a thread was asked for")

    monkeypatch.setattr("asyncio.base_events.BaseEventLoop.run_in_executor", refuse)
    talk = AgentMemMemory(session_id="s1", user_id="ann", input_key="input", **connection)
    memory = AgentMemCombinedMemory(memories=[talk, AgentMemRecallMemory(beside=talk)])
    await memory.aload_memory_variables(INPUTS)
    await memory.asave_context(INPUTS, {"response": "You sail."})
    await memory.aclear()
