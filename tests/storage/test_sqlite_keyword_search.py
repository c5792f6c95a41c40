"""Keyword search in a SQLite file, however it is done, against FTS5's own ranking."""

import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import apsw
import numpy as np
import pytest
from agentmem_client.filters import parse
from agentmem_server.keywords import keyword_query
from agentmem_server.storage import Collection, PutCollection, Scope, Selection, open_store
from agentmem_server.storage.sqlite import (
    keyword_index,
    keyword_search,
    narrow_match,
    postings,
    rows,
    schema,
)

if TYPE_CHECKING:
    from tests.storage.conftest import Clock, Notes

WORDS = [f"word{number}" for number in range(200)] + [
    "run",
    "runs",
    "running",
    "café",
    "2023",
    "u7",
]
QUERIES = [
    "word0 word1 word2",
    "word0 word150",
    "word3 word0 word1 word2 word4",
    "running word1 runs",
    "cafe 2023 u7 word0",
    "word199",
    "nowhere",
]
FILTER = parse({"n": {"$lt": 3}})
SELECTIONS = {
    "all": Selection(),
    "scope": Selection(Scope("ann", "agent1")),
    "filter": Selection(filter=FILTER),
    "both": Selection(Scope("bob"), FILTER),
    "nobody": Selection(Scope("nobody")),
}
Hits = list[tuple[int, float]]


@dataclass
class Searched:
    """A file with memories, and a connection of its own to it."""

    notes: "Notes"
    collection: Collection
    connection: apsw.Connection
    now: int

    @classmethod
    async def open(cls, notes: "Notes", path: Path, now: int) -> "Searched":
        connection = schema.connect(path, readonly=True)
        found = cls(notes, await notes.collection(), connection, now)
        postings.prepare(connection, found.collection.key)
        return found

    def selected(self, selection: Selection) -> list[int]:
        return sorted(rows.ids(self.connection, self.collection, selection, self.now).tolist())

    def find(self, query: str, selection: Selection, depth: int = 10) -> Hits:
        """As a search does."""
        among = None
        if selection != Selection():
            among = rows.ids(self.connection, self.collection, selection, self.now)
            if not len(among):
                return []
        ids, scores = keyword_search.match(
            self.connection,
            self.collection.key,
            keyword_query(query),
            selection,
            depth,
            self.now,
            among,
        )
        return list(zip(ids.tolist(), scores.tolist(), strict=True))

    def ranked(self, query: str, selection: Selection) -> Hits:
        """All that FTS5 finds, best first, by its own `bm25`."""
        words = " OR ".join(f'"{word}"' for word in keyword_query(query))
        table = f"keyword_{self.collection.key}"
        found = self.connection.execute(
            f"SELECT rowid, -bm25({table}, 0, 1) AS score FROM {table} WHERE {table} MATCH ? "
            "ORDER BY score DESC, rowid DESC",
            (f"text : ({words})",),
        ).fetchall()
        selected = set(self.selected(selection))
        return [(rid, score) for rid, score in cast("Hits", found) if rid in selected]


@pytest.fixture
async def notes(tmp_path: Path, new_notes: "type[Notes]") -> AsyncIterator["Notes"]:
    url = f"sqlite:///{tmp_path / 'memory.db'}"
    opened = new_notes(url, await open_store(url, readers=1))
    yield opened
    await opened.store.close()


@pytest.fixture
async def searched(notes: "Notes", tmp_path: Path, clock: "Clock") -> Searched:
    """400 memories with words as frequent as in a text; some changed, deleted, expired."""
    chance = random.Random(5)

    def text() -> str:
        ranks = [int(chance.paretovariate(0.7)) - 1 for _ in range(chance.randrange(1, 150))]
        return " ".join([*(WORDS[rank] for rank in ranks if rank < 200), chance.choice(WORDS)])

    records = [
        notes.record(
            f"m{number}",
            text(),
            user_id=chance.choice([None, "ann", "bob"]),
            agent_id=chance.choice([None, "agent1"]),
            metadata={"n": chance.randrange(10)},
            expires_at=clock.now + 1 if number % 20 == 0 else None,
        )
        for number in range(400)
    ]
    await notes.write(notes.putting(*records))
    for number in range(1, 400, 7):
        await notes.change(f"m{number}", content=text())
    await notes.delete(*(f"m{number}" for number in range(2, 400, 11)))
    clock.advance(2)
    return await Searched.open(notes, tmp_path / "memory.db", clock.now)


def ids(hits: Hits) -> list[int]:
    return [rid for rid, _ in hits]


def check(found: Hits, expected: Hits) -> None:
    assert ids(found) == ids(expected)
    assert [score for _, score in found] == pytest.approx([score for _, score in expected])


