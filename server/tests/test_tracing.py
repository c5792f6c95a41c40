"""Spans of a request and what it waits for, in the caller's trace; none says what it was about."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import httpx
import numpy as np
import pytest
from agentmem_server.app import open_app
from agentmem_server.settings import Settings
from agentmem_server.telemetry.tracing import Tracing
from numpy.typing import NDArray
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
API = "/api/v1/memories"


class Embedder:
    """Every text has the same vector; fails where it is told to."""

    name, dimension = "same", 2
    failing = False

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if self.failing:
            raise RuntimeError(f"can't embed {texts}")
        return np.tile(np.array([1, 0], np.float32), (len(texts), 1))

    async def close(self) -> None:
        pass


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """What the application's spans are exported to."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr("agentmem_server.telemetry.tracing.open_tracing", lambda: Tracing(provider))
    return exporter


@pytest.fixture
def embedder() -> Embedder:
    return Embedder()


@pytest.fixture
async def api(
    tmp_path: Path, spans: InMemorySpanExporter, embedder: Embedder
) -> AsyncIterator[httpx.AsyncClient]:
    settings = Settings(database_url=f"sqlite:///{tmp_path / 'a.db'}", tracing=True)
    async with (
        open_app(settings, embedder=embedder) as app,
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app, raise_app_exceptions=False),
            base_url="http://localhost",
        ) as client,
    ):
        yield client


def server_spans(spans: InMemorySpanExporter) -> list[ReadableSpan]:
    return [span for span in spans.get_finished_spans() if span.kind is SpanKind.SERVER]


def children(spans: InMemorySpanExporter, parent: ReadableSpan) -> list[str]:
    assert parent.context is not None
    return [
        span.name
        for span in sorted(spans.get_finished_spans(), key=lambda one: one.start_time or 0)
        if span.parent is not None and span.parent.span_id == parent.context.span_id
    ]


async def test_a_request_is_a_span(api: httpx.AsyncClient, spans: InMemorySpanExporter) -> None:
    await api.post(API, json={"id": "a", "content": "x"}, headers={"X-Request-ID": "r1"})
    (span,) = server_spans(spans)
    assert span.name == f"POST {API}"
    assert dict(span.attributes or {}) == {
        "http.request.method": "POST",
        "http.route": API,
        "http.response.status_code": 201,
        "agentmem.request_id": "r1",
    }
    assert span.parent is None
    assert span.status.status_code is StatusCode.UNSET


async def test_what_a_request_waits_for_is_below_it(
    api: httpx.AsyncClient, spans: InMemorySpanExporter
) -> None:
    await api.post(API, json={"id": "a", "content": "x"})
    await api.post(f"{API}/batch", json={"memories": [{"content": "y"}, {"content": "z"}]})
    await api.post(f"{API}/search", json={"query": "q"})
    await api.post(f"{API}/search", json={"query": "q"})
    await api.get(f"{API}/a")
    add, batch, search, cached, get = server_spans(spans)
    assert [name for name in children(spans, add) if not _is_of_keys(name)] == ["embed", "write"]
    assert children(spans, batch) == ["embed_bulk", "write"]
    assert [name for name in children(spans, search) if name != "store.load_vectors"] == [
        "embed",
        "store.search",
    ]
    assert children(spans, cached) == []
    assert get.name == f"GET {API}/{{id}}"
    assert children(spans, get) == ["store.get"]
    for span in (add, batch, search, cached, get):
        assert span.parent is None


def _is_of_keys(name: str) -> bool:
    return name in ("store.key", "store.has_keys")


