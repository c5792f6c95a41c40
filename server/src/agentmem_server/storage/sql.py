"""Pieces of SQL, every value of the caller's a bound parameter, and what databases say differently.

The SQL speaks of a table ``memory m`` (rid, cid, and a column for each record field, times in
microseconds) and of a table ``tag`` (cid, path, kind, value, full, rid; see ``tags.py``).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from agentmem_client.filters import like_tokens

from . import tags


@dataclass(frozen=True)
class Sql:
    """A piece of SQL and the values of its ``?`` marks, in order."""

    text: str
    parameters: tuple[Any, ...] = ()


def all_of(conditions: Sequence[Sql]) -> Sql:
    """One condition that is met where each of these is."""
    return Sql(
        " AND ".join(one.text for one in conditions),
        tuple(parameter for one in conditions for parameter in one.parameters),
    )


@dataclass(frozen=True)
class Dialect:
    """What databases say differently.

    Attributes:
        aside: a column for which the database is to use no index, where another has a better one.
        seq: the row id as an expression that compares with any number.
        contains: whether the string expression contains the marked one.
        matches: whether the string expression matches the marked pattern.
        pattern: a ``$like`` pattern as ``matches`` reads it.
        lower: the string expression in lower case, as Python's ``str.lower`` has it.
        ids: whether a record has one of so many ids.
        begins: what narrows a column of namespaces to those whose text begins like this one;
            nothing where the column's own index does.
        filtered: a filter's condition as it stands beside others.
        path: a metadata path as the table ``tag`` has it.
        value: a tag's value likewise.
    """

    aside: Callable[[str], str]
    seq: str
    contains: Callable[[str], str]
    matches: Callable[[str], str]
    pattern: Callable[[str], str]
    lower: Callable[[str], str]
    ids: Callable[[Sequence[str]], Sql]
    begins: Callable[[str, str], Sql | None]
    filtered: Callable[[Sql], Sql]
    path: Callable[[str], str]
    value: Callable[[tags.Indexed], tags.Indexed]


def like(pattern: str, wild: dict[str, str], special: dict[str, str]) -> str:
    """A ``$like`` pattern with other wildcards, and what is special there made plain."""
    return "".join(
        wild[character] if wildcard else special.get(character, character)
        for wildcard, character in like_tokens(pattern)
    )
