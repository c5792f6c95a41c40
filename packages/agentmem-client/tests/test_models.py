"""The wire types: what they refuse, and that what they carry arrives as it was."""

import base64
import json
import struct
from datetime import UTC, datetime
from typing import Any

import pytest
from agentmem_client import F, InvalidFilter, models
from agentmem_client._base import to_json
from agentmem_client.models import (
    MMR,
    BatchRequest,
    CollectionInput,
    CreatedKey,
    DeleteRequest,
    EventsQuery,
    GetManyRequest,
    HistoryQuery,
    ImportanceWeight,
    KeyInput,
    KeysQuery,
    ListQuery,
    Memory,
    MemoryInput,
    MemoryUpdate,
    RecencyWeight,
    Rerank,
    RestoreRequest,
    SearchRequest,
    StatsQuery,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError


def nest(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("model", "fields", "wrong"),
    [
        (MemoryInput, {}, "content"),
        (MemoryInput, {"content": None}, "content"),
        (MemoryInput, {"content": 1}, "content"),
        (MemoryInput, {"content": b"x"}, "content"),
        (MemoryInput, {"content": "\0"}, "content"),
        (MemoryInput, {"content": "\ud800"}, "content"),
        (MemoryInput, {"content": "x", "id": ""}, "id"),
        (MemoryInput, {"content": "x", "id": None}, "id"),
        (MemoryInput, {"content": "x", "id": 1}, "id"),
        (MemoryInput, {"content": "x", "id": "x" * 513}, "id"),
        (MemoryInput, {"content": "x", "id": "\0"}, "id"),
        (MemoryInput, {"content": "x", "collection": ""}, "collection"),
        (MemoryInput, {"content": "x", "user_id": ""}, "user_id"),
        (MemoryInput, {"content": "x", "agent_id": []}, "agent_id"),
        (MemoryInput, {"content": "x", "session_id": 1.0}, "session_id"),
        (MemoryInput, {"content": "x", "type": True}, "type"),
        (MemoryInput, {"content": "x", "metadata": None}, "metadata"),
        (MemoryInput, {"content": "x", "metadata": []}, "metadata"),
        (MemoryInput, {"content": "x", "metadata": {"a": float("nan")}}, "metadata"),
        (MemoryInput, {"content": "x", "metadata": {"a": [float("inf")]}}, "metadata"),
        (MemoryInput, {"content": "x", "metadata": {"a": 10**301}}, "metadata"),
        (MemoryInput, {"content": "x", "metadata": {1: "a"}}, "metadata"),
        (MemoryInput, {"content": "x", "metadata": {"a": {None: 1}}}, "metadata"),
        (MemoryInput, {"content": "x", "metadata": {"a": {1, 2}}}, "metadata"),
        (MemoryInput, {"content": "x", "metadata": {"a": b"x"}}, "metadata"),
        (MemoryInput, {"content": "x", "metadata": {"a": "\0"}}, "metadata"),
        (MemoryInput, {"content": "x", "metadata": {"a": "\ud800"}}, "metadata"),
        (MemoryInput, {"content": "x", "metadata": {"\udfff": 1}}, "metadata"),
        (MemoryInput, {"content": "x", "metadata": nest(34)}, "metadata"),
        (MemoryInput, {"content": "x", "importance": -0.1}, "importance"),
        (MemoryInput, {"content": "x", "importance": 1.1}, "importance"),
        (MemoryInput, {"content": "x", "importance": "0.5"}, "importance"),
        (MemoryInput, {"content": "x", "importance": float("nan")}, "importance"),
        (MemoryInput, {"content": "x", "event_at": "2026-01-01T00:00:00"}, "event_at"),
        (MemoryInput, {"content": "x", "event_at": 1767225600}, "event_at"),
        (MemoryInput, {"content": "x", "expires_at": "soon"}, "expires_at"),
        (MemoryInput, {"content": "x", "embedding": []}, "embedding"),
        (MemoryInput, {"content": "x", "embedding": [True]}, "embedding"),
        (MemoryInput, {"content": "x", "embedding": ["1"]}, "embedding"),
        (MemoryInput, {"content": "x", "embedding": [1e39]}, "embedding"),
        (MemoryInput, {"content": "x", "embedding": "%%%"}, "embedding"),
        (MemoryInput, {"content": "x", "embedding": 5}, "embedding"),
        (MemoryInput, {"content": "x", "unknown": 1}, "unknown"),
        (MemoryInput, {"content": "x", "created_at": "2026-01-01T00:00:00Z"}, "created_at"),
        (MemoryUpdate, {"id": "x"}, "id"),
        (MemoryUpdate, {"user_id": "x"}, "user_id"),
        (MemoryUpdate, {"importance": 2}, "importance"),
        (GetManyRequest, {}, "ids"),
        (GetManyRequest, {"ids": "abc"}, "ids"),
        (GetManyRequest, {"ids": ["x"] * 10_001}, "ids"),
        (ListQuery, {"limit": 0}, "limit"),
        (ListQuery, {"limit": 1_001}, "limit"),
        (ListQuery, {"limit": True}, "limit"),
        (ListQuery, {"offset": -1}, "offset"),
        (ListQuery, {"offset": 100_001}, "offset"),
        (ListQuery, {"order_by": "content"}, "order_by"),
        (ListQuery, {"order": "up"}, "order"),
        (SearchRequest, {"query": 1}, "query"),
        (SearchRequest, {"limit": "10"}, "limit"),
        (SearchRequest, {"mode": "fuzzy"}, "mode"),
        (SearchRequest, {"alpha": 1.5}, "alpha"),
        (SearchRequest, {"min_score": float("inf")}, "min_score"),
        (SearchRequest, {"mmr": True}, "mmr"),
        (SearchRequest, {"scope": {}}, "scope"),
        (MMR, {"fetch_k": 0}, "fetch_k"),
        (MMR, {"lambda_mult": -1}, "lambda_mult"),
        (SearchRequest, {"rerank": "no"}, "rerank"),
        (SearchRequest, {"rerank": {"words": 1}}, "rerank"),
        (Rerank, {"tokens": 1.1}, "tokens"),
        (Rerank, {"context": -0.1}, "context"),
        (Rerank, {"speaker": None}, "speaker"),
        (SearchRequest, {"recency": 0.5}, "recency"),
        (SearchRequest, {"importance": 0.5}, "importance"),
        (SearchRequest, {"explain": 1}, "explain"),
        (RecencyWeight, {}, "weight"),
        (RecencyWeight, {"weight": 1.1}, "weight"),
        (RecencyWeight, {"weight": 1, "half_life": 0}, "half_life"),
        (RecencyWeight, {"weight": 1, "half_life": 4e9}, "half_life"),
        (RecencyWeight, {"weight": 1, "by": "expires_at"}, "by"),
        (ImportanceWeight, {}, "weight"),
        (ImportanceWeight, {"weight": -0.1}, "weight"),
        (ImportanceWeight, {"weight": 1, "default": 2}, "default"),
        (DeleteRequest, {"everything": 1}, "everything"),
        (DeleteRequest, {"ids": [""]}, "ids"),
        (CollectionInput, {"dimension": 0}, "dimension"),
        (CollectionInput, {"dimension": 16_385}, "dimension"),
        (CollectionInput, {"metric": "manhattan"}, "metric"),
        (CollectionInput, {"embedder": "magic"}, "embedder"),
        (CollectionInput, {"default_ttl": 0}, "default_ttl"),
        (HistoryQuery, {"limit": 0}, "limit"),
        (HistoryQuery, {"after": -1}, "after"),
        (EventsQuery, {"after": 2**63}, "after"),
        (EventsQuery, {"after": "5"}, "after"),
        (EventsQuery, {"filters": {}}, "filters"),
        (RestoreRequest, {}, "version"),
        (RestoreRequest, {"version": 0}, "version"),
        (RestoreRequest, {"version": True}, "version"),
        (StatsQuery, {"days": 0}, "days"),
        (StatsQuery, {"days": 367}, "days"),
        (KeyInput, {}, "name"),
        (KeyInput, {"name": "n", "tenant": ""}, "tenant"),
        (KeyInput, {"name": "n", "scopes": []}, "scopes"),
        (KeyInput, {"name": "n", "scopes": ["fly"]}, "scopes"),
        (KeyInput, {"name": "n", "rate_limit": -1}, "rate_limit"),
        (KeyInput, {"name": "n", "rate_limit": float("inf")}, "rate_limit"),
        (KeyInput, {"name": "n", "expires_at": "2027-01-01T00:00:00"}, "expires_at"),
        (KeysQuery, {"tenant": ""}, "tenant"),
        (BatchRequest, {"memories": [{}] * 2_049}, "memories"),
        (BatchRequest, {"memories": [], "atomic": "yes"}, "atomic"),
    ],
)
def test_what_is_refused(model: type[BaseModel], fields: dict[str, Any], wrong: str) -> None:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(fields)
    assert {error["loc"][0] for error in caught.value.errors()} == {wrong}


def test_what_is_just_within_the_bounds() -> None:
    MemoryInput(content="", id="x" * 512, metadata=nest(32), importance=0)
    MemoryInput(content="x" * 1_000_000, metadata={"n": -(10**300)}, importance=1)
    ListQuery(limit=1_000, offset=100_000)
    CollectionInput(dimension=16_384)
    BatchRequest(memories=[{}] * 2_048)


def test_an_item_of_a_batch_is_judged_later() -> None:
    assert BatchRequest(memories=[{"content": "x"}, 5, None]).memories[1:] == [5, None]


def test_a_new_memory_has_a_new_id() -> None:
    first, second = MemoryInput(content="x"), MemoryInput(content="x")
    assert first.id < second.id or first.id[:13] == second.id[:13]
    assert first.id != second.id


def test_filters_are_read_from_objects_texts_and_builders() -> None:
    for given_ in ({"a": 1}, '{"a": 1}', F("a") == 1):
        query = ListQuery.model_validate({"filters": given_})
        assert query.filters == (F("a") == 1)
        assert json.loads(to_json(query)) == {"filters": {"a": {"$eq": 1}}}
    assert ListQuery(filters={}).filters is None  # type: ignore[arg-type]  # read by its validator
    assert ListQuery(filters=None).filters is None


@pytest.mark.parametrize("bad", ["{", "[]", '{"a": NaN}', '{"a": {"$x": 1}}', {"$or": []}, 5, True])
def test_bad_filters_are_their_own_error(bad: object) -> None:
    with pytest.raises(InvalidFilter):
        ListQuery.model_validate({"filters": bad})


def test_requests_are_strict_about_json_too() -> None:
    for body in (
        '{"content": "x", "importance": "0.5"}',
        '{"content": "x", "metadata": {"a": NaN}}',
        '{"content": "\\ud800"}',
        '{"content": "x", "embedding": "AAA="}',
    ):
        with pytest.raises(ValidationError):
            MemoryInput.model_validate_json(body)


def test_answers_ignore_what_they_do_not_know() -> None:
    memory = Memory.model_validate_json(
        '{"id": "m", "collection": "c", "content": "x", "created_at": "2026-01-01T00:00:00Z",'
        ' "updated_at": "2026-01-01T00:00:00.5Z", "from_the_future": [1]}'
    )
    assert memory.updated_at == datetime(2026, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC)
    assert not hasattr(memory, "from_the_future")


class Array:
    """As much of a numpy array as counts."""

    def tolist(self) -> list[float]:
        return [1.0, -2.0]


PACKED = struct.pack("<2f", 1.0, -2.0)


@pytest.mark.parametrize(
    "vector",
    [[1.0, -2.0], (1, -2), [1, -2.0], Array(), PACKED, base64.b64encode(PACKED).decode()],
)
def test_every_form_of_a_vector_travels_as_base64(vector: Any) -> None:
    for model in (MemoryInput.model_validate({"content": "", "embedding": vector}),
                  SearchRequest.model_validate({"embedding": vector}),
                  MemoryUpdate.model_validate({"embedding": vector})):  # fmt: skip
        assert model.embedding == PACKED
        assert json.loads(to_json(model))["embedding"] == "AACAPwAAAMA="
        assert type(model).model_validate_json(to_json(model)).embedding == PACKED


def test_every_field_of_the_wire_is_described() -> None:
    # The OpenAPI document and people read these; what says itself needs no words.
    for name, model in vars(models).items():
        if isinstance(model, type) and issubclass(model, BaseModel) and model is not BaseModel:
            assert model.__doc__, name


text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**300), 10**300)
    | st.integers(-(2**65), 2**65)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(text, json_values, max_size=5), text)
