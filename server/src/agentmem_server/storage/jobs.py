"""Jobs: work that is stored before it is done, so that it is done whatever happens.

Each is of a tenant, perhaps of one user, and of a kind; what it asks for and what came of it are
JSON texts that only the engine reads. A server that takes one up has it until a time (a lease);
past that, another may. Times are microseconds since the Unix epoch, UTC.
"""

from dataclasses import dataclass

from agentmem_client.models import JobStatus

from .records import Scope


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it is stored.

    Attributes:
        id: unique in its tenant.
        caller: the user that the caller was bound to, if any: sees nobody else's jobs.
        scope: of what it is about.
        request: JSON; once the job is done, what `FinishJob` leaves of it.
        run_at: when it is to be tried, at the earliest; None where it is not to be tried.
        lease_until: of a running one, when another server may take it up.
        attempts: how often it was taken up. Names the attempt under way: who was late finds that
            there is a later one.
        error: JSON of an `ErrorBody`, why the last attempt failed.
        result: JSON of an `Extraction`.
        seq: the store's to give. Grows with each new job of all tenants; none comes again.
    """

    id: str
    tenant: str
    kind: str
    collection: str
    scope: Scope
    caller: str | None
    status: JobStatus
    request: bytes | None
    max_attempts: int
    created_at: int
    updated_at: int
    run_at: int | None
    attempts: int = 0
    lease_until: int | None = None
    error: bytes | None = None
    result: bytes | None = None
    seq: int = 0


@dataclass(frozen=True, slots=True)
class PutJob:
    """Keep a new job. Answers the `Job` as it is stored.

    Where the tenant has one of this id already, that one is answered and nothing changes; if it is
    of another caller, it is refused (`Conflict`).
    """

    job: Job


@dataclass(frozen=True, slots=True)
class ClaimJobs:
    """Take up jobs that are due: queued ones, and those whose lease is over. Answers ``list[Job]``.

    The oldest ``run_at`` first, ``limit`` at most; each is running then, until ``lease_until``,
    with one attempt more. One that has no attempt left, because its server died in the last one, is
    failed with ``lost`` (JSON of an `ErrorBody`), and not among them.
    """

    now: int
    lease_until: int
    limit: int
    lost: bytes


@dataclass(frozen=True, slots=True)
class FinishJob:
    """Say what came of an attempt. Answers whether it counted (bool).

    It doesn't where the job is gone or has a later attempt. ``status`` is ``queued`` where it is to
    be tried again, at ``run_at``; where it is ``done``, ``request`` is all that is kept of the
    request. Where ``released``, the attempt is taken back, and the error of the one before stays:
    the server stopped before it was done.
    """

    seq: int
    attempt: int
    at: int
    status: JobStatus
    run_at: int | None = None
    error: bytes | None = None
    result: bytes | None = None
    request: bytes | None = None
    released: bool = False


@dataclass(frozen=True, slots=True)
class RenewJobs:
    """Have running jobs for longer. Answers those that are still these attempts (``list[int]``)."""

    jobs: list[tuple[int, int]]
    """`Job.seq` and the attempt of each. Not the id: that may be another job's by now."""
    lease_until: int


@dataclass(frozen=True, slots=True)
class RetryJob:
    """Queue a failed job anew, with no attempt made yet. Answers the `Job`; None: there is none.

    Raises `Conflict` where it has not failed. With ``caller``, another's is none.
    """

    tenant: str
    id: str
    at: int
    caller: str | None = None


@dataclass(frozen=True, slots=True)
class DeleteJob:
    """Delete a job, whatever its status. Answers how many (int). With ``caller``, as `RetryJob`."""

    tenant: str
    id: str
    caller: str | None = None


@dataclass(frozen=True, slots=True)
class ForgetJobs:
    """Delete jobs that ended before a time, ``limit`` at most. Answers how many (int)."""

    before: int
    limit: int


@dataclass(frozen=True, slots=True)
class JobsRequest:
    """Which jobs of a tenant to list, the newest first; None is no restriction."""

    limit: int
    before: int | None = None
    status: JobStatus | None = None
    user_id: str | None = None
    caller: str | None = None
