"""The examples of learning from conversations, and of the jobs that do it in the background."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from agentmem_client import models as m

_ID = "0199b3c1-9d10-7c3e-8a55-0d1b6f0a7e42"
_THEN = datetime(2026, 3, 14, 9, 26, 53, 589_000, tzinfo=UTC)

_conversation: dict[str, Any] = {
    "id": _ID,
    "messages": [
        {
            "id": "m1",
            "role": "user",
            "name": "Ann",
            "content": "I took Mia to the vet yesterday: no chicken for her any more.",
            "at": "2026-03-14T10:00:00+01:00",
        },
        {"id": "m2", "role": "assistant", "content": "I'll remember that."},
    ],
    "user_id": "ann",
    "metadata": {"topic": "pets"},
}
LEARNING_BODIES: Mapping[str, Any] = {
    "extract": _conversation,
    "extract_many": {
        "conversations": [
            _conversation | {"background": True},
            {"messages": [{"content": "My brother Tom sails."}], "user_id": "ann"},
        ]
    },
}
"""A body for each operation that takes one."""

_facts = [
    m.Fact(
        status="stored",
        id="4cca6111-fc67-85e4-b381-a910fdba23d7",
        content="Ann took her cat Mia to the vet on 13 March 2026.",
        type="episodic",
        importance=0.5,
        event_at=datetime(2026, 3, 13, tzinfo=UTC),
        message_ids=["m1"],
    ),
    m.Fact(
        status="duplicate",
        id="0199b3c1-7a52-7d14-9a43-6f1f6a4b2c10",
        content="Mia must not eat chicken.",
        type="semantic",
        importance=0.8,
        message_ids=["m1"],
        similarity=0.94,
    ),
]
_usage = m.Usage(calls=1, input_tokens=812, output_tokens=96)
_done = m.Extraction(id=_ID, status="done", facts=_facts, usage=_usage)
_scope: dict[str, Any] = {"collection": "default", "user_id": "ann"}
_job = m.Job(
    id=_ID,
    seq=7,
    kind="extract",
    status="queued",
    attempts=0,
    max_attempts=5,
    created_at=_THEN,
    updated_at=_THEN,
    next_attempt_at=_THEN,
    **_scope,
)
_finished = _job.model_copy(
    update={
        "status": "done",
        "attempts": 1,
        "updated_at": _THEN + timedelta(seconds=2),
        "next_attempt_at": None,
    }
)
_error = m.ErrorBody(code="unavailable", message="the LLM does not answer in time", details={})
_failed = _finished.model_copy(update={"status": "failed", "attempts": 5, "error": _error})
_queued = m.Extraction(id=_ID, status="queued", job=_job)
LEARNING_ANSWERS: Mapping[tuple[str, int], m.Answer] = {
    ("extract", 200): _done,
    ("extract", 202): _queued,
    ("extract_many", 200): m.ExtractManyAnswer(
        results=[
            _queued,
            m.Extraction(
                id="0199b3c1-9d11-7a02-b3f4-5c2d8e9f1a63",
                status="failed",
                error=m.ErrorBody(
                    code="extraction_failed",
                    message="the LLM refuses to answer",
                    details={"reason": "refused"},
                ),
            ),
        ]
    ),
    ("list_jobs", 200): m.JobsAnswer(jobs=[_finished, _failed.model_copy(update={"seq": 6})]),
    ("get_job", 200): _finished.model_copy(update={"result": _done}),
    ("retry_job", 200): _job.model_copy(update={"error": _error}),
    ("delete_job", 200): m.DeletedAnswer(deleted=1),
}
"""An answer of each operation and status that is no error."""
