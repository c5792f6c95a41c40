"""What the stores and the block have in common: settings, dumps, copies and pickles."""

import copy
import json
import pickle
from collections.abc import Iterator
from typing import Any, TypeAlias

import pytest
from agentmem_client import AgentMemError
from agentmem_llamaindex import AgentMemChatStore, AgentMemMemoryBlock, AgentMemVectorStore
from pydantic import ValidationError

KEY = "secret-key-4711"
Connected: TypeAlias = AgentMemVectorStore | AgentMemChatStore | AgentMemMemoryBlock

CLASSES = [AgentMemVectorStore, AgentMemChatStore, AgentMemMemoryBlock]
each_class = pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)


def copies(one: Connected) -> Iterator[Connected]:
    """The same, by every way that LlamaIndex or Python takes."""
    yield pickle.loads(pickle.dumps(one))
    yield type(one).model_validate(one.model_dump())
    yield type(one).model_validate_json(one.model_dump_json())
    yield type(one)(**one.model_dump())
    yield copy.copy(one)
    yield copy.deepcopy(one)
    yield one.model_copy()


@each_class
def test_the_key_is_in_nothing_that_is_shown_or_kept(
    cls: type[Connected], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AGENTMEM_API_KEY", raising=False)
    one = cls(api_url="http://one.test", api_key=KEY, collection="c")
    shown = [repr(one), str(one), str(one.model_dump()), one.model_dump_json(), str(vars(one))]
    assert not [text for text in shown if KEY in text]
    assert KEY.encode() not in pickle.dumps(one)
    assert json.loads(one.model_dump_json())["collection"] == "c"


@each_class
def test_copies_talk_to_the_same_server(cls: type[Connected]) -> None:
    one = cls(api_url="http://one.test", collection="c")
    for other in copies(one):
        assert (other.api_url, other.collection) == ("http://one.test", "c")
        assert "http://one.test" in repr(other._clients.sync)
        assert other.model_dump() == one.model_dump()


@each_class
@pytest.mark.parametrize("several", [list, tuple, ", ".join])
def test_several_servers_are_kept_by_copies(cls: type[Connected], several: Any) -> None:
    servers = ["http://one.test", "http://two.test"]
    one = cls(api_url=several(servers), collection="c")
    for each in (one, *copies(one)):
        assert repr(each._clients.sync) == f"AgentMemClient({servers})"
        assert each.model_dump() == one.model_dump()


@each_class
@pytest.mark.parametrize("api_url", [[], [1], ["http://one.test", "two"], {"http://one.test"}, 1])
def test_a_wrong_address_is_an_error_of_ours(cls: type[Connected], api_url: Any) -> None:
    with pytest.raises(AgentMemError, match="api_url"):
        cls(api_url=api_url)


def test_copies_keep_what_is_set() -> None:
    store = AgentMemChatStore(api_url="http://one.test", user_id="ann", searchable=True)
    for other in copies(store):
        assert (other.user_id, other.searchable) == ("ann", True)  # type: ignore[union-attr]  # a chat store
    block = AgentMemMemoryBlock(
        name="own", user_id="ann", similarity_top_k=3, filters={"topic": "pets"}, priority=4
    )
    for other in copies(block):
        assert isinstance(other, AgentMemMemoryBlock)
        assert (other.name, other.similarity_top_k, other.priority) == ("own", 3, 4)
        assert other.filters is not None
        assert other.filters.to_dict() == {"topic": {"$eq": "pets"}}


@each_class
def test_the_address_comes_from_the_environment(
    cls: type[Connected], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTMEM_API_URL", "http://env.test")
    assert "http://env.test" in repr(cls()._clients.sync)
    assert "http://one.test" in repr(cls(api_url="http://one.test")._clients.sync)


@each_class
def test_a_ready_client_excludes_other_settings(cls: type[Connected], seam: Any) -> None:
    with pytest.raises(AgentMemError, match="ready client"):
        cls(api_url="http://one.test", **seam.clients())


@each_class
def test_what_has_a_ready_client_is_not_pickled(cls: type[Connected], seam: Any) -> None:
    with pytest.raises(TypeError, match="ready client"):
        pickle.dumps(cls(**seam.clients()))


@each_class
def test_an_unknown_field_is_an_error(cls: type[Connected]) -> None:
    with pytest.raises(ValidationError, match="colection"):
        cls(colection="c")
