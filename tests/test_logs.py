"""The log: a line of JSON for each request, and nothing in it of what memories say."""

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
import pytest
from agentmem_client import endpoints as e
from structlog.testing import capture_logs

if TYPE_CHECKING:
    from tests.conftest import MakeServer, Server

Json = dict[str, Any]


def lines(text: str) -> list[Json]:
    return [json.loads(line) for line in text.splitlines()]


class Markers:
    """Words that stand nowhere but in what was sent: none may be in the log."""

    def __init__(self) -> None:
        self.made: list[str] = []

    def __call__(self, what: str) -> str:
        self.made.append(f"Secret{len(self.made)}{what}")
        return self.made[-1]

    def check(self, log: str) -> None:
        assert len(self.made) > 10
        for marker in self.made:
            for form in (marker, marker.lower(), marker.upper(), quote(marker), marker[:-2]):
                assert form not in log, f"{marker} is in the log"


def every_field(mark: Markers, **fields: Any) -> Json:
    return {
        "id": mark("Id"),
        "content": mark("Content"),
        "collection": mark("Collection"),
        "metadata": {mark("Key"): mark("Value")},
        "user_id": mark("User"),
        "agent_id": mark("Agent"),
        "session_id": mark("Session"),
        "type": mark("Type"),
        **fields,
    }


def traced(mark: Markers) -> dict[str, str]:
    return {
        "traceparent": f"00-{mark('Trace')}-b7ad6b7169203331-01",
        "tracestate": f"vendor={mark('State')}",
        "baggage": f"user={mark('Baggage')}",
        "forwarded": f"for={mark('Forwarded')}",
    }


Call = tuple[str, str, Json]


def calls(mark: Markers) -> list[Call]:
    """Requests of every kind, answered well and refused, all of them full of markers."""
    memory = every_field(mark)
    path = f"{e.ADD_MEMORY.path}/{memory['id']}"
    query = {"collection": memory["collection"]}
    search = {"query": mark("Query"), **query, "user_id": memory["user_id"]}
    filters = {mark("Path"): {"$like": mark("Pattern")}}
    bad: list[Json] = [
        every_field(mark, content=7),
        every_field(mark, importance=mark("Number")),
        every_field(mark, event_at=mark("Time")),
        every_field(mark, embedding=mark("Vector")),
        every_field(mark, **{mark("Unknown"): mark("Field")}),
        every_field(mark, collection=memory["collection"], embedding=[1.0]),
        every_field(mark, id="\0" + mark("Nul")),
        every_field(mark, expires_at="9999-12-31T23:59:59-14:00"),
    ]
    made: list[Call] = [
        ("POST", e.ADD_MEMORY.path, {"json": memory}),
        ("POST", e.ADD_MEMORIES.path, {"json": {"memories": [memory, *bad, mark("Item")]}}),
        ("POST", e.ADD_MEMORIES.path, {"json": {"memories": [memory, *bad], "atomic": True}}),
        *(("POST", e.ADD_MEMORY.path, {"json": one}) for one in bad),
        ("POST", e.ADD_MEMORY.path, {"content": f'{{"content": "{mark("Cut")}'}),
        ("POST", e.ADD_MEMORY.path, {"content": mark("Plain")}),
        ("GET", path, {"params": query}),
        ("GET", f"{path}?{mark('Parameter')}={mark('Argument')}", {}),
        ("PATCH", path, {"params": query, "json": {"content": mark("Update")}}),
        ("PATCH", path, {"params": query, "json": {mark("Wrong"): 1}}),
        ("GET", f"{path}/{mark('Deeper')}", {}),
        ("GET", f"/{mark('Nowhere')}?{mark('Asked')}", {}),
        ("PUT", f"{e.ADD_MEMORY.path}?{mark('Method')}", {}),
        ("GET", f"{e.ADD_MEMORY.path}/{mark('Long') * 100}", {}),
        ("GET", f"{e.ADD_MEMORY.path}/{mark('Bytes')}%ff", {}),
        ("GET", e.LIST_MEMORIES.path, {"params": {**query, "filters": json.dumps(filters)}}),
        ("GET", e.LIST_MEMORIES.path, {"params": {"filters": mark("Filter")}}),
        ("GET", e.LIST_MEMORIES.path, {"params": {"cursor": mark("Cursor")}}),
        ("GET", e.LIST_MEMORIES.path, {"params": {"order": mark("Order")}}),
        ("POST", e.SEARCH_MEMORIES.path, {"json": search}),
        ("POST", e.SEARCH_MEMORIES.path, {"json": {**search, "mode": "sparse"}}),
        ("POST", e.SEARCH_MEMORIES.path, {"json": {**search, "filters": filters}}),
        ("POST", e.SEARCH_MEMORIES.path, {"json": {**search, "filters": {"$x": mark("X")}}}),
        ("POST", e.SEARCH_MEMORIES.path, {"json": {**search, "embedding": [1.0]}}),
        ("POST", e.GET_MEMORIES.path, {"json": {"ids": [mark("Missing")], **query}}),
        ("POST", e.DELETE_MEMORIES.path, {"json": {"ids": [mark("Gone")], **query}}),
        ("POST", e.DELETE_MEMORIES.path, {"json": {"filters": filters, **query}}),
        ("DELETE", path, {"params": query}),
        ("GET", f"/api/v1/collections/{memory['collection']}", {}),
        ("PUT", f"/api/v1/collections/{mark('Put')}", {"json": {"metric": mark("Metric")}}),
        ("DELETE", f"/api/v1/collections/{memory['collection']}", {}),
        ("GET", "/health", {"headers": {"user-agent": mark("Agent"), "cookie": mark("Cookie")}}),
        ("GET", "/health", {"headers": {"x-api-key": mark("Key"), "referer": mark("Referer")}}),
        ("GET", "/nope", {"headers": {"authorization": f"Bearer {mark('Token')}"}}),
        ("GET", "/nope", {"headers": {"x-request-id": f"not an id: {mark('RequestId')}"}}),
        ("GET", path, {"params": query, "headers": {"if-match": mark("Version")}}),
        ("DELETE", path, {"params": query, "headers": {"if-match": mark("OfDelete")}}),
        ("GET", "/metrics", {"params": {mark("OfMetrics"): "1"}}),
        ("GET", e.STATS.path, {"params": {"days": mark("Days")}}),
        ("GET", f"{path}/history", {"params": query}),
        ("GET", f"{path}/history", {"params": {"after": mark("After")}}),
        ("DELETE", f"/api/v1/users/{memory['user_id']}", {}),
        ("GET", e.LIST_MEMORIES.path, {"headers": traced(mark)}),
    ]
    return made


