"""A query that is put together of parts."""

from typing import Any

from ..sql import Sql
from .dialect import numbered


class Statement:
    """Named parts, each computed once, and the values of all marks in them.

    Attributes:
        parameters: the values, in the order of their numbers.
    """

    def __init__(self) -> None:
        self.parameters: list[Any] = []
        self._parts: list[str] = []

    def mark(self, value: Any) -> str:
        """The mark of a value, which may come more than once in the text."""
        self.parameters.append(value)
        return f"${len(self.parameters)}"

    def condition(self, condition: Sql) -> str:
        """The text of a condition, its values among the others."""
        text = numbered(condition, first=len(self.parameters) + 1)
        self.parameters += condition.parameters
        return text

    def part(self, name: str, query: str) -> None:
        """A query by a name that later ones may read from."""
        self._parts.append(f"{name} AS MATERIALIZED ({query})")

    def text(self, query: str) -> str:
        """The whole text, which ends with a query of the parts."""
        return f"WITH {', '.join(self._parts)} {query}" if self._parts else query
