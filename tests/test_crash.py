"""``kill -9`` while clients write: what was answered is there, and nothing is there by half."""

import asyncio
import random
import shutil
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw
import httpx
import numpy as np
import pytest

if TYPE_CHECKING:
    from tests.conftest import MakeServer, OpenApi, Server

ROUNDS = 5
SAMPLE = 20
DIMENSION = 16
API = "/api/v1/memories"
VECTORS, WORDS = "vectors", "words"
"""Two collections: the caller's vectors, and those of the server's own embedder."""

Version = int | None
"""Which version of a memory there is; None where it isn't there."""
Key = tuple[str, str]
"""A collection and an id."""


def word(identity: str, version: int) -> str:
    """A word that stands in this version of this memory, and nowhere else."""
    digest = blake2b(f"{identity} {version}".encode(), digest_size=8).digest()
    return f"w{int.from_bytes(digest)}"


def vector(identity: str, version: int) -> list[float]:
    generator = np.random.default_rng(int(word(identity, version)[1:]))
    return generator.standard_normal(DIMENSION).astype(np.float32).tolist()  # type: ignore[no-any-return]  # numpy's


def memory(key: Key, version: int) -> dict[str, Any]:
    """The one thing that a version of a memory can be."""
    collection, identity = key
    made: dict[str, Any] = {
        "content": f"{word(identity, version)} is what {identity} says",
        "metadata": {"key": identity, "version": version, "odd": version % 2 == 1},
        "type": f"version-{version}",
    }
    if collection != WORDS:
        made["embedding"] = vector(identity, version)
    return made


@dataclass
class Ledger:
    """What was answered, and what each request that was not answered would have made."""

    certain: dict[Key, Version] = field(default_factory=dict)
    latest: dict[Key, int] = field(default_factory=dict)
    unanswered: dict[Key, Version] = field(default_factory=dict)
    atomic: list[dict[Key, Version]] = field(default_factory=list)
    answered: int = 0
    progress: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def send(
        self,
        request: Awaitable[httpx.Response],
        makes: dict[Key, Version],
        *,
        atomic: bool = False,
    ) -> None:
        self.unanswered.update(makes)
        self.latest.update((key, made) for key, made in makes.items() if made is not None)
        if atomic:
            self.atomic.append(makes)
        answer = await request
        assert answer.status_code in (200, 201), answer.text
        for result in answer.json().get("results", []):
            assert result["status"] != "failed", result
        self.certain.update(makes)
        self.answered += len(makes)
        for key in makes:
            del self.unanswered[key]
        if atomic:
            self.atomic.remove(makes)
        async with self.progress:
            self.progress.notify_all()

    async def has_answered(self, count: int) -> None:
        async with self.progress:
            await self.progress.wait_for(lambda: self.answered >= count)


Work = Callable[[httpx.AsyncClient, Ledger, random.Random, str], Awaitable[None]]


async def add_one_by_one(
    client: httpx.AsyncClient, ledger: Ledger, chance: random.Random, name: str
) -> None:
    for number in range(100_000):
        key = (VECTORS, f"{name}-{number}")
        body = {"id": key[1], "collection": VECTORS, **memory(key, 0)}
        await ledger.send(client.post(API, json=body), {key: 0})


async def add_words(
    client: httpx.AsyncClient, ledger: Ledger, chance: random.Random, name: str
) -> None:
    for number in range(100_000):
        keys = [(WORDS, f"{name}-{number}-{item}") for item in range(chance.choice([1, 4]))]
        items = [{"id": key[1], "collection": WORDS, **memory(key, 0)} for key in keys]
        body = {"memories": items, "atomic": len(keys) > 1}
        request = client.post(f"{API}/batch", json=body)
        await ledger.send(request, dict.fromkeys(keys, 0), atomic=len(keys) > 1)


async def add_batches(
    client: httpx.AsyncClient, ledger: Ledger, chance: random.Random, name: str
) -> None:
    for number in range(100_000):
        atomic = number % 2 == 0
        keys = [(VECTORS, f"{name}-{number}-{item}") for item in range(chance.randrange(2, 40))]
        items = [{"id": key[1], "collection": VECTORS, **memory(key, 0)} for key in keys]
        request = client.post(f"{API}/batch", json={"memories": items, "atomic": atomic})
        await ledger.send(request, dict.fromkeys(keys, 0), atomic=atomic)


