"""Collections: every call reads them from their table, for any server may change them."""

from collections.abc import Iterable, Sequence

from .. import Collection, Embedding
from .clock import Clock
from .connections import Connection
from .rows import Row
from .vectors import check_dimension

Name = tuple[str, str]
"""A tenant and the name of a collection of it."""

COLUMNS = "cid, tenant, name, embedder, model, dimension, metric, created_at, default_ttl"
"""What `to_collection` reads, in its order."""

_THEIRS = "c." + COLUMNS.replace(", ", ", c.")
_IS_NAMED = "ARRAY[c.tenant, c.name] = ARRAY[n.tenant, n.name]"  # as the index has both
# Without a collection there are no results; but it may come and go again between two looks. So that
# what was found meanwhile is under no number that comes again, there is a new one with each commit.
_LOOK = f"""
SELECT coalesce(c.version, -k.commits), {_THEIRS}
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS n(tenant, name, place)
CROSS JOIN clock k
LEFT JOIN collection c ON {_IS_NAMED}
ORDER BY n.place
"""

Look = tuple[Collection | None, int]
"""A collection, if it is there, and the number of the last commit that wrote to it; below 1 where
there is none."""


def to_collection(row: Row) -> Collection:
    """The collection of a row of `COLUMNS`."""
    cid, tenant, name, *embedding, created_at, default_ttl = row
    return Collection(cid, tenant, name, Embedding(*embedding), created_at, default_ttl)


async def look(connection: Connection, names: Sequence[tuple[str, str]]) -> list[Look]:
    """What there is of each of these tenants and names."""
    tenants, wanted = [tenant for tenant, _ in names], [name for _, name in names]
    rows = await connection.fetch(_LOOK, tenants, wanted)
    return [
        (None if found[0] is None else to_collection(found), version) for version, *found in rows
    ]


async def found(connection: Connection, names: Iterable[tuple[str, str]]) -> list[Collection]:
    """Those that are there of collections with these tenants and names."""
    wanted = list(names)
    rows = await connection.fetch(
        f"SELECT {_THEIRS} FROM unnest($1::text[], $2::text[]) AS n(tenant, name) "
        f"JOIN collection c ON {_IS_NAMED}",
        [tenant for tenant, _ in wanted],
        [name for _, name in wanted],
    )
    return [to_collection(row) for row in rows]


async def listed(connection: Connection, tenant: str) -> list[Collection]:
    """All collections of a tenant, by name."""
    rows = await connection.fetch(
        f"SELECT {COLUMNS} FROM collection WHERE tenant = $1 ORDER BY name", tenant
    )
    return [to_collection(row) for row in rows]


class Collections:
    """Collections, as the transaction under way has them.

    Attributes:
        touched: the keys of those that it wrote to.
    """

    def __init__(self, connection: Connection, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock
        self._known: dict[Name, Collection | None] = {}
        self.touched: set[int] = set()

    async def load(self, names: set[Name]) -> dict[Name, Collection]:
        """Read together those that writes will ask for; the ones that are there."""
        loaded = {(one.tenant, one.name): one for one in await found(self._connection, names)}
        self._known.update(dict.fromkeys(names))
        self._known.update(loaded)
        return loaded

    async def find(self, tenant: str, name: str) -> Collection | None:
        """One, to write to it."""
        if (tenant, name) not in self._known:
            await self.load({(tenant, name)})
        known = self._known[tenant, name]
        if known is not None:
            self.touched.add(known.key)
        return known

    async def listed(self, tenant: str) -> list[Collection]:
        """All of a tenant, by name."""
        return await listed(self._connection, tenant)

    async def make(self, tenant: str, name: str, embedding: Embedding, now: int) -> Collection:
        """Make one that isn't there."""
        check_dimension(embedding.dimension)
        collection = Collection(self._clock.next_cid(), tenant, name, embedding, now)
        await self._connection.execute(
            "INSERT INTO collection (cid, tenant, name, embedder, model, dimension, metric, "
            "created_at, version) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            collection.key,
            tenant,
            name,
            embedding.embedder,
            embedding.model,
            embedding.dimension,
            embedding.metric,
            now,
            self._clock.commits,
        )
        self._known[tenant, name] = collection
        return collection

    async def change(self, after: Collection) -> None:
        """Change what may change of one."""
        await self._connection.execute(
            "UPDATE collection SET default_ttl = $1 WHERE cid = $2", after.default_ttl, after.key
        )
        self._known[after.tenant, after.name] = after

    async def drop(self, collection: Collection) -> None:
        """Delete one that holds nothing any more."""
        await self._connection.execute("DELETE FROM collection WHERE cid = $1", collection.key)
        self._known[collection.tenant, collection.name] = None
