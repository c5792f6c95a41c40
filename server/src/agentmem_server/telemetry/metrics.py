"""What Prometheus asks for: one registry an application, and what is written into it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, get_args

from agentmem_client.models import JobStatus
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ..cache import Cache
from ..sharing import Kind, Sharing
from .job_metrics import JobCounts
from .watch import METHODS

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_LAG_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""With the 20 ms by which the event loop should never be late."""
_LLM_SECONDS = (0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120)
_SHARED_CACHES = get_args(Kind)
_TOGETHER = 64
"""Requests that are counted together: one after the other each takes a third of what it would
between all that is done for a request."""
_ITEMS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Metrics:
    """Counts and times of one application.

    No label holds what a caller chose: routes are patterns, and what is no method of the API is
    ``other``.

    Attributes:
        in_progress: requests that are being answered; whoever answers them counts.
        llm_pending: asked how many conversations wait for the LLM, where there is one.
    """

    def __init__(self, version: str) -> None:
        self.in_progress = 0
        self.llm_pending: Callable[[], int] = int
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        Info("agentmem_build", "The server.", registry=registry).info({"version": version})
        self._requests = Histogram(
            "agentmem_http_request_duration_seconds",
            "Requests answered, and the time from the head of a request to the end of its answer.",
            ["method", "route", "status"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._answered: list[tuple[str, str | None, int, float]] = []
        # What each series is kept in: `labels` would look for it in twice the time of `observe`.
        self._by_labels: dict[tuple[str, str | None, int], Histogram] = {}
        self._by_queue: dict[str, tuple[Histogram, Histogram]] = {}
        self._by_operation: dict[str, Histogram] = {}
        self.level(
            "agentmem_http_requests_in_progress",
            "Requests that are being answered, streams among them.",
            lambda: self.in_progress,
        )
        self._batch_size = Histogram(
            "agentmem_batch_size",
            "Items that were worked on together.",
            ["queue"],
            buckets=_ITEMS,
            registry=registry,
        )
        self._batch_seconds = Histogram(
            "agentmem_batch_duration_seconds",
            "The time that a batch took.",
            ["queue"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._store = Histogram(
            "agentmem_store_duration_seconds",
            "The time that an operation took on the store's thread.",
            ["operation"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._lag = Histogram(
            "agentmem_event_loop_lag_seconds",
            "How much later than due the event loop came to a task that sleeps.",
            buckets=_LAG_SECONDS,
            registry=registry,
        )
        self._llm_calls = Counter(
            "agentmem_llm_calls",
            "Calls of the LLM, repeated ones too, by what became of them.",
            ["outcome"],
            registry=registry,
        )
        self._llm_tokens = Counter(
            "agentmem_llm_tokens",
            "Tokens that the LLM's API counted.",
            ["direction"],
            registry=registry,
        )
        self._llm_seconds = Histogram(
            "agentmem_llm_seconds",
            "The time that a call of the LLM took.",
            buckets=_LLM_SECONDS,
            registry=registry,
        )
        self.level(
            "agentmem_llm_pending",
            "Conversations that wait for the LLM, or for their turn.",
            lambda: self.llm_pending(),
        )
        self._attempts = Counter(
            "agentmem_job_attempts",
            "What attempts at jobs came to on this server.",
            ["outcome"],
            registry=registry,
        )
        self._gathered: list[_Gathered | _Shared] = []
        self._job_counts: list[JobCounts] = []

    def request(self, method: str, route: str | None, status: int, seconds: float) -> None:
        """A request was answered; its route is a pattern, None where there is none for it."""
        self._answered.append((method, route, status, seconds))
        if len(self._answered) == _TOGETHER:
            self._count_requests()

    def _count_requests(self) -> None:
        for method, route, status, seconds in self._answered:
            known = method if method in METHODS else "other"
            key = (known, route, status)
            series = self._by_labels.get(key)
            if series is None:
                series = self._requests.labels(known, route or "none", status)
                self._by_labels[key] = series
            series.observe(seconds)
        self._answered.clear()

    def batch(self, queue: str, items: int, seconds: float) -> None:
        """A queue's batch was worked on."""
        series = self._by_queue.get(queue)
        if series is None:
            series = self._batch_size.labels(queue), self._batch_seconds.labels(queue)
            self._by_queue[queue] = series
        of_size, of_seconds = series
        of_size.observe(items)
        of_seconds.observe(seconds)

    def store(self, operation: str, seconds: float) -> None:
        """The store did something. Can be called from any thread."""
        series = self._by_operation.get(operation)
        if series is None:
            series = self._by_operation[operation] = self._store.labels(operation)
        series.observe(seconds)

    def llm(self, outcome: str, seconds: float, input_tokens: int, output_tokens: int) -> None:
        """The LLM was called."""
        self._llm_calls.labels(outcome).inc()
        self._llm_tokens.labels("input").inc(input_tokens)
        self._llm_tokens.labels("output").inc(output_tokens)
        self._llm_seconds.observe(seconds)

    def lag(self, seconds: float) -> None:
        """The event loop was late."""
        self._lag.observe(seconds)

    def job_attempt(self, outcome: str) -> None:
        """An attempt at a job has ended."""
        self._attempts.labels(outcome).inc()

    def watch_jobs(self, counts: Callable[[], Awaitable[Mapping[JobStatus, int]]]) -> None:
        """Ask for the number of jobs by their status, whenever somebody asks for it here."""
        watched = JobCounts(counts)
        self._job_counts.append(watched)
        self._registry.register(watched)

    def level(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        """Tell of a number that goes up and down; ``read`` is called from any thread."""
        Gauge(name, meaning, registry=self._registry).set_function(read)

    def gather(
        self,
        queues: Callable[[], Mapping[str, int]],
        caches: Mapping[str, Cache[Any]],
        sharing: Sharing | None = None,
    ) -> None:
        """Look at how full these are, and what is shared, whenever somebody asks."""
        for gathered in (_Gathered(queues, caches), _Shared(sharing)):
            self._gathered.append(gathered)
            self._registry.register(gathered)

    async def exposition(self) -> bytes:
        """All of it, in Prometheus' text format 0.0.4."""
        self._count_requests()
        for gathered in self._gathered:
            gathered.look()
        for watched in self._job_counts:
            await watched.look()
        # A few thousand lines: milliseconds that the event loop has better uses for.
        return await asyncio.to_thread(generate_latest, self._registry)


class _Gathered(Collector):
    """How full queues and caches are: they belong to the event loop's thread, `collect` doesn't."""

    def __init__(
        self, queues: Callable[[], Mapping[str, int]], caches: Mapping[str, Cache[Any]]
    ) -> None:
        self._queues = queues
        self._caches = caches
        self.look()

    def look(self) -> None:
        self._depths = dict(self._queues())
        self._cached = {
            name: (cache.hits, cache.misses, len(cache)) for name, cache in self._caches.items()
        }

    def collect(self) -> Iterator[Metric]:
        depth = GaugeMetricFamily(
            "agentmem_queue_depth", "Items accepted and not yet answered.", labels=["queue"]
        )
        hits = CounterMetricFamily(
            "agentmem_cache_hits", "What was there, or was being computed.", labels=["cache"]
        )
        misses = CounterMetricFamily(
            "agentmem_cache_misses", "What had to be computed.", labels=["cache"]
        )
        entries = GaugeMetricFamily("agentmem_cache_entries", "What is kept.", labels=["cache"])
        for queue, items in self._depths.items():
            depth.add_metric([queue], items)
        for cache, (hit, missed, kept) in self._cached.items():
            hits.add_metric([cache], hit)
            misses.add_metric([cache], missed)
            entries.add_metric([cache], kept)
        yield from (depth, hits, misses, entries)


class _Shared(Collector):
    """How sharing goes, likewise; where nothing is shared there are names and no numbers."""

    def __init__(self, sharing: Sharing | None) -> None:
        self._sharing = sharing
        self.look()

    def look(self) -> None:
        sharing = self._sharing
        self._is_up = None if sharing is None else sharing.is_up
        tallies = {} if sharing is None else sharing.tallies
        self._tallies = {name: replace(tally) for name, tally in tallies.items()}

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("agentmem_redis_up", "1 where Redis is there, 0 where it is away.")
        hits = CounterMetricFamily(
            "agentmem_shared_cache_hits", "What another server had made.", labels=["cache"]
        )
        misses = CounterMetricFamily(
            "agentmem_shared_cache_misses",
            "What was not in Redis, or Redis was away.",
            labels=["cache"],
        )
        failures = CounterMetricFamily(
            "agentmem_redis_failures",
            "What Redis didn't answer in time, or answered wrongly.",
            labels=["operation"],
        )
        if self._is_up is not None:
            up.add_metric([], self._is_up)
        for name, tally in self._tallies.items():
            if name in _SHARED_CACHES:
                hits.add_metric([name], tally.hits)
                misses.add_metric([name], tally.misses)
            failures.add_metric([name], tally.failures)
        yield from (up, hits, misses, failures)
