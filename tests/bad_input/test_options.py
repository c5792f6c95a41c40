"""Options that don't go together, or not with what is there."""

import httpx
import pytest
from agentmem_client import endpoints as e

from tests.bad_input.sending import LONG, Json, check_no_echo, check_refusal, send

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"query": "a", "mode": "sparse", "alpha": 0.5}, "alpha weighs"),
        ({"query": "a", "mode": "dense", "alpha": 0.5}, "alpha weighs"),
        ({"embedding": [1.0], "alpha": 0.5}, "alpha weighs"),
        ({"query": "a", "mode": "sparse", "mmr": {}}, "mmr compares vectors"),
        (
            {"query": "a", "recency": {"weight": 0.7}, "importance": {"weight": 0.4}},
            "1.1 together is more than 1",
        ),
        ({"embedding": [1.0], "mode": "sparse"}, "looks for the words of a query"),
        ({"embedding": [1.0], "mode": "hybrid"}, "looks for the words of a query"),
        ({"filters": {"a": 1}}, "give a query, an embedding or both"),
        ({"limit": 5}, "give a query, an embedding or both"),
    ],
)
@pytest.mark.parametrize("collection", ["default", "not-there-yet"])
async def test_search_options_that_do_not_go_together(
    api: httpx.AsyncClient, body: Json, says: str, collection: str
) -> None:
    answer = await send(api, e.SEARCH_MEMORIES, {**body, "collection": collection})
    check_refusal(answer, 422, "invalid_request", says, e.SEARCH_MEMORIES)


async def test_a_collection_with_other_settings(api: httpx.AsyncClient) -> None:
    wish = {"embedder": "client", "dimension": 4, "metric": "dot"}
    for _ in range(2):
        assert (await send(api, e.PUT_COLLECTION, wish, segment="four")).status_code == 200
    for change in ({"dimension": 5}, {"metric": "cosine"}):
        answer = await send(api, e.PUT_COLLECTION, {**wish, **change}, segment="four")
        check_refusal(answer, 409, "conflict", "exists with other settings", e.PUT_COLLECTION)
    answer = await send(api, e.PUT_COLLECTION, {"embedder": "server"}, segment="four")
    check_refusal(answer, 409, "conflict", "exists with other settings", e.PUT_COLLECTION)
    answer = await send(api, e.PUT_COLLECTION, {"dimension": 5}, segment="five")
    check_refusal(answer, 422, "dimension_mismatch", "leave the dimension out", e.PUT_COLLECTION)


async def test_an_atomic_batch_with_a_bad_item_or_two_collections(api: httpx.AsyncClient) -> None:
    bad = [{"content": "a"}, {"content": 1}, {"content": "c", LONG: 1}]
    answer = await send(api, e.ADD_MEMORIES, {"memories": bad, "atomic": True})
    error = check_refusal(answer, 422, "invalid_request", "nothing .*was stored", e.ADD_MEMORIES)
    fields = [one["field"] for one in error["details"]["errors"]]
    assert fields == ["memories.1", "memories.2"]
    two = [{"content": "a"}, {"content": "a", "collection": "b"}]
    answer = await send(api, e.ADD_MEMORIES, {"memories": two, "atomic": True})
    check_refusal(answer, 422, "invalid_request", "one collection", e.ADD_MEMORIES)


async def test_what_a_bad_item_of_a_batch_is_told_is_bounded(api: httpx.AsyncClient) -> None:
    many = dict.fromkeys((f"field-{number}" for number in range(20_000)), 1)
    for item in ({LONG: 1}, many):
        answer = await send(api, e.ADD_MEMORIES, {"memories": [item, {"content": "good"}]})
        assert answer.status_code == 200
        assert [one["status"] for one in answer.json()["results"]] == ["failed", "stored"]
        check_no_echo(answer)
