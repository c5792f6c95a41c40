"""Namespaces as text: a path of labels that an ordinary index finds by its beginning.

A namespace stands in its column as compact JSON. What lies below ``["a","b"]`` are just the texts
that start with ``["a","b",``: labels are told apart by their quotes, so that no label is taken for
the beginning of another.
"""

from collections.abc import Iterable, Sequence

from pydantic_core import from_json, to_json

from .sql import Dialect, Sql, all_of

Namespace = tuple[str, ...]


def encode(namespace: Sequence[str]) -> str:
    """A namespace as it stands in its column."""
    return to_json(list(namespace)).decode()


def decode(text: str) -> Namespace:
    """The namespace in a column."""
    return tuple(from_json(text))


def within(column: str, namespace: Sequence[str], dialect: Dialect) -> Sql:
    """Whether the column holds a namespace, or one below it; true or false, never null."""
    own = encode(namespace)
    below = own[:-1]
    # The character after the comma: in the order of code points, all that starts with
    # '["a",' comes before '["a"-'.
    condition = f"({column} = ? OR ({column} >= ? AND {column} < ?))"
    found = Sql(f"({column} IS NOT NULL AND {condition})", (own, f"{below},", f"{below}-"))
    narrower = dialect.begins(column, below)
    return found if narrower is None else all_of([narrower, found])


def fixed(pattern: Sequence[str | None]) -> list[str]:
    """The labels of a pattern before its first that may be any."""
    labels: list[str] = []
    for label in pattern:
        if label is None:
            break
        labels.append(label)
    return labels


def matching(
    namespaces: Iterable[Namespace],
    prefix: Sequence[str | None],
    suffix: Sequence[str | None],
    max_depth: int | None,
) -> list[Namespace]:
    """Those that start and end as the patterns say, cut to a depth, sorted, each once."""
    found = {
        namespace[:max_depth]
        for namespace in namespaces
        if _fits(namespace, prefix) and _fits(namespace[::-1], suffix[::-1])
    }
    return sorted(found)


def _fits(namespace: Namespace, pattern: Sequence[str | None]) -> bool:
    return len(namespace) >= len(pattern) and all(
        wanted is None or wanted == label for label, wanted in zip(namespace, pattern, strict=False)
    )
