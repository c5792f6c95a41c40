"""What searching in PostgreSQL does in its own way: indexes, bounds, float32, and no lock."""

import random
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from agentmem_client.errors import InvalidRequest
from agentmem_client.filters import parse
from agentmem_client.models import Metric
from agentmem_server import times
from agentmem_server.engine.ranking import mmr
from agentmem_server.storage import (
    Candidates,
    Collection,
    Delete,
    DropCollection,
    Embedding,
    Put,
    PutCollection,
    Ranked,
    Record,
    Scope,
    SearchRequest,
    Selection,
    Store,
    Update,
    Write,
    open_store,
)
from agentmem_server.storage.postgres import candidates as finding
from agentmem_server.storage.postgres import dense, hnsw, keyword_index, keyword_search, schema
from agentmem_server.storage.postgres.connections import Address, Connection, connect, set_up
from agentmem_server.storage.postgres.keyword_search import Query
from agentmem_server.storage.postgres.statement import Statement
from agentmem_server.storage.postgres.vectors import as_given, rows_of
from agentmem_server.storage.terms import of_query, terms
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tests.conftest import Postgres

TENANT, NOTES = "tenant", "notes"
DIMENSION = 256
EMBEDDING = Embedding("client", None, DIMENSION, "cosine")


def packed(numbers: Iterable[float] | NDArray[np.floating]) -> bytes:
    return np.array(list(numbers), "<f4").tobytes()


def record(id: str, content: str = "", vectors: bytes | None = None, **fields: Any) -> Record:
    now = times.now()
    made = Record(id, content, {}, None, None, None, None, None, None, None, now, now)
    made.vectors = vectors
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def clustered(count: int, seed: int = 1) -> NDArray[np.float32]:
    """Vectors (count, dimension) around 20 centres, which are always the same."""
    chance = np.random.default_rng(seed)
    centres = np.random.default_rng(0).standard_normal((20, DIMENSION))
    points = centres[chance.integers(0, 20, count)] + 0.5 * chance.standard_normal(
        (count, DIMENSION)
    )
    return points.astype(np.float32)


def by_vector(candidates: Candidates) -> Ranked:
    return candidates.ids, candidates.similarities


def by_words(candidates: Candidates) -> Ranked:
    return candidates.keyword_ids, candidates.keyword_scores


class Bench:
    """A store, and a connection of the test's own to its tables."""

    def __init__(self, store: Store, connection: Connection) -> None:
        self.store = store
        self.connection = connection

    async def put(self, *records: Record, embedding: Embedding = EMBEDDING) -> None:
        await self.write(Put(TENANT, NOTES, embedding, records))

    async def write(self, *writes: Write) -> None:
        for outcome in await self.store.write(writes):
            assert not isinstance(outcome, Exception), outcome

    async def collection(self) -> Collection:
        found = await self.store.collection(TENANT, NOTES)
        assert found is not None
        return found

    async def near(
        self, vector: bytes, depth: int = 10, selection: Selection | None = None
    ) -> dict[str, float]:
        request = SearchRequest(selection or Selection(), vector, [], depth, by_vector)
        found = await self.store.search(await self.collection(), request)
        return {one.id: score for one, score in found}

    async def saying(
        self, *words: str, depth: int = 1_000, selection: Selection | None = None
    ) -> dict[str, float]:
        request = SearchRequest(selection or Selection(), None, words, depth, by_words)
        found = await self.store.search(await self.collection(), request)
        return {one.id: score for one, score in found}

    async def indexes(self) -> list[str]:
        found = await self.connection.fetch(
            "SELECT relname FROM pg_class WHERE relname ~ '^embedding_hnsw' "
            "AND relnamespace = current_schema()::regnamespace ORDER BY 1"
        )
        return [name for (name,) in found]


@pytest.fixture
async def bench(postgres: "Postgres") -> AsyncIterator[Bench]:
    url = postgres.url()
    store = await open_store(url)
    address = Address.parse(url)
    connection = await connect(address)
    extension_schema = await schema.check_extension(connection, make=False)
    await set_up(connection, address.schema, extension_schema)
    yield Bench(store, connection)
    await connection.close()
    await store.close()


