"""mem0: what ``get_all``, ``search`` and the platform's export answer, as JSON.

``memory`` becomes the content and ``run_id`` the session; ``id``, ``user_id``, ``agent_id``,
``created_at``, ``updated_at`` are kept, and a memory expires at the end of its ``expiration_date``.
All else goes into the metadata beside mem0's own (``hash``, ``actor_id``, ``role``, ``categories``,
…), with ``mem0_`` before a name that is taken. Relations of a graph are counted and left out.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from ..entries import Entry, Note, Unreadable
from .documents import Document, items, read_documents
from .memories import Times, derived_id, entries, in_time_order, scope, unclashing

_LISTS = ("results", "memories")
_PREFIX = "mem0_"
_OURS = frozenset(
    {
        *("id", "memory", "user_id", "agent_id", "run_id", "created_at", "updated_at"),
        *("metadata", "expiration_date"),
    }
)
"""What has a field of its own here."""
_RELATIONS = "relations of mem0's graph, which are not imported"


def read_mem0(lines: Iterable[bytes], collection: str) -> Iterator[Entry]:
    """The entries of a file, for one collection; those of each document by their time.

    Raises:
        InvalidRequest: there is nothing in it.
    """
    for document in read_documents(lines):
        if isinstance(document, Unreadable):
            yield document
            continue
        found = [entry for item in items(document, _LISTS) for entry in _memory(item, collection)]
        yield from in_time_order(found)
        relations = document.value.get("relations") if isinstance(document.value, dict) else None
        if isinstance(relations, list) and relations:
            yield Note(_RELATIONS, len(relations))


def _memory(item: Document, collection: str) -> Iterator[Entry]:
    raw = item.value
    if not isinstance(raw, dict) or "memory" not in raw:
        yield Unreadable(item.place, "must be an object with the field memory")
        return
    own = raw.get("metadata")
    if not isinstance(own, dict | None):
        yield Unreadable(item.place, "metadata: must be an object")
        return
    moments = Times()
    try:
        created_at = moments.read("created_at", raw.get("created_at"))
        updated_at = moments.read("updated_at", raw.get("updated_at"))
    except ValueError as error:
        yield Unreadable(item.place, str(error))
        return
    owner = [scope(raw.get(name)) for name in ("user_id", "agent_id", "run_id")]
    expires_at = _expiry(raw.get("expiration_date"))
    left = {name: value for name, value in raw.items() if name not in _OURS}
    if expires_at is None and raw.get("expiration_date") is not None:
        left["expiration_date"] = raw["expiration_date"]  # mem0 keeps what it can't read, too
    fields: dict[str, Any] = {
        "id": raw.get("id") or derived_id("mem0", raw["memory"], *owner),
        "collection": collection,
        "content": raw["memory"],
        "user_id": owner[0],
        "agent_id": owner[1],
        "session_id": owner[2],
        "expires_at": expires_at,
        "metadata": unclashing(own or {}, left, _PREFIX),
    }
    yield from entries(
        item.place, fields, created_at=created_at, updated_at=updated_at, naive=moments.naive
    )


def _expiry(value: object) -> datetime | None:
    """The end of a day such as ``2026-01-31``, in UTC: that day counts, as it does in mem0."""
    if not isinstance(value, str):
        return None
    try:
        return datetime.strptime(value, "%Y-%m-%d").replace(tzinfo=UTC) + timedelta(days=1)
    except (ValueError, OverflowError):
        return None
