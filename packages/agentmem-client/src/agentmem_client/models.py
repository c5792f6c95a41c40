"""The wire types: what travels between client and server, in both directions.

Requests refuse fields that they don't know; answers ignore them, so that an older client can
talk to a newer server.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import CoreSchema, from_json

from . import filters as _filters
from .errors import InvalidFilter
from .ids import new_id
from .instants import parse_instant
from .json_values import check_json, check_text
from .vectors import pack, to_base64

DEFAULT_COLLECTION = "default"
"""The collection of what names none."""
MAX_NAME = 512
"""How many characters an id, a scope or a collection's name may have."""
MAX_BATCH = 2_048
"""How many memories one batch request may hold."""
MAX_IDS = 10_000
"""How many ids one request may name."""
MAX_LIMIT = 1_000
"""How many memories one answer may hold."""
MAX_OFFSET = 100_000
MAX_DIMENSION = 16_384
MAX_METADATA_DEPTH = 32
MAX_LABELS = 32
"""How many labels a namespace may have."""
MAX_VECTORS = 64
"""How many vectors one memory may have."""
MAX_TTL = 100 * 365 * 86_400
"""The longest time to live, in seconds: 100 years."""


def _check_metadata(value: dict[str, Any]) -> dict[str, Any]:
    check_json(value, max_depth=MAX_METADATA_DEPTH)
    return value


def _check_payload(value: Any) -> Any:
    check_json(value, max_depth=MAX_METADATA_DEPTH)
    return value


def _from_text(raw: object) -> object:
    """A list as it stands in a query string: JSON text."""
    if not isinstance(raw, str):
        return list(raw) if isinstance(raw, tuple) else raw
    try:
        return from_json(raw)
    except ValueError as error:
        raise ValueError(f"must be a JSON array: {error}") from None


def _parse_filters(raw: object) -> _filters.Filter | None:
    if isinstance(raw, str):  # in a query string
        try:
            raw = from_json(raw, allow_inf_nan=False)
        except ValueError as error:
            raise InvalidFilter(f"filters must be a JSON object: {error}") from None
    return None if raw is None else _filters.parse(raw)


def _pack_vector(value: object) -> bytes:
    vector = pack(value)
    if len(vector) > 4 * MAX_DIMENSION:
        raise ValueError(f"a vector must have at most {MAX_DIMENSION} numbers")
    return vector


def _check_lengths(vectors: list[bytes]) -> list[bytes]:
    if len(set(map(len, vectors))) > 1:
        raise ValueError("the vectors of one memory must have the same length")
    return vectors


class _SchemaOf:
    """Documents a field as a model that is validated later, item by item."""

    def __init__(self, model: type[BaseModel]) -> None:
        self.model = model

    def __get_pydantic_json_schema__(
        self, _schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return handler(self.model.__pydantic_core_schema__)


Name: TypeAlias = Annotated[
    str, Field(min_length=1, max_length=MAX_NAME), AfterValidator(check_text)
]
Text: TypeAlias = Annotated[str, AfterValidator(check_text)]
Metadata: TypeAlias = Annotated[dict[str, Any], AfterValidator(_check_metadata)]
Payload: TypeAlias = Annotated[Any, AfterValidator(_check_payload)]
Namespace: TypeAlias = Annotated[
    list[Name], Field(min_length=1, max_length=MAX_LABELS), BeforeValidator(_from_text)
]
"""A path of labels, the outermost first; in a query string, as JSON text."""
TimeToLive: TypeAlias = Annotated[float, Field(gt=0, le=MAX_TTL)]
Time: TypeAlias = Annotated[datetime, BeforeValidator(parse_instant)]
Importance: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Limit: TypeAlias = Annotated[int, Field(ge=1, le=MAX_LIMIT)]
Offset: TypeAlias = Annotated[int, Field(ge=0, le=MAX_OFFSET)]
Dimension: TypeAlias = Annotated[int, Field(ge=1, le=MAX_DIMENSION)]
Filters: TypeAlias = Annotated[
    _filters.Filter | None,
    PlainValidator(_parse_filters),
    PlainSerializer(lambda node: None if node is None else node.to_dict()),
    WithJsonSchema({"anyOf": [{"type": "object"}, {"type": "null"}]}),
]
PackedVector: TypeAlias = Annotated[
    bytes,
    PlainValidator(_pack_vector),
    PlainSerializer(to_base64),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "array", "items": {"type": "number"}, "minItems": 1},
                {"type": "string", "description": "base64 of little-endian float32"},
            ]
        }
    ),
]
"""A vector on its way to the server: little-endian float32 bytes, whatever form it was given in."""

