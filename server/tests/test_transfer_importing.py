"""Exports and imports at the store: nothing is lost, nothing is twice, nothing newer is undone."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from agentmem_client.errors import NotFound, Unavailable
from agentmem_client.json_values import LARGEST_NUMBER
from agentmem_client.models import MAX_TTL
from agentmem_client.vectors import pack
from agentmem_server import times
from agentmem_server.embedding import EmbedderUnavailable
from agentmem_server.embedding.batched import BatchedEmbedder
from agentmem_server.storage import (
    Collection,
    DropCollection,
    Embedding,
    ListRequest,
    Put,
    PutCollection,
    Record,
    Selection,
    Store,
    Write,
    open_snapshot,
    open_store,
)
from agentmem_server.transfer import export, importing
from agentmem_server.transfer.entries import Entry, Incoming, NewCollection, Note
from agentmem_server.transfer.format import read_export
from agentmem_server.transfer.importing import Imported, Importer
from agentmem_server.transfer.rehearsal import NoEmbedding, Rehearsal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic_core import to_json

DIMENSION = 4
SERVER = Embedding("server", "fake", DIMENSION, "cosine")
CLIENT = Embedding("client", None, 2, "dot")
TENANT = "tenant"


class FakeEmbedder:
    """Notes what it embeds; refuses texts with "bad" in them, and is down when told to."""

    def __init__(self, name: str = "fake", dimension: int = DIMENSION) -> None:
        self.name = name
        self.dimension = dimension
        self.texts: list[str] = []
        self.down = False

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if self.down:
            raise EmbedderUnavailable("connection refused")
        if any("bad" in text for text in texts):
            raise EmbedderUnavailable("the text is too long", retryable=False)
        self.texts.extend(texts)
        vectors = [[len(text), len(set(text)), 1, hash_of(text)] for text in texts]
        made: NDArray[np.float32] = np.array(vectors, np.float32)[:, : self.dimension]
        return made

    async def close(self) -> None:
        pass


def hash_of(text: str) -> int:
    return sum(map(ord, text)) % 1_000


def batched(embedder: Any) -> BatchedEmbedder:
    return BatchedEmbedder(embedder, max_batch=64, max_pending=100_000, cache_size=0, cache_ttl=1.0)


class Base:
    """A store in a file, what is exported from it, and what is imported into it."""

    def __init__(self, store: Store, url: str) -> None:
        self.store = store
        self.url = url
        self.embedder = FakeEmbedder()
        self.failures: list[tuple[str, str]] = []

    async def write(self, *writes: Write) -> list[Any]:
        outcomes = await self.store.write(writes)
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome
        return outcomes

    async def put(self, *records: Record, name: str = "c", way: Embedding = SERVER) -> None:
        await self.write(Put(TENANT, name, way, [replace(one) for one in records]))

    async def everything(
        self, tenant: str = TENANT
    ) -> dict[tuple[str, Embedding, int, int | None], list[Record]]:
        """All collections with their records, in their order, with their vectors."""
        return {
            (one.name, one.embedding, one.created_at, one.default_ttl): await self.records(one)
            for one in await self.store.collections(tenant)
        }

    async def records(self, collection: Collection) -> list[Record]:
        request = ListRequest(
            Selection(), "seq", "asc", 1_000, 0, None, with_total=False, with_vectors=True
        )
        return (await self.store.page(collection, request)).records

    def export(
        self, tenant: str = TENANT, *names: str, vectors: bool = True
    ) -> tuple[list[bytes], export.Exported]:
        exported = export.Exported()
        with open_snapshot(self.url) as snapshot:
            chosen = export.choose(snapshot, tenant, names)
            lines = export.lines(
                snapshot,
                tenant,
                chosen,
                vectors=vectors,
                exported=exported,
                on_memory=lambda: None,
            )
            return list(lines), exported

    async def load(self, lines: Sequence[bytes], tenant: str = TENANT) -> Imported:
        return await self.take(read_export(lines), tenant)

    async def take(self, entries: Any, tenant: str = TENANT) -> Imported:
        importer = Importer(
            self.store,
            tenant,
            batched(self.embedder),
            lambda place, reason: self.failures.append((place, reason)),
        )
        await importer.run(entries)
        return importer.imported


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[Base]:
    store = await open_store(f"sqlite:///{path}", readers=1)
    yield Base(store, f"sqlite:///{path}")
    await store.close()


@pytest.fixture
async def base(tmp_path: Path) -> AsyncIterator[Base]:
    async with opened(tmp_path / "a.db") as made:
        yield made


@pytest.fixture
async def other(tmp_path: Path) -> AsyncIterator[Base]:
    async with opened(tmp_path / "b.db") as made:
        yield made


def record(identity: str = "a", content: str = "text", **fields: Any) -> Record:
    given = {"vectors": pack([1.0, 2.0, 3.0, 4.0]), "created_at": 5, "updated_at": 7}
    empty = dict.fromkeys(
        ("user_id", "agent_id", "session_id", "type", "importance", "event_at", "expires_at")
    )
    return Record(
        **{"id": identity, "content": content, "metadata": {}, **empty, **given, **fields}
    )


def incoming(made: Record, name: str = "c", *, dated: bool = True) -> Incoming:
    """A memory of another system: without vectors."""
    return Incoming("here", name, replace(made, vectors=None), dated=dated)


# What any memory may hold

text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
name = text.filter(bool)
numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(
    -LARGEST_NUMBER, LARGEST_NUMBER
)
json = st.recursive(
    st.none() | st.booleans() | numbers | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)
moment = st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999)
coming = st.integers(times.now() + 10**12, 253_402_300_799_999_999)
single = st.floats(width=32, allow_nan=False, allow_infinity=False)


@st.composite
def some_record(draw: st.DrawFn, embedding: Embedding) -> Record:
    index_texts = draw(st.none() | st.lists(text, max_size=3))
    count = 1 if index_texts is None else len(index_texts)
    if embedding.embedder == "client":
        count = min(count, 1) * draw(st.integers(1, 3))
    size = count * embedding.dimension
    vectors = pack(draw(st.lists(single, min_size=size, max_size=size))) if size else b""
    ttl = draw(st.none() | st.integers(1, MAX_TTL * 1_000_000))
    return Record(
        id=draw(name),
        content=draw(text),
        metadata=draw(st.dictionaries(text, json, max_size=3)),
        user_id=draw(st.none() | name),
        agent_id=draw(st.none() | name),
        session_id=draw(st.none() | name),
        type=draw(st.none() | name),
        importance=draw(st.none() | st.floats(0, 1)),
        event_at=draw(st.none() | moment),
        expires_at=draw(coming if ttl is not None else st.none() | coming),
        created_at=draw(moment),
        updated_at=draw(moment),
        payload=draw(json),
        namespace=draw(st.none() | st.lists(name, min_size=1, max_size=3).map(tuple)),
        ttl=ttl,
        archived=draw(st.booleans()),
        index_texts=index_texts,
        vectors=vectors,
    )


some_collection = st.sampled_from([SERVER, replace(SERVER, metric="dot"), CLIENT]).flatmap(
    lambda way: st.tuples(
        st.just(way),
        moment,
        st.none() | st.integers(1, MAX_TTL * 1_000_000),
        st.lists(some_record(way), max_size=4, unique_by=lambda one: one.id),
    )
)


def exact(everything: Any) -> bytes:
    """What `Base.everything` found, as JSON, which tells 1 from True and from 1.0."""
    return to_json(
        [
            (
                key,
                [
                    {
                        **asdict(one),
                        "seq": None,
                        "version": None,
                        "vectors": (one.vectors or b"").hex(),
                    }
                    for one in records
                ],
            )
            for key, records in everything.items()
        ]
    )


class TestRoundTrips:
    @given(st.dictionaries(name, some_collection, max_size=3), st.booleans())
    @settings(
        max_examples=60,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    async def test_into_another_tenant(
        self, base: Base, collections: dict[str, Any], vectors: bool
    ) -> None:
        tenant, copy = f"tenant {next(_numbers)}", f"copy {next(_numbers)}"
        for one, (way, created_at, default_ttl, records) in collections.items():
            if way.embedder == "client" and not vectors:
                continue  # can't be made again
            await base.write(
                PutCollection(tenant, one, way, created_at, {"default_ttl": default_ttl})
            )
            for single in records:
                if not vectors and single.texts:  # as the server would have made them
                    made = await base.embedder.embed(single.dense_texts)
                    single.vectors = made.astype("<f4").tobytes()
            if records:
                await base.write(Put(tenant, one, way, [replace(single) for single in records]))
        lines, exported = base.export(tenant, vectors=vectors)
        before = await base.everything(tenant)
        base.embedder.texts.clear()
        imported = await base.load(lines, copy)
        assert base.failures == []
        after = await base.everything(copy)
        assert exact(after) == exact(before)
        assert imported.stored == exported.memories == sum(map(len, before.values()))
        if vectors:
            assert base.embedder.texts == []
        embedded = len(base.embedder.texts)
        again = await base.load(lines, copy)
        assert (again.unchanged, again.stored, again.updated) == (imported.stored, 0, 0)
        assert len(base.embedder.texts) == embedded
        assert exact(await base.everything(copy)) == exact(before)


_numbers = count()


class TestWhatIsThere:
    async def test_what_did_not_change_is_not_written_again(self, base: Base) -> None:
        await base.put(record("a"), record("b"))
        lines, _ = base.export()
        version, event = await base.store.version(TENANT, "c"), await base.store.last_event()
        imported = await base.load(lines)
        assert (imported.unchanged, imported.stored, imported.updated) == (2, 0, 0)
        assert await base.store.version(TENANT, "c") == version
        assert await base.store.last_event() == event
        assert (imported.made, imported.found) == (set(), {"c"})

    async def test_what_is_newer_in_the_store_is_kept(self, base: Base) -> None:
        await base.put(record("a", "old"))
        lines, _ = base.export()
        await base.put(record("a", "new", updated_at=8))
        imported = await base.load(lines)
        assert (imported.kept, imported.updated) == (1, 0)
        ((found,),) = (await base.everything()).values()
        assert found.content == "new"

    async def test_what_is_newer_in_the_file_replaces(self, base: Base) -> None:
        await base.put(record("a", "old"), record("z"))
        await base.put(record("a", "new", updated_at=8, vectors=pack([4.0, 3.0, 2.0, 1.0])))
        lines, _ = base.export()
        await base.write(DropCollection(TENANT, "c"))
        await base.put(record("a", "old", created_at=3), record("z"))
        imported = await base.load(lines)
        assert (imported.updated, imported.unchanged) == (1, 1)
        ((found, _),) = (await base.everything()).values()
        assert (found.content, found.updated_at, found.created_at) == ("new", 8, 3)
        assert found.vectors == pack([4.0, 3.0, 2.0, 1.0])
        assert (await base.load(lines)).unchanged == 2

    async def test_the_history_has_the_time_of_the_import(self, base: Base) -> None:
        before = times.now()
        await base.take([incoming(record("a"))])
        await base.take([incoming(record("a", "new", updated_at=8))])
        collection = await base.store.collection(TENANT, "c")
        assert collection is not None
        page = await base.store.history(collection, "a", user_id=None, after=0, limit=9)
        events = page.events
        assert [event.action for event in events] == ["added", "updated"]
        assert before <= events[0].at <= events[1].at <= times.now()

    @pytest.mark.parametrize(
        "change",
        [
            {"metadata": {"a": True}},
            {"metadata": {"a": 1.0}},
            {"metadata": {"b": 1, "a": 1}},
            {"payload": False},
            {"archived": True},
            {"index_texts": ["text"], "vectors": None},
            {"namespace": ("a",)},
            {"vectors": pack([1.0, 2.0, 3.0, 5.0])},
        ],
    )
    async def test_what_counts_as_a_change(self, base: Base, change: dict[str, Any]) -> None:
        given: dict[str, Any] = {"metadata": {"a": 1}, "payload": 0}
        await base.put(record("a", **given))
        changed = replace(record("a", **given), **change)
        entry = Incoming("here", "c", replace(changed), SERVER)
        assert (await base.take([entry])).updated == 1
        ((found,),) = (await base.everything()).values()
        wanted = replace(changed, vectors=changed.vectors or found.vectors)
        assert exact({"": [found]}) == exact({"": [wanted]})

    async def test_a_time_to_live_that_reads_started_anew_is_not_shortened(
        self, base: Base
    ) -> None:
        soon = times.now() + 10**9
        await base.put(record("a", ttl=10**9, expires_at=soon))
        lines, _ = base.export()
        await base.put(record("a", ttl=10**9, expires_at=soon + 10**8))
        assert (await base.load(lines)).unchanged == 1
        ((found,),) = (await base.everything()).values()
        assert found.expires_at == soon + 10**8

    async def test_without_a_date_nothing_that_is_there_is_replaced(self, base: Base) -> None:
        undated = [incoming(record("a", "text", updated_at=100), dated=False)]
        assert (await base.take(undated)).stored == 1
        again = [incoming(record("a", "text", updated_at=200), dated=False)]
        assert (await base.take(again)).unchanged == 1
        other = [incoming(record("a", "other", updated_at=300), dated=False)]
        assert (await base.take(other)).kept == 1
        assert base.embedder.texts == ["text"]

    async def test_an_id_that_is_in_the_file_twice(self, base: Base) -> None:
        entries = [
            incoming(record("a", "first", updated_at=7)),
            incoming(record("b", "between")),
            incoming(record("a", "second", updated_at=9)),
            incoming(record("a", "before", updated_at=8)),
        ]
        imported = await base.take(entries)
        assert (imported.stored, imported.updated, imported.kept) == (2, 1, 1)
        ((first, second),) = (await base.everything()).values()
        assert (first.content, second.content) == ("second", "between")

    async def test_collections_of_several_batches_keep_their_order(
        self, base: Base, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(importing, "_BATCH", 3)
        entries = [incoming(record(f"{i}", f"{i}"), "ab"[i % 5 == 4]) for i in range(20)]
        assert (await base.take(entries)).stored == 20
        for records in (await base.everything()).values():
            assert [int(one.id) for one in records] == sorted(int(one.id) for one in records)

    async def test_large_memories_make_small_batches(
        self, base: Base, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(importing, "_BATCH_CHARACTERS", 10)
        sizes: list[int] = []
        write = base.store.write

        async def noting(writes: Sequence[Write]) -> list[Any]:
            sizes.extend(len(one.records) for one in writes if isinstance(one, Put))
            return await write(writes)

        monkeypatch.setattr(base.store, "write", noting)
        await base.take([incoming(record(str(i), "some text")) for i in range(6)])
        assert sizes == [2, 2, 2]


class TestExpiry:
    async def test_what_has_expired_is_neither_exported_nor_imported(self, base: Base) -> None:
        soon = times.now() + 200_000
        await base.put(record("a", expires_at=soon), record("b"))
        lines, exported = base.export()
        assert exported.memories == 2
        await asyncio.sleep(0.25)
        assert base.export()[1].memories == 1
        imported = await base.load(lines, "other")
        assert (imported.stored, imported.expired) == (1, 1)

    async def test_a_new_memory_in_place_of_an_expired_one(self, base: Base) -> None:
        await base.put(record("a", "gone", expires_at=times.now() - 1, created_at=1))
        await base.put(record("b"))
        imported = await base.take([incoming(record("a", "new", created_at=3))])
        assert (imported.stored, imported.updated) == (1, 0)
        ((first, second),) = (await base.everything()).values()
        assert (first.id, second.content, second.created_at) == ("b", "new", 3)

    async def test_the_default_of_a_collection_does_not_count(self, base: Base) -> None:
        await base.write(PutCollection(TENANT, "c", SERVER, 1, {"default_ttl": 10**9}))
        await base.take([incoming(record("a"))])
        ((found,),) = (await base.everything()).values()
        assert (found.ttl, found.expires_at) == (None, None)


class TestVectors:
    async def test_vectors_of_another_model_are_made_anew(self, base: Base, other: Base) -> None:
        await base.put(record("a", "one"), record("b", "two", index_texts=["x", "y"], vectors=b""))
        lines, _ = base.export()
        other.embedder = FakeEmbedder("another", 3)
        imported = await other.load(lines)
        assert (imported.stored, imported.embedded) == (2, 2)
        ((collection, records),) = (await other.everything()).items()
        assert collection[1] == Embedding("server", "another", 3, "cosine")
        assert collection[2] == 5
        assert [len(one.vectors or b"") for one in records] == [12, 24]
        assert other.embedder.texts == ["one", "x", "y"]
        assert (await other.load(lines)).unchanged == 2
        assert other.embedder.texts == ["one", "x", "y"]

    async def test_a_collection_that_another_model_embedded_is_left_alone(self, base: Base) -> None:
        await base.put(record("a", "one"))
        lines, _ = base.export(vectors=False)
        base.embedder = FakeEmbedder("another")
        entries: list[Entry] = [*read_export(lines), incoming(record("b", "two"))]
        imported = await base.take(entries)
        assert (imported.unchanged, imported.failed) == (1, 1)
        ((_, told),) = base.failures
        assert "embedded by 'fake', and the server now runs 'another'" in told

    async def test_vectors_that_are_too_few_are_made_anew(self, base: Base) -> None:
        entry = Incoming("here", "c", record("a", index_texts=["x", "y"]), SERVER)
        assert (await base.take([entry])).embedded == 1
        ((found,),) = (await base.everything()).values()
        assert len(found.vectors or b"") == 8 * DIMENSION

    async def test_the_date_in_a_text_is_the_stored_one(self, base: Base) -> None:
        """A turn's date is embedded with it, and an update keeps the first storing's."""
        day = 86_400_000_000
        await base.put(record("a", session_id="s", created_at=day))
        newer = record("a", "other", session_id="s", created_at=3 * day, updated_at=4 * day)
        imported = await base.take([Incoming("here", "c", newer, SERVER)])
        assert (imported.updated, imported.embedded) == (1, 1)
        assert base.embedder.texts == ["[2 January 1970] other"]

    async def test_callers_vectors_stay_where_the_file_has_none(self, base: Base) -> None:
        given: dict[str, Any] = {"vectors": pack([1.0, 2.0])}
        await base.put(record("a", **given), record("b", **given), way=CLIENT)
        lines, exported = base.export(vectors=False)
        assert exported.unrepeatable == ["c"]
        assert (await base.load(lines)).unchanged == 2
        entries: list[Entry] = [
            incoming(record("a", updated_at=8, type="new")),
            incoming(record("b", "other", updated_at=8)),
            incoming(record("c")),
            incoming(record("d", index_texts=[])),
        ]
        imported = await base.take(entries)
        assert (imported.updated, imported.stored, imported.failed) == (1, 1, 2)
        assert all("the file has none of this memory" in told for _, told in base.failures)
        ((first, second, third),) = (await base.everything()).values()
        assert (first.type, first.vectors, second.content) == ("new", pack([1.0, 2.0]), "text")
        assert (third.id, third.vectors) == ("d", None)

    async def test_callers_vectors_of_another_length(self, base: Base) -> None:
        await base.put(record("a", vectors=pack([1.0, 2.0])), way=CLIENT)
        longer = replace(CLIENT, dimension=3)
        entry = Incoming("here", "c", record("b", vectors=pack([1.0, 2.0, 3.0])), longer)
        assert (await base.take([entry])).failed == 1
        assert "2 numbers, not 3" in base.failures[0][1]

    async def test_the_servers_vectors_do_not_become_a_callers(self, base: Base) -> None:
        await base.put(record("a", vectors=pack([1.0, 2.0])), way=CLIENT)
        alike = Embedding("server", "fake", 2, "dot")
        assert (await base.take([Incoming("here", "c", record("b"), alike)])).failed == 1

    async def test_callers_vectors_into_what_the_server_embeds(self, base: Base) -> None:
        await base.put(record("a"))
        entry = Incoming("here", "c", record("b", "mine", vectors=pack([1.0, 2.0])), CLIENT)
        assert (await base.take([entry])).embedded == 1
        assert base.embedder.texts == ["mine"]


class TestFailures:
    async def test_what_the_embedder_refuses_fails_alone(self, base: Base) -> None:
        entries = [
            incoming(record(one, text)) for one, text in zip("abc", ("x", "bad", "y"), strict=True)
        ]
        imported = await base.take(entries)
        assert (imported.stored, imported.failed, imported.embedded) == (2, 1, 2)
        ((place, told),) = base.failures
        assert place == "here"
        assert "the text is too long" in told

    async def test_an_embedder_that_is_down_ends_the_import_and_it_goes_on_later(
        self, base: Base, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(importing, "_BATCH", 2)
        entries = [incoming(record(str(i), f"text {i}")) for i in range(7)]

        def until_it_is_down() -> Any:
            for position, entry in enumerate(entries):
                base.embedder.down = position > 4
                yield replace(entry, record=replace(entry.record))

        with pytest.raises(Unavailable, match="the embedder is not available"):
            await base.take(until_it_is_down())
        base.embedder.down = False
        imported = await base.take(entries)
        assert (imported.unchanged, imported.stored) == (4, 3)
        assert sorted(base.embedder.texts) == sorted(f"text {i}" for i in range(7))
        ((*records,),) = (await base.everything()).values()
        assert [one.id for one in records] == [str(i) for i in range(7)]

    async def test_notes_are_counted(self, base: Base) -> None:
        imported = await base.take([Note("relations", 2), Note("times"), Note("relations")])
        assert imported.notes == {"relations": 3, "times": 1}


class TestTenants:
    async def test_an_export_has_nothing_of_another_tenant(self, base: Base) -> None:
        await base.put(record("a", "mine"))
        await base.write(Put("other", "c", SERVER, [record("b", "theirs")]))
        await base.write(Put("other", "d", SERVER, [record("b", "theirs")]))
        lines, _ = base.export()
        whole = b"".join(lines)
        assert b"mine" in whole
        assert b"theirs" not in whole
        assert b'"d"' not in whole

    async def test_an_import_changes_nothing_of_another_tenant(self, base: Base) -> None:
        await base.write(Put("other", "c", SERVER, [record("a", "theirs")]))
        before = exact(await base.everything("other"))
        await base.take([incoming(record("a", "mine", updated_at=10**15))])
        assert exact(await base.everything("other")) == before

    async def test_chosen_collections(self, base: Base) -> None:
        for one in "bca":
            await base.put(record("a", f"of {one}"), name=one)
        lines, exported = base.export(TENANT, "c", "a")
        assert (exported.collections, exported.memories) == (2, 2)
        assert b"of b" not in b"".join(lines)
        with pytest.raises(NotFound, match="no collection 'd' of the tenant 'tenant'"):
            base.export(TENANT, "d")
        assert base.export("nobody")[1].collections == 0


class TestDryRuns:
    async def rehearse(self, base: Base, entries: Any, *, there: bool = True) -> Imported:
        with open_snapshot(base.url) as snapshot:
            importer = Importer(
                Rehearsal(snapshot if there else None),
                TENANT,
                batched(NoEmbedding(base.embedder)),
                lambda place, reason: base.failures.append((place, reason)),
            )
            await importer.run(entries)
        return importer.imported

    async def test_it_says_what_an_import_would_and_writes_nothing(self, base: Base) -> None:
        await base.put(record("a"), record("b", updated_at=20), record("c"))
        before = exact(await base.everything())
        made = NewCollection("here", "new", CLIENT, 3, None)
        entries: list[Entry] = [
            incoming(record("a")),
            incoming(record("b", "other")),
            incoming(record("c", "other", updated_at=8)),
            incoming(record("d", "another")),
            made,
            Incoming("here", "new", record("a", vectors=pack([1.0, 2.0])), CLIENT),
            incoming(record("b"), "new"),
        ]
        copies = [
            replace(one, record=replace(one.record)) if isinstance(one, Incoming) else one
            for one in entries
        ]
        tried = await self.rehearse(base, entries)
        assert exact(await base.everything()) == before
        assert base.embedder.texts == []
        assert await base.take(copies) == tried
        assert (tried.unchanged, tried.kept, tried.updated, tried.stored) == (1, 1, 1, 2)
        assert (tried.failed, tried.made, tried.found) == (1, {"new"}, {"c"})

    async def test_without_a_database(self, base: Base) -> None:
        tried = await self.rehearse(base, [incoming(record("a"))], there=False)
        assert (tried.stored, tried.made) == (1, {"c"})


class TestSnapshots:
    async def test_one_state_while_others_write(self, base: Base) -> None:
        await base.put(*(record(str(i)) for i in range(500)))
        with open_snapshot(base.url) as snapshot:
            (collection,) = snapshot.collections(TENANT)
            found = snapshot.records(collection, with_vectors=True)
            first = next(found)
            await base.put(record("0", "changed", updated_at=8), record("new"))
            await base.write(DropCollection(TENANT, "c"))
            rest = list(found)
            assert snapshot.count(collection) == 500
        assert [one.id for one in (first, *rest)] == [str(i) for i in range(500)]
        assert {one.content for one in (first, *rest)} == {"text"}
        assert base.export()[1].memories == 0
