"""Reads: each on one connection, in one transaction, so that it sees one state of the file."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import apsw
import numpy as np
from numpy.typing import NDArray

from ... import times
from .. import (
    LONGEST_TURN,
    LOOKED_AT,
    NEIGHBOURS,
    OPENING,
    Attributes,
    Candidates,
    Collection,
    Embedding,
    ListRequest,
    NamespaceRequest,
    Page,
    Record,
    Scope,
    SearchRequest,
    Selection,
    Session,
    Turns,
    labels,
)
from ..memory_rows import COLUMNS, to_record
from ..vectors import Chosen, Ids, VectorIndex
from . import keyword_search, postings, rows
from .memory_state import MemoryState
from .selections import Key, Selections

_ORDER_COLUMN = {"seq": "m.rid", "created_at": "m.created_at", "updated_at": "m.updated_at"}
NO_IDS = np.empty(0, dtype=np.int64)
NO_SCORES = np.empty(0, dtype=np.float64)
_ATTEMPTS = 5

# Told by a row's header: nothing large is read.
_SIZE = "octet_length(m.content) + octet_length(m.metadata) + " + " + ".join(
    f"ifnull(octet_length(m.{column}), 0)" for column in ("payload", "index_texts", "sources")
)

# A long content is read to its end for its beginning; so long is no turn.
_TURNS = f"""
SELECT m.rid,
    CASE WHEN m.session_id IS NOT NULL AND octet_length(m.content) <= {LONGEST_TURN}
        THEN substr(m.content, 1, {OPENING}) END,
    CASE WHEN ? THEN (SELECT data FROM token t WHERE t.rid = m.rid) END,
    CASE WHEN m.session_id IS NOT NULL THEN (
        SELECT group_concat(rid) FROM (
            SELECT n.rid FROM (
                SELECT rid, user_id, expires_at, index_texts FROM memory
                WHERE cid = m.cid AND session_id = m.session_id AND rid > m.rid
                ORDER BY rid LIMIT {LOOKED_AT}
            ) AS n WHERE n.user_id IS m.user_id AND (n.expires_at IS NULL OR n.expires_at > ?)
            AND n.index_texts IS NOT '[]' LIMIT {NEIGHBOURS}
        )
    ) END
FROM memory m WHERE m.rid IN (SELECT value FROM carray(?))
"""


def count(connection: apsw.Connection, collection: Collection, scope: Scope) -> int:
    """How many living memories of a scope the collection holds."""
    condition = rows.condition(collection, Selection(scope), times.now())
    found: int = connection.execute(
        f"SELECT count(*) FROM memory m WHERE {condition.text}", condition.parameters
    ).get
    return found


def get(
    connection: apsw.Connection, collection: Collection, selection: Selection, with_vectors: bool
) -> list[Record]:
    """The living records of a selection by ids, in their order."""
    condition = rows.condition(collection, selection, times.now())
    found = {
        row[0]: to_record(row)
        for row in connection.execute(
            f"SELECT {_columns(with_vectors)} WHERE {condition.text}", condition.parameters
        )
    }
    return [found[identity] for identity in selection.ids or () if identity in found]


def page(connection: apsw.Connection, collection: Collection, request: ListRequest) -> Page:
    """One page of a listing, found by key, so that writes beside it don't shift it."""
    condition = rows.condition(collection, request.selection, times.now())
    order, direction = _ORDER_COLUMN[request.order_by], request.order
    with rows.snapshot(connection):
        total = None
        if request.with_total:
            total = connection.execute(
                f"SELECT count(*) FROM memory m WHERE {condition.text}", condition.parameters
            ).get
        after, parameters = "", condition.parameters
        if request.after is not None:
            after = f" AND ({order}, m.rid) {'>' if direction == 'asc' else '<'} (?, ?)"
            parameters = (*parameters, *request.after)
        found = connection.execute(
            f"SELECT {order}, m.rid, {_columns(request.with_vectors)} "
            f"WHERE {condition.text}{after} "
            f"ORDER BY {order} {direction}, m.rid {direction} LIMIT ? OFFSET ?",
            (*parameters, request.limit + 1, request.offset),
        ).fetchall()
    more = len(found) > request.limit
    found = found[: request.limit]
    return Page(
        records=[to_record(row[2:]) for row in found],
        total=total,
        next=cast("tuple[int, int]", found[-1][:2]) if more else None,
    )


