"""What every route does first: read the request into its models."""

import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar
from urllib.parse import parse_qsl, unquote

from agentmem_client import models as m
from agentmem_client.endpoints import Endpoint
from agentmem_client.errors import (
    APIError,
    InvalidRequest,
    MalformedRequest,
    UnsupportedMediaType,
)
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from ..access.access import Access
from ..access.callers import Caller

ModelT = TypeVar("ModelT", bound=BaseModel)
Handler = Callable[[Request], Awaitable[Response]]

_NAME: TypeAdapter[str] = TypeAdapter(m.Name)
_VERSION = re.compile(r'(?P<quote>"?)(?P<version>[0-9]{1,18})(?P=quote)')
_IDEMPOTENCY_KEY = re.compile(r"[A-Za-z0-9._-]{1,64}")
_MAX_PROBLEMS = 20
"""Of so many fields a refusal tells; a body can have a hundred thousand wrong ones."""
_MAX_NAME = 100
"""Characters of a field's name in a refusal."""


def route(endpoint: Endpoint[Any], handler: Handler) -> Route:
    """The route of an endpoint: for those who may, and without parameters that it doesn't know."""
    answering = _Answering(endpoint, handler)
    return Route(endpoint.path, answering, methods=[endpoint.method], name=endpoint.name)


class _Answering:
    """Answers an endpoint's requests; errors are the application's to answer.

    An ASGI application: around a function Starlette would look for errors once more.
    """

    def __init__(self, endpoint: Endpoint[Any], handler: Handler) -> None:
        self._scopes = endpoint.scopes
        self._takes_query = endpoint.query is not None
        self._handler = handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        if self._scopes:
            access(request).require(*self._scopes)
        if scope["query_string"] and not self._takes_query:
            read_query(request, m.Request)
        response = await self._handler(request)
        await response(scope, receive, send)


def access(request: HTTPConnection) -> Access:
    """What a request may do, as `middleware.authentication` found out.

    Raises:
        Unauthorized: it has no API key, or one that opens nothing.
        Forbidden: it comes from another machine's page, and there are no keys yet.
        Unavailable: the keys can't be read.
    """
    found: Access | APIError = request.scope["state"]["access"]
    if isinstance(found, APIError):
        raise found
    return found


def caller(request: HTTPConnection) -> Caller:
    """Whose memories a request can see and change."""
    return access(request).caller


def segment(request: Request, name: str) -> str:
    """The text of a path's one segment; paths are matched as they were sent, still encoded."""
    try:
        return _NAME.validate_python(unquote(request.path_params[name], errors="strict"))
    except UnicodeDecodeError:
        raise InvalidRequest(f"the {name} in the path must be percent-encoded UTF-8") from None
    except ValidationError as error:
        raise _refusal(error, name) from None


def if_version(request: Request) -> int | None:
    """The version of a memory that the header ``If-Match`` names; None where there is none.

    Raises:
        InvalidRequest: when it is not one version.
    """
    given = request.headers.get("if-match")
    if given is None:
        return None
    match = _VERSION.fullmatch(given.strip())
    if match is None:
        raise InvalidRequest(
            f'If-Match must be the version of a memory, such as "3", not {_cut(given)}'
        )
    return int(match["version"])


def idempotency_key(request: Request) -> str | None:
    """The header ``Idempotency-Key``: the same for all tries of one change.

    Raises:
        InvalidRequest: when it can't be one.
    """
    given = request.headers.get("idempotency-key")
    if given is not None and _IDEMPOTENCY_KEY.fullmatch(given) is None:
        raise InvalidRequest(
            "Idempotency-Key must have 1 to 64 letters, digits, dots, dashes or underscores, such "
            "as a UUID of the change's own"
        )
    return given


async def read_body(request: Request, model: type[ModelT]) -> ModelT:
    """The request's JSON body as a model.

    Raises:
        UnsupportedMediaType: when it isn't declared as JSON.
        MalformedRequest: when it is not JSON.
        InvalidRequest: when it is not what the model wants; the details name each field.
    """
    return read_json(await json_body(request), model)


async def json_body(request: Request) -> bytes:
    """The request's body, still encoded.

    Raises:
        UnsupportedMediaType: when it isn't declared as JSON.
    """
    if not _is_json(request.scope["headers"]):
        raise UnsupportedMediaType("send the body as JSON, with Content-Type: application/json")
    body, more = await _part(request.receive)
    if more:
        parts = [body]
        while more:
            part, more = await _part(request.receive)
            parts.append(part)
        body = b"".join(parts)
    return body


async def _part(receive: Receive) -> tuple[bytes, bool]:
    """A part of a body, and whether there is more of it."""
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    return message.get("body", b""), message.get("more_body", False)


def _is_json(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    for name, value in headers:
        if name == b"content-type":
            if value != b"application/json":
                value = value.partition(b";")[0].strip().lower()
            return value == b"application/json"
    return False


def read_json(body: bytes, model: type[ModelT]) -> ModelT:
    """A body as a model.

    Raises:
        MalformedRequest: when it is not JSON.
        InvalidRequest: when it is not what the model wants; the details name each field.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise _refusal(error) from None


def read_query(request: HTTPConnection, model: type[ModelT]) -> ModelT:
    """The request's query string as a model.

    Raises:
        InvalidRequest: when it is not what the model wants, or names a parameter twice.
    """
    try:
        text = request.scope["query_string"].decode("ascii")
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise InvalidRequest("the query string must be percent-encoded UTF-8") from None
    twice = [name for name, times in Counter(name for name, _ in pairs).items() if times > 1]
    if twice:
        raise InvalidRequest(f"give each parameter once: {_cut(twice[0])} is there twice")
    try:
        return model.model_validate_strings(dict(pairs))
    except ValidationError as error:
        raise _refusal(error) from None


def read_item(item: object, model: type[ModelT], what: str) -> ModelT:
    """A part of a JSON body as a model; ``what`` it is, is for people.

    Raises:
        InvalidRequest: when it is not what the model wants.
    """
    if not isinstance(item, dict):
        raise InvalidRequest(f"must be an object with the fields of {what}")
    try:
        return model.model_validate(item)
    except ValidationError as error:
        raise _refusal(error) from None


def readable_id(item: object) -> str | None:
    """The id that a bad item came with, so that its author knows which one it is."""
    identity = item.get("id") if isinstance(item, dict) else None
    return identity if isinstance(identity, str) and len(identity) <= m.MAX_NAME else None


def _refusal(error: ValidationError, where: str = "") -> MalformedRequest | InvalidRequest:
    # Without the input: it may be a megabyte, or somebody's secret.
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    if problems[0]["type"] == "json_invalid":
        return MalformedRequest(f"the body is not JSON: {_without_prefix(problems[0]['msg'])}")
    fields = [
        {
            "field": _cut(".".join(str(part) for part in problem["loc"]) or where),
            "message": _without_prefix(problem["msg"]),
        }
        for problem in problems[:_MAX_PROBLEMS]
    ]
    first = fields[0]
    at = f"{first['field']}: " if first["field"] else ""
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return InvalidRequest(f"{at}{first['message']}{more}", details={"errors": fields})


def _cut(name: str) -> str:
    return name if len(name) <= _MAX_NAME else f"{name[:_MAX_NAME]}…"


def _without_prefix(message: str) -> str:
    return message.removeprefix("Value error, ").removeprefix("Invalid JSON: ")
