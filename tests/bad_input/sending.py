"""What the tests of bad input send, and what they hold refusals to."""

import json
import re
from functools import cache
from typing import Any

import httpx
from agentmem_client import endpoints as e
from agentmem_client.errors import BY_CODE
from agentmem_server.routes.openapi import document

Json = dict[str, Any]
JSON = {"content-type": "application/json"}
ROW = {row.name: row for row in e.ENDPOINTS}
WITH_BODY = [row for row in e.ENDPOINTS if row.body is not None]
LONG = "u" * 5_000

GOOD: dict[str, Json] = {
    "add_memory": {"content": "a good one"},
    "add_memories": {"memories": [{"content": "a good one"}]},
    "search_memories": {"query": "good"},
    "get_memories": {"ids": ["a"]},
    "delete_memories": {"ids": ["a"]},
    "archive_memories": {"ids": ["a"]},
    "extract": {"messages": [{"content": "a good one"}]},
    "extract_many": {"conversations": [{"messages": [{"content": "a good one"}]}]},
    "update_memory": {"type": "changed"},
    "restore_memory": {"version": 1},
    "put_collection": {"embedder": "server"},
    "create_key": {"name": "a good one"},
}
"""A body that each operation takes."""


async def send(
    api: httpx.AsyncClient,
    row: e.Endpoint[Any],
    body: object = None,
    *,
    segment: str = "x",
    query: str = "",
    headers: dict[str, str] | None = None,
) -> httpx.Response:
    """Send an operation a body (JSON values, or the very bytes), encoded as a client would."""
    url = row.url(id=segment, name=segment) + (f"?{query}" if query else "")
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    if body is None:
        content, headers = b"", headers or {}
    return await api.request(
        row.method, url, content=content, headers=JSON if headers is None else headers
    )


def check_refusal(
    answer: httpx.Response, status: int, code: str, says: str, row: e.Endpoint[Any] | None = None
) -> Json:
    """Hold a refusal to the one shape that all of them have; answers its error."""
    assert answer.status_code == status, answer.text[:500]
    return check_shape(answer, code, says, row)


def check_shape(
    answer: httpx.Response, code: str, says: str, row: e.Endpoint[Any] | None = None
) -> Json:
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert body.keys() == {"error", "request_id"}
    assert body["request_id"] == answer.headers["x-request-id"]
    error: Json = body["error"]
    assert error.keys() == {"code", "message", "details"}
    assert re.search(code, error["code"]), error
    assert BY_CODE[error["code"]].status == answer.status_code
    assert re.search(says, error["message"]), error["message"][:500]
    assert re.search(r"\w+ \w+", error["message"])
    assert isinstance(error["details"], dict)
    check_no_echo(answer)
    if row is not None:
        assert (row.name, answer.status_code) in documented()
    return error


@cache
def documented() -> set[tuple[str, int]]:
    """(operation, status) of every answer that the OpenAPI document knows."""
    return {
        (operation["operationId"], int(status))
        for path in document()["paths"].values()
        for operation in path.values()
        for status in operation["responses"]
    }


def check_no_echo(answer: httpx.Response) -> None:
    """All long values that these tests send are one character again and again."""
    assert not re.search(r"(.)\1{220}", answer.text), f"echoed: {answer.text[:300]}"
    assert len(answer.text) < 20_000, f"a refusal of {len(answer.text)} characters"
