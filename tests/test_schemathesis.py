"""What the OpenAPI document says is tried out by machine: no failure, nothing undocumented.

Schemathesis makes requests of the document, good ones and bad ones, and holds the answers to it.
The application runs in this process, behind a real server.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import httpx
import pytest
import schemathesis
import uvicorn
from agentmem_client import endpoints as e
from agentmem_server.app import open_app
from agentmem_server.routes.openapi import document
from agentmem_server.settings import Settings
from hypothesis import HealthCheck, settings
from schemathesis import Response
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.conftest import FakeEmbedder, FakeExtractor

ADMIN_KEY = "an-operator-for-tests-of-many-characters"
OPERATOR = {"X-API-Key": ADMIN_KEY}
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]
FEW = settings(
    max_examples=10,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def schema_with(**phases: Any) -> BaseSchema:
    config = {
        "generation": {"with-security-parameters": False},
        "phases": phases,
        "max-stream-events": 1,  # or where none comes, see `ask`: the feed never ends
    }
    return schemathesis.openapi.from_dict(document(), config=SchemathesisConfig.from_dict(config))


everything = schema_with()
only_some = schema_with(coverage={"enabled": False})
"""Without the requests that go through all bounds of all fields one by one."""


class Background:
    """An application and its server, in a thread of this process."""

    def __init__(self, options: Settings) -> None:
        self._settings = options
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run)
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
        assert not self._thread.is_alive()

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        async with open_app(
            self._settings, embedder=FakeEmbedder(), extractor=FakeExtractor()
        ) as app:
            config = uvicorn.Config(
                app, port=0, lifespan="off", log_config=None, access_log=False, server_header=False
            )
            self._server = _Announcing(config, self._started)
            await self._server.serve()

    def _started(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._ready.set()


class _Announcing(uvicorn.Server):
    """Tells on which port it listens."""

    def __init__(self, config: uvicorn.Config, tell: Callable[[int], None]) -> None:
        super().__init__(config)
        self._tell = tell

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        self._tell(self.servers[0].sockets[0].getsockname()[1])


@pytest.fixture(scope="module")
def open_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a server without keys."""
    url = f"sqlite:///{tmp_path_factory.mktemp('open') / 'memories.db'}"
    with Background(Settings(database_url=url, job_attempts=1)) as server:
        make_collection(server.url, {})
        yield server.url


@pytest.fixture(scope="module")
def keyed_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a server that takes keys."""
    url = f"sqlite:///{tmp_path_factory.mktemp('keyed') / 'memories.db'}"
    options = Settings(database_url=url, admin_key=ADMIN_KEY, rate_limit=0, job_attempts=1)
    with Background(options) as server:
        make_collection(server.url, OPERATOR)
        yield server.url


def make_collection(server: str, headers: dict[str, str]) -> None:
    """That of requests that name none: the first one to be tried might bring its own vectors."""
    path = e.PUT_COLLECTION.url(name="default")
    assert httpx.put(server + path, json={}, headers=headers).status_code == 200


Case: TypeAlias = schemathesis.Case[Any]


class Seen:
    """How one operation was answered."""

    def __init__(self) -> None:
        self.statuses: set[int] = set()
        self.needs_key = False
        self.asked = 0

    def has(self, *kinds: int) -> bool:
        """Whether there were answers of all of these kinds; 2 is 2xx."""
        return {status // 100 for status in self.statuses} >= {*kinds}


@pytest.fixture
def good_and_bad() -> Iterator[Seen]:
    """What an operation answered: good answers and refusals must be among it."""
    seen = Seen()
    yield seen
    assert seen.has(2, 4), seen.statuses


@pytest.fixture
def for_keys() -> Iterator[Seen]:
    """What an operation answered: good answers to a key, and without one none."""
    seen = Seen()
    yield seen
    assert seen.has(2), seen.statuses
    assert seen.needs_key


def prepare(case: Case, seen: Seen, server: str, headers: dict[str, str]) -> None:
    """Every other time, name something in the path that is there."""
    seen.asked += 1
    if seen.asked % 2 == 0 or not case.path_parameters:
        return
    with httpx.Client(base_url=server, headers=headers, verify=False) as client:
        if (case.method, case.path) == (e.REVOKE_KEY.method, e.REVOKE_KEY.path):
            made = client.post(e.CREATE_KEY.path, json={"name": "to be revoked"})
            case.path_parameters["id"] = made.json()["id"]
            return
        if case.path == e.RETRY_JOB.path:
            make_failed_job(client)
        client.post(e.ADD_MEMORY.path, json={"id": "there", "content": "it is"})
        in_background = {"id": "there", "messages": [{"content": "hello"}], "background": True}
        client.post(e.EXTRACT.path, json=in_background)
        case.query.pop("collection", None)
        case.path_parameters = dict.fromkeys(case.path_parameters, "there")
        client.put(e.PUT_COLLECTION.url(name="there"), json={})


def make_failed_job(client: httpx.Client) -> None:
    client.delete(e.DELETE_JOB.url(id="there"))
    refused = {"id": "there", "messages": [{"content": "REFUSE"}], "background": True}
    client.post(e.EXTRACT.path, json=refused)
    deadline = time.monotonic() + 30
    while client.get(e.GET_JOB.url(id="there")).json()["status"] != "failed":
        assert time.monotonic() < deadline
        time.sleep(0.01)


def ask(case: Case, server: str, headers: dict[str, str]) -> Response:
    is_feed = case.path == e.EVENTS.path
    return case.call(base_url=server, headers=headers, timeout=0.5 if is_feed else 30)


MAKES_KEYS = [e.CREATE_KEY.name, e.REVOKE_KEY.name]
"""After them, all operations would need a key."""


@everything.exclude(operation_id=[*MAKES_KEYS, e.EVENTS.name]).parametrize()
@FEW
def test_without_keys(case: Case, open_server: str, good_and_bad: Seen) -> None:
    try_without_key(case, open_server, good_and_bad)


@only_some.include(operation_id=e.EVENTS.name).parametrize()
@FEW
def test_the_feed_without_keys(case: Case, open_server: str, good_and_bad: Seen) -> None:
    try_without_key(case, open_server, good_and_bad)


def try_without_key(case: Case, server: str, seen: Seen) -> None:
    prepare(case, seen, server, {})
    answer = ask(case, server, {})
    seen.statuses.add(answer.status_code)
    case.validate_response(answer, checks=CHECKS)


@only_some.parametrize()
@FEW
def test_with_keys(case: Case, keyed_server: str, for_keys: Seen) -> None:
    prepare(case, for_keys, keyed_server, OPERATOR)
    answer = ask(case, keyed_server, OPERATOR)
    for_keys.statuses.add(answer.status_code)
    checks = [*CHECKS]
    if answer.status_code < 300 and not for_keys.needs_key:
        checks.append(ignored_auth)  # it asks again without a key, and with a wrong one
        for_keys.needs_key = True
    case.validate_response(
        answer, checks=checks, headers=OPERATOR, transport_kwargs={"base_url": keyed_server}
    )
