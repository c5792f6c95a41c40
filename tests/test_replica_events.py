"""The feed of two servers on one PostgreSQL: each tells all that happens, whoever did it, once."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from agentmem_client import AsyncAgentMemClient
from httpx_sse import aconnect_sse
from websockets.asyncio.client import connect

if TYPE_CHECKING:
    from tests.conftest import Server

Json = dict[str, Any]
API = "/api/v1/memories"
EVENTS = "/api/v1/events"
WRITERS, WRITES = 4, 40
SOON = 5.0
"""Seconds: less than any pause after which a server would look by itself."""
_names = (f"replica-events-{number}" for number in count())

Clients = tuple[httpx.AsyncClient, httpx.AsyncClient]


@pytest.fixture
async def clients(replicas: "tuple[Server, Server]") -> AsyncIterator[Clients]:
    one, other = (
        httpx.AsyncClient(base_url=server.url, timeout=60, limits=httpx.Limits())
        for server in replicas
    )
    async with one, other:
        yield one, other


@pytest.fixture
def collection() -> str:
    """One of the test's own."""
    return next(_names)


@asynccontextmanager
async def following(
    client: httpx.AsyncClient, position: int | None = None, **query: Any
) -> AsyncIterator[AsyncIterator[Json]]:
    headers = {} if position is None else {"last-event-id": str(position)}
    async with aconnect_sse(client, "GET", EVENTS, params=query, headers=headers) as source:
        assert source.response.status_code == 200

        async def events() -> AsyncIterator[Json]:
            async for message in source.aiter_sse():
                if message.data:
                    event: Json = message.json()
                    assert (message.id, message.event) == (str(event["id"]), event["action"])
                    yield event

        yield events()


async def put(client: httpx.AsyncClient, collection: str, id: str, **fields: Any) -> None:
    body = {"id": id, "content": id, "embedding": [1.0], "collection": collection, **fields}
    answer = await client.post(API, json=body)
    assert answer.status_code == 201, answer.text


async def write(clients: Clients, collection: str, name: str) -> None:
    """Add, change and delete, each time through whichever server."""
    chance = random.Random(name)
    there: set[str] = set()
    query = {"collection": collection}
    for number in range(WRITES):
        client = chance.choice(clients)
        id = f"{name}-{chance.randrange(4)}"
        if id in there and chance.random() < 0.4:
            answer = await client.delete(f"{API}/{id}", params=query)
            assert answer.json() == {"deleted": 1}
            there.remove(id)
        elif id in there and chance.random() < 0.5:
            answer = await client.patch(f"{API}/{id}", params=query, json={"type": f"t{number}"})
            assert answer.status_code == 200
        else:
            await put(client, collection, id, user_id=f"user {number % 2}")
            there.add(id)


async def until_last(events: AsyncIterator[Json], told: list[Json]) -> None:
    async for event in events:
        told.append(event)
        if event["memory_id"] == "last":
            return


async def test_followers_of_both_are_told_the_same_in_order_without_a_gap(
    clients: Clients, replicas: "tuple[Server, Server]", collection: str
) -> None:
    """Who follows everything, who follows one collection, and who comes and goes between both."""
    everything: list[list[Json]] = [[], []]
    narrow: list[list[Json]] = [[], []]
    by_socket: list[list[Json]] = [[], []]
    moving: list[Json] = []
    ready = asyncio.Semaphore(0)

    async def follow(client: httpx.AsyncClient, told: list[Json], **query: Any) -> None:
        async with following(client, **query) as events:
            ready.release()
            await until_last(events, told)

    async def follow_by_socket(server: "Server", told: list[Json]) -> None:
        url = f"ws{server.url.removeprefix('http')}{EVENTS}/ws?collection={collection}"
        async with connect(url, proxy=None) as socket:
            ready.release()
            async for text in socket:
                told.append(json.loads(text))
                if told[-1]["memory_id"] == "last":
                    return

    async def move() -> None:
        """Each server in turn, after the last event that the other one told."""
        chance = random.Random(3)
        position = (await begin(clients[0]))["id"]
        ready.release()
        for number in count():
            async with following(clients[number % 2], position, collection=collection) as events:
                for _ in range(chance.randrange(1, 12)):
                    moving.append(await anext(events))
                    position = moving[-1]["id"]
                    if moving[-1]["memory_id"] == "last":
                        return

    async def begin(client: httpx.AsyncClient) -> Json:
        async with following(client, collection=collection) as events:
            await put(client, collection, "first")
            return await anext(events)

    async with asyncio.TaskGroup() as group:
        group.create_task(move())
        await ready.acquire()
        for place in range(2):
            group.create_task(follow(clients[place], everything[place]))
            group.create_task(follow(clients[place], narrow[place], collection=collection))
            group.create_task(follow_by_socket(replicas[place], by_socket[place]))
        for _ in range(6):
            await ready.acquire()
        async with asyncio.TaskGroup() as writers:
            for number in range(WRITERS):
                writers.create_task(write(clients, collection, f"w{number}"))
        await put(clients[0], collection, "last")
    for told in everything:
        ids = [event["id"] for event in told]
        assert ids == list(range(ids[0], ids[-1] + 1))
    mine = [event for event in everything[0] if event["collection"] == collection]
    assert len(mine) >= WRITERS * WRITES + 1
    for told in (*narrow, *by_socket, moving):
        assert told == mine
    versions: dict[str, list[int]] = {}
    for event in mine:
        versions.setdefault(event["memory_id"], []).append(event["version"])
    for found in versions.values():
        assert found == list(range(1, len(found) + 1))


async def test_what_the_other_does_is_told_by_and_by_without_asking(
    clients: Clients, collection: str
) -> None:
    """A server is woken by the other one's commits: it tells each before the next is made."""
    async with (
        following(clients[0], collection=collection) as one,
        following(clients[1], collection=collection) as other,
    ):
        for number in range(20):
            await put(clients[number % 2], collection, f"m{number}")
            async with asyncio.timeout(SOON):
                for events in (one, other):
                    assert (await anext(events))["memory_id"] == f"m{number}"


async def test_a_client_s_feed_goes_on_with_the_other_server(
    clients: Clients, replicas: "tuple[Server, Server]", collection: str
) -> None:
    """It is cut off by a proxy of the first server that goes away."""
    urls: list[str] = []
    connections: set[asyncio.StreamWriter] = set()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection("127.0.0.1", replicas[0].port)
        connections.update((writer, there[1]))

        async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            while data := await source.read(65_536):
                target.write(data)

        await asyncio.gather(copy(reader, there[1]), copy(there[0], writer))

    proxy = await asyncio.start_server(forward, "127.0.0.1", 0)
    urls = [f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}", replicas[1].url]
    told: list[str | None] = []
    async with AsyncAgentMemClient(urls) as client:
        events = client.events(collection=collection)
        following_it = asyncio.create_task(anext(events))
        while not following_it.done():
            await put(clients[0], collection, "first")
            await asyncio.wait([following_it], timeout=0.3)
        last = (await following_it).id
        proxy.close()
        for writer in connections:
            writer.close()
        for number in range(10):
            await put(clients[number % 2], collection, f"m{number}")
        async for event in events:
            assert event.id > last
            last = event.id
            told.append(event.memory_id)
            if event.memory_id == "m9":
                break
        await events.aclose()
    assert [id for id in told if id != "first"] == [f"m{number}" for number in range(10)]
