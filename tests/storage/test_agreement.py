"""The stores find the same: the same writes lead to the same candidates and the same scores."""

import random
from collections.abc import AsyncIterator, Callable
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from agentmem_client.filters import parse
from agentmem_client.models import Metric
from agentmem_server.engine.ranking import fuse, mmr
from agentmem_server.keywords import keyword_query
from agentmem_server.storage import (
    Candidates,
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
    Sweep,
    Update,
    Write,
    open_store,
)

if TYPE_CHECKING:
    from tests.conftest import Postgres
    from tests.storage.conftest import Clock, Notes

TENANT, NOTES, DIMENSION = "tenant", "notes", 8
METRICS: list[Metric] = ["cosine", "dot", "euclidean"]
IDS = [f"id{number}" for number in range(60)]
WORDS = """
    ant ants bee bees café cafe dog dogs running runs ran elk fox gnu Paris PARIS rome 42 C3PO the
    is snake_case don't naïve über 日本語 жизнь 𐞁 a꟰b
""".split()  # noqa: SIM905  # reads better
TOLERANCE = 1e-5

Rank = Callable[[Candidates], Ranked]


def by_vector(candidates: Candidates) -> Ranked:
    return candidates.ids, candidates.similarities


def by_words(candidates: Candidates) -> Ranked:
    return candidates.keyword_ids, candidates.keyword_scores


def by_both(candidates: Candidates) -> Ranked:
    found = fuse(
        candidates.ids,
        candidates.similarities,
        candidates.keyword_ids,
        candidates.keyword_scores,
    )
    return found.ids, found.scores


def by_mmr(candidates: Candidates) -> Ranked:
    ids, scores = by_both(candidates)
    order, _ = mmr(scores, candidates.vectors(ids), k=10)
    return ids[order], scores[order]


class Writes:
    """Random writes of everything that a search depends on."""

    def __init__(self, seed: int, metric: Metric, now: int) -> None:
        self.chance = random.Random(seed)
        self.embedding = Embedding("client", None, DIMENSION, metric)
        self.now = now
        self._points = [self._point() for _ in range(5)]

    def batch(self) -> list[Write]:
        return [self._one() for _ in range(self.chance.randrange(1, 12))]

    def vector(self) -> bytes:
        """Often one that others have too."""
        again = self.chance.random() < 0.3
        return self.chance.choice(self._points) if again else self._point()

    def words(self, most: int) -> str:
        return " ".join(self.chance.choices(WORDS, k=self.chance.randrange(most + 1)))

    def putting(self, *ids: str) -> Put:
        return Put(TENANT, NOTES, self.embedding, [self._record(id) for id in ids])

    def _point(self) -> bytes:
        size = self.chance.choice([0, 1, 1, 1, 1e-20, 1e15])
        numbers = [size * self.chance.gauss(0, 1) for _ in range(DIMENSION)]
        return np.array(numbers, "<f4").tobytes()

    def _one(self) -> Write:
        chance, id = self.chance, self.chance.choice(IDS)
        match chance.choices(range(6), weights=[20, 4, 3, 2, 1, 1])[0]:
            case 0:
                return self.putting(*chance.choices(IDS, k=chance.randrange(1, 4)))
            case 1:
                changes: dict[str, Any] = chance.choice(
                    [
                        {"content": self.words(9)},
                        {"session_id": chance.choice([None, "s1", "s2"])},
                        {"user_id": chance.choice([None, "ann", "bob"])},
                        {"event_at": chance.choice([None, self.now, 0])},
                        {"expires_at": self.now + chance.randrange(1, 9)},
                    ]
                )
                return Update(TENANT, NOTES, id, changes, self.now)
            case 2:
                return Delete(TENANT, NOTES, Selection(ids=chance.sample(IDS, 3)))
            case 3:
                return Delete(TENANT, NOTES, Selection(filter=parse({"n": chance.randrange(6)})))
            case 4:
                return Sweep(self.now, 3)
            case _:
                return Delete(TENANT, NOTES, chance.choice([Selection(Scope("ann")), Selection()]))

    def _record(self, id: str) -> Record:
        chance = self.chance
        texts = chance.choice([None, None, None, [], [self.words(5), self.words(5)]])
        count = 0 if texts == [] else chance.choice([0, 1, 1, 1, 2, 3])
        return Record(
            id,
            self.words(20),
            {"n": chance.randrange(6)},
            chance.choice([None, "ann", "bob"]),
            chance.choice([None, "agent"]),
            chance.choice([None, "s1", "s2"]),
            None,
            None,
            chance.choice([None, self.now]),
            chance.choice([None, None, None, self.now + chance.randrange(1, 9)]),
            self.now,
            self.now,
            namespace=chance.choice([None, ("a",), ("a", "b"), ("c",)]),
            index_texts=texts,
            vectors=b"".join(self.vector() for _ in range(count)),
        )

    def request(self, rank: Rank) -> SearchRequest:
        chance = self.chance
        selection = Selection(
            Scope(
                chance.choice([None, "ann", "bob"]),
                chance.choice([None, None, "agent"]),
                chance.choice([None, None, "s1"]),
                chance.choice([None, None, ("a",), ("a", "b")]),
            ),
            chance.choice([None, None, parse({"n": {"$lt": 4}}), parse({"@content": {"$ne": ""}})]),
        )
        return SearchRequest(
            chance.choice([Selection(), selection]),
            None if rank is by_words else self.vector(),
            [] if rank is by_vector else keyword_query(self.words(6)),
            chance.choice([3, 10, 100]),
            rank,
        )


