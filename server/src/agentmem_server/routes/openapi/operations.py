"""The operations of the OpenAPI document, and the schemas that they refer to."""

from itertools import pairwise
from typing import Any, get_args

from agentmem_client import models as m
from agentmem_client.endpoints import ENDPOINTS, LIVE, Endpoint
from agentmem_client.errors import BY_CODE
from agentmem_client.models import MAX_NAME
from pydantic.json_schema import GenerateJsonSchema, models_json_schema
from pydantic_core import core_schema

from .components import SECURITY, error_reference, headers
from .examples import ANSWERS, BODIES, MESSAGE, METRICS
from .words import FIELDS, NOTES, SEGMENTS, TAG_OF

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


def _as_json(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a text that is JSON."""
    return {"type": "string", "contentMediaType": "application/json", "contentSchema": schema}


_MESSAGE: dict[str, Any] = {
    "title": "EventMessage",
    "description": "One message of the stream; its schema is of each one, not of all together.",
    "type": "object",
    "properties": {
        "id": {
            "type": "string",
            "pattern": "^[0-9]+$",
            "description": "Where to go on after this message: what `Last-Event-ID` takes.",
        },
        "event": {"type": "string", "description": "What the message is about."},
        "data": {"type": "string", "description": "What it says, as JSON."},
    },
    "required": ["event", "data"],
    "oneOf": [
        {
            "description": "A change.",
            "properties": {
                "event": {"enum": list(get_args(m.Action))},
                "data": _as_json({"$ref": "#/components/schemas/Event"}),
            },
            "required": ["id"],
        },
        {
            "description": "Events before the one with this id are not known: they are not kept.",
            "properties": {
                "event": {"const": "reset"},
                "data": _as_json(
                    {
                        "type": "object",
                        "properties": {"after": {"type": "integer"}},
                        "required": ["after"],
                    }
                ),
            },
            "required": ["id"],
        },
        {
            "description": "The last message: why the stream ends.",
            "properties": {
                "event": {"const": "end"},
                "data": _as_json(
                    {
                        "type": "object",
                        "properties": {"error": {"$ref": "#/components/schemas/ErrorBody"}},
                        "required": ["error"],
                    }
                ),
            },
        },
    ],
}


class Operations:
    """Makes an operation of each endpoint.

    Attributes:
        schemas: the JSON schemas of all models.
    """

    def __init__(self) -> None:
        asked = {model for row in ENDPOINTS for model in (row.body, row.query) if model}
        answered = {row.answer for row in ENDPOINTS} | {m.ErrorAnswer}
        self._refs, top = models_json_schema(
            [
                *((model, "validation") for model in sorted(asked, key=lambda one: one.__name__)),
                *(
                    (model, "serialization")
                    for model in sorted(answered, key=lambda one: one.__name__)
                ),
            ],
            ref_template="#/components/schemas/{model}",
            schema_generator=_Schemas,
        )
        self.schemas: dict[str, Any] = top["$defs"]
        self.schemas["ErrorBody"]["properties"]["code"]["enum"] = sorted(BY_CODE)
        self.schemas["EventMessage"] = _MESSAGE
        for schema in self.schemas.values():
            for name, field in schema.get("properties", {}).items():
                if name in FIELDS:
                    field.setdefault("description", FIELDS[name])

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


class _Schemas(GenerateJsonSchema):
    """What is answered has all of its fields; and a field's name needs no title beside it."""

    def field_is_required(
        self,
        field: core_schema.ModelField | core_schema.DataclassField | core_schema.TypedDictField,
        total: bool,
    ) -> bool:
        return self.mode == "serialization" or super().field_is_required(field, total)

    def field_title_should_be_set(self, _schema: Any) -> bool:
        return False


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
    schema = _without_null(field)
    parameter = {"name": name, "in": "query", "description": schema.pop("description", "")}
    if name in _AS_JSON:
        return parameter | {"content": {"application/json": {"schema": schema}}}
    return parameter | {"schema": schema}


def _without_null(field: dict[str, Any]) -> dict[str, Any]:
    """The schema of a parameter: a query string says null by leaving it out."""
    schema = {name: value for name, value in field.items() if name != "anyOf"}
    kinds = [kind for kind in field.get("anyOf", ()) if kind != {"type": "null"}]
    if schema.get("default", ...) is None:
        del schema["default"]
    return schema | (kinds[0] if len(kinds) == 1 else {"anyOf": kinds} if kinds else {})