def lacking_tokens(
    connection: apsw.Connection, model: str, after: tuple[int, int], limit: int
) -> list[tuple[Collection, Record]]:
    """Records that a model of the server's has embedded and that lack their tokens."""
    found = connection.execute(
        "SELECT c.cid, c.tenant, c.name, c.embedder, c.model, c.dimension, c.metric, "
        f"c.created_at, c.default_ttl, {COLUMNS} FROM collection c JOIN memory m USING (cid) "
        "WHERE c.embedder = 'server' AND c.model = ? AND (m.cid, m.rid) > (?, ?) "
        "AND NOT EXISTS (SELECT 1 FROM token t WHERE t.rid = m.rid) "
        "AND EXISTS (SELECT 1 FROM vector v WHERE v.rid = m.rid) "
        "ORDER BY m.cid, m.rid LIMIT ?",
        (model, *after, limit),
    )
    return [
        (
            Collection(cid, tenant, name, Embedding(*embedding), created_at, ttl),
            to_record(row),
        )
        for (cid, tenant, name, *embedding, created_at, ttl), row in (
            (one[:9], one[9:]) for one in found
        )
    ]


def sessions(
    connection: apsw.Connection,
    collection: Collection,
    selection: Selection,
    after: str | None,
    limit: int,
) -> list[Session]:
    """The sessions of the selected records, by their ids; None is before all of them."""
    condition = rows.condition(collection, selection, times.now())
    found = connection.execute(
        "SELECT session_id, count(*), min(created_at), max(created_at) FROM memory m "
        f"WHERE {condition.text} AND session_id IS NOT NULL AND session_id > ? "
        "GROUP BY session_id ORDER BY session_id LIMIT ?",
        (*condition.parameters, after or "", limit),
    ).fetchall()
    return [Session(*row) for row in cast("list[tuple[str, int, int, int]]", found)]


def namespaces(
    connection: apsw.Connection, collection: Collection, request: NamespaceRequest
) -> list[tuple[str, ...]]:
    """The namespaces of living records that fit; each is read once, however many it holds."""
    scope = Scope(request.user_id, namespace=tuple(labels.fixed(request.prefix)) or None)
    condition = rows.condition(collection, Selection(scope), times.now())
    found = connection.execute(
        f"SELECT DISTINCT namespace FROM memory m WHERE {condition.text} AND namespace IS NOT NULL",
        condition.parameters,
    ).fetchall()
    fitting = labels.matching(
        (labels.decode(text) for (text,) in cast("list[tuple[str]]", found)),
        request.prefix,
        request.suffix,
        request.max_depth,
    )
    return fitting[request.offset : request.offset + request.limit]


def search(
    connection: apsw.Connection,
    state: MemoryState,
    collection: Collection,
    index: VectorIndex | None,
    request: SearchRequest,
) -> list[tuple[Record, float]]:
    """The ranked records with their scores, best first.

    ``index`` is needed where the request has a vector. It is as new as the last commit, which may
    be newer than the snapshot; where the two disagree about a record, the search is done again.
    What was read is kept in memory for later searches.
    """
    if request.terms:
        postings.prepare(connection, collection.key)
    for attempt in range(_ATTEMPTS):
        reading = _Reading(connection, state, state.kept.moment)
        with rows.snapshot(connection):
            candidates = _candidates(reading, collection, index, request)
            ids, scores = request.rank(candidates)
            found = fetch(connection, ids.tolist(), with_vectors=request.with_vectors)
        if attempt == _ATTEMPTS - 1:
            break
        # Where records have no vectors, all that is written beside seems to matter: once is enough.
        if len(found) == len(ids) and (attempt or _agree(reading, collection, request.selection)):
            break
        state.kept.wait()
        newest = state.vectors(collection)
        if index is not None and newest is not None:  # another one where the collection was emptied
            index = newest
    if request.render is not None:
        for record in found.values():
            record.rendered = request.render(record)
    state.keep(reading.moment, collection, index, reading.meant, found)
    return [
        (found[rid], score)
        for rid, score in zip(ids.tolist(), scores.tolist(), strict=True)
        if rid in found
    ]


@dataclass
class _Reading:
    """One snapshot of the file, and a moment before it begins.

    ``meant`` is what selections mean, as it was read. ``lacks`` says whether some of the selected
    records may have had no vector in memory: they have none or expired, or memory is of another
    commit than the snapshot.
    """

    connection: apsw.Connection
    state: MemoryState
    moment: int
    meant: dict[Key, Chosen] = field(default_factory=dict)
    lacks: bool = False


def _agree(reading: _Reading, collection: Collection, selection: Selection) -> bool:
    """Whether the snapshot and the vectors in memory say the same of what is selected."""
    if not reading.lacks:
        return True
    key = Selections.key(collection, selection)
    return key is None or reading.state.kept.still_means(key, reading.moment)


