"""The vector store on a real server process."""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from agentmem_client import (
    AgentMemClient,
    AsyncAgentMemClient,
    ConnectionFailed,
    EmbedderMismatch,
    F,
    InvalidRequest,
    NotAllStored,
    new_id,
)
from agentmem_langchain import AgentMemVectorStore
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.indexing import InMemoryRecordManager, aindex, index

if TYPE_CHECKING:
    from conftest import Server, Way


class Points(Embeddings):
    """Finds the vector in the text: that of "east 1 0" is [1.0, 0.0]."""

    def embed_query(self, text: str) -> list[float]:
        return [float(number) for number in re.findall(r"-?\d+(?:\.\d+)?", text)]

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]


async def call(store: Any, way: Way, name: str, *args: Any, **options: Any) -> Any:
    """Call a method of the store, or its async twin."""
    if way == "sync":
        return getattr(store, name)(*args, **options)
    return await getattr(store, f"a{name}")(*args, **options)


def ids(documents: list[Document]) -> list[str | None]:
    return [document.id for document in documents]


PLACES = [
    Document("east 1 0", id="east", metadata={"side": "right", "n": 1, "tags": ["sea"]}),
    Document("eastish 1 0.01", id="eastish", metadata={"side": "right", "n": 2}),
    Document("up 0.6 0.8", id="up", metadata={"side": "right", "n": 3}),
    Document("west -1 0", id="west", metadata={"side": "left", "n": 4}),
]


@pytest.fixture
def points(clients: dict[str, Any]) -> AgentMemVectorStore:
    """A store with an embedding of the caller's."""
    store = AgentMemVectorStore(Points(), collection=new_id(), **clients)
    store.add_documents(PLACES)
    return store


PETS = [
    Document("Mia the cat sleeps on the sofa.", id="cat", metadata={"topic": "pets", "n": 1}),
    Document("Rex the dog chases the ball.", id="dog", metadata={"topic": "pets", "n": 2}),
    Document("The car needs new tyres.", id="car", metadata={"topic": "car", "n": 3}),
]


@pytest.fixture
def texts(clients: dict[str, Any]) -> AgentMemVectorStore:
    """A store for which the server embeds."""
    store = AgentMemVectorStore(collection=new_id(), **clients)
    store.add_documents(PETS)
    return store


async def test_scores_are_cosines(points: AgentMemVectorStore, way: Way) -> None:
    found = await call(points, way, "similarity_search_with_score", "look 2 0")
    assert ids([document for document, _ in found]) == ["east", "eastish", "up", "west"]
    assert [score for _, score in found] == pytest.approx([1, 0.99995, 0.6, -1], abs=1e-5)
    by_vector = await call(points, way, "similarity_search_with_score_by_vector", [2.0, 0.0])
    assert by_vector == found
    relevant = await call(points, way, "similarity_search_with_relevance_scores", "look 2 0")
    scores = [score for _, score in relevant]
    assert scores == pytest.approx([1, 0.999975, 0.8, 0], abs=1e-5)
    assert all(0 <= score <= 1 for score in scores)
    near = await call(
        points, way, "similarity_search_with_relevance_scores", "look 2 0", score_threshold=0.75
    )
    assert ids([document for document, _ in near]) == ["east", "eastish", "up"]


@pytest.mark.parametrize(
    ("metric", "scores", "relevances"),
    [
        ("dot", [2.005, 2, 1.6, -2], [0.8336, 0.8333, 0.8077, 0.1667]),
        ("euclidean", [0.4731, 0.4721, 0.4112, 0.2474], [0.4731, 0.4721, 0.4112, 0.2474]),
    ],
)
async def test_other_metrics(
    metric: Any, scores: list[float], relevances: list[float], clients: dict[str, Any], way: Way
) -> None:
    name = new_id()
    clients["client"].create_collection(name, dimension=2, metric=metric, embedder="client")
    store = AgentMemVectorStore(Points(), collection=name, **clients)
    await call(store, way, "add_documents", PLACES)
    found = await call(store, way, "similarity_search_with_score", "look 2 0.5")
    assert ids([document for document, _ in found]) == ["eastish", "east", "up", "west"]
    assert [score for _, score in found] == pytest.approx(scores, abs=1e-4)
    relevant = await call(store, way, "similarity_search_with_relevance_scores", "look 2 0.5")
    assert [document for document, _ in relevant] == [document for document, _ in found]
    assert [score for _, score in relevant] == pytest.approx(relevances, abs=1e-4)


