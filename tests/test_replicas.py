"""Two servers on one PostgreSQL: what one of them did, the other one knows at once."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from tests.conftest import MakeServer, Postgres, Server

Json = dict[str, Any]
API = "/api/v1/memories"
COLLECTIONS = "/api/v1/collections"
KEYS = "/api/v1/keys"
ROUNDS = 4
WRITES = 80
SEARCHERS = 3
"""On each server."""
WRITERS = 16
"""On each server."""
SEARCHES: list[Json] = [
    {"query": "common", "mode": "sparse"},
    {"embedding": [1.0, 1.0], "mode": "dense"},
    {"query": "common", "embedding": [1.0, 1.0], "mode": "hybrid"},
    {"embedding": [1.0, 1.0], "filters": {"kind": "kept"}},
]
_names = (f"replicas-{number}" for number in count())


class Replica:
    """One of the servers, asked about one collection, or about all."""

    def __init__(self, client: httpx.AsyncClient, collection: str) -> None:
        self.client = client
        self.collection = collection
        self.query = {"collection": collection}

    async def ask(self, method: str, path: str, **options: Any) -> Json:
        answer = await self.client.request(method, path, **options)
        assert answer.is_success, answer.text
        found: Json = answer.json()
        return found

    async def add(self, id: str, **fields: Any) -> Json:
        return await self.ask("POST", API, json={**memory(id), **self.query, **fields})

    async def batch(self, *ids: str, **fields: Any) -> None:
        items = [{**memory(id), **self.query} for id in ids]
        answer = await self.ask("POST", f"{API}/batch", json={"memories": items, **fields})
        assert "failed" not in [result["status"] for result in answer["results"]]

    async def patch(self, id: str, **fields: Any) -> Json:
        return await self.ask("PATCH", f"{API}/{id}", params=self.query, json=fields)

    async def delete(self, id: str) -> None:
        answer = await self.ask("DELETE", f"{API}/{id}", params=self.query)
        assert answer == {"deleted": 1}

    async def search(self, **body: Any) -> list[Json]:
        answer = await self.ask("POST", f"{API}/search", json={**self.query, "limit": 100, **body})
        hits: list[Json] = answer["hits"]
        return hits

    async def listed(self) -> list[Json]:
        answer = await self.ask("GET", API, params={**self.query, "limit": 1_000})
        memories: list[Json] = answer["memories"]
        assert answer["total"] == len(memories)
        return memories

    async def history(self, id: str) -> list[str]:
        path = f"{API}/{id}/history"
        answer = await self.client.get(path, params=self.query)
        if answer.status_code == 404:
            return []
        return [event["action"] for event in answer.json()["events"]]


@pytest.fixture
async def pair(replicas: "tuple[Server, Server]") -> AsyncIterator[tuple[Replica, Replica]]:
    """Both servers, asked about a collection of the test's own."""
    async for both in opened(replicas, next(_names)):
        yield both


async def opened(
    servers: "tuple[Server, Server]", collection: str, **options: Any
) -> AsyncIterator[tuple[Replica, Replica]]:
    limits = httpx.Limits(max_connections=None)
    async with AsyncExitStack() as stack:
        one, other = [
            await stack.enter_async_context(
                httpx.AsyncClient(base_url=server.url, timeout=60, limits=limits, **options)
            )
            for server in servers
        ]
        yield Replica(one, collection), Replica(other, collection)


def memory(id: str, step: int = 0) -> Json:
    return {
        "id": id,
        "content": f"common words of {id}",
        "metadata": {"step": step, "kind": "kept"},
        "embedding": [1.0, float(step + 1)],
    }


# --- A write through one is seen through the other -------------------------------------------


class Expected:
    """What every server answers: the memories there are, each with its step; and their past."""

    def __init__(self) -> None:
        self.steps: dict[str, int] = {}
        self.archived: set[str] = set()
        self.actions: dict[str, list[str]] = {}

    def did(self, action: str, *ids: str) -> None:
        for id in ids:
            self.actions.setdefault(id, []).append(action)

    async def check(self, replica: Replica, *ids: str) -> None:
        """By searches that are the same each time, so that their results are kept."""
        for search in SEARCHES:
            hits = await replica.search(**search)
            found = {hit["id"]: hit["metadata"]["step"] for hit in hits}
            assert found == self.steps, search
            assert {hit["id"] for hit in hits if hit["archived"]} == self.archived
        there = {one["id"]: one["metadata"]["step"] for one in await replica.listed()}
        assert there == self.steps
        for id in ids:
            got = await replica.client.get(f"{API}/{id}", params=replica.query)
            assert (got.status_code == 200) == (id in self.steps)
            if id in self.steps:
                assert got.json()["metadata"]["step"] == self.steps[id]
            assert await replica.history(id) == self.actions.get(id, [])


