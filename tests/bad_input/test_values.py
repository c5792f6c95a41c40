"""Values out of bounds: of numbers, texts, depths and times."""

import json
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from agentmem_client import endpoints as e

from tests.bad_input.sending import LONG, ROW, Json, check_refusal, send

pytestmark = pytest.mark.asyncio(loop_scope="module")

OUT_OF_BOUNDS = [
    ("add_memory", {"content": "a", "id": ""}, "id: .*at least 1 character"),
    ("add_memory", {"content": "a", "id": "u" * 513}, "id: .*at most 512"),
    ("add_memory", {"content": "a", "id": LONG}, "id: .*at most 512"),
    ("add_memory", {"content": "a", "id": "a\0b"}, "id: .*NUL"),
    ("add_memory", {"content": "a", "collection": ""}, "collection: .*at least 1"),
    ("add_memory", {"content": "a", "collection": LONG}, "collection: .*at most 512"),
    ("add_memory", {"content": "a", "user_id": ""}, "user_id: .*at least 1"),
    ("add_memory", {"content": "a", "session_id": LONG}, "session_id: .*at most 512"),
    ("add_memory", {"content": "a", "type": "\0"}, "type: .*NUL"),
    ("add_memory", {"content": "a\0"}, "content: .*NUL"),
    ("add_memory", {"content": "a", "metadata": {"k": "\0"}}, "metadata: .*NUL"),
    ("add_memory", {"content": "a", "metadata": {"\0": 1}}, "metadata: .*NUL"),
    ("add_memory", {"content": "a", "metadata": {"k": 10**4_000}}, "metadata: .*1e300"),
    ("add_memory", {"content": "a", "metadata": {"k": [-(10**301)]}}, "metadata: .*1e300"),
    ("add_memory", {"content": "a", "importance": 1.01}, "importance: .*equal to 1"),
    ("add_memory", {"content": "a", "importance": -0.01}, "importance: .*equal to 0"),
    ("add_memory", {"content": "a", "importance": 10**4_000}, "importance: .*finite"),
    ("add_memory", {"content": "a", "event_at": "yesterday"}, "event_at: .*(time|date)"),
    ("add_memory", {"content": "a", "event_at": ""}, "event_at: .*(time|date)"),
    ("add_memory", {"content": "a", "event_at": LONG}, "event_at: .*(time|date)"),
    ("add_memory", {"content": "a", "event_at": "2026-02-30T00:00:00Z"}, "event_at: .*(time|date)"),
    ("add_memory", {"content": "a", "event_at": "2026-01-01T25:00:00Z"}, "event_at: .*(time|date)"),
    ("add_memory", {"content": "a", "event_at": "2026-01-01"}, "event_at: .*timezone"),
    ("add_memory", {"content": "a", "event_at": "2026-01-01T00:00:00"}, "event_at: .*timezone"),
    ("add_memory", {"content": "a", "event_at": "0000-01-01T00:00:00Z"}, "event_at: .*(time|date)"),
    ("add_memory", {"content": "a", "embedding": []}, "embedding: .*at least one"),
    ("add_memory", {"content": "a", "embedding": ["1"]}, "embedding: .*numbers"),
    ("add_memory", {"content": "a", "embedding": [None]}, "embedding: .*numbers"),
    ("add_memory", {"content": "a", "embedding": [True]}, "embedding: .*numbers"),
    ("add_memory", {"content": "a", "embedding": [[1.0]]}, "embedding: .*numbers"),
    ("add_memory", {"content": "a", "embedding": [10**400]}, "embedding: .*float32"),
    ("add_memory", {"content": "a", "embedding": [1e39]}, "embedding: .*(float32|finite)"),
    ("add_memory", {"content": "a", "embedding": ""}, "embedding: .*at least one"),
    ("add_memory", {"content": "a", "embedding": "not base64!"}, "embedding: .*base64"),
    ("add_memory", {"content": "a", "embedding": "\u00e9"}, "embedding: .*base64"),
    ("add_memory", {"content": "a", "embedding": "AAAA"}, "embedding: .*multiple of 4"),
    ("add_memory", {"content": "a", "embedding": "AADAfw=="}, "embedding: .*finite"),
    ("add_memory", {"content": "a", "embedding": "AACAfw=="}, "embedding: .*finite"),
    ("add_memory", {"content": "a", "embedding": {"0": 1.0}}, "embedding: .*list of numbers"),
    ("add_memory", {"content": "a", "embedding": LONG + "!"}, "embedding: .*base64"),
    ("add_memories", {"memories": [{"content": "a"}] * 2_049}, "memories: .*at most 2048"),
    ("add_memories", {"memories": [1] * 100_000}, "memories: .*at most 2048"),
    ("search_memories", {"query": "\0"}, "query: .*NUL"),
    ("search_memories", {"query": "a", "limit": 0}, "limit: .*equal to 1"),
    ("search_memories", {"query": "a", "limit": -1}, "limit: .*equal to 1"),
    ("search_memories", {"query": "a", "limit": 1_001}, "limit: .*equal to 1000"),
    ("search_memories", {"query": "a", "limit": 10**4_000}, "limit: .*equal to 1000"),
    ("search_memories", {"query": "a", "limit": 1.0}, "limit: .*integer"),
    ("search_memories", {"query": "a", "limit": "1"}, "limit: .*integer"),
    ("search_memories", {"query": "a", "offset": -1}, "offset: .*equal to 0"),
    ("search_memories", {"query": "a", "offset": 100_001}, "offset: .*equal to 100000"),
    ("search_memories", {"query": "a", "alpha": 1.1}, "alpha: .*equal to 1"),
    ("search_memories", {"query": "a", "alpha": -1}, "alpha: .*equal to 0"),
    ("search_memories", {"query": "a", "mode": "fuzzy"}, "mode: .*hybrid.*dense.*sparse"),
    ("search_memories", {"query": "a", "mode": LONG}, "mode: .*hybrid.*dense.*sparse"),
    ("search_memories", {"query": "a", "mmr": {"fetch_k": 0}}, "mmr.fetch_k: .*equal to 1"),
    ("search_memories", {"query": "a", "mmr": {"fetch_k": 1_001}}, "mmr.fetch_k: .*1000"),
    ("search_memories", {"query": "a", "mmr": {"lambda_mult": 2}}, "mmr.lambda_mult: .*to 1"),
    ("search_memories", {"query": "a", "mmr": {"lambda": 1}}, "mmr.lambda: .*not permitted"),
    ("search_memories", {"query": "a", "mmr": True}, "mmr: .*object"),
    ("search_memories", {"query": "a", "recency": 0.5}, "recency: .*object"),
    ("search_memories", {"query": "a", "recency": {}}, "recency.weight: .*required"),
    ("search_memories", {"query": "a", "recency": {"weight": 2}}, "recency.weight: .*to 1"),
    ("search_memories", {"query": "a", "recency": {"weight": "1"}}, "recency.weight: .*number"),
    (
        "search_memories",
        {"query": "a", "recency": {"weight": 1, "half_life": 0.5}},
        "recency.half_life: .*equal to 1",
    ),
    (
        "search_memories",
        {"query": "a", "recency": {"weight": 1, "half_life": 1e300}},
        "recency.half_life: .*3153600000",
    ),
    (
        "search_memories",
        {"query": "a", "recency": {"weight": 1, "by": LONG}},
        "recency.by: .*event_at.*created_at.*updated_at",
    ),
    ("search_memories", {"query": "a", "recency": {"weight": 1, "a": 1}}, "recency.a: .*permitted"),
    ("search_memories", {"query": "a", "importance": 1}, "importance: .*object"),
    ("search_memories", {"query": "a", "importance": {"weight": -1}}, "importance.weight: .*to 0"),
    (
        "search_memories",
        {"query": "a", "importance": {"weight": 1, "default": 2}},
        "importance.default: .*to 1",
    ),
    ("search_memories", {"query": "a", "explain": "yes"}, "explain: .*boolean"),
    ("search_memories", {"query": "a", "min_score": 10**4_000}, "min_score: .*finite"),
    ("get_memories", {"ids": ["a"] * 10_001}, "ids: .*at most 10000"),
    ("get_memories", {"ids": [1]}, "ids.0: .*string"),
    ("get_memories", {"ids": ["a", ""]}, "ids.1: .*at least 1"),
    ("get_memories", {"ids": ["u" * 513]}, "ids.0: .*at most 512"),
    ("get_memories", {"ids": ["\0"]}, "ids.0: .*NUL"),
    ("get_memories", {"ids": [1] * 10_000}, "ids.0: .*string"),
    ("get_memories", {"ids": [LONG] * 700}, "ids.0: .*at most 512"),
    ("delete_memories", {"ids": ["a"] * 10_001}, "ids: .*at most 10000"),
    ("delete_memories", {"ids": [None]}, "ids.0: .*string"),
    ("delete_memories", {"filters": {}}, "give ids, filters or a scope"),
    ("delete_memories", {"ids": None, "filters": None}, "give ids, filters or a scope"),
    ("delete_memories", {"everything": False}, "give ids, filters or a scope"),
    ("delete_memories", {"everything": True, "ids": ["a"]}, "no other criterion"),
    ("delete_memories", {"everything": True, "ids": []}, "no other criterion"),
    ("delete_memories", {"everything": True, "user_id": "u"}, "no other criterion"),
    ("delete_memories", {"user_id": ""}, "user_id: .*at least 1"),
    ("delete_memories", {"namespace": []}, "namespace: .*at least 1"),
    ("archive_memories", {"archived": False}, "give ids, filters or a scope"),
    ("archive_memories", {"everything": True, "namespace": ["a"]}, "no other criterion"),
    ("add_memory", {"content": "a", "namespace": "a"}, "namespace: .*JSON array"),
    ("add_memory", {"content": "a", "namespace": ["a", ""]}, "namespace.1: .*at least 1"),
    ("add_memory", {"content": "a", "namespace": ["a"] * 33}, "namespace: .*at most 32"),
    ("add_memory", {"content": "a", "namespace": ["a\0"]}, "namespace.0: .*NUL"),
    ("add_memory", {"content": "a", "payload": {"a": "\0"}}, "payload: .*NUL"),
    ("add_memory", {"content": "a", "ttl": 0}, "ttl: .*greater than 0"),
    ("add_memory", {"content": "a", "ttl": 1e300}, "ttl: .*3153600000"),
    ("add_memory", {"content": "a", "ttl": 1, "expires_at": "2100-01-01T00:00:00Z"}, "not both"),
    ("add_memory", {"content": "a", "embeddings": []}, "embeddings: .*at least 1"),
    ("add_memory", {"content": "a", "embeddings": [[1.0]] * 65}, "embeddings: .*at most 64"),
    ("add_memory", {"content": "a", "embeddings": [[1.0], [1.0, 2.0]]}, "same length"),
    ("add_memory", {"content": "a", "embeddings": [[1.0]], "embedding": [1.0]}, "not both"),
    (
        "add_memory",
        {"content": "a", "sources": [{"message_ids": []}] * 65},
        "sources: .*at most 64",
    ),
    ("add_memory", {"content": "a", "sources": [{"ids": ["m"]}]}, "sources.0.message_ids: "),
    ("extract", {"messages": [{"content": "a"}] * 1_001}, "messages: .*at most 1000"),
    ("extract", {"messages": [{"text": "a"}]}, "messages.0.content: .*required"),
    ("extract", {"messages": [{"content": "a", "at": "2026-01-01"}]}, "messages.0.at: "),
    ("extract", {"messages": [{"content": "a\0"}]}, "messages.0.content: .*NUL"),
    ("extract", {"messages": [{"content": "a", "id": "m"}] * 2}, "id of its own"),
    ("extract", {"messages": [{"content": "a"}], "instructions": "x" * 4_001}, "instructions: "),
    ("extract_many", {"conversations": []}, "conversations: .*at least 1"),
    ("extract_many", {"conversations": [{}] * 101}, "conversations: .*at most 100"),
    ("add_memory", {"content": "a", "index_texts": ["x"] * 65}, "index_texts: .*at most 64"),
    ("add_memories", {"memories": [], "replacing": {"ids": ["a"]}}, "atomic=true"),
    ("add_memories", {"memories": [], "atomic": True, "replacing": {}}, "give ids, filters"),
    ("add_memories", {"memories": [], "atomic": True, "replacing": {"id": 1}}, "not permitted"),
    ("update_memory", {"content": None}, "content can't be null"),
    ("update_memory", {"embedding": None}, "embedding can't be null"),
    ("update_memory", {"embeddings": None}, "embeddings can't be null"),
    ("update_memory", {"archived": None}, "archived can't be null"),
    ("update_memory", {"namespace": ["a"]}, "namespace: .*not permitted"),
    ("update_memory", {"id": "y"}, "id: .*not permitted"),
    ("update_memory", {"user_id": "y"}, "user_id: .*not permitted"),
    ("update_memory", {"metadata": {"\0": 1}}, "metadata: .*NUL"),
    ("put_collection", {"embedder": "client"}, "give the dimension"),
    ("put_collection", {"embedder": "client", "dimension": 0}, "dimension: .*equal to 1"),
    ("put_collection", {"embedder": "client", "dimension": 16_385}, "dimension: .*16384"),
    ("put_collection", {"embedder": "client", "dimension": 2**63}, "dimension: .*16384"),
    ("put_collection", {"embedder": "client", "dimension": 1.5}, "dimension: .*integer"),
    ("put_collection", {"embedder": "Client", "dimension": 3}, "embedder: .*server.*client"),
    ("put_collection", {"metric": "manhattan"}, "metric: .*cosine.*dot.*euclidean"),
    ("put_collection", {"default_ttl": 0}, "default_ttl: .*greater than 0"),
    ("put_collection", {"default_ttl": -1}, "default_ttl: .*greater than 0"),
    ("put_collection", {"default_ttl": 1e300}, "default_ttl: .*3153600000"),
    ("put_collection", {"default_ttl": "60"}, "default_ttl: .*number"),
    ("restore_memory", {"version": 0}, "version: .*equal to 1"),
    ("restore_memory", {"version": -1}, "version: .*equal to 1"),
    ("restore_memory", {"version": 10**18}, "version: .*equal to 9{18}"),
    ("restore_memory", {"version": 2**63 - 1}, "version: .*equal to 9{18}"),
    ("restore_memory", {"version": 10**4_000}, "version: .*equal to 9{18}"),
    ("restore_memory", {"version": 1.5}, "version: .*integer"),
    ("restore_memory", {"version": "1"}, "version: .*integer"),
    ("restore_memory", {"version": 1, "collection": "default"}, "collection: .*not permitted"),
    ("create_key", {"name": ""}, "name: .*at least 1"),
    ("create_key", {"name": LONG}, "name: .*at most 512"),
    ("create_key", {"name": "\0"}, "name: .*NUL"),
    ("create_key", {"name": "a", "tenant": ""}, "tenant: .*at least 1"),
    ("create_key", {"name": "a", "scopes": []}, "scopes: .*at least 1"),
    ("create_key", {"name": "a", "scopes": ["root"]}, "scopes.0: .*read.*write.*admin"),
    ("create_key", {"name": "a", "scopes": [LONG]}, "scopes.0: .*read.*write.*admin"),
    ("create_key", {"name": "a", "scopes": ["read"] * 2}, "each scope once"),
    ("create_key", {"name": "a", "scopes": ["read"] * 5_000}, "scopes: .*at most 4"),
    ("create_key", {"name": "a", "scopes": ["metrics"], "user_id": "u"}, "bound to a user"),
    ("create_key", {"name": "a", "rate_limit": -1}, "rate_limit: .*equal to 0"),
    ("create_key", {"name": "a", "rate_limit": 1e7}, "rate_limit: .*equal to 1000000"),
    ("create_key", {"name": "a", "expires_at": "30d"}, "expires_at: .*(time|date)"),
    ("create_key", {"name": "a", "expires_at": "2999-01-01"}, "expires_at: .*timezone"),
]