async def test_what_differs_is_preferred(points: AgentMemVectorStore, way: Way) -> None:
    async def find(what: Any, name: str, **options: Any) -> list[str | None]:
        return ids(await call(points, way, name, what, k=2, **options))

    assert await find("1 0", "similarity_search") == ["east", "eastish"]
    name = "max_marginal_relevance_search"
    for what, search in (("1 0", name), ([1.0, 0.0], f"{name}_by_vector")):
        assert await find(what, search, lambda_mult=1.0) == ["east", "eastish"]
        assert await find(what, search, lambda_mult=0.3) == ["east", "west"]
        assert await find(what, search, lambda_mult=0.3, fetch_k=3) == ["east", "up"]
        assert await find(what, search, fetch_k=1, lambda_mult=0.3) == ["east", "eastish"]
        assert await find(what, search, lambda_mult=0.3, filter=F("n") >= 2) == ["eastish", "west"]


async def test_what_differs_is_preferred_where_the_server_embeds(
    texts: AgentMemVectorStore, way: Way
) -> None:
    again = Document("Mia, the cat, sleeps on a sofa.", id="again")
    await call(texts, way, "add_documents", [again])
    query = "the cat Mia sleeping on the sofa"
    assert set(ids(await call(texts, way, "similarity_search", query, k=2))) == {"cat", "again"}
    name = "max_marginal_relevance_search"
    for options in ({}, {"mode": "hybrid", "alpha": 0.5}):
        found = ids(await call(texts, way, name, query, k=2, lambda_mult=0.2, **options))
        assert found[0] in ("cat", "again")
        assert found[1] in ("dog", "car")
    with pytest.raises(InvalidRequest, match="mmr compares vectors"):
        await call(texts, way, name, query, mode="sparse")


FILTERS: list[tuple[Any, set[str]]] = [
    ({"side": "left"}, {"west"}),
    (F("n").between(2, 3), {"eastish", "up"}),
    ({"$or": [{"n": {"$lt": 2}}, {"n": {"$gt": 3}}]}, {"east", "west"}),
    (F("tags").contains("sea") | (F("side") == "left"), {"east", "west"}),
    ({"@id": {"$in": ["up", "nowhere"]}}, {"up"}),
    ({"n": "1"}, set()),
    ({}, {"east", "eastish", "up", "west"}),
]


@pytest.mark.parametrize(("condition", "admitted"), FILTERS)
async def test_every_search_keeps_to_its_filter(
    condition: Any, admitted: set[str], points: AgentMemVectorStore, way: Way
) -> None:
    by_text: list[tuple[str, Any]] = [
        ("similarity_search", "1 0"),
        ("max_marginal_relevance_search", "1 0"),
        ("similarity_search_by_vector", [1.0, 0.0]),
        ("max_marginal_relevance_search_by_vector", [1.0, 0.0]),
    ]
    for name, what in by_text:
        found = await call(points, way, name, what, filter=condition)
        assert (name, set(ids(found))) == (name, admitted)
    scored: list[tuple[str, Any]] = [
        ("similarity_search_with_score", "1 0"),
        ("similarity_search_with_relevance_scores", "1 0"),
        ("similarity_search_with_score_by_vector", [1.0, 0.0]),
    ]
    for name, what in scored:
        pairs = await call(points, way, name, what, filter=condition)
        assert (name, {document.id for document, _ in pairs}) == (name, admitted)


