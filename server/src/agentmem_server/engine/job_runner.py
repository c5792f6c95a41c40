"""Runs jobs: those of all callers, beside the other servers of the same store.

A job that is taken up is this server's until its lease ends, which is renewed while it runs. So one
whose server dies is taken over, and one that is deleted is noticed. What an attempt comes to counts
only while it is the job's last one: nothing is done twice over, whoever is late.
"""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Literal, TypeAlias

import structlog
from agentmem_client import models as m
from agentmem_client.errors import APIError, InternalError, Overloaded, Unavailable

from .. import times
from ..access.callers import Caller
from ..batcher import Batcher
from ..storage import ClaimJobs, FinishJob, Job, Outcome, RenewJobs, Store, Write
from .outcomes import failure
from .repeating import may_pass

Run: TypeAlias = Callable[[Caller, m.ExtractRequest], Awaitable[m.Extraction]]
"""Does a job. What it stores is the same however often it does it."""

AttemptOutcome: TypeAlias = Literal["done", "retried", "failed", "released", "gone"]
"""What became of an attempt. ``released``: the server stopped. ``gone``: the job was deleted, or
another server has taken it over."""

_log = structlog.get_logger()

_GROWTH = 4.0
"""How many times as long each wait is as the one before: five tries outlast two minutes."""
_LONGEST_RETRY_AFTER = 3_600.0


@dataclass(frozen=True, slots=True)
class Pace:
    """How jobs are run; times are in seconds.

    Attributes:
        at_once: how many at the same time.
        poll: how often to look for what other servers took in, or left behind.
        lease: after which a job of a server that died is taken over.
        backoff: before the second try; each later one waits longer, up to ``longest_backoff``.
        stop: how long the end may take.
    """

    at_once: int = 10
    poll: float = 1.0
    lease: float = 60.0
    backoff: float = 2.0
    longest_backoff: float = 300.0
    stop: float = 5.0


@dataclass(frozen=True, slots=True)
class Signals:
    """What the runner is told.

    Attributes:
        due: there may be something to take up.
        gone: some of what runs may have been deleted.
    """

    due: asyncio.Event = field(default_factory=asyncio.Event)
    gone: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True)
class _Attempt:
    """A job that runs here: its work, and who waits for the end of that."""

    job: Job
    work: asyncio.Task[m.Extraction]
    lease_until: int
    watch: asyncio.Task[None] | None = None
    is_gone: bool = False


@asynccontextmanager
async def running_jobs(
    store: Store,
    writes: Batcher[Write, Outcome],
    signals: Signals,
    run: Run,
    *,
    pace: Pace | None = None,
    tell: Callable[[AttemptOutcome], None] = lambda _outcome: None,
) -> AsyncIterator[None]:
    """Run jobs until the context ends; those under way are given back then.

    Args:
        store: where they are.
        writes: the queue that all writes to the store go through.
        signals: when to look, rather than now and then.
        run: does the work of one.
        pace: how.
        tell: is called with what became of each attempt.
    """
    runner = _Runner(store, writes, signals, run, pace or Pace(), tell)
    loops = [
        asyncio.create_task(_told(runner.take_up())),
        asyncio.create_task(_told(runner.hold())),
    ]
    try:
        yield
    finally:
        await runner.stop(*loops)


async def _told(loop: Awaitable[None]) -> None:
    try:
        await loop
    except Exception:  # a defect of ours: told now, and raised when the context ends
        _log.exception("the runner of jobs ended")
        raise


