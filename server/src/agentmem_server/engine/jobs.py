"""Jobs as callers see them: handed in, looked at, tried anew, deleted."""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager

from agentmem_client import models as m
from agentmem_client.errors import Conflict, NotFound, shown

from .. import times
from ..access.callers import Caller
from ..batcher import Batcher
from ..storage import (
    DeleteJob,
    ForgetJobs,
    Job,
    JobsRequest,
    Outcome,
    PutJob,
    RetryJob,
    Store,
    Write,
)
from .job_runner import AttemptOutcome, Pace, Run, Signals, digest_of, running_jobs

_FORGOTTEN_AT_ONCE = 500
"""Jobs that one write deletes."""
_COUNTED_FOR = 5.0
"""Seconds that counts are kept: each of them reads an index to its end."""


class Jobs:
    """What is to be done in the background, stored before it is answered.

    Every method of a caller takes that one first. A caller that is a user sees what it handed in
    itself; any other one sees all of its tenant's.

    Args:
        store: where they are.
        writes: the queue that all writes to the store go through.
        max_attempts: how often a job is tried before it has failed.
    """

    def __init__(
        self, store: Store, writes: Batcher[Write, Outcome], max_attempts: int = 5
    ) -> None:
        self._store = store
        self._writes = writes
        self._max_attempts = max_attempts
        self._signals = Signals()
        self._counts: Mapping[m.JobStatus, int] = {}
        self._counted_at: float | None = None

    async def submit(self, caller: Caller, request: m.ExtractRequest) -> m.Job:
        """Keep a conversation to learn from; where there is a job of its id, that one is answered.

        Raises:
            Forbidden: it is about another user than the caller.
            Conflict: the id is that of another caller's job, or of one for another conversation.
        """
        scope = caller.scope(
            request.user_id, request.agent_id, request.session_id, request.namespace
        )
        now = times.now()
        asked = request.model_copy(update={"background": False}).model_dump_json().encode()
        job = Job(
            request.id,
            caller.tenant,
            "extract",
            request.collection,
            scope,
            caller.user_id,
            "queued",
            asked,
            self._max_attempts,
            now,
            now,
            now,
        )
        kept: Job = await self._writes.submit(PutJob(job))
        # Or the conversation would be lost, with an answer that says it waits. None is left of what
        # an older version has done.
        if kept.request not in (None, asked, digest_of(asked)):
            raise Conflict(
                f"there is a job {shown(job.id)} for another conversation: choose another id"
            )
        self._signals.due.set()
        return _to_model(kept)

    async def page(self, caller: Caller, query: m.JobsQuery) -> m.JobsAnswer:
        """One page of the jobs, the newest first, without their results.

        Raises:
            Forbidden: of another user than the caller.
        """
        caller.user(query.user_id)
        found = await self._store.jobs(
            caller.tenant,
            JobsRequest(query.limit + 1, query.before, query.status, query.user_id, caller.user_id),
        )
        page = found[: query.limit]
        return m.JobsAnswer(
            jobs=[_to_model(job) for job in page],
            next_before=page[-1].seq if len(found) > len(page) else None,
        )

    async def get(self, caller: Caller, id: str) -> m.Job:
        """One job, with what came of it.

        Raises:
            NotFound: when there is none, or it is not the caller's.
        """
        found = await self._store.job(caller.tenant, id)
        if found is None or caller.user_id not in (None, found.caller):
            raise _no_job(id)
        return _to_model(found)

    async def retry(self, caller: Caller, id: str) -> m.Job:
        """Queue a failed job anew, with all of its attempts.

        Raises:
            NotFound: when there is none, or it is not the caller's.
            Conflict: it has not failed.
        """
        queued: Job | None = await self._writes.submit(
            RetryJob(caller.tenant, id, times.now(), caller.user_id)
        )
        if queued is None:
            raise _no_job(id)
        self._signals.due.set()
        return _to_model(queued)

    async def delete(self, caller: Caller, id: str) -> m.DeletedAnswer:
        """Delete a job; one that runs is stopped, and what it has stored stays."""
        deleted: int = await self._writes.submit(DeleteJob(caller.tenant, id, caller.user_id))
        self.look_for_deleted()
        return m.DeletedAnswer(deleted=deleted)

    async def forget(self, ttl: float) -> int:
        """Delete what ended more than so many seconds ago; answers how many."""
        forgotten = 0
        while True:
            before = times.now() - times.from_seconds(ttl)
            part: int = await self._writes.submit(ForgetJobs(before, _FORGOTTEN_AT_ONCE))
            forgotten += part
            if not part:
                return forgotten

    async def counts(self) -> Mapping[m.JobStatus, int]:
        """How many jobs of all tenants there are, by their status; some seconds old."""
        now = time.monotonic()
        if self._counted_at is None or now - self._counted_at >= _COUNTED_FOR:
            self._counted_at = now
            self._counts = await self._store.job_counts()
        return self._counts

    def look_for_deleted(self) -> None:
        """Stop what runs of jobs that are gone, at once rather than when their lease is renewed."""
        self._signals.gone.set()

    def running(
        self,
        run: Run,
        *,
        pace: Pace | None = None,
        tell: Callable[[AttemptOutcome], None] = lambda _outcome: None,
    ) -> AbstractAsyncContextManager[None]:
        """Run jobs while the context is open; see `job_runner.running_jobs`."""
        return running_jobs(self._store, self._writes, self._signals, run, pace=pace, tell=tell)


def _no_job(id: str) -> NotFound:
    return NotFound(f"there is no job {shown(id)}")


def _to_model(job: Job) -> m.Job:
    scope = job.scope
    return m.Job(
        id=job.id,
        seq=job.seq,
        kind="extract",
        status=job.status,
        attempts=job.attempts,
        max_attempts=job.max_attempts,
        collection=job.collection,
        user_id=scope.user_id,
        agent_id=scope.agent_id,
        session_id=scope.session_id,
        namespace=None if scope.namespace is None else list(scope.namespace),
        created_at=times.to_datetime(job.created_at),
        updated_at=times.to_datetime(job.updated_at),
        next_attempt_at=None if job.run_at is None else times.to_datetime(job.run_at),
        error=None if job.error is None else m.ErrorBody.model_validate_json(job.error),
        result=None if job.result is None else m.Extraction.model_validate_json(job.result),
    )
