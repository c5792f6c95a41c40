"""A search that is sent after a write was answered reflects it, with the caches on."""

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import cycle
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest

if TYPE_CHECKING:
    from tests.conftest import Server

API = "/api/v1/memories"
WRITERS = 6
STEPS = 60
DIMENSION = 8
Hits = list[tuple[str, int]]
"""Id and version of each."""


pytestmark = pytest.mark.every_engine


class InTurns(httpx.AsyncHTTPTransport):
    """Sends each request to the next of the servers, whichever it is for."""

    def __init__(self, servers: "list[Server]") -> None:
        super().__init__()
        self._ports = cycle(server.port for server in servers)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.url = request.url.copy_with(port=next(self._ports))
        return await super().handle_async_request(request)


@pytest.fixture
async def client(served: "list[Server]") -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        base_url=served[0].url, transport=InTurns(served), timeout=60
    ) as client:
        yield client


def vector(seed: int) -> list[float]:
    made: list[float] = np.random.default_rng(seed).standard_normal(DIMENSION).tolist()
    return made


class Writer:
    """Changes memories of its own in a collection of all, and looks for what it did."""

    def __init__(self, client: httpx.AsyncClient, collection: str, number: int) -> None:
        self.client = client
        self.collection = collection
        self.name = f"writer{number}"
        self.seed = 1_000_000 * (number + 1)
        self.chance = random.Random(number)
        self.versions: dict[str, int] = {}
        self.next_version = 0
        self.searches = 0

    def memory(self, identity: str) -> dict[str, Any]:
        self.next_version += 1
        self.versions[identity] = self.next_version
        return {
            "content": f"common {self.name} x{self.seed + self.next_version}",
            "metadata": {"key": identity, "version": self.next_version},
            "embedding": vector(self.seed + self.next_version),
        }

    async def write(self) -> tuple[str, int]:
        """One write of some kind; answers the id it was about, and its version before."""
        identity = f"{self.name}-{self.chance.randrange(5)}"
        before = self.versions.get(identity, 0)
        query = {"collection": self.collection}
        kind = self.chance.random()
        if not before or kind < 0.15:
            item = {"id": identity, "user_id": self.name, **query, **self.memory(identity)}
            if self.chance.random() < 0.5:
                answer = await self.client.post(API, json=item)
            else:
                answer = await self.client.post(f"{API}/batch", json={"memories": [item]})
                assert answer.json()["results"][0]["status"] != "failed", answer.text
        elif kind < 0.6:
            changes = self.memory(identity)
            answer = await self.client.patch(f"{API}/{identity}", params=query, json=changes)
        else:
            del self.versions[identity]
            if kind < 0.8:
                answer = await self.client.delete(f"{API}/{identity}", params=query)
            else:
                body = {"filters": {"key": identity}, **query}
                answer = await self.client.post(f"{API}/delete", json=body)
            assert answer.json()["deleted"] == 1
        assert answer.is_success, answer.text
        return identity, before

    async def search(self, **body: Any) -> Hits:
        self.searches += 1
        body = {"collection": self.collection, "limit": 1_000, **body}
        answer = await self.client.post(f"{API}/search", json=body)
        assert answer.status_code == 200, answer.text
        return [(hit["id"], hit["metadata"]["version"]) for hit in answer.json()["hits"]]

    def mine(self, hits: Hits) -> dict[str, int]:
        """Those of this writer; the others may have changed theirs meanwhile."""
        assert len({identity for identity, _ in hits}) == len(hits)
        return {identity: version for identity, version in hits if identity in self.all_ids}

    @property
    def all_ids(self) -> set[str]:
        return {f"{self.name}-{number}" for number in range(5)}

    async def check_all(self) -> None:
        """Searches that all writers send alike, so that they are kept or under way already."""
        by_words = await self.search(query="common", mode="sparse")
        assert self.mine(by_words) == self.versions
        by_vector = await self.search(embedding=vector(1))
        assert self.mine(by_vector) == self.versions

    async def check_one(self, identity: str, before: int) -> None:
        now = self.versions.get(identity)
        expected = [] if now is None else [(identity, now)]
        by_filter = await self.search(embedding=vector(2), filters={"key": identity})
        assert by_filter == expected
        if before:
            by_old_word = await self.search(query=f"x{self.seed + before}", mode="sparse")
            assert by_old_word == []
            nearest = await self.search(embedding=vector(self.seed + before), limit=1)
            assert (identity, before) not in nearest
        if now is not None:
            assert await self.search(query=f"x{self.seed + now}", mode="sparse") == expected
            nearest = await self.search(embedding=vector(self.seed + now), limit=1)
            assert nearest == expected
        scoped = await self.search(query="common", embedding=vector(3), user_id=self.name)
        assert dict(scoped) == self.versions

    async def run(self, steps: int) -> None:
        for _ in range(steps):
            identity, before = await self.write()
            await self.check_all()  # at once: a stale answer is reachable until the next write
            await self.check_one(identity, before)