@pytest.mark.parametrize(
    ("name", "body", "says"),
    OUT_OF_BOUNDS,
    ids=[f"{number}-{name}" for number, (name, _, _) in enumerate(OUT_OF_BOUNDS)],
)
async def test_a_value_out_of_its_bounds(
    api: httpx.AsyncClient, name: str, body: Json, says: str
) -> None:
    check_refusal(await send(api, ROW[name], body), 422, "invalid_request", says, ROW[name])


NUMBERS = [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"1e400"]


@pytest.mark.parametrize("number", NUMBERS, ids=bytes.decode)
@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("add_memory", b'{"content": "a", "importance": %s}'),
        ("add_memory", b'{"content": "a", "embedding": [1, %s]}'),
        ("add_memory", b'{"content": "a", "metadata": {"a": [{"b": %s}]}}'),
        ("add_memory", b'{"content": "a", "event_at": %s}'),
        ("add_memory", b'{"content": "a", "unknown": %s}'),
        ("search_memories", b'{"query": "a", "alpha": %s}'),
        ("search_memories", b'{"query": "a", "limit": %s}'),
        ("search_memories", b'{"query": "a", "offset": %s}'),
        ("search_memories", b'{"query": "a", "min_score": %s}'),
        ("search_memories", b'{"query": "a", "mmr": {"lambda_mult": %s}}'),
        ("search_memories", b'{"query": "a", "mmr": {"fetch_k": %s}}'),
        ("search_memories", b'{"query": "a", "recency": {"weight": %s}}'),
        ("search_memories", b'{"query": "a", "recency": {"weight": 1, "half_life": %s}}'),
        ("search_memories", b'{"query": "a", "importance": {"weight": %s}}'),
        ("search_memories", b'{"query": "a", "importance": {"weight": 1, "default": %s}}'),
        ("search_memories", b'{"query": "a", "embedding": [%s]}'),
        ("search_memories", b'{"query": "a", "filters": {"a": %s}}'),
        ("search_memories", b'{"query": "a", "filters": {"a": {"$in": [[%s]]}}}'),
        ("search_memories", b'{"query": "a", "filters": {"@importance": {"$gt": %s}}}'),
        ("get_memories", b'{"ids": [%s]}'),
        ("delete_memories", b'{"filters": {"a": {"$between": [0, %s]}}}'),
        ("update_memory", b'{"importance": %s}'),
        ("update_memory", b'{"metadata": {"a": %s}}'),
        ("update_memory", b'{"embedding": [%s]}'),
        ("put_collection", b'{"embedder": "client", "dimension": %s}'),
        ("put_collection", b'{"default_ttl": %s}'),
        ("restore_memory", b'{"version": %s}'),
        ("create_key", b'{"name": "a", "rate_limit": %s}'),
    ],
)
async def test_a_number_that_is_none(
    api: httpx.AsyncClient, name: str, body: bytes, number: bytes
) -> None:
    answer = await send(api, ROW[name], body % number)
    check_refusal(answer, 422, "^invalid_(request|filter)$", ".", ROW[name])


