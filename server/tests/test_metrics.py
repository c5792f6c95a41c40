"""What the parts tell whoever watches, and what the metrics make of it."""

import asyncio
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from agentmem_client import models as m
from agentmem_client.errors import Unavailable
from agentmem_server.access.callers import Caller
from agentmem_server.batcher import Batcher
from agentmem_server.engine.engine import Engine
from agentmem_server.storage import open_store
from agentmem_server.telemetry import loop_lag
from agentmem_server.telemetry.loop_lag import watching_lag
from agentmem_server.telemetry.metrics import Metrics
from agentmem_server.telemetry.watch import Watch
from numpy.typing import NDArray
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

TENANT = Caller("t")
QUEUES = ("write", "embed", "embed_bulk")

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def samples(metrics: Metrics) -> Samples:
    text = (await metrics.exposition()).decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(found: Samples, name: str, **labels: str) -> float:
    return found[f"agentmem_{name}", frozenset(labels.items())]


async def test_a_request_counts_by_the_pattern_of_its_route() -> None:
    metrics = Metrics("1")
    metrics.request("GET", "/memories/{id}", 200, 0.004)
    metrics.request("GET", "/memories/{id}", 200, 0.006)
    metrics.request("GET", "/memories/{id}", 404, 0.001)
    metrics.request("GET", None, 404, 0.001)
    found = await samples(metrics)
    labels = {"method": "GET", "route": "/memories/{id}", "status": "200"}
    duration = "http_request_duration_seconds"
    assert value(found, f"{duration}_count", **labels) == 2
    assert value(found, f"{duration}_sum", **labels) == pytest.approx(0.01)
    assert value(found, f"{duration}_bucket", **labels, le="0.005") == 1
    assert value(found, f"{duration}_bucket", **labels, le="0.01") == 2
    assert value(found, f"{duration}_count", **{**labels, "status": "404"}) == 1
    assert value(found, f"{duration}_count", method="GET", route="none", status="404") == 1


async def test_a_call_of_the_llm_counts_by_what_became_of_it() -> None:
    metrics = Metrics("1")
    assert value(await samples(metrics), "llm_pending") == 0
    metrics.llm_pending = lambda: 3
    metrics.llm("answered", 1.5, 100, 20)
    metrics.llm("malformed", 0.5, 100, 5)
    metrics.llm("answered", 1.0, 50, 0)
    found = await samples(metrics)
    assert value(found, "llm_calls_total", outcome="answered") == 2
    assert value(found, "llm_calls_total", outcome="malformed") == 1
    assert value(found, "llm_tokens_total", direction="input") == 250
    assert value(found, "llm_tokens_total", direction="output") == 25
    assert value(found, "llm_seconds_count") == 3
    assert value(found, "llm_seconds_sum") == 3
    assert value(found, "llm_pending") == 3


async def test_methods_of_a_caller_s_own_are_one_series() -> None:
    metrics = Metrics("1")
    for number in range(50):
        metrics.request(f"SECRET{number}", None, 405, 0.001)
    found = await samples(metrics)
    assert (
        value(
            found,
            "http_request_duration_seconds_count",
            method="other",
            route="none",
            status="405",
        )
        == 50
    )
    assert "SECRET" not in str(found)


async def test_each_application_has_metrics_of_its_own() -> None:
    first, second = Metrics("1"), Metrics("2")
    first.lag(0.5)
    assert value(await samples(first), "event_loop_lag_seconds_count") == 1
    assert value(await samples(second), "event_loop_lag_seconds_count") == 0
    assert value(await samples(second), "build_info", version="2") == 1


async def test_the_process_is_told_of() -> None:
    names = {name for name, _ in await samples(Metrics("1"))}
    assert {"process_cpu_seconds_total", "process_open_fds", "python_info"} <= names
    assert "python_gc_collections_total" in names


async def test_a_batcher_tells_of_its_batches() -> None:
    told: list[tuple[str, int, float]] = []
    gate = asyncio.Event()

    async def run(items: list[int]) -> Sequence[int | Exception]:
        await gate.wait()
        return items

    watch = Watch(batch=lambda *what: told.append(what))
    queue = Batcher(run, max_batch=3, max_pending=9, name="numbers", watch=watch)
    waiting = [asyncio.create_task(queue.submit(number)) for number in range(5)]
    await asyncio.sleep(0.01)
    gate.set()
    await asyncio.gather(*waiting)
    assert [(name, size) for name, size, _ in told] == [("numbers", 3), ("numbers", 2)]
    assert told[0][2] > 0


async def test_a_batch_that_fails_is_told_of_too() -> None:
    told: list[int] = []

    async def run(_: list[int]) -> Sequence[int | Exception]:
        raise ValueError

    watch = Watch(batch=lambda _name, size, _seconds: told.append(size))
    queue = Batcher(run, max_batch=3, max_pending=9, watch=watch)
    assert all(isinstance(one, ValueError) for one in await queue.submit_many([1, 2]))
    assert told == [2]


class Embedder:
    """Every text has the same vector."""

    name, dimension = "same", 2

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.tile(np.array([1, 0], np.float32), (len(texts), 1))

    async def close(self) -> None:
        pass


