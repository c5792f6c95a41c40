"""An export's lines: what a reader makes of them, and of those that are lost or broken."""

import json
from typing import Any

import pytest
from agentmem_client.errors import InvalidRequest
from agentmem_client.models import MAX_TTL
from agentmem_client.vectors import pack, to_base64
from agentmem_server import times
from agentmem_server.engine import records
from agentmem_server.storage import Collection, Embedding, Record
from agentmem_server.transfer import format
from agentmem_server.transfer.entries import Entry, Incoming, NewCollection, Note, Unreadable
from hypothesis import given
from hypothesis import strategies as st

HEADER = {"agentmem_export": 1, "tenant": "t", "exported_at": "2026-01-01T00:00:00Z"} | {
    "vectors": True,
    "server": "0.1.0",
}
COLLECTION = {
    "name": "c",
    "embedder": "client",
    "model": None,
    "dimension": 2,
    "metric": "dot",
    "default_ttl": 1.5,
    "created_at": "2026-01-01T00:00:00.000001Z",
}
MEMORY = {
    "id": "a",
    "collection": "c",
    "content": "text",
    "created_at": "2026-01-01T00:00:00Z",
    "updated_at": "2026-01-02T00:00:00+02:00",
}
END = {"collections": 1, "memories": 1}
WHOLE: list[Any] = [HEADER, {"collection": COLLECTION}, {"memory": MEMORY}, {"end": END}]


def read(values: list[Any], only: set[str] | None = None) -> list[Entry]:
    lines = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in values]
    return list(format.read_export(lines, None if only is None else frozenset(only)))


def told(entries: list[Entry]) -> list[tuple[str, str]]:
    return [(one.place, one.reason) for one in entries if isinstance(one, Unreadable)]


def test_the_lines_of_a_whole_export() -> None:
    collection, memory = read(WHOLE)
    assert collection == NewCollection(
        "line 2",
        "c",
        Embedding("client", None, 2, "dot"),
        1_767_225_600_000_001,
        1_500_000,
    )
    assert isinstance(memory, Incoming)
    assert (memory.place, memory.collection, memory.dated) == ("line 3", "c", True)
    assert memory.source == Embedding("client", None, 2, "dot")
    assert memory.record.vectors is None
    assert memory.record.updated_at == 1_767_304_800_000_000


def test_a_line_has_every_field_of_a_record() -> None:
    record = Record(
        id="a",
        content="text\u2028\n\U0001f600",
        metadata={"z": 2**80, "a": [1.0, -0.0, {"b": None}], "é": 5e-324},
        user_id="u",
        agent_id="g",
        session_id="s",
        type="t",
        importance=0.1,
        event_at=-1,
        expires_at=10**15 + 1,
        created_at=1,
        updated_at=2,
        payload=[True, 1, 1.0],
        namespace=("a", "b"),
        ttl=1,
        archived=True,
        index_texts=["x", "y"],
        seq=4,
        version=3,
        vectors=pack([1.0, 2.0, 3.0, 4.0]),
    )
    collection = Collection(1, "t", "c", Embedding("client", None, 2, "cosine"), 0)
    line = format.memory_line(record, collection)
    assert line.count(b"\n") == 1
    wanted = records.to_memory(record, "c", dimension=2)
    found = json.loads(line)["memory"]
    assert found.keys() == set(type(wanted).model_fields) - {"embedding"}
    assert found["embeddings"] == [to_base64(pack([1.0, 2.0])), to_base64(pack([3.0, 4.0]))]
    (_, back) = read([HEADER, format.collection_line(collection), line, {"end": END}])
    assert isinstance(back, Incoming)
    assert back.record == record
    assert back.record.vectors == record.vectors
    assert repr(back.record.metadata) == repr(record.metadata)


@given(st.integers(1, MAX_TTL * 1_000_000))
def test_a_time_to_live_survives_its_way_through_seconds(microseconds: int) -> None:
    seconds = json.loads(json.dumps(records.to_seconds(microseconds)))
    assert times.from_seconds(seconds) == microseconds


@pytest.mark.parametrize("first", [b"{", b'{"id": 1}', b"[]", MEMORY, b"\xff", b'{"results": []}'])
def test_what_is_no_export(first: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"line 1 is not the first line.*--format"):
        read([first, *WHOLE])