PackedVectors: TypeAlias = Annotated[
    list[PackedVector], Field(min_length=1, max_length=MAX_VECTORS), AfterValidator(_check_lengths)
]
IndexTexts: TypeAlias = Annotated[list[Text], Field(max_length=MAX_VECTORS)]

Embedder = Literal["server", "client"]
Metric = Literal["cosine", "dot", "euclidean"]
Mode = Literal["hybrid", "dense", "sparse"]
OrderBy = Literal["seq", "created_at", "updated_at"]
Order = Literal["asc", "desc"]


class Request(BaseModel):
    """What a caller sends: unknown fields and loose types are refused."""

    model_config = ConfigDict(
        extra="forbid", strict=True, use_attribute_docstrings=True, allow_inf_nan=False
    )


class Answer(BaseModel):
    """What the server sends."""

    model_config = ConfigDict(extra="ignore", use_attribute_docstrings=True)


class Scope(Request):
    """Whose memory it is, and where it belongs; what is left out is not restricted."""

    user_id: Name | None = None
    agent_id: Name | None = None
    session_id: Name | None = None
    namespace: Namespace | None = None
    """Labels, the outermost first: of a memory, its place; of a request, a place and all below."""


class MemoryInput(Scope):
    """A memory as its author gives it."""

    id: Name = Field(default_factory=new_id)
    """Any string; a memory with this id in the collection is replaced."""
    collection: Name = DEFAULT_COLLECTION
    content: Text
    """Stored as given; may be empty where the caller gives the vector."""
    metadata: Metadata = Field(default_factory=dict)
    payload: Payload = None
    """Any JSON; comes back as given, and neither searches nor filters look into it."""
    type: Name | None = None
    """A word of the caller's for the kind of memory, such as ``semantic`` or ``episodic``."""
    importance: Importance | None = None
    event_at: Time | None = None
    """When what the memory tells of happened; a search for a date finds it."""
    expires_at: Time | None = None
    """From then on nothing returns the memory."""
    ttl: TimeToLive | None = None
    """Seconds to live, in place of ``expires_at``; a read with ``refresh_ttl`` starts them anew."""
    archived: bool = False
    """Set aside: kept and found, and told apart by the filter ``@archived``."""
    index_texts: IndexTexts | None = None
    """What it is found by, in place of the content: the server embeds each text, and the best one
    counts. An empty list: no search finds it, only ids and listings do."""
    embedding: PackedVector | None = None
    """The vector, in a collection whose embedder is ``client``."""
    embeddings: PackedVectors | None = None
    """Several vectors in place of one, all of the same length: the best one counts."""

    @model_validator(mode="after")
    def _check_alternatives(self) -> Self:
        _check_alternatives(self)
        return self


class MemoryUpdate(Request):
    """The fields to change; null clears one, and what is left out stays."""

    content: Text | None = None
    metadata: Metadata | None = None
    """Replaces the whole metadata; null makes it empty."""
    type: Name | None = None
    importance: Importance | None = None
    event_at: Time | None = None
    expires_at: Time | None = None
    ttl: TimeToLive | None = None
    """Lives so many seconds from now on; null: no longer, and ``expires_at`` is cleared too."""
    payload: Payload = None
    archived: bool | None = None
    index_texts: IndexTexts | None = None
    embedding: PackedVector | None = None
    embeddings: PackedVectors | None = None

    @model_validator(mode="after")
    def _check_alternatives(self) -> Self:
        _check_alternatives(self)
        return self


def _check_alternatives(given: MemoryInput | MemoryUpdate) -> None:
    if given.embedding is not None and given.embeddings is not None:
        raise ValueError("give embedding or embeddings, not both")
    if given.index_texts == [] and (given.embedding is not None or given.embeddings is not None):
        raise ValueError("index_texts=[]: no search finds it; give no embedding with it")
    if given.ttl is not None and given.expires_at is not None:
        raise ValueError("give ttl or expires_at, not both: ttl says when it expires")


