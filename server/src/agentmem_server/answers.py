"""Answers: a model as JSON, and every error in the one shape that the API has for them."""

import math
from collections.abc import Sequence
from typing import Any

from agentmem_client import models as m
from agentmem_client.errors import APIError
from pydantic import BaseModel
from pydantic_core import to_json
from starlette.responses import Response

from .pauses import with_pauses


def answer(model: BaseModel, status: int = 200) -> Response:
    """A model as a JSON answer."""
    return json_answer(model.model_dump_json().encode(), status)


def versioned(memory: m.Memory, status: int = 200) -> Response:
    """A memory as an answer, with its version where ``If-Match`` wants it back."""
    response = answer(memory, status)
    response.raw_headers.append((b"etag", b'"%d"' % memory.version))
    return response


async def memories_answer(memories: Sequence[m.Memory], **others: Any) -> Response:
    """Memories as an answer, and what else it has; a thousand with their vectors take 40 ms."""
    parts = [memory.model_dump_json().encode() async for memory in with_pauses(memories)]
    rest = b"".join(b',"%b":%b' % (name.encode(), to_json(other)) for name, other in others.items())
    return json_answer(b'{"memories":[%b]%b}' % (b",".join(parts), rest))


def json_answer(body: bytes, status: int = 200) -> Response:
    """Encoded JSON as an answer."""
    return _EncodedJSON(body, status)


class _EncodedJSON(Response):
    """Starlette's finds out anew each time what is known of these: 2 µs."""

    media_type = "application/json"

    def __init__(self, body: bytes, status: int) -> None:
        self.status_code = status
        self.background = None
        self.body = body
        self.raw_headers = [
            (b"content-length", b"%d" % len(body)),
            (b"content-type", b"application/json"),
        ]


def error_answer(error: APIError, request_id: str | None) -> Response:
    """An error as it is answered."""
    body = m.ErrorAnswer(
        error=m.ErrorBody(code=error.code, message=error.message, details=error.details),
        request_id=request_id,
    )
    response = json_answer(body.model_dump_json().encode(), error.status)
    retry_after = error.retry_after
    if retry_after is None and error.status == 503:
        retry_after = 1.0
    if retry_after is not None:
        response.headers["Retry-After"] = str(math.ceil(retry_after))
    if error.status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="AgentMem"'
    return response
