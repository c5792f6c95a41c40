"""JSON in a file: one document, several one after the other, or one a line."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

from agentmem_client.errors import InvalidRequest

from ..entries import Unreadable


@dataclass(frozen=True, slots=True)
class Document:
    """A JSON value, and where it stands."""

    place: str
    value: Any


def read_documents(lines: Iterable[bytes]) -> Iterator[Document | Unreadable]:
    """The documents of a file. Where its first line is one, each line is, read as it comes.

    Raises:
        InvalidRequest: there is none.
    """
    numbered = ((number, line) for number, line in enumerate(lines, start=1) if line.strip())
    first = next(numbered, None)
    if first is None:
        raise InvalidRequest("there is nothing in it: give the file that the other system exported")
    by_line = _of_line(*first)
    if isinstance(by_line, Document):
        yield by_line
        yield from (_of_line(number, line) for number, line in numbered)
        return
    rest = list(numbered)
    documents = list(_of_text([first, *rest]))
    second = _of_line(*rest[0]) if rest else by_line
    if isinstance(documents[0], Unreadable) and isinstance(second, Document):
        yield by_line  # one a line, and the first is broken
        yield from (_of_line(number, line) for number, line in rest)
        return
    yield from documents


def items(document: Document, keys: Iterable[str]) -> Iterator[Document]:
    """The elements of a list, or of the list below one of the keys; else the document itself."""
    value = document.value
    if isinstance(value, list):
        yield from _elements(document.place, "", value)
        return
    lists = {key: value[key] for key in keys if isinstance(value, dict) and key in value}
    found = [_elements(document.place, k, v) for k, v in lists.items() if isinstance(v, list)]
    yield from chain.from_iterable(found) if found else [document]


def _elements(place: str, key: str, values: list[Any]) -> Iterator[Document]:
    return (Document(f"{place}, {key}[{i}]", value) for i, value in enumerate(values))


def _refuse_constant(name: str) -> None:
    raise ValueError(f"must hold finite numbers: {name} is not JSON")


_BLANK = re.compile(r"\s*")
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def _of_line(number: int, line: bytes) -> Document | Unreadable:
    place = f"line {number}"
    try:
        return Document(place, _DECODER.decode(_text(line)))
    except RecursionError:
        return Unreadable(place, "nests too deep")
    except ValueError as error:
        return Unreadable(place, _reason(error))


def _of_text(numbered: list[tuple[int, bytes]]) -> Iterator[Document | Unreadable]:
    """Documents one after the other; there is no way on from one that is broken."""
    line = end = 0
    try:
        text = _text(b"".join(line for _, line in numbered))
        while end < len(text):
            start = end
            value, end = _DECODER.raw_decode(text, start)
            yield Document(f"line {numbered[line][0]}", value)
            blank = _BLANK.match(text, end)
            end = end if blank is None else blank.end()
            line += text.count("\n", start, end)
    except RecursionError:
        yield Unreadable(f"line {numbered[line][0]}", "nests too deep")
    except json.JSONDecodeError as error:
        broken = min(error.lineno, len(numbered)) - 1
        yield Unreadable(f"line {numbered[broken][0]}", _reason(error))
    except ValueError as error:
        yield Unreadable(f"line {numbered[line][0]}", _reason(error))


def _text(data: bytes) -> str:
    return data.decode("utf-8-sig").strip()


def _reason(error: ValueError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "must be UTF-8"
    if isinstance(error, json.JSONDecodeError):
        return f"not JSON: {error.msg} (column {error.colno})"
    return str(error)
