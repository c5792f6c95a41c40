"""Redis agent-memory-server: long-term memories and working memories, as its API answers them.

Of a long-term memory ``text`` becomes the content, ``memory_type`` the type, ``event_date``
``event_at`` and ``namespace`` a namespace of one label; ``id``, ``user_id``, ``session_id``,
``created_at``, ``updated_at`` are kept, and all else goes into the metadata (``topics``,
``entities``, ``memory_hash``, …).

Of a working memory each message becomes a memory of the type ``message``: its content reads
``role: content``, as in that server's long-term memories, the message as it was is the payload, and
its other fields are metadata. Its ``memories`` are as above. A ``context`` or ``data`` becomes a
memory of the type ``working_memory``, with ``data`` as its payload.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from ..entries import Entry, Unreadable
from .documents import Document, items, read_documents
from .memories import Times, derived_id, entries, in_time_order, scope

_SCOPE = ("user_id", "session_id", "namespace")
_OURS = frozenset({"id", "text", "memory_type", "event_date", "created_at", "updated_at", *_SCOPE})
_PARTS = frozenset({"messages", "memories", "context", "data", "created_at", "updated_at", *_SCOPE})


def read_redis(lines: Iterable[bytes], collection: str) -> Iterator[Entry]:
    """The entries of a file, for one collection; long-term memories of a document by their time.

    Raises:
        InvalidRequest: there is nothing in it.
    """
    for document in read_documents(lines):
        if isinstance(document, Unreadable):
            yield document
        elif _is_working_memory(document.value):
            yield from _working_memory(document, collection)
        else:
            yield from _list(document, collection)


def _is_working_memory(value: object) -> bool:
    return isinstance(value, dict) and "messages" in value


def _list(document: Document, collection: str) -> Iterator[Entry]:
    records: list[Document] = []
    for item in items(document, ("memories",)):
        if _is_working_memory(item.value):
            yield from _working_memory(item, collection)
        else:
            records.append(item)
    yield from in_time_order(entry for item in records for entry in _record(item, collection, {}))


def _record(item: Document, collection: str, around: dict[str, Any]) -> Iterator[Entry]:
    raw = item.value
    if not isinstance(raw, dict) or "text" not in raw:
        yield Unreadable(item.place, "must be an object with the field text")
        return
    where = {name: scope(raw.get(name)) or around.get(name) for name in _SCOPE}
    fields = {
        "id": raw.get("id") or derived_id("redis", raw["text"], *where.values()),
        "content": raw["text"],
        "type": raw.get("memory_type"),
        "metadata": {name: value for name, value in raw.items() if name not in _OURS},
    }
    yield from _memory(item, collection, where, fields)


def _working_memory(item: Document, collection: str) -> Iterator[Entry]:
    raw = item.value
    where = {name: scope(raw.get(name)) for name in _SCOPE}
    for key in ("messages", "memories"):
        if not isinstance(raw.get(key), list | None):
            yield Unreadable(item.place, f"{key}: must be a list")
            return
    seen: Counter[str] = Counter()
    for position, message in enumerate(raw["messages"] or []):
        place = f"{item.place}, messages[{position}]"
        yield from _message(Document(place, message), collection, where, seen)
    for position, record in enumerate(raw.get("memories") or []):
        place = f"{item.place}, memories[{position}]"
        yield from _record(Document(place, record), collection, where)
    if raw.get("context") or raw.get("data"):
        context = raw.get("context")
        fields = {
            "id": derived_id("redis working memory", *where.values()),
            "content": "" if context is None else context,
            "type": "working_memory",
            "payload": raw.get("data"),
            "index_texts": None if context else [],
            "metadata": {name: value for name, value in raw.items() if name not in _PARTS},
        }
        yield from _memory(item, collection, where, fields)


def _message(
    item: Document, collection: str, where: dict[str, Any], seen: Counter[str]
) -> Iterator[Entry]:
    raw = item.value
    if not (
        isinstance(raw, dict)
        and isinstance(raw.get("role"), str)
        and isinstance(raw.get("content"), str)
    ):
        yield Unreadable(item.place, "must be an object with the texts role and content")
        return
    identity = raw.get("id")
    if not identity:  # the same may be said again: it is told apart by how often it was
        derived = derived_id(
            "redis message", raw["role"], raw["content"], raw.get("created_at"), *where.values()
        )
        identity = derived if not seen[derived] else derived_id(derived, seen[derived])
        seen[derived] += 1
    left = {k: v for k, v in raw.items() if k not in {"id", "content", "created_at"}}
    fields = {
        "id": identity,
        "content": f"{raw['role']}: {raw['content']}",
        "type": "message",
        "payload": raw,
        "metadata": left,
    }
    yield from _memory(item, collection, where, fields)


def _memory(
    item: Document, collection: str, where: dict[str, Any], fields: dict[str, Any]
) -> Iterator[Entry]:
    raw = item.value
    moments = Times()
    try:
        created_at = moments.read("created_at", raw.get("created_at"))
        updated_at = moments.read("updated_at", raw.get("updated_at"))
        event_at = moments.read("event_date", raw.get("event_date"))
    except ValueError as error:
        yield Unreadable(item.place, str(error))
        return
    namespace = where["namespace"]
    fields |= {
        "collection": collection,
        "user_id": where["user_id"],
        "session_id": where["session_id"],
        "namespace": None if namespace is None else [namespace],
        "event_at": event_at,
    }
    yield from entries(
        item.place, fields, created_at=created_at, updated_at=updated_at, naive=moments.naive
    )