async def test_words_count_where_a_call_wants_it(points: AgentMemVectorStore, way: Way) -> None:
    query = "west 1 0"  # its vector is that of the east
    assert ids(await call(points, way, "similarity_search", query, k=1)) == ["east"]
    words = {"filter": {"side": {"$exists": True}}, "mode": "sparse"}
    (best, score), *_ = await call(points, way, "similarity_search_with_score", query, **words)
    assert (best.id, score > 0) == ("west", True)
    for alpha, expected in ((0.0, "west"), (1.0, "east")):
        found = await call(points, way, "similarity_search", query, mode="hybrid", alpha=alpha)
        assert ids(found)[0] == expected
        assert len(found) == 4
    with pytest.raises(InvalidRequest, match="alpha weighs the channels"):
        await call(points, way, "similarity_search", query, alpha=0.5)


async def test_the_server_embeds(texts: AgentMemVectorStore, way: Way) -> None:
    assert texts.embeddings is None
    (best, score), *others = await call(texts, way, "similarity_search_with_score", "a feline")
    assert best == PETS[0]
    assert len(others) == 2
    assert 1 > score > others[0][1] > -1
    assert await call(texts, way, "similarity_search", "a feline", min_score=score) == [best]
    hybrid = await call(texts, way, "similarity_search", "tyres", mode="hybrid", k=1)
    assert ids(hybrid) == ["car"]
    words = await call(texts, way, "similarity_search", "dog", mode="sparse")
    assert ids(words) == ["dog"]
    stored = texts._clients.sync.get("dog", collection=texts.collection, include_embeddings=True)
    assert stored.embedding is not None
    like = await call(texts, way, "similarity_search_by_vector", stored.embedding, k=1)
    assert ids(like) == ["dog"]


async def test_any_id_and_any_metadata_come_back(clients: dict[str, Any], way: Way) -> None:
    metadata = {
        "id": 1,
        "text": "mine",
        "": None,
        "a.b": {"$c": [1, 2.5, True, None, {"é": "\u2028"}]},
        "@type": "x",
        "big": 2**70,
    }
    names = ["1", "a/b c?d#e%", "Ü\u00adñ🙂", "x" * 512, " "]
    for embedding in (None, Points()):
        store = AgentMemVectorStore(embedding, collection=new_id(), **clients)
        documents = [Document("east 1 0", id=name, metadata=metadata) for name in names]
        assert await call(store, way, "add_documents", documents) == names
        assert await call(store, way, "get_by_ids", [*reversed(names), "2"]) == documents[::-1]
        found = await call(store, way, "similarity_search", "east 1 0", k=9)
        assert sorted(map(str, ids(found))) == sorted(names)
        assert all(document.metadata == metadata for document in found)
        changed = Document("west 0 1", id="1", metadata={"new": True})
        assert await call(store, way, "add_documents", [changed]) == ["1"]
        assert await call(store, way, "get_by_ids", ["1"]) == [changed]
        assert await call(store, way, "delete", names) is True
        assert await call(store, way, "similarity_search", "east 1 0") == []


async def test_delete_what_meets_every_criterion(points: AgentMemVectorStore, way: Way) -> None:
    async def left() -> set[str | None]:
        return set(ids(points.get_by_ids(["east", "eastish", "up", "west"])))

    assert await call(points, way, "delete", None) is False
    assert await call(points, way, "delete", []) is True
    assert await call(points, way, "delete", ["nowhere"]) is True
    assert await call(points, way, "delete", [], filter={"side": "right"}) is True
    assert len(await left()) == 4
    await call(points, way, "delete", ["west", "up"], filter={"side": "right"})
    assert await left() == {"east", "eastish", "west"}
    await call(points, way, "delete", filter=F("n") == 2)
    assert await left() == {"east", "west"}
    await call(points, way, "delete", ["west"])
    assert await left() == {"east"}
    await call(points, way, "delete", everything=True)
    assert await left() == set()
    await call(points, way, "add_documents", PLACES)  # it still is a collection of two numbers
    assert len(await left()) == 4