@pytest.fixture
async def stores(tmp_path: Path, postgres: "Postgres") -> AsyncIterator[list[Store]]:
    opened = [await open_store(url) for url in (f"sqlite:///{tmp_path / 'a.db'}", postgres.url())]
    yield opened
    for store in opened:
        await store.close()


async def found(store: Store, request: SearchRequest) -> list[tuple[str, float]]:
    collection = await store.collection(TENANT, NOTES)
    assert collection is not None
    return [(one.id, score) for one, score in await store.search(collection, request)]


def check(one: list[tuple[str, float]], other: list[tuple[str, float]]) -> None:
    """The same ids with the same scores, but for those as good as the last."""
    assert [score for _, score in one] == pytest.approx(
        [score for _, score in other], rel=TOLERANCE, abs=TOLERANCE
    )
    if one:
        last = min(one[-1][1], other[-1][1])
        close = TOLERANCE * max(1.0, abs(last))
        better, others = (
            {id: score for id, score in some if score > last + 2 * close} for some in (one, other)
        )
        assert better == pytest.approx(others, rel=TOLERANCE, abs=TOLERANCE)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("seed", range(4))
async def test_the_same_writes_lead_to_the_same_rankings(
    stores: list[Store], clock: "Clock", metric: Metric, seed: int
) -> None:
    writes = Writes(seed, metric, clock.now)
    for store in stores:
        await store.write([PutCollection(TENANT, NOTES, writes.embedding, clock.now)])
    for _ in range(12):
        batch = writes.batch()
        for store in stores:
            await store.write(deepcopy(batch))
        for rank in (by_vector, by_words, by_both):
            for _ in range(4):
                request = writes.request(rank)
                check(*[await found(store, request) for store in stores])
        writes.now = clock.advance(1)


async def test_the_same_texts_rank_alike_to_the_last_digit(
    stores: list[Store], new_notes: "type[Notes]"
) -> None:
    """Equal scores too: the newest first, and those at the limit are the newest."""
    chance = random.Random(3)
    embedding = Embedding("client", None, 2, "cosine")
    along = [np.array(one, "<f4").tobytes() for one in ([1, 0], [0, 1], [3, 4])]
    records = [
        new_notes.record(
            None,  # type: ignore[arg-type]  # it is not asked
            f"r{n}",
            " ".join(chance.choices(["ant", "bee", "cat"], k=3)),
            vectors=chance.choice(along),
        )
        for n in range(200)
    ]
    for store in stores:
        await store.write([Put(TENANT, NOTES, embedding, deepcopy(records))])
    for rank in (by_vector, by_words, by_both, by_mmr):
        for depth in (1, 7, 50, 200):
            request = SearchRequest(Selection(), along[2], ["ant", "cat"], depth, rank)
            one, other = [await found(store, request) for store in stores]
            assert [id for id, _ in one] == [id for id, _ in other]
            assert [score for _, score in one] == pytest.approx([score for _, score in other])


async def test_a_collection_that_is_dropped_takes_its_words_along(stores: list[Store]) -> None:
    writes = Writes(9, "cosine", 5)
    before, after = writes.putting("a", "b"), writes.putting(*IDS)
    for store in stores:
        for write in (before, DropCollection(TENANT, NOTES), after):
            await store.write([deepcopy(write)])
    for word in WORDS:
        request = SearchRequest(Selection(), None, keyword_query(word), 100, by_words)
        check(*[await found(store, request) for store in stores])