class Memory(Answer):
    """One record, as it is stored."""

    id: str
    seq: int = 0
    """Grows in the order in which memories are first stored; gaps mean nothing."""
    collection: str
    content: str
    metadata: dict[str, Any] = Field(default_factory=dict)
    payload: Any = None
    user_id: str | None = None
    agent_id: str | None = None
    session_id: str | None = None
    namespace: list[str] | None = None
    type: str | None = None
    importance: float | None = None
    event_at: datetime | None = None
    expires_at: datetime | None = None
    ttl: float | None = None
    archived: bool = False
    created_at: datetime
    updated_at: datetime
    index_texts: list[str] | None = None
    embedding: list[float] | None = None
    """Only where ``include_embeddings`` asked for it; of several, the first."""
    embeddings: list[list[float]] | None = None
    """All of them, where there are several."""


class Hit(Memory):
    """A memory that a search found."""

    score: float
    """Larger is better. ``dense``: cosine in -1..1, the inner product, or 1 / (1 + distance), by
    the collection's metric. ``sparse``: BM25, above 0. ``hybrid``: 0..1 within this answer's
    candidates."""


class Criteria(Scope):
    """Which memories are meant: those that meet every criterion given, and at least one is."""

    collection: Name = DEFAULT_COLLECTION
    ids: Annotated[list[Name], Field(max_length=MAX_IDS)] | None = None
    filters: Filters = None
    everything: bool = False
    """True, and no other criterion: the whole collection."""


class BatchRequest(Request):
    """Memories to store, each judged singly unless ``atomic``."""

    memories: Annotated[list[Annotated[Any, _SchemaOf(MemoryInput)]], Field(max_length=MAX_BATCH)]
    atomic: bool = False
    """True: all of them in one transaction, or none."""
    replacing: Criteria | None = None
    """With ``atomic``: these are deleted first, in the same transaction."""


class ErrorBody(Answer):
    """What went wrong, for programs (code, details) and people (message)."""

    code: str
    message: str
    details: dict[str, Any] = Field(default_factory=dict)


class ErrorAnswer(Answer):
    """The body of every error."""

    error: ErrorBody
    request_id: str | None = None


class AddResult(Answer):
    """What became of one memory of a batch."""

    id: str | None
    """Null only where the item had no readable id."""
    status: Literal["stored", "updated", "failed"]
    error: ErrorBody | None = None


class BatchAnswer(Answer):
    """One outcome an item, in the order of the request."""

    results: list[AddResult]


class CollectionQuery(Request):
    """Which collection the memory of the path is in."""

    collection: Name = DEFAULT_COLLECTION


class GetQuery(CollectionQuery):
    """How to answer a memory."""

    include_embeddings: bool = False
    refresh_ttl: bool = False
    """Starts its ``ttl`` anew."""


class GetManyRequest(Request):
    """Memories by their ids; missing ones are skipped."""

    ids: Annotated[list[Name], Field(max_length=MAX_IDS)]
    collection: Name = DEFAULT_COLLECTION
    include_embeddings: bool = False
    refresh_ttl: bool = False
    """Starts the ``ttl`` of what is answered anew."""


class MemoriesAnswer(Answer):
    """Memories, in the order of the ids that were asked for."""

    memories: list[Memory]


class ListQuery(Scope):
    """Which memories to list, in which order, from where on."""

    collection: Name = DEFAULT_COLLECTION
    filters: Filters = None
    order_by: OrderBy = "seq"
    """``seq`` is the order in which the memories were first stored."""
    order: Order = "asc"
    limit: Limit = 100
    offset: Offset = 0
    cursor: str | None = None
    """Where the last page ended; unlike an offset it stays right while others write."""
    include_embeddings: bool = False
    include_total: bool = True
    refresh_ttl: bool = False
    """Starts the ``ttl`` of what is answered anew."""


class PageAnswer(Answer):
    """One page of a listing."""

    memories: list[Memory]
    total: int | None = None
    """How many memories the filter admits, on all pages."""
    next_cursor: str | None = None
    """Null on the last page."""


