"""The OpenAPI 3.1 document, made of the rows in ``endpoints.py`` and their models."""

from typing import Any

from agentmem_client import models as m
from agentmem_client.endpoints import ENDPOINTS, Endpoint
from pydantic.json_schema import models_json_schema
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .. import __version__
from ..answers import json_answer

_EVERY_ERROR = {
    413: "The body is larger than the server accepts",
    422: "A field or parameter is missing, unknown or wrong, or options don't go together",
    500: "The server failed; its log has the cause under the request id",
    503: "Overloaded or not available: try again after Retry-After seconds",
}
_WITH_BODY = {
    400: "The body is not JSON",
    415: "The body is not declared as JSON",
}
_OTHERS = {
    404: "There is no such memory or collection",
    409: "The collection exists with other settings",
}

_AS_JSON = {"filters", "namespace", "prefix", "suffix"}
"""The parameters of a query string that are objects or arrays, as JSON text."""


def openapi_routes() -> list[Route]:
    """The route of the document."""
    body = to_json(document())

    async def openapi(_request: Request) -> Response:
        return json_answer(body)

    return [Route("/openapi.json", openapi, methods=["GET"], name="openapi")]


def document() -> dict[str, Any]:
    """The OpenAPI document as JSON values."""
    schemas = _Schemas()
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in ENDPOINTS:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = schemas.operation(endpoint)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "AgentMem",
            "version": __version__,
            "description": "Memory for agents.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "paths": paths,
        "components": {"schemas": schemas.definitions},
    }


class _Schemas:
    """The JSON schemas of all models, and the operations that refer to them."""

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
        )
        self.definitions: dict[str, Any] = top["$defs"]

    def operation(self, endpoint: Endpoint[Any]) -> dict[str, Any]:
        operation: dict[str, Any] = {
            "operationId": endpoint.name,
            "summary": endpoint.summary,
            "parameters": self._parameters(endpoint),
            "responses": self._responses(endpoint),
        }
        if endpoint.body is not None:
            schema = self._refs[endpoint.body, "validation"]
            operation["requestBody"] = {
                "required": True,
                "content": {"application/json": {"schema": schema}},
            }
        return operation

    def _parameters(self, endpoint: Endpoint[Any]) -> list[dict[str, Any]]:
        text = {"type": "string", "minLength": 1}
        parameters: list[dict[str, Any]] = [
            {"name": name, "in": "path", "required": True, "schema": text}
            for name in ("id", "name")
            if f"{{{name}}}" in endpoint.path
        ]
        if endpoint.query is not None:
            fields = self.definitions[endpoint.query.__name__]["properties"]
            for name, schema in fields.items():
                parameter: dict[str, Any] = {"name": name, "in": "query"}
                if name in _AS_JSON:
                    parameter["content"] = {"application/json": {"schema": schema}}
                else:
                    parameter["schema"] = schema
                parameters.append(parameter)
        return parameters

    def _responses(self, endpoint: Endpoint[Any]) -> dict[str, Any]:
        errors = dict(_EVERY_ERROR)
        if endpoint.body is not None:
            errors |= _WITH_BODY
        errors |= {status: _OTHERS[status] for status in endpoint.errors}
        good = self._refs[endpoint.answer, "serialization"]
        failed = self._refs[m.ErrorAnswer, "serialization"]
        responses = {
            str(status): _response(endpoint.summary, good)
            for status in (endpoint.status, *endpoint.also)
        }
        for status, meaning in sorted(errors.items()):
            responses.setdefault(str(status), _response(meaning, failed))
        return responses


def _response(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}
