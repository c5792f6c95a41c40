"""The SQLite file that is moved: one state of it, which no server has open and nothing changes."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

import apsw
from agentmem_client.errors import NotFound, Unavailable
from filelock import Timeout

from ...storage import job_rows
from ...storage.postgres.inserts import EVENT, IMAGE, MEMORY
from ...storage.sqlite import schema
from ...storage.sqlite.snapshot import one_state

Row: TypeAlias = tuple[Any, ...]

COLLECTION: Final = (
    *("cid", "tenant", "name", "embedder", "model", "dimension", "metric", "created_at"),
    "default_ttl",
)
API_KEY: Final = (
    *("id", "digest", "tenant", "name", "scopes", "user_id", "rate_limit", "created_at"),
    *("expires_at", "revoked_at"),
)
"""The columns of the smaller tables, here and there; for the others see `inserts`."""

JOB: Final = (*job_rows.COLUMNS.split(", "), "request")
"""Those of a job, likewise; its request stands apart here."""

_MEMORY = ", ".join(f"m.{name}" for name in MEMORY)
_EVENT = ", ".join(f"e.{name}" for name in EVENT)
_IMAGE = ", ".join("e.cid" if name == "cid" else f"i.{name}" for name in IMAGE)

# Those of deleted memories are there for their images, and are found by these.
_LEFT_VECTORS = """
FROM image i JOIN vector v USING (rid) JOIN event e USING (eid) JOIN collection c USING (cid)
WHERE i.rid > ? AND NOT EXISTS (SELECT 1 FROM memory m WHERE m.rid = i.rid)
"""


@dataclass(frozen=True)
class Numbers:
    """The last number of each kind that was given away, and the last event that is not kept."""

    cid: int
    rid: int
    eid: int
    forgotten: int
    job: int


class Source:
    """What the file holds, as rows of its tables.

    Attributes:
        identity: a digest that is the same for the same content, and another after any change that
            a server makes.
        numbers: what counters go on after.
        collections: all of them, as rows of `COLLECTION`, by their keys.
        keys: all API keys, as rows of `API_KEY`, by their ids.
    """

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        sequences = cast(
            "list[tuple[str, int]]",
            self._rows("SELECT name, seq FROM sqlite_sequence ORDER BY name").fetchall(),
        )
        last = dict(sequences)
        self.numbers = Numbers(
            last.get("collection", 0),
            last.get("memory", 0),
            last.get("event", 0),
            self._number("SELECT eid FROM forgotten"),
            last.get("job", 0),
        )
        self.collections: Mapping[int, Row] = {
            row[0]: row
            for row in self._rows(f"SELECT {', '.join(COLLECTION)} FROM collection ORDER BY cid")
        }
        self.keys: list[Row] = self._rows(
            f"SELECT {', '.join(API_KEY)} FROM api_key ORDER BY id"
        ).fetchall()
        self.identity = self._identity()

    def _identity(self) -> str:
        """Every write makes an event, changes a small table or a job, or renews an expiry."""
        digest = blake2b(digest_size=16)
        expiries = self._rows(
            "SELECT count(*), sum(expires_at % 1000000007) FROM memory WHERE expires_at IS NOT NULL"
        )
        counts = self._rows("SELECT (SELECT count(*) FROM memory), (SELECT count(*) FROM event)")
        jobs = self._rows("SELECT seq, status, attempts, updated_at, due_at FROM job ORDER BY seq")
        small = chain(self.collections.values(), self.keys, jobs)
        for row in chain([self.numbers], small, expiries, counts):
            digest.update(repr(row).encode())
        return digest.hexdigest()

    def jobs(self) -> Iterator[Row]:
        """All jobs, as rows of `JOB`, in their order."""
        yield from self._rows(
            f"SELECT {', '.join(JOB)} FROM job LEFT JOIN job_request USING (seq) ORDER BY seq"
        )

    def count_memories(self, after: int = 0) -> int:
        """How many memories there are, expired or not, after a row id."""
        return self._number("SELECT count(*) FROM memory WHERE rid > ?", after)

    def memories(self, after: int = 0) -> Iterator[tuple[Row, bytes | None, bytes | None]]:
        """The memories after a row id, as rows of `MEMORY`, each with its vectors and tokens."""
        for *row, vectors, tokens in self._rows(
            f"SELECT {_MEMORY}, v.data, t.data FROM memory m LEFT JOIN vector v USING (rid) "
            "LEFT JOIN token t USING (rid) WHERE m.rid > ? ORDER BY m.rid",
            after,
        ):
            yield tuple(row), vectors, tokens

    def count_left_vectors(self, after: int = 0) -> int:
        """How many deleted memories have vectors still, after a row id."""
        return self._number(f"SELECT count(DISTINCT i.rid) {_LEFT_VECTORS}", after)

    def left_vectors(self, after: int = 0) -> Iterator[tuple[int, int, bytes]]:
        """What deleted memories after a row id have: collection, row id and vectors."""
        found = self._rows(
            f"SELECT e.cid, i.rid, v.data {_LEFT_VECTORS} GROUP BY i.rid ORDER BY i.rid", after
        )
        return cast("Iterator[tuple[int, int, bytes]]", found)

    def count_events(self, after: int = 0) -> int:
        """How many events there are after an id."""
        return self._number("SELECT count(*) FROM event WHERE eid > ?", after)

    def events(self, after: int = 0) -> Iterator[tuple[Row, Row | None]]:
        """The events after an id, as rows of `EVENT`, each with the row of `IMAGE` it may have."""
        width = len(EVENT)
        for row in self._rows(
            f"SELECT {_EVENT}, {_IMAGE} FROM event e LEFT JOIN image i USING (eid) "
            "WHERE e.eid > ? ORDER BY e.eid",
            after,
        ):
            event, image = row[:width], row[width:]
            yield event, None if image[0] is None else image

    def count_tags(self) -> Iterator[tuple[int, int]]:
        """How many rows of metadata each collection has."""
        found = self._rows("SELECT cid, count(*) FROM tag GROUP BY cid")
        return cast("Iterator[tuple[int, int]]", found)

    def _rows(self, sql: str, *parameters: int) -> apsw.Cursor:
        return self._connection.execute(sql, parameters)

    def _number(self, sql: str, *parameters: int) -> int:
        return cast("int", self._rows(sql, *parameters).get)


@contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """Read one state of a file, and keep servers from opening it meanwhile.

    Raises:
        NotFound: there is no such file.
        Unavailable: a server has it, or it can't be read, is not ours or of another version; here
            or later.
    """
    path = path.resolve()
    if not path.exists():
        raise NotFound(f"there is no database {path}: name another file")
    lock = schema.server_lock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise Unavailable(f"an AgentMem server has {path} open: stop it first") from None
    except OSError as error:
        raise Unavailable(f"the database {path} can't be locked: {error}") from error
    try:
        with one_state(path) as connection:
            yield Source(connection)
    finally:
        lock.release()
