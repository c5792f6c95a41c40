"""What Prometheus asks of jobs: how many there are."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import get_args

from agentmem_client.errors import APIError
from agentmem_client.models import JobStatus
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class JobCounts(Collector):
    """How many jobs there are in the store; no number while it can't be asked.

    Args:
        counts: answers them by their status.
    """

    def __init__(self, counts: Callable[[], Awaitable[Mapping[JobStatus, int]]]) -> None:
        self._counts = counts
        self._found: Mapping[JobStatus, int] | None = None

    async def look(self) -> None:
        """Ask the store."""
        try:
            self._found = await self._counts()
        except APIError:  # /health says so; an old number would be taken for today's
            self._found = None

    def collect(self) -> Iterator[Metric]:
        """The gauge."""
        jobs = GaugeMetricFamily(
            "agentmem_jobs", "Jobs of all servers of the store.", labels=["status"]
        )
        if self._found is not None:
            for status in get_args(JobStatus):
                jobs.add_metric([status], self._found.get(status, 0))
        yield jobs
