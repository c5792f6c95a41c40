import inspect
from importlib.resources import files

import agentmem_llamaindex
from agentmem_client import AgentMemError
from agentmem_llamaindex import AgentMemVectorStore, NodesNotAdded


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


def test_signature_of_the_store() -> None:
    assert str(inspect.signature(AgentMemVectorStore.__init__)) == (
        "(self, *, api_url: str | None = None, api_key: str | pydantic.types.SecretStr | None = "
        "None, collection: str = 'llamaindex', client: "
        "agentmem_client._sync.client.AgentMemClient | None = None, async_client: "
        "agentmem_client._async.client.AsyncAgentMemClient | None = None, **fields: Any) -> None"
    )


def test_errors_have_the_one_root() -> None:
    assert issubclass(NodesNotAdded, AgentMemError)


def test_types_are_published() -> None:
    assert (files(agentmem_llamaindex) / "py.typed").is_file()
