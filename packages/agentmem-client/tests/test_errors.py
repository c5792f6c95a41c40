"""The tree of errors."""

import pickle
import re
from collections.abc import Iterator

from agentmem_client import AgentMemError, errors
from agentmem_client.errors import APIError, NotFound, error_class


def tree(root: type[AgentMemError], depth: int = 0) -> Iterator[tuple[int, type[AgentMemError]]]:
    yield depth, root
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:  # an adapter's own are not of this tree
            yield from tree(child, depth + 1)


def test_the_docstring_draws_the_tree_as_it_is() -> None:
    assert errors.__doc__ is not None
    drawn = []
    for line in errors.__doc__.splitlines():
        if found := re.match(r"    ([│├└─ ]*)([A-Z]\w+)(?: +(\d{3}))?", line):
            drawn.append((len(found[1]) // 4, found[2], int(found[3]) if found[3] else None))
    kinds = list(tree(AgentMemError))
    assert [(depth, name) for depth, name, _ in drawn] == [
        (depth, kind.__name__) for depth, kind in kinds
    ]
    for (_, _, status), (_, kind) in zip(drawn, kinds, strict=True):
        assert status is None or (issubclass(kind, APIError) and kind.status == status)
    assert sum(status is not None for _, _, status in drawn) == len(errors.BY_CODE)


def test_every_code_is_of_one_class() -> None:
    classes = [cls for _, cls in tree(APIError) if cls is not APIError]
    assert list(errors.BY_CODE.values()) == classes
    assert all(re.fullmatch(r"[a-z_]+", code) for code in errors.BY_CODE)


def test_a_code_goes_before_the_status() -> None:
    assert error_class("not_found", 500) is NotFound
    assert error_class(None, 404) is NotFound
    assert error_class("nonsense", 404) is NotFound


def test_an_error_says_what_to_do_and_names_the_request() -> None:
    error = NotFound("no such memory", details={"id": "m"}, request_id="r", retry_after=2)
    assert str(error) == "no such memory (request r)"
    assert str(NotFound("no such memory")) == "no such memory"
    assert (error.details, error.request_id, error.retry_after) == ({"id": "m"}, "r", 2)


def test_errors_cross_processes() -> None:
    error = NotFound("no such memory", details={"id": "m"}, request_id="r", retry_after=2)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is NotFound
    assert vars(copy) == vars(error)
    assert str(copy) == str(error)