async def test_a_store_tells_of_each_operation_on_its_threads(tmp_path: Path) -> None:
    told: list[tuple[str, str]] = []

    def hear(operation: str, seconds: float) -> None:
        assert seconds > 0
        told.append((operation, threading.current_thread().name.partition("_")[0]))

    url = f"sqlite:///{tmp_path / 'a.db'}"
    store = await open_store(url, readers=1, watch=Watch(store=hear))
    engine = Engine(store, Embedder())
    await engine.add(TENANT, m.MemoryInput(id="a", content="a cat"))
    await engine.get(TENANT, "a", m.GetQuery())
    await engine.page(TENANT, m.ListQuery())
    await engine.search(TENANT, m.SearchRequest(query="cat"))
    await engine.close()
    await store.close()
    written, read = "agentmem-write", "agentmem-read"
    assert told[0] == ("write", written)
    assert told[1:] == [("get", read), ("page", read), ("search", read)] or told[1:] == [
        ("get", read),
        ("page", read),
        ("load_vectors", read),
        ("end_loading", written),
        ("search", read),
    ]


async def test_what_an_engine_holds_is_looked_at_when_it_is_asked_for(tmp_path: Path) -> None:
    metrics = Metrics("1")
    watch = Watch(metrics.batch, metrics.store)
    store = await open_store(f"sqlite:///{tmp_path / 'a.db'}", readers=1, watch=watch)
    engine = Engine(store, Embedder(), watch=watch)
    metrics.gather(lambda: engine.pending, engine.caches)
    before = await samples(metrics)
    assert value(before, "cache_misses_total", cache="result") == 0
    assert {queue: value(before, "queue_depth", queue=queue) for queue in QUEUES} == dict.fromkeys(
        QUEUES, 0
    )
    await engine.add_many(TENANT, [m.MemoryInput(content=f"{number}") for number in range(3)])
    for _ in range(3):
        await engine.search(TENANT, m.SearchRequest(query="cat"))
    after = await samples(metrics)
    assert value(after, "cache_misses_total", cache="result") == 1
    assert value(after, "cache_hits_total", cache="result") == 2
    assert value(after, "cache_entries", cache="result") == 1
    assert value(after, "cache_misses_total", cache="embedding") == 4
    assert value(after, "cache_entries", cache="embedding") == 4
    assert value(after, "batch_size_sum", queue="write") == 3
    assert value(after, "batch_size_sum", queue="embed_bulk") == 3
    assert value(after, "batch_size_sum", queue="embed") == 1
    assert value(after, "store_duration_seconds_count", operation="search") == 1
    await engine.close()
    await store.close()


async def test_what_waits_in_a_queue_is_told() -> None:
    gate = asyncio.Event()

    async def run(items: list[int]) -> Sequence[int | Exception]:
        await gate.wait()
        return items

    metrics = Metrics("1")
    queue = Batcher(run, max_batch=1, max_pending=9)
    metrics.gather(lambda: {"write": queue.pending}, {})
    waiting = [asyncio.create_task(queue.submit(number)) for number in range(5)]
    await asyncio.sleep(0.01)
    assert value(await samples(metrics), "queue_depth", queue="write") == 5
    gate.set()
    await asyncio.gather(*waiting)
    assert value(await samples(metrics), "queue_depth", queue="write") == 0


async def test_an_event_loop_that_is_blocked_shows_and_is_warned_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loop_lag, "INTERVAL", 0.01)
    monkeypatch.setattr(loop_lag, "LONG", 0.1)
    lags: list[float] = []
    with capture_logs() as logs:
        async with watching_lag(lags.append):
            await asyncio.sleep(0.05)
            time.sleep(0.3)  # noqa: ASYNC251 - this is what it is about
            await asyncio.sleep(0.05)
    assert len(lags) > 2
    assert max(lags) > 0.1
    assert all(lag >= 0 for lag in lags)
    warned = [line for line in logs if line["event"] == "the event loop was blocked"]
    assert max(line["ms"] for line in warned) > 100
    assert {line["log_level"] for line in warned} == {"warning"}


async def test_an_event_loop_that_is_not_blocked_is_not_warned_of() -> None:
    with capture_logs() as logs:
        async with watching_lag(lambda _: None):
            await asyncio.sleep(0.3)
    assert logs == []


async def test_jobs_are_counted_and_so_is_what_attempts_came_to() -> None:
    metrics = Metrics("1")
    away = False

    async def counts() -> dict[m.JobStatus, int]:
        if away:
            raise Unavailable("the database is away")
        return {"queued": 3}

    metrics.watch_jobs(counts)
    metrics.job_attempt("done")
    metrics.job_attempt("done")
    metrics.job_attempt("retried")
    found = await samples(metrics)
    assert value(found, "jobs", status="queued") == 3
    assert value(found, "jobs", status="failed") == 0
    assert value(found, "job_attempts_total", outcome="done") == 2
    assert value(found, "job_attempts_total", outcome="retried") == 1
    away = True
    found = await samples(metrics)
    assert not [name for name, _ in found if name == "agentmem_jobs"]
    assert value(found, "job_attempts_total", outcome="done") == 2