# Vectors


@pytest.mark.parametrize("metric", ["cosine", "dot", "euclidean"])
def test_vectors_are_kept_as_they_are_compared_and_as_they_were_given(metric: Metric) -> None:
    given = packed([3, 4, 0, 0, -0.0, 0.6, 0.8, 1e-9, 3e38, 3e38])
    rows = rows_of(metric, 2, given)
    assert [place for place, _, _ in rows] == list(range(5))
    kept, whole = [data for _, data, _ in rows], [whole for _, _, whole in rows]
    assert as_given(kept, whole) == given
    if metric == "cosine":
        assert np.frombuffer(b"".join(kept), "<f4") == pytest.approx(
            [0.6, 0.8, 0, 0, 0, 1, 1, 0, 0.5**0.5, 0.5**0.5], abs=1e-6
        )
        assert whole[1] is None  # zeros have no direction
    else:
        assert b"".join(kept) == given
        assert whole == [None] * 5


def test_what_has_length_one_is_not_kept_twice() -> None:
    unit = clustered(50)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    assert all(
        rows_of("cosine", DIMENSION, packed(one)) == [(0, packed(one), None)] for one in unit
    )


def test_no_vectors_have_no_rows() -> None:
    assert rows_of("cosine", 4, b"") == rows_of("dot", 4, b"") == []
    assert as_given(None, None) == b""


async def test_more_numbers_than_the_database_takes_are_refused(bench: Bench) -> None:
    for dimension, is_refused in ((16_000, False), (16_001, True)):
        embedding = Embedding("client", None, dimension, "dot")
        (outcome,) = await bench.store.write([PutCollection(TENANT, f"{dimension}", embedding, 5)])
        assert isinstance(outcome, InvalidRequest) == is_refused
    assert [one.name for one in await bench.store.collections(TENANT)] == ["16000"]


@pytest.mark.parametrize("metric", ["dot", "euclidean"])
async def test_numbers_that_are_too_large_for_float32_are_compared_all_the_same(
    bench: Bench, metric: Metric
) -> None:
    """Products and squares of them are not: they are infinite there, or no numbers at all."""
    embedding = Embedding("client", None, 2, metric)
    points = {
        "a": (3e38, 0.0),
        "b": (3e38, -3e38),
        "c": (-3e38, 1.0),
        "d": (1e30, 2e30),
        "e": (0.0, 0.0),
        "f": (2e38, 2e38),
    }
    await bench.put(
        *[record(id, "word", packed(point)) for id, point in points.items()], embedding=embedding
    )
    for query in ((3e38, 3e38), (-1e25, 2e30), (1.0, 1.0)):
        asked = np.array(query, "<f4").astype(np.float64)
        expected = {}
        for id, point in points.items():
            there = np.array(point, "<f4").astype(np.float64)
            far = 1 / (1 + np.linalg.norm(asked - there))
            expected[id] = asked @ there if metric == "dot" else far
        found = await bench.near(packed(query))
        assert found == pytest.approx(expected, rel=1e-5, abs=0)
        assert list(found.values()) == sorted(expected.values(), reverse=True)
        best = await bench.near(packed(query), depth=2, selection=Selection(filter=parse({})))
        assert list(best) == list(found)[:2]
        request = SearchRequest(Selection(), packed(query), ["word"], 1, by_vector)
        both = await bench.store.search(await bench.collection(), request)
        assert {one.id: score for one, score in both} == pytest.approx(
            {id: expected[id] for id in (next(iter(found)), "f")}, rel=1e-5
        )


async def test_small_distances_are_told_apart(bench: Bench) -> None:
    embedding = Embedding("client", None, 2, "euclidean")
    points = {f"p{n}": (1.0, 1.0 + n * 2**-23) for n in range(20)}
    points |= {f"q{n}": (n * 1e-12, 0.0) for n in range(20)}
    await bench.put(
        *[record(id, "", packed(point)) for id, point in points.items()], embedding=embedding
    )
    assert list(await bench.near(packed([1, 1]), 20)) == [f"p{n}" for n in range(20)]
    assert list(await bench.near(packed([0, 0]), 20)) == [f"q{n}" for n in range(20)]


