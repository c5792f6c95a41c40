"""Times on the wire: ISO 8601 text with a UTC offset."""

from datetime import UTC, datetime


def parse_instant(value: object) -> datetime:
    """A time as an aware datetime.

    Args:
        value: a datetime, or text such as ``2026-01-31T09:30:00Z``.

    Raises:
        ValueError: when it is neither, has no UTC offset, or lies outside the years 1 to 9999.
    """
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            value = None
    if not isinstance(value, datetime):
        raise ValueError("must be a time such as '2026-01-31T09:30:00Z'")
    if value.utcoffset() is None:
        raise ValueError("must have a timezone, as a UTC offset: end it with 'Z' or '+02:00'")
    try:
        value.astimezone(UTC)
    except OverflowError:
        raise ValueError("must be a time in the years 1 to 9999, UTC") from None
    return value
