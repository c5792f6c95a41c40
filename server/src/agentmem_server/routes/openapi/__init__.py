"""The OpenAPI 3.1 document, made of the rows in ``endpoints.py`` and their models."""

from typing import Any

from agentmem_client.endpoints import ENDPOINTS
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ... import __version__
from ...answers import json_answer
from .components import HEADERS, SECURITY_SCHEMES, error_responses
from .operations import Operations, metrics_operation
from .words import INTRODUCTION, TAGS


def openapi_routes() -> list[Route]:
    """The route of the document."""
    body = to_json(document())

    async def openapi(_request: Request) -> Response:
        return json_answer(body)

    return [Route("/openapi.json", openapi, methods=["GET"], name="openapi")]


def document() -> dict[str, Any]:
    """The OpenAPI document as JSON values."""
    operations = Operations()
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in ENDPOINTS:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = operations.of(endpoint)
    paths["/metrics"] = {"get": metrics_operation()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "AgentMem",
            "version": __version__,
            "summary": "Memory for agents.",
            "description": INTRODUCTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": operations.schemas,
            "responses": error_responses(),
            "headers": HEADERS,
            "securitySchemes": SECURITY_SCHEMES,
        },
    }