# Many, some of them gone


async def test_what_is_gone_does_not_count_towards_the_limit(bench: Bench) -> None:
    """Vectors of deleted memories stay where they are, as long as they can be restored."""
    points = clustered(500)
    await bench.put(*[record(f"r{n}", "", packed(one)) for n, one in enumerate(points)])
    nearest = list(await bench.near(packed(points[0]), 450))
    going = Selection(ids=nearest[:400])
    await bench.write(Delete(TENANT, NOTES, going))
    assert list(await bench.near(packed(points[0]), 10)) == nearest[400:410]
    await bench.write(
        *[
            Update(TENANT, NOTES, id, {"expires_at": times.now()}, times.now())
            for id in nearest[400:420]
        ]
    )
    assert list(await bench.near(packed(points[0]), 10)) == nearest[420:430]


async def test_many_vectors_of_one_memory_leave_room_for_others(bench: Bench) -> None:
    along = clustered(1)[0]
    many = b"".join(packed(along + n / 10_000) for n in range(300))
    await bench.put(
        record("many", "", many),
        *[record(f"r{n}", "", packed(one)) for n, one in enumerate(clustered(20, 2))],
    )
    found = await bench.near(packed(along), 5)
    assert next(iter(found)) == "many"
    assert len(found) == 5


# The index of vectors


async def filled(bench: Bench, count: int) -> NDArray[np.float32]:
    points = clustered(count)
    records = [record(f"r{n}", "word", packed(one)) for n, one in enumerate(points)]
    for start in range(0, count, 500):
        await bench.put(*deepcopy(records[start : start + 500]))
    return points


def best(points: NDArray[np.float32], query: NDArray[np.float32], k: int) -> list[str]:
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    return [f"r{n}" for n in np.argsort(-(unit @ query), kind="stable")[:k]]


async def test_a_large_collection_gets_an_index_that_finds_the_nearest(bench: Bench) -> None:
    points = await filled(bench, 2_000)
    assert await hnsw.tend(bench.connection, threshold=2_000) == 0
    assert await hnsw.tend(bench.connection, threshold=1_999) == 1
    assert await hnsw.tend(bench.connection, threshold=1_999) == 0
    assert await bench.indexes() == ["embedding_hnsw_1"]
    right = 0
    for query in clustered(50, seed=2):
        right += len(set(best(points, query, 10)) & set(await bench.near(packed(query))))
    assert right >= 0.99 * 500
    statement = Statement()
    vector = f"{statement.mark(packed(query))}::vector"
    dense.add_indexed(statement, await bench.collection(), vector, "0", 400, now=0)
    plan = await bench.connection.fetch(
        f"EXPLAIN {statement.text('SELECT * FROM dense')}", *statement.parameters
    )
    assert any("using embedding_hnsw_1" in line for (line,) in plan), [*map(str, plan)]


async def test_the_index_follows_each_write(bench: Bench) -> None:
    points = await filled(bench, 1_000)
    await hnsw.tend(bench.connection, threshold=500)
    query = clustered(1, seed=3)[0]
    nearest = best(points, query, 300)
    await bench.write(Delete(TENANT, NOTES, Selection(ids=nearest[:290])))
    assert list(await bench.near(packed(query), 10)) == nearest[290:]
    await bench.put(record("new", "", packed(query)), record(nearest[299], "", packed(-query)))
    assert list(await bench.near(packed(query), 10))[:10] == ["new", *nearest[290:299]]
    await bench.write(
        Update(TENANT, NOTES, "new", {"expires_at": times.now()}, times.now()),
    )
    assert list(await bench.near(packed(query), 9)) == nearest[290:299]
    some = Selection(ids=nearest[295:299])
    assert list(await bench.near(packed(query), 9, some)) == nearest[295:299]
    assert len(await bench.near(packed(query), 700)) == 710 - 10