async def change(
    client: httpx.AsyncClient, ledger: Ledger, chance: random.Random, name: str
) -> None:
    """Add, update, replace and delete a few memories of one's own, over and over."""
    query = {"collection": VECTORS}
    for _ in range(100_000):
        key = (VECTORS, f"{name}-{chance.randrange(8)}")
        now = ledger.certain.get(key)
        url = f"{API}/{key[1]}"
        if now is None or chance.random() < 0.2:
            after = 0 if now is None else now + 1
            body = {"id": key[1], "collection": VECTORS, **memory(key, after)}
            await ledger.send(client.post(API, json=body), {key: after})
        elif chance.random() < 0.6:
            request = client.patch(url, params=query, json=memory(key, now + 1))
            await ledger.send(request, {key: now + 1})
        elif chance.random() < 0.5:
            await ledger.send(client.delete(url, params=query), {key: None})
        else:
            body = {"collection": VECTORS, "filters": {"key": key[1]}}
            await ledger.send(client.post(f"{API}/delete", json=body), {key: None})


async def make_and_drop(
    client: httpx.AsyncClient, ledger: Ledger, chance: random.Random, name: str
) -> None:
    """A collection of one's own, filled, emptied and dropped as a whole, over and over."""
    for number in range(100_000):
        keys = [(name, f"{name}-{number}-{item}") for item in range(3)]
        items = [{"id": key[1], "collection": name, **memory(key, 0)} for key in keys]
        request = client.post(f"{API}/batch", json={"memories": items, "atomic": True})
        await ledger.send(request, dict.fromkeys(keys, 0), atomic=True)
        if chance.random() < 0.5:
            request = client.delete(f"/api/v1/collections/{name}")
        else:
            body = {"collection": name, "everything": True}
            request = client.post(f"{API}/delete", json=body)
        await ledger.send(request, dict.fromkeys(keys), atomic=True)


async def replace_as_a_whole(
    client: httpx.AsyncClient, ledger: Ledger, chance: random.Random, name: str
) -> None:
    """A namespace of one's own, replaced by another content of it, over and over."""
    old: list[Key] = []
    for number in range(100_000):
        new = [(VECTORS, f"{name}-{number}-{item}") for item in range(chance.randrange(1, 9))]
        items = [
            {"id": key[1], "collection": VECTORS, "namespace": [name], **memory(key, 0)}
            for key in new
        ]
        replacing = {"collection": VECTORS, "namespace": [name]}
        body = {"memories": items, "atomic": True, "replacing": replacing}
        makes: dict[Key, Version] = {**dict.fromkeys(old), **dict.fromkeys(new, 0)}
        await ledger.send(client.post(f"{API}/batch", json=body), makes, atomic=True)
        old = new


WORK: dict[str, Work] = {
    "one-a": add_one_by_one,
    "one-b": add_one_by_one,
    "words": add_words,
    "batch": add_batches,
    "change-a": change,
    "change-b": change,
    "change-c": change,
    "drop": make_and_drop,
    "replace": replace_as_a_whole,
}


async def write_until_killed(server: "Server", ledger: Ledger, round_: int) -> None:
    chance = random.Random(round_)

    async def work(name: str, what: Work) -> None:
        async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
            try:
                await what(client, ledger, random.Random(chance.random()), f"{name}-{round_}")
            except httpx.TransportError:
                return  # killed
        raise AssertionError("there was not enough work until the end")

    before = ledger.answered
    async with asyncio.TaskGroup() as workers:
        for name, what in WORK.items():
            workers.create_task(work(name, what))
        await ledger.has_answered(before + 100)
        await asyncio.sleep(chance.uniform(0, 0.3))
        await asyncio.to_thread(server.kill)


async def everything(client: httpx.AsyncClient, collection: str) -> dict[Key, dict[str, Any]]:
    found: dict[Key, dict[str, Any]] = {}
    query: dict[str, Any] = {"collection": collection, "limit": 1_000, "include_embeddings": True}
    while True:
        answer = await client.get(API, params=query)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found.update(((collection, one["id"]), one) for one in page["memories"])
        if page["next_cursor"] is None:
            assert page["total"] == len(found)
            return found
        query["cursor"] = page["next_cursor"]


