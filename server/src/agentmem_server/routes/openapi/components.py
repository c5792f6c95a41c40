"""The parts of the OpenAPI document that many operations share: headers, errors, security."""

from collections.abc import Mapping
from typing import Any

from agentmem_client.errors import error_class

from .examples import ERRORS, REQUEST_ID

SECURITY_SCHEMES: Mapping[str, Any] = {
    "apiKey": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "An API key, as `agentmem keys create` or `POST /api/v1/keys` showed it.",
    },
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "The same key as a bearer token.",
    },
}
SECURITY: list[dict[str, list[str]]] = [{name: []} for name in SECURITY_SCHEMES]
"""One of the schemes is enough."""

HEADERS: Mapping[str, Any] = {
    "RequestId": {
        "description": "Names the request in the server's log; its own, where it had one.",
        "required": True,
        "schema": {"type": "string"},
        "example": REQUEST_ID,
    },
    "ETag": {
        "description": "The memory's version, for `If-Match`.",
        "required": True,
        "schema": {"type": "string", "pattern": '^"[0-9]+"$'},
        "example": '"3"',
    },
    "RetryAfter": {
        "description": "After how many seconds trying again makes sense.",
        "required": True,
        "schema": {"type": "integer", "minimum": 0},
        "example": 1,
    },
    "Allow": {
        "description": "The methods that the path has.",
        "required": True,
        "schema": {"type": "string"},
        "example": "DELETE, GET, HEAD, PATCH",
    },
    "WWWAuthenticate": {
        "description": "How to send a key, besides `X-API-Key`.",
        "required": True,
        "schema": {"type": "string"},
        "example": 'Bearer realm="AgentMem"',
    },
    "RateLimitLimit": {
        "description": "How many requests may be made in a window; not there where any number may.",
        "schema": {"type": "integer", "minimum": 0},
        "example": 100,
    },
    "RateLimitRemaining": {
        "description": "How many of them are left.",
        "schema": {"type": "integer", "minimum": 0},
        "example": 99,
    },
    "RateLimitReset": {
        "description": "In how many seconds all of them may be made again.",
        "schema": {"type": "integer", "minimum": 0},
        "example": 1,
    },
}
RATE_HEADERS = {
    "RateLimit-Limit": "RateLimitLimit",
    "RateLimit-Remaining": "RateLimitRemaining",
    "RateLimit-Reset": "RateLimitReset",
}

_ERROR_HEADERS: Mapping[int, tuple[str, ...]] = {
    401: ("WWW-Authenticate",),
    405: ("Allow",),
    429: ("Retry-After",),
    503: ("Retry-After",),
}

MEANINGS: Mapping[int, str] = {
    400: "The request can't be read: its body is not JSON",
    401: "The API key is missing, wrong, expired or revoked",
    403: "The API key may not do this",
    404: "There is no such thing, or not for this key",
    405: "The path does not have this method",
    409: "What is asked for contradicts what is there",
    412: "The memory has changed since the version in `If-Match`",
    413: "The body is larger than the server accepts",
    415: "The body is not declared as JSON",
    422: "A field or parameter is missing, unknown or wrong, or options don't go together",
    429: "More requests than the key, or the address, is allowed",
    500: "The server failed; its log has the cause under the request id",
    502: "The LLM refuses, or its answer can't be used: nothing was stored",
    503: "Overloaded or not available: nothing was done",
}
"""What each status of an error means."""


def error_responses() -> dict[str, Any]:
    """The response of each error, by the name of its class."""
    return {_name(status): _error_response(status) for status in MEANINGS}


def error_reference(status: int) -> dict[str, str]:
    """The reference to the response of an error."""
    return {"$ref": f"#/components/responses/{_name(status)}"}


def headers(*names: str, limited: bool = True) -> dict[str, Any]:
    """The headers of a response: these, and those that all responses have."""
    shared = {"X-Request-ID": "RequestId"} | (RATE_HEADERS if limited else {})
    chosen = {name: name.replace("-", "") for name in names} | shared
    return {name: {"$ref": f"#/components/headers/{target}"} for name, target in chosen.items()}


def _name(status: int) -> str:
    return error_class(next(iter(ERRORS[status])), status).__name__


def _error_response(status: int) -> dict[str, Any]:
    more = _ERROR_HEADERS.get(status, ())
    examples = {
        code: {
            "value": {
                "error": {"code": code, "message": message, "details": details},
                "request_id": REQUEST_ID,
            }
        }
        for code, (message, details) in ERRORS[status].items()
    }
    schema = {"$ref": "#/components/schemas/ErrorAnswer"}
    return {
        "description": MEANINGS[status],
        "headers": headers(*more),
        "content": {"application/json": {"schema": schema, "examples": examples}},
    }