async def test_an_index_that_is_not_wanted_goes(bench: Bench) -> None:
    await filled(bench, 1_000)
    assert await hnsw.tend(bench.connection, threshold=900) == 1
    some = [f"r{n}" for n in range(400)]
    await bench.write(Delete(TENANT, NOTES, Selection(ids=some)))
    await bench.connection.execute("DELETE FROM embedding WHERE rid <= 400")  # as the history ends
    assert await hnsw.tend(bench.connection, threshold=900) == 0  # more than half of it are left
    assert await hnsw.tend(bench.connection, threshold=1_300) == 1
    assert await bench.indexes() == []
    assert len(await bench.near(packed(clustered(1)[0]), 700)) == 600
    assert await hnsw.tend(bench.connection, threshold=500) == 1
    await bench.write(DropCollection(TENANT, NOTES))
    assert await hnsw.tend(bench.connection, threshold=500) == 1
    assert await bench.indexes() == []


async def test_an_index_that_was_left_half_made_is_made_anew(bench: Bench) -> None:
    points = await filled(bench, 600)
    await hnsw.tend(bench.connection, threshold=500)
    await bench.connection.execute(
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'embedding_hnsw_1'::regclass"
    )
    await bench.connection.execute("UPDATE collection SET is_indexed = false")
    assert await hnsw.tend(bench.connection, threshold=500) == 2
    assert await bench.connection.fetchval(
        "SELECT indisvalid FROM pg_index WHERE indexrelid = 'embedding_hnsw_1'::regclass"
    )
    query = clustered(1, seed=3)[0]
    assert list(await bench.near(packed(query))) == best(points, query, 10)


async def test_one_server_at_a_time_makes_indexes(bench: Bench, postgres: "Postgres") -> None:
    await filled(bench, 600)
    lock = "hashtextextended('hnsw ' || current_schema(), 0)"
    async with bench.connection.transaction():
        other = await connect(Address.parse(postgres.url("any")))
        await set_up(other, (await bench.connection.fetchval("SELECT current_schema()")), "public")
        await bench.connection.execute(f"SELECT pg_advisory_xact_lock({lock})")
        assert await hnsw.tend(other, threshold=500) == 0
    assert await hnsw.tend(other, threshold=500) == 1
    await other.close()


async def test_other_metrics_have_no_index(bench: Bench) -> None:
    embedding = Embedding("client", None, DIMENSION, "dot")
    await bench.put(
        *[record(f"r{n}", "", packed(one)) for n, one in enumerate(clustered(300))],
        embedding=embedding,
    )
    assert await hnsw.tend(bench.connection, threshold=100) == 0


@pytest.mark.parametrize("dimension", [3, 63, 64])
async def test_short_vectors_have_no_index(bench: Bench, dimension: int) -> None:
    """Their signs tell too little of them."""
    await bench.put(
        *[record(f"r{n}", "", packed(one[:dimension])) for n, one in enumerate(clustered(300))],
        embedding=Embedding("client", None, dimension, "cosine"),
    )
    assert await hnsw.tend(bench.connection, threshold=100) == (dimension >= 64)


# Words


def test_terms_are_those_of_the_other_stores_index() -> None:
    assert terms("Running runs, RAN to the cafés; cafe\u0301 2024!") == {
        "run": 2,
        "ran": 1,
        "to": 1,
        "the": 1,
        "cafe": 2,
        "2024": 1,
    }
    assert terms("x" * 128 + " " + "x" * 129) == {"x" * 128: 1}
    assert of_query(["running", "runs", "cafe"]) == {"run": 2, "cafe": 1}
    assert terms("") == of_query([]) == {}


async def counted(bench: Bench) -> None:
    """What is counted is what is there."""
    wrong = await bench.connection.fetch(
        "SELECT * FROM (SELECT cid, term, documents FROM term) AS t FULL JOIN ("
        "SELECT cid, split_part(key, ' ', 2) AS term, count(*) AS documents "
        "FROM keyword, jsonb_object_keys(counts) AS key GROUP BY 1, 2) AS k "
        "USING (cid, term, documents) WHERE t IS NULL OR k IS NULL"
    )
    assert wrong == []
    counts = await bench.connection.fetch(
        "SELECT c.documents, c.words, (SELECT count(*) FROM keyword k WHERE k.cid = c.cid), "
        "(SELECT coalesce(sum(length), 0) FROM keyword k WHERE k.cid = c.cid) FROM collection c"
    )
    assert all(row[:2] == row[2:] for row in counts)


