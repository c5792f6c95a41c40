import base64
import contextlib
import json
import socket
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import numpy as np
import pytest
from agentmem_server.embedding import (
    Embedder,
    EmbedderMisconfigured,
    EmbedderUnavailable,
    open_embedder,
)

# A socket, not a fake of the HTTP library: which one that is depends on the version of openai.

Answer = Callable[[dict[str, Any]], Any]


class Service(ThreadingHTTPServer):
    """An embedding service on a port of its own, that answers what a test says."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/v1"
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.statuses: list[int] = []
        self.answer: Answer = embeddings


class Handler(BaseHTTPRequestHandler):
    server: Service
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        assert self.path == "/v1/embeddings"
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append(request)
        self.server.keys.append(self.headers["Authorization"])
        status = self.server.statuses.pop(0) if self.server.statuses else 200
        answer = self.server.answer(request) if status == 200 else {"error": {"message": "no!"}}
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Retry-After-Ms", "1")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def numbers(text: str) -> list[float]:
    return [float(len(text)), 1.0, 2.0]


def expected(*texts: str) -> Any:
    vectors = np.array([numbers(text) for text in texts], np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def embeddings(request: dict[str, Any]) -> dict[str, Any]:
    data = [
        {"object": "embedding", "index": index, "embedding": numbers(text)}
        for index, text in enumerate(request["input"])
    ]
    return {"object": "list", "model": "m", "data": data}


def change(edit: Callable[[list[Any]], Any]) -> Answer:
    """Embeddings, with an edit of their entries."""

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        body = embeddings(request)
        edit(body["data"])
        return body

    return answer


def encode(data: list[Any]) -> None:
    for entry in data:
        packed = np.array(entry["embedding"], "<f4").tobytes()
        entry["embedding"] = base64.b64encode(packed).decode()


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()
    thread = Thread(target=service.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield service
    service.shutdown()
    service.server_close()
    thread.join()


@contextlib.asynccontextmanager
async def opened(service: Service, dimension: int | None = 3) -> Any:
    embedder: Embedder = await open_embedder(
        "openai", base_url=service.url, api_key="secret", model="m", dimension=dimension
    )
    try:
        yield embedder
    finally:
        await embedder.close()


@pytest.mark.parametrize("answer", [embeddings, change(encode), change(list.reverse)])
async def test_vectors_come_in_order_and_at_length_one(service: Service, answer: Answer) -> None:
    service.answer = answer
    texts = ["a", "bbbb", "cc"]
    async with opened(service) as embedder:
        vectors = await embedder.embed(texts)
        assert (await embedder.embed([])).shape == (0, 3)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, expected(*texts), rtol=1e-6)
    assert [request["input"] for request in service.requests] == [texts]


async def test_the_model_the_key_and_the_dimension_are_sent(service: Service) -> None:
    async with opened(service) as embedder:
        await embedder.embed(["a"])
        assert (embedder.name, embedder.dimension) == ("m", 3)
    (request,) = service.requests
    assert (request["model"], request["dimensions"]) == ("m", 3)
    assert service.keys == ["Bearer secret"]


async def test_a_dimension_that_is_not_given_is_found_and_not_sent(service: Service) -> None:
    async with opened(service, dimension=None) as embedder:
        assert embedder.dimension == 3
        assert len(service.requests) == 1
        await embedder.embed(["a"])
    assert all("dimensions" not in request for request in service.requests)


async def test_many_texts_are_sent_in_batches(service: Service) -> None:
    texts = ["x" * length for length in range(300)]
    async with opened(service) as embedder:
        vectors = await embedder.embed(texts)
    np.testing.assert_allclose(vectors, expected(" ", *texts[1:]), rtol=1e-6)
    assert [len(request["input"]) for request in service.requests] == [128, 128, 44]


async def test_an_empty_text_is_sent_as_a_space(service: Service) -> None:
    async with opened(service) as embedder:
        await embedder.embed([""])
    assert service.requests[0]["input"] == [" "]


async def test_a_passing_failure_is_tried_again(service: Service) -> None:
    service.statuses = [500, 429]
    async with opened(service) as embedder:
        vectors = await embedder.embed(["a"])
    np.testing.assert_allclose(vectors, expected("a"), rtol=1e-6)


@pytest.mark.parametrize(
    ("status", "retryable"), [(400, False), (401, False), (404, False), (429, True), (503, True)]
)
async def test_a_refusal_says_whether_to_retry(
    service: Service, status: int, retryable: bool
) -> None:
    service.statuses = [status] * 3
    async with opened(service) as embedder:
        with pytest.raises(EmbedderUnavailable, match="refuses to embed") as caught:
            await embedder.embed(["a"])
    assert caught.value.retryable is retryable


@pytest.mark.parametrize(
    "answer",
    [
        lambda _: b"<html>It works!</html>",
        lambda _: [],
        lambda _: {"data": None},
        lambda _: {"data": []},
        change(list.pop),
        change(lambda data: data.append(data[0])),
        change(lambda data: data[0].pop("index")),
        change(lambda data: data[0].update(embedding=None)),
        change(lambda data: data[0].update(embedding="a")),
        change(lambda data: data[0].update(embedding=[1.0])),
        change(lambda data: data[0].update(embedding=[1.0, float("nan"), 1.0])),
        change(lambda data: [entry.update(embedding=1.0) for entry in data]),
        change(lambda data: [entry.update(embedding=[[1.0], [2.0], [3.0]]) for entry in data]),
        change(lambda data: [entry.update(embedding=[]) for entry in data]),
    ],
)
async def test_an_answer_without_embeddings_is_told(service: Service, answer: Answer) -> None:
    service.answer = answer
    async with opened(service) as embedder:
        with pytest.raises(EmbedderUnavailable, match="does not answer") as caught:
            await embedder.embed(["a", "b"])
    assert not caught.value.retryable


async def test_another_dimension_is_refused(service: Service) -> None:
    async with opened(service, dimension=2) as embedder:
        with pytest.raises(EmbedderUnavailable, match="3 dimensions, not 2"):
            await embedder.embed(["a"])


async def test_a_service_that_is_not_there_is_told_on_opening() -> None:
    gone = Service()
    gone.server_close()
    with pytest.raises(EmbedderUnavailable, match="can't be reached") as caught:
        async with opened(gone, dimension=None):
            pass
    assert caught.value.retryable


async def test_no_error_tells_what_else_is_in_the_url(service: Service) -> None:
    host = service.url.removeprefix("http://").removesuffix("/v1")
    url = f"http://ann:hush@{host}/v1"
    embedder = await open_embedder("openai", base_url=url, api_key="secret", model="m", dimension=4)
    messages = []
    service.answer = lambda _: b"{"
    for status in (200, 400):
        service.statuses = [status]
        with pytest.raises(EmbedderUnavailable) as refused:
            await embedder.embed(["a"])
        messages.append(str(refused.value))
    service.answer = embeddings  # of three numbers
    with pytest.raises(EmbedderUnavailable) as refused:
        await embedder.embed(["a"])
    await embedder.close()
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as unused:
        nobody = f"http://ann:hush@127.0.0.1:{unused.getsockname()[1]}/v1"
    with pytest.raises(EmbedderUnavailable) as unreachable:
        await open_embedder("openai", base_url=nobody, model="m")
    messages += [str(refused.value), str(unreachable.value)]
    assert all("127.0.0.1" in message for message in messages)
    assert [message for message in messages if "hush" in message or "ann" in message] == []


async def test_openais_key_is_not_sent_elsewhere(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "for-openai-alone")
    embedder = await open_embedder("openai", base_url=service.url, model="m")
    await embedder.close()
    assert service.keys == ["Bearer none"]


async def test_without_a_key_it_is_misconfigured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(EmbedderMisconfigured, match="OPENAI_API_KEY"):
        await open_embedder("openai", model="m", dimension=3)


async def test_without_a_model_it_is_misconfigured() -> None:
    with pytest.raises(EmbedderMisconfigured, match="name of a model"):
        await open_embedder("openai", api_key="secret")


async def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "agentmem_server.embedding.openai_compatible", raising=False)
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(EmbedderMisconfigured, match=r'pip install "agentmem-server\[openai\]"'):
        await open_embedder("openai", api_key="secret", model="m")
