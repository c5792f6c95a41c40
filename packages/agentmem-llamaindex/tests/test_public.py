import inspect
from importlib.resources import files

import agentmem_llamaindex
from agentmem_client import AgentMemError
from agentmem_llamaindex import DEFAULT_COLLECTION, AgentMemVectorStore, NodesNotAdded


def test_public_surface() -> None:
    assert set(agentmem_llamaindex.__all__) == {
        "DEFAULT_COLLECTION",
        "AgentMemVectorStore",
        "NodesNotAdded",
    }
    public = {
        name
        for name, value in vars(agentmem_llamaindex).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert public == set(agentmem_llamaindex.__all__)


def test_settings_of_the_store_are_keywords() -> None:
    _, *parameters, rest = inspect.signature(AgentMemVectorStore.__init__).parameters.values()
    assert {parameter.name: parameter.default for parameter in parameters} == {
        "api_url": None,
        "api_key": None,
        "collection": DEFAULT_COLLECTION,
        "client": None,
        "async_client": None,
    }
    assert {parameter.kind for parameter in parameters} == {inspect.Parameter.KEYWORD_ONLY}
    assert rest.kind is inspect.Parameter.VAR_KEYWORD


def test_errors_have_the_one_root() -> None:
    assert issubclass(NodesNotAdded, AgentMemError)


def test_types_are_published() -> None:
    assert (files(agentmem_llamaindex) / "py.typed").is_file()