async def memories(replica: Replica) -> int:
    """Of all collections, as the figures tell it."""
    found: int = (await replica.ask("GET", "/api/v1/stats"))["memories"]
    return found


async def test_each_kind_of_write_is_seen_through_the_other_at_once(
    pair: tuple[Replica, Replica],
) -> None:
    expected, before = Expected(), await memories(pair[0])
    for round_ in range(ROUNDS):
        writer, reader = pair if round_ % 2 else pair[::-1]
        one, two, three = ids = [f"{round_}-{number}" for number in range(3)]

        async def both_see(
            did: Awaitable[Any], reader: Replica = reader, ids: list[str] = ids
        ) -> None:
            """The other one first: it has what was there before."""
            await did
            await expected.check(reader, *ids)
            for replica in pair:
                await expected.check(replica, *ids)

        expected.did("added", one)
        expected.steps[one] = 0
        await both_see(writer.add(one))
        expected.did("added", two, three)
        expected.steps |= {two: 0, three: 0}
        await both_see(writer.batch(two, three, atomic=bool(round_ % 2)))
        expected.did("updated", two)
        expected.steps[two] = 1
        await both_see(writer.patch(two, metadata={"step": 1, "kind": "kept"}))
        expected.did("updated", three)
        expected.archived.add(three)
        criteria = {**writer.query, "ids": [three], "archived": True}
        await both_see(writer.ask("POST", f"{API}/archive", json=criteria))
        expected.did("deleted", one)
        del expected.steps[one]
        await both_see(writer.delete(one))
        expected.did("deleted", three)
        del expected.steps[three]
        expected.archived.remove(three)
        criteria = {**writer.query, "filters": {"@id": three}}
        await both_see(writer.ask("POST", f"{API}/delete", json=criteria))
        expected.did("added", one)
        expected.steps[one] = 0
        restoring = {"params": writer.query, "json": {"version": 1}}
        await both_see(writer.ask("POST", f"{API}/{one}/restore", **restoring))
        assert await memories(reader) == before + len(expected.steps)


async def test_a_collection_made_and_dropped_through_one_is_so_through_the_other(
    pair: tuple[Replica, Replica],
) -> None:
    """Also where its vectors are longer now, and the searches are the same."""
    for round_ in range(ROUNDS):
        writer, reader = pair if round_ % 2 else pair[::-1]
        path = f"{COLLECTIONS}/{writer.collection}"
        searches: list[Json] = [
            {"embedding": [1.0, 1.0]},
            {"query": "common", "mode": "sparse"},
        ]

        async def found(search: Json, reader: Replica = reader) -> list[str]:
            return [hit["id"] for hit in await reader.search(**search)]

        for search in searches:
            assert await found(search) == []
        assert (await reader.client.get(path)).status_code == 404
        dimension = 2 + round_ % 2
        made = {"dimension": dimension, "embedder": "client"}
        await writer.ask("PUT", path, json=made)
        assert (await reader.ask("GET", path))["dimension"] == dimension
        vector = [1.0] * dimension
        assert await found({"embedding": vector}) == []
        await writer.add("it", embedding=vector)
        assert await found({"embedding": vector}) == ["it"]
        assert await found(searches[1]) == ["it"]
        await writer.ask("PUT", path, json={**made, "default_ttl": 60.0})
        assert (await reader.ask("GET", path))["default_ttl"] == 60.0
        mortal = await reader.add("mortal", embedding=vector)
        assert mortal["ttl"] == 60.0
        names = [one["name"] for one in (await reader.ask("GET", COLLECTIONS))["collections"]]
        assert writer.collection in names
        assert await writer.ask("DELETE", path) == {"deleted": 2}
        assert await reader.listed() == []


async def test_a_time_to_live_that_one_starts_anew_is_the_other_s_too(
    pair: tuple[Replica, Replica],
) -> None:
    one, _ = pair
    await one.add("m", ttl=1.0)
    for number in range(4):
        await asyncio.sleep(0.4)
        reader = pair[number % 2]
        got = await reader.ask("GET", f"{API}/m", params={**one.query, "refresh_ttl": True})
        for replica in pair:
            (hit,) = await replica.search(**SEARCHES[0])
            assert hit["expires_at"] == got["expires_at"]
    await asyncio.sleep(1.1)
    for replica in pair:
        assert await replica.search(**SEARCHES[0]) == []
        assert (await replica.client.get(f"{API}/m", params=one.query)).status_code == 404


async def figure(replica: Replica, name: str) -> float:
    metrics = (await replica.client.get("/metrics")).text
    (line,) = [line for line in metrics.splitlines() if line.startswith(f"{name} ")]
    return float(line.split()[-1])


async def kept_results(replica: Replica) -> float:
    return await figure(replica, 'agentmem_cache_entries{cache="result"}')


