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
from ._extraction import Conversation, MessageLike
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
    ExtractionFailed,
    Forbidden,
    InternalError,
    InvalidCursor,
    InvalidFilter,
    InvalidRequest,
    InvalidResponse,
    LLMNotConfigured,
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
    Extraction,
    ExtractRequest,
    Fact,
    FactType,
    GrowthDay,
    Health,
    Hit,
    Job,
    JobStatus,
    Key,
    KeyScope,
    Memory,
    MemoryInput,
    Message,
    SearchStats,
    Session,
    Source,
    Stats,
    Usage,
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
    "Conversation",
    "CreatedKey",
    "DimensionMismatch",
    "EmbedderMismatch",
    "Erased",
    "ErrorBody",
    "Event",
    "EventsForgotten",
    "ExtractRequest",
    "Extraction",
    "ExtractionFailed",
    "F",
    "Fact",
    "FactType",
    "Filter",
    "Filters",
    "Forbidden",
    "GrowthDay",
    "Health",
    "Hit",
    "InternalError",
    "InvalidCursor",
    "InvalidFilter",
    "InvalidRequest",
    "InvalidResponse",
    "Item",
    "Job",
    "JobStatus",
    "Key",
    "KeyScope",
    "LLMNotConfigured",
    "MalformedRequest",
    "Memory",
    "MemoryInput",
    "Message",
    "MessageLike",
    "MethodNotAllowed",
    "NotAllStored",
    "NotFound",
    "Overloaded",
    "Page",
    "PayloadTooLarge",
    "Progress",
    "RateLimited",
    "RequestTimedOut",
    "SearchStats",
    "Session",
    "Source",
    "Stats",
    "Unauthorized",
    "Unavailable",
    "Unset",
    "UnsupportedMediaType",
    "Usage",
    "Vector",
    "VersionConflict",
    "__version__",
    "escape",
    "escape_like",
    "new_id",
    "stored_ids",
]
