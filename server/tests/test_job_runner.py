"""Jobs are done, whatever happens to an attempt, and none of them twice."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from agentmem_client import models as m
from agentmem_client.errors import (
    APIError,
    Conflict,
    EmbedderMismatch,
    ExtractionFailed,
    Forbidden,
    InvalidRequest,
    NotFound,
    Overloaded,
    RateLimited,
    Unavailable,
)
from agentmem_server import times
from agentmem_server.access.callers import Caller
from agentmem_server.batcher import Batcher
from agentmem_server.engine.job_runner import Pace, _Runner
from agentmem_server.engine.jobs import Jobs
from agentmem_server.storage import ClaimJobs, Erase, Outcome, Write
from agentmem_server.storage.sqlite import SqliteStore
from structlog.testing import capture_logs

TENANT = Caller("tenant")
QUICK = Pace(poll=0.01, lease=30.0, backoff=0.001, longest_backoff=0.01, stop=2.0)


def asked(id: str = "a", **fields: Any) -> m.ExtractRequest:
    return m.ExtractRequest(id=id, messages=[m.Message(content="I moved to Rome")], **fields)


class Work:
    """What is run: it notes who asks for what, and does as it is told."""

    def __init__(self) -> None:
        self.calls: list[tuple[Caller, m.ExtractRequest]] = []
        self.failures: list[BaseException] = []
        self.under_way = self.most = self.cancelled = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.begun = asyncio.Event()

    async def run(self, caller: Caller, request: m.ExtractRequest) -> m.Extraction:
        self.calls.append((caller, request))
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        self.begun.set()
        try:
            await self.gate.wait()
            if self.failures:
                raise self.failures.pop(0)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.under_way -= 1
        fact = m.Fact(status="stored", id="f", content="fact", type="semantic", message_ids=["0"])
        return m.Extraction(id=request.id, status="done", facts=[fact])


class Node:
    """The jobs of one server, and what became of its attempts."""

    def __init__(self, store: SqliteStore, max_attempts: int = 3) -> None:
        self.store = store
        self.away: APIError | None = None
        self.writes: Batcher[Write, Outcome] = Batcher(
            self._write, max_batch=100, max_pending=1_000
        )
        self.jobs = Jobs(store, self.writes, max_attempts)
        self.work = Work()
        self.outcomes: Counter[str] = Counter()

    async def _write(self, writes: Sequence[Write]) -> Sequence[Outcome | Exception]:
        if self.away is not None:
            return [self.away] * len(writes)
        return await self.store.write(writes)

    def running(self, pace: Pace = QUICK) -> AbstractAsyncContextManager[None]:
        return self.jobs.running(self.work.run, pace=pace, tell=lambda o: self.outcomes.update([o]))

    async def ended(self, id: str = "a") -> m.Job:
        return await self.until(lambda job: job.status in ("done", "failed"), id)

    async def until(self, holds: Callable[[m.Job], bool], id: str = "a") -> m.Job:
        async with asyncio.timeout(10):
            while not holds(job := await self.jobs.get(TENANT, id)):  # noqa: ASYNC110  # stored
                await asyncio.sleep(0.005)
        return job


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110  # nobody tells of it
            await asyncio.sleep(0.002)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = await SqliteStore.open(str(tmp_path / "memory.db"), readers=2)
    yield opened
    await opened.close()


@pytest.fixture
def node(store: SqliteStore) -> Node:
    return Node(store)


async def test_a_job_is_done_as_its_caller_asked(node: Node) -> None:
    at = times.to_datetime(times.now())
    message = m.Message(content="Hi", id="m", name="Ada", at=at)
    request = m.ExtractRequest(
        id="a",
        messages=[message],
        session_id="s",
        namespace=["x", "y"],
        metadata={"a": None, "b": [1.5, {"c": ""}]},
        instructions="look",
        background=True,
    )
    bound = Caller("tenant", "u")
    async with node.running():
        submitted = await node.jobs.submit(bound, request)
        job = await node.ended()
    assert (submitted.status, submitted.attempts, submitted.user_id) == ("queued", 0, "u")
    assert submitted.next_attempt_at == submitted.created_at
    assert node.work.calls == [(bound, request.model_copy(update={"background": False}))]
    assert (job.status, job.attempts, job.error, job.next_attempt_at) == ("done", 1, None, None)
    assert job.result is not None
    assert [fact.content for fact in job.result.facts] == ["fact"]
    assert node.outcomes == {"done": 1}


async def test_no_more_run_at_once_than_may(node: Node) -> None:
    node.work.gate.clear()
    async with node.running(Pace(at_once=3, poll=0.01)):
        for number in range(10):
            await node.jobs.submit(TENANT, asked(str(number)))
        await eventually(lambda: node.work.under_way == 3)
        await asyncio.sleep(0.05)
        assert dict(await node.store.job_counts()) == {"queued": 7, "running": 3}
        node.work.gate.set()
        for number in range(10):
            assert (await node.ended(str(number))).status == "done"
    assert node.work.most == 3
    assert [request.id for _, request in node.work.calls] == [str(n) for n in range(10)]


@pytest.mark.parametrize(
    "error",
    [
        Unavailable("x"),
        RateLimited("x"),
        ExtractionFailed("x", details={"reason": "malformed"}),
    ],
)
async def test_what_time_may_mend_is_tried_again(node: Node, error: APIError) -> None:
    node.work.failures = [error, error]
    async with node.running():
        await node.jobs.submit(TENANT, asked())
        job = await node.ended()
    assert (job.status, job.attempts, job.error) == ("done", 3, None)
    assert node.outcomes == {"retried": 2, "done": 1}


async def test_what_the_server_has_no_room_for_costs_no_try(node: Node) -> None:
    """The rate of calls is the server's own: a job that it keeps waiting is not to fail of it."""
    node.work.failures = [Unavailable("x"), *[Overloaded("the rate") for _ in range(5)]]
    async with node.running():
        await node.jobs.submit(TENANT, asked())
        job = await node.ended()
    assert (job.status, job.attempts, job.error) == ("done", 2, None)
    assert node.outcomes == {"retried": 6, "done": 1}