async def test_each_search_after_a_write_reflects_it(
    client: httpx.AsyncClient, served: "list[Server]"
) -> None:
    steps = STEPS // len(served)
    writers = [Writer(client, "read-your-writes", number) for number in range(WRITERS)]

    async def ask_again_and_again() -> None:
        """What all ask is kept, or under way, at the moment of every write."""
        while True:
            await writers[0].search(query="common", mode="sparse")
            await writers[0].search(embedding=vector(1))

    async with asyncio.TaskGroup() as askers:
        asking = [askers.create_task(ask_again_and_again()) for _ in range(2)]
        async with asyncio.TaskGroup() as group:
            for writer in writers:
                group.create_task(writer.run(steps))
        for task in asking:
            task.cancel()
    assert sum(writer.searches for writer in writers) > 30 * steps
    answer = await client.get(API, params={"collection": "read-your-writes", "limit": 1_000})
    found = {one["id"]: one["metadata"]["version"] for one in answer.json()["memories"]}
    assert found == {key: value for one in writers for key, value in one.versions.items()}


async def test_what_the_server_embeds_is_found_at_once(client: httpx.AsyncClient) -> None:
    """The built-in embedder, its cache, and the query's: by meaning and by words."""

    async def one(number: int) -> None:
        collection = f"embedded-{number}"
        for step in range(12):
            said = (
                f"step {step} of number {number}: " + ("a cat sleeps", "a train leaves")[step % 2]
            )
            body = {"id": f"{step % 3}", "collection": collection, "content": said}
            await client.post(API, json=body)
            for query in ({"query": said}, {"query": said, "mode": "dense", "limit": 1}):
                answer = await client.post(
                    f"{API}/search", json={"collection": collection, **query}
                )
                assert answer.json()["hits"][0]["content"] == said
            if step % 4 == 3:
                await client.delete(f"{API}/{step % 3}", params={"collection": collection})
                answer = await client.post(
                    f"{API}/search", json={"collection": collection, **query}
                )
                assert said not in [hit["content"] for hit in answer.json()["hits"]]

    async with asyncio.TaskGroup() as group:
        for number in range(4):
            group.create_task(one(number))


async def test_a_collection_made_anew_has_nothing_of_the_old_one(
    client: httpx.AsyncClient,
) -> None:
    """Also when its vectors are longer now, and its searches are the same."""

    async def one(number: int) -> None:
        name = f"anew-{number}"

        async def found(embedding: list[float]) -> list[str]:
            body = {"collection": name, "embedding": embedding, "query": "again"}
            answer = await client.post(f"{API}/search", json=body)
            return [hit["content"] for hit in answer.json().get("hits", [{"content": "refused"}])]

        for step in range(25):
            embedding = [1.0] * (1 + step % 3)
            assert await found(embedding) == []
            body = {"content": f"again {step}", "embedding": embedding, "collection": name}
            assert (await client.post(API, json=body)).status_code == 201
            assert await found(embedding) == [f"again {step}"]
            if step % 2:
                emptied = {"collection": name, "everything": True}
                answer = await client.post(f"{API}/delete", json=emptied)
                assert answer.json()["deleted"] == 1
                assert await found(embedding) == []
            answer = await client.delete(f"/api/v1/collections/{name}")
            assert answer.json()["deleted"] == (step + 1) % 2

    async with asyncio.TaskGroup() as group:
        for number in range(4):
            group.create_task(one(number))


async def test_a_kept_answer_does_not_outlive_a_memory_in_it(client: httpx.AsyncClient) -> None:
    expiry = datetime.now(UTC) + timedelta(seconds=0.6)
    memories = [
        {
            "id": "short",
            "content": "it passes",
            "embedding": [1.0],
            "expires_at": expiry.isoformat(),
        },
        {"id": "long", "content": "it stays", "embedding": [1.0]},
    ]
    items = [{"collection": "passing", **one} for one in memories]
    await client.post(f"{API}/batch", json={"memories": items, "atomic": True})
    searches: list[dict[str, Any]] = [
        {"query": "it", "mode": "sparse"},
        {"embedding": [1.0]},
        {"embedding": [1.0], "limit": 1},
        {"query": "it", "embedding": [1.0]},
    ]
    seen = 0
    while datetime.now(UTC) < expiry + timedelta(seconds=0.3):
        for search in searches:
            sent = datetime.now(UTC)
            answer = await client.post(f"{API}/search", json={"collection": "passing", **search})
            ids = {hit["id"] for hit in answer.json()["hits"]}
            if sent >= expiry:
                assert ids == {"long"}
            seen += "short" in ids
    assert seen
