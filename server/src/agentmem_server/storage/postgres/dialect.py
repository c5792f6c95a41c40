"""What PostgreSQL says differently, and marks as it numbers them."""

import re
from collections.abc import Sequence
from itertools import count

from agentmem_client.errors import Unavailable

from .. import tags
from ..sql import Dialect, Sql, like
from .connections import Connection

_INDEXED = 128
"""How many characters of a namespace the index has."""
_MOST_JOINS = 6


async def dialect_of(connection: Connection) -> Dialect:
    """The dialect of a database.

    Raises:
        Unavailable: it can't keep all of Unicode, or knows no more of its lower case than ASCII's.
    """
    encoding = await connection.fetchval("SELECT getdatabaseencoding()")
    if encoding != "UTF8":
        raise Unavailable(f"the database's encoding is {encoding}: make one with ENCODING 'UTF8'")
    lower_case = await connection.fetchval(
        "SELECT collname FROM pg_collation WHERE collname IN ('pg_unicode_fast', 'und-x-icu') "
        "ORDER BY collname LIMIT 1"
    )
    if lower_case is None:
        raise Unavailable(
            "this PostgreSQL knows no lower case but ASCII's: use version 18 or later, or one that "
            "was built with ICU"
        )
    return dialect(lower_case)


def dialect(lower_case: str) -> Dialect:
    """The dialect of a database that has a collation of all of Unicode's lower case."""
    return Dialect(
        aside=lambda column: column,  # it has statistics
        seq="m.rid::numeric",
        contains=lambda expression: f"strpos({expression}, ?) > 0",
        matches=lambda expression: f"{expression} LIKE ?",
        pattern=lambda pattern: like(
            pattern,
            wild={"%": "%", "_": "_"},
            special={one: f"\\{one}" for one in "%_\\"},
        ),
        lower=lambda expression: f'lower({expression} COLLATE "{lower_case}") COLLATE "C"',
        ids=_ids,
        begins=_begins,
        filtered=_filtered,
        path=tags.short_path,
        value=tags.as_text,
    )


def numbered(condition: Sql, first: int = 1) -> str:
    """The text of a condition with ``$1``, ``$2``… in place of its marks."""
    numbers = count(first)
    return re.sub(r"\?", lambda _: f"${next(numbers)}", condition.text)


def _ids(ids: Sequence[str]) -> Sql:
    return Sql("m.id = ANY(?::text[])", (list(ids),))


def _filtered(condition: Sql) -> Sql:
    # Each look-up that must hold is planned as a join, and many joins take longer to plan than to
    # do. What is IS TRUE is no join: the look-up is done once and its rows are kept in a hash.
    if condition.text.count(" IN (SELECT rid FROM tag ") <= _MOST_JOINS:
        return condition
    return Sql(f"({condition.text}) IS TRUE", condition.parameters)


def _begins(column: str, text: str) -> Sql:
    beginning = text[:_INDEXED]
    condition = f"left({column}, {_INDEXED}) >= ? AND left({column}, {_INDEXED}) <= ?"
    return Sql(condition, (beginning, beginning + "\U0010ffff"))
