"""A search that comes again is read once, and means the same each time."""

import json

import pytest
from agentmem_client.models import SearchRequest
from agentmem_server.engine.known_searches import KnownSearches, digest_of


def body_of(query: str, **fields: object) -> bytes:
    return json.dumps({"query": query, **fields}).encode()


def add(known: KnownSearches, body: bytes) -> SearchRequest:
    return known.add(body, SearchRequest.model_validate_json(body)).request


def test_what_comes_twice_is_kept() -> None:
    known = KnownSearches(10)
    body = body_of("cat", filters={"a": 1})
    assert known.get(body) is None
    first = known.add(body, SearchRequest.model_validate_json(body))
    assert first.digest is None
    assert known.get(body) is None  # most come once
    second = add(known, body)
    kept = known.get(bytes(bytearray(body)))
    assert kept is not None
    assert kept.request is second
    assert kept.digest == digest_of(second)
    assert known.get(body_of("dog")) is None


def test_the_digest_is_that_of_what_is_meant() -> None:
    one = SearchRequest.model_validate_json(b'{"query": "cat", "limit": 10}')
    same = SearchRequest.model_validate_json(b'{ "query":"c\\u0061t"}')
    other = SearchRequest.model_validate_json(b'{"query": "cat", "limit": 9}')
    assert digest_of(one) == digest_of(same) != digest_of(other)


@pytest.mark.parametrize(("entries", "length"), [(5, 100), (1_000_000, 40_000), (500, 100)])
def test_what_is_kept_is_bounded(entries: int, length: int) -> None:
    known = KnownSearches(entries)
    bodies = [body_of(f"{number} {'x' * length}") for number in range(700)]
    for body in bodies:
        add(known, body)
        add(known, body)
    kept = [body for body in bodies if known.get(body)]
    assert kept == bodies[-len(kept) :]  # the newest ones
    assert 0 < len(kept) == len(known) <= 2 * entries
    assert sum(map(len, kept)) < 4_000_000


def test_one_that_is_large_is_not_kept() -> None:
    known = KnownSearches(500)
    body = body_of("cat", filters={"a": "x" * 100_000})
    add(known, body)
    add(known, body)
    assert len(known) == 0


def test_where_no_answers_are_kept_no_searches_are() -> None:
    known = KnownSearches(0)
    add(known, body_of("cat"))
    add(known, body_of("cat"))
    assert len(known) == 0


def test_all_can_be_forgotten() -> None:
    known = KnownSearches(10)
    for _ in range(2):
        add(known, body_of("cat"))
    known.clear()
    assert known.get(body_of("cat")) is None
    add(known, body_of("cat"))
    assert known.get(body_of("cat")) is None


def test_many_that_come_once_are_forgotten_in_time() -> None:
    known = KnownSearches(10)
    add(known, body_of("first"))
    for number in range(5_000):
        add(known, body_of(f"{number}"))
    add(known, body_of("first"))
    assert len(known) == 0
