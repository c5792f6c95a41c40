"""Ids that sort by the time they were made."""

import time
from uuid import UUID

import pytest
from agentmem_client import new_id


def test_it_is_a_uuid_of_version_7() -> None:
    for _ in range(200):
        text = new_id()
        made = UUID(text)
        assert (made.version, made.variant) == (7, "specified in RFC 4122")
        assert text == str(made)


def test_all_else_is_random() -> None:
    ones = zeros = 0
    for _ in range(200):
        made = UUID(new_id()).int
        ones |= made
        zeros |= ~made
    assert ones & zeros & (1 << 80) - 1 == (1 << 80) - 1 & ~(0xF << 76 | 0b11 << 62)


def test_it_holds_the_time() -> None:
    before = time.time_ns() // 1_000_000
    milliseconds = UUID(new_id()).int >> 80
    assert before <= milliseconds <= time.time_ns() // 1_000_000


def test_later_ids_sort_later(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    for milliseconds in (0, 1, 999, 1_700_000_000_000, 2**48 - 1):
        monkeypatch.setattr("time.time_ns", lambda now=milliseconds: now * 1_000_000)
        made.append(new_id())
    assert made == sorted(made)


def test_they_differ() -> None:
    assert len({new_id() for _ in range(10_000)}) == 10_000
