"""Query strings, and the cursors in them."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from agentmem_client import endpoints as e

from tests.bad_input.sending import GOOD, LONG, ROW, check_refusal, check_shape, send

pytestmark = pytest.mark.asyncio(loop_scope="module")

QUERIES: list[tuple[str, str, str]] = [
    ("list_memories", "limit=0", "limit: .*equal to 1"),
    ("list_memories", "limit=1001", "limit: .*1000"),
    ("list_memories", "limit=-1", "limit: .*equal to 1"),
    ("list_memories", "limit=ten", "limit: .*integer"),
    ("list_memories", "limit=", "limit: .*integer"),
    ("list_memories", "limit=1.5", "limit: .*integer"),
    ("list_memories", "limit=1e2", "limit: .*integer"),
    ("list_memories", "limit=0x10", "limit: .*integer"),
    ("list_memories", "limit=%EF%BC%91", "limit: .*integer"),
    ("list_memories", "limit=" + "9" * 4_000, "limit: "),
    ("list_memories", "limit=NaN", "limit: .*integer"),
    ("list_memories", "offset=-1", "offset: .*equal to 0"),
    ("list_memories", "offset=100001", "offset: .*100000"),
    ("list_memories", "order=up", "order: .*asc.*desc"),
    ("list_memories", "order_by=content", "order_by: .*seq.*created_at.*updated_at"),
    ("list_memories", "order_by=" + LONG, "order_by: .*seq"),
    ("list_memories", "include_total=maybe", "include_total: .*boolean"),
    ("list_memories", "include_embeddings=", "include_embeddings: .*boolean"),
    ("list_memories", "collection=", "collection: .*at least 1"),
    ("list_memories", "collection=" + LONG, "collection: .*at most 512"),
    ("list_memories", "collection=%00", "collection: .*NUL"),
    ("list_memories", "user_id=", "user_id: .*at least 1"),
    ("list_memories", "user_id=%00", "user_id: .*NUL"),
    ("list_memories", "q=cats", "q: .*not permitted"),
    ("list_memories", "Limit=5", "Limit: .*not permitted"),
    ("list_memories", "=", "not permitted"),
    ("list_memories", LONG, "not permitted"),
    ("list_memories", "limit=1&limit=2", "each parameter once: limit"),
    ("list_memories", "limit=1&limit=1", "each parameter once: limit"),
    ("list_memories", "user_id=a&user_id=b&limit=1", "each parameter once: user_id"),
    ("list_memories", f"{LONG}=1&{LONG}=2", "each parameter once"),
    ("list_memories", "&".join(f"u{n}=1" for n in range(3_000)), "not permitted"),
    ("list_memories", "&".join(f"u{n}=1&u{n}=2" for n in range(2_000)), "each parameter once"),
    ("get_memory", "collection=", "collection: .*at least 1"),
    ("get_memory", "include_embeddings=2", "include_embeddings: .*boolean"),
    ("get_memory", "user_id=a", "user_id: .*not permitted"),
    ("get_memory", "collection=a&collection=b", "each parameter once: collection"),
    ("update_memory", "collection=", "collection: .*at least 1"),
    ("update_memory", "colection=a", "colection: .*not permitted"),
    ("delete_memory", "collection=" + LONG, "collection: .*at most 512"),
    ("delete_memory", "user_id=a", "user_id: .*not permitted"),
    ("delete_memory", "collection=a&collection=a", "each parameter once: collection"),
    ("memory_history", "collection=", "collection: .*at least 1"),
    ("memory_history", "limit=0", "limit: .*equal to 1"),
    ("memory_history", "limit=1001", "limit: .*1000"),
    ("memory_history", "after=-1", "after: .*equal to 0"),
    ("memory_history", "after=9223372036854775808", "after: .*9223372036854775807"),
    ("memory_history", "after=" + "9" * 4_000, "after: "),
    ("memory_history", "after=1&after=2", "each parameter once: after"),
    ("memory_history", "version=1", "version: .*not permitted"),
    ("restore_memory", "collection=" + LONG, "collection: .*at most 512"),
    ("restore_memory", "version=1", "version: .*not permitted"),
    ("list_jobs", "limit=0", "limit: .*equal to 1"),
    ("list_jobs", "limit=1001", "limit: .*1000"),
    ("list_jobs", "before=0", "before: .*equal to 1"),
    ("list_jobs", "before=9223372036854775808", "before: .*9223372036854775807"),
    ("list_jobs", "status=waiting", "status: .*'queued'"),
    ("list_jobs", "user_id=", "user_id: .*at least 1"),
    ("list_jobs", "kind=extract", "kind: .*not permitted"),
    ("get_job", "collection=c", "collection: .*not permitted"),
    ("events", "after=-1", "after: .*equal to 0"),
    ("events", "after=9223372036854775808", "after: .*9223372036854775807"),
    ("events", "after=now", "after: .*integer"),
    ("events", "after=1.5", "after: .*integer"),
    ("events", "after=%EF%BC%91", "after: .*integer"),
    ("events", "collection=", "collection: .*at least 1"),
    ("events", "user_id=%00", "user_id: .*NUL"),
    ("events", "namespace=a", "namespace: .*JSON array"),
    ("events", "namespace=[]", "namespace: .*at least 1"),
    ("events", "limit=5", "limit: .*not permitted"),
    ("events", "after=1&after=1", "each parameter once: after"),
    ("stats", "days=0", "days: .*equal to 1"),
    ("stats", "days=367", "days: .*366"),
    ("stats", "days=all", "days: .*integer"),
    ("stats", "user_id=a", "user_id: .*not permitted"),
    ("list_keys", "tenant=", "tenant: .*at least 1"),
    ("list_keys", "tenant=" + LONG, "tenant: .*at most 512"),
    ("list_keys", "name=a", "name: .*not permitted"),
]


@pytest.mark.parametrize(
    ("name", "query", "says"), QUERIES, ids=[f"{name}?{query[:30]}" for name, query, _ in QUERIES]
)
async def test_a_bad_query_string(api: httpx.AsyncClient, name: str, query: str, says: str) -> None:
    row = ROW[name]
    answer = await send(api, row, GOOD.get(name), query=query)
    check_refusal(answer, 422, "invalid_request", says, row)


@pytest.mark.parametrize("parameter", ["user_id", "collection"])
@pytest.mark.parametrize("value", ["%FF", "%ED%A0%80", "%C3", "a%80b"])
async def test_a_query_string_that_is_not_utf_8(
    api: httpx.AsyncClient, parameter: str, value: str
) -> None:
    """It must not be taken for the text with a replacement character that it looks like."""
    answer = await send(api, e.LIST_MEMORIES, query=f"{parameter}={value}")
    assert answer.status_code in (400, 422), answer.text
    check_shape(answer, "malformed_request|invalid_request", "UTF-8|Unicode")


@pytest.mark.parametrize(
    "row",
    [row for row in e.ENDPOINTS if row.query is None and row.path.startswith(e.API)],
    ids=lambda row: row.name,
)
async def test_query_parameters_where_there_are_none(
    api: httpx.AsyncClient, row: e.Endpoint[Any]
) -> None:
    """``delete?collection=trash`` that deletes from another collection would be a disaster."""
    answer = await send(api, row, GOOD.get(row.name), query="collection=trash")
    check_refusal(answer, 422, "invalid_request", "collection", row)


# --- Cursors ---------------------------------------------------------------------------------


async def a_page(api: httpx.AsyncClient) -> str:
    for number in range(3):
        body = {"content": "a", "id": str(number), "collection": "pages", "metadata": {"n": number}}
        await send(api, e.ADD_MEMORY, body)
    answer = await send(api, e.LIST_MEMORIES, query="collection=pages&limit=1")
    return str(answer.json()["next_cursor"])


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "abc",
        "\u00e9",
        "\0",
        "null",
        "0",
        LONG,
        "=" * 300,
        *(
            urlsafe_b64encode(text).decode()
            for text in (
                b"",
                b"[]",
                b"{}",
                b"\xff\xfe",
                b'["a",1]',
                b'["a",1,2,3]',
                b'["a",1.5,2]',
                b'["a",null,2]',
                b'["' + b"u" * 3_000 + b'",1,2]',
                b"[" * 3_000,
                b'["%s",1,2]' % (b"0" * 16),
            )
        ),
    ],
    ids=lambda cursor: cursor[:12],
)
async def test_a_cursor_that_is_none(api: httpx.AsyncClient, cursor: str) -> None:
    query = urlencode({"cursor": cursor, "collection": "pages"})
    answer = await send(api, e.LIST_MEMORIES, query=query)
    check_refusal(answer, 422, "invalid_cursor", "next_cursor|another listing", e.LIST_MEMORIES)


@pytest.mark.parametrize("position", [2**63, -(2**63) - 1, 10**30])
async def test_a_cursor_that_was_tampered_with(api: httpx.AsyncClient, position: int) -> None:
    listing, _, _ = json.loads(urlsafe_b64decode(await a_page(api)))
    for numbers in ([position, 1], [1, position]):
        forged = urlsafe_b64encode(json.dumps([listing, *numbers]).encode()).decode()
        query = urlencode({"cursor": forged, "collection": "pages"})
        answer = await send(api, e.LIST_MEMORIES, query=query)
        check_refusal(answer, 422, "invalid_cursor", "next_cursor", e.LIST_MEMORIES)


@pytest.mark.parametrize(
    "change",
    [
        {"collection": "default"},
        {"user_id": "u"},
        {"filters": '{"n": 1}'},
        {"order": "desc"},
        {"order_by": "created_at"},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_a_cursor_of_another_listing(api: httpx.AsyncClient, change: dict[str, str]) -> None:
    same = {"collection": "pages", "cursor": await a_page(api)}
    assert (await send(api, e.LIST_MEMORIES, query=urlencode(same))).status_code == 200
    answer = await send(api, e.LIST_MEMORIES, query=urlencode({**same, **change}))
    check_refusal(answer, 422, "invalid_cursor", "another listing: keep", e.LIST_MEMORIES)


async def test_a_cursor_and_an_offset(api: httpx.AsyncClient) -> None:
    query = urlencode({"collection": "pages", "cursor": await a_page(api), "offset": 1})
    answer = await send(api, e.LIST_MEMORIES, query=query)
    check_refusal(answer, 422, "invalid_request", "one of them", e.LIST_MEMORIES)
