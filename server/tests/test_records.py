"""Between the wire's memories and the store's records: nothing is lost on the way."""

import json
import tracemalloc
from dataclasses import asdict
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from agentmem_client.errors import InvalidRequest
from agentmem_client.models import Hit, Memory, MemoryInput, MemoryUpdate
from agentmem_client.vectors import pack
from agentmem_server import times
from agentmem_server.engine import records
from agentmem_server.storage import Record
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import to_json

EVENT = datetime(2023, 5, 8, 23, 30, 0, 123_456, tzinfo=timezone(timedelta(hours=-5)))
FULL: dict[str, Any] = {
    "id": "a",
    "collection": "c",
    "content": "text",
    "metadata": {"z": 1, "a": [1.0, {"b": None}]},
    "user_id": "u",
    "agent_id": "g",
    "session_id": "s",
    "type": "t",
    "importance": 1,
    "event_at": EVENT,
    "expires_at": "2030-01-01T00:00:00Z",
    "embedding": [0.1, -0.0, 3.0],
}


def memory(**fields: Any) -> MemoryInput:
    return MemoryInput.model_validate({"content": "text", **fields})


def test_a_record_has_every_field_of_the_memory() -> None:
    record = records.to_record(memory(**FULL), now=7)
    assert record == Record(
        id="a",
        content="text",
        metadata={"z": 1, "a": [1.0, {"b": None}]},
        user_id="u",
        agent_id="g",
        session_id="s",
        type="t",
        importance=1.0,
        event_at=1_683_606_600_123_456,
        expires_at=1_893_456_000_000_000,
        created_at=7,
        updated_at=7,
        vectors=pack([0.1, -0.0, 3.0]),
    )
    assert isinstance(record.importance, float)


def test_what_a_memory_leaves_out_is_none() -> None:
    record = records.to_record(memory(id="a"), now=7)
    set_ = {"id": "a", "content": "text", "metadata": {}, "created_at": 7, "updated_at": 7}
    set_ |= {"archived": False, "seq": 0, "version": 1}
    assert asdict(record) == {**dict.fromkeys(asdict(record)), **set_}


def test_a_memory_comes_back_as_it_was_given() -> None:
    record = records.to_record(memory(**FULL), now=times.to_microseconds(EVENT))
    answered = records.to_memory(record, "c", dimension=3)
    assert isinstance(answered, Memory)
    found = json.loads(answered.model_dump_json())
    assert found["embedding"] == pytest.approx([0.1, -0.0, 3.0])
    assert json.dumps(found["metadata"]) == json.dumps(FULL["metadata"])
    for name in ("id", "collection", "content", "user_id", "agent_id", "session_id", "type"):
        assert found[name] == FULL[name]
    assert answered.event_at == answered.created_at == answered.updated_at == EVENT
    assert answered.event_at.utcoffset() == timedelta(0)
    # What is answered without validation is what validation would let through.
    assert Memory.model_validate_json(answered.model_dump_json()) == answered


def test_a_vector_is_answered_only_when_asked_for() -> None:
    record = records.to_record(memory(**FULL), now=7)
    assert records.to_memory(record, "c").embedding is None
    record.vectors = None
    assert records.to_memory(record, "c", dimension=3).embedding is None


def test_a_hit_is_a_memory_with_a_score() -> None:
    record = records.to_record(memory(**FULL), now=7)
    hit = records.to_hit(record, "c", 0.25, dimension=3)
    plain = records.to_memory(record, "c", dimension=3)
    whole = Hit.model_construct(**dict(plain), score=0.25)
    assert to_json(hit) == whole.model_dump_json(exclude_unset=True).encode()


EDGES = [
    "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59.999999Z",
    "9999-12-31T23:59:59-12:00",
]


@pytest.mark.parametrize("name", ["event_at", "expires_at"])
@pytest.mark.parametrize("moment", EDGES)
def test_a_time_that_is_accepted_can_be_answered(name: str, moment: str) -> None:
    """A time whose UTC form has no year of four digits is refused, or else it comes back."""
    try:
        given_memory = memory(**{name: moment})
    except ValueError:
        assert "Z" not in moment
        return
    record = records.to_record(given_memory, now=7)
    assert record.context_date or name == "expires_at"
    answered = records.to_memory(record, "c")
    assert getattr(answered, name) == datetime.fromisoformat(moment)


@given(st.datetimes(timezones=st.just(UTC)))
def test_times_are_exact(moment: datetime) -> None:
    assert times.to_datetime(times.to_microseconds(moment)) == moment


@given(st.datetimes(timezones=st.just(UTC)), st.datetimes(timezones=st.just(UTC)))
def test_times_keep_their_order(first: datetime, second: datetime) -> None:
    a, b = times.to_microseconds(first), times.to_microseconds(second)
    assert (a < b, a == b) == (first < second, first == second)


# Updates


def update(**fields: Any) -> MemoryUpdate:
    return MemoryUpdate.model_validate(fields)


@pytest.mark.parametrize(
    ("given_fields", "changes"),
    [
        ({"content": "x"}, {"content": "x"}),
        ({"content": ""}, {"content": ""}),
        ({"metadata": {"a": 1}}, {"metadata": {"a": 1}}),
        ({"metadata": None}, {"metadata": {}}),
        ({"type": None, "importance": None}, {"type": None, "importance": None}),
        ({"event_at": "1970-01-01T00:00:01Z"}, {"event_at": 1_000_000}),
        (
            {"event_at": None, "expires_at": None},
            {"event_at": None, "expires_at": None, "ttl": None},
        ),
        ({"expires_at": "1970-01-01T01:00:00+01:00"}, {"expires_at": 0, "ttl": None}),
        ({"ttl": 1.5}, {"expires_at": 1_500_007, "ttl": 1_500_000}),
        ({"ttl": 1e-9}, {"expires_at": 8, "ttl": 1}),
        ({"ttl": None}, {"expires_at": None, "ttl": None}),
        ({"payload": [1], "archived": True}, {"payload": [1], "archived": True}),
        ({"payload": None, "index_texts": None}, {"payload": None, "index_texts": None}),
        ({"embedding": [1.0]}, {}),
        ({"content": "x", "embedding": [1.0]}, {"content": "x"}),
    ],
)
def test_an_update_is_the_fields_that_it_names(
    given_fields: dict[str, Any], changes: dict[str, Any]
) -> None:
    assert records.to_changes(update(**given_fields), now=7) == changes


@pytest.mark.parametrize(
    "given_fields",
    [
        {},
        {"content": None},
        {"embedding": None},
        {"embeddings": None},
        {"archived": None},
        {"type": "t", "content": None},
    ],
)
def test_an_update_that_changes_nothing_or_clears_too_much_is_refused(
    given_fields: dict[str, Any],
) -> None:
    with pytest.raises(InvalidRequest):
        records.to_changes(update(**given_fields), now=7)


def test_the_hits_of_an_answer_are_copied_once() -> None:
    rows = [b'{"content":"%b","score":' % (b"x" * 100_000) for _ in range(100)]
    tracemalloc.start()
    answer = records.to_answer(records.with_scores(rows, list(range(100))))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 1.1 * len(answer)
    assert [hit["score"] for hit in json.loads(answer)["hits"]] == list(range(100))
    assert records.to_answer([]) == b'{"hits":[]}'