def test_metadata_and_text_arrive_as_they_were(metadata: dict[str, Any], content: str) -> None:
    asked = MemoryInput.model_validate_json(
        to_json(MemoryInput(content=content, metadata=metadata))
    )
    now = datetime.now(UTC)
    stored = Memory(
        id="m", collection="c", content=asked.content, metadata=asked.metadata,
        created_at=now, updated_at=now,
    )  # fmt: skip
    answered = Memory.model_validate_json(stored.model_dump_json())
    assert answered.content == content
    assert answered == stored
    # repr, since True == 1 == 1.0 in Python, and not in JSON; -0.0 and 0.0 differ too
    assert repr(answered.metadata) == repr(metadata)


def test_a_new_key_is_in_its_answer_and_in_no_repr() -> None:
    made = CreatedKey(
        id="k1",
        name="n",
        tenant="t",
        scopes=["read"],
        created_at=datetime(2026, 1, 31, tzinfo=UTC),
        key="am_secret",
    )
    assert json.loads(made.model_dump_json())["key"] == "am_secret"
    assert "am_secret" not in f"{made!r} {made} {[made]}"


def test_each_key_has_scopes_of_its_own() -> None:
    first = KeyInput(name="a")
    first.scopes.append("admin")
    assert KeyInput(name="b").scopes == ["read", "write"]
