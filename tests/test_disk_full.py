"""A disk that is full: writes are refused, reads go on, and nothing that was answered is lost."""

import asyncio
import json
import resource
import sys
from itertools import count
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.outages import check_refusal

if TYPE_CHECKING:
    from tests.conftest import MakeServer, Server

API = "/api/v1/memories"
LIMITED = """
import os, resource, sys
limit = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Starts a program that can make no file larger than that."""


def memory(number: int, version: int = 0) -> dict[str, Any]:
    return {
        "content": f"w{number}v{version} " + "filling the disk " * 1_000,
        "metadata": {"number": number, "version": version},
        "embedding": [1.0, float(number), float(version)],
    }


async def fill(client: httpx.AsyncClient) -> dict[int, int]:
    """Add, several at once, until nothing goes in any more; answers what was stored."""
    stored: dict[int, int] = {}
    numbers = count()

    async def work() -> None:
        refused = 0
        while refused < 5:
            number = next(numbers)
            assert number < 2_000, "there is no end to this disk"
            answer = await client.post(API, json={"id": f"{number}", **memory(number)})
            if answer.status_code == 201:
                stored[number] = 0
            else:
                check_refusal(answer)
                refused += 1

    await asyncio.gather(*(work() for _ in range(4)))
    return stored


async def check_reads(client: httpx.AsyncClient, stored: dict[int, int]) -> None:
    """All that was stored is there in every way, and nothing of what was refused."""
    found: dict[int, int] = {}
    query: dict[str, Any] = {"limit": 100, "include_embeddings": True}
    while True:
        page = (await client.get(API, params=query)).json()
        for one in page["memories"]:
            number, version = one["metadata"]["number"], one["metadata"]["version"]
            expected = memory(number, version)
            assert {name: one[name] for name in expected} == expected
            found[number] = version
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert found == stored
    body: dict[str, Any] = {"query": "disk", "mode": "sparse", "limit": 1_000}
    assert await ids(client, body) == set(stored)
    assert await ids(client, {"embedding": [1.0, 2.0, 3.0], "limit": 1_000}) == set(stored)
    for number in [*list(stored)[:3], *list(stored)[-3:]]:
        body = {"query": f"w{number}v{stored[number]}", "mode": "sparse"}
        assert await ids(client, body) == {number}
        filters = {"number": number, "version": stored[number]}
        body = {"embedding": [1.0, 1.0, 1.0], "filters": filters}
        assert await ids(client, body) == {number}


async def ids(client: httpx.AsyncClient, body: dict[str, Any]) -> set[int]:
    answer = await client.post(f"{API}/search", json=body)
    assert answer.status_code == 200, answer.text
    return {hit["metadata"]["number"] for hit in answer.json()["hits"]}


async def check_writes_are_refused(client: httpx.AsyncClient, stored: dict[int, int]) -> None:
    known = next(iter(stored))
    large = [{"id": f"x{number}", **memory(number)} for number in range(50)]
    body = {"memories": large, "atomic": True}
    check_refusal(await client.post(f"{API}/batch", json=body))
    # As large as the file may get, whatever room there is left for smaller ones.
    huge = {**memory(known, 1), "content": "w" * 9_000_000}
    check_refusal(await client.post(API, json={"id": "huge", **huge}))
    check_refusal(await client.patch(f"{API}/{known}", json=huge))
    answer = await client.post(f"{API}/batch", json={"memories": [{"id": "huge", **huge}] * 2})
    results = answer.json()["results"]
    assert [result["status"] for result in results] == ["failed", "failed"]
    assert {result["error"]["code"] for result in results} == {"unavailable"}


@pytest.mark.parametrize(("megabytes", "end"), [(2, "killed"), (6, "stopped")])
async def test_a_full_disk(make_server: "MakeServer", megabytes: int, end: str) -> None:
    """At 2 MB the log of changes is full before it was folded into the file, at 6 MB after."""
    limit = megabytes * 1_000_000
    server = make_server(wrapper=(sys.executable, "-c", LIMITED, str(limit)))
    await asyncio.to_thread(server.start)
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
        stored = await fill(client)
        assert stored
        await check_reads(client, stored)
        await check_writes_are_refused(client, stored)
        await check_reads(client, stored)
        assert (await client.get("/health/live")).status_code == 200
    if end == "stopped":
        assert await asyncio.to_thread(server.stop) == 0
    else:
        await asyncio.to_thread(server.kill)
    check_log(server)
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY

    server.wrapper = ()
    await asyncio.to_thread(server.start)
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
        await check_reads(client, stored)
        known = next(iter(stored))
        assert (await client.patch(f"{API}/{known}", json=memory(known, 1))).status_code == 200
        stored[known] = 1
        for number in range(200_000, 200_010):
            body = {"id": f"{number}", **memory(number)}
            assert (await client.post(API, json=body)).status_code == 201
            stored[number] = 0
        await check_reads(client, stored)


def check_log(server: "Server") -> None:
    """A full disk is no defect of the server's: no trace of its inside, and still JSON."""
    assert "Traceback" not in server.log_text()
    for line in server.log_text().splitlines():
        json.loads(line)
