"""What a LangGraph store finds for a query: by the server's vectors, by the caller's, by words."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pytest
from agentmem_client import Conflict, DimensionMismatch, new_id
from agentmem_langchain import AgentMemStore
from langchain_core.embeddings import Embeddings
from langgraph.store.base import PutOp, SearchOp

if TYPE_CHECKING:
    from conftest import StoreCalls

DIMS = 128


class Letters(Embeddings):
    """Texts as the counts of their characters: equal texts have the cosine 1."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.asked.append(list(texts))
        return [vector(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        self.asked.append([text])
        return vector(text)


def vector(text: str) -> list[float]:
    counts = Counter(text)
    return [float(counts[chr(code)]) for code in range(DIMS)]


def cosine(one: str, other: str) -> float:
    a, b = vector(one), vector(other)
    return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))


@pytest.fixture
def embeddings() -> Letters:
    return Letters()


@pytest.fixture
def make_own(
    make_store: Callable[..., StoreCalls], embeddings: Letters
) -> Callable[..., StoreCalls]:
    """Makes stores with vectors of the caller's."""

    def make(fields: list[str] | None = None, **options: Any) -> StoreCalls:
        return make_store(index={"dims": DIMS, "embed": embeddings, "fields": fields}, **options)

    return make


async def found(store: StoreCalls, query: str, **options: Any) -> list[str]:
    return [item.key for item in await store("search", ("test",), query=query, **options)]


async def test_it_finds_by_meaning_with_nothing_set_up(store: StoreCalls) -> None:
    await store("put", ("test",), "cat", {"text": "Mia sleeps on the sofa and purrs."})
    await store("put", ("test",), "car", {"text": "The engine needs new oil."})
    await store("put", ("other",), "cat", {"text": "Tom is a cat."})
    best, *others = await store("search", ("test",), query="a feline pet")
    assert best.key == "cat"
    assert best.value == {"text": "Mia sleeps on the sofa and purrs."}
    assert 0 < best.score <= 1
    assert [item.key for item in others] == ["car"]
    assert await found(store, "oil") == ["car", "cat"]
    assert await found(store, "oil", limit=1, offset=1) == ["cat"]
    assert await found(store, "oil", filter={"text": {"$ne": "The engine needs new oil."}}) == [
        "cat"
    ]


async def test_an_update_is_found_by_what_it_says_now(store: StoreCalls) -> None:
    await store("put", ("test",), "a", {"text": "zebra"})
    await store("put", ("test",), "b", {"text": "engine"})
    assert (await found(store, "zebra"))[0] == "a"
    await store("put", ("test",), "a", {"text": "piston"})
    await store("put", ("test",), "b", {"text": "zebra"})
    assert (await found(store, "zebra"))[0] == "b"


async def test_the_server_embeds_the_fields(make_store: Callable[..., StoreCalls]) -> None:
    store = make_store(index={"fields": ["title", "notes[*].body"]}, mode="dense")
    value = {"title": "Holidays", "notes": [{"body": "We sail."}, {"body": "We swim."}]}
    await store("put", ("test",), "trip", value)
    await store("put", ("test",), "hidden", {"secret": "We sail."})
    await store("put", ("test",), "own", {"title": "Bills", "secret": "We sail."}, ["secret"])
    items = await store("search", ("test",), query="We sail.")
    assert {item.key for item in items} == {"trip", "own"}
    assert [item.score for item in items] == [pytest.approx(1, abs=1e-3)] * 2


async def test_what_is_not_indexed_is_only_listed(make_store: Callable[..., StoreCalls]) -> None:
    store = make_store()
    await store("put", ("test",), "seen", {"text": "cats"})
    await store("put", ("test",), "unseen", {"text": "cats"}, False)
    assert await found(store, "cats") == ["seen"]
    assert await found(store, "") == ["unseen", "seen"]
    assert (await store("get", ("test",), "unseen")).value == {"text": "cats"}
    await store("put", ("test",), "seen", {"text": "cats"}, index=False)
    assert await found(store, "cats") == []


