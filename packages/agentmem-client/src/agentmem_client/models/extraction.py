"""Learning from conversations: messages, the facts in them, and the jobs that look for them."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from ..ids import new_id
from ._fields import (
    DEFAULT_COLLECTION,
    MAX_JOB,
    Answer,
    Limit,
    Metadata,
    Name,
    Request,
    SchemaOf,
    Scope,
    Text,
    Time,
)
from .errors import ErrorBody

MAX_MESSAGES = 1_000
"""How many messages one conversation may have."""
MAX_CONVERSATIONS = 100
"""How many conversations one request may hold."""
MAX_INSTRUCTIONS = 4_000
"""How many characters the instructions for an extraction may have."""

FactType = Literal["semantic", "episodic", "procedural"]
"""What holds, what happened, how something is done."""
JobStatus = Literal["queued", "running", "done", "failed"]
"""Where a job is."""


class Message(Request):
    """One message of a conversation."""

    content: Text
    role: Name = "user"
    """Who speaks, such as ``user``, ``assistant`` or ``tool``."""
    id: Name | None = None
    """What a fact names as its source; left out, the message's place in the list, from ``"0"``."""
    name: Name | None = None
    """The speaker's name, if that is more than the role."""
    at: Time | None = None
    """When it was said: "yesterday" is understood by it."""


class ExtractRequest(Scope):
    """A conversation from which facts are to be learnt.

    They are stored in this scope and collection. None of the messages is.
    """

    id: Name = Field(default_factory=new_id)
    """Of the extraction, and of its job: sent again, it makes no second job."""
    messages: Annotated[list[Message], Field(min_length=1, max_length=MAX_MESSAGES)]
    collection: Name = DEFAULT_COLLECTION
    metadata: Metadata = Field(default_factory=dict)
    """Of each memory that is stored."""
    instructions: Annotated[Text, Field(max_length=MAX_INSTRUCTIONS)] | None = None
    """What to look for, or to leave out, in the words of a prompt."""
    background: bool = False
    """Answer at once with a job, which is tried until it is done or has failed too often."""

    @model_validator(mode="after")
    def _check_ids(self) -> Self:
        ids = [message.id for message in self.messages if message.id is not None]
        if len(set(ids)) < len(ids):
            raise ValueError("give each message an id of its own, or none")
        return self


class ExtractManyRequest(Request):
    """Conversations, each judged singly."""

    conversations: Annotated[
        list[Annotated[Any, SchemaOf(ExtractRequest)]],
        Field(min_length=1, max_length=MAX_CONVERSATIONS),
    ]


class Fact(Answer):
    """A fact that was found, and what became of it."""

    status: Literal["stored", "duplicate", "failed"]
    """``duplicate``: it was known. The memory that says so has it as one of its ``sources`` now."""
    id: str | None = None
    """Of the memory: the new one, or the one that was there."""
    content: str
    type: FactType
    importance: float | None = None
    event_at: datetime | None = None
    message_ids: list[str]
    """The messages that say it."""
    similarity: float | None = None
    """Of a ``duplicate`` in other words: the cosine of both."""
    error: ErrorBody | None = None


class Usage(Answer):
    """What an extraction cost."""

    calls: int = 0
    """Of the LLM: one, and more where an answer had to be repaired."""
    input_tokens: int = 0
    output_tokens: int = 0


class Extraction(Answer):
    """What came of one conversation."""

    id: str | None = None
    """As in the request; null only where a conversation of many had no readable one."""
    status: Literal["done", "queued", "failed"]
    """``queued``: a job has it. ``failed``: nothing was stored, and it can be sent again."""
    facts: list[Fact] = Field(default_factory=list)
    unusable: list[ErrorBody] = Field(default_factory=list)
    """Why each of the other facts that the LLM gave can't be used, nor what it made of it when it
    was asked again, or could not be; ``details`` has the fact's ``content``, if it has any."""
    usage: Usage | None = None
    job: "Job | None" = None
    error: ErrorBody | None = None


class ExtractManyAnswer(Answer):
    """One outcome a conversation, in the order of the request."""

    results: list[Extraction]


class Job(Answer):
    """Work that goes on in the background, whatever happens to the server."""

    id: str
    seq: int
    """Grows with each job of a server."""
    kind: Literal["extract"]
    status: JobStatus
    attempts: int
    """How often it was begun."""
    max_attempts: int
    """After so many it has ``failed``."""
    collection: str
    user_id: str | None = None
    agent_id: str | None = None
    session_id: str | None = None
    namespace: list[str] | None = None
    created_at: datetime
    updated_at: datetime
    next_attempt_at: datetime | None = None
    """When it is tried, at the earliest; null where it is not to be tried."""
    error: ErrorBody | None = None
    """Why the last attempt failed."""
    result: Extraction | None = None
    """What came of it, once it is ``done``."""


class JobsQuery(Request):
    """Which jobs to list, the newest first."""

    status: JobStatus | None = None
    user_id: Name | None = None
    limit: Limit = 100
    before: Annotated[int, Field(ge=1, le=MAX_JOB)] | None = None
    """Only jobs of a smaller ``seq``."""


class JobsAnswer(Answer):
    """Jobs, the newest first, without their results."""

    jobs: list[Job]
    next_before: int | None = None
    """Where the next page starts; null on the last one."""


Extraction.model_rebuild()
