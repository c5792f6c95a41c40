"""The operations of the OpenAPI document, and the schemas that they refer to."""

from itertools import pairwise
from typing import Any

from agentmem_client import models as m
from agentmem_client.endpoints import LIVE, Endpoint
from agentmem_client.models import MAX_NAME

from .components import SECURITY, error_reference, headers
from .examples import ANSWERS, BODIES, MESSAGE, METRICS
from .schemas import model_schemas, without_null
from .words import NOTES, SEGMENTS, TAG_OF

_EVERY_ERROR = (413, 422, 500, 503)
_WITH_BODY = (400, 415)
_WITH_KEY = (401, 403)
_RATE_LIMITED = 429

_AS_JSON = {"filters", "namespace", "prefix", "suffix"}
"""The parameters of a query string that are objects or arrays, as JSON text."""

_IF_MATCH = {
    "name": "If-Match",
    "in": "header",
    "description": "Only if the memory still has this version, as its `ETag` gave it; 412 if not.",
    "schema": {"type": "string", "pattern": '^"[0-9]{1,18}"$'},
    "example": '"3"',
}
_LAST_EVENT_ID = {
    "name": "Last-Event-ID",
    "in": "header",
    "description": "Only events after this one; it goes before `after`.",
    "schema": {"type": "string", "pattern": "^[0-9]{1,18}$"},
    "example": "1041",
}


class Operations:
    """Makes an operation of each endpoint.

    Attributes:
        schemas: the JSON schemas of all models.
    """

    def __init__(self) -> None:
        self.schemas, self._refs = model_schemas()

    def of(self, endpoint: Endpoint[Any]) -> dict[str, Any]:
        """The operation of an endpoint."""
        operation: dict[str, Any] = {
            "operationId": endpoint.name,
            "summary": endpoint.summary,
            "description": _description(endpoint.name, endpoint.scopes),
            "tags": [TAG_OF.get(endpoint.name, "Memories")],
            "parameters": self._parameters(endpoint),
            "responses": self._responses(endpoint),
            "security": SECURITY if endpoint.scopes else [],
        }
        if endpoint.body is not None:
            content = {
                "schema": self._refs[endpoint.body, "validation"],
                "example": BODIES[endpoint.name],
            }
            operation["requestBody"] = {"required": True, "content": {"application/json": content}}
        return operation

    def _parameters(self, endpoint: Endpoint[Any]) -> list[dict[str, Any]]:
        parameters = _segments(endpoint.path)
        if endpoint.query is not None:
            fields = self.schemas[endpoint.query.__name__]["properties"]
            parameters += [_query_parameter(name, schema) for name, schema in fields.items()]
        if endpoint.if_match:
            parameters.append(_IF_MATCH)
        if endpoint.stream:
            parameters.append(_LAST_EVENT_ID)
        return parameters

    def _responses(self, endpoint: Endpoint[Any]) -> dict[str, Any]:
        errors = {*_EVERY_ERROR, *endpoint.errors}
        if endpoint.body is not None:
            errors |= {*_WITH_BODY}
        if endpoint.scopes:
            errors |= {*_WITH_KEY}
        if endpoint.if_match:
            errors.add(412)
        if endpoint is not LIVE:
            errors.add(_RATE_LIMITED)
        responses = {
            str(status): self._good(endpoint, status)
            for status in (endpoint.status, *endpoint.also)
        }
        for status in sorted(errors):
            responses.setdefault(str(status), error_reference(status))
        return responses

    def _good(self, endpoint: Endpoint[Any], status: int) -> dict[str, Any]:
        tag = ("ETag",) if endpoint.answer is m.Memory else ()
        if endpoint.stream:
            schema = {"$ref": "#/components/schemas/EventMessage"}
            content = {"text/event-stream": {"schema": schema, "example": MESSAGE}}
        else:
            schema = self._refs[endpoint.answer, "serialization"]
            example = ANSWERS[endpoint.name, status]
            content = {"application/json": {"schema": schema, "example": example}}
        return {
            "description": self.schemas[endpoint.answer.__name__]["description"],
            "headers": headers(*tag, limited=endpoint is not LIVE),
            "content": content,
        }


def metrics_operation() -> dict[str, Any]:
    """The operation of the figures for Prometheus, which is no row of the endpoints."""
    text = {"schema": {"type": "string"}, "example": METRICS}
    errors = (401, 403, 413, 422, 429, 500, 503)
    return {
        "operationId": "metrics",
        "summary": "The server's figures, for Prometheus",
        "description": _description("metrics", ("metrics",)),
        "tags": [TAG_OF["metrics"]],
        "parameters": [],
        "responses": {
            "200": {
                "description": "The figures, in Prometheus' text format.",
                "headers": headers(),
                "content": {"text/plain": text},
            },
            **{str(status): error_reference(status) for status in errors},
        },
        "security": SECURITY,
    }


def _description(name: str, scopes: tuple[str, ...]) -> str:
    needed = " and ".join(f"`{scope}`" for scope in scopes)
    key = f"Needs a key with the scope {needed}." if needed else "Needs no key."
    return f"{NOTES[name]}\n\n{key}" if name in NOTES else key


def _segments(path: str) -> list[dict[str, Any]]:
    parts = path.split("/")
    return [
        {
            "name": part[1:-1],
            "in": "path",
            "required": True,
            "description": SEGMENTS[before],
            "schema": {"type": "string", "minLength": 1, "maxLength": MAX_NAME},
        }
        for before, part in pairwise(parts)
        if part.startswith("{")
    ]


def _query_parameter(name: str, field: dict[str, Any]) -> dict[str, Any]:
    schema = without_null(field)
    parameter = {"name": name, "in": "query", "description": schema.pop("description", "")}
    if name in _AS_JSON:
        return parameter | {"content": {"application/json": {"schema": schema}}}
    return parameter | {"schema": schema}
