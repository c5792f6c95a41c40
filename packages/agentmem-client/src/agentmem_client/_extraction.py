"""Extractions without their I/O: conversations as they are sent, and the outcomes of many."""

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from ._base import given, make, to_json
from ._batch import Batch, Entry, Outgoing, Progress, error_body, length
from .errors import AgentMemError, InvalidRequest
from .ids import new_id
from .models import Extraction, ExtractRequest, Message

SECONDS = 120.0
"""The patience for an extraction: an LLM takes its time, and its answer may have to be repaired."""
SECONDS_EACH = 15.0
"""And for each of many, which wait for each other."""

MessageLike: TypeAlias = Message | Mapping[str, object] | str
"""A message: a text that the user says, a mapping with ``role``, ``content`` and perhaps ``id``,
``name`` and ``at``, or a model."""
Conversation: TypeAlias = ExtractRequest | Mapping[str, object]
"""A conversation for `extract_many`: the arguments of `extract` as a mapping, or a model."""


def conversation(messages: Iterable[MessageLike], **fields: object) -> ExtractRequest:
    """A conversation with its id made and its fields checked.

    Raises:
        InvalidRequest: with what is wrong.
    """
    if isinstance(messages, str | Mapping | Message):
        raise InvalidRequest("messages must be several messages: put the one into a list")
    said = [{"content": one} if isinstance(one, str) else one for one in messages]
    return make(ExtractRequest, {"id": new_id(), "messages": said} | given(**fields))


def extracting(
    conversations: Iterable[Conversation],
    progress: Progress | None,
    **fields: object,
) -> Batch[Extraction]:
    """The course of one `extract_many`; ``fields`` are for the conversations that don't say it.

    Raises:
        InvalidRequest: ``conversations`` is one conversation.
    """
    if isinstance(conversations, str | Mapping | ExtractRequest):
        raise InvalidRequest("conversations must be several: put the one into a list")
    entries = (_entry(one, given(**fields)) for one in conversations)
    return Batch(entries, length(conversations), progress, _failure)


def many_body(outgoing: Iterable[Outgoing]) -> bytes:
    """The body of a request with conversations that are JSON already."""
    return b'{"conversations":[%s]}' % b",".join(item.body for item in outgoing)


def _entry(one: Conversation, fields: Mapping[str, object]) -> Entry[Extraction]:
    try:
        request = _request(one, fields)
    except InvalidRequest as error:
        own_id = one.get("id") if isinstance(one, Mapping) else getattr(one, "id", None)
        return _failure(own_id if isinstance(own_id, str) else None, error)
    return Outgoing(request.id, to_json(request), texts=1)


def _request(one: Conversation, fields: Mapping[str, object]) -> ExtractRequest:
    match one:
        case ExtractRequest():
            own = {name: value for name, value in one if name in one.model_fields_set}
            return make(ExtractRequest, {**fields, "id": one.id, **own})
        case Mapping():
            if "messages" not in one:
                raise InvalidRequest("messages: a conversation has some")
            messages = one["messages"]
            if not isinstance(messages, Iterable):
                raise InvalidRequest("messages must be several messages")
            own = {name: value for name, value in one.items() if name != "messages"}
            return conversation(messages, **{**fields, **own})
        case _:
            raise InvalidRequest(
                "a conversation is a mapping with the arguments of extract or an ExtractRequest, "
                f"not {type(one).__name__}"
            )


def _failure(id_: str | None, error: AgentMemError) -> Extraction:
    return Extraction(id=id_, status="failed", error=error_body(error))
