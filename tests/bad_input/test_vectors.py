"""Vectors that are not what the collection holds, or at the edge of what can be."""

from base64 import b64encode
from typing import Any

import httpx
import pytest
from agentmem_client import endpoints as e
from agentmem_client import models as m

from tests.bad_input.sending import Json, check_refusal, check_shape, send

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_vectors_of_another_length(api: httpx.AsyncClient) -> None:
    given = {"content": "a", "collection": "of-3", "embedding": [1.0, 2.0, 3.0]}
    assert (await send(api, e.ADD_MEMORY, {**given, "id": "x"})).status_code == 201
    short = b64encode(b"\0\0\x80?" * 2).decode()
    says = "3 numbers, not 2"
    for vector in ([1.0, 2.0], short):
        item = {**given, "embedding": vector}
        bodies: list[tuple[e.Endpoint[Any], Json, str]] = [
            (e.ADD_MEMORY, item, ""),
            (e.UPDATE_MEMORY, {"embedding": vector}, "collection=of-3"),
            (e.SEARCH_MEMORIES, {"collection": "of-3", "embedding": vector}, ""),
            (e.SEARCH_MEMORIES, {"collection": "of-3", "embedding": vector, "query": "a"}, ""),
            (e.ADD_MEMORIES, {"memories": [item], "atomic": True}, ""),
        ]
        for row, body, query in bodies:
            answer = await send(api, row, body, query=query)
            error = check_refusal(answer, 422, "dimension_mismatch", says, row)
            assert error["details"].items() >= {"expected": 3, "given": 2}.items()


async def test_the_wrong_way_of_embedding(api: httpx.AsyncClient) -> None:
    await send(
        api, e.ADD_MEMORY, {"content": "a", "collection": "c", "embedding": [1.0], "id": "x"}
    )
    await send(api, e.ADD_MEMORY, {"content": "a", "collection": "s", "id": "x"})
    for row, body, query, says in (
        (e.ADD_MEMORY, {"content": "b", "collection": "c"}, "", "give an embedding"),
        (e.ADD_MEMORY, {"content": "b", "collection": "s", "embedding": [1]}, "", "no embedding"),
        (e.UPDATE_MEMORY, {"content": "b"}, "collection=c", "give the embedding of the new"),
        (e.UPDATE_MEMORY, {"embedding": [1.0]}, "collection=s", "give no embedding"),
        (
            e.SEARCH_MEMORIES,
            {"query": "a", "mode": "dense", "collection": "c"},
            "",
            "mode 'sparse'",
        ),
        (e.SEARCH_MEMORIES, {"query": "a", "mode": "hybrid", "collection": "c"}, "", "sparse"),
    ):
        answer = await send(api, row, body, query=query)
        check_refusal(answer, 422, "embedder_mismatch", says, row)


async def test_vectors_are_as_long_as_a_collection_may_have_them(api: httpx.AsyncClient) -> None:
    """The first vector makes the collection: it must not be one that could not be asked for."""
    for number, (length, status) in enumerate(((16_384, 201), (16_385, 422), (600_000, 422))):
        packed = b64encode(bytes(4 * length)).decode()
        body = {"content": "a", "collection": f"long-{number}", "embedding": packed}
        answer = await send(api, e.ADD_MEMORY, body)
        assert answer.status_code == status
        if status == 422:
            check_shape(answer, "invalid_request", "16384", e.ADD_MEMORY)


@pytest.mark.parametrize("metric", ["cosine", "dot", "euclidean"])
@pytest.mark.parametrize("value", [3.4e38, 1e-45, 0.0])
async def test_vectors_of_the_largest_and_smallest_numbers(
    api: httpx.AsyncClient, metric: str, value: float
) -> None:
    name = f"{metric}-{value}"
    wish = {"embedder": "client", "dimension": 2, "metric": metric}
    await send(api, e.PUT_COLLECTION, wish, segment=name)
    for sign in (1, -1):
        vector = [value, sign * value]
        await send(api, e.ADD_MEMORY, {"content": "word", "collection": name, "embedding": vector})
    for body in (
        {"embedding": [-value, value]},
        {"embedding": [value, value], "query": "word"},
        {"embedding": [-value, -value], "query": "word", "mmr": {}},
        {"embedding": [value, value], "recency": {"weight": 0.5}, "explain": True},
    ):
        answer = await send(api, e.SEARCH_MEMORIES, {**body, "collection": name})
        assert answer.status_code == 200, answer.text
        hits = m.SearchAnswer.model_validate_json(answer.content).hits
        assert len(hits) == 2
        assert hits[0].score >= hits[1].score or "mmr" in body
