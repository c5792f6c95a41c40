"""Keyword search in the SQLite store, against FTS5 asked in plain SQL, on the same file.

    python benchmarks/keywords.py [--memories 10000 100000] [--json figures.json]

The memories are turns of conversations, 100 users', in made-up words that are as frequent as
those of a language (Zipf-Mandelbrot), with the speakers' names; the index has the turn before each,
as it always does. The plain query is FTS5's own: ``MATCH … ORDER BY bm25(…) LIMIT``, which ranks
exactly; ``overlap`` is how many of its best ten the store finds. Both work in this process, by
turns, and bring 100 candidates, as a hybrid search does; the store reads ten memories besides.
``CPU`` is the time on the processor, of all threads, which others on the machine change least.
"""

import argparse
import asyncio
import json
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from statistics import mean, median, quantiles
from typing import Any

import apsw
from agentmem_server import times
from agentmem_server.keywords import keyword_query
from agentmem_server.storage import (
    Candidates,
    Collection,
    Embedding,
    Put,
    Ranked,
    Record,
    Scope,
    SearchRequest,
    Selection,
    Store,
    open_store,
)
from agentmem_server.storage.sqlite import keyword_index, schema

VOCABULARY = 30_000
NAMES = 40
USERS = 100
TURNS = 25
"""Of a conversation."""
DEPTH, SHOWN = 100, 10
QUERIES = 25
"""Of each kind."""
BATCH = 500
TENANT, COLLECTION = "benchmark", "turns"
ONE, HALF = Scope("user7"), Scope(agent_id="agent0")

Hits = list[tuple[int, float]]


class Language:
    """Made-up words; the first are the most frequent."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.words = [self._word(rank) for rank in range(VOCABULARY)]
        self.names = [self._word(VOCABULARY + number).capitalize() for number in range(NAMES)]
        self._weights = list(accumulate(1 / (rank + 5) for rank in range(VOCABULARY)))

    def text(self) -> str:
        """As long as a turn of a conversation without its stop words."""
        length = 3 + min(120, int(self._chance.lognormvariate(2.8, 0.7)))
        return " ".join(self._chance.choices(self.words, cum_weights=self._weights, k=length))

    def some(self, first: int, last: int, count: int) -> list[str]:
        """Different words of these ranks."""
        return self._chance.sample(self.words[first:last], count)

    @staticmethod
    def _word(number: int) -> str:
        syllables = [consonant + vowel for consonant in "bdfgklmnprtv" for vowel in "aou"]
        word = ""
        while number or len(word) < 4:
            number, digit = divmod(number, len(syllables))
            word += syllables[digit]
        return word + "k"  # no ending that a stemmer takes off


@dataclass(frozen=True)
class Kind:
    """Queries of one kind, and where they search."""

    name: str
    scope: Scope
    query: Callable[[], str]


@dataclass
class Measured:
    """Milliseconds of each search, and how many of the exact best ten each found."""

    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    overlap: list[int] = field(default_factory=list)

    def figures(self) -> dict[str, float]:
        """Medians and 95th percentiles."""
        return {
            f"{name}_{part}": value
            for name, taken in (("cpu", self.cpu), ("wall", self.wall))
            for part, value in (("median", median(taken)), ("p95", quantiles(taken, n=20)[-1]))
        }


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--memories", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args()
    figures = {count: asyncio.run(_measure(count)) for count in options.memories}
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


async def _measure(memories: int) -> dict[str, Any]:
    chance = random.Random(0)
    language = Language(chance)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "memories.db"
        store = await open_store(f"sqlite:///{path}", readers=1)
        try:
            started = time.process_time()
            for batch in _batches(chance, language, memories):
                await store.write([batch])
            took = (time.process_time() - started) / memories
            print(f"\n{memories:,} memories, {took * 1e6:.0f} us of the processor to store each")
            collection = await store.collection(TENANT, COLLECTION)
            assert collection is not None
            plain = schema.connect(path, readonly=True)
            kinds = {
                kind.name: await _compare(store, collection, plain, kind)
                for kind in _kinds(chance, language)
            }
            plain.close()
        finally:
            await store.close()
    _print(kinds)
    return {"store_us": took * 1e6, "kinds": kinds}


def _batches(chance: random.Random, language: Language, memories: int) -> Iterator[Put]:
    embedding = Embedding("client", None, 2, "cosine")
    for start in range(0, memories, BATCH):
        numbers = range(start, min(start + BATCH, memories))
        records = [_turn(chance, language, number) for number in numbers]
        yield Put(TENANT, COLLECTION, embedding, records)


def _turn(chance: random.Random, language: Language, number: int) -> Record:
    conversation = number // TURNS
    speakers = random.Random(conversation).sample(language.names, 2)
    now = times.now()
    said = f"{speakers[number % 2]}: {language.text()}"
    if chance.random() < 0.2:
        said += f", {speakers[1 - number % 2]}"
    return Record(
        f"turn{number}",
        said,
        {},
        f"user{conversation % USERS}",
        f"agent{conversation // USERS % 2}",
        f"conversation{conversation}",
        None,
        None,
        None,
        None,
        now,
        now,
        vectors=b"",
    )


def _kinds(chance: random.Random, language: Language) -> list[Kind]:
    def question() -> str:
        """A name, words that are common, and some that aren't."""
        words = [chance.choice(language.names), *language.some(10, 100, 2)]
        return " ".join([*words, *language.some(100, 3_000, 2)])

    def rare() -> str:
        return " ".join(language.some(3_000, 20_000, 3))

    def common() -> str:
        """In a tenth to half of the memories."""
        return " ".join(language.some(3, 60, 5))

    return [
        Kind("scoped, 1 %", ONE, question),
        Kind("scoped, 1 %, all common", ONE, common),
        Kind("scoped, half", HALF, question),
        Kind("unscoped, rare words", Scope(), rare),
        Kind("unscoped, a question", Scope(), question),
        Kind("unscoped, all common", Scope(), common),
    ]


