"""Rows of the table ``event`` that are meant; alike in every database."""

from . import labels
from .reads import EventsRequest
from .records import Collection, Scope
from .sql import Dialect, Sql, all_of


def of_memory(collection: Collection, id: str, user_id: str | None, after: int) -> Sql:
    """The events ``e`` of one memory, and where a user is given of that one's, after one."""
    parts = [Sql("e.cid = ? AND e.id = ? AND e.eid > ?", (collection.key, id, after))]
    if user_id is not None:
        parts.append(Sql("e.user_id = ?", (user_id,)))
    return all_of(parts)


def of_scope(collection: Collection, scope: Scope, after: int, until: int) -> Sql:
    """The events ``e`` of a very scope, after one event and up to another one.

    These are few, and found by their ids: the plus keeps each database from other indexes.
    """
    namespace = None if scope.namespace is None else labels.encode(scope.namespace)
    return Sql(
        "e.eid > ? AND e.eid <= ? AND +e.cid = ? AND e.user_id IS NOT DISTINCT FROM ? "
        "AND e.agent_id IS NOT DISTINCT FROM ? AND e.session_id IS NOT DISTINCT FROM ? "
        "AND e.namespace IS NOT DISTINCT FROM ?",
        (after, until, collection.key, scope.user_id, scope.agent_id, scope.session_id, namespace),
    )


def of_tenant(tenant: str, request: EventsRequest, dialect: Dialect) -> Sql:
    """The events ``e`` of a tenant that a request admits.

    An erasure is told to all who follow anything of the user's, whatever part of it.
    """
    scope = request.scope
    parts = [Sql("e.tenant = ? AND e.eid > ?", (tenant, request.after))]
    if scope.user_id is not None:
        parts.append(Sql("e.user_id = ?", (scope.user_id,)))
    narrower = [
        Sql(f"e.{name} = ?", (value,)) for name, value in scope.items() if name != "user_id"
    ]
    if scope.namespace is not None:
        narrower.append(labels.within("e.namespace", scope.namespace, dialect))
    if request.collection is not None:
        narrower.append(Sql("e.collection = ?", (request.collection,)))
    if narrower:
        both = all_of(narrower)
        parts.append(Sql(f"(e.action = 'erased' OR {both.text})", both.parameters))
    return all_of(parts)
