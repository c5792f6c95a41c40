"""What every route does first: read the request into its models."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from urllib.parse import unquote

from agentmem_client.endpoints import Endpoint
from agentmem_client.errors import InvalidRequest, MalformedRequest, UnsupportedMediaType
from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

ModelT = TypeVar("ModelT", bound=BaseModel)
Handler = Callable[[Request], Awaitable[Response]]

DEFAULT_TENANT = "default"


def route(endpoint: Endpoint[Any], handler: Handler) -> Route:
    """The route of an endpoint."""
    return Route(endpoint.path, handler, methods=[endpoint.method], name=endpoint.name)


def tenant(_request: Request) -> str:
    """Whose memories a request is about. Until there are keys, all are one tenant's."""
    return DEFAULT_TENANT


def segment(request: Request, name: str) -> str:
    """The text of a path's one segment; paths are matched as they were sent, still encoded."""
    text = unquote(request.path_params[name])
    if "\0" in text:
        raise InvalidRequest(f"the {name} in the path must not hold the NUL character")
    return text


async def read_body(request: Request, model: type[ModelT]) -> ModelT:
    """The request's JSON body as a model.

    Raises:
        UnsupportedMediaType: when it isn't declared as JSON.
        MalformedRequest: when it is not JSON.
        InvalidRequest: when it is not what the model wants; the details name each field.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise UnsupportedMediaType("send the body as JSON, with Content-Type: application/json")
    body = await request.body()
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise _refusal(error) from None


def read_query(request: Request, model: type[ModelT]) -> ModelT:
    """The request's query string as a model.

    Raises:
        InvalidRequest: when it is not what the model wants, or names a parameter twice.
    """
    pairs = request.query_params.multi_items()
    twice = sorted({name for name, _ in pairs if sum(name == other for other, _ in pairs) > 1})
    if twice:
        raise InvalidRequest(f"give each parameter once: {', '.join(twice)}")
    try:
        return model.model_validate_strings(dict(pairs))
    except ValidationError as error:
        raise _refusal(error) from None


def read_item(item: object, model: type[ModelT]) -> ModelT:
    """A part of a JSON body as a model.

    Raises:
        InvalidRequest: when it is not what the model wants.
    """
    try:
        return model.model_validate(item)
    except ValidationError as error:
        raise _refusal(error) from None


def _refusal(error: ValidationError) -> MalformedRequest | InvalidRequest:
    # Without the input: it may be a megabyte, or somebody's secret.
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    if problems[0]["type"] == "json_invalid":
        return MalformedRequest(f"the body is not JSON: {_without_prefix(problems[0]['msg'])}")
    fields = [
        {
            "field": ".".join(str(part) for part in problem["loc"]),
            "message": _without_prefix(problem["msg"]),
        }
        for problem in problems
    ]
    first = fields[0]
    where = f"{first['field']}: " if first["field"] else ""
    more = f" (and {len(fields) - 1} more)" if len(fields) > 1 else ""
    return InvalidRequest(f"{where}{first['message']}{more}", details={"errors": fields})


def _without_prefix(message: str) -> str:
    return message.removeprefix("Value error, ").removeprefix("Invalid JSON: ")