async def _compare(
    store: Store, collection: Collection, plain: apsw.Connection, kind: Kind
) -> dict[str, Any]:
    ours, theirs = Measured(), Measured()
    for number in range(-2, QUERIES):  # the first two open and read what is kept from then on
        words = keyword_query(kind.query())
        began, cpu = time.perf_counter(), time.process_time()
        found = await _search(store, collection, words, kind.scope)
        between, cpu_between = time.perf_counter(), time.process_time()
        exact = _match(plain, collection, words, kind.scope)
        ended, cpu_ended = time.perf_counter(), time.process_time()
        if number < 0:
            continue
        ours.cpu.append((cpu_between - cpu) * 1_000)
        ours.wall.append((between - began) * 1_000)
        theirs.cpu.append((cpu_ended - cpu_between) * 1_000)
        theirs.wall.append((ended - between) * 1_000)
        ours.overlap.append(_shared(found, exact))
    return {
        "store": ours.figures(),
        "fts5": theirs.figures(),
        "overlap": mean(ours.overlap) / SHOWN,
        "overlap_least": min(ours.overlap) / SHOWN,
    }


async def _search(store: Store, collection: Collection, words: Sequence[str], scope: Scope) -> Hits:
    def best(candidates: Candidates) -> Ranked:
        return candidates.keyword_ids[:SHOWN], candidates.keyword_scores[:SHOWN]

    request = SearchRequest(Selection(scope), None, words, DEPTH, best)
    return [(one.seq, score) for one, score in await store.search(collection, request)]


def _match(
    connection: apsw.Connection, collection: Collection, words: Sequence[str], scope: Scope
) -> Hits:
    table = f"keyword_{collection.key}"
    any_word = " OR ".join(f'"{word}"' for word in words)
    scopes = [f"scope : {token}" for token in keyword_index.scope_tokens(scope)]
    rows = connection.execute(
        f"SELECT rowid, -bm25({table}, 0, 1) AS score FROM {table} WHERE {table} MATCH ? "
        "ORDER BY score DESC, rowid DESC LIMIT ?",
        (" AND ".join([*scopes, f"text : ({any_word})"]), DEPTH),
    )
    return [(int(rid), float(score)) for rid, score in rows]


def _shared(found: Hits, exact: Hits) -> int:
    """How many of those found are as good as the tenth of the exact ones; ten where all are."""
    if len(exact) <= SHOWN:
        return SHOWN - len({rid for rid, _ in exact} - {rid for rid, _ in found})
    least = exact[SHOWN - 1][1] * (1 - 1e-9)
    good = {rid for rid, score in exact if score >= least}
    return sum(rid in good for rid, _ in found)


def _print(kinds: dict[str, dict[str, Any]]) -> None:
    print(f"{'':26}{'store':^26}{'plain FTS5':^26}")
    print(f"{'milliseconds':26}" + f"{'CPU':>6}{'p95':>6}{'wall':>7}{'p95':>7}" * 2 + "  overlap")
    for name, figures in kinds.items():
        cells = "".join(
            f"{one['cpu_median']:6.1f}{one['cpu_p95']:6.1f}"
            f"{one['wall_median']:7.1f}{one['wall_p95']:7.1f}"
            for one in (figures["store"], figures["fts5"])
        )
        print(f"{name:26}{cells}{figures['overlap']:9.3f}")


if __name__ == "__main__":
    main()
