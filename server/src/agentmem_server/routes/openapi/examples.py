"""The examples of the OpenAPI document; tests hold them to the schemas, and send the requests."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

from agentmem_client import models as m

from .learning_examples import LEARNING_ANSWERS, LEARNING_BODIES

_ID = "0199b3c1-7a52-7d14-9a43-6f1f6a4b2c10"
REQUEST_ID = "0199b3c1-8c01-7be2-b7a1-2f0c55e0d9aa"
_KEY_ID = "5f0c2e7d9a41b836"
_THEN = datetime(2026, 3, 14, 9, 26, 53, 589_000, tzinfo=UTC)
_LATER = _THEN + timedelta(hours=2)

BODIES: Mapping[str, Any] = {
    "add_memory": {
        "id": _ID,
        "content": "Mia the cat is allergic to chicken.",
        "user_id": "ann",
        "agent_id": "vet-assistant",
        "metadata": {"topic": "pets", "age": 3},
        "importance": 0.8,
        "event_at": "2026-03-14T09:00:00+01:00",
    },
    "add_memories": {
        "memories": [
            {"content": "Ann: Where did I leave the keys?", "session_id": "s1", "user_id": "ann"},
            {"content": "Agent: On the piano.", "session_id": "s1", "user_id": "ann"},
        ],
        "atomic": True,
    },
    "search_memories": {
        "query": "What can't the cat eat?",
        "user_id": "ann",
        "filters": {"topic": "pets", "age": {"$gte": 2}},
        "limit": 5,
        "importance": {"weight": 0.2},
        "explain": True,
    },
    "get_memories": {"ids": [_ID, "not-there"]},
    "delete_memories": {"user_id": "ann", "filters": {"topic": "pets"}, "include_memories": True},
    "archive_memories": {"session_id": "s1", "archived": True},
    "update_memory": {"content": "Mia the cat may eat chicken again.", "importance": 0.5},
    "restore_memory": {"version": 1},
    "put_collection": {"embedder": "client", "dimension": 384, "metric": "cosine"},
    "create_key": {"name": "vet-assistant", "scopes": ["read", "write"], "rate_limit": 50},
    **LEARNING_BODIES,
}
"""A body for each operation that takes one."""

_memory = m.Memory(
    id=_ID,
    seq=17,
    version=1,
    collection="default",
    content="Mia the cat is allergic to chicken.",
    metadata={"topic": "pets", "age": 3},
    user_id="ann",
    agent_id="vet-assistant",
    importance=0.8,
    event_at=datetime(2026, 3, 14, 8, tzinfo=UTC),
    created_at=_THEN,
    updated_at=_THEN,
)
_changed = _memory.model_copy(
    update={
        "version": 2,
        "content": "Mia the cat may eat chicken again.",
        "importance": 0.5,
        "updated_at": _LATER,
    }
)
_explanation = m.Explanation(
    parts={"similarity": 0.4, "keyword": 0.37, "importance": 0.16},
    relevance=0.9625,
    similarity=0.71,
    keyword=5.26,
    importance=0.8,
    rank=1,
    similarity_rank=1,
    keyword_rank=2,
)
_scope: dict[str, Any] = {"collection": "default", "user_id": "ann", "agent_id": "vet-assistant"}
_added = m.Event(
    id=1041, action="added", at=_THEN, memory_id=_ID, version=1, after=_memory, **_scope
)
_updated = m.Event(
    id=1042,
    action="updated",
    at=_LATER,
    memory_id=_ID,
    version=2,
    before=_memory,
    after=_changed,
    **_scope,
)
_collection = m.Collection(
    name="default",
    embedder="server",
    model="all-MiniLM-L6-v2-int8",
    dimension=384,
    metric="cosine",
    memories=17,
    created_at=_THEN,
)
_key: dict[str, Any] = {
    "id": _KEY_ID,
    "name": "vet-assistant",
    "tenant": "clinic",
    "scopes": ["read", "write"],
    "rate_limit": 50.0,
    "created_at": _THEN,
}
_check = m.Check(status="ok", latency_ms=0.4)
_failed = m.Check(status="failed", latency_ms=2000.9, error="no answer within 2 s")
_well = {"database": _check, "vector_store": _check}

_ANSWERS: Mapping[tuple[str, int], m.Answer] = {
    ("add_memory", 201): _memory,
    ("add_memories", 200): m.BatchAnswer(
        results=[
            m.AddResult(id=_ID, status="stored"),
            m.AddResult(
                id="x",
                status="failed",
                error=m.ErrorBody(
                    code="invalid_request", message="content: Field required", details={}
                ),
            ),
        ]
    ),
    ("list_memories", 200): m.PageAnswer(
        memories=[_memory], total=17, next_cursor="WyIxZjQ0IiwxNywxN10="
    ),
    ("search_memories", 200): m.SearchAnswer(
        hits=[m.Hit(**_memory.model_dump(), score=0.93, explanation=_explanation)]
    ),
    ("get_memories", 200): m.MemoriesAnswer(memories=[_memory]),
    ("delete_memories", 200): m.DeletedMemories(deleted=1, memories=[_memory]),
    ("archive_memories", 200): m.ArchivedAnswer(
        memories=[_memory.model_copy(update={"archived": True, "version": 2})]
    ),
    ("get_memory", 200): _memory,
    ("update_memory", 200): _changed,
    ("delete_memory", 200): m.DeletedAnswer(deleted=1),
    ("memory_history", 200): m.HistoryAnswer(events=[_added, _updated]),
    ("restore_memory", 200): _memory.model_copy(update={"version": 3, "updated_at": _LATER}),
    ("erase_user", 200): m.ErasedAnswer(
        user_id="ann", memories=12, events=31, collections=2, erased_at=_LATER
    ),
    ("stats", 200): m.Stats(
        memories=17,
        added_today=3,
        growth=[
            m.GrowthDay(day=date(2026, 3, 13), added=14, total=14),
            m.GrowthDay(day=date(2026, 3, 14), added=3, total=17),
        ],
        searches=m.SearchStats(count=240, average_ms=6.1, p95_ms=14.0, cache_hit_rate=0.31),
        users=[m.Activity(id="ann", memories=12, searches=200, last_at=_LATER)],
        agents=[m.Activity(id="vet-assistant", memories=17, searches=240, last_at=_LATER)],
        since=_THEN,
    ),
    ("list_sessions", 200): m.SessionsAnswer(
        sessions=[m.Session(session_id="s1", memories=2, first_at=_THEN, last_at=_LATER)]
    ),
    ("list_namespaces", 200): m.NamespacesAnswer(namespaces=[["users", "ann"], ["users", "bob"]]),
    ("list_collections", 200): m.CollectionsAnswer(collections=[_collection]),
    ("get_collection", 200): _collection,
    ("put_collection", 200): _collection.model_copy(
        update={"embedder": "client", "model": None, "memories": 0}
    ),
    ("delete_collection", 200): m.DeletedAnswer(deleted=17),
    ("create_key", 201): m.CreatedKey(**_key, key=f"am_{_KEY_ID}_{'0123456789abcdef' * 4}"),
    ("list_keys", 200): m.KeysAnswer(keys=[m.Key(**_key)]),
    ("revoke_key", 200): m.Key(**_key, revoked_at=_LATER),
    ("health", 200): m.Health(
        status="healthy", version="0.1.0", uptime_seconds=3600.5, checks=_well
    ),
    ("health", 503): m.Health(
        status="unhealthy",
        version="0.1.0",
        uptime_seconds=3600.5,
        checks={**_well, "database": _failed},
    ),
    ("live", 200): m.Liveness(status="alive"),
    ("ready", 200): m.Liveness(status="ready"),
    ("ready", 503): m.Liveness(status="not_ready"),
    **LEARNING_ANSWERS,
}
ANSWERS: Mapping[tuple[str, int], Any] = {
    which: answer.model_dump(mode="json") for which, answer in _ANSWERS.items()
}
"""An answer of each operation and status that is no error."""

MESSAGE = {"id": "1042", "event": "updated", "data": _updated.model_dump_json()}
"""A message of the feed."""

METRICS = """\
# HELP agentmem_websockets_open WebSockets that are open.
# TYPE agentmem_websockets_open gauge
agentmem_websockets_open 2.0
"""

_NONE: dict[str, Any] = {}
_TOO_LARGE = "Input should be less than or equal to 1000"
ERRORS: Mapping[int, Mapping[str, tuple[str, dict[str, Any]]]] = {
    400: {
        "malformed_request": (
            "the body is not JSON: EOF while parsing an object at line 1 column 1",
            _NONE,
        )
    },
    401: {
        "unauthorized": (
            "this needs an API key: send it as X-API-Key (`agentmem keys create` makes one)",
            _NONE,
        )
    },
    403: {"forbidden": ("this API key lacks the scope 'write': use one that has it", _NONE)},
    404: {"not_found": ("there is no memory 'x' in the collection 'default'", _NONE)},
    405: {"method_not_allowed": ("'PUT' is not a method of '/api/v1/memories'", _NONE)},
    409: {
        "conflict": (
            "the collection 'default' exists with other settings: delete it first, or use another "
            "name",
            _NONE,
        ),
        "llm_not_configured": (
            "learning facts needs an LLM, and this server has none: start it with AGENTMEM_LLM_URL "
            "(the root of an OpenAI-compatible API, such as http://localhost:11434/v1), "
            "AGENTMEM_LLM_MODEL and, if the API wants one, AGENTMEM_LLM_KEY",
            _NONE,
        ),
    },
    412: {
        "version_conflict": (
            "the memory is of version 4 by now, not 3: read it again, and repeat the change if it "
            "still makes sense",
            {"expected": 3, "actual": 4},
        )
    },
    413: {
        "payload_too_large": (
            "the body is larger than 33554432 bytes: send less at once, or raise AGENTMEM_MAX_BODY",
            _NONE,
        )
    },
    415: {
        "unsupported_media_type": (
            "send the body as JSON, with Content-Type: application/json",
            _NONE,
        )
    },
    422: {
        "invalid_request": (
            f"limit: {_TOO_LARGE}",
            {"errors": [{"field": "limit", "message": _TOO_LARGE}]},
        ),
        "invalid_filter": (
            "$or needs a list with at least one filter in it",
            _NONE,
        ),
        "invalid_cursor": (
            "the cursor belongs to another listing: keep collection, scope, filters and order as "
            "they were on the first page",
            _NONE,
        ),
        "dimension_mismatch": (
            "this collection's vectors have 384 numbers, not 3",
            {"expected": 384, "given": 3},
        ),
        "embedder_mismatch": (
            "this collection's vectors come from the caller: give an embedding",
            _NONE,
        ),
    },
    429: {
        "rate_limited": (
            "more than 100 requests in 1 s: wait for Retry-After seconds",
            {"limit": 100, "window_seconds": 1},
        )
    },
    500: {
        "internal_error": (
            "the server failed; its log has the cause under the request id",
            _NONE,
        )
    },
    502: {"extraction_failed": ("the LLM refuses to answer", {"reason": "refused"})},
    503: {
        "unavailable": ("the database could not be read: disk I/O error", _NONE),
        "overloaded": (
            "10000 items are pending of at most 10000: there is no room for 1 more",
            _NONE,
        ),
    },
}
"""An error of each code, by its status: the message and the details."""
