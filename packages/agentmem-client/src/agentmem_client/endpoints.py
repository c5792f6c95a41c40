"""One row an operation: the client, the server's routes and its OpenAPI document read it."""

from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeAlias, TypeVar
from urllib.parse import quote

from . import models as m

AnswerT = TypeVar("AnswerT", bound=m.Answer)

API = "/api/v1"

Allowed: TypeAlias = tuple[Literal["read", "write", "admin"], ...]


@dataclass(frozen=True)
class Endpoint(Generic[AnswerT]):
    """One operation of the HTTP API.

    Attributes:
        name: of the handler on the server and of the operation in the OpenAPI document.
        path: with ``{id}`` or ``{name}`` for the one percent-encoded path segment it may have.
        query: the model of the query string, if it has one.
        body: the model of the JSON body, if it has one.
        answer: the model of the answer.
        status: of a good answer.
        also: other statuses that carry the same answer and are not errors.
        errors: the codes' statuses that this operation can answer besides those all can.
        scopes: what a key must be allowed to do; empty: it takes no key.
        if_match: whether it takes the header ``If-Match``.
        stream: whether the answers come one by one, as server-sent events.
    """

    name: str
    method: str
    path: str
    summary: str
    answer: type[AnswerT]
    query: type[m.Request] | None = None
    body: type[m.Request] | None = None
    status: int = 200
    also: tuple[int, ...] = ()
    errors: tuple[int, ...] = ()
    scopes: Allowed = ("read",)
    if_match: bool = False
    stream: bool = False

    def url(self, **segments: str) -> str:
        """The path with its segment filled in, percent-encoded whatever characters it has."""
        return self.path.format(**{key: encode_segment(text) for key, text in segments.items()})

    def read(self, body: bytes) -> AnswerT:
        """Parse a good answer.

        Raises:
            ValueError: when it is not one.
        """
        return self.answer.model_validate_json(body)


def encode_segment(text: str) -> str:
    """Any text as one path segment; dots too, lest ``..`` be taken for the parent."""
    return quote(text, safe="").replace(".", "%2E")


