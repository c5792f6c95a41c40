"""The vector store, at the HTTP seam."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
from agentmem_client import AgentMemError, F, InvalidFilter, InvalidRequest, NotAllStored
from agentmem_client.vectors import pack, to_base64
from agentmem_langchain import AgentMemVectorStore
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings

if TYPE_CHECKING:
    from conftest import Fake, Way

VECTOR = [1.0, 0.5]
PACKED = to_base64(pack(VECTOR))
METADATA = {"topic": "pets", "score": "mine", "id": 7, "deep": {"a": [1, None]}}
SCOPED: dict[str, Any] = {
    "collection": "notes",
    "user_id": "ann",
    "agent_id": "guide",
    "session_id": "s1",
}
LATE: dict[str, Any] = {"recency": {"weight": 0.5, "by": "created_at"}}
PETS = {"topic": {"$eq": "pets"}}


class Recorder(Embeddings):
    """Embeds everything alike, and remembers what it was asked, and in which half."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.asked.append(("sync", texts))
        return [VECTOR for _ in texts]

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        self.asked.append(("async", texts))
        return [VECTOR for _ in texts]

    def embed_query(self, text: str) -> list[float]:
        self.asked.append(("sync", text))
        return VECTOR

    async def aembed_query(self, text: str) -> list[float]:
        self.asked.append(("async", text))
        return VECTOR


async def call(store: Any, way: Way, name: str, *args: Any, **options: Any) -> Any:
    """Call a method of the store, or its async twin."""
    if way == "sync":
        return getattr(store, name)(*args, **options)
    return await getattr(store, f"a{name}")(*args, **options)


def asked(fake: Fake) -> list[dict[str, Any]]:
    """What was searched for, without what a store never sets."""
    unset = {"offset": 0, "include_embeddings": False}
    return [{k: v for k, v in body.items() if (k, v) not in unset.items()} for body in fake.bodies]


async def test_texts_travel_as_they_are(connection: dict[str, Any], fake: Fake, way: Way) -> None:
    store = AgentMemVectorStore(**SCOPED, **connection)
    metadatas = [METADATA, {}]
    before = copy.deepcopy(metadatas)
    ids = await call(store, way, "add_texts", iter(["a", "b"]), metadatas, ids=["1", None])
    assert metadatas == before
    assert ids[0] == "1"
    assert [body["memories"] for body in fake.bodies] == [
        [
            {"id": "1", "content": "a", "metadata": METADATA, **SCOPED},
            {"id": ids[1], "content": "b", "metadata": {}, **SCOPED},
        ]
    ]


async def test_an_embedding_makes_the_vectors(
    connection: dict[str, Any], fake: Fake, way: Way
) -> None:
    embedding = Recorder()
    store = AgentMemVectorStore(embedding, **connection)
    await call(store, way, "add_texts", ["a", "b"])
    assert embedding.asked == [(way, ["a", "b"])]
    (body,) = fake.bodies
    assert [memory["embedding"] for memory in body["memories"]] == [PACKED, PACKED]
    assert {memory["collection"] for memory in body["memories"]} == {"langchain"}
    assert store.embeddings is embedding


async def test_the_embedding_is_given_so_many_at_a_time(
    connection: dict[str, Any], fake: Fake, way: Way
) -> None:
    embedding = Recorder()
    store = AgentMemVectorStore(embedding, **connection)
    documents = [Document(text) for text in "abcde"]
    await call(store, way, "add_documents", documents, batch_size=2)
    assert embedding.asked == [(way, ["a", "b"]), (way, ["c", "d"]), (way, ["e"])]
    assert len(fake.records) == 5
    with pytest.raises(ValueError, match="batch_size must be 1 or more, not 0"):
        await call(store, way, "add_documents", documents, batch_size=0)


async def test_each_document_has_an_id(connection: dict[str, Any], fake: Fake, way: Way) -> None:
    store = AgentMemVectorStore(**connection)
    documents = [Document("a", id="own", metadata=METADATA), Document("b"), Document("c")]
    before = copy.deepcopy(documents)
    first = await call(store, way, "add_documents", documents)
    second = await call(store, way, "add_documents", documents[1:])
    assert documents == before
    assert first[0] == "own"
    assert len({*first, *second}) == 5
    assert await call(store, way, "add_documents", documents, ids=["1", "2", "3"]) == [*"123"]
    assert [one["id"] for one in fake.records] == [*first, *second, *"123"]


