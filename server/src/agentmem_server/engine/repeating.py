"""Which failures another try may come round; all others are final, until somebody asks anew."""

from agentmem_client.errors import (
    BY_CODE,
    APIError,
    ExtractionFailed,
    InternalError,
    RateLimited,
    Unavailable,
)
from agentmem_client.models import ErrorBody

# Of the LLM: it can't be reached, has no time, or answers 408, 409, 425, 429 or 5xx.
_PASSING = (Unavailable, RateLimited, InternalError)
_MAY_GO_WELL = {
    "malformed": True,  # models answer otherwise each time
    "refused": False,  # it was read, and paid for; its filters will say the same
    "rejected": False,  # the key, the URL, the model, a conversation past its context
    "cut_off": False,  # costs the most that there is, and would be as long again
}
"""By ``details["reason"]`` of an `ExtractionFailed`."""


def may_pass(error: APIError | ErrorBody) -> bool:
    """Whether the same may go well a little later, with nobody doing anything about it."""
    kind = BY_CODE.get(error.code, APIError)
    if issubclass(kind, ExtractionFailed):
        return _MAY_GO_WELL.get(str(error.details.get("reason")), False)
    return issubclass(kind, _PASSING)