async def test_each_request_has_a_line_that_tells_nothing_of_it(
    make_server: "MakeServer",
) -> None:
    server = make_server(environment={"AGENTMEM_LOG_LEVEL": "debug"})
    await asyncio.to_thread(server.start)
    mark = Markers()
    answers: list[tuple[Call, httpx.Response]] = []
    async with httpx.AsyncClient(base_url=server.url) as client:
        for method, path, options in calls(mark):
            options.setdefault("headers", {}).setdefault("content-type", "application/json")
            answer = await client.request(method, path, **options)
            answers.append(((method, path, options), answer))
        await client.request(mark("Verb").upper(), "/nope")  # refused before it is a request
        metrics = await client.get("/metrics")
        assert metrics.status_code == 200
        mark.check(metrics.text)
    assert await asyncio.to_thread(server.stop) == 0
    log = server.log_text()
    mark.check(log)
    by_id = {line["request_id"]: line for line in lines(log) if line["event"] == "request"}
    patterns = {row.path for row in e.ENDPOINTS} | {"/metrics"}
    statuses = set()
    for (method, path, _), answer in answers:
        line = by_id[answer.headers["x-request-id"]]
        statuses.add(answer.status_code)
        assert line["status"] == answer.status_code
        assert line["ms"] >= 0
        assert line["route"] in patterns or answer.status_code == 404
        if line["route"] is not None and "{" not in line["route"]:
            assert line["route"] == path.partition("?")[0]
        assert line["method"] == method or answer.status_code == 405
        assert line.keys() >= {"level", "timestamp"}
    assert statuses >= {200, 201, 400, 404, 405, 422}
    assert "Traceback" not in log