def check_whole(key: Key, found: dict[str, Any]) -> int:
    """A memory is all of one version of it; answers which."""
    version: int = found["metadata"]["version"]
    expected = memory(key, version)
    if key[0] == WORDS:
        assert len(found["embedding"]) == 384
    assert {name: found[name] for name in expected} == expected
    return version


async def check_found_every_way(client: httpx.AsyncClient, key: Key, version: int) -> None:
    collection, identity = key

    async def ids(body: dict[str, Any]) -> list[str]:
        answer = await client.post(f"{API}/search", json={"collection": collection, **body})
        assert answer.status_code == 200, answer.text
        return [hit["id"] for hit in answer.json()["hits"]]

    got = await client.get(f"{API}/{identity}", params={"collection": collection})
    assert got.json()["content"] == memory(key, version)["content"]
    said = word(identity, version)
    assert await ids({"query": said, "mode": "sparse"}) == [identity]
    if version:
        assert await ids({"query": word(identity, version - 1), "mode": "sparse"}) == []
    filters = {"key": identity, "version": version, "odd": version % 2 == 1}
    if collection != WORDS:
        embedding = vector(identity, version)
        assert (await ids({"embedding": embedding, "limit": 1})) == [identity]
        assert await ids({"embedding": embedding, "filters": filters}) == [identity]
    else:
        content = memory(key, version)["content"]
        assert identity in await ids({"query": content, "mode": "dense", "limit": 3})
        assert await ids({"query": content, "filters": filters}) == [identity]


async def check_gone(client: httpx.AsyncClient, key: Key, version: int) -> None:
    got = await client.get(f"{API}/{key[1]}", params={"collection": key[0]})
    assert got.status_code == 404
    body = {"collection": key[0], "query": word(key[1], version), "mode": "sparse"}
    assert (await client.post(f"{API}/search", json=body)).json()["hits"] == []


async def check_after_restart(server: "Server", ledger: Ledger, chance: random.Random) -> None:
    """Every memory is as it was answered, or as an unanswered request would have made it."""
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
        found: dict[Key, dict[str, Any]] = {}
        for collection in {key[0] for key in ledger.certain | ledger.unanswered}:
            found |= await everything(client, collection)
        versions: dict[Key, Version] = {key: check_whole(key, one) for key, one in found.items()}
        assert versions.keys() <= ledger.certain.keys() | ledger.unanswered.keys()
        for key, answered in ledger.certain.items():
            allowed = {answered, ledger.unanswered.get(key, answered)}
            assert versions.get(key) in allowed, f"{key}: {versions.get(key)}, not {allowed}"
        for group in ledger.atomic:
            done = {(key in versions) == (made is not None) for key, made in group.items()}
            assert len(done) == 1, f"half of {group}"

        def some(keys: Iterable[Key]) -> list[Key]:
            return chance.sample(sorted(keys), min(SAMPLE, len(list(keys))))

        there = {key: version for key, version in versions.items() if version is not None}
        in_doubt = [key for key in ledger.unanswered if key in there]
        changed = [key for key, version in there.items() if version]
        for key in {*in_doubt[-SAMPLE:], *some(changed), *some(there)}:
            await check_found_every_way(client, key, there[key])
        in_doubt = [key for key in ledger.unanswered if key not in there]
        for key in {*in_doubt[-SAMPLE:], *some(ledger.certain.keys() - there.keys())}:
            await check_gone(client, key, ledger.latest[key])
    ledger.certain = {**dict.fromkeys(ledger.certain), **versions}
    ledger.unanswered.clear()
    ledger.atomic.clear()


def restorable(rows: Callable[[str], list[Any]]) -> set[int]:
    """Deleted memories of collections that are there: their vectors are kept with their history."""
    found = rows(
        "SELECT rid FROM event JOIN image USING (eid) WHERE action = 'deleted' "
        "AND cid IN (SELECT cid FROM collection)"
    )
    return {rid for (rid,) in found}