def test_nothing() -> None:
    for values in ([], [b"", b" \n"]):
        with pytest.raises(InvalidRequest, match="nothing in it"):
            read(values)


def test_a_later_format() -> None:
    with pytest.raises(InvalidRequest, match="format 2, and this version reads 1: upgrade"):
        read([HEADER | {"agentmem_export": 2, "new": True}, b"?"])


def test_an_export_that_was_cut_off() -> None:
    assert told(read(WHOLE[:-1])) == [
        ("the end", "the last line is missing: this is not the whole export")
    ]
    half = json.dumps(WHOLE[2]).encode()[:-9]
    (broken, missing) = told(read([*WHOLE[:2], half]))
    assert broken[0] == "line 3"
    assert missing[0] == "the end"
    assert len(told(read(WHOLE[:1]))) == 1


def test_lines_that_are_lost_in_between() -> None:
    assert told(read([WHOLE[0], WHOLE[1], WHOLE[3]])) == [
        ("line 3", "there should be 2 lines before it, and there are 1: some are lost")
    ]


def test_exports_one_after_the_other() -> None:
    entries = read([*WHOLE, b"", *WHOLE])
    assert [one.place for one in entries if isinstance(one, Incoming)] == ["line 3", "line 8"]
    with pytest.raises(InvalidRequest, match="line 5 is not the first line"):
        read([*WHOLE, WHOLE[2]])


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"{", "Invalid JSON"),
        (b'{"memory": {"content": "\\ud800"}}', "Invalid JSON"),
        (b"[1]", "object"),
        ({}, "must be one of"),
        ({"memory": MEMORY, "end": END}, "must be one of"),
        ({"memory": MEMORY, "other": 1}, "other: Extra inputs"),
        ({"memory": MEMORY | {"new_field": 1}}, "memory.new_field: Extra inputs"),
        ({"memory": MEMORY | {"x" * 500: 1}}, "memory.xxx"),
        ({"memory": MEMORY | {"id": ""}}, "memory.id: "),
        ({"memory": MEMORY | {"content": "a\0"}}, "memory.content: must not hold the NUL"),
        ({"memory": MEMORY | {"metadata": {"a": float("nan")}}}, "finite"),
        ({"memory": MEMORY | {"metadata": {"a": 10**400}}}, "memory.metadata: must hold numbers"),
        ({"memory": MEMORY | {"created_at": "2026-01-01T00:00:00"}}, "timezone"),
        ({"memory": {k: v for k, v in MEMORY.items() if k != "id"}}, "memory.id: Field required"),
        ({"memory": MEMORY | {"embedding": "AAAA"}}, "memory.embedding: a vector's bytes"),
        ({"memory": MEMORY | {"embedding": [1.0]}}, "must have 2 numbers"),
        ({"memory": MEMORY | {"index_texts": [], "embedding": [1.0, 2.0]}}, "index_texts=[]"),
        (
            {"memory": MEMORY | {"embedding": [1.0, 2.0], "embeddings": [[1.0, 2.0]]}},
            "not both",
        ),
        ({"memory": MEMORY | {"collection": "d"}}, "no line before it has this collection"),
        ({"collection": COLLECTION | {"metric": "odd"}}, "collection.metric"),
    ],
)
def test_a_line_that_is_broken_is_told_and_the_others_are_read(line: Any, says: str) -> None:
    end = {"end": {"collections": 1, "memories": 2}}
    entries = read([HEADER, {"collection": COLLECTION}, line, {"memory": MEMORY}, end])
    ((place, reason),) = told(entries)
    assert place == "line 3"
    assert says in reason
    assert len(reason) < 250
    assert [one.place for one in entries if isinstance(one, Incoming)] == ["line 4"]


def test_chosen_collections() -> None:
    other = {"collection": COLLECTION | {"name": "d"}}
    end = {"end": {"collections": 2, "memories": 2}}
    values = [*WHOLE[:3], other, {"memory": MEMORY | {"collection": "d"}}, end]
    entries = read(values, {"d"})
    assert told(entries) == []
    assert [one.name for one in entries if isinstance(one, NewCollection)] == ["d"]
    assert [one.place for one in entries if isinstance(one, Incoming)] == ["line 5"]


def test_callers_vectors_that_are_not_in_the_file_are_told() -> None:
    entries = read([HEADER | {"vectors": False}, *WHOLE[1:]])
    assert [one.count for one in entries if isinstance(one, Note)] == [1]