FAILING = """
import asyncio, logging, sys
import httpx
from agentmem_server.app import open_app
from agentmem_server.telemetry.log import configure_logging
from agentmem_server.settings import Settings

class Broken:
    name, dimension = "broken", 3
    async def embed(self, texts):
        try:
            {inner}
        except ValueError as error:
            raise RuntimeError(f"can not embed {{texts!r}}") from error
    async def close(self):
        pass

async def main():
    configure_logging("debug")
    logging.getLogger("httpx").disabled = True  # this client's
    settings = Settings(database_url="sqlite:///" + sys.argv[1])
    async with open_app(settings, embedder=Broken()) as app:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as api:
            memory = {{"content": "SecretContent", "id": "SecretId", "user_id": "SecretUser"}}
            answers = [
                await api.post("/api/v1/memories", json=memory),
                await api.post("/api/v1/memories/batch", json={{"memories": [memory, memory]}}),
                await api.post("/api/v1/collections", json=memory),
            ]
            await api.put("/api/v1/collections/SecretName", json={{}})
            memory["collection"] = "SecretName"
            answers.append(await api.post("/api/v1/memories", json=memory))
            for answer in answers:
                print(answer.status_code, answer.headers.get("x-request-id"), answer.text)

asyncio.run(main())
"""


@pytest.mark.parametrize(
    "inner", ["raise ValueError(texts[0])", "texts[0].encode('ascii') + {}[0]"]
)
def test_a_failure_is_told_without_what_it_was_about(tmp_path: Path, inner: str) -> None:
    """A trace of where it failed, under the request id that the caller was answered."""
    script = FAILING.format(inner=inner)
    ended = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "a.db")],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    first, batch, refused, again = ended.stdout.splitlines()
    for answer in (first, again):
        status, request_id, body = answer.split(" ", 2)
        assert status == "500"
        assert json.loads(body)["request_id"] == request_id
        told = [line for line in lines(ended.stderr) if line.get("request_id") == request_id]
        assert [line["status"] for line in told if line["event"] == "request"] == [500]
        (failure,) = [line for line in told if line["event"] == "failed"]
        assert failure["level"] == "error"
        assert "embed" in failure["exception"]  # where it was
        assert "Secret" not in answer
    assert batch.startswith("200 ")
    assert refused.startswith("405 ")
    assert "Secret" not in ended.stderr


async def test_a_log_that_can_not_be_written_stops_nothing(make_server: "MakeServer") -> None:
    """A full disk, or a terminal that was closed."""
    server = make_server(
        wrapper=("sh", "-c", 'exec "$@" 2>/dev/full', "sh"),
        environment={"PYTHONUNBUFFERED": ""},  # that is off: what is buffered is flushed at the end
    )
    await asyncio.to_thread(server.start)
    async with httpx.AsyncClient(base_url=server.url) as client:
        for number in range(3):
            body = {"content": f"{number}", "id": f"{number}"}
            assert (await client.post("/api/v1/memories", json=body)).status_code == 201
        assert (await client.get("/nope")).status_code == 404
        assert (await client.get("/api/v1/memories")).json()["total"] == 3
    assert await asyncio.to_thread(server.stop) == 0


