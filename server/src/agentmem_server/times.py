"""Times as the stores hold them: whole microseconds since the Unix epoch, UTC."""

import time
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

DAY = 86_400_000_000
"""Microseconds."""


def now() -> int:
    """This moment."""
    return time.time_ns() // 1_000


def to_microseconds(instant: datetime) -> int:
    """An aware datetime as an integer."""
    return (instant - _EPOCH) // _MICROSECOND


def to_datetime(microseconds: int) -> datetime:
    """An integer as an aware datetime in UTC."""
    return _EPOCH + microseconds * _MICROSECOND


def from_seconds(seconds: float) -> int:
    """A length of time above 0 in microseconds, of which it has at least one."""
    return max(1, round(seconds * 1_000_000))
