"""How many memories go into one request."""

import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from agentmem_client import AddResult, ConnectionFailed, InvalidRequest, PayloadTooLarge
from agentmem_client._batch import (
    CHUNK_BYTES,
    EMBED_SECONDS,
    Entry,
    Outgoing,
    adding,
    batch_body,
    chunked,
    criteria,
    patience,
    prepare,
)
from hypothesis import given, settings
from hypothesis import strategies as st


def item(length: int, *, texts: int = 0) -> Outgoing:
    return Outgoing("x", b"x" * length, texts)


def chunks_of(items: Iterable[Outgoing]) -> list[list[Entry[AddResult]]]:
    return list(chunked(items))


def sizes(*lengths: int) -> list[int]:
    return [len(chunk) for chunk in chunks_of(item(length) for length in lengths)]


def test_chunks_are_bounded_by_count() -> None:
    assert sizes() == []
    assert sizes(*[1] * 500) == [500]
    assert sizes(*[1] * 501) == [500, 1]


def test_what_the_server_has_to_embed_makes_smaller_chunks() -> None:
    chunks = chunks_of(item(1, texts=number % 2) for number in range(200))
    assert [len(chunk) for chunk in chunks] == [167, 33]  # 84 * 1 + 83 * 5 = 499


def test_the_patience_grows_with_what_the_server_has_to_embed() -> None:
    assert patience([item(1)] * 9) == 0
    assert patience([item(1, texts=3)]) == 3 * EMBED_SECONDS
    assert patience([item(1), item(1, texts=1)] * 100) == 100 * EMBED_SECONDS


def test_chunks_are_bounded_by_bytes() -> None:
    half = CHUNK_BYTES // 2 - 1  # and its comma
    assert sizes(half, half) == [2]
    assert sizes(half, half + 1) == [1, 1]
    assert sizes(half, half, 1) == [2, 1]


def test_what_is_too_large_goes_alone() -> None:
    assert sizes(1, 2 * CHUNK_BYTES, 1) == [1, 1, 1]


def test_a_body_is_json() -> None:
    items = [Outgoing("1", b'{"content":"a"}', 0), Outgoing("2", b'{"content":"b"}', 0)]
    memories = [{"content": "a"}, {"content": "b"}]
    assert json.loads(batch_body(items)) == {"memories": memories}
    assert json.loads(batch_body(items, atomic=True)) == {"memories": memories, "atomic": True}
    replacing = criteria({"session_id": "s", "ids": iter("ab"), "user_id": None}, "c")
    assert json.loads(batch_body([], atomic=True, replacing=replacing)) == {
        "memories": [],
        "atomic": True,
        "replacing": {"session_id": "s", "ids": ["a", "b"], "collection": "c"},
    }


def test_an_item_is_as_much_work_as_the_server_has_texts_to_embed() -> None:
    def texts(**fields: Any) -> int:
        return prepare({"content": "x", **fields}, None).texts

    assert texts() == 1
    assert texts(index_texts=["a", "b", "c"]) == 3
    assert texts(index_texts=[]) == 0
    assert texts(embedding=[1.0]) == texts(embeddings=[[1.0], [2.0]]) == 0
    assert texts(embedding=[1.0], index_texts=["a", "b"]) == 0


def test_an_item_may_have_several_of_something_in_any_form_that_add_takes() -> None:
    item: dict[str, Any] = {
        "content": "x",
        "index_texts": ("a", "b"),
        "embeddings": np.ones((2, 1)),
    }
    assert json.loads(prepare(item, None).body)["index_texts"] == ["a", "b"]
    assert len(json.loads(prepare(item, None).body)["embeddings"]) == 2
    assert isinstance(item["index_texts"], tuple)
    for wrong in ("ab", 5):
        with pytest.raises(InvalidRequest, match="index_texts"):
            prepare({"content": "x", "index_texts": wrong}, None)
        with pytest.raises(InvalidRequest, match="ids"):
            criteria({"ids": wrong}, None)


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
    batch = adding(items, None, lambda done, _total: calls.append(done))
    remaining = iter(fates)
    for outgoing in batch.requests():
        match next(remaining, "answer"):
            case "answer":
                stored = [
                    AddResult(id=id_, status="stored") for id_ in [item.id for item in outgoing]
                ]
                batch.answered(stored)
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
    batch = adding(["x"] * 800, None, None)
    fates = iter([False, False, True] * 3)
    sent = 0
    for outgoing in batch.requests():
        sent += 1
        if next(fates):
            stored = [AddResult(id=one.id, status="stored") for one in outgoing]
            batch.answered(stored)
        else:
            batch.failed(ConnectionFailed("no answer"))
    assert sent == 8