WAYS = {
    "postings": {(keyword_search, "_NARROW"): 0},
    "postings, most not scored": {
        (keyword_search, "_NARROW"): 0,
        (keyword_search, "_FIRST"): 1,
        (keyword_search, "_SPARSE"): 0,
    },
    "bm25 of FTS5": {(keyword_search, "_NARROW"): 1},
    "counted once": {
        (keyword_search, "_NARROW"): 1,
        (narrow_match, "_SMALL"): 1,
        (narrow_match, "_LARGE"): 0,
        (narrow_match, "_CALL"): 0,
        (postings, "_FREQUENT"): 1,
    },
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("selection", SELECTIONS)
def test_each_way_finds_the_best_of_what_is_selected(
    searched: Searched, monkeypatch: pytest.MonkeyPatch, way: str, selection: str
) -> None:
    for (module, name), value in WAYS[way].items():
        monkeypatch.setattr(module, name, value)
    meant = SELECTIONS[selection]
    for query in QUERIES:
        everything = searched.ranked(query, meant)
        for depth in (1, 10, 1_000):
            check(searched.find(query, meant, depth), everything[:depth])


@pytest.fixture
def bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The postings of one term are enough."""
    monkeypatch.setattr(keyword_search, "_ENOUGH", 20)
    monkeypatch.setattr(keyword_search, "_LEAST", 1)
    monkeypatch.setattr(keyword_search, "_NARROW", 0)


@pytest.mark.usefixtures("bounded")
@pytest.mark.parametrize("selection", SELECTIONS)
def test_bounds_drop_no_scope_and_no_filter_and_leave_nothing_out(
    searched: Searched, selection: str
) -> None:
    meant = SELECTIONS[selection]
    for query in QUERIES:
        everything = searched.ranked(query, meant)
        for depth in (1, 10, 1_000):
            found = searched.find(query, meant, depth)
            assert len(found) == min(depth, len(everything))
            assert set(ids(found)) <= set(ids(everything))


@pytest.mark.usefixtures("bounded")
@pytest.mark.parametrize("corrected", [100, 0])
def test_what_a_rare_word_brings_is_ranked_by_the_common_ones_too(
    searched: Searched, monkeypatch: pytest.MonkeyPatch, corrected: int
) -> None:
    """By how often it has them, as far as there is time to ask."""
    monkeypatch.setattr(keyword_search, "_CORRECTED", corrected)
    query = "word60 word20 word30"
    rare = set(ids(searched.ranked("word60", Selection())))
    found = searched.find(query, Selection(), len(rare))
    expected = [hit for hit in searched.ranked(query, Selection()) if hit[0] in rare]
    if corrected:
        check(found, expected)
    else:
        assert set(ids(found)) == rare
        assert dict(found) != pytest.approx(dict(searched.ranked("word60", Selection())))
        assert all(dict(found)[rid] < score + 1e-9 for rid, score in expected)


@pytest.mark.usefixtures("bounded")
@pytest.mark.parametrize("query", ["nowhere word0", "word0 word1", "word0"])
def test_what_only_common_words_match_is_found_where_nothing_rarer_does(
    searched: Searched, query: str
) -> None:
    everything = searched.ranked(query, Selection())
    assert len(everything) > 100
    check(searched.find(query, Selection(), 1_000), everything)


async def test_a_text_that_says_a_scope_is_found_by_its_words_alone(
    notes: "Notes", tmp_path: Path, clock: "Clock", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever knows the token of a scope neither finds what is in it nor gets into it."""
    (token,) = keyword_index.scope_tokens(Scope("ann"))
    await notes.put("of ann", "cat", user_id="ann")
    await notes.put("of bob", f"cat {token}", user_id="bob")
    searched = await Searched.open(notes, tmp_path / "memory.db", clock.now)
    of_ann, of_bob = (searched.selected(Selection(Scope(user))) for user in ("ann", "bob"))
    for share in (0, 1):
        monkeypatch.setattr(keyword_search, "_NARROW", share)
        assert ids(searched.find(token, Selection())) == of_bob
        assert ids(searched.find("cat", Selection(Scope("ann")))) == of_ann


async def test_an_emptied_and_a_new_collection_are_searched_as_they_are(
    notes: "Notes", tmp_path: Path, clock: "Clock"
) -> None:
    await notes.put("one", "cat")
    assert await notes.saying("cat") == ["one"]
    searched = await Searched.open(notes, tmp_path / "memory.db", clock.now)
    assert len(searched.find("cat", Selection())) == 1
    await notes.delete()
    assert await notes.saying("cat") == []
    assert searched.find("cat", Selection()) == []
    await notes.put("two", "dog")
    assert await notes.saying("cat dog") == ["two"]
    assert len(searched.find("cat dog", Selection())) == 1


async def test_a_connection_keeps_what_it_reads_from_of_some_collections(
    notes: "Notes", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postings, "_MOST_OPENED", 3)
    await notes.put("one", "cat")
    embedding = (await notes.collection()).embedding
    others = [PutCollection("tenant", f"c{number}", embedding, 1) for number in range(7)]
    await notes.store.write(others)
    connection = schema.connect(tmp_path / "memory.db", readonly=True)
    for _ in range(2):
        for cid in range(1, 9):
            postings.prepare(connection, cid)
            assert postings.Index(connection, cid).size == (cid == 1)
            kept = connection.execute("SELECT count(*) FROM temp.sqlite_schema").get
            assert kept <= 2 * 3


def test_how_frequent_a_word_is_is_counted_anew_when_the_collection_has_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connection = apsw.Connection(":memory:")
    keyword_index.create(connection, 1)
    monkeypatch.setattr(postings, "_FREQUENT", 50)

    def add(start: int, end: int) -> None:
        connection.executemany(
            "INSERT INTO keyword_1 (rowid, scope, text) VALUES (?, '', ?)",
            [(number, f"cat dog dog rare{number}") for number in range(start, end)],
        )

    postings.prepare(connection, 1)
    add(0, 1_000)
    assert postings.Index(connection, 1).frequency("dog") == (1_000, 2_000)
    add(1_000, 1_005)
    assert postings.Index(connection, 1).frequency("dog") == (1_000, 2_000)
    assert postings.Index(connection, 1).frequency("cat") == (1_005, 1_005)
    assert postings.Index(connection, 1).frequency("rare1004") == (1, 1)
    add(1_005, 1_200)
    assert postings.Index(connection, 1).frequency("dog") == (1_200, 2_400)


def test_lengths_of_any_size_are_read() -> None:
    connection = apsw.Connection(":memory:")
    keyword_index.create(connection, 1)
    sizes = [0, 1, 127, 128, 129, 16_383, 16_384, 40_000]
    connection.executemany(
        "INSERT INTO keyword_1 (rowid, scope, text) VALUES (?, 'a b', ?)",
        [(10 * number + 1, "x " * size) for number, size in enumerate(sizes)],
    )
    postings.prepare(connection, 1)
    index = postings.Index(connection, 1)
    every = np.array([10 * number + 1 for number in range(len(sizes))])
    assert index.lengths(every).tolist() == [size + 2 for size in sizes]
    assert index.lengths(every[5:]).tolist() == [size + 2 for size in sizes[5:]]
    assert (index.size, index.mean_length) == (len(sizes), 2 + sum(sizes) / len(sizes))
    assert index.postings("x").counts.tolist() == sizes[1:]


@pytest.mark.parametrize(
    ("selection", "index"),
    [
        (Selection(Scope("ann", "agent")), "memory_by_user"),
        (Selection(Scope("ann", "agent", "s1")), "memory_by_session"),
        (Selection(Scope(agent_id="agent")), "memory_by_agent"),
        (Selection(Scope("ann", "agent", "s1"), ids=["a", "b"]), "sqlite_autoindex_memory"),
    ],
)
async def test_memories_are_looked_for_by_what_narrows_most(
    notes: "Notes", tmp_path: Path, selection: Selection, index: str
) -> None:
    await notes.put("one")
    connection = schema.connect(tmp_path / "memory.db", readonly=True)
    meant = rows.condition(await notes.collection(), selection, 1)
    plan: Sequence[tuple[object, ...]] = connection.execute(
        f"EXPLAIN QUERY PLAN SELECT m.rid FROM memory m WHERE {meant.text}", meant.parameters
    ).fetchall()
    assert index in str(plan[0])


async def test_the_selected_ids_are_those_that_live(
    notes: "Notes", tmp_path: Path, clock: "Clock"
) -> None:
    for number, user in enumerate(["ann", "ann", "bob", "ann"]):
        expires_at = clock.now + 5 if number == 1 else None
        await notes.put(f"m{number}", user_id=user, metadata={"n": number}, expires_at=expires_at)
    searched = await Searched.open(notes, tmp_path / "memory.db", clock.now)
    of_ann, few = Selection(Scope("ann")), Selection(Scope("ann"), parse({"n": {"$gt": 0}}))
    assert (searched.selected(of_ann), searched.selected(few)) == ([1, 2, 4], [2, 4])
    searched.now = clock.advance(5)
    assert (searched.selected(of_ann), searched.selected(few)) == ([1, 4], [4])
    assert searched.selected(Selection(Scope("nobody"))) == []
    assert rows.expired(searched.connection, searched.collection.key, clock.now).tolist() == [2]
