"""Batches: each item's own outcome, or all of them or none."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
from agentmem_client import models as m
from agentmem_server.embedding import EmbedderUnavailable
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tests.conftest import OpenApi

pytestmark = pytest.mark.every_engine

API = "/api/v1/memories"
Json = dict[str, Any]


async def send(
    api: httpx.AsyncClient, *memories: object, atomic: bool = False
) -> list[m.AddResult]:
    answer = await api.post(f"{API}/batch", json={"memories": memories, "atomic": atomic})
    assert answer.status_code == 200, answer.text
    return m.BatchAnswer.model_validate_json(answer.content).results


async def stored(api: httpx.AsyncClient, collection: str = "default") -> dict[str, str]:
    answer = await api.get(API, params={"collection": collection, "limit": 1_000})
    return {one["id"]: one["content"] for one in answer.json()["memories"]}


def outcomes(results: Sequence[m.AddResult]) -> list[tuple[str | None, str]]:
    return [(result.id, result.status) for result in results]


BAD: list[tuple[object, str, str]] = [
    (None, "invalid_request", "object"),
    ("text", "invalid_request", "object"),
    ([], "invalid_request", "object"),
    ({}, "invalid_request", "content: Field required"),
    ({"content": 5}, "invalid_request", "content: .*string"),
    ({"content": "a", "color": "red"}, "invalid_request", "color: .*not permitted"),
    ({"content": "a", "id": ""}, "invalid_request", "id: .*at least 1"),
    ({"content": "a", "id": "a" * 513}, "invalid_request", "id: .*at most 512"),
    ({"content": "a", "id": 7}, "invalid_request", "id: .*string"),
    ({"content": "a\0"}, "invalid_request", "content: .*NUL"),
    ({"content": "a", "metadata": []}, "invalid_request", "metadata: "),
    ({"content": "a", "importance": 2}, "invalid_request", "importance: .*equal to 1"),
    ({"content": "a", "event_at": "soon"}, "invalid_request", "event_at: "),
    ({"content": "a", "event_at": 5}, "invalid_request", "event_at: .*time such as"),
    ({"content": "a", "expires_at": "9999-12-31T23:59:59-14:00"}, "invalid_request", "expires_at"),
    ({"content": "a", "embedding": []}, "invalid_request", "embedding: .*at least one"),
    ({"content": "a", "embedding": [1.0]}, "embedder_mismatch", "give no embedding"),
    ({"content": "a", "collection": "client"}, "embedder_mismatch", "give an embedding"),
    (
        {"content": "a", "collection": "client", "embedding": [1.0, 2.0, 3.0]},
        "dimension_mismatch",
        "2 numbers, not 3",
    ),
]


@pytest.mark.parametrize("place", [0, 1, 2])
async def test_one_bad_item_fails_alone_and_says_why(api: httpx.AsyncClient, place: int) -> None:
    await send(
        api,
        {"content": "made by the server"},
        {"content": "a", "collection": "client", "embedding": [1.0, 0.0]},
    )
    for number, (bad, code, says) in enumerate(BAD):
        items: list[object] = [{"id": f"{number}-{n}", "content": "good"} for n in range(2)]
        items.insert(place, bad)
        results = await send(api, *items)
        assert len(results) == 3
        failed = results.pop(place)
        assert failed.status == "failed"
        assert failed.error is not None
        assert failed.error.code == code
        assert re.search(says, failed.error.message), failed.error.message
        assert "MemoryInput" not in failed.error.message  # no word of the API's
        assert outcomes(results) == [(f"{number}-0", "stored"), (f"{number}-1", "stored")]
    assert len(await stored(api)) == 1 + 2 * len(BAD)
    assert len(await stored(api, "client")) == 1


async def test_a_failed_item_is_named_by_its_id(api: httpx.AsyncClient) -> None:
    """Null only where the item had no readable id: a caller looks the outcome up by it."""
    await send(api, {"content": "made by the server"})
    results = await send(
        api,
        {"id": "unreadable content", "content": 5},
        {"id": "unknown field", "content": "a", "x": 1},
        {"id": "other embedder", "content": "a", "embedding": [1.0]},
        {"id": 5, "content": "a"},
        {"id": None, "content": "a"},
        {"content": 5},
        "text",
    )
    assert outcomes(results) == [
        ("unreadable content", "failed"),
        ("unknown field", "failed"),
        ("other embedder", "failed"),
        *[(None, "failed")] * 4,
    ]


async def test_outcomes_line_up_with_the_items(api: httpx.AsyncClient) -> None:
    await send(api, {"id": "known", "content": "before"})
    results = await send(
        api,
        {"id": "z", "content": "1"},
        {"content": 2},
        {"id": "a", "content": "3"},
        {"id": "known", "content": "4"},
        5,
        {"content": "6"},
        {"id": "m", "content": "7", "collection": "elsewhere"},
    )
    assert [result.status for result in results] == [
        *("stored", "failed", "stored", "updated", "failed", "stored", "stored")
    ]
    assert [result.id for result in results[:4:2]] == ["z", "a"]
    made = results[5].id
    assert made is not None
    assert await stored(api) == {"known": "4", "z": "1", "a": "3", made: "6"}
    assert await stored(api, "elsewhere") == {"m": "7"}
    listed = (await api.get(API)).json()["memories"]
    assert [one["id"] for one in listed] == ["known", "z", "a", made]  # in the order of the batch


async def test_one_id_twice_in_a_batch(api: httpx.AsyncClient) -> None:
    """In order, as if each had come alone: the last one stays."""
    for atomic in (False, True):
        collection = f"twice-{atomic}"
        twins: list[Json] = [
            {"id": "one", "content": text, "collection": collection, "metadata": {"n": text}}
            for text in ("first", "second", "third")
        ]
        other = {"id": "two", "content": "other", "collection": collection}
        results = await send(api, twins[0], other, *twins[1:], atomic=atomic)
        assert outcomes(results) == [
            ("one", "stored"),
            ("two", "stored"),
            ("one", "updated"),
            ("one", "updated"),
        ]
        assert await stored(api, collection) == {"one": "third", "two": "other"}
        for text, ids in (("first", []), ("second", []), ("third", ["one"])):
            body: Json = {"query": text, "mode": "sparse", "collection": collection}
            hits = (await api.post(f"{API}/search", json=body)).json()["hits"]
            assert [hit["id"] for hit in hits] == ids
            body = {"query": text, "collection": collection, "filters": {"n": text}}
            hits = (await api.post(f"{API}/search", json=body)).json()["hits"]
            assert [hit["id"] for hit in hits] == ids


async def test_a_retried_batch_is_the_same_memories(api: httpx.AsyncClient) -> None:
    items = [{"id": str(number), "content": f"text {number}"} for number in range(10)]
    first = await send(api, *items)
    again = await send(api, *items)
    assert {result.status for result in first} == {"stored"}
    assert {result.status for result in again} == {"updated"}
    assert len(await stored(api)) == 10


async def test_no_items_are_no_error(api: httpx.AsyncClient) -> None:
    assert await send(api) == []
    assert await send(api, atomic=True) == []
    assert (await api.get("/api/v1/collections")).json() == {"collections": []}


async def test_as_many_items_as_there_may_be(api: httpx.AsyncClient) -> None:
    items: list[Json] = [{"id": str(n), "content": f"{n}"} for n in range(m.MAX_BATCH)]
    items[1_000]["content"] = 5
    results = await send(api, *items)
    assert [result.status for result in results].count("stored") == m.MAX_BATCH - 1
    assert results[1_000].status == "failed"
    assert (await api.get(API)).json()["total"] == m.MAX_BATCH - 1


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        ({"id": "bad", "content": 5}, "invalid_request"),
        ("text", "invalid_request"),
        ({"id": "bad", "content": "a", "embedding": [1.0]}, "embedder_mismatch"),
        ({"id": "bad", "content": "a", "collection": "elsewhere"}, "invalid_request"),
    ],
)
@pytest.mark.parametrize("collection_is_there", [True, False])
async def test_atomic_with_a_bad_item_stores_none(
    api: httpx.AsyncClient, bad: object, code: str, collection_is_there: bool
) -> None:
    if collection_is_there:
        await send(api, {"id": "known", "content": "before"})
    before = await stored(api)
    items = [{"id": "known", "content": "after"}, {"id": "new", "content": "good"}, bad]
    answer = await api.post(f"{API}/batch", json={"memories": items, "atomic": True})
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == code
    assert await stored(api) == before
    collections = (await api.get("/api/v1/collections")).json()["collections"]
    assert len(collections) == collection_is_there  # not even made
    body = {"query": "after good", "mode": "sparse"}
    assert (await api.post(f"{API}/search", json=body)).json() == {"hits": []}


async def test_atomic_with_vectors_of_two_lengths_stores_none(api: httpx.AsyncClient) -> None:
    items = [{"content": "a", "embedding": [1.0] * length} for length in (2, 2, 3)]
    answer = await api.post(f"{API}/batch", json={"memories": items, "atomic": True})
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "dimension_mismatch"
    assert await stored(api) == {}


async def test_without_atomic_the_first_vector_says_how_long_they_are(
    api: httpx.AsyncClient,
) -> None:
    items: list[Json] = [
        {"id": str(length), "content": "a", "embedding": [1.0] * length} for length in (2, 3, 2)
    ]
    results = await send(api, *items)
    assert outcomes(results) == [("2", "stored"), ("3", "failed"), ("2", "updated")]
    mixed: Json = {"content": "a", "collection": "mixed"}
    results = await send(api, mixed, {**mixed, "embedding": [1.0]})
    assert [result.status for result in results] == ["stored", "failed"]


class Moody:
    """An embedder that refuses some texts, or is not there."""

    name = "moody"
    dimension = 3

    def __init__(self) -> None:
        self.down = False

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if self.down:
            raise EmbedderUnavailable("it sleeps")
        if any("poison" in text for text in texts):
            raise EmbedderUnavailable("it does not like this", retryable=False)
        if any("bug" in text for text in texts):
            raise ZeroDivisionError
        return np.ones((len(texts), self.dimension), np.float32)

    async def close(self) -> None:
        pass


async def test_an_item_that_can_not_be_embedded_fails_alone(
    open_api: "OpenApi", database_url: str
) -> None:
    embedder = Moody()
    async with open_api(database_url=database_url, embedder=embedder) as api:
        items = [{"id": text, "content": text} for text in ("good", "poison", "bug", "better")]
        results = await send(api, *items)
        assert [result.status for result in results] == ["stored", "failed", "failed", "stored"]
        assert [result.error and result.error.code for result in results] == [
            *(None, "internal_error", "internal_error", None)
        ]
        assert await stored(api) == {"good": "good", "better": "better"}
        answer = await api.post(f"{API}/batch", json={"memories": items, "atomic": True})
        assert answer.status_code == 500
        embedder.down = True
        items = [{"id": text, "content": text} for text in ("one", "good", "two")]
        results = await send(api, *items)
        # "good" was embedded before, and is embedded no second time.
        assert [result.status for result in results] == ["failed", "updated", "failed"]
        assert {result.error.code for result in results if result.error} == {"unavailable"}
        answer = await api.post(API, json={"content": "one"})
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        embedder.down = False
        assert outcomes(await send(api, *items))[0] == ("one", "stored")
