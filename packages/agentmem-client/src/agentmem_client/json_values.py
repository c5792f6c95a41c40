"""What of JSON every store can keep and compare: no NUL, no lone surrogate, finite numbers."""

import math
from collections.abc import Mapping
from typing import Any

LARGEST_NUMBER = 10**300
"""Integers up to here fit into a double; as one they are compared beyond 64 bits."""


def check_text(text: str) -> str:
    """The text, if every store can keep it.

    Raises:
        ValueError: it holds a NUL character or a lone surrogate.
    """
    if "\0" in text:
        raise ValueError("must not hold the NUL character (U+0000): not every store can keep it")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("must hold valid Unicode: no lone surrogates") from None
    return text


def check_json(value: Any, *, max_depth: int) -> None:
    """Let pass what is JSON that every store can keep; a tuple is an array.

    Raises:
        ValueError: with what it must be instead.
    """
    _check(value, 0, max_depth)


def _check(value: Any, depth: int, max_depth: int) -> None:
    if depth > max_depth:
        raise ValueError(f"must nest at most {max_depth} levels deep")
    match value:
        case str():
            check_text(value)
        case bool() | None:
            pass
        case float() if not math.isfinite(value):
            raise ValueError("must hold finite numbers: no NaN, no infinity")
        case int() if abs(value) > LARGEST_NUMBER:
            raise ValueError("must hold numbers up to 1e300: give a longer one as a string")
        case int() | float():
            pass
        case list() | tuple():
            for element in value:
                _check(element, depth + 1, max_depth)
        case Mapping():
            for key, element in value.items():
                if not isinstance(key, str):
                    raise ValueError(f"must have strings as keys, not {key!r:.80}")
                check_text(key)
                _check(element, depth + 1, max_depth)
        case _:
            raise ValueError(f"must be JSON, and a {type(value).__name__} is not")