async def test_a_store_keeps_to_its_scope(clients: dict[str, Any], way: Way) -> None:
    name = new_id()
    of_ann, of_bob, of_all = (
        AgentMemVectorStore(collection=name, user_id=user, **clients)
        for user in ("ann", "bob", None)
    )
    await call(of_ann, way, "add_texts", ["Ann has a cat.", "Ann has a car."], ids=["1", "2"])
    await call(of_bob, way, "add_texts", ["Bob has a cat."], ids=["3"])
    every = ["1", "2", "3"]

    async def seen(store: AgentMemVectorStore) -> list[str]:
        found = set(ids(await call(store, way, "similarity_search", "cat")))
        assert set(ids(await call(store, way, "get_by_ids", every))) == found
        assert set(ids(await call(store, way, "max_marginal_relevance_search", "cat"))) == found
        return sorted(map(str, found))

    assert [await seen(store) for store in (of_ann, of_bob, of_all)] == [["1", "2"], ["3"], every]
    await call(of_bob, way, "delete", every)
    assert [await seen(store) for store in (of_ann, of_bob)] == [["1", "2"], []]
    await call(of_bob, way, "add_texts", ["Bob has a cat."], ids=["3"])
    await call(of_ann, way, "delete", everything=True)
    assert [await seen(store) for store in (of_ann, of_bob, of_all)] == [[], ["3"], ["3"]]


async def test_a_partly_failed_batch_loses_nothing(clients: dict[str, Any], way: Way) -> None:
    store = AgentMemVectorStore(Points(), collection=new_id(), **clients)
    await call(store, way, "add_documents", PLACES[:1])
    batch = [
        Document("fine 0 1"),
        Document("three 1 2 3"),
        Document("no vector"),
        Document("odd 1 1", metadata={"when": {1, 2}}),
        Document("fine too 1 1", id="known"),
    ]
    with pytest.raises(NotAllStored, match="3 of 5 were not stored") as raised:
        await call(store, way, "add_documents", batch)
    outcomes = raised.value.results
    assert [one.status for one in outcomes] == ["stored", "failed", "failed", "failed", "stored"]
    codes = [one.error.code for one in raised.value.failures if one.error]
    assert codes == ["dimension_mismatch", "invalid_request", "invalid_request"]
    assert raised.value.stored == [outcomes[0].id, "known"]
    assert await call(store, way, "get_by_ids", [str(one.id) for one in outcomes]) == [
        Document("fine 0 1", id=outcomes[0].id),
        batch[4],
    ]
    again = [str(one.id) for one in raised.value.failures]
    mended = [Document("three 1 2"), Document("vector 1 2"), Document("odd 1 1")]
    assert await call(store, way, "add_documents", mended, ids=again) == again
    assert len(await call(store, way, "similarity_search", "1 0", k=10)) == 6


async def test_one_collection_embeds_in_one_way(clients: dict[str, Any], way: Way) -> None:
    points = AgentMemVectorStore(Points(), collection=new_id(), **clients)
    await call(points, way, "add_documents", PLACES)
    server = AgentMemVectorStore(collection=points.collection, **clients)
    with pytest.raises(NotAllStored) as raised:
        await call(server, way, "add_texts", ["a cat"])
    assert raised.value.failures[0].error is not None
    assert raised.value.failures[0].error.code == "embedder_mismatch"
    with pytest.raises(EmbedderMismatch, match="mode 'dense' compares vectors"):
        await call(server, way, "similarity_search", "east")
    assert ids(await call(server, way, "similarity_search", "east", mode="sparse")) == ["east"]


async def test_a_large_batch_is_stored_whole(clients: dict[str, Any], way: Way) -> None:
    store = AgentMemVectorStore(Points(), collection=new_id(), **clients)
    texts = [f"{number} 1" for number in range(2_500)]
    added = await call(store, way, "add_texts", texts, batch_size=1_000)
    assert len(set(added)) == 2_500
    found = await call(store, way, "get_by_ids", added)
    assert [document.page_content for document in found] == texts


