import inspect
from importlib.resources import files

import agentmem_llamaindex
import pytest
from agentmem_client import DEFAULT_COLLECTION as SERVER_COLLECTION
from agentmem_client import AgentMemError
from agentmem_llamaindex import (
    DEFAULT_COLLECTION,
    AgentMemChatStore,
    AgentMemMemoryBlock,
    AgentMemVectorStore,
    MessageError,
)

CONNECTION = {"api_url", "api_key", "client", "async_client"}


def test_public_surface() -> None:
    assert set(agentmem_llamaindex.__all__) == {
        "DEFAULT_COLLECTION",
        "AgentMemChatStore",
        "AgentMemMemoryBlock",
        "AgentMemVectorStore",
        "MessageError",
    }
    public = {
        name
        for name, value in vars(agentmem_llamaindex).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert public == set(agentmem_llamaindex.__all__)


@pytest.mark.parametrize("cls", [AgentMemVectorStore, AgentMemChatStore, AgentMemMemoryBlock])
def test_settings_are_keywords(cls: type) -> None:
    _, *parameters, rest = inspect.signature(cls.__init__).parameters.values()  # type: ignore[misc]  # of a class, not of an object
    assert {parameter.name for parameter in parameters} >= CONNECTION
    assert {parameter.kind for parameter in parameters} == {inspect.Parameter.KEYWORD_ONLY}
    assert rest.kind is inspect.Parameter.VAR_KEYWORD


def test_nodes_have_a_collection_of_their_own() -> None:
    # The server embeds what is in `default`; an index brings its vectors along.
    assert AgentMemVectorStore().collection == DEFAULT_COLLECTION == "llamaindex"
    assert AgentMemChatStore().collection == SERVER_COLLECTION
    assert AgentMemMemoryBlock().collection == SERVER_COLLECTION


def test_errors_have_the_one_root() -> None:
    assert issubclass(MessageError, AgentMemError)


def test_types_are_published() -> None:
    assert (files(agentmem_llamaindex) / "py.typed").is_file()
