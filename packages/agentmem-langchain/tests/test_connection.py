"""Where the servers are: the same for everything that talks to them."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from agentmem_client import AgentMemError, ClientPair
from agentmem_langchain import (
    AgentMemChatMessageHistory,
    AgentMemMemory,
    AgentMemRecallMemory,
    AgentMemRetriever,
    AgentMemStore,
    AgentMemVectorStore,
    get_memory_tools,
)

SERVERS = ["http://one.test", "http://two.test"]

each = pytest.mark.parametrize(
    "make",
    [
        AgentMemChatMessageHistory,
        AgentMemMemory,
        partial(AgentMemRecallMemory, user_id="ann"),
        AgentMemRetriever,
        AgentMemStore,
        AgentMemVectorStore,
        partial(get_memory_tools, user_id="ann"),
    ],
    ids=lambda make: getattr(make, "func", make).__name__,
)


@pytest.fixture
def pairs(monkeypatch: pytest.MonkeyPatch) -> list[ClientPair]:
    """The pairs of clients that are made."""
    made: list[ClientPair] = []
    init = ClientPair.__init__

    def spied(self: ClientPair, *args: Any, **fields: Any) -> None:
        init(self, *args, **fields)
        made.append(self)

    monkeypatch.setattr(ClientPair, "__init__", spied)
    return made


@each
@pytest.mark.parametrize("several", [list, tuple, ",".join])
def test_there_may_be_several_servers(
    make: Callable[..., object], several: Callable[[list[str]], Any], pairs: list[ClientPair]
) -> None:
    assert make(api_url=several(SERVERS)) is not None
    assert [repr(pair) for pair in pairs] == [f"ClientPair({SERVERS})"]


@each
def test_there_must_be_one(make: Callable[..., object]) -> None:
    with pytest.raises(AgentMemError, match="at least one"):
        make(api_url=[])
