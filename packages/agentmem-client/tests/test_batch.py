"""How many memories go into one request."""

import json
from typing import Any

from agentmem_client import AddResult, ConnectionFailed, PayloadTooLarge
from agentmem_client._batch import CHUNK_BYTES, BatchAdd, Outgoing, batch_body, chunked
from agentmem_client.models import BatchAnswer
from hypothesis import given, settings
from hypothesis import strategies as st


def item(length: int) -> Outgoing:
    return Outgoing("x", b"x" * length)


def sizes(*lengths: int) -> list[int]:
    return [len(chunk) for chunk in chunked(item(length) for length in lengths)]


def test_chunks_are_bounded_by_count() -> None:
    assert sizes() == []
    assert sizes(*[1] * 500) == [500]
    assert sizes(*[1] * 501) == [500, 1]


def test_chunks_are_bounded_by_bytes() -> None:
    half = CHUNK_BYTES // 2 - 1  # and its comma
    assert sizes(half, half) == [2]
    assert sizes(half, half + 1) == [1, 1]
    assert sizes(half, half, 1) == [2, 1]


def test_what_is_too_large_goes_alone() -> None:
    assert sizes(1, 2 * CHUNK_BYTES, 1) == [1, 1, 1]


def test_a_body_is_json() -> None:
    items = [Outgoing("1", b'{"content":"a"}'), Outgoing("2", b'{"content":"b"}')]
    memories = [{"content": "a"}, {"content": "b"}]
    assert json.loads(batch_body(items)) == {"memories": memories}
    assert json.loads(batch_body(items, atomic=True)) == {"memories": memories, "atomic": True}


def ids(body: bytes) -> list[str]:
    return [memory["id"] for memory in json.loads(body)["memories"]]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.sampled_from(["good", "bad"]), max_size=60),
    st.lists(st.sampled_from(["answer", "lose", "too large"]), max_size=40),
)
def test_every_item_has_its_outcome_in_order(kinds: list[str], fates: list[str]) -> None:
    items: list[Any] = [
        {"id": f"{kind}-{number}", "content": "x" if kind == "good" else 5}
        for number, kind in enumerate(kinds)
    ]
    calls: list[int] = []
    batch = BatchAdd(items, None, lambda done, _total: calls.append(done))
    remaining = iter(fates)
    for body in batch.bodies():
        match next(remaining, "answer"):
            case "answer":
                stored = [AddResult(id=id_, status="stored") for id_ in ids(body)]
                batch.answered(BatchAnswer(results=stored))
            case "lose":
                batch.failed(ConnectionFailed("no answer"))
            case "too large":
                batch.failed(PayloadTooLarge("too large"))
    assert [result.id for result in batch.results] == [item["id"] for item in items]
    for result in batch.results:
        assert result.id is not None
        if result.id.startswith("bad"):
            assert result.error is not None
            assert result.error.code == "invalid_request"
        elif result.error is not None:
            assert result.error.code in ("connection_failed", "payload_too_large")
    assert calls == sorted(set(calls))
    assert calls[-1:] == ([len(items)] if items else [])


def test_it_goes_on_after_two_failures_and_a_success() -> None:
    batch = BatchAdd(["x"] * 4_000, None, None)
    fates = iter([False, False, True] * 3)
    sent = 0
    for body in batch.bodies():
        sent += 1
        if next(fates):
            stored = [AddResult(id=id_, status="stored") for id_ in ids(body)]
            batch.answered(BatchAnswer(results=stored))
        else:
            batch.failed(ConnectionFailed("no answer"))
    assert sent == 8
