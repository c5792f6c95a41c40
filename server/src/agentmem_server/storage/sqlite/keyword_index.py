"""The full-text index: one FTS5 table a collection, so that no collection weighs another's words.

The tables hold no text of their own (``content=''``). What stands in them for a memory is its
keyword text (`keywords.keyword_text`) and one token for each scope that it belongs to, which
narrows a search inside the index; a look-up of row ids beside it would be far slower.
"""

from collections.abc import Sequence
from hashlib import blake2b

import apsw
import numpy as np
from numpy.typing import NDArray

from ... import times
from ...keywords import keyword_text
from .. import Record, Scope, labels
from . import rows


def create(connection: apsw.Connection, cid: int) -> None:
    """Make the index of a new collection."""
    connection.execute(
        f"CREATE VIRTUAL TABLE keyword_{cid:d} USING fts5(scope, text, content='', "
        "contentless_delete=1, tokenize='porter unicode61')"
    )


def drop(connection: apsw.Connection, cid: int) -> None:
    """Remove the index of a collection."""
    connection.execute(f"DROP TABLE keyword_{cid:d}")


def remove(connection: apsw.Connection, cid: int, rid: int) -> None:
    """Remove a memory from the index."""
    connection.execute(f"DELETE FROM keyword_{cid:d} WHERE rowid = ?", (rid,))


def purge(connection: apsw.Connection, cid: int) -> None:
    """Write the index anew without the words that only removed memories had.

    Some 50 ms for 20,000 memories; nothing where none was removed since the last time.
    """
    connection.execute(f"INSERT INTO keyword_{cid:d} (keyword_{cid:d}) VALUES ('optimize')")


def put(connection: apsw.Connection, cid: int, rid: int, record: Record) -> None:
    """Index a memory as it is stored now, with the turn before it as context."""
    if not record.texts:
        remove(connection, cid, rid)
        return
    before = None
    if record.session_id is not None:
        before = neighbour(connection, cid, rid, record.user_id, record.session_id, before=True)
    previous = None if before is None else rows.read(connection, before).content
    connection.execute(
        f"INSERT OR REPLACE INTO keyword_{cid:d} (rowid, scope, text) VALUES (?, ?, ?)",
        (
            rid,
            " ".join(_own_tokens(record)),
            keyword_text(record.context_date, previous, "\n".join(record.texts)),
        ),
    )


def neighbour(
    connection: apsw.Connection,
    cid: int,
    rid: int,
    user_id: str | None,
    session_id: str,
    *,
    before: bool,
) -> int | None:
    """The record id of the living turn before or after one in the same session of the user.

    What no search finds is no turn: a transcript that is kept beside memories would give its last
    message to each of them as what they answer.
    """
    sign, order = ("<", "DESC") if before else (">", "ASC")
    found = connection.execute(
        "SELECT rid FROM memory WHERE cid = ? AND session_id = ? AND user_id IS ? "
        f"AND rid {sign} ? AND (expires_at IS NULL OR expires_at > ?) AND index_texts IS NOT '[]' "
        f"ORDER BY rid {order} LIMIT 1",
        (cid, session_id, user_id, rid, times.now()),
    ).fetchone()
    return None if found is None else found[0]


def match(
    connection: apsw.Connection,
    cid: int,
    terms: Sequence[str],
    scope: Scope,
    depth: int,
    now: int,
    among: NDArray[np.int64] | None,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The memories that match best, as ids and BM25 scores (larger is better), best first.

    Args:
        connection: to read from.
        cid: the collection.
        terms: words, any of which may match.
        scope: narrows inside the index.
        depth: how many at most.
        now: microseconds; what expired by then is left out.
        among: only these record ids; None for all.
    """
    words = " OR ".join(f'"{term}"' for term in terms)
    query = " AND ".join([*(f"scope : {token}" for token in _tokens(scope)), f"text : ({words})"])
    # The unary plus keeps SQLite from driving the search by row ids, which FTS5 is slow at.
    if among is None:
        condition = (
            "+rowid NOT IN (SELECT rid FROM memory WHERE cid = ? AND expires_at IS NOT NULL "
            "AND expires_at <= ?)"
        )
        parameters: tuple[object, ...] = (cid, now)
    else:
        condition, parameters = "+rowid IN (SELECT value FROM carray(?))", (apsw.carray(among),)
    rows = connection.execute(
        f"SELECT rowid, -bm25(keyword_{cid:d}, 0, 1) AS score FROM keyword_{cid:d} "
        f"WHERE keyword_{cid:d} MATCH ? AND {condition} ORDER BY score DESC, rowid DESC LIMIT ?",
        (query, *parameters, depth),
    ).fetchall()
    ids = np.array([row[0] for row in rows], dtype=np.int64)
    return ids, np.array([row[1] for row in rows], dtype=np.float64)


def _own_tokens(record: Record) -> list[str]:
    """The tokens of every scope that a memory is in: its own namespace, and those around it."""
    path = record.namespace or ()
    around = [path[: depth + 1] for depth in range(len(path))]
    own = Scope(record.user_id, record.agent_id, record.session_id)
    return _tokens(own) + [_token("namespace", labels.encode(one)) for one in around]


def _tokens(scope: Scope) -> list[str]:
    tokens = [_token(name, value) for name, value in scope.items()]
    if scope.namespace is not None:
        tokens.append(_token("namespace", labels.encode(scope.namespace)))
    return tokens


def _token(name: str, value: str) -> str:
    """One token a scope: a letter and a 128-bit digest in digits, which no stemmer touches."""
    digest = blake2b(f"{name}:{value}".encode(), digest_size=16).digest()
    return name[0] + str(int.from_bytes(digest))