class MMR(Request):
    """Maximal marginal relevance: hits that are relevant and unlike each other."""

    fetch_k: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = 50
    """How many of the best hits to choose from."""
    lambda_mult: Annotated[float, Field(ge=0, le=1)] = 0.5
    """1: relevance alone, 0: diversity alone."""


class SearchRequest(Scope):
    """A search by text, by vector, or by both."""

    query: Text | None = None
    embedding: PackedVector | None = None
    collection: Name = DEFAULT_COLLECTION
    filters: Filters = None
    mode: Mode | None = None
    """Left out: ``hybrid`` where there is a text and a vector for it, else what there is."""
    alpha: Annotated[float, Field(ge=0, le=1)] | None = None
    """The vector's share in ``hybrid``: 0 ranks by keywords alone (what has none of them follows,
    with score 0), 1 by vectors alone; 0.5 where left out."""
    limit: Limit = 10
    offset: Offset = 0
    """Past the hundredth hit of ``hybrid``, pages are ranked among more candidates each, and may
    repeat or miss a hit; the other modes' pages don't."""
    min_score: float | None = None
    mmr: MMR | None = None
    include_embeddings: bool = False
    refresh_ttl: bool = False
    """Starts the ``ttl`` of what is answered anew."""


class SearchAnswer(Answer):
    """The hits, best first."""

    hits: list[Hit]


class DeleteRequest(Criteria):
    """Which memories to delete."""

    include_memories: bool = False
    """Answer what was deleted."""


class DeletedAnswer(Answer):
    """How many memories were deleted."""

    deleted: int


class DeletedMemories(DeletedAnswer):
    """How many memories were deleted, and which."""

    memories: list[Memory] | None = None
    """In the order in which they were first stored, where ``include_memories`` asked for it."""


class ArchiveRequest(Criteria):
    """Which memories to set aside, or to take back."""

    archived: bool = True


class ArchivedAnswer(Answer):
    """The memories that were set aside or taken back, in the order of their first storing."""

    memories: list[Memory]


class SessionsQuery(Request):
    """Which sessions to list: those with a memory that is meant."""

    collection: Name = DEFAULT_COLLECTION
    user_id: Name | None = None
    agent_id: Name | None = None
    namespace: Namespace | None = None
    filters: Filters = None
    limit: Limit = 100
    after: Name | None = None
    """Only those after this ``session_id``."""


class Session(Answer):
    """The memories of one session that were meant."""

    session_id: str
    memories: int
    first_at: datetime
    """When the first of them was stored."""
    last_at: datetime


class SessionsAnswer(Answer):
    """Sessions, by their ids."""

    sessions: list[Session]
    next_after: str | None = None
    """Where the next page starts; null on the last one."""


class NamespacesQuery(Request):
    """Which namespaces to list. A label ``*`` stands for any one label."""

    collection: Name = DEFAULT_COLLECTION
    prefix: Namespace | None = None
    suffix: Namespace | None = None
    max_depth: Annotated[int, Field(ge=1, le=MAX_LABELS)] | None = None
    """Longer ones are cut to so many labels, and each is listed once."""
    limit: Limit = 100
    offset: Offset = 0


class NamespacesAnswer(Answer):
    """Namespaces that hold memories, sorted label by label."""

    namespaces: list[list[str]]


class CollectionInput(Request):
    """How a collection embeds and compares."""

    embedder: Embedder = "server"
    dimension: Dimension | None = None
    """Needed where the embedder is ``client``; otherwise that of the server's model."""
    metric: Metric = "cosine"


class Collection(Answer):
    """A named set of memories with one way of embedding."""

    name: str
    embedder: Embedder
    model: str | None = None
    """The server's model that made the vectors."""
    dimension: int
    metric: Metric
    memories: int
    created_at: datetime


class CollectionsAnswer(Answer):
    """All collections, by name."""

    collections: list[Collection]


class Check(Answer):
    """One part that the server needs."""

    status: Literal["ok", "failed"]
    latency_ms: float
    error: str | None = None


class Health(Answer):
    """How the server is."""

    status: Literal["healthy", "degraded", "unhealthy"]
    version: str
    uptime_seconds: float
    checks: Mapping[str, Check] = Field(default_factory=dict)


class Liveness(Answer):
    """That the process answers."""

    status: Literal["alive", "ready", "not_ready"]