class Embeddings(BaseHTTPRequestHandler):
    """What the server asks for vectors, as OpenAI's API has it; of some texts it has none."""

    def do_POST(self) -> None:  # the base class's name
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        texts = asked["input"] if isinstance(asked["input"], list) else [asked["input"]]
        data = [
            {"index": index, "object": "embedding", "embedding": [1.0, 2.0]}
            for index in range(len(texts))
        ]
        refused = any("Refused" in text for text in texts)
        answer: Json = {"object": "list", "model": "m", "data": data, "usage": {}}
        if refused:
            answer = {
                "error": {"message": f"I can't bear {texts}", "type": "invalid_request_error"}
            }
        body = json.dumps(answer).encode()
        self.send_response(400 if refused else 200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def embeddings() -> Iterator[str]:
    """The URL of a service that makes vectors."""
    service = ThreadingHTTPServer(("127.0.0.1", 0), Embeddings)
    thread = threading.Thread(target=service.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{service.server_port}/v1"
    service.shutdown()
    thread.join()
    service.server_close()


async def test_what_is_sent_to_an_embedding_service_is_not_logged(
    make_server: "MakeServer", embeddings: str
) -> None:
    """Also not by the library that sends it, however much is logged."""
    settings = {"EMBEDDER": "openai", "EMBEDDER_URL": embeddings, "EMBEDDER_MODEL": "m"}
    settings |= {"EMBEDDER_KEY": "SecretKeyOfTheService", "LOG_LEVEL": "debug"}
    server = make_server(environment={f"AGENTMEM_{name}": it for name, it in settings.items()})
    await asyncio.to_thread(server.start)
    mark = Markers()
    mark.made += ["SecretKeyOfTheService", "SecretRefused"]
    memories = [every_field(mark, collection="c") for _ in range(3)]
    async with httpx.AsyncClient(base_url=server.url) as client:
        answer = await client.post(e.ADD_MEMORIES.path, json={"memories": memories})
        assert {result["status"] for result in answer.json()["results"]} == {"stored"}
        search = {"query": mark("Query"), "collection": "c"}
        assert (await client.post(e.SEARCH_MEMORIES.path, json=search)).status_code == 200
        answer = await client.post(e.ADD_MEMORY.path, json={"content": "SecretRefused"})
        assert answer.status_code >= 400
    assert await asyncio.to_thread(server.stop) == 0
    assert lines(server.log_text())
    mark.check(server.log_text())


async def test_health_probes_are_quiet(running_server: "Server") -> None:
    before = len(running_server.log_text())
    async with httpx.AsyncClient(base_url=running_server.url) as client:
        for path in ("/health", "/health/live", "/health/ready"):
            assert (await client.get(path)).status_code == 200
        assert (await client.get("/metrics")).status_code == 200
    told = lines(running_server.log_text()[before:])
    assert [line for line in told if line["event"] == "request"] == []


@pytest.mark.parametrize("tracing", ["false", "true"])
async def test_a_line_tells_which_key_it_was_and_nothing_that_opens(
    make_server: "MakeServer", tracing: str
) -> None:
    admin_key = "SecretOfTheOperator" * 2
    server = make_server(
        environment={
            "AGENTMEM_ADMIN_KEY": admin_key,
            "AGENTMEM_LOG_LEVEL": "debug",
            "AGENTMEM_TRACING": tracing,
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
        }
    )
    await asyncio.to_thread(server.start)
    async with httpx.AsyncClient(base_url=server.url) as client:

        async def list_with(headers: dict[str, str], status: int) -> str:
            answer = await client.get(e.LIST_MEMORIES.path, headers=headers)
            assert answer.status_code == status
            request_id: str = answer.headers["x-request-id"]
            return request_id

        wish = {"name": "SecretName", "tenant": "SecretTenant", "user_id": "SecretUser"}
        made = await client.post(e.CREATE_KEY.path, json=wish, headers={"x-api-key": admin_key})
        assert made.status_code == 201
        key, key_id = made.json()["key"], made.json()["id"]
        wrong = key[:-1] + ("0" if key[-1] != "0" else "1")
        expected = {
            await list_with({"x-api-key": key}, 200): key_id,
            await list_with({"authorization": f"Bearer {key}"}, 200): key_id,
            await list_with({"x-api-key": admin_key}, 200): "operator",
            await list_with({"x-api-key": wrong}, 401): None,
            await list_with({"x-api-key": "SecretGuess"}, 401): None,
            await list_with({"authorization": "Bearer SecretToken"}, 401): None,
            await list_with({"authorization": "Basic U2VjcmV0"}, 401): None,
            await list_with({}, 401): None,
        }
        metrics = await client.get("/metrics", headers={"x-api-key": admin_key})
        assert metrics.status_code == 200
    assert await asyncio.to_thread(server.stop) == 0
    log = server.log_text()
    by_id = {line["request_id"]: line for line in lines(log) if line["event"] == "request"}
    assert {request_id: by_id[request_id]["key"] for request_id in expected} == expected
    for secret in ("Secret", "U2VjcmV0", key, wrong, key.rpartition("_")[2][:32]):
        assert secret not in log
        assert secret not in metrics.text


async def test_a_method_of_the_caller_s_own_is_not_told(api: httpx.AsyncClient) -> None:
    with capture_logs() as logs:
        assert (await api.request("SECRET", "/health")).status_code == 405
    assert [line["method"] for line in logs if line["event"] == "request"] == ["other"]