@pytest.mark.parametrize("kind", ["points", "texts"])
async def test_the_retrievers_of_a_store(
    kind: str, points: AgentMemVectorStore, texts: AgentMemVectorStore, way: Way
) -> None:
    store = points if kind == "points" else texts
    query, best, none = ("1 0", "east", "-1 -2") if kind == "points" else ("feline", "cat", "xyz")

    async def find(search_type: str, what: str = query, **options: Any) -> list[str | None]:
        retriever = store.as_retriever(search_type=search_type, search_kwargs=options)
        return ids(retriever.invoke(what) if way == "sync" else await retriever.ainvoke(what))

    assert (await find("similarity", k=2))[0] == best
    assert len(await find("similarity", k=2)) == 2
    assert await find("similarity", filter={"n": 3}) == ["up" if kind == "points" else "car"]
    hybrid = await find("similarity", mode="hybrid", alpha=0.9, k=1)
    assert hybrid == [best]
    assert (await find("mmr", fetch_k=3, lambda_mult=0.2, k=2))[0] == best
    assert (await find("similarity_score_threshold", score_threshold=0.1))[0] == best
    assert best not in await find("similarity_score_threshold", none, score_threshold=0.95)


async def test_langchains_index_works_on_it(clients: dict[str, Any], way: Way) -> None:
    store = AgentMemVectorStore(collection=new_id(), **clients)
    record_manager = InMemoryRecordManager(store.collection)
    record_manager.create_schema()

    async def run(documents: list[Document]) -> Any:
        options: dict[str, Any] = {"cleanup": "full", "key_encoder": "sha256"}
        if way == "sync":
            return index(documents, record_manager, store, **options)
        return await aindex(documents, record_manager, store, **options)

    documents = [Document(document.page_content, metadata=document.metadata) for document in PETS]
    counts = {"num_added": 3, "num_updated": 0, "num_skipped": 0, "num_deleted": 0}
    assert await run(documents) == counts
    counts = {"num_added": 0, "num_updated": 0, "num_skipped": 2, "num_deleted": 1}
    assert await run(documents[:2]) == counts
    left = await call(store, way, "similarity_search", "car", k=9)
    assert {document.page_content for document in left} == {
        document.page_content for document in documents[:2]
    }


def test_many_threads_share_a_store(clients: dict[str, Any]) -> None:
    store = AgentMemVectorStore(Points(), collection=new_id(), client=clients["client"])

    def write(number: int) -> None:
        angle = f"{number} 1"
        (id_,) = store.add_texts([angle], ids=[f"own {number}"])
        store.add_texts([angle], ids=["shared"])
        (found,) = store.similarity_search(angle, k=1, filter={"@id": id_})
        assert found.page_content == angle

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(40)))
    assert len(store.similarity_search("1 1", k=100)) == 41


async def test_many_tasks_share_a_store(clients: dict[str, Any]) -> None:
    store = AgentMemVectorStore(Points(), collection=new_id(), **clients)

    async def write(number: int) -> None:
        angle = f"{number} 1"
        (id_,) = await store.aadd_texts([angle])
        (found,) = await store.asimilarity_search(angle, k=1, filter={"@id": id_})
        assert found.page_content == angle

    await asyncio.gather(*(write(number) for number in range(40)))
    assert len(await store.asimilarity_search("1 1", k=100)) == 40


def test_every_event_loop_is_served(server: Server) -> None:
    store = AgentMemVectorStore(Points(), collection=new_id(), api_url=server.url)
    for number in range(3):
        asyncio.run(store.aadd_texts([f"{number} 1"]))
    assert len(asyncio.run(store.asimilarity_search("1 1"))) == 3
    assert len(store.similarity_search("1 1")) == 3
    store._clients.close()


async def test_a_server_that_is_not_there_is_an_error(way: Way) -> None:
    url = "http://127.0.0.1:9"
    with AgentMemClient(url, max_retries=0) as client:
        async with AsyncAgentMemClient(url, max_retries=0) as async_client:
            store = AgentMemVectorStore(client=client, async_client=async_client)
            with pytest.raises(ConnectionFailed):
                await call(store, way, "similarity_search", "cat")
            with pytest.raises(ConnectionFailed):
                await call(store, way, "delete", ["1"])
            with pytest.raises(NotAllStored) as raised:
                await call(store, way, "add_texts", ["a", "b"], ids=["1", "2"])
    codes = [one.error.code for one in raised.value.failures if one.error]
    assert codes == ["connection_failed", "connection_failed"]
