"""Jobs in the database: what is done with them by writes, and reads.

Writes come one after the other, so that no job is taken up twice at once.
"""

from collections.abc import Mapping
from operator import itemgetter

from agentmem_client.errors import Conflict, shown
from agentmem_client.models import JobStatus

from .. import (
    ClaimJobs,
    DeleteJob,
    FinishJob,
    ForgetJobs,
    Job,
    JobsRequest,
    RenewJobs,
    RetryJob,
    job_rows,
)
from .connections import Connection
from .dialect import numbered
from .rows import Row

_COLUMNS = f"{job_rows.COLUMNS}, request"
_IS_NAMED = "ARRAY[tenant, id] = ARRAY[$1::text, $2::text]"  # as the index has both
_MARKS = ", ".join(f"${number}" for number, _ in enumerate(job_rows.PUT.split(","), start=1))
_CLAIM = f"""
WITH due AS (
    SELECT seq AS number, due_at AS since FROM job WHERE due_at <= $1 ORDER BY due_at, seq LIMIT $3
)
UPDATE job SET status = 'running', due_at = $2, updated_at = $1, attempts = attempts + 1
FROM due WHERE seq = number
RETURNING since, {_COLUMNS}
"""


async def get(connection: Connection, tenant: str, id: str) -> Job | None:
    """One job."""
    found = await connection.fetchrow(f"SELECT {_COLUMNS} FROM job WHERE {_IS_NAMED}", tenant, id)
    return None if found is None else _job(found)


async def listed(connection: Connection, tenant: str, request: JobsRequest) -> list[Job]:
    """Jobs of a tenant, the newest first, without what may be long."""
    condition = job_rows.condition(tenant, request)
    found = await connection.fetch(
        f"SELECT {job_rows.LISTED} FROM job WHERE {numbered(condition, 2)} "
        "ORDER BY seq DESC LIMIT $1",
        request.limit,
        *condition.parameters,
    )
    return [job_rows.to_job(tuple(row)) for row in found]


async def next_due(connection: Connection) -> int | None:
    """When the next job is due."""
    due: int | None = await connection.fetchval(
        "SELECT min(due_at) FROM job WHERE due_at IS NOT NULL"
    )
    return due


async def counts(connection: Connection) -> Mapping[JobStatus, int]:
    """How many jobs there are, by their status."""
    found = await connection.fetch("SELECT status, count(*) FROM job GROUP BY status")
    return {row[0]: row[1] for row in found}


async def undone(connection: Connection, tenant: str) -> int:
    """How many jobs of a tenant wait, run, or have failed."""
    count: int = await connection.fetchval(
        "SELECT count(*) FROM job WHERE tenant = $1 AND status <> 'done'", tenant
    )
    return count


async def put(connection: Connection, job: Job) -> Job:
    """Keep a new job; one of this id that is there already stays.

    Raises:
        Conflict: it is another caller's.
    """
    known = await get(connection, job.tenant, job.id)
    if known is None:
        values = job_rows.values(job)
        made = await connection.fetchrow(
            f"INSERT INTO job ({job_rows.PUT}, request) VALUES ({_MARKS}, ${len(values) + 1}) "
            f"RETURNING {_COLUMNS}",
            *values,
            job.request,
        )
        assert made is not None
        return _job(made)
    if known.caller != job.caller:
        raise Conflict(f"there is a job {shown(job.id)} already: choose another id")
    return known


async def claim(connection: Connection, write: ClaimJobs) -> list[Job]:
    """Take up jobs that are due, the first due first."""
    await connection.execute(
        "UPDATE job SET status = 'failed', due_at = NULL, updated_at = $1, error = $2 "
        "WHERE due_at <= $1 AND status = 'running' AND attempts >= max_attempts",
        write.now,
        write.lost,
    )
    claimed = await connection.fetch(_CLAIM, write.now, write.lease_until, write.limit)
    return [_job(row[1:]) for row in sorted(claimed, key=itemgetter("since", "seq"))]


async def renew(connection: Connection, write: RenewJobs) -> list[int]:
    """Have running jobs for longer; which of them are still these attempts."""
    kept = await connection.fetch(
        "UPDATE job SET due_at = $1 FROM unnest($2::bigint[], $3::bigint[]) AS n(number, attempt) "
        "WHERE seq = number AND status = 'running' AND attempts = attempt RETURNING seq",
        write.lease_until,
        [seq for seq, _ in write.jobs],
        [attempt for _, attempt in write.jobs],
    )
    return [seq for (seq,) in kept]


async def finish(connection: Connection, write: FinishJob) -> bool:
    """Keep what came of an attempt, if it is the one under way."""
    finished = await connection.fetchval(
        "UPDATE job SET status = $1, due_at = $2, updated_at = $3, result = $4, "
        "attempts = attempts - $5::boolean::integer, "
        "error = CASE WHEN $5 THEN error ELSE $6 END, "
        "request = CASE WHEN $1 = 'done' THEN $9 ELSE request END "
        "WHERE seq = $7 AND status = 'running' AND attempts = $8 RETURNING true",
        write.status,
        write.run_at if write.status == "queued" else None,
        write.at,
        write.result,
        write.released,
        write.error,
        write.seq,
        write.attempt,
        write.request,
    )
    return finished is not None


async def retry(connection: Connection, write: RetryJob) -> Job | None:
    """Queue a failed job anew.

    Raises:
        Conflict: it has not failed.
    """
    known = await get(connection, write.tenant, write.id)
    if known is None or write.caller not in (None, known.caller):
        return None
    job_rows.check_failed(known)
    queued = await connection.fetchrow(
        "UPDATE job SET status = 'queued', attempts = 0, due_at = $1, updated_at = $1, "
        f"error = NULL WHERE seq = $2 RETURNING {_COLUMNS}",
        write.at,
        known.seq,
    )
    assert queued is not None
    return _job(queued)


async def delete(connection: Connection, write: DeleteJob) -> int:
    """Delete a job, whatever its status."""
    gone = await connection.fetch(
        f"DELETE FROM job WHERE {_IS_NAMED} AND ($3::text IS NULL OR caller = $3) RETURNING seq",
        write.tenant,
        write.id,
        write.caller,
    )
    return len(gone)


async def forget(connection: Connection, write: ForgetJobs) -> int:
    """Delete jobs that ended before a time."""
    gone = await connection.fetch(
        "DELETE FROM job WHERE seq = ANY(ARRAY(SELECT seq FROM job WHERE due_at IS NULL "
        "AND updated_at < $1 ORDER BY updated_at LIMIT $2)) RETURNING seq",
        write.before,
        write.limit,
    )
    return len(gone)


async def erase(connection: Connection, tenant: str, user_id: str) -> None:
    """Delete all jobs that a user asked for, and those about one."""
    await connection.execute(
        "DELETE FROM job WHERE tenant = $1 AND (user_id = $2 OR caller = $2)", tenant, user_id
    )


def _job(row: Row) -> Job:
    *columns, request = row
    return job_rows.to_job(columns, request)
