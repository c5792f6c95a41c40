"""The keyword channel of a search: BM25, as SQLite's FTS5 has it, over bounded candidates."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ..bm25 import K1, B, rarity
from .statement import Statement

BOUND = 5_000
"""How many memories are scored, about, where no scope and no filter narrows a search: 3 µs each.

Of 100,000 memories these hold 99 % of the ten best that scoring all would find, which takes 20
times as long. Where a scope or a filter narrows, all that match are scored.
"""


@dataclass(frozen=True)
class Query:
    """The terms of a query that any memory of a collection has.

    Attributes:
        keys: the terms as the index has them, the rarest first.
        weights: what each counts for, at most.
        documents: how many memories have it.
        size: how many memories the index has.
        mean_length: of their keyword texts.
    """

    keys: list[str]
    weights: list[float]
    documents: list[int]
    size: int
    mean_length: float

    @classmethod
    def of(
        cls, cid: int, terms: Mapping[str, int], documents: Mapping[str, int], size: int, words: int
    ) -> "Query":
        """Weigh terms; ``documents`` says of those that are there how many memories have them."""
        known = sorted((documents[term], term) for term in terms if term in documents)
        return cls(
            keys=[keyed(cid, term) for _, term in known],
            weights=[(K1 + 1) * terms[term] * rarity(size, count) for count, term in known],
            documents=[count for count, _ in known],
            size=size,
            mean_length=words / size if size else 0.0,
        )

    def rarest(self) -> list[str]:
        """The terms of which a candidate has one: the rarest, until they bring enough."""
        chosen: list[str] = []
        together = 0
        for key, count in zip(self.keys, self.documents, strict=True):
            together += count
            if chosen and together > BOUND:
                break
            chosen.append(key)
        return chosen

    def is_common(self) -> bool:
        """Whether even the rarest term is in so many memories that some must do.

        To read back from the newest until enough have it takes as long as to read all that have
        it where these are the geometric mean of all memories and of what is enough.
        """
        return self.documents[0] > math.sqrt(self.size * BOUND)


def keyed(cid: int, term: str) -> str:
    """A term as the table ``keyword`` has it, whose index is that of all collections."""
    return f"{cid} {term}"


def add(
    statement: Statement, cid: int, query: Query, *, narrowed: bool, depth: int, now: int
) -> None:
    """Add the part ``words`` (rid, score) to a search: the best matches, at most ``depth``.

    Args:
        statement: has the part ``selected`` (rid), where that narrows.
        cid: the collection.
        query: with at least one term.
        narrowed: whether only what is selected may be found.
        depth: how many at most.
        now: microseconds; what expired by then is left out.
    """
    collection = statement.mark(cid)
    keys = statement.mark(query.keys)
    statement.part(
        "asked",
        f"SELECT * FROM unnest({keys}::text[], {statement.mark(query.weights)}::float8[]) "
        "AS q(key, weight)",
    )
    if narrowed:
        candidates = _selected(collection, keys, statement.mark(sum(query.documents)))
    else:
        candidates = _unbounded(statement, collection, query, now)
    mean = statement.mark(query.mean_length)
    statement.part(
        "words",
        "SELECT k.rid, x.score "
        f"FROM ({candidates}) AS k CROSS JOIN LATERAL ("
        f"SELECT sum(f.weight * f.n / (f.n + {K1 * (1 - B):.2f}::float8 "
        f"+ {K1 * B:.2f}::float8 * k.length / {mean}::float8)) AS score "
        "FROM (SELECT q.weight, (k.counts -> q.key)::integer AS n FROM asked q OFFSET 0) AS f"
        ") AS x WHERE x.score IS NOT NULL "
        f"ORDER BY x.score DESC, k.rid DESC LIMIT {statement.mark(depth)}",
    )


def _selected(collection: str, keys: str, matching: str) -> str:
    """All that is selected; or of what has one of the terms, where that is less."""
    columns, count = "k.rid, k.counts, k.length", "(SELECT count(*) FROM selected)"
    # IS TRUE: as a join it might be planned for a few, when there are many.
    is_selected = "(k.rid IN (SELECT s.rid FROM selected s)) IS TRUE"
    return (
        f"SELECT {columns} FROM selected s "
        f"JOIN keyword k ON k.cid = {collection} AND k.rid = s.rid WHERE {count} <= {matching} "
        f"UNION ALL SELECT {columns} FROM keyword k "
        f"WHERE k.counts ?| {keys}::text[] AND {is_selected} AND {count} > {matching}"
    )


def _unbounded(statement: Statement, collection: str, query: Query, now: int) -> str:
    rarest = statement.mark(query.rarest())
    living = (
        f"k.rid NOT IN (SELECT m.rid FROM memory m WHERE m.cid = {collection} "
        f"AND m.expires_at <= {statement.mark(now)})"
    )
    if query.is_common():
        # The function, for the operator's index would bring all of them.
        return (
            f"SELECT k.rid, k.counts, k.length FROM keyword k WHERE k.cid = {collection} "
            f"AND jsonb_exists_any(k.counts, {rarest}::text[]) AND {living} "
            f"ORDER BY k.rid DESC LIMIT {BOUND}"
        )
    return (
        "SELECT k.rid, k.counts, k.length FROM keyword k "
        f"WHERE k.counts ?| {rarest}::text[] AND {living}"
    )
