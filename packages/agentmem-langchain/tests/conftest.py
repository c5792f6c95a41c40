"""What the tests share: a fake at the HTTP seam, and a real server process."""

import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import httpx
import pytest
from agentmem_client import AgentMemClient, AsyncAgentMemClient, new_id
from agentmem_client.models import KeyScope
from agentmem_langchain._messages import to_memory
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import Field

if TYPE_CHECKING:
    from agentmem_langchain import AgentMemStore

Way = Literal["sync", "async"]
Ask = Callable[..., Awaitable[list[BaseMessage]]]
MakeKey = Callable[..., dict[str, str]]


@pytest.fixture(params=["sync", "async"])
def way(request: pytest.FixtureRequest) -> Way:
    """Which of the two halves of a class a test goes through."""
    way: Way = request.param
    return way


@dataclass
class Fake:
    """As much of a server as the adapters call, with all that it was sent."""

    records: list[dict[str, Any]] = field(default_factory=list)
    hits: list[dict[str, Any]] = field(default_factory=list)
    requests: list[httpx.Request] = field(default_factory=list)
    page: int = 1_000
    """The largest page it answers."""
    refuse: str | None = None
    """An error code to answer every batch with."""
    metric: str | None = None
    """That of every collection; None where there is none."""
    down: bool = False
    """Whether connections to it fail."""

    @property
    def bodies(self) -> list[Any]:
        """The JSON bodies, in order."""
        return [json.loads(request.content) for request in self.requests if request.content]

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if self.down:
            raise httpx.ConnectError("refused", request=request)
        self.requests.append(request)
        match request.method, request.url.path:
            case "POST", "/api/v1/memories":
                self.records.append(self.record(**json.loads(request.content)))
                return httpx.Response(201, json=self.records[-1])
            case "POST", "/api/v1/memories/batch":
                return self._add(json.loads(request.content))
            case "GET", "/api/v1/memories":
                return self._list(dict(request.url.params))
            case "POST", "/api/v1/memories/delete":
                return self._delete(json.loads(request.content))
            case "POST", "/api/v1/memories/search":
                return httpx.Response(200, json={"hits": self.hits})
            case "POST", "/api/v1/memories/get":
                return self._get(json.loads(request.content))
            case "GET", path if path.startswith("/api/v1/collections/"):
                return self._collection(path.rpartition("/")[2])
        raise AssertionError(f"unexpected: {request.method} {request.url}")

    @property
    def contents(self) -> list[str]:
        """What the memories say, in order."""
        return [one["content"] for one in self.records]

    def will_find(self, *said: str | BaseMessage) -> None:
        """Let every search find these."""
        fields = [{"content": one} if isinstance(one, str) else to_memory(one) for one in said]
        self.hits = [
            self.record(id=str(at), created_at="2026-05-08T10:00:00Z", score=0.5, **one)
            for at, one in enumerate(fields)
        ]

    @staticmethod
    def record(**fields: Any) -> dict[str, Any]:
        """A memory as a server answers it."""
        now = datetime.now(UTC).isoformat()
        empty: dict[str, Any] = dict.fromkeys((*SCOPE, "type"))
        defaults = {"collection": "default", "metadata": {}, "created_at": now, "updated_at": now}
        return {**empty, **defaults, **fields}

    def _add(self, body: dict[str, Any]) -> httpx.Response:
        if self.refuse is not None:
            error = {"code": self.refuse, "message": "no", "details": {}}
            results = [
                {"id": m["id"], "status": "failed", "error": error} for m in body["memories"]
            ]
            return httpx.Response(200, json={"results": results})
        ids = {memory["id"] for memory in body["memories"]}
        self.records = [one for one in self.records if one["id"] not in ids]
        self.records += [self.record(**memory) for memory in body["memories"]]
        results = [{"id": memory["id"], "status": "stored"} for memory in body["memories"]]
        return httpx.Response(200, json={"results": results})

    def _get(self, body: dict[str, Any]) -> httpx.Response:
        found = [
            {name: value for name, value in one.items() if name != "embedding"}
            for id_ in body["ids"]
            for one in self.records
            if (one["id"], one["collection"]) == (id_, body.get("collection", "default"))
        ]
        return httpx.Response(200, json={"memories": found})

    def _collection(self, name: str) -> httpx.Response:
        if self.metric is None:
            error = {"code": "not_found", "message": "there is no such collection"}
            return httpx.Response(404, json={"error": error})
        settings = {"embedder": "client", "dimension": 2, "metric": self.metric}
        counted = {"name": name, "memories": 0, "created_at": datetime.now(UTC).isoformat()}
        return httpx.Response(200, json=settings | counted)

    def _list(self, query: dict[str, str]) -> httpx.Response:
        matching = self._matching({**query, "filters": json.loads(query.get("filters", "{}"))})
        if query.get("order") == "desc":
            matching.reverse()
        start = int(query.get("cursor", 0))
        end = start + min(int(query.get("limit", 100)), self.page)
        cursor = str(end) if end < len(matching) else None
        return httpx.Response(200, json={"memories": matching[start:end], "next_cursor": cursor})

    def _delete(self, body: dict[str, Any]) -> httpx.Response:
        matching = self._matching(body)
        self.records = [one for one in self.records if one not in matching]
        return httpx.Response(200, json={"deleted": len(matching)})

    def _matching(self, criteria: dict[str, Any]) -> list[dict[str, Any]]:
        fields = {name: criteria[name] for name in SCOPE if name in criteria}
        fields.setdefault("collection", "default")
        return [
            one
            for one in self.records
            if all(one[name] == value for name, value in fields.items())
            and one["id"] in criteria.get("ids", [one["id"]])
            and _admits(criteria.get("filters", {}), one)
        ]


