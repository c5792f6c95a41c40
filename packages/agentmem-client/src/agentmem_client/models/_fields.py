"""What the wire types are made of: bounds, fields, and what all requests and answers are."""

from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    GetPydanticSchema,
    PlainSerializer,
    PlainValidator,
    WithJsonSchema,
)
from pydantic_core import CoreSchema, core_schema, from_json

from .. import filters as _filters
from ..errors import InvalidFilter
from ..instants import parse_instant
from ..json_values import check_json, check_text
from ..vectors import pack, to_base64

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
MAX_EVENT = 2**63 - 1
"""The largest id that an event can have."""
MAX_VERSION = 10**18 - 1
"""The largest version that a request can name."""
MAX_JOB = 2**63 - 1
"""The largest ``seq`` that a job can have."""
MAX_SOURCES = 64
"""How many sources a memory may have."""
MAX_SOURCE_IDS = 1_000
"""How many messages one source may name."""


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


def _filters_schema(_source: object, _handler: object) -> CoreSchema:
    """What PlainValidator and PlainSerializer make, without a schema of the filters' nodes.

    They make that with each field, for nobody: a third of the time that importing the models takes.
    """
    to_dict = core_schema.plain_serializer_function_ser_schema(
        lambda node: None if node is None else node.to_dict()
    )
    return core_schema.no_info_plain_validator_function(_parse_filters, serialization=to_dict)


def _pack_vector(value: object) -> bytes:
    vector = pack(value)
    if len(vector) > 4 * MAX_DIMENSION:
        raise ValueError(f"a vector must have at most {MAX_DIMENSION} numbers")
    return vector


def _check_lengths(vectors: list[bytes]) -> list[bytes]:
    if len(set(map(len, vectors))) > 1:
        raise ValueError("the vectors of one memory must have the same length")
    return vectors


class SchemaOf:
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
EventId: TypeAlias = Annotated[int, Field(ge=0, le=MAX_EVENT)]
Dimension: TypeAlias = Annotated[int, Field(ge=1, le=MAX_DIMENSION)]
Filters: TypeAlias = Annotated[
    _filters.Filter | None,
    GetPydanticSchema(_filters_schema),
    WithJsonSchema({"anyOf": [{"type": "object"}, {"type": "null"}]}),
]
PackedVector: TypeAlias = Annotated[
    bytes,
    PlainValidator(_pack_vector),
    PlainSerializer(to_base64),
    WithJsonSchema(
        {
            "anyOf": [
                {
                    "type": "array",
                    "items": {"type": "number"},
                    "minItems": 1,
                    "maxItems": MAX_DIMENSION,
                },
                {
                    "type": "string",
                    "description": "base64 of little-endian float32",
                    "contentEncoding": "base64",
                    # Three numbers are 12 bytes or 16 characters; one or two may follow.
                    "pattern": "^([A-Za-z0-9+/]{16})*([A-Za-z0-9+/]{6}==|[A-Za-z0-9+/]{11}=)?$",
                    "minLength": 8,
                },
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
