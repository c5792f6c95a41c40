"""A search that is sent again in the same bytes is answered anew, to each who asks."""

from typing import TYPE_CHECKING

import httpx
import pytest
from agentmem_client import endpoints as e

if TYPE_CHECKING:
    from tests.conftest import OpenApi

ADMIN_KEY = "operator-" * 4
JSON = {"content-type": "application/json"}
SEARCH = b'{"query": "cat", "mode": "sparse", "filters": {"kind": {"$in": ["a", "b"]}}}'


async def found(api: httpx.AsyncClient, body: bytes = SEARCH, key: str | None = None) -> list[str]:
    headers = JSON if key is None else {**JSON, "x-api-key": key}
    answer = await api.post(e.SEARCH_MEMORIES.path, content=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return [hit["id"] for hit in answer.json()["hits"]]


@pytest.mark.every_engine
async def test_it_sees_what_was_written_meanwhile(api: httpx.AsyncClient) -> None:
    stored: list[str] = []
    for number in range(4):
        for _ in range(3):
            assert sorted(await found(api)) == stored
        memory = {"id": f"{number}", "content": "a cat", "metadata": {"kind": "a"}}
        assert (await api.post(e.ADD_MEMORY.path, json=memory)).status_code == 201
        stored.append(f"{number}")


async def test_each_tenant_finds_its_own(open_api: "OpenApi") -> None:
    async with open_api(admin_key=ADMIN_KEY) as api:
        keys = {}
        for tenant in ("one", "two"):
            wish = {"name": "n", "tenant": tenant}
            headers = {"x-api-key": ADMIN_KEY}
            made = await api.post(e.CREATE_KEY.path, json=wish, headers=headers)
            keys[tenant] = made.json()["key"]
            memory = {"id": tenant, "content": "a cat", "metadata": {"kind": "b"}}
            headers = {"x-api-key": keys[tenant]}
            assert (await api.post(e.ADD_MEMORY.path, json=memory, headers=headers)).is_success
        for _ in range(4):
            for tenant, key in keys.items():
                assert await found(api, key=key) == [tenant]


async def test_one_that_refreshes_needs_the_scope_each_time(open_api: "OpenApi") -> None:
    async with open_api(admin_key=ADMIN_KEY) as api:
        wish = {"name": "n", "tenant": "t", "scopes": ["read"]}
        made = await api.post(e.CREATE_KEY.path, json=wish, headers={"x-api-key": ADMIN_KEY})
        body = b'{"query": "cat", "mode": "sparse", "refresh_ttl": true}'
        headers = {**JSON, "x-api-key": made.json()["key"]}
        for _ in range(4):
            assert await found(api, body, key=ADMIN_KEY) == []
            answer = await api.post(e.SEARCH_MEMORIES.path, content=body, headers=headers)
            assert answer.status_code == 403