@pytest.mark.parametrize("depth", [33, 60, 150])
@pytest.mark.parametrize("around", ["[%s]", '{"k": %s}'])
async def test_deep_metadata(api: httpx.AsyncClient, depth: int, around: str) -> None:
    deep = "1"
    for _ in range(depth - 1):
        deep = around % deep
    for row, body in (
        (e.ADD_MEMORY, f'{{"content": "a", "metadata": {{"k": {deep}}}}}'),
        (e.UPDATE_MEMORY, f'{{"metadata": {{"k": {deep}}}}}'),
    ):
        answer = await send(api, row, body.encode())
        check_refusal(answer, 422, "invalid_request", "metadata: .*at most 32 levels", row)


async def test_metadata_as_deep_as_it_may_be(api: httpx.AsyncClient) -> None:
    deep: Any = 1
    for _ in range(32):
        deep = {"k": deep}
    answer = await send(api, e.ADD_MEMORY, {"content": "a", "id": "deep", "metadata": deep})
    assert answer.status_code == 201
    again = await send(api, e.GET_MEMORY, segment="deep")
    assert again.json()["metadata"] == deep


# --- Times -----------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["event_at", "expires_at"])
@pytest.mark.parametrize(
    "time", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "9999-12-31T23:59:59-00:01"]
)
async def test_a_time_that_utc_has_no_year_for(
    api: httpx.AsyncClient, field: str, time: str
) -> None:
    body = {"content": "a", "id": "edge", "collection": f"edge-{field}", field: time}
    check_refusal(await send(api, e.ADD_MEMORY, body), 422, "invalid_request", field, e.ADD_MEMORY)
    listed = await send(api, e.LIST_MEMORIES, query=f"collection=edge-{field}")
    assert listed.status_code == 200  # nothing was stored that can't be read again
    assert listed.json()["memories"] == []


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"])
async def test_the_first_and_the_last_time(api: httpx.AsyncClient, time: str) -> None:
    body = {"content": "a", "id": "end", "collection": "ends", "event_at": time}
    assert (await send(api, e.ADD_MEMORY, body)).json()["event_at"] == time
    query = urlencode(
        {"collection": "ends", "filters": json.dumps({"@event_at": {"$between": [time, time]}})}
    )
    listed = await send(api, e.LIST_MEMORIES, query=query)
    assert [memory["event_at"] for memory in listed.json()["memories"]] == [time]


@pytest.mark.parametrize("time", ["2026", "20260131", "1", "-1", "1.5", "1e3"])
async def test_a_number_in_a_string_is_no_time(api: httpx.AsyncClient, time: str) -> None:
    """A year, say, must not be read as so many seconds after 1970."""
    answer = await send(api, e.ADD_MEMORY, {"content": "a", "event_at": time})
    check_refusal(answer, 422, "invalid_request", "event_at: .*(time|date)", e.ADD_MEMORY)
