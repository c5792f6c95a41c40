"""Two stores write the same few memories while their statements and connections are ended."""

import asyncio
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

import asyncpg
import numpy as np
import pytest
from agentmem_client.errors import APIError, Unavailable
from agentmem_client.filters import parse
from agentmem_server import times
from agentmem_server.batcher import Batcher
from agentmem_server.storage import (
    Archive,
    Delete,
    DropCollection,
    Embedding,
    Erase,
    Outcome,
    Pool,
    Put,
    Record,
    Refresh,
    Restore,
    Scope,
    Selection,
    Sweep,
    Update,
    Write,
    open_store,
)
from agentmem_server.storage.postgres.connections import Address

if TYPE_CHECKING:
    from tests.conftest import Postgres

WRITERS, STEPS = 16, 40
TENANT, OWN = "tenant", "own"
EMBEDDING = Embedding("client", None, 4, "cosine")
IDS = [f"m{number}" for number in range(12)]
USERS = ["ann", "bob"]

WRONG = {
    "terms are counted": """
        SELECT FROM term FULL JOIN (
            SELECT cid, split_part(key, ' ', 2) AS term, count(*) AS documents
            FROM keyword, jsonb_object_keys(counts) AS key GROUP BY 1, 2
        ) AS real USING (cid, term, documents)
        WHERE term.cid IS NULL OR real.cid IS NULL""",
    "words are counted": """
        SELECT FROM collection c CROSS JOIN LATERAL (
            SELECT count(*) AS documents, coalesce(sum(length), 0) AS words
            FROM keyword k WHERE k.cid = c.cid
        ) AS real WHERE (c.documents, c.words) <> (real.documents, real.words)""",
    "a memory has words, tags, vectors and a collection, and they a memory": """
        SELECT FROM memory m
        FULL JOIN keyword k USING (cid, rid)
        FULL JOIN (SELECT DISTINCT cid, rid, true AS is_there FROM tag) t USING (cid, rid)
        LEFT JOIN collection c USING (cid)
        WHERE m.id IS NULL OR k.length IS NULL OR t.is_there IS NULL OR c.name IS NULL
        OR NOT EXISTS (SELECT FROM embedding v WHERE (v.cid, v.rid) = (m.cid, m.rid))""",
    "vectors without a memory are of an image": """
        SELECT FROM embedding v LEFT JOIN memory m USING (cid, rid)
        WHERE m.id IS NULL AND NOT EXISTS (
            SELECT FROM image i WHERE i.rid = v.rid AND i.vectors IS NULL)""",
    "tokens are of a memory": """
        SELECT FROM token t LEFT JOIN memory m USING (cid, rid) WHERE m.id IS NULL""",
    "an image has an event": """
        SELECT FROM image i LEFT JOIN event e USING (eid) WHERE e.eid IS NULL""",
    "a memory is of the version that its last event says": """
        SELECT FROM memory m WHERE version IS DISTINCT FROM (
            SELECT version FROM event e WHERE (e.cid, e.id) = (m.cid, m.id)
            ORDER BY eid DESC LIMIT 1)""",
}
VERSIONS = """
    SELECT FROM (
        SELECT version, lag(version) OVER (PARTITION BY cid, id ORDER BY eid) AS previous
        FROM event WHERE id IS NOT NULL
    ) AS e WHERE version <> previous + 1"""
"""Where nobody is erased, for this takes events away."""


