"""The typed, retrying client of AgentMem, memory for agents.

::

    from agentmem_client import AgentMemClient, F

    with AgentMemClient("http://localhost:8080") as memory:
        memory.add("The cat is called Mia.", user_id="ann", metadata={"topic": "pets"})
        for hit in memory.search("cat", user_id="ann", filters=F("topic") == "pets"):
            print(hit.score, hit.content)

`AsyncAgentMemClient` has the same methods as coroutines.
"""

from ._async.client import AsyncAgentMemClient
from ._base import Filters, Vector, __version__
from ._batch import Item, Progress
from ._pair import ClientPair
from ._sync.client import AgentMemClient
from ._unset import UNSET, Unset
from .errors import (
    AgentMemError,
    APIError,
    Conflict,
    ConnectionFailed,
    DimensionMismatch,
    EmbedderMismatch,
    EventsForgotten,
    Forbidden,
    InternalError,
    InvalidCursor,
    InvalidFilter,
    InvalidRequest,
    InvalidResponse,
    MalformedRequest,
    MethodNotAllowed,
    NotFound,
    Overloaded,
    PayloadTooLarge,
    RateLimited,
    RequestTimedOut,
    Unauthorized,
    Unavailable,
    UnsupportedMediaType,
    VersionConflict,
)
from .filters import F, Filter, escape, escape_like
from .ids import new_id
from .models import (
    DEFAULT_COLLECTION,
    MMR,
    Action,
    Activity,
    AddResult,
    Check,
    Collection,
    CreatedKey,
    ErrorBody,
    Event,
    Explanation,
    GrowthDay,
    Health,
    Hit,
    ImportanceWeight,
    Key,
    KeyScope,
    Memory,
    MemoryInput,
    RecencyWeight,
    SearchStats,
    Session,
    Stats,
)
from .models import ErasedAnswer as Erased
from .models import PageAnswer as Page
from .outcomes import NotAllStored, stored_ids

__all__ = [
    "DEFAULT_COLLECTION",
    "MMR",
    "UNSET",
    "APIError",
    "Action",
    "Activity",
    "AddResult",
    "AgentMemClient",
    "AgentMemError",
    "AsyncAgentMemClient",
    "Check",
    "ClientPair",
    "Collection",
    "Conflict",
    "ConnectionFailed",
    "CreatedKey",
    "DimensionMismatch",
    "EmbedderMismatch",
    "Erased",
    "ErrorBody",
    "Event",
    "EventsForgotten",
    "Explanation",
    "F",
    "Filter",
    "Filters",
    "Forbidden",
    "GrowthDay",
    "Health",
    "Hit",
    "ImportanceWeight",
    "InternalError",
    "InvalidCursor",
    "InvalidFilter",
    "InvalidRequest",
    "InvalidResponse",
    "Item",
    "Key",
    "KeyScope",
    "MalformedRequest",
    "Memory",
    "MemoryInput",
    "MethodNotAllowed",
    "NotAllStored",
    "NotFound",
    "Overloaded",
    "Page",
    "PayloadTooLarge",
    "Progress",
    "RateLimited",
    "RecencyWeight",
    "RequestTimedOut",
    "SearchStats",
    "Session",
    "Stats",
    "Unauthorized",
    "Unavailable",
    "Unset",
    "UnsupportedMediaType",
    "Vector",
    "VersionConflict",
    "__version__",
    "escape",
    "escape_like",
    "new_id",
    "stored_ids",
]
