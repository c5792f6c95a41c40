"""What a LangGraph store sends, and what it does when that fails, at the HTTP seam."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from agentmem_client import (
    AgentMemClient,
    AsyncAgentMemClient,
    ConnectionFailed,
    EmbedderMismatch,
    InvalidResponse,
    PayloadTooLarge,
    Unavailable,
)
from agentmem_client.models import MAX_BATCH, MAX_IDS
from agentmem_langchain import AgentMemStore
from agentmem_langchain.store import _batch
from langgraph.store.base import GetOp, ListNamespacesOp, PutOp, SearchOp

if TYPE_CHECKING:
    from conftest import StoreCalls

NAMESPACE = ("users", "ann")
NOW = datetime.now(UTC).isoformat()

WRITE = "POST /api/v1/memories/batch"
MAKE = "PUT /api/v1/collections/langgraph"
GET = "POST /api/v1/memories/get"
SEARCH = "POST /api/v1/memories/search"
LIST = "GET /api/v1/memories"
NAMESPACES = "GET /api/v1/namespaces"


Answer = tuple[int, str] | Exception
"""A status and a body, or what happens instead."""


@dataclass
class Seam:
    """An empty server that answers as it should, unless an answer is set for a call."""

    answers: dict[str, Answer] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        call = f"{request.method} {request.url.path}"
        body = json.loads(request.content) if request.content else dict(request.url.params)
        self.calls.append(call)
        self.bodies.append(body)
        answer = self.answers.get(call)
        if isinstance(answer, Exception):
            raise answer
        if answer is not None:
            return httpx.Response(answer[0], text=answer[1])
        return httpx.Response(200, json=self._answer(call, body))

    @staticmethod
    def _answer(call: str, body: Any) -> Any:
        match call:
            case "POST /api/v1/memories/batch":
                ids = [memory["id"] for memory in body["memories"]]
                return {"results": [{"id": id_, "status": "stored"} for id_ in ids]}
            case "PUT /api/v1/collections/langgraph":
                return {
                    "name": "langgraph",
                    "embedder": "server",
                    "dimension": 384,
                    "metric": "cosine",
                    "memories": 0,
                    "created_at": NOW,
                }
            case "POST /api/v1/memories/search":
                return {"hits": []}
            case "GET /api/v1/namespaces":
                return {"namespaces": []}
        return {"memories": []}


@pytest.fixture
def seam() -> Seam:
    return Seam()


@pytest.fixture
async def make_seam_store(
    seam: Seam, through: Callable[[AgentMemStore], StoreCalls]
) -> AsyncIterator[Callable[..., StoreCalls]]:
    transport = httpx.MockTransport(seam)
    with httpx.Client(transport=transport) as http:
        async with httpx.AsyncClient(transport=transport) as async_http:

            def make(**options: Any) -> StoreCalls:
                client = AgentMemClient(http_client=http, max_retries=0)
                async_client = AsyncAgentMemClient(http_client=async_http, max_retries=0)
                return through(AgentMemStore(client=client, async_client=async_client, **options))

            yield make


@pytest.fixture
def seam_store(make_seam_store: Callable[..., StoreCalls]) -> StoreCalls:
    return make_seam_store()


async def test_the_writes_of_a_batch_are_one_atomic_request(
    seam_store: StoreCalls, seam: Seam
) -> None:
    puts = [PutOp(NAMESPACE, str(number), {"n": number}) for number in range(100)]
    await seam_store("batch", [*puts, PutOp(NAMESPACE, "gone", None)])
    assert seam.calls == [MAKE, WRITE]
    body = seam.bodies[1]
    assert body["atomic"] is True
    assert len(body["memories"]) == 100
    assert body["replacing"] == {"ids": ['["users","ann","gone"]'], "collection": "langgraph"}


async def test_the_collection_is_made_once_and_by_a_write(
    seam_store: StoreCalls, seam: Seam
) -> None:
    await seam_store("get", NAMESPACE, "k")
    await seam_store("put", NAMESPACE, "k", {})
    await seam_store("delete", NAMESPACE, "k")
    assert seam.calls == [GET, MAKE, WRITE, WRITE]
    assert seam.bodies[1] == {"embedder": "server", "metric": "cosine"}
    assert seam.bodies[3] == {
        "memories": [],
        "atomic": True,
        "replacing": {"ids": ['["users","ann","k"]'], "collection": "langgraph"},
    }


async def test_a_collection_for_own_vectors(
    make_seam_store: Callable[..., StoreCalls], seam: Seam
) -> None:
    embed = lambda texts: [[1.0, 0.0]] * len(texts)  # noqa: E731  # as a user writes it
    store = make_seam_store(index={"dims": 2, "embed": embed, "fields": ["text"]})
    await store("put", NAMESPACE, "k", {"text": "chess"})
    await store("search", NAMESPACE, query="games")
    assert seam.bodies[0] == {"embedder": "client", "dimension": 2, "metric": "cosine"}
    (memory,) = seam.bodies[1]["memories"]
    assert memory["index_texts"] == ["chess"]
    assert len(memory["embeddings"]) == 1
    search = seam.bodies[2]
    assert (search["mode"], "query" in search, "embedding" in search) == ("dense", False, True)


async def test_gets_are_one_request_for_each_way_to_refresh(
    seam_store: StoreCalls, seam: Seam
) -> None:
    ops = [GetOp(NAMESPACE, str(number % 3)) for number in range(9)]
    await seam_store("batch", [*ops, GetOp(NAMESPACE, "0", refresh_ttl=False)])
    assert seam.calls == [GET, GET]
    assert [len(body["ids"]) for body in seam.bodies] == [3, 1]
    assert [body.get("refresh_ttl", False) for body in seam.bodies] == [True, False]


async def test_what_a_query_asks(seam_store: StoreCalls, seam: Seam) -> None:
    await seam_store("search", NAMESPACE, query="chess", filter={"n": 1}, limit=3, offset=2)
    assert seam.bodies == [
        {
            "query": "chess",
            "mode": "hybrid",
            "namespace": ["users", "ann"],
            "filters": {"n": {"$eq": 1}},
            "limit": 3,
            "offset": 2,
            "include_embeddings": False,
            "refresh_ttl": True,
            "collection": "langgraph",
        }
    ]


async def test_a_large_batch_takes_several_requests(seam_store: StoreCalls, seam: Seam) -> None:
    puts = [PutOp(NAMESPACE, str(number), {}) for number in range(MAX_BATCH + 2)]
    deletes = [PutOp(NAMESPACE, f"-{number}", None) for number in range(MAX_IDS + 1)]
    await seam_store("batch", [*puts, *deletes])
    assert seam.calls == [MAKE, WRITE, WRITE]
    sizes = [(len(body["memories"]), len(body["replacing"]["ids"])) for body in seam.bodies[1:]]
    assert sizes == [(MAX_BATCH, MAX_IDS), (2, 1)]


async def test_so_does_one_of_many_bytes(
    make_seam_store: Callable[..., StoreCalls], seam: Seam, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_batch, "MAX_REQUEST", 10_000)
    embed = lambda texts: [[1.0] * 100] * len(texts)  # noqa: E731  # as a user writes it
    for store in (make_seam_store(), make_seam_store(index={"dims": 100, "embed": embed})):
        seam.calls.clear()
        seam.bodies.clear()
        values = [{"text": '"' * 500}] * 10 + [{"text": "x" * 20_000}]
        ops = [PutOp(NAMESPACE, str(number), value) for number, value in enumerate(values)]
        await store("batch", ops)
        writes = [body for call, body in zip(seam.calls, seam.bodies, strict=True) if call == WRITE]
        assert len(writes) > 2
        assert [m["id"] for body in writes for m in body["memories"]] == [
            f'["users","ann","{number}"]' for number in range(11)
        ]
        assert all(len(json.dumps(body)) < 11_000 for body in writes[:-1])
        assert len(writes[-1]["memories"]) == 1  # what is too large goes alone


FAILURES: list[tuple[Answer, type[Exception]]] = [
    (httpx.ConnectError("refused"), ConnectionFailed),
    ((503, '{"error": {"code": "unavailable", "message": "no"}}'), Unavailable),
    ((200, "<html>"), InvalidResponse),
]
READS: list[tuple[str, Any, Any]] = [
    (GET, GetOp(NAMESPACE, "k"), None),
    (SEARCH, SearchOp(NAMESPACE, query="x"), []),
    (LIST, SearchOp(NAMESPACE), []),
    (NAMESPACES, ListNamespacesOp(), []),
]


@pytest.mark.parametrize(("failure", "error"), FAILURES)
@pytest.mark.parametrize(("call", "op", "result"), READS)
async def test_a_failed_read_is_raised_and_nothing_written(
    seam_store: StoreCalls,
    seam: Seam,
    call: str,
    op: Any,
    result: Any,
    failure: Answer,
    error: type[Exception],
) -> None:
    seam.answers[call] = failure
    ops = [PutOp(NAMESPACE, "new", {}), GetOp(NAMESPACE, "a"), op, SearchOp(NAMESPACE)]
    with pytest.raises(error):
        await seam_store("batch", ops)
    assert WRITE not in seam.calls
    seam.answers.clear()
    assert await seam_store("batch", ops) == [None, None, result, []]


@pytest.mark.parametrize(("failure", "error"), FAILURES)
async def test_a_failed_write_is_raised(
    seam_store: StoreCalls,
    seam: Seam,
    failure: Answer,
    error: type[Exception],
) -> None:
    seam.answers[WRITE] = failure
    with pytest.raises(error):
        await seam_store("put", NAMESPACE, "k", {})


async def test_after_a_failed_request_no_other_is_sent(seam_store: StoreCalls, seam: Seam) -> None:
    seam.answers[WRITE] = 413, '{"error": {"code": "payload_too_large", "message": "no"}}'
    with pytest.raises(PayloadTooLarge):
        await seam_store("batch", [PutOp(NAMESPACE, str(n), {}) for n in range(MAX_BATCH + 1)])
    assert seam.calls == [MAKE, WRITE]


async def test_a_collection_that_could_not_be_made_is_tried_again(
    seam_store: StoreCalls, seam: Seam
) -> None:
    seam.answers[MAKE] = httpx.ConnectError("refused")
    with pytest.raises(ConnectionFailed):
        await seam_store("put", NAMESPACE, "k", {})
    assert seam.calls == [MAKE]
    seam.answers.clear()
    await seam_store("put", NAMESPACE, "k", {})
    assert seam.calls == [MAKE, MAKE, WRITE]


async def test_an_item_that_the_server_refuses_fails_the_batch(
    seam_store: StoreCalls, seam: Seam
) -> None:
    error = {"code": "embedder_mismatch", "message": "no", "details": {}}
    results = [{"id": "k", "status": "failed", "error": error}]
    seam.answers[WRITE] = 200, json.dumps({"results": results})
    with pytest.raises(EmbedderMismatch):
        await seam_store("put", NAMESPACE, "k", {})


async def test_a_failing_embedder_writes_nothing(
    make_seam_store: Callable[..., StoreCalls], seam: Seam
) -> None:
    def embed(texts: Any) -> list[list[float]]:
        raise RuntimeError("no model today")

    store = make_seam_store(index={"dims": 2, "embed": embed})
    with pytest.raises(RuntimeError, match="no model today"):
        await store("put", NAMESPACE, "k", {"text": "chess"})
    with pytest.raises(RuntimeError, match="no model today"):
        await store("search", NAMESPACE, query="chess")
    assert seam.calls == []
    await store("put", NAMESPACE, "k", {"text": "chess"}, index=False)
    assert seam.calls == [MAKE, WRITE]


class Crowd:
    """Counts how many requests are under way, and lets each wait for the others."""

    def __init__(self) -> None:
        self.now = self.most = 0

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.now += 1
        self.most = max(self.most, self.now)
        for _ in range(100):
            await asyncio.sleep(0)
        self.now -= 1
        return Seam()(request)


async def test_reads_of_a_batch_are_done_side_by_side() -> None:
    crowd = Crowd()
    async with httpx.AsyncClient(transport=httpx.MockTransport(crowd)) as http:
        store = AgentMemStore(async_client=AsyncAgentMemClient(http_client=http))
        await store.abatch(
            [SearchOp(NAMESPACE), SearchOp(NAMESPACE, query="x"), GetOp(NAMESPACE, "k")]
        )
    assert crowd.most == 3


async def test_a_failed_read_leaves_no_other_behind() -> None:
    crowd = Crowd()

    async def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/get"):
            raise httpx.ConnectError("refused")
        return await crowd(request)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        client = AsyncAgentMemClient(http_client=http, max_retries=0)
        store = AgentMemStore(async_client=client)
        with pytest.raises(ConnectionFailed):
            await store.abatch([GetOp(NAMESPACE, "k"), SearchOp(NAMESPACE), SearchOp(NAMESPACE)])
    assert (crowd.now, crowd.most) == (0, 2)