def _candidates(
    reading: _Reading,
    collection: Collection,
    index: VectorIndex | None,
    request: SearchRequest,
) -> Candidates:
    now = times.now()
    connection = reading.connection
    if connection.execute("SELECT 1 FROM collection WHERE cid = ?", (collection.key,)).get is None:
        return _nothing(collection)  # deleted since the caller looked it up
    among: Ids | Chosen | None = None
    if request.selection != Selection():
        if index is not None and not request.terms:
            among = _chosen(reading, collection, index, request.selection)
        else:
            among = rows.ids(connection, collection, request.selection, now)
    ids, similarities = NO_IDS, NO_SCORES
    keyword_ids, keyword_scores = NO_IDS, NO_SCORES
    if request.vector is not None and index is not None:
        ids, similarities = index.top(request.vector, request.depth, now, among)
        if among is not None:
            selected = among.ids if isinstance(among, Chosen) else among
            reading.lacks |= len(ids) < min(request.depth, len(selected))
    if request.terms and not isinstance(among, Chosen) and (among is None or len(among)):
        keyword_ids, keyword_scores = keyword_search.match(
            connection,
            collection.key,
            request.terms,
            request.selection,
            request.depth,
            now,
            among,
        )
    only_keyword = np.setdiff1d(keyword_ids, ids) if len(keyword_ids) else NO_IDS
    if request.vector is not None and index is not None and len(only_keyword):
        missing = index.scores(request.vector, only_keyword)
    else:
        missing = np.full(len(only_keyword), np.nan)
    return Candidates(
        ids=np.concatenate([ids, only_keyword]),
        similarities=np.concatenate([similarities, missing]),
        keyword_ids=keyword_ids,
        keyword_scores=keyword_scores,
        vectors=lambda chosen: _vectors(index, chosen, collection.embedding.dimension),
        attributes=lambda chosen: _attributes(connection, chosen),
        turns=lambda chosen, with_tokens: _turns(connection, chosen, now, with_tokens),
    )


def _nothing(collection: Collection) -> Candidates:
    return Candidates(
        NO_IDS,
        NO_SCORES,
        NO_IDS,
        NO_SCORES,
        vectors=lambda chosen: np.zeros((len(chosen), collection.embedding.dimension), np.float32),
        attributes=lambda chosen: Attributes.of(chosen, {}),
        turns=lambda chosen, _: Turns.of(chosen, {}),
    )


def _chosen(
    reading: _Reading, collection: Collection, index: VectorIndex, selection: Selection
) -> Chosen:
    """The vectors of the selected records, of those that have expired too: the index knows which.

    To be asked when the snapshot has begun, as it does with its first read.
    """
    key = Selections.key(collection, selection)
    known = None if key is None else reading.state.kept.selection(key, reading.moment)
    if known is None:
        ids = np.sort(rows.ids(reading.connection, collection, selection, None))
        meant = index.choose(ids)
        reading.lacks = len(meant.ids) < len(ids)
    else:
        meant = index.current(known)
    if key is not None and meant is not known:
        reading.meant[key] = meant
    return meant


def _vectors(
    index: VectorIndex | None, ids: NDArray[np.int64], dimension: int
) -> NDArray[np.float32]:
    if index is None:
        return np.zeros((len(ids), dimension), dtype=np.float32)
    return index.vectors(ids)


def _attributes(connection: apsw.Connection, ids: NDArray[np.int64]) -> Attributes:
    if not len(ids):  # of nothing there is no carray
        return Attributes.of(ids, {})
    found = connection.execute(
        "SELECT rid, event_at, created_at, updated_at, importance FROM memory "
        "WHERE rid IN (SELECT value FROM carray(?))",
        (apsw.carray(np.ascontiguousarray(ids)),),
    )
    return Attributes.of(ids, {rid: values for rid, *values in found})


def _turns(
    connection: apsw.Connection, ids: NDArray[np.int64], now: int, with_tokens: bool
) -> Turns:
    if not len(ids):
        return Turns.of(ids, {})
    found = connection.execute(_TURNS, (with_tokens, now, apsw.carray(np.ascontiguousarray(ids))))
    return Turns.of(
        ids,
        {rid: (opening, tokens, _following(later)) for rid, opening, tokens, later in found},
    )


def _following(rids: str | None) -> list[int]:
    return sorted(map(int, rids.split(","))) if rids else []


def fetch(
    connection: apsw.Connection,
    rids: Sequence[int],
    *,
    with_vectors: bool = False,
    largest: int | None = None,
) -> dict[int, Record]:
    """The records of rows, as far as they are there, and no larger than so many bytes."""
    marks = ", ".join("?" * len(rids))
    small = "" if largest is None else f" AND {_SIZE} <= {largest}"
    found = connection.execute(
        f"SELECT {_columns(with_vectors)} WHERE m.rid IN ({marks}){small}", rids
    ).fetchall()
    records = map(to_record, cast("list[tuple[Any, ...]]", found))
    return {record.seq: record for record in records}


def _columns(with_vectors: bool) -> str:
    if with_vectors:
        return f"{COLUMNS}, v.data FROM memory m LEFT JOIN vector v USING (rid)"
    return f"{COLUMNS} FROM memory m"
