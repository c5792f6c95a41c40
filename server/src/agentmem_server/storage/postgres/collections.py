"""Collections: every call reads them from their table, for any server may change them."""

from collections.abc import Iterable

from .. import Collection, Embedding
from .connections import Connection
from .rows import Row

COLUMNS = "cid, tenant, name, embedder, model, dimension, metric, created_at, default_ttl"
"""What `to_collection` reads, in its order."""

# Without a collection there are no results; but it may come and go again between two looks. So that
# what was found meanwhile is under no number that comes again, there is a new one with each commit.
_VERSION = """
SELECT coalesce(
    (SELECT version FROM collection WHERE tenant = $1 AND name = $2),
    -(SELECT commits FROM clock)
)
"""


def to_collection(row: Row) -> Collection:
    """The collection of a row of `COLUMNS`."""
    cid, tenant, name, *embedding, created_at, default_ttl = row
    return Collection(cid, tenant, name, Embedding(*embedding), created_at, default_ttl)


async def find(connection: Connection, tenant: str, name: str) -> Collection | None:
    """One collection, if it is there."""
    row = await connection.fetchrow(
        f"SELECT {COLUMNS} FROM collection WHERE tenant = $1 AND name = $2", tenant, name
    )
    return None if row is None else to_collection(row)


async def found(connection: Connection, names: Iterable[tuple[str, str]]) -> list[Collection]:
    """Those that are there of collections with these tenants and names."""
    wanted = list(names)
    rows = await connection.fetch(
        f"SELECT {COLUMNS} FROM unnest($1::text[], $2::text[]) AS n(tenant, name) "
        "JOIN collection USING (tenant, name)",
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


async def version(connection: Connection, tenant: str, name: str) -> int:
    """The number of the last commit that wrote to a collection; below 1 where there is none."""
    found: int = await connection.fetchval(_VERSION, tenant, name)
    return found