async def test_the_words_of_long_texts_are_counted_beside_the_loop(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[threading.Thread] = []

    def changes(read: Any) -> Any:
        threads.append(threading.current_thread())
        return real(read)

    real = keyword_index._changes
    monkeypatch.setattr(keyword_index, "_changes", changes)
    await bench.put(record("short", "a few words"))
    assert threads.pop() is threading.main_thread()
    await bench.put(record("long", " ".join(f"word{number}" for number in range(20_000))))
    await bench.put(record("long", "few"))
    await bench.put(record("long", " ".join(f"word{number}" for number in range(20_000))))
    await bench.write(Delete(TENANT, NOTES, Selection(ids=["long"])))
    assert len(threads) == 4
    assert threading.main_thread() not in threads
    await counted(bench)


async def test_the_counts_of_terms_are_those_of_the_rows(bench: Bench) -> None:
    chance = random.Random(4)
    await bench.write(PutCollection(TENANT, "other", EMBEDDING, 5))
    for step in range(40):
        id = f"r{chance.randrange(30)}"
        content = " ".join(
            chance.choices(["ant", "bee", "cat", "dog", "elk", "fox", "gnu", "hen"], k=6)
        )
        where = chance.choice([NOTES, NOTES, "other"])
        fields: dict[str, Any] = {
            "session_id": chance.choice([None, "s"]),
            "user_id": chance.choice([None, "u"]),
        }
        one = record(id, content, index_texts=chance.choice([None, None, []]), **fields)
        match chance.choice(["put", "put", "put", "delete", "all", "drop"]):
            case "put":
                await bench.write(Put(TENANT, where, EMBEDDING, [one, record("x", content)]))
            case "delete":
                await bench.write(Delete(TENANT, where, Selection(ids=[id, "x"])))
            case "all" if step % 3 == 0:
                await bench.write(Delete(TENANT, where, Selection()))
            case "drop" if step % 3 == 0:
                await bench.write(
                    Put(TENANT, where, EMBEDDING, [one]), DropCollection(TENANT, where)
                )
        await counted(bench)
    await bench.write(DropCollection(TENANT, NOTES), DropCollection(TENANT, "other"))
    for table in ("keyword", "term"):
        assert await bench.connection.fetchval(f"SELECT count(*) FROM {table}") == 0


async def test_more_memories_than_are_read_at_once_are_all_counted(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentmem_server.storage.postgres.keyword_index._CHUNK", 7)
    monkeypatch.setattr("agentmem_server.storage.postgres.keyword_index._IN_THREAD", 100)
    turns = [record(f"r{n}", f"word{n}", session_id="s") for n in range(50)]
    await bench.put(*turns)
    await counted(bench)
    assert set(await bench.saying("word20")) == {"r20", "r21"}
    await bench.write(Delete(TENANT, NOTES, Selection(ids=[f"r{n}" for n in range(0, 50, 2)])))
    await counted(bench)
    assert set(await bench.saying("word19")) == {"r19", "r21"}
    assert set(await bench.saying("word20")) == set()


def query(**documents: int) -> Query:
    return Query.of(1, dict.fromkeys(documents, 1), documents, 100_000, 1_000_000)


def test_the_rarest_terms_bring_the_candidates() -> None:
    assert query(a=10, b=4_000, c=4_000, d=50_000).rarest() == ["1 a", "1 b"]
    assert query(a=6_000, b=7_000).rarest() == ["1 a"]
    assert query(b=1, a=1, c=1).rarest() == ["1 a", "1 b", "1 c"]
    assert not query(a=22_000).is_common()
    assert query(a=23_000).is_common()
    assert not query(a=10, b=50_000).is_common()


async def test_what_has_common_words_alone_is_found_among_the_newest(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyword_search, "BOUND", 10)
    await bench.put(
        *[record(f"r{n}", "word" if n % 2 else "word word", user_id="u") for n in range(100)],
        record("rare", "word zebra"),
    )
    newest = {"rare", *(f"r{n}" for n in range(91, 100))}
    assert set(await bench.saying("word")) == newest
    assert list(await bench.saying("word", "zebra")) == ["rare"]
    assert len(await bench.saying("word", selection=Selection(Scope("u")))) == 100


@pytest.mark.parametrize("bound", [1, 5_000])
async def test_a_scope_finds_all_that_match_be_it_small_or_large(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, bound: int
) -> None:
    monkeypatch.setattr(keyword_search, "BOUND", bound)
    await bench.put(
        *[record(f"r{n}", "word", user_id="large" if n % 10 else "small") for n in range(100)],
        *[record(f"z{n}", "zebra", user_id="large") for n in range(5)],
        record("zz", "zebra", user_id="small"),
    )
    large, small = Selection(Scope("large")), Selection(Scope("small"))
    assert set(await bench.saying("zebra", selection=large)) == {f"z{n}" for n in range(5)}
    assert set(await bench.saying("zebra", selection=small)) == {"zz"}
    assert len(await bench.saying("word", selection=large)) == 90
    assert len(await bench.saying("word", "zebra", selection=small)) == 11
    assert len(await bench.saying("word", depth=7, selection=large)) == 7


# Writes between


Between = Callable[[], Awaitable[None]]


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[Between], None]:
    """What is done once, after a search has read its candidates and before it reads the rest."""

    def do(change: Between) -> None:
        find, pending = finding.Finder.find, [change]

        async def find_and_change(self: finding.Finder, *, thorough: bool = False) -> finding.Found:
            found = await find(self, thorough=thorough)
            if pending:
                await pending.pop()()
            return found

        monkeypatch.setattr(finding.Finder, "find", find_and_change)

    return do


@pytest.mark.parametrize("reading", ["nothing", "vectors", "attributes"])
async def test_a_search_beside_writes_tells_of_one_state(
    bench: Bench, meanwhile: Callable[[Between], None], reading: str
) -> None:
    east, north = packed([1] + [0] * 255), packed([0, 1] + [0] * 254)

    def rank(candidates: Candidates) -> Ranked:
        if reading == "attributes":
            assert not np.isnan(candidates.attributes(candidates.ids).created_at).any()
        if reading != "vectors":
            return by_vector(candidates)
        order, _ = mmr(candidates.similarities, candidates.vectors(candidates.ids), k=9)
        return candidates.ids[order], candidates.similarities[order]

    async def change() -> None:
        await bench.put(record("a", "new", north), record("c", "", east))
        await bench.write(Delete(TENANT, NOTES, Selection(ids=["b"])))

    await bench.put(record("a", "old", east), record("b", "", east))
    meanwhile(change)
    request = SearchRequest(Selection(), east, [], 10, rank, with_vectors=True)
    found = await bench.store.search(await bench.collection(), request)
    assert [(one.id, one.content, one.vectors, score) for one, score in found] == [
        ("c", "", east, 1.0),
        ("a", "new", north, 0.0),
    ]


async def test_a_collection_that_is_dropped_meanwhile_finds_nothing(
    bench: Bench, meanwhile: Callable[[Between], None]
) -> None:
    async def change() -> None:
        await bench.write(DropCollection(TENANT, NOTES))

    await bench.put(record("a", "word", packed(clustered(1)[0])))
    collection = await bench.collection()
    meanwhile(change)
    request = SearchRequest(Selection(), packed(clustered(1)[0]), ["word"], 10, by_vector)
    assert await bench.store.search(collection, request) == []
    assert await bench.store.search(collection, request) == []


async def test_many_candidates_are_ranked_beside_the_loop(bench: Bench) -> None:
    await bench.put(*[record(f"r{n}", "word", packed(p)) for n, p in enumerate(clustered(1_200))])
    assert len(await bench.near(packed(clustered(1)[0]), 1_100)) == 1_100