class Chance:
    """Writes by chance, numbered."""

    def __init__(self, seed: int, *, erasing: bool) -> None:
        self.random = random.Random(seed)
        self._erasing = erasing
        self._number = 0

    def record(self, id: str, content: str | None = None, user_id: str | None = None) -> Record:
        self._number += 1
        now, by = times.now(), self.random
        words = " ".join(f"word{by.randrange(30)}" for _ in range(3))
        record = Record(
            id,
            content or f"{words} {self._number}",
            {"of": [by.randrange(3)]},
            user_id=user_id,
            agent_id=None,
            session_id=by.choice(["s", None]),
            type=None,
            importance=None,
            event_at=None,
            expires_at=None,
            created_at=now,
            updated_at=now,
        )
        vector = np.array([by.random() for _ in range(4)], "<f4").tobytes()
        record.vectors = vector * by.choice([1, 2])
        return record

    def write(self) -> Write:
        by, now = self.random, times.now()
        collection, id, ids = by.choice(["one", "two"]), by.choice(IDS), by.choices(IDS, k=3)
        records = [self.record(one, user_id=by.choice([*USERS, None])) for one in (id, *ids)]
        if by.random() < 0.3:
            records[0].expires_at = now + 200_000
        some = by.choice(
            [
                Selection(ids=ids),
                Selection(Scope(by.choice(USERS))),
                Selection(filter=parse({"of": {"$contains": by.randrange(3)}})),
            ]
        )
        of = (TENANT, collection)
        seldom: list[Write] = [DropCollection(*of), Sweep(now, 5), Refresh(*of, ids, now)]
        if self._erasing:
            seldom.append(Erase(TENANT, by.choice(USERS), now))
        often: list[Write] = [
            *[Put(*of, EMBEDDING, records[:1])] * 4,
            Put(*of, EMBEDDING, records[1:], by.choice([None, some])),
            *[Update(*of, id, {"content": records[0].content}, now)] * 2,
            Delete(*of, some, returning=by.random() < 0.5),
            Archive(*of, some, by.random() < 0.5),
            *[Restore(*of, id, by.randrange(1, 30), now)] * 3,
        ]
        return by.choice(seldom if by.random() < 0.2 else often)


async def interrupt(connection: "asyncpg.Connection[asyncpg.Record]", by: random.Random) -> None:
    """End statements and connections, again and again."""
    while True:
        await asyncio.sleep(by.random() * 0.2)
        end = by.choice(["pg_cancel_backend", "pg_terminate_backend"])
        await connection.execute(
            f"SELECT {end}(pid) FROM pg_stat_activity WHERE application_name = 'agentmem' "
            "AND state <> 'idle' AND query NOT LIKE 'LISTEN%'"
        )


@pytest.mark.parametrize("erasing", [False, True])
async def test_whatever_is_ended_the_tables_agree(own_postgres: "Postgres", erasing: bool) -> None:
    url = own_postgres.url()
    address = Address.parse(url)
    chance = Chance(int(erasing), erasing=erasing)
    stores = [await open_store(url, pool=Pool(min_size=1, max_size=3)) for _ in range(2)]
    queues: Sequence[Batcher[Write, Outcome]] = [
        Batcher(store.write, max_batch=64, max_pending=1_000) for store in stores
    ]
    settings = {"search_path": address.schema, "application_name": "test"}
    connection = await asyncpg.connect(address.dsn, server_settings=settings)
    failures = 0

    async def write(number: int) -> str | None:
        """What its own memory says at the end; None where nobody knows."""
        nonlocal failures
        said: str | None = None
        for step in range(STEPS):
            said = f"said {number} {step}"
            own = chance.record(f"own{number}", said)
            try:
                await chance.random.choice(queues).submit(Put(TENANT, OWN, EMBEDDING, [own]))
            except Unavailable:
                failures += 1
                said = None
            try:
                await chance.random.choice(queues).submit(chance.write())
            except Unavailable:
                failures += 1
            except APIError:
                pass  # a restoring of what is not there
        return said

    ending = asyncio.create_task(interrupt(connection, chance.random))
    try:
        said = await asyncio.gather(*(write(number) for number in range(WRITERS)))
        ending.cancel()
        await asyncio.wait([ending])
        assert failures
        own = await stores[0].collection(TENANT, OWN)
        assert own is not None
        for number, last in enumerate(said):
            (found,) = await stores[1].get(own, [f"own{number}"])
            assert last in (None, found.content)
        for rule, query in (WRONG | ({} if erasing else {"versions": VERSIONS})).items():
            assert await connection.fetchval(f"SELECT count(*) FROM ({query}) AS w") == 0, rule
    finally:
        ending.cancel()
        for queue, store in zip(queues, stores, strict=True):
            await queue.close()
            await store.close()
        await connection.close()
