"""Every error that AgentMem raises, on the server and in the client.

The server raises one of these, answers ``{"error": {"code", "message", "details"}}`` with
its status, and the client raises the class of that code again::

    AgentMemError
    ├── ConnectionFailed            no answer: refused, reset, unresolvable
    ├── RequestTimedOut             no answer within the timeout
    ├── InvalidResponse             an answer that is not AgentMem's
    ├── EventsForgotten             the events to follow are no longer all kept
    └── APIError                    the server said no
        ├── MalformedRequest        400  the body is not JSON, or not JSON of the right shape
        ├── Unauthorized            401  no key, or a wrong one
        ├── Forbidden               403  the key may not do this
        ├── NotFound                404  no such memory, collection or route
        ├── MethodNotAllowed        405
        ├── Conflict                409  the collection exists with other settings
        │   └── LLMNotConfigured    409  the server has no LLM to learn facts with
        ├── VersionConflict         412  the memory has changed since the version in If-Match
        ├── PayloadTooLarge         413  the body exceeds the server's limit
        ├── UnsupportedMediaType    415  the body is not application/json
        ├── InvalidRequest          422  a field is missing, unknown, or of the wrong type
        │   ├── InvalidFilter       422  the filter says something that can't be honoured
        │   ├── InvalidCursor       422  the cursor belongs to another listing
        │   ├── DimensionMismatch   422  the vector's length is not the collection's
        │   └── EmbedderMismatch    422  the collection embeds another way
        ├── RateLimited             429  too many requests: wait ``retry_after`` seconds
        ├── InternalError           500
        ├── ExtractionFailed        502  the LLM's answer can't be used, or it refuses
        └── Unavailable             503  the server can't do it now: wait ``retry_after`` seconds
            └── Overloaded          503  its queues are full
"""

from collections.abc import Mapping
from typing import Any, ClassVar


class AgentMemError(Exception):
    """The root of all errors of AgentMem."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ConnectionFailed(AgentMemError):
    """The server could not be reached, or the connection broke before it answered."""


class RequestTimedOut(AgentMemError):
    """The server did not answer within the client's timeout, or a job did not end in time."""


class InvalidResponse(AgentMemError):
    """Something answered, but not an AgentMem server (a proxy's page, cut-off JSON)."""


class EventsForgotten(AgentMemError):
    """Some of the events that were to be followed are no longer kept.

    To go on, read anew what you need of the memories, and follow with ``after=error.oldest - 1``.

    Attributes:
        oldest: from this id on all events are kept.
    """

    def __init__(self, message: str, *, oldest: int = 1) -> None:
        super().__init__(message)
        self.oldest = oldest


class APIError(AgentMemError):
    """The server refused or failed the request.

    Attributes:
        code: what went wrong, as a stable word (``"invalid_filter"``).
        status: the HTTP status.
        message: what went wrong and what to do, for people.
        details: the same for programs; for invalid fields, ``{"errors": [{"field", "message"}]}``.
        request_id: names this request in the server's logs.
        retry_after: seconds after which trying again makes sense, where the server said so.
    """

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500

    def __init__(
        self,
        message: str,
        *,
        details: Mapping[str, Any] | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.details = dict(details or {})
        self.request_id = request_id
        self.retry_after = retry_after

    def __str__(self) -> str:
        if self.request_id is None:
            return self.message
        return f"{self.message} (request {self.request_id})"


class MalformedRequest(APIError):
    """The request can't be read at all."""

    code = "malformed_request"
    status = 400


class Unauthorized(APIError):
    """The API key is missing, wrong, expired or revoked."""

    code = "unauthorized"
    status = 401


class Forbidden(APIError):
    """The API key is valid but may not do this."""

    code = "forbidden"
    status = 403


class NotFound(APIError):
    """There is no such memory, collection or route."""

    code = "not_found"
    status = 404


class MethodNotAllowed(APIError):
    """The route exists, but not with this HTTP method."""

    code = "method_not_allowed"
    status = 405


class Conflict(APIError):
    """What is asked for contradicts what is there."""

    code = "conflict"
    status = 409


class LLMNotConfigured(Conflict):
    """The server has no LLM; the message says which settings it needs."""

    code = "llm_not_configured"


class VersionConflict(APIError):
    """The memory is no longer of the version that the change was meant for."""

    code = "version_conflict"
    status = 412


class PayloadTooLarge(APIError):
    """The body is larger than the server accepts."""

    code = "payload_too_large"
    status = 413


class UnsupportedMediaType(APIError):
    """The body is not declared as JSON."""

    code = "unsupported_media_type"
    status = 415


class InvalidRequest(APIError):
    """A field is missing, unknown, of the wrong type or out of its range."""

    code = "invalid_request"
    status = 422


class InvalidFilter(InvalidRequest):
    """A filter that can't be honoured: an unknown operator or field, an empty combination."""

    code = "invalid_filter"


class InvalidCursor(InvalidRequest):
    """A cursor that this listing did not give out."""

    code = "invalid_cursor"


class DimensionMismatch(InvalidRequest):
    """A vector whose length is not the dimension of its collection."""

    code = "dimension_mismatch"


class EmbedderMismatch(InvalidRequest):
    """Vectors or texts for a collection that embeds the other way, or by another model."""

    code = "embedder_mismatch"


class RateLimited(APIError):
    """More requests than the key is allowed."""

    code = "rate_limited"
    status = 429


class InternalError(APIError):
    """The server failed; its log has the cause under the request id."""

    code = "internal_error"
    status = 500


class ExtractionFailed(APIError):
    """The LLM refuses, or what it answers can't be used; nothing was stored.

    ``details["reason"]`` says why: ``"refused"``, ``"malformed"``, ``"cut_off"`` (the answer was
    longer than the server lets it be) or ``"rejected"`` (the LLM's API takes no such request).
    """

    code = "extraction_failed"
    status = 502


class Unavailable(APIError):
    """The server, or something that it needs, is not available right now."""

    code = "unavailable"
    status = 503


class Overloaded(Unavailable):
    """The server's queues are full; nothing of the request was done."""

    code = "overloaded"


def _tree(root: type[APIError]) -> list[type[APIError]]:
    return [root, *(leaf for child in root.__subclasses__() for leaf in _tree(child))]


BY_CODE: Mapping[str, type[APIError]] = {cls.code: cls for cls in _tree(APIError)[1:]}
"""The class of each code."""


def shown(value: object, limit: int = 80) -> str:
    """A value as a message quotes it: its repr, cut, for it may be long or somebody's secret."""
    text = repr(value)
    return text if len(text) <= limit else f"{text[:limit]}…"


_BY_STATUS = {
    400: MalformedRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    405: MethodNotAllowed,
    409: Conflict,
    412: VersionConflict,
    413: PayloadTooLarge,
    415: UnsupportedMediaType,
    422: InvalidRequest,
    429: RateLimited,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


def error_class(code: str | None, status: int) -> type[APIError]:
    """The class for an error answer: by its code, or by its status where the code is unknown.

    A proxy in between, or a server newer than this client, may send a code that is not ours.
    """
    if code is not None and code in BY_CODE:
        return BY_CODE[code]
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return InternalError if status >= 500 else InvalidRequest