async def has_no_copies(replica: Replica) -> bool:
    return await kept_results(replica) == 0


async def test_who_was_erased_through_one_is_in_no_answer_of_the_other(
    pair: tuple[Replica, Replica],
) -> None:
    for round_ in range(2):
        writer, reader = pair if round_ % 2 else pair[::-1]
        user = f"user-{writer.collection}"
        for id in ("a", "b"):
            await reader.add(id, user_id=user)
        await reader.add("c", user_id="somebody")
        for search in SEARCHES:
            assert len(await reader.search(**search)) == 3
        assert await kept_results(reader) >= len(SEARCHES)
        answer = await writer.ask("DELETE", f"/api/v1/users/{user}")
        assert (answer["memories"], answer["collections"]) == (2, 1)
        for replica in pair:
            await until(partial(has_no_copies, replica))
        for search in SEARCHES:
            assert [hit["id"] for hit in await reader.search(**search)] == ["c"]
        assert await reader.history("a") == []


async def test_no_search_that_starts_after_a_write_was_answered_shows_what_was_before(
    pair: tuple[Replica, Replica],
) -> None:
    """One memory is changed through both by turns, while all search for it in the same words."""
    await pair[0].add("m")
    answered = sent = 0
    searches = [0, 0]

    async def search_on(number: int, body: Json) -> None:
        while True:
            least = answered
            (hit,) = await pair[number].search(**body)
            assert least <= hit["metadata"]["step"] <= sent
            assert hit["version"] == hit["metadata"]["step"] + 1
            searches[number] += 1

    async with asyncio.TaskGroup() as searchers:
        searching = [
            searchers.create_task(search_on(number, SEARCHES[place % len(SEARCHES)]))
            for number in range(2)
            for place in range(SEARCHERS)
        ]
        for sent in range(1, WRITES + 1):
            body = memory("m", sent)
            del body["id"]
            await pair[sent % 2].patch("m", **body)
            answered = sent
            for replica in pair:
                (hit,) = await replica.search(**SEARCHES[sent % len(SEARCHES)])
                assert hit["metadata"]["step"] == sent
        for task in searching:
            task.cancel()
    assert min(searches) > WRITES
    for replica in pair:
        assert await figure(replica, 'agentmem_cache_hits_total{cache="result"}') > 0


# --- Changes at once, and changes sent again --------------------------------------------------


async def test_writers_through_both_lose_no_increment(pair: tuple[Replica, Replica]) -> None:
    """Each reads a number and writes the next one, if nobody else has meanwhile."""
    await pair[0].add("counter")

    async def increment(replica: Replica) -> None:
        path = f"{API}/counter"
        while True:
            now = await replica.ask("GET", path, params=replica.query)
            answer = await replica.client.patch(
                path,
                params=replica.query,
                json={"metadata": {"step": now["metadata"]["step"] + 1}},
                headers={"if-match": f'"{now["version"]}"'},
            )
            if answer.status_code == 200:
                return
            assert answer.status_code == 412, answer.text

    async with asyncio.TaskGroup() as writers:
        for number in range(2 * WRITERS):
            writers.create_task(increment(pair[number % 2]))
    for replica in pair:
        got = await replica.ask("GET", f"{API}/counter", params=replica.query)
        assert got["metadata"]["step"] == 2 * WRITERS
        assert got["version"] == 2 * WRITERS + 1


async def test_what_is_sent_again_through_the_other_is_done_once(
    pair: tuple[Replica, Replica],
) -> None:
    for round_ in range(ROUNDS):
        one, other = pair if round_ % 2 else pair[::-1]
        id = f"m{round_}"
        await asyncio.gather(*(replica.add(id) for replica in (one, other, one, other)))
        await one.batch(f"{id}-a", f"{id}-b", atomic=True)
        await other.batch(f"{id}-a", f"{id}-b", atomic=True)
        assert len(await one.listed()) == 3 * (round_ + 1)
        version = (await one.ask("GET", f"{API}/{id}", params=one.query))["version"]

        async def change(replica: Replica, id: str = id, version: int = version) -> Json:
            return await replica.ask(
                "PATCH",
                f"{API}/{id}",
                params=replica.query,
                json={"type": "changed"},
                headers={"if-match": f'"{version}"', "idempotency-key": f"key-of-{id}"},
            )

        changed = await asyncio.gather(*(change(replica) for replica in (one, other, one)))
        again = await change(other)
        assert {answer["version"] for answer in [*changed, again]} == {version + 1}
        assert len(await other.history(id)) == version + 1
        await one.delete(id)
        answer = await other.ask("DELETE", f"{API}/{id}", params=other.query)
        assert answer == {"deleted": 0}
        await one.add(id)