class _Runner:
    def __init__(
        self,
        store: Store,
        writes: Batcher[Write, Outcome],
        signals: Signals,
        run: Run,
        pace: Pace,
        tell: Callable[[AttemptOutcome], None],
    ) -> None:
        self._store = store
        self._writes = writes
        self._signals = signals
        self._run = run
        self._pace = pace
        self._tell = tell
        self._running: dict[int, _Attempt] = {}
        self._is_stopping = False
        self._failing: set[str] = set()
        """What could not be done the last time: said once, until it can be."""

    async def take_up(self) -> None:
        """Take up what is due, whenever there is room, until the end."""
        while not self._is_stopping:
            self._signals.due.clear()
            try:
                wait = await self._take_due()
            except APIError:  # it was told; the store is away, and comes back
                wait = self._pace.poll
            if wait:
                await _until(self._signals.due, wait)

    async def hold(self) -> None:
        """Renew the leases of what runs, and stop what was deleted or taken over."""
        wait = self._pace.lease / 3
        while True:
            await _until(self._signals.gone, wait)
            self._signals.gone.clear()
            wait = self._pace.lease / 3
            try:
                await self._renew()
            except APIError:
                wait = min(wait, self._pace.poll)

    async def stop(self, taking: asyncio.Task[None], holding: asyncio.Task[None]) -> None:
        """Take up nothing more, and give back what runs."""
        self._is_stopping = True
        self._signals.due.set()
        # Not cancelled in the midst: what it has just taken up would be nobody's.
        await asyncio.wait([taking], timeout=self._pace.stop)
        taking.cancel()
        for attempt in self._running.values():
            attempt.work.cancel()
        watches = [one.watch for one in self._running.values() if one.watch is not None]
        if watches:
            await asyncio.wait(watches, timeout=self._pace.stop)
        holding.cancel()
        for task in (*watches, taking, holding):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _take_due(self) -> float:
        """Take up what is due; answers how long to wait before looking again."""
        room = self._pace.at_once - len(self._running)
        if room <= 0:
            return self._pace.lease  # or until one has ended
        with self._telling("read"):
            due = await self._store.next_job()
        now = times.now()
        if due is None or due > now:
            return self._pace.poll if due is None else min(self._pace.poll, (due - now) / 1e6)
        if any(attempt.lease_until <= now for attempt in self._running.values()):
            await self._renew()  # they could not be for long, and are not to be taken up as due
        claimed: list[Job] = await self._write(ClaimJobs(now, self._lease(), room, _LOST))
        for job in claimed:
            self._begin(job)
        return 0.0 if claimed else self._pace.poll

    async def _renew(self) -> None:
        held = list(self._running.values())
        if not held:
            return
        lease_until = self._lease()
        named = [(attempt.job.seq, attempt.job.attempts) for attempt in held]
        kept: list[int] = await self._write(RenewJobs(named, lease_until))
        for attempt in held:
            if attempt.job.seq in kept:
                attempt.lease_until = lease_until
            else:
                attempt.is_gone = True
                attempt.work.cancel()

    def _begin(self, job: Job) -> None:
        work = asyncio.create_task(self._work(job))
        attempt = _Attempt(job, work, job.lease_until or 0)
        self._running[job.seq] = attempt
        attempt.watch = asyncio.create_task(_told(self._attend(attempt)))

    async def _work(self, job: Job) -> m.Extraction:
        request = m.ExtractRequest.model_validate_json(job.request or b"")
        return await self._run(Caller(job.tenant, job.caller), request)

    async def _attend(self, attempt: _Attempt) -> None:
        """Wait for the end of an attempt, and keep what came of it."""
        started = time.perf_counter()
        try:
            await asyncio.wait([attempt.work])
            outcome, finish, code = self._judged(attempt)
            if finish is not None and not await self._finish(finish):
                outcome = "gone"
        finally:
            # Another attempt of this job may have begun here meanwhile.
            if self._running.get(attempt.job.seq) is attempt:
                del self._running[attempt.job.seq]
            self._signals.due.set()
        self._tell(outcome)
        _log.info(
            "job attempted",
            kind=attempt.job.kind,
            attempt=attempt.job.attempts,
            outcome=outcome,
            error=code,
            seconds=round(time.perf_counter() - started, 3),
        )

    def _judged(self, attempt: _Attempt) -> tuple[AttemptOutcome, FinishJob | None, str | None]:
        """What became of an attempt, what to write of it, and the code of its error."""
        job, work, now = attempt.job, attempt.work, times.now()
        if work.cancelled() and attempt.is_gone:
            return "gone", None, None
        if work.cancelled() and self._is_stopping:
            released = FinishJob(job.seq, job.attempts, now, "queued", run_at=now, released=True)
            return "released", released, None
        error = asyncio.CancelledError() if work.cancelled() else work.exception()
        if error is None:
            result = work.result().model_dump_json().encode()
            kept = None if job.request is None else digest_of(job.request)
            done = FinishJob(job.seq, job.attempts, now, "done", result=result, request=kept)
            return "done", done, None
        if not isinstance(error, APIError):
            _log.error("a job's attempt failed of a defect", exc_info=error)
            error = InternalError("the server failed on this job; its log has the cause")
        if isinstance(error, Overloaded):  # nothing was tried: this server is too busy
            run_at = now + times.from_seconds(self._backoff(job.attempts, error.retry_after))
            later = FinishJob(job.seq, job.attempts, now, "queued", run_at=run_at, released=True)
            return "retried", later, error.code
        told = _as_json(error)
        if not may_pass(error) or job.attempts >= job.max_attempts:
            failed = FinishJob(job.seq, job.attempts, now, "failed", error=told)
            return "failed", failed, error.code
        run_at = now + times.from_seconds(self._backoff(job.attempts, error.retry_after))
        again = FinishJob(job.seq, job.attempts, now, "queued", run_at=run_at, error=told)
        return "retried", again, error.code

    async def _finish(self, finish: FinishJob) -> bool:
        """Keep what came of an attempt, however long the store is away; whether it counted."""
        while True:
            try:
                counted: bool = await self._write(finish)
            except APIError:
                await asyncio.sleep(self._pace.poll)
            else:
                return counted

    def _backoff(self, attempts: int, retry_after: float | None) -> float:
        """Seconds before the next try: some more or less, so that not all come at once."""
        growth = _GROWTH ** min(attempts - 1, 16)
        backoff = min(self._pace.backoff * growth, self._pace.longest_backoff)
        asked = min(retry_after or 0.0, _LONGEST_RETRY_AFTER)
        return max(backoff * random.uniform(0.5, 1.0), asked * random.uniform(1.0, 1.1))

    def _lease(self) -> int:
        return times.now() + times.from_seconds(self._pace.lease)

    async def _write(self, write: Write) -> Outcome:
        with self._telling("written"):
            return await self._writes.submit(write)

    @contextmanager
    def _telling(self, what: str) -> Iterator[None]:
        """Log the first of a row of failures to read or to write."""
        try:
            yield
        except APIError as error:
            if what not in self._failing:
                _log.warning(f"jobs can't be {what}", error=error.code)
            self._failing.add(what)
            raise
        self._failing.discard(what)


def digest_of(request: bytes) -> bytes:
    """What is kept of the request of a job that is done: whether another one is the same."""
    return json.dumps({"digest": blake2b(request, digest_size=16).hexdigest()}).encode()


async def _until(event: asyncio.Event, seconds: float) -> None:
    """Wait for an event, or for so long."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def _as_json(error: APIError) -> bytes:
    return failure(error).model_dump_json().encode()


_LOST = _as_json(Unavailable("the server that was doing it stopped, and this was the last attempt"))
