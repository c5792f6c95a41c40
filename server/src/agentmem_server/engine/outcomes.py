"""What became of one item among others, where it failed."""

import structlog
from agentmem_client.errors import APIError, InternalError
from agentmem_client.models import ErrorBody

_log = structlog.get_logger()


def failure(error: Exception) -> ErrorBody:
    """An item's error as it is answered; a defect of ours is logged, and says so."""
    if not isinstance(error, APIError):
        _log.error("item failed", exc_info=error)
        error = InternalError("the server failed on this item; its log has the cause")
    return ErrorBody(code=error.code, message=error.message, details=error.details)
