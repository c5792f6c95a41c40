# Generated from tests/_async/test_windows.py by scripts/generate_sync.py: do not edit.
"""The oldest or newest memories, taken away or set aside: what is read, and what is done to it."""

import json
from typing import Any

import httpx
import pytest
import respx
from agentmem_client import AgentMemClient, InvalidRequest

from .calls import API, MemoryJson, body, query


def pages(memory_json: MemoryJson, *names: str) -> list[httpx.Response]:
    last = len(names) - 1
    return [
        httpx.Response(
            200,
            json={
                "memories": [memory_json(id=name) for name in page],
                "next_cursor": None if number == last else str(number),
            },
        )
        for number, page in enumerate(names)
    ]


def test_pop_deletes_what_it_read(
    client: AgentMemClient, respx_mock: respx.MockRouter, memory_json: MemoryJson
) -> None:
    read = respx_mock.get(url__startswith=f"{API}/memories").mock(
        side_effect=pages(memory_json, "abc", "de")
    )
    gone = [memory_json(id="d"), memory_json(id="b")]  # another caller took c
    route = respx_mock.post(f"{API}/memories/delete").respond(json={"deleted": 2, "memories": gone})
    popped = client.pop(3, offset=1, order="desc", session_id="s", filters={"a": 1})
    assert [memory.id for memory in popped] == ["b", "d"]
    assert body(route) == {
        "ids": ["b", "c", "d"],
        "collection": "default",
        "include_memories": True,
    }
    assert query(read, 0)["session_id"] == "s"
    assert query(read, 0)["order"] == "desc"


def test_pop_with_nothing_there_deletes_nothing(
    client: AgentMemClient, respx_mock: respx.MockRouter, memory_json: MemoryJson
) -> None:
    respx_mock.get(url__startswith=f"{API}/memories").mock(side_effect=pages(memory_json, ""))
    assert client.pop(5) == []


def test_a_repeated_pop_deletes_no_more_and_loses_nothing(
    client: AgentMemClient, respx_mock: respx.MockRouter, memory_json: MemoryJson
) -> None:
    respx_mock.get(url__startswith=f"{API}/memories").mock(side_effect=pages(memory_json, "ab"))
    route = respx_mock.post(f"{API}/memories/delete").mock(
        side_effect=[
            httpx.ReadError("the answer was lost"),
            httpx.Response(200, json={"deleted": 0, "memories": []}),
        ]
    )
    assert [memory.id for memory in client.pop(2)] == ["a", "b"]
    assert body(route, 0) == body(route, 1)


@pytest.mark.parametrize(
    ("limit", "offset"),
    [(0, 0), (-1, 0), (10_001, 0), (1, -1), (1_000.5, 0), (1, 1_000.5), ("5", 0), (None, 0)],
)
def test_a_window_that_can_not_be_is_refused(
    client: AgentMemClient, limit: Any, offset: Any
) -> None:
    with pytest.raises(InvalidRequest, match="limit"):
        client.pop(limit, offset=offset)
    with pytest.raises(InvalidRequest, match="limit"):
        client.archive(limit, offset=offset)


def test_archive_sets_aside_what_is_not(
    client: AgentMemClient, respx_mock: respx.MockRouter, memory_json: MemoryJson
) -> None:
    read = respx_mock.get(url__startswith=f"{API}/memories").mock(
        side_effect=[*pages(memory_json, "ab"), *pages(memory_json, "c")]
    )
    route = respx_mock.post(f"{API}/memories/archive").mock(
        side_effect=[
            httpx.Response(200, json={"memories": [memory_json(id="b"), memory_json(id="a")]}),
            httpx.Response(200, json={"memories": [memory_json(id="c")]}),
        ]
    )
    found = client.archive(2, filters={"a": 1}, user_id="u")
    assert [memory.id for memory in found] == ["a", "b"]
    assert body(route) == {"ids": ["a", "b"], "collection": "default", "archived": True}
    filters = json.loads(query(read)["filters"])
    assert filters == {"$and": [{"@archived": {"$eq": False}}, {"a": {"$eq": 1}}]}
    client.archive(archived=False)
    assert body(route) == {"ids": ["c"], "collection": "default", "archived": False}
    assert json.loads(query(read)["filters"]) == {"@archived": {"$eq": True}}
