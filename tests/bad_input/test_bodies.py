"""Bodies that can't be read, and bodies of all sizes."""

import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from agentmem_client import endpoints as e

from tests.bad_input.sending import GOOD, JSON, LONG, WITH_BODY, check_refusal, check_shape, send

if TYPE_CHECKING:
    from tests.conftest import OpenApi

pytestmark = pytest.mark.asyncio(loop_scope="module")

UNREADABLE = {
    "nothing": b"",
    "blank": b"  \n ",
    "open object": b"{",
    "open string": b'{"content": "abc',
    "trailing comma": b'{"content": "a",}',
    "single quotes": b"{'content': 'a'}",
    "no quotes": b"{content: 1}",
    "two values": b'{"content": "a"}{"content": "b"}',
    "comment": b'{"content": "a"} // why not',
    "python": b"{'content': None}",
    "form": b"content=a&id=b",
    "byte order mark": b'\xef\xbb\xbf{"content": "a"}',
    "utf-16": '{"content": "a"}'.encode("utf-16"),
    "latin-1": '{"content": "\u00e9"}'.encode("latin-1"),
    "truncated utf-8": b'{"content": "\xe2\x82"}',
    "overlong utf-8": b'{"content": "\xc0\xaf"}',
    "utf-8 surrogate": b'{"content": "\xed\xa0\x80"}',
    "lone surrogate": b'{"content": "\\ud800"}',
    "lone low surrogate": b'{"content": "\\udc00"}',
    "half an escape": b'{"content": "\\u12"}',
    "control character": b'{"content": "a\x01b"}',
    "NUL byte": b"\0",
    "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00",
    "deep arrays": b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep objects": b'{"x": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
    "open arrays": b"[" * 500_000,
    "a number of 5,000 digits": b'{"x": ' + b"9" * 5_000 + b"}",
}


@pytest.mark.parametrize("row", WITH_BODY, ids=lambda row: row.name)
@pytest.mark.parametrize("what", UNREADABLE)
async def test_a_body_that_is_not_json(
    api: httpx.AsyncClient, row: e.Endpoint[Any], what: str
) -> None:
    answer = await send(api, row, UNREADABLE[what])
    check_refusal(answer, 400, "malformed_request", "^the body is not JSON: .{8,}", row)


@pytest.mark.parametrize("row", WITH_BODY, ids=lambda row: row.name)
@pytest.mark.parametrize("body", [b"[]", b"null", b"1", b'"text"', b"true", b"[{}]", b"1e999"])
async def test_a_body_that_is_no_object(
    api: httpx.AsyncClient, row: e.Endpoint[Any], body: bytes
) -> None:
    check_refusal(await send(api, row, body), 422, "invalid_request", "object", row)


@pytest.mark.parametrize("row", WITH_BODY, ids=lambda row: row.name)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": ""},
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "multipart/form-data; boundary=x"},
        {"content-type": "application/jsonp"},
        {"content-type": "text/json; application/json"},
        {"content-type": LONG},
    ],
    ids=lambda headers: headers.get("content-type", "none")[:20],
)
async def test_a_body_that_is_not_declared_as_json(
    api: httpx.AsyncClient, row: e.Endpoint[Any], headers: dict[str, str]
) -> None:
    answer = await send(api, row, json.dumps(GOOD[row.name]).encode(), headers=headers)
    check_refusal(answer, 415, "unsupported_media_type", "application/json", row)


@pytest.mark.parametrize(
    "media_type", ["application/json", "Application/JSON", "application/json ; charset=utf-8"]
)
async def test_media_types_that_are_json(api: httpx.AsyncClient, media_type: str) -> None:
    answer = await send(
        api, e.ADD_MEMORY, b'{"content": "a"}', headers={"content-type": media_type}
    )
    assert answer.status_code == 201


# --- Sizes -----------------------------------------------------------------------------------


async def test_a_content_of_a_megabyte(api: httpx.AsyncClient) -> None:
    content = "A megabyte of memory \u00e9. " * 41_667
    assert len(content.encode()) > 1_000_000
    for row, body in (
        (e.ADD_MEMORY, {"id": "megabyte", "content": content}),
        (e.UPDATE_MEMORY, {"content": content + "!"}),
    ):
        answer = await send(api, row, body, segment="megabyte")
        assert answer.is_success
    got = await send(api, e.GET_MEMORY, segment="megabyte")
    assert got.json()["content"] == content + "!"
    found = await send(api, e.SEARCH_MEMORIES, {"query": "megabyte", "mode": "sparse"})
    assert found.json()["hits"][0]["id"] == "megabyte"
    long_query = await send(api, e.SEARCH_MEMORIES, {"query": content})
    assert long_query.status_code == 200
    assert (await send(api, e.DELETE_MEMORY, segment="megabyte")).json()["deleted"] == 1


async def test_a_body_at_the_limit_and_one_above(open_api: "OpenApi") -> None:
    async with open_api(max_body=1_000) as api:
        frame = b'{"id": "x", "content": ""}'
        for size, status in ((1_000, 201), (1_001, 413), (100_000, 413)):
            body = frame[:-2] + b"u" * (size - len(frame)) + frame[-2:]
            assert len(body) == size
            answer = await send(api, e.ADD_MEMORY, body)
            assert answer.status_code == status
            if status == 413:
                check_shape(answer, "payload_too_large", "1000 bytes: send less", e.ADD_MEMORY)

            async def chunks(body: bytes = body) -> AsyncIterator[bytes]:
                for start in range(0, len(body), 100):
                    yield body[start : start + 100]

            answer = await api.request("POST", e.ADD_MEMORY.path, content=chunks(), headers=JSON)
            assert "content-length" not in answer.request.headers
            assert answer.status_code == status
            if status == 413:
                check_shape(answer, "payload_too_large", "1000 bytes: send less", e.ADD_MEMORY)