async def test_without_an_index_a_query_lists(make_store: Callable[..., StoreCalls]) -> None:
    store = make_store(index=False)
    await store("put", ("test",), "a", {"text": "cats"}, index=["text"])
    await store("put", ("test",), "b", {"text": "dogs"})
    items = await store("search", ("test",), query="cats")
    assert [(item.key, item.score) for item in items] == [("b", None), ("a", None)]


async def test_modes(make_store: Callable[..., StoreCalls]) -> None:
    collection = new_id()
    words = make_store(collection=collection, mode="sparse")
    await words("put", ("test",), "cat", {"text": "Mia the cat"})
    await words("put", ("test",), "car", {"text": "the engine"})
    assert await found(words, "cat") == ["cat"]
    assert await found(words, "feline") == []
    meaning = make_store(collection=collection, mode="dense")
    best, other = await meaning("search", ("test",), query="feline")
    assert (best.key, other.key) == ("cat", "car")
    assert -1 <= other.score < best.score <= 1


async def test_own_vectors_are_compared_by_cosine(
    make_own: Callable[..., StoreCalls], embeddings: Letters
) -> None:
    store = make_own(["key0"])
    await store("put", ("test",), "doc", {"key0": "aaab"}, index=["key0", "key1"])
    for query in ("aaab", "aaa", "abcd", "zz"):
        (item,) = await store("search", (), query=query)
        assert item.score == pytest.approx(cosine("aaab", query), abs=1e-6)
    assert embeddings.asked == [["aaab"], ["aaab"], ["aaa"], ["abcd"], ["zz"]]


async def test_of_several_vectors_the_best_one_counts(
    make_own: Callable[..., StoreCalls], embeddings: Letters
) -> None:
    store = make_own(["key0", "key1", "key3", "list[*]"])
    one = {"key1": "xxx", "key2": "yyy", "key3": "zzz", "list": []}  # key0 is missing
    two = {"key0": "uuu", "key1": "vvv", "key2": "www", "list": ["xxx", "ttt"]}
    await store("batch", [PutOp(("test",), "one", one), PutOp(("test",), "two", two)])
    assert embeddings.asked == [["xxx", "zzz", "uuu", "vvv", "ttt"]]  # each text once

    async def scores(query: str) -> list[tuple[str, float]]:
        items = await store("search", ("test",), query=query)
        return [(item.key, round(item.score, 3)) for item in items]

    assert sorted(await scores("xxx")) == [("one", 1), ("two", 1)]
    assert await scores("uuu") == [("two", 1), ("one", 0)]
    assert await scores("zzz") == [("one", 1), ("two", 0)]
    assert sorted(await scores("www")) == [("one", 0), ("two", 0)]  # not indexed


async def test_own_vectors_with_filters_pages_and_updates(
    make_own: Callable[..., StoreCalls],
) -> None:
    store = make_own(["text"])
    texts = ["red apple", "red car", "green apple", "blue car"]
    for number, text in enumerate(texts):
        value = {"text": text, "color": text.partition(" ")[0], "score": 3 + number / 2}
        await store("put", ("test",), f"doc{number}", value)
    await store("put", ("test",), "hidden", {"text": "red apple", "color": "red"}, False)
    await store("put", ("test",), "no text", {"color": "red"})
    assert await found(store, "apple", filter={"color": "red"}) == ["doc0", "doc1"]
    assert await found(store, "car", filter={"color": "red"}) == ["doc1", "doc0"]
    assert await found(store, "apple", filter={"score": {"$gte": 4}, "color": "green"}) == ["doc2"]
    best = await found(store, "blue", limit=10)
    assert best[0] == "doc3"
    assert await found(store, "blue", limit=2) + await found(store, "blue", limit=2, offset=2) == (
        best
    )
    assert len(await found(store, "")) == 6
    await store("put", ("test",), "doc3", {"text": "zzz"})
    assert (await found(store, "blue"))[-1] == "doc3"


