"""Jobs as both stores keep them: the columns of a row, and the job in it.

One column, `due_at`, says when somebody is to take a job up: a queued one when it is to be tried, a
running one when its lease is over, any other never. So one index finds what is due.
"""

from collections.abc import Sequence
from typing import Any

from agentmem_client.errors import Conflict, shown

from . import Job, JobsRequest, Scope, labels
from .sql import Sql, all_of

_COLUMNS = (
    "seq, tenant, id, kind, collection, user_id, agent_id, session_id, namespace, caller, status, "
    "attempts, max_attempts, created_at, updated_at, due_at, error"
)

COLUMNS = f"{_COLUMNS}, result"
"""What `to_job` reads, in its order."""

LISTED = f"{_COLUMNS}, NULL"
"""Likewise, without what may be long."""

PUT = (
    "tenant, id, kind, collection, user_id, agent_id, session_id, namespace, caller, status, "
    "attempts, max_attempts, created_at, updated_at, due_at, error, result"
)
"""What `values` gives, in its order."""


def values(job: Job) -> tuple[Any, ...]:
    """A job's columns, but for its number and its request."""
    scope = job.scope
    return (
        job.tenant,
        job.id,
        job.kind,
        job.collection,
        scope.user_id,
        scope.agent_id,
        scope.session_id,
        None if scope.namespace is None else labels.encode(scope.namespace),
        job.caller,
        job.status,
        job.attempts,
        job.max_attempts,
        job.created_at,
        job.updated_at,
        job.lease_until if job.status == "running" else job.run_at,
        job.error,
        job.result,
    )


def to_job(row: Sequence[Any], request: bytes | None = None) -> Job:
    """The job of a row of `COLUMNS` or `LISTED`."""
    seq, tenant, id, kind, collection, user, agent, session, namespace, caller, status, *rest = row
    attempts, max_attempts, created_at, updated_at, due_at, error, result = rest
    return Job(
        id,
        tenant,
        kind,
        collection,
        Scope(user, agent, session, labels.decode(namespace) if namespace else None),
        caller,
        status,
        request,
        max_attempts,
        created_at,
        updated_at,
        due_at if status == "queued" else None,
        attempts,
        due_at if status == "running" else None,
        error,
        result,
        seq,
    )


def condition(tenant: str, request: JobsRequest) -> Sql:
    """Which rows are asked for."""
    wanted = {
        "seq < ?": request.before,
        "status = ?": request.status,
        "user_id = ?": request.user_id,
        "caller = ?": request.caller,
    }
    parts = [Sql(text, (value,)) for text, value in wanted.items() if value is not None]
    return all_of([Sql("tenant = ?", (tenant,)), *parts])


def check_failed(job: Job) -> None:
    """Refuse to try a job anew that has not failed.

    Raises:
        Conflict: it says what it is.
    """
    if job.status != "failed":
        raise Conflict(f"the job {shown(job.id)} is {job.status}: only a failed one is tried anew")