async def test_conversations_written_through_both_at_once_are_whole(
    pair: tuple[Replica, Replica],
) -> None:
    """A turn before another one lends it its words, whichever server stored it."""
    turns = 12
    chance = random.Random(5)
    for number in range(turns):
        content = f"turn{number} says w{number}"
        await pair[chance.randrange(2)].add(f"t{number}", content=content, session_id="s")
    for number in range(turns):
        hits = await pair[number % 2].search(query=f"w{number}", mode="sparse", session_id="s")
        following = {f"t{number + 1}"} if number + 1 < turns else set()
        assert {hit["id"] for hit in hits} == {f"t{number}"} | following


# --- What both do by themselves ---------------------------------------------------------------


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    for _ in range(200):
        if await holds():
            return
        await asyncio.sleep(0.1)
    raise AssertionError("it does not become so")


async def events_of(replica: Replica, after: int) -> list[Json]:
    """The events of a collection's memories, as the feed tells them to somebody who comes now."""
    told: list[Json] = []
    query: Json = {"after": after, **replica.query}
    async with replica.client.stream("GET", "/api/v1/events", params=query) as stream:
        lines = stream.aiter_lines()
        try:
            async with asyncio.timeout(1):
                async for line in lines:
                    if line.startswith("data: "):
                        told.append(json.loads(line.removeprefix("data: ")))
        except TimeoutError:
            return [event for event in told if event["memory_id"] is not None]
    raise AssertionError("the feed ended")


async def test_what_expires_is_swept_once(
    pair: tuple[Replica, Replica], replicas: "tuple[Server, Server]"
) -> None:
    expiry = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
    many = [
        {**memory(f"m{number}"), "collection": pair[0].collection, "expires_at": expiry}
        for number in range(900)
    ]
    for replica, part in zip(pair, (many[:450], many[450:]), strict=True):
        await replica.ask("POST", f"{API}/batch", json={"memories": part, "atomic": True})

    async def are_told() -> bool:
        return len(await events_of(pair[0], 0)) >= 2 * len(many)

    await until(are_told)
    await asyncio.sleep(0.7)  # more sweeps
    told = [await events_of(replica, 0) for replica in pair]
    assert told[0] == told[1]
    actions = [(event["action"], event["memory_id"]) for event in told[0]]
    assert len(actions) == len(set(actions)) == 2 * len(many)
    assert [action for action, _ in actions].count("expired") == len(many)
    assert not any("Traceback" in server.log_text() for server in replicas)


async def test_old_events_are_forgotten_and_keys_count_on_both(
    make_server: "MakeServer", postgres: "Postgres"
) -> None:
    url = postgres.url()
    often = {"AGENTMEM_SWEEP_INTERVAL": "0.2", "AGENTMEM_HISTORY_TTL": "1"}
    servers = (
        make_server(database_url=url, environment=often),
        make_server(database_url=url, environment=often),
    )
    for server in servers:
        server.launch()
    for server in servers:
        await asyncio.to_thread(server.start)
    async for pair in opened(servers, "default"):
        await check_that_events_are_forgotten(pair)
        await check_that_keys_count(pair)
    assert not any("Traceback" in server.log_text() for server in servers)


async def check_that_events_are_forgotten(pair: tuple[Replica, Replica]) -> None:
    for number in range(40):
        await pair[number % 2].add(f"m{number % 5}")

    async def none_is_kept() -> bool:
        return not any([await pair[0].history(f"m{number}") for number in range(5)])

    await until(none_is_kept)
    for replica in pair:
        assert len(await replica.listed()) == 5
        async with replica.client.stream("GET", "/api/v1/events", params={"after": 1}) as stream:
            async for line in stream.aiter_lines():
                if line.startswith("data: "):
                    assert line == 'data: {"oldest":41}'
                    break


async def check_that_keys_count(pair: tuple[Replica, Replica]) -> None:
    """What one makes or revokes is so through the other within a second, from the first key on."""
    one, other = pair
    assert (await other.client.get(API)).status_code == 200
    wish = {"tenant": "default", "name": "k", "scopes": ["read", "write", "admin"]}
    admin = await one.ask("POST", KEYS, json=wish)
    await asyncio.sleep(1)
    assert (await other.client.get(API)).status_code == 401
    for round_ in range(2):
        maker, user = pair if round_ % 2 else pair[::-1]
        by_admin = {"x-api-key": admin["key"]}
        made = await maker.ask("POST", KEYS, json={"name": "u"}, headers=by_admin)
        by_user = {"x-api-key": made["key"]}
        await user.ask("GET", API, headers=by_user)
        await maker.ask("DELETE", f"{KEYS}/{made['id']}", headers=by_admin)
        async with asyncio.timeout(20):
            await asyncio.sleep(1)
            for replica in pair:
                answer = await replica.client.get(API, headers=by_user)
                assert answer.status_code == 401