async def test_there_are_as_many_of_each(connection: dict[str, Any], fake: Fake, way: Way) -> None:
    store = AgentMemVectorStore(**connection)
    with pytest.raises(ValueError, match="as many metadatas as texts: 1 for 2"):
        await call(store, way, "add_texts", ["a", "b"], [{}])
    with pytest.raises(ValueError, match="as many ids as texts: 0 for 2"):
        await call(store, way, "add_texts", ["a", "b"], ids=[])

    with pytest.raises(ValueError, match="put the one into a list"):
        await call(store, way, "add_texts", "a text")

    class Short(Recorder):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return super().embed_documents(texts)[1:]

        async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
            return (await super().aembed_documents(texts))[1:]

    with pytest.raises(ValueError, match="made 1 vectors of 2 texts"):
        await call(AgentMemVectorStore(Short(), **connection), way, "add_texts", ["a", "b"])
    assert fake.requests == []


async def test_nothing_to_add_needs_no_request(
    connection: dict[str, Any], fake: Fake, way: Way
) -> None:
    for store in (AgentMemVectorStore(**connection), AgentMemVectorStore(Recorder(), **connection)):
        assert await call(store, way, "add_texts", []) == []
        assert await call(store, way, "add_documents", [], batch_size=10) == []
    assert fake.requests == []


async def test_what_is_refused_is_told_with_all_outcomes(
    connection: dict[str, Any], fake: Fake, way: Way
) -> None:
    store = AgentMemVectorStore(**connection)
    texts = ["a", "b\0", "c", "d"]
    metadatas: list[dict[str, Any]] = [{}, {}, {}, {"now": object()}]
    with pytest.raises(NotAllStored, match="2 of 4 were not stored") as raised:
        await call(store, way, "add_texts", texts, metadatas)
    error = raised.value
    assert [one.status for one in error.results] == ["stored", "failed", "stored", "failed"]
    assert error.stored == [one["id"] for one in fake.records]
    assert [one["content"] for one in fake.records] == ["a", "c"]
    assert [failure.id for failure in error.failures] == [error.results[1].id, error.results[3].id]
    assert all(one.id for one in error.results)
    assert "NUL" in str(error)
    assert "must be JSON" in str(error)


async def test_a_long_list_of_failures_is_told_shortly(
    connection: dict[str, Any], fake: Fake, way: Way
) -> None:
    fake.refuse = "embedder_mismatch"
    store = AgentMemVectorStore(**connection)
    ids = [str(number) for number in range(40)]
    with pytest.raises(NotAllStored) as raised:
        await call(store, way, "add_texts", ["a"] * 40, ids=ids)
    expected = "40 of 40 were not stored: '0', '1', '2' and 37 more: no"
    assert str(raised.value) == expected
    assert [one.id for one in raised.value.failures] == ids
    assert raised.value.failures[0].error is not None
    assert raised.value.failures[0].error.code == "embedder_mismatch"
    assert isinstance(raised.value, AgentMemError)


@pytest.mark.parametrize("embedding", [None, Recorder()])
async def test_a_store_is_made_with_its_documents(
    embedding: Recorder | None, connection: dict[str, Any], fake: Fake, way: Way
) -> None:
    place = {"collection": "notes", "user_id": "ann", **connection}
    documents = [Document("a", metadata={"n": 1}, id="1"), Document("b")]
    if way == "sync":
        by_texts = AgentMemVectorStore.from_texts(["c"], embedding, [METADATA], ids=["3"], **place)
        AgentMemVectorStore.from_documents(documents, embedding, **place)
        AgentMemVectorStore.from_documents(documents, embedding, ids=["4", "5"], **place)
    else:
        by_texts = await AgentMemVectorStore.afrom_texts(
            ["c"], embedding, [METADATA], ids=["3"], **place
        )
        await AgentMemVectorStore.afrom_documents(documents, embedding, **place)
        await AgentMemVectorStore.afrom_documents(documents, embedding, ids=["4", "5"], **place)
    assert by_texts.embeddings is embedding
    ids = [one["id"] for one in fake.records]
    assert (ids[:2], ids[3:]) == (["3", "1"], ["4", "5"])
    assert {(one["collection"], one["user_id"]) for one in fake.records} == {("notes", "ann")}
    assert [one["metadata"] for one in fake.records[:2]] == [METADATA, {"n": 1}]
    assert all(("embedding" in one) == (embedding is not None) for one in fake.records)


