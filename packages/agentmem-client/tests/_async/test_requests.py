"""What every request has: who asks, the address, and ids and names as one segment of its path."""

from typing import Any

import pytest
import respx
from agentmem_client import AsyncAgentMemClient, InvalidRequest

from .calls import API, MemoryJson


async def test_every_request_says_who_asks(
    client: AsyncAgentMemClient, respx_mock: respx.MockRouter, memory_json: MemoryJson
) -> None:
    route = respx_mock.post(f"{API}/memories").respond(201, json=memory_json())
    await client.add("text")
    headers = route.calls.last.request.headers
    assert headers["X-API-Key"] == "am_secret-key"
    assert headers["User-Agent"].startswith("agentmem-client/0.")
    assert headers["Accept"] == "application/json"
    assert headers["Accept-Encoding"] == "identity"
    assert headers["Content-Type"] == "application/json"
    assert headers["Content-Length"] == str(len(route.calls.last.request.content))


async def test_without_a_key_there_is_no_key_header(
    respx_mock: respx.MockRouter, memory_json: MemoryJson
) -> None:
    route = respx_mock.post(f"{API}/memories").respond(201, json=memory_json())
    async with AsyncAgentMemClient("http://agentmem.test/", "") as client:
        await client.add("text")
    assert "X-API-Key" not in route.calls.last.request.headers


async def test_a_path_in_the_address_is_kept(
    respx_mock: respx.MockRouter, memory_json: MemoryJson
) -> None:
    url = "https://gateway.test/memory/api/v1/memories/m1?collection=default"
    route = respx_mock.get(url__startswith=url).respond(json=memory_json())
    async with AsyncAgentMemClient("https://gateway.test/memory/") as client:
        await client.get("m1")
    assert route.called


ODD_NAMES = [
    ("a/b", b"a%2Fb"),
    ("..", b"%2E%2E"),
    (".", b"%2E"),
    ("a.b", b"a%2Eb"),
    ("?q=1#f", b"%3Fq%3D1%23f"),
    ("100%", b"100%25"),
    ("%2F", b"%252F"),
    ("a b+c", b"a%20b%2Bc"),
    ("кошка", b"%D0%BA%D0%BE%D1%88%D0%BA%D0%B0"),
    ("\\..\\;x=1", b"%5C%2E%2E%5C%3Bx%3D1"),
    ("line\nbreak", b"line%0Abreak"),
    ("search", b"search"),
]


@pytest.mark.parametrize(("name", "encoded"), ODD_NAMES)
async def test_any_id_is_one_segment_of_the_path(
    client: AsyncAgentMemClient,
    respx_mock: respx.MockRouter,
    memory_json: MemoryJson,
    name: str,
    encoded: bytes,
) -> None:
    get = respx_mock.get(host="agentmem.test").respond(json=memory_json(id=name))
    patch = respx_mock.patch(host="agentmem.test").respond(json=memory_json(id=name))
    delete = respx_mock.delete(host="agentmem.test").respond(json={"deleted": 1})
    assert (await client.get(name)).id == name
    await client.update(name, content="x")
    await client.delete(name)
    for route in (get, patch, delete):
        path, _, sent = route.calls.last.request.url.raw_path.partition(b"?")
        assert path == b"/api/v1/memories/" + encoded
        assert sent.startswith(b"collection=default")


@pytest.mark.parametrize(("name", "encoded"), ODD_NAMES)
async def test_any_collection_name_is_one_segment_of_the_path(
    client: AsyncAgentMemClient, respx_mock: respx.MockRouter, name: str, encoded: bytes
) -> None:
    route = respx_mock.delete(host="agentmem.test").respond(json={"deleted": 3})
    assert await client.delete_collection(name) == 3
    assert route.calls.last.request.url.raw_path == b"/api/v1/collections/" + encoded


@pytest.mark.parametrize("bad", ["", "nul \0", "x" * 513, "\ud800", 7, None])
async def test_impossible_ids_are_refused_unsent(client: AsyncAgentMemClient, bad: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await client.get(bad)
    assert caught.value.details["errors"][0]["field"] == "id"