async def test_it_stops_after_so_many_tries_with_its_error_kept(node: Node) -> None:
    node.work.failures = [Unavailable(f"the LLM is away: {n}", details={"n": n}) for n in range(4)]
    async with node.running():
        await node.jobs.submit(TENANT, asked())
        job = await node.ended()
        assert (job.status, job.attempts, job.result) == ("failed", 3, None)
        assert job.error == m.ErrorBody(
            code="unavailable", message="the LLM is away: 2", details={"n": 2}
        )
        assert len(node.work.calls) == 3
        # It can be tried anew, with all tries.
        retried = await node.jobs.retry(TENANT, "a")
        assert (retried.status, retried.attempts) == ("queued", 0)
        job = await node.ended()
        assert (job.status, job.attempts) == ("done", 2)


@pytest.mark.parametrize(
    "error",
    [
        InvalidRequest("x"),
        EmbedderMismatch("x"),
        NotFound("x"),
        Forbidden("x"),
        Conflict("x"),
        ExtractionFailed("x", details={"reason": "cut_off"}),
        ExtractionFailed("x", details={"reason": "refused"}),
        ExtractionFailed("x", details={"reason": "rejected"}),
    ],
)
async def test_what_no_repetition_mends_fails_at_once(node: Node, error: APIError) -> None:
    node.work.failures = [error]
    async with node.running():
        await node.jobs.submit(TENANT, asked())
        job = await node.ended()
        assert (job.status, job.attempts) == ("failed", 1)
        await eventually(lambda: node.outcomes == {"failed": 1})
        assert job.error == m.ErrorBody(code=error.code, message="x", details=error.details)
        await node.jobs.retry(TENANT, "a")  # by hand: the reason may be gone
        assert (await node.ended()).status == "done"


@pytest.mark.parametrize("defect", [KeyError("somebody's secret"), asyncio.CancelledError()])
async def test_a_defect_is_a_failed_attempt_and_no_end(node: Node, defect: BaseException) -> None:
    node.work.failures = [defect, defect]
    with capture_logs() as logs:
        async with node.running():
            await node.jobs.submit(TENANT, asked())
            job = await node.until(lambda job: job.error is not None or job.status == "done")
            if job.error is not None:
                assert job.error.code == "internal_error"
            assert (await node.ended()).status == "done"
            await node.jobs.submit(TENANT, asked("b"))
            assert (await node.ended("b")).status == "done"
    told = [one for one in logs if one["event"] == "a job's attempt failed of a defect"]
    assert [type(one["exc_info"]) for one in told] == [type(defect)] * 2
    assert node.outcomes == {"retried": 2, "done": 2}


