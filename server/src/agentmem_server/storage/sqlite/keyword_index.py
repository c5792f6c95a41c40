"""The full-text index: one FTS5 table a collection, so that no collection weighs another's words.

The tables hold no text of their own (``content=''``). What stands in them for a memory is its
keyword text (`keywords.keyword_text`) and one token for each scope that it belongs to, which
narrows a search inside the index; a look-up of row ids beside it would be far slower.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import cast

import apsw
from pydantic_core import from_json, to_json

from ... import times
from ...keywords import MAX_PREVIOUS, keyword_text
from .. import Record, Scope, labels

_SCOPES = tuple("uasn")
"""What the tokens of scopes begin with: the first letters of their names."""

_IS_TURN = "(expires_at IS NULL OR expires_at > ?) AND index_texts IS NOT '[]'"
"""What no search finds is no turn: a transcript that is kept beside memories would give its last
message to each of them as what they answer."""


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


def put(connection: apsw.Connection, cid: int, record: Record) -> None:
    """Index a memory as it is stored now, with the turn before it as context."""
    if not record.texts:
        remove(connection, cid, record.seq)
        return
    connection.execute(
        f"INSERT OR REPLACE INTO keyword_{cid:d} (rowid, scope, text) VALUES (?, ?, ?)",
        _row(record, _previous(connection, cid, record)),
    )


def add(connection: apsw.Connection, cid: int, records: Iterable[Record]) -> None:
    """Index memories that are newer than all in the index, by seq, none between them left out."""
    found = [record for record in records if record.texts]
    now = times.now()
    last = _last_turns(connection, cid, found, now)
    rows = []
    for record in found:
        previous = None
        if record.session_id is not None:
            session = (record.session_id, record.user_id)
            previous = last[session]
            if not record.is_expired(now):
                last[session] = record.content
        rows.append(_row(record, previous))
    connection.executemany(
        f"INSERT INTO keyword_{cid:d} (rowid, scope, text) VALUES (?, ?, ?)", rows
    )


def forget_tokens() -> None:
    """Keep no tokens of scopes, nor whose they are."""
    _own_tokens.cache_clear()


def _row(record: Record, previous: str | None) -> tuple[int, str, str]:
    return (
        record.seq,
        _own_tokens(record.user_id, record.agent_id, record.session_id, record.namespace),
        keyword_text(record.context_date, previous, "\n".join(record.texts)),
    )


def _last_turns(
    connection: apsw.Connection, cid: int, records: Sequence[Record], now: int
) -> dict[tuple[str, str | None], str | None]:
    """What is said last before some records, in each session of a user that one of them is in.

    Of all sessions by one statement, which answers one text: each gives up the interpreter, and
    gets it back when the event loop has no use for it.
    """
    sessions = {
        (record.session_id, record.user_id): None
        for record in records
        if record.session_id is not None
    }
    if not sessions:
        return {}
    ends = connection.execute(
        f"SELECT json_group_array((SELECT substr(content, -{MAX_PREVIOUS}) FROM memory "
        "WHERE cid = ? AND session_id = value ->> 0 AND user_id IS value ->> 1 AND rid < ? "
        f"AND {_IS_TURN} ORDER BY rid DESC LIMIT 1)) FROM json_each(?)",
        (cid, records[0].seq, now, to_json(list(sessions)).decode()),
    ).get
    return dict(zip(sessions, from_json(cast("str", ends)), strict=True))


def _previous(connection: apsw.Connection, cid: int, record: Record) -> str | None:
    """What is said in the turn before one."""
    found = _beside(connection, cid, record, "content", "<", "DESC")
    return cast("str | None", found)


def following(connection: apsw.Connection, cid: int, record: Record) -> int | None:
    """The row id of the turn after one."""
    return cast("int | None", _beside(connection, cid, record, "rid", ">", "ASC"))


def _beside(
    connection: apsw.Connection, cid: int, record: Record, column: str, sign: str, order: str
) -> object:
    """A column of the living turn before or after one in the same session of the user."""
    if record.session_id is None:
        return None
    return connection.execute(
        f"SELECT {column} FROM memory WHERE cid = ? AND session_id = ? AND user_id IS ? "
        f"AND rid {sign} ? AND {_IS_TURN} ORDER BY rid {order} LIMIT 1",
        (cid, record.session_id, record.user_id, record.seq, times.now()),
    ).get


@lru_cache(maxsize=4_096)
def _own_tokens(
    user_id: str | None,
    agent_id: str | None,
    session_id: str | None,
    namespace: tuple[str, ...] | None,
) -> str:
    """The tokens of every scope that a memory is in: its own namespace, and those around it."""
    path = namespace or ()
    around = [path[: depth + 1] for depth in range(len(path))]
    own = scope_tokens(Scope(user_id, agent_id, session_id))
    return " ".join([*own, *(_token("namespace", labels.encode(one)) for one in around)])


def scope_tokens(scope: Scope) -> list[str]:
    """What a memory's tokens must all have for it to be in a scope."""
    tokens = [_token(name, value) for name, value in scope.items()]
    if scope.namespace is not None:
        tokens.append(_token("namespace", labels.encode(scope.namespace)))
    return tokens


def is_like_scope(term: str) -> bool:
    """Whether a term looks as the token of a scope does."""
    return term[:1] in _SCOPES and term[1:].isdecimal()


def _token(name: str, value: str) -> str:
    """One token a scope: a letter and a 128-bit digest in digits, which no stemmer touches."""
    digest = blake2b(f"{name}:{value}".encode(), digest_size=16).digest()
    return name[0] + str(int.from_bytes(digest))