@pytest.mark.parametrize("name", ["similarity_search", "similarity_search_with_score"])
async def test_a_search_is_dense(
    name: str, connection: dict[str, Any], fake: Fake, way: Way
) -> None:
    await call(AgentMemVectorStore(**connection), way, name, "cat?")
    await call(AgentMemVectorStore(Recorder(), **SCOPED, **connection), way, name, "cat?", 7)
    plain = {"query": "cat?", "mode": "dense"}
    assert asked(fake) == [
        {**plain, "limit": 4, "collection": "langchain"},
        {**plain, "limit": 7, "embedding": PACKED, **SCOPED},
    ]


@pytest.mark.parametrize("name", ["similarity_search", "similarity_search_with_score"])
async def test_a_search_takes_options(
    name: str, connection: dict[str, Any], fake: Fake, way: Way
) -> None:
    embedding = Recorder()
    store = AgentMemVectorStore(embedding, **connection)
    weights = {**LATE, "importance": {"weight": 0.0}}
    hybrid = {"mode": "hybrid", "alpha": 0.0, "min_score": 0.0, **weights}
    await call(store, way, name, "cat?", k=2, filter={"topic": "pets"}, **hybrid)
    assert embedding.asked == [(way, "cat?")]
    await call(store, way, name, "cat?", filter=F("topic") == "pets", mode="sparse", alpha=None)
    assert embedding.asked == [(way, "cat?")]  # keywords need no vector
    common = {"query": "cat?", "filters": PETS, "collection": "langchain"}
    assert asked(fake) == [
        {**common, **hybrid, "limit": 2, "embedding": PACKED},
        {**common, "mode": "sparse", "limit": 4},
    ]


@pytest.mark.parametrize(
    "name", ["similarity_search_by_vector", "similarity_search_with_score_by_vector"]
)
async def test_a_search_by_vector(
    name: str, connection: dict[str, Any], fake: Fake, way: Way
) -> None:
    store = AgentMemVectorStore(**SCOPED, **connection)
    await call(store, way, name, VECTOR, 2, filter={"topic": "pets"}, min_score=0.0, **LATE)
    assert asked(fake) == [
        {
            "embedding": PACKED,
            "mode": "dense",
            "limit": 2,
            "filters": PETS,
            "min_score": 0.0,
            **LATE,
            **SCOPED,
        }
    ]


async def test_a_search_for_what_differs(connection: dict[str, Any], fake: Fake, way: Way) -> None:
    embedding = Recorder()
    store = AgentMemVectorStore(embedding, **SCOPED, **connection)
    name = "max_marginal_relevance_search"
    await call(store, way, name, "cat?", mode="hybrid", alpha=0.3, filter=F("topic") == "pets")
    await call(store, way, f"{name}_by_vector", VECTOR, k=2, fetch_k=9, lambda_mult=0.0)
    assert embedding.asked == [(way, "cat?")]
    assert asked(fake) == [
        {
            "query": "cat?",
            "embedding": PACKED,
            "mode": "hybrid",
            "alpha": 0.3,
            "filters": PETS,
            "limit": 4,
            "mmr": {"fetch_k": 20, "lambda_mult": 0.5},
            **SCOPED,
        },
        {
            "embedding": PACKED,
            "mode": "dense",
            "limit": 2,
            "mmr": {"fetch_k": 9, "lambda_mult": 0.0},
            **SCOPED,
        },
    ]


BY_TEXT = [
    "similarity_search",
    "similarity_search_with_score",
    "similarity_search_with_relevance_scores",
    "max_marginal_relevance_search",
]
BY_VECTOR = [
    "similarity_search_by_vector",
    "similarity_search_with_score_by_vector",
    "max_marginal_relevance_search_by_vector",
]


@pytest.mark.parametrize("name", BY_TEXT + BY_VECTOR)
async def test_a_wrong_option_is_an_error(
    name: str, connection: dict[str, Any], fake: Fake, way: Way
) -> None:
    embedding = Recorder()
    store = AgentMemVectorStore(embedding, **connection)
    what: Any = VECTOR if name in BY_VECTOR else "cat?"
    with pytest.raises(TypeError, match="unknown option 'filters': a call may set"):
        await call(store, way, name, what, filters={"topic": "pets"})
    with pytest.raises(TypeError, match="unknown option 'user_id'"):
        await call(store, way, name, what, user_id="bob")
    with pytest.raises(InvalidFilter, match=r"\$near"):
        await call(store, way, name, what, filter={"place": {"$near": 1}})
    assert embedding.asked == []
    with pytest.raises(InvalidRequest, match="limit"):
        await call(store, way, name, what, k=0)
    assert fake.requests == []


