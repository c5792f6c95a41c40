# Generated from src/agentmem_client/_async/jobs.py by scripts/generate_sync.py: do not edit.
"""What goes on in the background: looked at, waited for, tried again, deleted."""

import time
from collections.abc import Iterator
from time import monotonic

from .. import endpoints
from .._base import given, make
from ..errors import InvalidRequest, RequestTimedOut, shown
from ..models import Job, JobsQuery, JobStatus
from .connection import Connection


class Jobs(Connection):
    """Follows the jobs that ``extract(…, background=True)`` makes."""

    def jobs(
        self,
        *,
        status: JobStatus | None = None,
        user_id: str | None = None,
        page_size: int = 100,
    ) -> Iterator[Job]:
        """The jobs, the newest first, fetched as they are consumed; without their results.

        With a key that is bound to a user, those that came with such a key.

        Args:
            status: only those that are so: ``queued``, ``running``, ``done`` or ``failed``.
            user_id: only those about this user's memories.
            page_size: how many to fetch at a time, up to 1,000.
        """
        before: int | None = None
        while True:
            fields = given(status=status, user_id=user_id, limit=page_size, before=before)
            answer = self._call(endpoints.LIST_JOBS, query=make(JobsQuery, fields))
            for job in answer.jobs:
                yield job
            before = answer.next_before
            if before is None:
                return

    def job(self, id: str) -> Job:
        """A job as it is now; once it is ``done``, with its ``result``.

        Raises:
            NotFound: there is none, or it ended so long ago that it is not kept.
        """
        return self._call(endpoints.GET_JOB, {"id": id})

    def wait_for_job(
        self,
        id: str,
        *,
        timeout: float = 300.0,  # noqa: ASYNC109  # as the sync client has it
        poll: float = 1.0,
    ) -> Job:
        """Wait until a job has ended.

        Args:
            id: the job's.
            timeout: for how many seconds to wait.
            poll: how many seconds between two looks.

        Returns:
            The job, ``done`` with its ``result``, or ``failed`` with its ``error``.

        Raises:
            RequestTimedOut: it goes on, and may end later.
            NotFound: there is none, or it was deleted meanwhile.
        """
        if not (poll > 0 and timeout >= 0):
            raise InvalidRequest("poll: must be above 0, and timeout not below")
        deadline = monotonic() + timeout
        while True:
            job = self.job(id)
            if job.status in ("done", "failed"):
                return job
            left = deadline - monotonic()
            if left <= 0:
                raise RequestTimedOut(
                    f"the job {shown(id)} is still {job.status} after {timeout:g} s, and goes on"
                )
            time.sleep(min(poll, left))

    def retry_job(self, id: str) -> Job:
        """Try a job again that has failed, as often as a new one.

        Sent again because an answer was lost, it may be refused: the job has not failed any more.

        Raises:
            NotFound: there is none.
            Conflict: it has not failed.
        """
        return self._call(endpoints.RETRY_JOB, {"id": id})

    def delete_job(self, id: str) -> bool:
        """Delete a job: if it waits, it is not done; if it runs, it is stopped.

        What it has stored stays.

        Returns:
            Whether there was one.
        """
        return (self._call(endpoints.DELETE_JOB, {"id": id})).deleted > 0
