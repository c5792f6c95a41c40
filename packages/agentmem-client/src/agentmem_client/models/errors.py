"""What every refusal looks like."""

from typing import Any

from pydantic import Field

from ._fields import Answer


class ErrorBody(Answer):
    """What went wrong, for programs (code, details) and people (message)."""

    code: str
    message: str
    details: dict[str, Any] = Field(default_factory=dict)


class ErrorAnswer(Answer):
    """The body of every error."""

    error: ErrorBody
    request_id: str | None = None
