"""The memory of an agent: whose it is, and what goes wrong. At the HTTP seam."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from agentmem_client import AgentMemError, ConnectionFailed, InvalidFilter, InvalidRequest
from agentmem_langchain import AgentMemMiddleware, MessageError
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from pydantic import BaseModel, ValidationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Ask, Fake, Listening

    Ann = Callable[..., AgentMemMiddleware]


@pytest.fixture
def ann(connection: dict[str, Any]) -> Ann:
    """Makes middleware for one user."""

    def make(**options: Any) -> AgentMemMiddleware:
        return AgentMemMiddleware(**{"user_id": "ann", **connection, **options})

    return make


@dataclass
class Context:
    user_id: str | int | UUID | None = None
    agent_id: str | None = None
    session_id: str | None = None


class Model(BaseModel):
    user_id: str


USER = UUID("9b1f4dd2-6b5e-4c0c-8f0e-2a1f3a9a7c55")


@pytest.mark.parametrize(
    ("options", "context", "configurable", "scope"),
    [
        ({}, Context("bob", "cook", "s9"), {}, ("bob", "cook", "s9")),
        ({}, {"user_id": "bob"}, {}, ("bob", None, "t1")),
        ({}, Model(user_id="bob"), {}, ("bob", None, "t1")),
        ({}, Context(7), {}, ("7", None, "t1")),
        ({}, Context(USER), {}, (str(USER), None, "t1")),
        ({}, None, {"user_id": "bob", "session_id": "s9"}, ("bob", None, "s9")),
        ({}, Context("bob"), {"user_id": "eve"}, ("bob", None, "t1")),
        ({"user_id": "ann"}, Context("bob"), {}, ("ann", None, "t1")),
        ({"user_id": lambda run: run.context}, "bob", {}, ("bob", None, "t1")),
        ({"session_id": "s1", "agent_id": "a1"}, Context("bob"), {}, ("bob", "a1", "s1")),
        ({"require_user": False}, None, {}, (None, None, "t1")),
    ],
)
async def test_whose_memory_it_is(
    connection: dict[str, Any],
    fake: Fake,
    listening: type[Listening],
    options: dict[str, Any],
    context: Any,
    configurable: dict[str, Any],
    scope: tuple[str | None, ...],
    ask: Ask,
) -> None:
    agent = create_agent(
        listening.saying("a"),
        middleware=[AgentMemMiddleware(**options, **connection)],
        context_schema=type(context),
    )
    config = {"configurable": {"thread_id": "t1", **configurable}}
    await ask(agent, "one", config=config, context=context)
    search, batch = fake.bodies
    assert (search.get("user_id"), search.get("agent_id")) == scope[:2]
    for one in batch["memories"]:
        assert tuple(one.get(f"{name}_id") for name in ("user", "agent", "session")) == scope


async def test_a_missing_user_is_an_error_before_the_model_is_called(
    ann: Ann, fake: Fake, listening: type[Listening], ask: Ask
) -> None:
    model = listening.saying("a")
    for middleware in (ann(user_id=None), ann(user_id=lambda _: None, on_error="log")):
        with pytest.raises(InvalidRequest, match="names no user"):
            await ask(create_agent(model, middleware=[middleware]), "one")
    assert (model.given, fake.requests) == ([], [])


async def test_without_a_thread_each_run_is_a_session_of_its_own(
    ann: Ann, fake: Fake, listening: type[Listening], ask: Ask
) -> None:
    agent = create_agent(listening.saying("a", "b"), middleware=[ann()])
    for said in ("one", "two"):
        await ask(agent, said)
    sessions = [one["session_id"] for one in fake.records]
    assert sessions[0] == sessions[1]
    assert sessions[2] == sessions[3]
    assert len(set(sessions)) == 2


async def test_a_memory_that_is_away_fails_the_agent(
    ann: Ann, fake: Fake, listening: type[Listening], ask: Ask
) -> None:
    fake.down = True
    model = listening.saying("a")
    with pytest.raises(ConnectionFailed):
        await ask(create_agent(model, middleware=[ann()]), "one")
    assert model.given == []


async def test_or_the_agent_goes_on_with_a_warning(
    ann: Ann,
    fake: Fake,
    listening: type[Listening],
    caplog: pytest.LogCaptureFixture,
    ask: Ask,
) -> None:
    fake.down = True
    agent = create_agent(listening.saying("a"), middleware=[ann(on_error="log")])
    messages = await ask(agent, "one")
    assert messages[-1].text == "a"
    recalled, stored = [one for one in caplog.records if one.name.startswith("agentmem_langchain")]
    assert recalled.levelname == stored.levelname == "WARNING"
    assert "nothing was recalled: ConnectionFailed" in recalled.getMessage()
    assert "the messages were not stored: ConnectionFailed" in stored.getMessage()


async def test_a_message_that_can_not_be_stored(
    ann: Ann,
    fake: Fake,
    listening: type[Listening],
    caplog: pytest.LogCaptureFixture,
    ask: Ask,
) -> None:
    odd = HumanMessage("one", additional_kwargs={"frame": object()})
    with pytest.raises(MessageError, match="frame"):
        await ask(create_agent(listening.saying("a"), middleware=[ann()]), [odd])
    assert fake.records == []
    agent = create_agent(listening.saying("a"), middleware=[ann(on_error="log")])
    await ask(agent, [odd])
    assert fake.contents == ["AI: a"]
    assert "a message was not stored: MessageError" in caplog.text


def test_wrong_settings_are_found_at_once(ann: Ann) -> None:
    with pytest.raises(ValueError, match=r"needs \{memories\}"):
        ann(template="Known: {memory}")
    with pytest.raises(ValueError, match="on_error"):
        ann(on_error="ignore")
    for option in (
        {"k": 0},
        {"mode": "fuzzy"},
        {"alpha": 2.0},
        {"min_score": "high"},
        {"recency": 1},
    ):
        with pytest.raises(ValidationError):
            ann(**option)
    with pytest.raises(InvalidFilter):
        ann(filter={"a": {"$near": 1}})
    with pytest.raises(AgentMemError, match="either"):
        ann(api_url="http://localhost:1")


def test_the_key_is_in_no_repr() -> None:
    middleware = AgentMemMiddleware(api_url="http://localhost:1", api_key="hush-hush")
    assert "hush-hush" not in repr(middleware) + repr(vars(middleware))


def test_there_may_be_several_servers() -> None:
    servers = ["http://one.test", "http://two.test"]
    middleware: Any = AgentMemMiddleware(user_id="ann", api_url=servers)
    assert repr(middleware._clients) == f"ClientPair({servers})"