SCOPE = ("user_id", "agent_id", "session_id", "collection")


def _admits(filters: dict[str, Any], one: dict[str, Any]) -> bool:
    """Equality and $exists, and their combinations: what the history and the tools ask for."""
    if "$and" in filters:
        return all(_admits(part, one) for part in filters["$and"])
    if "$not" in filters:
        return not _admits(filters["$not"], one)
    for name, condition in filters.items():
        value = one.get(name[1:]) if name.startswith("@") else one["metadata"].get(name)
        operators = condition if isinstance(condition, dict) else {"$eq": condition}
        for operator, operand in operators.items():
            met = {"$eq": value == operand, "$exists": (value is not None) == operand}
            if not met[operator]:
                return False
    return True


@pytest.fixture
def fake() -> Fake:
    return Fake()


@pytest.fixture
async def connection(fake: Fake) -> AsyncIterator[dict[str, Any]]:
    """The keyword arguments that connect an adapter to the fake."""
    transport = httpx.MockTransport(fake)
    with httpx.Client(transport=transport) as http:
        async with httpx.AsyncClient(transport=transport) as async_http:
            yield {
                "client": AgentMemClient(http_client=http, max_retries=0),
                "async_client": AsyncAgentMemClient(http_client=async_http, max_retries=0),
            }


class Server:
    """A real server process on a file of its own."""

    def __init__(self, directory: Path, environment: Mapping[str, str] | None = None) -> None:
        self._environment = {**os.environ, **(environment or {})}
        self._database = directory / "memories.db"
        self._log = directory / "server.log"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "agentmem_server.cli", "serve", "--host", "127.0.0.1"]
        command += ["--port", str(self._port), "--database", f"sqlite:///{self._database}"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, env=self._environment, stdout=log, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + 60
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                pytest.fail(f"the server is not ready:\n{self._log.read_text()[-4_000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
        finally:
            self._process = None

    def restart(self) -> None:
        """End the process, and start another on the same file and port."""
        self.stop()
        self.start()

    def _ready(self) -> bool:
        url = f"{self.url}/health/ready"
        try:  # without reading the certificates: that would cost 20 ms each time
            return httpx.get(url, timeout=2, verify=False).status_code == 200
        except httpx.TransportError:
            return False


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
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
async def clients(server: Server) -> AsyncIterator[dict[str, Any]]:
    """The keyword arguments that connect an adapter to the real server."""
    with AgentMemClient(server.url) as client:
        async with AsyncAgentMemClient(server.url) as async_client:
            yield {"client": client, "async_client": async_client}


class Listening(BaseChatModel):
    """Keeps what it is given, and answers it; without a thread when async."""

    reply: Callable[[list[BaseMessage]], str | AIMessage]
    given: list[list[BaseMessage]] = Field(default_factory=list)

    @classmethod
    def saying(cls, *replies: str | AIMessage) -> Self:
        """A model that says these, one a call."""
        following = iter(replies)
        return cls(reply=lambda _: next(following))

    @property
    def system(self) -> str:
        """The text of the system message it was last given; empty where there was none."""
        return "".join(one.text for one in self.given[-1] if one.type == "system")

    @property
    def _llm_type(self) -> str:
        return "listening"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Self:
        return self

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        self.given.append(messages)
        reply = self.reply(messages)
        message = AIMessage(reply) if isinstance(reply, str) else reply
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def _agenerate(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> ChatResult:
        return self._generate(messages)


@pytest.fixture
def listening() -> type[Listening]:
    return Listening


@pytest.fixture
def ask(way: Way) -> Ask:
    """Says something to an agent; answers the messages of its state."""

    async def ask(
        agent: Any, said: str | list[Any], thread: str | None = None, **more: Any
    ) -> list[BaseMessage]:
        given = {"messages": [HumanMessage(said)] if isinstance(said, str) else said}
        more.setdefault("config", {"configurable": {"thread_id": thread} if thread else {}})
        if way == "sync":
            state = agent.invoke(given, **more)
        else:
            state = await agent.ainvoke(given, **more)
        messages: list[BaseMessage] = state["messages"]
        return messages

    return ask


class StoreCalls:
    """A LangGraph store, called through one of its halves."""

    def __init__(self, store: "AgentMemStore", way: Way) -> None:
        self.store = store
        self.way = way

    async def __call__(self, method: str, *args: Any, **kwargs: Any) -> Any:
        if self.way == "sync":
            return getattr(self.store, method)(*args, **kwargs)
        return await getattr(self.store, f"a{method}")(*args, **kwargs)


@pytest.fixture
def through(way: Way) -> Callable[["AgentMemStore"], StoreCalls]:
    """Calls a LangGraph store through the half that the test goes through."""
    return lambda store: StoreCalls(store, way)


@pytest.fixture
def make_store(
    clients: dict[str, Any], through: Callable[["AgentMemStore"], StoreCalls]
) -> Callable[..., StoreCalls]:
    """Makes stores on the real server, each with a collection of its own unless it is told."""
    from agentmem_langchain import AgentMemStore

    return lambda **options: through(
        AgentMemStore(**{"collection": new_id(), **clients, **options})
    )


@pytest.fixture
def store(make_store: Callable[..., StoreCalls]) -> StoreCalls:
    """A store with an empty collection, where the server embeds."""
    return make_store()
