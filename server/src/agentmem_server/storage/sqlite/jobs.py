"""Jobs in the file: what is done with them by writes, and reads."""

from collections.abc import Mapping
from typing import Any, cast

import apsw
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

_ENDED = "due_at IS NULL AND updated_at < ?"


def take_over(connection: apsw.Connection, now: int) -> None:
    """Let what was running be taken up at once: this is the opening, and nobody else is there."""
    connection.execute("UPDATE job SET due_at = min(due_at, ?) WHERE status = 'running'", (now,))


def get(connection: apsw.Connection, tenant: str, id: str) -> Job | None:
    """One job."""
    return _one(connection, "tenant = ? AND id = ?", (tenant, id))


def listed(connection: apsw.Connection, tenant: str, request: JobsRequest) -> list[Job]:
    """Jobs of a tenant, the newest first, without what may be long."""
    condition = job_rows.condition(tenant, request)
    found = connection.execute(
        f"SELECT {job_rows.LISTED} FROM job WHERE {condition.text} ORDER BY seq DESC LIMIT ?",
        (*condition.parameters, request.limit),
    )
    return [job_rows.to_job(row) for row in found]


def next_due(connection: apsw.Connection) -> int | None:
    """When the next job is due."""
    (due,) = cast(
        "tuple[int | None]",
        connection.execute("SELECT min(due_at) FROM job WHERE due_at IS NOT NULL").fetchone(),
    )
    return due


def counts(connection: apsw.Connection) -> Mapping[JobStatus, int]:
    """How many jobs there are, by their status."""
    found = connection.execute("SELECT status, count(*) FROM job GROUP BY status").fetchall()
    return dict(cast("list[tuple[JobStatus, int]]", found))


def undone(connection: apsw.Connection, tenant: str) -> int:
    """How many jobs of a tenant wait, run, or have failed."""
    count: int = connection.execute(
        "SELECT count(*) FROM job WHERE tenant = ? AND status <> 'done'", (tenant,)
    ).get
    return count


def put(connection: apsw.Connection, job: Job) -> Job:
    """Keep a new job; one of this id that is there already stays.

    Raises:
        Conflict: it is another caller's.
    """
    known = get(connection, job.tenant, job.id)
    if known is None:
        values = job_rows.values(job)
        marks = ", ".join("?" * len(values))
        connection.execute(f"INSERT INTO job ({job_rows.PUT}) VALUES ({marks})", values)
        seq = connection.last_insert_rowid()
        if job.request is not None:
            connection.execute("INSERT INTO job_request VALUES (?, ?)", (seq, job.request))
        return _by_seq(connection, seq)
    if known.caller != job.caller:
        raise Conflict(f"there is a job {shown(job.id)} already: choose another id")
    return known


def claim(connection: apsw.Connection, write: ClaimJobs) -> list[Job]:
    """Take up jobs that are due, the first due first."""
    connection.execute(
        "UPDATE job SET status = 'failed', due_at = NULL, updated_at = ?, error = ? "
        "WHERE due_at <= ? AND status = 'running' AND attempts >= max_attempts",
        (write.now, write.lost, write.now),
    )
    due = connection.execute(
        "SELECT seq FROM job WHERE due_at <= ? ORDER BY due_at, seq LIMIT ?",
        (write.now, write.limit),
    ).fetchall()
    for row in due:
        connection.execute(
            "UPDATE job SET status = 'running', due_at = ?, updated_at = ?, "
            "attempts = attempts + 1 WHERE seq = ?",
            (write.lease_until, write.now, row[0]),
        )
    return [_by_seq(connection, seq) for (seq,) in cast("list[tuple[int]]", due)]


def renew(connection: apsw.Connection, write: RenewJobs) -> list[int]:
    """Have running jobs for longer; which of them are still these attempts."""
    kept = []
    for seq, attempt in write.jobs:
        connection.execute(
            "UPDATE job SET due_at = ? WHERE seq = ? AND status = 'running' AND attempts = ?",
            (write.lease_until, seq, attempt),
        )
        if connection.changes():
            kept.append(seq)
    return kept


def finish(connection: apsw.Connection, write: FinishJob) -> bool:
    """Keep what came of an attempt, if it is the one under way."""
    connection.execute(
        "UPDATE job SET status = ?, due_at = ?, updated_at = ?, result = ?, "
        "attempts = attempts - ?, error = CASE WHEN ? THEN error ELSE ? END "
        "WHERE seq = ? AND status = 'running' AND attempts = ?",
        (
            write.status,
            write.run_at if write.status == "queued" else None,
            write.at,
            write.result,
            int(write.released),
            int(write.released),
            write.error,
            write.seq,
            write.attempt,
        ),
    )
    if not connection.changes():
        return False
    if write.status == "done":
        connection.execute("DELETE FROM job_request WHERE seq = ?", (write.seq,))
        if write.request is not None:
            connection.execute("INSERT INTO job_request VALUES (?, ?)", (write.seq, write.request))
    return True


def retry(connection: apsw.Connection, write: RetryJob) -> Job | None:
    """Queue a failed job anew.

    Raises:
        Conflict: it has not failed.
    """
    known = get(connection, write.tenant, write.id)
    if known is None or write.caller not in (None, known.caller):
        return None
    job_rows.check_failed(known)
    connection.execute(
        "UPDATE job SET status = 'queued', attempts = 0, due_at = ?, updated_at = ?, error = NULL "
        "WHERE seq = ?",
        (write.at, write.at, known.seq),
    )
    return _by_seq(connection, known.seq)


def delete(connection: apsw.Connection, write: DeleteJob) -> int:
    """Delete a job, whatever its status."""
    if write.caller is None:
        return _delete(connection, "tenant = ? AND id = ?", (write.tenant, write.id))
    condition = "tenant = ? AND id = ? AND caller = ?"
    return _delete(connection, condition, (write.tenant, write.id, write.caller))


def forget(connection: apsw.Connection, write: ForgetJobs) -> int:
    """Delete jobs that ended before a time."""
    oldest = f"seq IN (SELECT seq FROM job WHERE {_ENDED} ORDER BY updated_at LIMIT ?)"
    return _delete(connection, oldest, (write.before, write.limit))


def erase(connection: apsw.Connection, tenant: str, user_id: str) -> None:
    """Delete all jobs that a user asked for, and those about one."""
    for whose in ("user_id", "caller"):
        _delete(connection, f"tenant = ? AND {whose} = ?", (tenant, user_id))


def _delete(connection: apsw.Connection, condition: str, parameters: tuple[Any, ...]) -> int:
    gone = connection.execute(
        f"DELETE FROM job WHERE {condition} RETURNING seq", parameters
    ).fetchall()
    connection.executemany("DELETE FROM job_request WHERE seq = ?", gone)
    return len(gone)


def _by_seq(connection: apsw.Connection, seq: int) -> Job:
    found = _one(connection, "seq = ?", (seq,))
    assert found is not None
    return found


def _one(connection: apsw.Connection, condition: str, parameters: tuple[Any, ...]) -> Job | None:
    found: Any = connection.execute(
        f"SELECT {job_rows.COLUMNS}, request FROM job LEFT JOIN job_request USING (seq) "
        f"WHERE {condition}",
        parameters,
    ).fetchone()
    return None if found is None else job_rows.to_job(found[:-1], found[-1])
