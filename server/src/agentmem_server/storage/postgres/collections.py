"""Collections: every call reads them from their table, for any server may change them."""

from collections.abc import Iterable, Sequence

from .. import Collection, Embedding
from .connections import Connection
from .rows import Row

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