@pytest.mark.parametrize("name", BY_VECTOR)
async def test_a_vector_has_no_words_to_look_for(
    name: str, connection: dict[str, Any], fake: Fake, way: Way
) -> None:
    with pytest.raises(TypeError, match="unknown option 'mode': a call may set filter, import"):
        await call(AgentMemVectorStore(**connection), way, name, VECTOR, mode="hybrid")
    assert fake.requests == []


@pytest.mark.parametrize("name", ["add_texts", "add_documents", "delete"])
async def test_writing_takes_no_unknown_option(
    name: str, connection: dict[str, Any], fake: Fake, way: Way
) -> None:
    with pytest.raises(TypeError, match="namespace"):
        await call(AgentMemVectorStore(**connection), way, name, [], namespace="x")
    assert fake.requests == []


def hit(fake: Fake, score: float, **fields: Any) -> dict[str, Any]:
    return {**fake.record(**fields), "score": score}


async def test_documents_are_the_memories_exactly(
    connection: dict[str, Any], fake: Fake, way: Way
) -> None:
    fake.hits = [hit(fake, 0.9, id="b", content="Mia purrs.", metadata=METADATA, user_id="ann")]
    store = AgentMemVectorStore(**connection)
    expected = Document("Mia purrs.", id="b", metadata=METADATA)
    assert await call(store, way, "similarity_search", "cat?") == [expected]
    assert await call(store, way, "similarity_search_by_vector", VECTOR) == [expected]
    assert await call(store, way, "similarity_search_with_score", "cat?") == [(expected, 0.9)]
    assert await call(store, way, "similarity_search_with_score_by_vector", VECTOR) == [
        (expected, 0.9)
    ]
    assert await call(store, way, "max_marginal_relevance_search", "cat?") == [expected]


@pytest.mark.parametrize(
    ("metric", "scores", "expected"),
    [
        ("cosine", [1.0000001, 0.5, 0.0, -1.0], [1.0, 0.75, 0.5, 0.0]),
        ("dot", [99.0, 1.0, 0.0, -3.0], [0.995, 0.75, 0.5, 0.125]),
        ("euclidean", [1.0, 0.5, 0.01], [1.0, 0.5, 0.01]),
    ],
)
async def test_relevance_follows_the_metric_of_the_collection(
    metric: str,
    scores: list[float],
    expected: list[float],
    connection: dict[str, Any],
    fake: Fake,
    way: Way,
) -> None:
    fake.metric = metric
    fake.hits = [hit(fake, score, id="a", content="a") for score in scores]
    store = AgentMemVectorStore(collection="notes/1", **connection)
    for _ in range(2):
        found = await call(store, way, "similarity_search_with_relevance_scores", "cat?")
        assert [score for _, score in found] == pytest.approx(expected)
    paths = [request.url.raw_path.decode() for request in fake.requests]
    assert paths.count("/api/v1/collections/notes%2F1") == 1
    assert len(paths) == 3
    near = await call(
        store, way, "similarity_search_with_relevance_scores", "cat?", score_threshold=0.6
    )
    assert [score for _, score in near] == pytest.approx([one for one in expected if one >= 0.6])


async def test_each_half_has_its_own_client(
    connection: dict[str, Any], fake: Fake, way: Way
) -> None:
    fake.metric = "cosine"
    fake.hits = [hit(fake, 0.5, id="a", content="a")]
    own = "client" if way == "sync" else "async_client"
    store = AgentMemVectorStore(**{own: connection[own]})  # there can be no other one
    ((_, score),) = await call(store, way, "similarity_search_with_relevance_scores", "cat?")
    assert score == 0.75


async def test_relevance_may_be_the_callers(
    connection: dict[str, Any], fake: Fake, way: Way
) -> None:
    fake.hits = [hit(fake, 40.0, id="a", content="a")]
    store = AgentMemVectorStore(relevance_score_fn=lambda score: score / 100, **connection)
    ((_, score),) = await call(store, way, "similarity_search_with_relevance_scores", "cat?")
    assert score == 0.4
    assert len(fake.requests) == 1


async def test_nothing_found_has_no_relevance(
    connection: dict[str, Any], fake: Fake, way: Way
) -> None:
    store = AgentMemVectorStore(**connection)
    assert await call(store, way, "similarity_search_with_relevance_scores", "cat?") == []
    assert store._select_relevance_score_fn()(0.0) == 0.5
    fake.metric = "euclidean"  # there was no collection: what was assumed is not kept
    assert store._select_relevance_score_fn()(0.0) == 0.0