ADD_MEMORY = Endpoint(
    "add_memory", "POST", f"{API}/memories", "Store a memory, or replace the one with its id",
    m.Memory, body=m.MemoryInput, status=201, errors=(409,), scopes=("write",),
)  # fmt: skip
ADD_MEMORIES = Endpoint(
    "add_memories", "POST", f"{API}/memories/batch", "Store many memories, an outcome for each",
    m.BatchAnswer, body=m.BatchRequest, errors=(409,), scopes=("write",),
)  # fmt: skip
LIST_MEMORIES = Endpoint(
    "list_memories", "GET", f"{API}/memories", "List memories, page by page",
    m.PageAnswer, query=m.ListQuery,
)  # fmt: skip
SEARCH_MEMORIES = Endpoint(
    "search_memories", "POST", f"{API}/memories/search", "Search by text, by vector or by both",
    m.SearchAnswer, body=m.SearchRequest,
)  # fmt: skip
GET_MEMORIES = Endpoint(
    "get_memories", "POST", f"{API}/memories/get", "Get many memories by their ids",
    m.MemoriesAnswer, body=m.GetManyRequest,
)  # fmt: skip
DELETE_MEMORIES = Endpoint(
    "delete_memories", "POST", f"{API}/memories/delete", "Delete memories by ids, filters or scope",
    m.DeletedMemories, body=m.DeleteRequest, scopes=("write",),
)  # fmt: skip
ARCHIVE_MEMORIES = Endpoint(
    "archive_memories", "POST", f"{API}/memories/archive", "Set memories aside, or take them back",
    m.ArchivedAnswer, body=m.ArchiveRequest, scopes=("read", "write"),
)  # fmt: skip
EXTRACT = Endpoint(
    "extract", "POST", f"{API}/memories/extract", "Learn facts from a conversation, by an LLM",
    m.Extraction, body=m.ExtractRequest, also=(202,), errors=(409, 502),
    scopes=("read", "write"),
)  # fmt: skip
EXTRACT_MANY = Endpoint(
    "extract_many", "POST", f"{API}/memories/extract/batch",
    "Learn facts from many conversations, an outcome for each",
    m.ExtractManyAnswer, body=m.ExtractManyRequest, errors=(409,), scopes=("read", "write"),
)  # fmt: skip
GET_MEMORY = Endpoint(
    "get_memory", "GET", f"{API}/memories/{{id}}", "Get a memory",
    m.Memory, query=m.GetQuery, errors=(404,),
)  # fmt: skip
UPDATE_MEMORY = Endpoint(
    "update_memory", "PATCH", f"{API}/memories/{{id}}", "Change some fields of a memory",
    m.Memory, query=m.CollectionQuery, body=m.MemoryUpdate, errors=(404,),
    scopes=("read", "write"), if_match=True,
)  # fmt: skip
DELETE_MEMORY = Endpoint(
    "delete_memory", "DELETE", f"{API}/memories/{{id}}", "Delete a memory; a missing one counts 0",
    m.DeletedAnswer, query=m.CollectionQuery, scopes=("write",), if_match=True,
)  # fmt: skip
MEMORY_HISTORY = Endpoint(
    "memory_history", "GET", f"{API}/memories/{{id}}/history",
    "List what became of a memory, the oldest event first",
    m.HistoryAnswer, query=m.HistoryQuery, errors=(404,),
)  # fmt: skip
RESTORE_MEMORY = Endpoint(
    "restore_memory", "POST", f"{API}/memories/{{id}}/restore",
    "Take a memory back to one of its states, also one that was deleted",
    m.Memory, query=m.CollectionQuery, body=m.RestoreRequest, errors=(404, 409),
    scopes=("read", "write"),
)  # fmt: skip
EVENTS = Endpoint(
    "events", "GET", f"{API}/events", "Follow all changes, as server-sent events",
    m.Event, query=m.EventsQuery, stream=True,
)  # fmt: skip
ERASE_USER = Endpoint(
    "erase_user", "DELETE", f"{API}/users/{{id}}",
    "Delete all memories of a user, in all collections, with their history",
    m.ErasedAnswer, errors=(404,), scopes=("write",),
)  # fmt: skip
STATS = Endpoint(
    "stats", "GET", f"{API}/stats", "How much is remembered and asked, and by whom",
    m.Stats, query=m.StatsQuery,
)  # fmt: skip
LIST_JOBS = Endpoint(
    "list_jobs", "GET", f"{API}/jobs", "List the jobs, the newest first",
    m.JobsAnswer, query=m.JobsQuery,
)  # fmt: skip
GET_JOB = Endpoint(
    "get_job", "GET", f"{API}/jobs/{{id}}", "Get a job, and what came of it",
    m.Job, errors=(404,),
)  # fmt: skip
RETRY_JOB = Endpoint(
    "retry_job", "POST", f"{API}/jobs/{{id}}/retry", "Try a job again that has failed",
    m.Job, errors=(404, 409), scopes=("read", "write"),
)  # fmt: skip
DELETE_JOB = Endpoint(
    "delete_job", "DELETE", f"{API}/jobs/{{id}}",
    "Delete a job: what has not begun is not done; a missing one counts 0",
    m.DeletedAnswer, scopes=("write",),
)  # fmt: skip
LIST_SESSIONS = Endpoint(
    "list_sessions", "GET", f"{API}/sessions", "List the sessions, page by page",
    m.SessionsAnswer, query=m.SessionsQuery,
)  # fmt: skip
LIST_NAMESPACES = Endpoint(
    "list_namespaces", "GET", f"{API}/namespaces", "List the namespaces",
    m.NamespacesAnswer, query=m.NamespacesQuery,
)  # fmt: skip
LIST_COLLECTIONS = Endpoint(
    "list_collections", "GET", f"{API}/collections", "List the collections",
    m.CollectionsAnswer,
)  # fmt: skip
GET_COLLECTION = Endpoint(
    "get_collection", "GET", f"{API}/collections/{{name}}", "Get a collection",
    m.Collection, errors=(404,),
)  # fmt: skip
PUT_COLLECTION = Endpoint(
    "put_collection", "PUT", f"{API}/collections/{{name}}", "Make a collection, if it isn't there",
    m.Collection, body=m.CollectionInput, errors=(409,), scopes=("write",),
)  # fmt: skip
DELETE_COLLECTION = Endpoint(
    "delete_collection", "DELETE", f"{API}/collections/{{name}}",
    "Delete a collection and all of its memories; a missing one counts 0",
    m.DeletedAnswer, scopes=("write",),
)  # fmt: skip
CREATE_KEY = Endpoint(
    "create_key", "POST", f"{API}/keys", "Make an API key; it is shown this once",
    m.CreatedKey, body=m.KeyInput, status=201, scopes=("admin",),
)  # fmt: skip
LIST_KEYS = Endpoint(
    "list_keys", "GET", f"{API}/keys", "List the API keys, without what makes them keys",
    m.KeysAnswer, query=m.KeysQuery, scopes=("admin",),
)  # fmt: skip
REVOKE_KEY = Endpoint(
    "revoke_key", "DELETE", f"{API}/keys/{{id}}", "Revoke an API key, from now on and for good",
    m.Key, errors=(404,), scopes=("admin",),
)  # fmt: skip
HEALTH = Endpoint(
    "health", "GET", "/health", "How the server and what it needs are",
    m.Health, also=(503,), scopes=(),
)  # fmt: skip
LIVE = Endpoint("live", "GET", "/health/live", "Whether the process answers", m.Liveness, scopes=())
READY = Endpoint(
    "ready", "GET", "/health/ready", "Whether it can take traffic",
    m.Liveness, also=(503,), scopes=(),
)  # fmt: skip

ENDPOINTS: tuple[Endpoint[Any], ...] = (
    ADD_MEMORY,
    ADD_MEMORIES,
    LIST_MEMORIES,
    SEARCH_MEMORIES,
    GET_MEMORIES,
    DELETE_MEMORIES,
    ARCHIVE_MEMORIES,
    EXTRACT,
    EXTRACT_MANY,
    GET_MEMORY,
    UPDATE_MEMORY,
    DELETE_MEMORY,
    MEMORY_HISTORY,
    RESTORE_MEMORY,
    EVENTS,
    ERASE_USER,
    STATS,
    LIST_JOBS,
    GET_JOB,
    RETRY_JOB,
    DELETE_JOB,
    LIST_SESSIONS,
    LIST_NAMESPACES,
    LIST_COLLECTIONS,
    GET_COLLECTION,
    PUT_COLLECTION,
    DELETE_COLLECTION,
    CREATE_KEY,
    LIST_KEYS,
    REVOKE_KEY,
    HEALTH,
    LIVE,
    READY,
)
"""Every operation, fixed paths before those with a segment."""