async def test_own_vectors_and_keywords(make_own: Callable[..., StoreCalls]) -> None:
    collection = new_id()
    hybrid = make_own(["text"], mode="hybrid", collection=collection)
    await hybrid("put", ("test",), "tac", {"text": "tac", "note": "cat"})
    await hybrid("put", ("test",), "cat", {"text": "cat"})
    assert await found(hybrid, "cat") == ["cat", "tac"]  # the same letters, but the word
    sparse = make_own(["text"], mode="sparse", collection=collection)
    assert await found(sparse, "cat") == ["cat"]


async def test_a_batch_embeds_each_text_once(
    make_own: Callable[..., StoreCalls], embeddings: Letters
) -> None:
    store = make_own(["text"])
    ops = [PutOp(("test",), str(number), {"text": "same"}) for number in range(3)]
    await store("batch", [*ops, PutOp(("test",), "0", {"text": "other"})])
    assert embeddings.asked == [["other", "same"]]
    embeddings.asked.clear()
    searches = [SearchOp(("test",), query=query) for query in ("same", "other", "same", "")]
    answers = await store("batch", searches)
    assert sorted(embeddings.asked) == [["other"], ["same"]]
    assert answers[0] == answers[2]
    assert answers[1][0].key == "0"
    assert len(answers[3]) == 3


async def test_unindexed_items_may_come_first(make_own: Callable[..., StoreCalls]) -> None:
    store = make_own(["text"])
    await store("put", ("test",), "unseen", {"text": "cats"}, index=False)
    await store("put", ("test",), "seen", {"text": "cats"})
    assert await found(store, "cats") == ["seen"]


def many_texts(texts: Sequence[str]) -> list[list[float]]:
    return [vector(text) for text in texts]


async def amany_texts(texts: Sequence[str]) -> list[list[float]]:
    return many_texts(texts)


async def test_a_function_is_enough(make_store: Callable[..., StoreCalls]) -> None:
    store = make_store(index={"dims": DIMS, "embed": many_texts})
    await store("put", ("test",), "a", {"text": "cats"})
    assert await found(store, "cats") == ["a"]


async def test_an_async_function_serves_the_async_methods(clients: dict[str, Any]) -> None:
    index: Any = {"dims": DIMS, "embed": amany_texts, "fields": ["text"]}
    store = AgentMemStore(index=index, collection=new_id(), **clients)
    await store.aput(("test",), "a", {"text": "cats"})
    (item,) = await store.asearch(("test",), query="cats")
    assert item.score == pytest.approx(1)
    with pytest.raises(ValueError, match="async"):
        store.put(("test",), "b", {"text": "dogs"})
    with pytest.raises(ValueError, match="async"):
        store.search(("test",), query="dogs")
    assert [one.key for one in store.search(("test",))] == ["a"]


async def test_wrong_vectors_are_errors(make_store: Callable[..., StoreCalls]) -> None:
    short = make_store(index={"dims": DIMS, "embed": lambda texts: [[1.0]] * len(texts)})
    with pytest.raises(DimensionMismatch):
        await short("put", ("test",), "a", {"text": "cats"})
    few = make_store(index={"dims": DIMS, "embed": lambda _: [[1.0] * DIMS]})
    ops = [PutOp(("test",), str(number), {"n": number}) for number in range(2)]
    with pytest.raises(ValueError, match="embed gave 1 vectors for 2 texts"):
        await few("batch", ops)
    for store in (short, few):
        assert await store("search", ()) == []


async def test_a_collection_has_one_way_of_embedding(
    make_store: Callable[..., StoreCalls], make_own: Callable[..., StoreCalls]
) -> None:
    collection = new_id()
    await make_store(collection=collection)("put", ("test",), "a", {"text": "cats"})
    own = make_own(collection=collection)
    with pytest.raises(Conflict, match="use another name"):
        await own("put", ("test",), "b", {"text": "dogs"})
    # One that searches nothing fits any.
    await make_store(collection=collection, index=False)("put", ("test",), "b", {"text": "dogs"})
    assert len(await own("search", ("test",))) == 2