@pytest.mark.parametrize("mode", ["hybrid", "sparse"])
async def test_only_dense_scores_say_how_relevant(
    mode: str, connection: dict[str, Any], fake: Fake, way: Way
) -> None:
    store = AgentMemVectorStore(**connection)
    name = "similarity_search_with_relevance_scores"
    with pytest.raises(ValueError, match=f"the mode 'dense', and this is '{mode}'"):
        await call(store, way, name, "cat?", mode=mode)
    with pytest.raises(ValueError, match="of relevance alone, and recency is weighed too"):
        await call(store, way, name, "cat?", **LATE)
    assert fake.requests == []
    await call(store, way, name, "cat?", mode="dense")
    assert asked(fake)[0]["mode"] == "dense"


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        ({"ids": ["1", "2"]}, {"ids": ["1", "2"]}),
        ({"filter": {"topic": "pets"}}, {"filters": PETS}),
        ({"ids": ["1"], "filter": F("topic") == "pets"}, {"ids": ["1"], "filters": PETS}),
        ({"ids": ["1"], "filter": {}}, {"ids": ["1"]}),
        ({"everything": True}, {"everything": True}),
    ],
)
async def test_delete(
    options: Any, sent: Any, connection: dict[str, Any], fake: Fake, way: Way
) -> None:
    assert await call(AgentMemVectorStore(**connection), way, "delete", **options) is True
    assert await call(AgentMemVectorStore(**SCOPED, **connection), way, "delete", **options) is True
    told = [{k: v for k, v in body.items() if v is not False} for body in fake.bodies]
    scoped = {name: value for name, value in sent.items() if name != "everything"}
    assert told == [{**sent, "collection": "langchain"}, {**scoped, **SCOPED}]


@pytest.mark.parametrize(
    ("options", "answer"),
    [({}, False), ({"ids": None}, False), ({"filter": {}}, False), ({"ids": []}, True)],
)
async def test_nothing_said_is_nothing_deleted(
    options: Any, answer: bool, connection: dict[str, Any], fake: Fake, way: Way
) -> None:
    for place in (connection, SCOPED | connection):
        store = AgentMemVectorStore(**place)
        assert await call(store, way, "delete", **options) is answer
    assert fake.requests == []


@pytest.mark.parametrize("beside", [{"ids": ["1"]}, {"ids": []}, {"filter": {}}])
async def test_everything_stands_alone(
    beside: Any, connection: dict[str, Any], fake: Fake, way: Way
) -> None:
    with pytest.raises(ValueError, match="give no ids and no filter with it"):
        await call(AgentMemVectorStore(**connection), way, "delete", everything=True, **beside)
    assert fake.requests == []


async def test_get_by_ids_keeps_to_the_scope(
    connection: dict[str, Any], fake: Fake, way: Way
) -> None:
    fake.records = [
        fake.record(id="1", content="a", collection="notes", user_id="ann", agent_id="guide"),
        fake.record(id="2", content="b", collection="notes", user_id="bob"),
        fake.record(id="3", content="c", collection="notes"),
    ]
    wanted = ["3", "2", "nowhere", "1"]
    store = AgentMemVectorStore(collection="notes", **connection)
    found = await call(store, way, "get_by_ids", wanted)
    assert [document.id for document in found] == ["3", "2", "1"]
    of_ann = AgentMemVectorStore(collection="notes", user_id="ann", **connection)
    assert await call(of_ann, way, "get_by_ids", wanted) == [Document("a", id="1")]
    elsewhere = AgentMemVectorStore(collection="notes", user_id="ann", agent_id="x", **connection)
    assert await call(elsewhere, way, "get_by_ids", wanted) == []


def test_the_key_is_in_no_repr() -> None:
    store = AgentMemVectorStore(api_url="http://localhost:1", api_key="hush-hush", collection="c")
    retriever = store.as_retriever()
    assert "hush-hush" not in "".join([repr(store), repr(vars(store)), repr(retriever)])
    assert repr(store) == "AgentMemVectorStore(collection='c')"


def test_a_retriever_says_what_it_is_on(connection: dict[str, Any]) -> None:
    assert AgentMemVectorStore(**connection).as_retriever().tags == ["AgentMemVectorStore"]
    with_embedding = AgentMemVectorStore(Recorder(), **connection).as_retriever()
    assert with_embedding.tags == ["AgentMemVectorStore", "Recorder"]
