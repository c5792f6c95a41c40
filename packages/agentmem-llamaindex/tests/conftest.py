"""A store at the seam and one on a real server, each sync and async."""

import asyncio
import hashlib
import json
import math
import os
import re
import secrets
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl

import httpx
import pytest
from agentmem_client import AgentMemClient, AsyncAgentMemClient
from agentmem_client.models import KeyScope
from agentmem_llamaindex import AgentMemChatStore, AgentMemMemoryBlock, AgentMemVectorStore
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode

TWINS = {
    "add": "async_add",
    "delete": "adelete",
    "query": "aquery",
    "get_nodes": "aget_nodes",
    "delete_nodes": "adelete_nodes",
    "clear": "aclear",
}

Call = Callable[..., Awaitable[Any]]
MakeNode = Callable[..., TextNode]
MakeKey = Callable[..., dict[str, str]]


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest) -> Call:
    """Calls a store's method by its sync name, or the async twin of it."""
    flavour: Literal["sync", "async"] = request.param

    async def call(store: AgentMemVectorStore, method: str, *args: Any, **kwargs: Any) -> Any:
        if flavour == "sync":
            return getattr(store, method)(*args, **kwargs)
        return await getattr(store, TWINS[method])(*args, **kwargs)

    return call


@pytest.fixture
def make_node() -> MakeNode:
    """Makes a node: ``make_node("1", [1.0, 0.0], text=…, doc=…, **metadata)``."""

    def make_node(
        id_: str,
        embedding: list[float] | None,
        *,
        text: str = "",
        doc: str | None = None,
        **metadata: Any,
    ) -> TextNode:
        node = TextNode(id_=id_, text=text or f"text of {id_}", metadata=metadata)
        node.embedding = embedding
        if doc is not None:
            node.relationships[NodeRelationship.SOURCE] = RelatedNodeInfo(node_id=doc)
        return node

    return make_node


class Seam:
    """Stands where the network would be: keeps what is asked, answers what it was told to."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, Any]]] = []
        self.headers: list[httpx.Headers] = []
        self.answers: dict[str, list[dict[str, Any]]] = {}

    def answer(self, path: str, *answers: dict[str, Any], under: str = "memories") -> None:
        """What to answer there, one after the other; the last one for good."""
        self.answers[f"/api/v1/{under}{path}"] = list(answers)

    def handle(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        text = request.url.query.decode()
        sent = json.loads(request.content) if request.content else dict(parse_qsl(text))
        self.requests.append((request.method, path, sent))
        self.headers.append(request.headers)
        queue = self.answers[path]
        return httpx.Response(200, json=queue.pop(0) if len(queue) > 1 else queue[0])

    @property
    def sent(self) -> list[dict[str, Any]]:
        """The bodies, or query strings, of all requests."""
        return [sent for _, _, sent in self.requests]

    def clients(self) -> dict[str, Any]:
        """The keyword arguments that connect an adapter to the seam."""
        transport = httpx.MockTransport(self.handle)
        url = "http://seam.test"
        return {
            "client": AgentMemClient(url, "k-1", http_client=httpx.Client(transport=transport)),
            "async_client": AsyncAgentMemClient(
                url, "k-1", http_client=httpx.AsyncClient(transport=transport)
            ),
        }

    def store(self, **settings: Any) -> AgentMemVectorStore:
        return AgentMemVectorStore(**self.clients(), **settings)

    def chat_store(self, **settings: Any) -> AgentMemChatStore:
        return AgentMemChatStore(**self.clients(), **settings)

    def memory_block(self, **settings: Any) -> AgentMemMemoryBlock:
        return AgentMemMemoryBlock(**self.clients(), **settings)


@pytest.fixture
def seam() -> Seam:
    return Seam()


class WordEmbedding(BaseEmbedding):
    """Each word is a direction, the same in every process: texts that share words are near."""

    dimension: int = 64

    def _vector(self, text: str) -> list[float]:
        vector = [0.0] * self.dimension
        for word in re.findall(r"\w+", text.lower()):
            digest = hashlib.sha256(word.encode()).digest()
            vector[digest[0] % self.dimension] += 1.0
        length = math.hypot(*vector) or 1.0
        return [number / length for number in vector]

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._vector(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._vector(query)

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._vector(text)


@pytest.fixture
def embed_model() -> BaseEmbedding:
    return WordEmbedding()


class Server:
    """A real server process on a file of its own, which can be stopped and started again."""

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        # Without a bound on the requests of a second, which tests reach.
        self._environment = {**os.environ, "AGENTMEM_RATE_LIMIT": "0", **(environment or {})}
        self._database = folder / "memories.db"
        self._log = folder / "server.log"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and return when it takes requests."""
        command = [sys.executable, "-m", "agentmem_server.cli", "serve"]
        command += ["--host", "127.0.0.1", "--port", str(self._port)]
        command += ["--database", f"sqlite:///{self._database.as_posix()}"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)
        url = f"{self.url}/health/ready"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self._process.poll() is None:
            try:  # without reading the certificates: that would cost 20 ms each time
                if httpx.get(url, timeout=2, verify=False).status_code == 200:
                    return
            except httpx.TransportError:
                pass  # it doesn't listen yet
            time.sleep(0.05)
        self.stop()
        pytest.fail(f"the server did not start:\n{self._log.read_text(errors='replace')[-3000:]}")

    def stop(self) -> None:
        """End it; what it has answered is on disk."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(scope="session")
def api_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a real server is that all tests share, each with names of its own."""
    server = Server(tmp_path_factory.mktemp("server"))
    server.start()
    yield server.url
    server.stop()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A real server of the test's own."""
    server = Server(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def make_key(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeKey]:
    """Makes a key on a server that has keys; answers what connects an adapter with it."""
    operators_key = secrets.token_hex(32)
    environment = {"AGENTMEM_ADMIN_KEY": operators_key}
    server = Server(tmp_path_factory.mktemp("with-keys"), environment)
    server.start()

    with AgentMemClient(server.url, operators_key) as operator:

        def make_key(tenant: str, user_id: str | None = None, *scopes: KeyScope) -> dict[str, str]:
            scopes = scopes or ("read", "write")
            made = operator.create_key("a test", tenant=tenant, user_id=user_id, scopes=scopes)
            return {"api_url": server.url, "api_key": made.key}

        yield make_key
    server.stop()


@pytest.fixture
def unique() -> str:
    """A name that no other test uses: of a collection, a user or a session."""
    return f"test-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def event_loop_of_sync_code() -> Iterator[asyncio.AbstractEventLoop]:
    """The loop that LlamaIndex's sync code finds for async work; it would make one to keep."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield loop
    loop.run_until_complete(loop.shutdown_asyncgens())  # closes the clients of the loop
    asyncio.set_event_loop(None)
    loop.close()


@pytest.fixture
def store(api_url: str, unique: str) -> Iterator[AgentMemVectorStore]:
    """On the real server, in a collection of its own."""
    store = AgentMemVectorStore(api_url=api_url, collection=unique)
    yield store
    store.client.delete_collection(store.collection)
    store.close()
