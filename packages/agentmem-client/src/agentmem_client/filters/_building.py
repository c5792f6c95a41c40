"""Conditions built in Python."""

from collections.abc import Sequence
from typing import Any

from ._conditions import check_size, parse_condition, parse_name
from ._nodes import Condition


class F:
    """Builds conditions on one name: ``F("age") >= 3``, ``F("tags").contains("red")``.

    Raises:
        InvalidFilter: when the name or the value can't be what the operator needs.
    """

    __slots__ = ("_target",)

    def __init__(self, name: str) -> None:
        self._target = parse_name(name)

    def _condition(self, operator: str, value: Any) -> Condition:
        condition = parse_condition(self._target, operator, value)
        check_size(condition)
        return condition

    def __eq__(self, value: Any) -> Condition:  # type: ignore[override]  # builds, not compares
        return self._condition("$eq", value)

    def __ne__(self, value: Any) -> Condition:  # type: ignore[override]  # builds, not compares
        return self._condition("$ne", value)

    __hash__ = None  # type: ignore[assignment]  # == builds a condition, so no hashing

    def __gt__(self, value: Any) -> Condition:
        return self._condition("$gt", value)

    def __ge__(self, value: Any) -> Condition:
        return self._condition("$gte", value)

    def __lt__(self, value: Any) -> Condition:
        return self._condition("$lt", value)

    def __le__(self, value: Any) -> Condition:
        return self._condition("$lte", value)

    def between(self, low: Any, high: Any) -> Condition:
        """Between the two, both included."""
        return self._condition("$between", [low, high])

    def in_(self, values: Sequence[Any]) -> Condition:
        """Equal to one of the values."""
        return self._condition("$in", list(values))

    def not_in(self, values: Sequence[Any]) -> Condition:
        """Equal to none of the values, or missing."""
        return self._condition("$nin", list(values))

    def contains(self, value: Any) -> Condition:
        """An array with this element, or a string with this substring."""
        return self._condition("$contains", value)

    def any(self, values: Sequence[Any]) -> Condition:
        """Contains at least one of the values."""
        return self._condition("$any", list(values))

    def all(self, values: Sequence[Any]) -> Condition:
        """Contains each of the values."""
        return self._condition("$all", list(values))

    def like(self, pattern: str) -> Condition:
        """A string that the pattern matches: ``%`` any characters, ``_`` one."""
        return self._condition("$like", pattern)

    def ilike(self, pattern: str) -> Condition:
        """Like `like`, lower and upper case alike."""
        return self._condition("$ilike", pattern)

    def exists(self, flag: bool = True) -> Condition:
        """There is a value, an explicit null included."""
        return self._condition("$exists", flag)

    def empty(self, flag: bool = True) -> Condition:
        """Missing, null, an empty string or an empty array."""
        return self._condition("$empty", flag)