async def test_one_line_an_attempt_without_what_it_is_about(node: Node) -> None:
    node.work.failures = [Unavailable("somebody's secret")]
    with capture_logs() as logs:
        async with node.running():
            await node.jobs.submit(TENANT, asked("an id", user_id="somebody"))
            await node.ended("an id")
            await eventually(lambda: node.outcomes["done"] == 1)
    for one in logs:
        assert one.pop("seconds") >= 0
    same = {"event": "job attempted", "kind": "extract", "log_level": "info"}
    assert logs == [
        {**same, "attempt": 1, "outcome": "retried", "error": "unavailable"},
        {**same, "attempt": 2, "outcome": "done", "error": None},
    ]


async def test_the_next_try_waits_longer_each_time_and_as_long_as_is_asked(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = _Runner(node.store, node.writes, node.jobs._signals, node.work.run, Pace(), print)

    def drawn(_low: float, high: float) -> float:
        return high

    monkeypatch.setattr("random.uniform", drawn)
    waits = [runner._backoff(attempts, None) for attempts in (1, 2, 3, 4, 5, 1_000)]
    assert waits == [2, 8, 32, 128, 300, 300]
    assert runner._backoff(1, 60.0) == pytest.approx(66.0)
    assert runner._backoff(1, float("inf")) <= 4_000
    monkeypatch.setattr("random.uniform", lambda low, high: low)
    assert [runner._backoff(attempts, None) for attempts in (1, 2)] == [1, 4]
    assert runner._backoff(1, 60.0) == 60.0

    node.work.failures = [Unavailable("x", retry_after=100.0)]
    async with node.running():
        await node.jobs.submit(TENANT, asked())
        job = await node.until(lambda job: job.error is not None)
    assert job.next_attempt_at is not None
    assert (job.next_attempt_at - job.updated_at).total_seconds() >= 99


async def test_a_server_that_stops_gives_back_what_it_runs(node: Node, store: SqliteStore) -> None:
    node.work.gate.clear()
    async with node.running():
        for id in ("a", "b"):
            await node.jobs.submit(TENANT, asked(id))
        await eventually(lambda: node.work.under_way == 2)
    assert node.work.cancelled == 2
    assert node.outcomes == {"released": 2}
    for id in ("a", "b"):
        job = await node.jobs.get(TENANT, id)
        assert (job.status, job.attempts) == ("queued", 0)
    other = Node(store)
    async with other.running():
        assert (await other.ended()).attempts == (await other.ended("b")).attempts == 1


async def test_what_ends_in_spite_of_the_stop_counts(node: Node) -> None:
    async def run(_caller: Caller, request: m.ExtractRequest) -> m.Extraction:
        node.work.begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return m.Extraction(id=request.id, status="done")
        raise AssertionError("nobody stopped it")

    async with node.jobs.running(run, pace=QUICK):
        await node.jobs.submit(TENANT, asked())
        await node.work.begun.wait()
    assert (await node.jobs.get(TENANT, "a")).status == "done"


async def test_the_end_waits_for_no_work_that_does_not_heed_it(node: Node) -> None:
    let_go = asyncio.Event()

    async def run(_caller: Caller, request: m.ExtractRequest) -> m.Extraction:
        while not let_go.is_set():
            node.work.begun.set()
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                continue
        return m.Extraction(id=request.id, status="done")

    async with (
        asyncio.timeout(5),
        node.jobs.running(run, pace=Pace(poll=0.01, stop=0.05)),
    ):
        await node.jobs.submit(TENANT, asked())
        await node.work.begun.wait()
    assert (await node.jobs.get(TENANT, "a")).status == "running"
    let_go.set()
    await asyncio.sleep(0.01)


async def test_a_lease_is_renewed_for_as_long_as_it_takes(node: Node, store: SqliteStore) -> None:
    node.work.gate.clear()
    short = Pace(poll=0.01, lease=0.3)
    other = Node(store)
    async with node.running(short):
        await node.jobs.submit(TENANT, asked())
        await node.work.begun.wait()
        async with other.running(short):
            await asyncio.sleep(0.8)
            node.work.gate.set()
            assert (await node.ended()).attempts == 1
    assert other.work.calls == []
    assert node.outcomes == {"done": 1}


async def test_who_is_late_counts_for_nothing(node: Node, store: SqliteStore) -> None:
    node.work.gate.clear()
    other = Node(store)
    async with node.running(QUICK):
        await node.jobs.submit(TENANT, asked())
        await node.work.begun.wait()
        # As if its lease had ended while it could not be renewed.
        later = times.now() + times.from_seconds(QUICK.lease + 1)
        (taken,) = await other.writes.submit(ClaimJobs(later, later + 10**9, 10, b"lost"))
        assert taken.attempts == 2
        node.work.gate.set()
        await eventually(lambda: node.outcomes["gone"] == 1)
    job = await node.jobs.get(TENANT, "a")
    assert (job.status, job.attempts, job.result) == ("running", 2, None)


async def test_what_was_taken_over_is_stopped(node: Node, store: SqliteStore) -> None:
    node.work.gate.clear()
    other = Node(store)
    async with node.running(Pace(poll=0.01, lease=0.3)):
        await node.jobs.submit(TENANT, asked())
        await node.work.begun.wait()
        later = times.now() + 10**9
        await other.writes.submit(ClaimJobs(later, later + 10**9, 10, b"lost"))
        await eventually(lambda: node.outcomes["gone"] == 1)
    assert node.work.cancelled == 1


@pytest.mark.parametrize("way", ["deleted", "erased"])
async def test_a_job_that_is_gone_is_stopped_at_once(node: Node, way: str) -> None:
    node.work.gate.clear()
    async with node.running(QUICK):
        await node.jobs.submit(TENANT, asked(user_id="u"))
        await node.jobs.submit(TENANT, asked("other"))
        await eventually(lambda: node.work.under_way == 2)
        if way == "deleted":
            assert (await node.jobs.delete(TENANT, "a")).deleted == 1
        else:
            await node.writes.submit(Erase("tenant", "u", times.now()))
            node.jobs.look_for_deleted()
        await eventually(lambda: node.outcomes["gone"] == 1)
        assert node.work.under_way == 1
        node.work.gate.set()
        assert (await node.ended("other")).status == "done"
    with pytest.raises(NotFound):
        await node.jobs.get(TENANT, "a")


async def test_it_waits_while_the_store_is_away_and_goes_on(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unreadable() -> None:
        raise Unavailable("the database is away")

    with capture_logs() as logs:
        async with node.running(Pace(poll=0.01, lease=0.1)):
            node.work.gate.clear()
            await node.jobs.submit(TENANT, asked())
            await eventually(lambda: node.work.under_way == 1)
            await node.jobs.submit(TENANT, asked("b"))
            await eventually(lambda: node.work.under_way == 2)
            node.away = Unavailable("the database is away")
            node.work.gate.set()  # what comes of both can't be kept for some leases
            await asyncio.sleep(0.3)
            node.away = None
            assert (await node.ended()).attempts == (await node.ended("b")).attempts == 1
            with monkeypatch.context() as away:
                away.setattr(node.store, "next_job", unreadable)
                await node.jobs.submit(TENANT, asked("c"))
                await asyncio.sleep(0.05)
            assert (await node.ended("c")).status == "done"
    assert len(node.work.calls) == 3
    assert [one["event"] for one in logs if one["log_level"] == "warning"] == [
        "jobs can't be written",
        "jobs can't be read",
    ]


async def test_jobs_that_were_queued_before_are_done(node: Node) -> None:
    for number in range(3):
        await node.jobs.submit(TENANT, asked(str(number)))
    async with node.running():
        for number in range(3):
            assert (await node.ended(str(number))).status == "done"


async def test_an_idle_runner_only_looks_when_the_next_one_is_due(node: Node) -> None:
    looks = 0
    next_job = node.store.next_job

    async def counted() -> int | None:
        nonlocal looks
        looks += 1
        return await next_job()

    node.store.next_job = counted  # type: ignore[method-assign]  # to count
    async with node.running(Pace(poll=0.05)):
        await asyncio.sleep(0.5)
        assert 2 <= looks <= 12


async def test_servers_of_one_store_do_each_job_once(store: SqliteStore) -> None:
    nodes = [Node(store) for _ in range(3)]
    runs: list[Callable[[], AbstractAsyncContextManager[None]]] = [one.running for one in nodes]
    async with runs[0](), runs[1](), runs[2]():
        await asyncio.gather(*(nodes[n % 3].jobs.submit(TENANT, asked(str(n))) for n in range(60)))
        jobs = await asyncio.gather(*(nodes[0].ended(str(n)) for n in range(60)))
    assert {(job.status, job.attempts) for job in jobs} == {("done", 1)}
    done = [request.id for node in nodes for _, request in node.work.calls]
    assert sorted(done) == sorted(str(n) for n in range(60))
