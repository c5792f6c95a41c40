"""A real server sends its traces to a collector, and nothing in them of what memories say."""

import asyncio
import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

if TYPE_CHECKING:
    from tests.conftest import MakeServer


class Collector(ThreadingHTTPServer):
    """Keeps what is sent to it, as OTLP has it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Receiver)
        self.received: list[bytes] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Receiver(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:  # the base class's name
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.received.append(body)
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    service = Collector()
    thread = threading.Thread(target=service.serve_forever)
    thread.start()
    yield service
    service.shutdown()
    thread.join()
    service.server_close()


async def test_traces_go_where_opentelemetry_s_variables_say(
    make_server: "MakeServer", collector: Collector
) -> None:
    server = make_server(
        environment={"AGENTMEM_TRACING": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
    )
    await asyncio.to_thread(server.start)
    async with httpx.AsyncClient(base_url=server.url) as client:
        memory = {"id": "SecretId", "content": "SecretText", "user_id": "SecretUser"}
        assert (await client.post("/api/v1/memories", json=memory)).status_code == 201
        search = {"query": "SecretQuery", "filters": {"SecretKey": "SecretValue"}}
        assert (await client.post("/api/v1/memories/search", json=search)).status_code == 200
        assert (await client.get("/api/v1/memories/SecretId")).status_code == 200
    assert await asyncio.to_thread(server.stop) == 0  # what is left is sent before it ends
    assert not any(b"secret" in body.lower() for body in collector.received)
    names = set()
    for body in collector.received:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            attributes = {one.key: one.value.string_value for one in resource.resource.attributes}
            assert attributes["service.name"] == "agentmem"
            names |= {span.name for scope in resource.scope_spans for span in scope.spans}
    assert {
        "POST /api/v1/memories",
        "POST /api/v1/memories/search",
        "GET /api/v1/memories/{id}",
        "embed",
        "write",
        "store.search",
        "store.get",
    } <= names


async def test_a_collector_that_is_not_there_stops_nothing(make_server: "MakeServer") -> None:
    server = make_server(
        environment={
            "AGENTMEM_TRACING": "true",
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://user:SecretPassword@127.0.0.1:9",
            "OTEL_EXPORTER_OTLP_HEADERS": "authorization=SecretToken",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
            "AGENTMEM_LOG_LEVEL": "debug",
        }
    )
    await asyncio.to_thread(server.start)
    async with httpx.AsyncClient(base_url=server.url) as client:
        memory = {"content": "SecretText"}
        assert (await client.post("/api/v1/memories", json=memory)).status_code == 201
    assert await asyncio.to_thread(server.stop) == 0
    assert "Secret" not in server.log_text()
