"""Where a page of a listing ended, as text that only the same caller's same listing takes back."""

import base64
import binascii
from hashlib import blake2b

from agentmem_client.errors import InvalidCursor
from agentmem_client.models import ListQuery
from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from ..access.callers import Caller

_CURSOR = TypeAdapter(tuple[str, int, int])
_LISTING = {
    "collection",
    "user_id",
    "agent_id",
    "session_id",
    "namespace",
    "filters",
    "order_by",
    "order",
}


def encode(caller: Caller, query: ListQuery, position: tuple[int, int]) -> str:
    """The cursor for what comes after a position (the order's value, the record's seq)."""
    return base64.urlsafe_b64encode(
        _CURSOR.dump_json((_listing(caller, query), *position))
    ).decode()


def decode(caller: Caller, query: ListQuery) -> tuple[int, int] | None:
    """The position in a query's cursor; None where it has none.

    Raises:
        InvalidCursor: when it is no cursor, or another listing's.
    """
    if query.cursor is None:
        return None
    try:
        text = base64.b64decode(query.cursor, altchars=b"-_", validate=True)
        listing, value, seq = _CURSOR.validate_json(text)
    except (binascii.Error, ValidationError, ValueError):
        raise InvalidCursor("not a cursor: give next_cursor of the page before") from None
    if listing != _listing(caller, query):
        raise InvalidCursor(
            "the cursor belongs to another listing: keep collection, scope, filters and order as "
            "they were on the first page"
        )
    if not all(-(2**63) <= number < 2**63 for number in (value, seq)):
        raise InvalidCursor("not a cursor: give next_cursor of the page before")
    return value, seq


def _listing(caller: Caller, query: ListQuery) -> str:
    what = to_json([caller.tenant, caller.user_id, query.model_dump_json(include=_LISTING)])
    return blake2b(what, digest_size=8).hexdigest()
