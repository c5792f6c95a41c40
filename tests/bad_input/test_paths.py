"""Ids and names in paths, and paths and methods that there are not."""

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import httpx
import pytest
from agentmem_client import endpoints as e

from tests.bad_input.sending import GOOD, JSON, LONG, check_refusal, check_shape, send

if TYPE_CHECKING:
    from tests.conftest import Server

pytestmark = pytest.mark.asyncio(loop_scope="module")

STRANGE = [
    "a/b",
    "/",
    "//",
    "../../etc/passwd",
    ".",
    "..",
    "...",
    " ",
    "a b",
    "?",
    "a?b=c&d=e",
    "#",
    "a#b",
    "%",
    "%00",
    "%2F",
    "%zz",
    "\\",
    ";",
    ":",
    "@",
    "+",
    "&=",
    "'\"",
    "<script>",
    "{id}",
    "\n",
    "\t\r\n",
    "\x7f",
    "\u00e9",
    "e\u0301",
    "\u65e5\u672c\u8a9e",
    "\U0001f600",
    "\u202eabc",
    "\ufeff",
    "\ufffd",
    "\uffff",
    "search",
    "batch",
    "get",
    "delete",
    "null",
    "0",
    "a" * 512,
    "\U0001f600" * 512,
]


@pytest.mark.parametrize("identity", STRANGE, ids=lambda text: ascii(text)[:24])
async def test_any_string_is_an_id_and_the_name_of_a_collection(
    api: httpx.AsyncClient, identity: str
) -> None:
    await check_any_string(api, identity)


@pytest.mark.parametrize(
    "identity",
    [text for text in STRANGE if "u" not in text],
    ids=lambda text: ascii(text)[:24],
)
async def test_any_string_gets_through_the_server(running_server: "Server", identity: str) -> None:
    async with httpx.AsyncClient(base_url=running_server.url) as client:
        await check_any_string(client, identity)


async def check_any_string(api: httpx.AsyncClient, identity: str) -> None:
    collection = f"of {identity}"[:512]
    query = urlencode({"collection": collection})
    made = await send(
        api,
        e.PUT_COLLECTION,
        {"embedder": "client", "dimension": 1},
        segment=collection,
    )
    assert made.json()["name"] == collection
    body = {"id": identity, "collection": collection, "content": "one", "embedding": [1.0]}
    assert (await send(api, e.ADD_MEMORY, body)).json()["id"] == identity
    got = await send(api, e.GET_MEMORY, segment=identity, query=query)
    assert (got.status_code, got.json()["id"]) == (200, identity)
    changed = await send(api, e.UPDATE_MEMORY, {"type": "t"}, segment=identity, query=query)
    assert (changed.json()["id"], changed.json()["type"]) == (identity, "t")
    described = await send(api, e.GET_COLLECTION, segment=collection)
    assert described.json()["memories"] == 1
    deleted = await send(api, e.DELETE_MEMORY, segment=identity, query=query)
    assert deleted.json()["deleted"] == 1
    gone = await send(api, e.GET_MEMORY, segment=identity, query=query)
    assert gone.status_code == 404
    assert (await send(api, e.DELETE_COLLECTION, segment=collection)).json()["deleted"] == 0
    assert (await send(api, e.GET_COLLECTION, segment=collection)).status_code == 404


WITH_SEGMENT = [row for row in e.ENDPOINTS if "{" in row.path]


@pytest.mark.parametrize("row", WITH_SEGMENT, ids=lambda row: row.name)
@pytest.mark.parametrize("length", [513, 5_000])
async def test_a_path_segment_that_no_id_can_be(
    api: httpx.AsyncClient, row: e.Endpoint[Any], length: int
) -> None:
    answer = await send(api, row, GOOD.get(row.name), segment="u" * length)
    if row.method == "DELETE" and answer.status_code == 200:
        assert answer.json()["deleted"] == 0
        return
    assert answer.status_code in (404, 422), answer.text
    check_shape(answer, "not_found|invalid_request", ".", row)


@pytest.mark.parametrize("row", WITH_SEGMENT, ids=lambda row: row.name)
async def test_a_missing_one(api: httpx.AsyncClient, row: e.Endpoint[Any]) -> None:
    answer = await send(api, row, GOOD.get(row.name), segment="not there")
    if row in (e.GET_MEMORY, e.UPDATE_MEMORY, e.GET_COLLECTION, e.MEMORY_HISTORY):
        error = check_refusal(answer, 404, "not_found", "'not there'", row)
        assert "collection" in error["message"]
    elif row is e.RESTORE_MEMORY:
        check_refusal(answer, 404, "not_found", "history of the memory 'not there'", row)
    elif row is e.REVOKE_KEY:
        check_refusal(answer, 404, "not_found", "no API key of this id", row)
    elif row in (e.GET_JOB, e.RETRY_JOB):
        check_refusal(answer, 404, "not_found", "job 'not there'", row)
    else:
        assert answer.status_code == 200


@pytest.mark.parametrize("row", WITH_SEGMENT, ids=lambda row: row.name)
@pytest.mark.parametrize("segment", ["%00", "a%00b", "%FF", "%C3%28", "%ED%A0%80", "a%80"])
async def test_a_path_segment_that_is_no_text(
    api: httpx.AsyncClient, row: e.Endpoint[Any], segment: str
) -> None:
    """Bytes that are no UTF-8 must not be taken for the id with a replacement character."""
    for identity in ("\ufffd", "a\ufffd", "\ufffd(", "\ufffd\ufffd\ufffd"):
        await send(api, e.ADD_MEMORY, {"id": identity, "content": "of another name"})
        wish = {"embedder": "server"}
        await send(api, e.PUT_COLLECTION, wish, segment=identity)
    url = row.path.replace("{id}", segment).replace("{name}", segment)
    body = json.dumps(GOOD[row.name]).encode() if row.body else b""
    answer = await api.request(row.method, url, content=body, headers=JSON if row.body else {})
    assert answer.status_code in (400, 404, 422), answer.text
    check_shape(answer, "malformed_request|not_found|invalid_request", ".", row)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/api",
        "/api/v1",
        "/api/v1/",
        "/api/v1/memories/",
        "/api/v1/memories/a/b",
        "/api/v1/memories/a/",
        "/api/v1/collections/",
        "/api/v2/memories",
        "/API/v1/memories",
        "//api/v1/memories",
        "/health/",
        "/health/nope",
        "/openapi.json/",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/\u00e9",
        f"/{LONG}",
        f"/api/v1/memories/x/{LONG}",
    ],
    ids=lambda path: path[:30],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_a_path_that_there_is_not(api: httpx.AsyncClient, path: str, method: str) -> None:
    answer = await api.request(method, path)
    check_refusal(answer, 404, "not_found", "there is no .*percent-encoded")


@pytest.mark.parametrize("method", ["TRACE", "OPTIONS", "PUT", "X" * 300, "get"])
@pytest.mark.parametrize("path", ["/api/v1/memories", "/api/v1/memories/x", "/health"])
async def test_a_method_that_there_is_not(api: httpx.AsyncClient, method: str, path: str) -> None:
    # Not through httpx's method, which would upper-case it.
    request = api.build_request("GET", path)
    request.method = method
    answer = await api.send(request)
    check_refusal(answer, 405, "method_not_allowed", "is not a method of")
    here = {row.method for row in e.ENDPOINTS if row.path.replace("{id}", "x") == path}
    assert here <= {name.strip() for name in answer.headers["allow"].split(",")}