def check_events(rows: Callable[[str], list[Any]]) -> None:
    """Each memory is what its last event made of it; what an event changed is kept with it."""
    last = "SELECT * FROM event WHERE eid IN (SELECT max(eid) FROM event GROUP BY cid, id)"
    alive = rows(f"SELECT cid, id, version FROM ({last}) WHERE action IN ('added', 'updated')")
    assert sorted(rows("SELECT cid, id, version FROM memory")) == sorted(alive)
    changes = rows("SELECT eid FROM event WHERE action IN ('updated', 'deleted') ORDER BY eid")
    assert rows("SELECT eid FROM image ORDER BY eid") == changes
    histories: dict[Key, list[int]] = {}
    for cid, identity, version in rows("SELECT cid, id, version FROM event ORDER BY eid"):
        histories.setdefault((cid, identity), []).append(version)
    for key, versions in histories.items():
        assert versions == list(range(1, len(versions) + 1)), key


def check_file(server: "Server", folder: Path) -> int:
    """The file as the killed server left it, whole in itself; answers how many memories it has."""
    folder.mkdir()
    for suffix in ("", "-wal"):  # a copy: opening the file would repair it before the server can
        shutil.copy(f"{server.database}{suffix}", folder / f"copy.db{suffix}")
    connection = apsw.Connection(str(folder / "copy.db"))

    def rows(sql: str) -> list[Any]:
        return connection.execute(sql).fetchall()

    assert rows("PRAGMA integrity_check") == [("ok",)]
    memories = rows("SELECT rid, cid, id, json_extract(metadata, '$.version') FROM memory")
    rids = {rid for rid, *_ in memories}
    vectors = {rid for (rid,) in rows("SELECT rid FROM vector")}
    assert rids <= vectors
    assert vectors - rids == restorable(rows)
    assert rows("SELECT DISTINCT rid FROM tag WHERE rid NOT IN (SELECT rid FROM memory)") == []
    tags = dict(rows("SELECT rid, group_concat(path || '=' || value, ' ') FROM tag GROUP BY rid"))
    indexed: set[int] = set()
    for (cid,) in rows("SELECT cid FROM collection"):
        table = f"keyword_{cid}"
        connection.execute(f"INSERT INTO {table}({table}) VALUES ('integrity-check')")
        indexed |= {rid for (rid,) in rows(f"SELECT rowid FROM {table}")}
    assert indexed == rids
    tables = rows("SELECT name FROM sqlite_schema WHERE sql LIKE 'CREATE VIRTUAL TABLE%'")
    assert len(tables) == len(rows("SELECT cid FROM collection"))
    for rid, cid, identity, version in memories:
        assert tags[rid] == f"key={identity} odd={version % 2} version={version}"
        said = word(identity, version)
        assert rows(f"SELECT rowid FROM keyword_{cid} ('text : {said}')") == [(rid,)]
    check_events(rows)
    connection.close()
    shutil.rmtree(folder)
    return len(memories)


async def test_kill_9_loses_nothing_that_was_answered(
    make_server: "MakeServer", tmp_path: Path
) -> None:
    server = make_server()
    ledger = Ledger()
    await asyncio.to_thread(server.start)
    for round_ in range(ROUNDS):
        await write_until_killed(server, ledger, round_)
        in_file = await asyncio.to_thread(check_file, server, tmp_path / "copy")
        await asyncio.to_thread(server.start)
        await check_after_restart(server, ledger, random.Random(round_))
        assert in_file == sum(version is not None for version in ledger.certain.values())
    assert "Traceback" not in server.log_text()


def kill_at_start(server: "Server", seconds: float) -> None:
    process = server.launch()
    while not server.database.exists():
        assert process.poll() is None, server.log_text()
        time.sleep(0.001)
    time.sleep(seconds)
    server.kill()


@pytest.mark.parametrize("seconds", [0, 0.008])
async def test_a_server_killed_at_its_start_leaves_a_file_that_opens(
    make_server: "MakeServer", open_api: "OpenApi", seconds: float
) -> None:
    """The tables are made in one step: killed at any moment, the next start finds all or none."""
    server = make_server()
    await asyncio.to_thread(kill_at_start, server, seconds)
    async with open_api(database_url=f"sqlite:///{server.database}") as api:
        assert (await api.post(API, json={"content": "after all"})).status_code == 201
        assert (await api.get(API)).json()["total"] == 1
