"""The filter grammar: conditions on a memory's metadata and record fields.

A filter is a JSON object, the same over HTTP, in the client and behind every adapter::

    {"topic": "pets"}                                  equality
    {"age": {"$gte": 3, "$lt": 9}}                     operators, all of which must hold
    {"$or": [{"topic": "pets"}, {"$not": {"draft": true}}]}
    {"@created_at": {"$gte": "2026-01-01T00:00:00Z"}}  a field of the record

or the same thing built in Python::

    (F("topic") == "pets") | ~(F("draft") == True)

A name is a path into the metadata: ``address.city`` goes into the object ``address``, and a
backslash makes a following ``.``, ``@``, ``$`` or backslash literal (`escape` does that for a key).
A name that starts with ``@`` is a field of the record; `RECORD_FIELDS` lists them.

What the operators mean, for a value that may be missing:

================  =============================================================================
``$eq``           equal as JSON: ``true`` is not 1, ``"3"`` is not 3, 1 is 1.0; ``null`` matches an
                  explicit null alone
``$ne``           not ``$eq``: a missing value matches
``$gt $gte``      order among numbers, and among strings by code point; anything else doesn't match
``$lt $lte``
``$between``      ``[low, high]``, both included
``$in $nin``      equal to one of the list; to none of it (a missing value matches)
``$contains``     an array with this element, or a string with this substring
``$any $all``     ``$contains`` for one of the list; for each of it
``$like``         a string that the pattern matches: ``%`` any characters, ``_`` one, a backslash
                  makes the next one literal
``$ilike``        the same, both sides lower-cased first
``$exists``       true: there is a value, an explicit null included; false: there is none
``$empty``        true: missing, null, ``""`` or ``[]``; false: anything else
================  =============================================================================

A record field that is not set counts as null (``$eq: null`` matches) and as not existing.
Times are compared as instants; a value for them is an ISO 8601 string with a UTC offset.
"""

from ._building import F
from ._conditions import (
    FLAG_OPERATORS,
    LIST_OPERATORS,
    MAX_CONDITIONS,
    MAX_DEPTH,
    MAX_PATTERN,
    MAX_VALUES,
    OPERATORS,
    ORDER_OPERATORS,
    PATTERN_OPERATORS,
    STRING_OPERATORS,
)
from ._escapes import escape, escape_like, like_tokens
from ._nodes import (
    RECORD_FIELDS,
    And,
    Condition,
    FieldKind,
    Filter,
    Not,
    Or,
    Path,
    RecordField,
    conditions,
)
from ._parsing import joined, parse

__all__ = [
    "FLAG_OPERATORS",
    "LIST_OPERATORS",
    "MAX_CONDITIONS",
    "MAX_DEPTH",
    "MAX_PATTERN",
    "MAX_VALUES",
    "OPERATORS",
    "ORDER_OPERATORS",
    "PATTERN_OPERATORS",
    "RECORD_FIELDS",
    "STRING_OPERATORS",
    "And",
    "Condition",
    "F",
    "FieldKind",
    "Filter",
    "Not",
    "Or",
    "Path",
    "RecordField",
    "conditions",
    "escape",
    "escape_like",
    "joined",
    "like_tokens",
    "parse",
]
