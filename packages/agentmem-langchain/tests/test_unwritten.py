"""Which messages of an agent's state are still to be written."""

from typing import Any

from agentmem_langchain._unwritten import Progress, begun, keys, memory_id, unwritten
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage


def everything(message: BaseMessage) -> bool:
    return True


def contents(progress: Progress, messages: list[BaseMessage]) -> list[str]:
    return [one.text for one in unwritten(progress, messages, everything).values()]


def test_the_key_of_a_message_is_its_id() -> None:
    assert keys([HumanMessage("a", id="1"), AIMessage("a", id="2")]) == ["1", "2"]


def test_without_one_it_is_what_the_message_says_and_how_often_it_was_said() -> None:
    talk: list[BaseMessage] = [HumanMessage("yes"), AIMessage("yes"), HumanMessage("yes")]
    assert len(set(keys(talk))) == 3
    assert keys(talk) == keys([one.model_copy() for one in talk])
    assert keys([*talk, HumanMessage("no")])[:3] == keys(talk)
    odd = HumanMessage("\ud800", additional_kwargs={"frame": (1, {2})})
    assert keys([odd]) == keys([odd.model_copy()])


def test_a_first_run_takes_what_comes_before_the_last_answer_for_written() -> None:
    talk: list[BaseMessage] = [HumanMessage("a"), AIMessage("b"), HumanMessage("c")]
    assert contents(begun(talk, "s"), talk) == ["c"]
    assert contents(begun(talk[:2], "s"), talk[:2]) == []
    assert contents(begun(talk[:1], "s"), talk[:1]) == ["a"]
    assert contents(begun([], "s"), []) == []


def test_what_was_noted_comes_first_and_may_have_left_the_state() -> None:
    gone, kept = HumanMessage("gone", id="1"), HumanMessage("before", id="2")
    progress: Progress = {"seen": ["0"], "pending": {"1": gone, "2": kept}, "session_id": "s"}
    state = [AIMessage("old", id="0"), AIMessage("new", id="3"), HumanMessage("after", id="2")]
    assert contents(progress, state) == ["gone", "after", "new"]
    assert contents({**progress, "pending": {}}, state) == ["new", "after"]


@given(st.lists(st.lists(st.sampled_from("abc"), max_size=3), max_size=5), st.booleans())
def test_over_any_runs_each_message_is_written_once(runs: list[list[str]], with_ids: bool) -> None:
    state: list[BaseMessage] = []
    written: list[str] = []
    progress: Progress | None = None
    for said in runs:
        for text in said:
            state.append(HumanMessage(text, id=str(len(state)) if with_ids else None))
        progress = progress or begun(state, "s")
        progress = {**progress, "pending": unwritten(progress, state, everything)}
        state.append(AIMessage("!", id=f"answer {len(state)}"))
        written += contents(progress, state)
        progress = {**progress, "seen": keys(state), "pending": {}}
    assert written == [one.text for one in state]


def test_the_id_of_a_memory_is_that_of_key_and_scope() -> None:
    scope: dict[str, Any] = {"user_id": "ann", "agent_id": None, "session_id": "s1"}
    ids = {
        memory_id("1", scope),
        memory_id("1", dict(reversed(scope.items()))),
        memory_id("2", scope),
        memory_id("1", {**scope, "user_id": "bob"}),
        memory_id("1", {**scope, "agent_id": "ann", "user_id": None}),
        memory_id("1", {**scope, "session_id": "s2"}),
    }
    assert len(ids) == 5
