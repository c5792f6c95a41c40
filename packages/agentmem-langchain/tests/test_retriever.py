"""The retriever, at the HTTP seam."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
from agentmem_client import F, ImportanceWeight, InvalidFilter, InvalidRequest
from agentmem_langchain import AgentMemRetriever
from langchain_core.documents import Document
from langchain_core.load import dumps
from langchain_core.runnables import ConfigurableField
from pydantic import ValidationError

if TYPE_CHECKING:
    from conftest import Fake, Way

METADATA = {"topic": "pets", "score": "mine", "deep": {"a": [1, None]}}


@pytest.fixture(autouse=True)
def hits(fake: Fake) -> None:
    fake.hits = [
        {
            **fake.record(id="b", content="Mia purrs.", metadata=METADATA, user_id="ann"),
            "score": 0.9,
        },
        {**fake.record(id="a", content="Rex barks.", session_id="s1"), "score": 0.2},
    ]


async def find(retriever: AgentMemRetriever, way: Way, **options: Any) -> list[Document]:
    if way == "sync":
        return retriever.invoke("cat?", **options)
    return await retriever.ainvoke("cat?", **options)


def asked(fake: Fake) -> list[dict[str, Any]]:
    """What was searched for, without what a retriever never sets."""
    unset = {"offset": 0, "include_embeddings": False}
    return [{k: v for k, v in body.items() if (k, v) not in unset.items()} for body in fake.bodies]


async def test_documents_are_the_memories_exactly(connection: dict[str, Any], way: Way) -> None:
    assert await find(AgentMemRetriever(**connection), way) == [
        Document("Mia purrs.", id="b", metadata=METADATA),
        Document("Rex barks.", id="a", metadata={}),
    ]


async def test_scores_are_had_beside_them(connection: dict[str, Any], way: Way) -> None:
    retriever = AgentMemRetriever(**connection)
    if way == "sync":
        scored = retriever.search_with_score("cat?", k=2)
    else:
        scored = await retriever.asearch_with_score("cat?", k=2)
    assert [(document.id, score) for document, score in scored] == [("b", 0.9), ("a", 0.2)]


async def test_all_fields_travel(connection: dict[str, Any], fake: Fake, way: Way) -> None:
    retriever = AgentMemRetriever(
        k=7,
        filter={"topic": "pets"},
        mode="hybrid",
        alpha=0.0,
        min_score=0.0,
        recency={"weight": 0.2, "half_life": 60},
        importance=ImportanceWeight(weight=0.1),
        collection="notes",
        user_id="ann",
        agent_id="guide",
        session_id="s1",
        **connection,
    )
    await find(retriever, way)
    assert asked(fake) == [
        {
            "query": "cat?",
            "limit": 7,
            "filters": {"topic": {"$eq": "pets"}},
            "mode": "hybrid",
            "alpha": 0.0,
            "min_score": 0.0,
            "recency": {"weight": 0.2, "half_life": 60.0},
            "importance": {"weight": 0.1},
            "collection": "notes",
            "user_id": "ann",
            "agent_id": "guide",
            "session_id": "s1",
        }
    ]


async def test_a_plain_retriever_restricts_nothing(
    connection: dict[str, Any], fake: Fake, way: Way
) -> None:
    await find(AgentMemRetriever(**connection), way)
    assert asked(fake) == [{"query": "cat?", "limit": 4, "collection": "default"}]


async def test_a_call_sets_its_own_options(
    connection: dict[str, Any], fake: Fake, way: Way
) -> None:
    retriever = AgentMemRetriever(k=7, mode="dense", alpha=1.0, min_score=0.5, **connection)
    weights = {"recency": {"weight": 0.0}, "importance": {"weight": 1.0}}
    await find(retriever, way, k=2, mode="hybrid", alpha=0.0, min_score=0.0, **weights)
    assert asked(fake) == [
        {
            "query": "cat?",
            "limit": 2,
            "mode": "hybrid",
            "alpha": 0.0,
            "min_score": 0.0,
            **weights,
            "collection": "default",
        }
    ]


PETS = {"topic": {"$eq": "pets"}}
LATE = {"year": {"$gte": 2025}}


@pytest.mark.parametrize(
    ("own", "extra", "sent"),
    [
        (None, {"topic": "pets"}, PETS),
        ({"topic": "pets"}, None, PETS),
        ({"topic": "pets"}, {}, PETS),
        ({}, F("year") >= 2025, LATE),
        (F("topic") == "pets", {"year": {"$gte": 2025}}, {"$and": [PETS, LATE]}),
        (
            {"$or": [PETS, LATE]},
            {"$not": LATE},
            {"$and": [{"$or": [PETS, LATE]}, {"$not": LATE}]},
        ),
    ],
)
async def test_a_calls_filter_narrows(
    own: Any, extra: Any, sent: Any, connection: dict[str, Any], fake: Fake, way: Way
) -> None:
    await find(AgentMemRetriever(filter=own, **connection), way, filter=extra)
    assert fake.bodies[0]["filters"] == sent


async def test_an_unknown_option_is_an_error(
    connection: dict[str, Any], fake: Fake, way: Way
) -> None:
    retriever = AgentMemRetriever(**connection)
    with pytest.raises(TypeError, match=r"unknown option 'filters': a call may set alpha, filter"):
        await find(retriever, way, filters={"topic": "pets"})
    with pytest.raises(TypeError, match="user_id"):
        await find(retriever, way, user_id="bob")
    assert fake.requests == []


async def test_a_wrong_option_is_an_error(connection: dict[str, Any], fake: Fake, way: Way) -> None:
    retriever = AgentMemRetriever(**connection)
    with pytest.raises(InvalidFilter, match=r"\$near"):
        await find(retriever, way, filter={"place": {"$near": 1}})
    with pytest.raises(InvalidRequest, match="limit"):
        await find(retriever, way, k=0)
    with pytest.raises(InvalidRequest, match="mode"):
        await find(retriever, way, mode="vague")
    assert fake.requests == []


@pytest.mark.parametrize(
    "fields",
    [
        {"k": 0},
        {"alpha": 1.5},
        {"recency": 0.5},
        {"mode": "vague"},
        {"filters": {}},
        {"user": "ann"},
    ],
)
def test_a_wrong_field_is_an_error(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        AgentMemRetriever(**fields)


def test_a_wrong_filter_is_an_error() -> None:
    with pytest.raises(InvalidFilter, match=r"\$near"):
        AgentMemRetriever(filter={"place": {"$near": 1}})


def test_the_key_is_in_no_repr_and_no_dump() -> None:
    retriever = AgentMemRetriever(api_url="http://localhost:1", api_key="hush-hush", user_id="ann")
    shown = [repr(retriever), str(retriever), dumps(retriever), str(retriever.model_dump())]
    shown += [retriever.model_dump_json(), repr(vars(retriever)), repr(retriever._clients)]
    assert "hush-hush" not in "".join(shown)
    assert "ann" in repr(retriever)


def test_it_can_be_copied(connection: dict[str, Any]) -> None:
    retriever = AgentMemRetriever(**connection)
    deep = (copy.deepcopy(retriever), retriever.model_copy(deep=True))
    for other in (copy.copy(retriever), *deep, retriever.model_copy(update={"user_id": "ann"})):
        assert len(other.invoke("cat?")) == 2


def test_it_can_be_configured_for_each_call(connection: dict[str, Any], fake: Fake) -> None:
    retriever = AgentMemRetriever(filter={"topic": "pets"}, **connection).configurable_fields(
        user_id=ConfigurableField(id="user_id")
    )
    retriever.invoke("cat?", config={"configurable": {"user_id": "ann"}})
    assert fake.bodies[0]["user_id"] == "ann"
    assert fake.bodies[0]["filters"] == PETS