async def test_it_is_part_of_the_caller_s_trace(
    api: httpx.AsyncClient, spans: InMemorySpanExporter
) -> None:
    await api.get(f"{API}/a", headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
    (span,) = server_spans(spans)
    assert span.context is not None
    assert span.parent is not None
    assert f"{span.context.trace_id:032x}" == TRACE
    assert f"{span.parent.span_id:016x}" == PARENT
    assert span.parent.is_remote


@pytest.mark.parametrize("header", ["", "00-zz-zz-01", "\x80" * 100, f"00-{'0' * 32}-{PARENT}-01"])
async def test_a_traceparent_that_is_none(
    api: httpx.AsyncClient, spans: InMemorySpanExporter, header: str
) -> None:
    headers = {b"traceparent": header.encode("latin-1")}
    assert (await api.get("/health/live", headers=headers)).status_code == 200
    (span,) = server_spans(spans)
    assert span.parent is None


async def test_callers_that_come_together_have_their_own_traces(
    api: httpx.AsyncClient, spans: InMemorySpanExporter
) -> None:
    await asyncio.gather(
        *(api.post(API, json={"id": f"{number}", "content": f"{number}"}) for number in range(20))
    )
    adds = server_spans(spans)
    assert len(adds) == 20
    assert len({span.context.trace_id for span in adds if span.context is not None}) == 20
    for span in adds:
        assert [name for name in children(spans, span) if not _is_of_keys(name)] == [
            "embed",
            "write",
        ]


async def test_what_fails_is_marked_without_its_text(
    api: httpx.AsyncClient, spans: InMemorySpanExporter, embedder: Embedder
) -> None:
    embedder.failing = True
    assert (await api.post(API, json={"content": "Secret"})).status_code == 500
    (span,) = server_spans(spans)
    assert span.status.status_code is StatusCode.ERROR
    assert (span.attributes or {})["error.type"] == "500"
    assert "Secret" not in told(spans)


async def test_a_refused_request_is_no_error_of_the_server(
    api: httpx.AsyncClient, spans: InMemorySpanExporter
) -> None:
    assert (await api.get(f"{API}/none")).status_code == 404
    assert (await api.get("/SecretPath")).status_code == 404
    refused, unrouted = server_spans(spans)
    assert (refused.attributes or {})["http.response.status_code"] == 404
    assert refused.status.status_code is StatusCode.UNSET
    assert unrouted.name == "GET"
    assert "http.route" not in (unrouted.attributes or {})


async def test_no_span_says_what_it_was_about(
    api: httpx.AsyncClient, spans: InMemorySpanExporter, embedder: Embedder
) -> None:
    body = {"id": "SecretId", "content": "SecretText", "user_id": "SecretUser"}
    headers = {"X-API-Key": "SecretKey", "X-Request-ID": "Secret is no id", "Cookie": "Secret"}
    await api.post(API, json=body | {"metadata": {"SecretPath": "SecretValue"}}, headers=headers)
    await api.get(f"{API}/SecretId?SecretQuery=1", headers=headers)
    await api.get(API, params={"filters": '{"SecretPath": "SecretValue"}'}, headers=headers)
    await api.post(f"{API}/search", json={"query": "SecretQuery", "user_id": "SecretUser"})
    await api.request("SECRETMETHOD", "/SecretPath", headers={"baggage": "user=Secret"})
    embedder.failing = True
    await api.post(f"{API}/search", json={"query": "SecretTerm"})
    assert len(server_spans(spans)) == 6
    assert "secret" not in told(spans).lower()


def told(spans: InMemorySpanExporter) -> str:
    return "\n".join(span.to_json() for span in spans.get_finished_spans())


def test_without_the_extra_it_says_what_to_install(tmp_path: Path) -> None:
    script = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "from agentmem_server.cli import main\n"
        f"sys.exit(main(['serve', '--port', '0', '--database', 'sqlite:///{tmp_path}/a.db']))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"AGENTMEM_TRACING": "true", "PYTHONPATH": ":".join(sys.path)},
    )
    assert ended.returncode == 1
    assert 'pip install "agentmem-server[otel]"' in ended.stderr
    assert "Traceback" not in ended.stderr


def test_without_tracing_opentelemetry_is_not_even_imported(tmp_path: Path) -> None:
    script = (
        "import asyncio, sys\n"
        "from agentmem_server.app import open_app\n"
        "from agentmem_server.settings import Settings\n"
        "async def main():\n"
        f"    async with open_app(Settings(database_url='sqlite:///{tmp_path}/a.db')):\n"
        "        print([name for name in sys.modules if name.startswith('opentelemetry')])\n"
        "asyncio.run(main())"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert ended.stdout == "[]\n"
