"""What the OpenAPI document says is tried out by machine: no failure, nothing undocumented.

Schemathesis makes requests of the document, good ones and bad ones, and holds the answers to it.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
import uvicorn
from agentmem_client import endpoints as e
from agentmem_server.app import open_app
from agentmem_server.routes.openapi import document
from agentmem_server.settings import Settings
from hypothesis import HealthCheck, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import load_all_checks
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi import checks

from tests.conftest import FakeEmbedder

ADMIN_KEY = "a-key-for-tests-of-many-characters"
"""The operator's."""

CHECKS = [
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
]

config = SchemathesisConfig.from_dict(
    {
        "generation": {"with-security-parameters": False, "deterministic": True},
        "phases": {"coverage": {"unexpected-methods": []}},
    }
)
schema = schemathesis.openapi.from_dict(document(), config=config)
# Its answer never ends; other tests hold it to the document.
schema = schema.exclude(operation_id=e.EVENTS.name)

few = settings(
    max_examples=10,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


class Background:
    """The application and its server in a thread of this process."""

    def __init__(self, options: Settings) -> None:
        self._settings = options
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._server: uvicorn.Server | None = None
        self.url = ""

    def __enter__(self) -> "Background":
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(self, *_error: object) -> None:
        assert self._server is not None
        self._server.should_exit = True
        self._thread.join(30)

    async def _run(self) -> None:
        async with open_app(self._settings, embedder=FakeEmbedder()) as app:
            server = uvicorn.Server(
                uvicorn.Config(app, port=0, lifespan="off", log_config=None, access_log=False)
            )
            serving = asyncio.create_task(server.serve())
            while not server.started:
                await asyncio.sleep(0.01)
            port = server.servers[0].sockets[0].getsockname()[1]
            self.url = f"http://127.0.0.1:{port}"
            self._server = server
            self._ready.set()
            await serving
