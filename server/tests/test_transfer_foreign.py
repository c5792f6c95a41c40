"""What other systems export becomes memories; nothing of it is dropped unsaid."""

import json
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any

import pytest
from agentmem_client.errors import InvalidRequest
from agentmem_server import times
from agentmem_server.storage import Record
from agentmem_server.transfer.entries import Entry, Incoming, Note, Unreadable
from agentmem_server.transfer.foreign.documents import Document, read_documents
from agentmem_server.transfer.foreign.mem0 import read_mem0
from agentmem_server.transfer.foreign.memories import NAIVE
from agentmem_server.transfer.foreign.redis import read_redis

Read = Callable[[Iterable[bytes], str], Iterator[Entry]]


def lines(text: str | bytes) -> list[bytes]:
    return (text.encode() if isinstance(text, str) else text).splitlines(keepends=True)


def read(reader: Read, value: Any) -> list[Entry]:
    text = value if isinstance(value, str) else json.dumps(value, indent=2)
    return list(reader(lines(text), "c"))


def memories(reader: Read, value: Any) -> list[Record]:
    found = read(reader, value)
    assert all(isinstance(one, Incoming) for one in found), found
    return [one.record for one in found if isinstance(one, Incoming)]


def refused(reader: Read, value: Any) -> list[tuple[str, str]]:
    return [(one.place, one.reason) for one in read(reader, value) if isinstance(one, Unreadable)]


def instant(text: str) -> int:
    return times.to_microseconds(datetime.fromisoformat(text))


class TestDocuments:
    @pytest.mark.parametrize(
        ("text", "documents"),
        [
            ('{"a": 1}', {1: {"a": 1}}),
            ('\n\n{"a": 1}\n\n[2]\n', {3: {"a": 1}, 5: [2]}),
            ('{\n"a": 1\n}', {1: {"a": 1}}),
            ('\ufeff[\n1]\n\n\n{"b":\n2}\n3', {1: [1], 5: {"b": 2}, 7: 3}),
            ('[\n{"a": 1}\n]', {1: [{"a": 1}]}),
            ("\ufeff1\n2", {1: 1, 2: 2}),
        ],
    )
    def test_one_document_or_several(self, text: str, documents: dict[int, Any]) -> None:
        found = [Document(f"line {number}", value) for number, value in documents.items()]
        assert list(read_documents(lines(text))) == found

    @pytest.mark.parametrize(
        ("text", "bad", "good"),
        [
            (b'{"a": 1}\n{"b": \n{"c": 3}', {"line 2": "not JSON"}, ["line 1", "line 3"]),
            (b'{"a": \n{"b": 2}\n{"c": 3}', {"line 1": "not JSON"}, ["line 2", "line 3"]),
            (b'{"a": 1}\n"\xff"', {"line 2": "must be UTF-8"}, ["line 1"]),
            (b'{"a":\n"\xff"}', {"line 1": "must be UTF-8"}, []),
            (b'{"a": 1}\n{"a": NaN}', {"line 2": "NaN is not JSON"}, ["line 1"]),
            (b'{"a":\n1}\n{"b":\n\n}\n{}', {"line 5": "not JSON"}, ["line 1"]),
            (b"1\n" + b"[" * 100_000, {"line 2": "nests too deep"}, ["line 1"]),
            (b"[\n" + b"[" * 100_000, {"line 1": "nests too deep"}, []),
            (b"1\n" + b"9" * 5_000, {"line 2": "Exceeds the limit"}, ["line 1"]),
        ],
    )
    def test_what_is_broken(self, text: bytes, bad: dict[str, str], good: list[str]) -> None:
        found = list(read_documents(lines(text)))
        broken = {one.place: one.reason for one in found if isinstance(one, Unreadable)}
        assert [one.place for one in found if isinstance(one, Document)] == good
        assert broken.keys() == bad.keys()
        for place, reason in bad.items():
            assert reason in broken[place]

    @pytest.mark.parametrize("text", ["", "\n \n"])
    def test_nothing(self, text: str) -> None:
        with pytest.raises(InvalidRequest, match="nothing in it"):
            list(read_documents(lines(text)))

    def test_lines_are_read_as_they_come(self) -> None:
        def endless() -> Iterator[bytes]:
            while True:
                yield b'{"a": 1}\n'

        found = read_documents(endless())
        assert [next(found) for _ in range(3)][2] == Document("line 3", {"a": 1})


MEM0: dict[str, Any] = {
    "id": "f47ac10b-58cc-4372-a567-0e02b2c3d479",
    "memory": "Likes tea",
    "hash": "abc",
    "metadata": {"topic": "drinks", "n": 2**70},
    "score": None,
    "created_at": "2024-07-20T01:30:36.275141-07:00",
    "updated_at": "2024-07-21T01:30:36Z",
    "user_id": "ann",
    "agent_id": "helper",
    "run_id": "run 1",
    "actor_id": "ann",
    "role": "user",
    "categories": ["food", "drink"],
    "structured_attributes": {"day": 20},
}


class TestMem0:
    def test_every_field(self) -> None:
        (made,) = memories(read_mem0, {"results": [MEM0]})
        assert (made.id, made.content) == (MEM0["id"], "Likes tea")
        assert (made.user_id, made.agent_id, made.session_id) == ("ann", "helper", "run 1")
        assert made.created_at == instant("2024-07-20T08:30:36.275141+00:00")
        assert made.updated_at == instant("2024-07-21T01:30:36+00:00")
        assert made.metadata == {
            "topic": "drinks",
            "n": 2**70,
            "hash": "abc",
            "score": None,
            "actor_id": "ann",
            "role": "user",
            "categories": ["food", "drink"],
            "structured_attributes": {"day": 20},
        }
        assert made.vectors is None
        assert made.expires_at is None

    @pytest.mark.parametrize(
        "value",
        [
            [MEM0],
            {"results": [MEM0], "relations": []},
            {"memories": [MEM0]},
            {"count": 1, "next": None, "previous": None, "results": [MEM0]},
            MEM0,
            json.dumps({"results": [MEM0]}) + "\n" + json.dumps({"results": []}),
        ],
    )
    def test_every_shape(self, value: Any) -> None:
        assert [made.id for made in memories(read_mem0, value)] == [MEM0["id"]]

    def test_names_that_clash(self) -> None:
        own = {"hash": 1, "mem0_hash": 2, "role": 3}
        (made,) = memories(read_mem0, [MEM0 | {"metadata": own}])
        assert made.metadata == {
            **own,
            "mem0_mem0_hash": "abc",
            "mem0_role": "user",
            "score": None,
            "actor_id": "ann",
            "categories": ["food", "drink"],
            "structured_attributes": {"day": 20},
        }

    def test_pages_on_lines_and_what_is_wrong_in_them(self) -> None:
        pages = [
            {"results": [MEM0, {"id": "x"}, 7]},
            {"results": [MEM0 | {"id": "b", "metadata": [1]}, MEM0 | {"id": "c", "memory": None}]},
            {"results": [MEM0 | {"id": "d", "created_at": "yesterday"}]},
        ]
        found = refused(read_mem0, "\n".join(map(json.dumps, pages)))
        assert found == [
            ("line 1, results[1]", "must be an object with the field memory"),
            ("line 1, results[2]", "must be an object with the field memory"),
            ("line 2, results[0]", "metadata: must be an object"),
            ("line 2, results[1]", "content: Input should be a valid string"),
            (
                "line 3, results[0]",
                "created_at: must be a time such as '2026-01-31T09:30:00Z'",
            ),
        ]

    def test_relations_are_told(self) -> None:
        value = {"results": [MEM0], "relations": [{"source": "ann"}, {"source": "bob"}]}
        (note,) = [one for one in read(read_mem0, value) if isinstance(one, Note)]
        assert note.count == 2
        assert "not imported" in note.text

    def test_the_day_of_expiry_counts(self) -> None:
        (made,) = memories(read_mem0, [MEM0 | {"expiration_date": "2030-01-31"}])
        assert made.expires_at == instant("2030-02-01T00:00:00+00:00")
        assert "expiration_date" not in made.metadata
        for odd in ("soon", 5, "9999-12-31"):
            (made,) = memories(read_mem0, [MEM0 | {"expiration_date": odd}])
            assert (made.expires_at, made.metadata["expiration_date"]) == (None, odd)

    def test_naive_times_are_utc_and_that_is_told(self) -> None:
        found = read(read_mem0, [MEM0 | {"created_at": "2024-07-20T01:30:36"}])
        assert Note(NAIVE, 1) in found
        (made,) = [one.record for one in found if isinstance(one, Incoming)]
        assert made.created_at == instant("2024-07-20T01:30:36+00:00")

    @pytest.mark.parametrize(
        ("created_at", "updated_at", "expected"),
        [
            ("2024-01-01T00:00:00Z", None, 2 * ["2024"]),
            (None, "2025-01-01T00:00:00Z", 2 * ["2025"]),
        ],
    )
    def test_one_time_stands_for_the_other(
        self, created_at: str | None, updated_at: str | None, expected: list[str]
    ) -> None:
        raw = MEM0 | {"created_at": created_at, "updated_at": updated_at}
        (entry,) = read(read_mem0, [raw])
        assert isinstance(entry, Incoming)
        assert entry.dated
        moments = (entry.record.created_at, entry.record.updated_at)
        assert [str(times.to_datetime(moment).year) for moment in moments] == expected

    def test_without_a_time(self) -> None:
        (entry,) = read(read_mem0, [{"id": "a", "memory": "x"}])
        assert isinstance(entry, Incoming)
        assert not entry.dated

    def test_an_id_of_its_own_is_the_same_each_time(self) -> None:
        without = {name: value for name, value in MEM0.items() if name != "id"}
        (one,) = memories(read_mem0, [without])
        (again,) = memories(read_mem0, [without | {"hash": "other", "id": None}])
        others = memories(read_mem0, [without | {"memory": "x"}, without | {"run_id": "x"}])
        assert one.id == again.id
        assert len({one.id, *(other.id for other in others)}) == 3

    def test_what_no_store_can_keep(self) -> None:
        values = [MEM0 | {"memory": "a\0b"}, MEM0 | {"metadata": {"a": ["\ud800"]}}]
        (nul, surrogate) = refused(read_mem0, values)
        assert "NUL" in nul[1]
        assert "surrogate" in surrogate[1]
        text = json.dumps(MEM0 | {"memory": "\ud800"})
        assert "content" in refused(read_mem0, text)[0][1]

    def test_they_are_in_the_order_of_their_making(self) -> None:
        raw = [
            MEM0 | {"id": f"{y}", "created_at": f"{y}-01-01T00:00:00Z"} for y in (2025, 2023, 2024)
        ]
        assert [made.id for made in memories(read_mem0, raw)] == ["2023", "2024", "2025"]
        undated = {"id": "x", "memory": "x"}
        assert [made.id for made in memories(read_mem0, [raw[0], undated, raw[1]])] == [
            *("2025", "x", "2023")
        ]


REDIS: dict[str, Any] = {
    "id": "01JH0000000000000000000000",
    "text": "Visited Paris",
    "session_id": "s1",
    "user_id": "ann",
    "namespace": "travel",
    "last_accessed": "2025-01-03T00:00:00Z",
    "created_at": "2025-01-01T00:00:00.000001Z",
    "updated_at": 1735776000.5,
    "pinned": False,
    "access_count": 3,
    "topics": ["travel"],
    "entities": None,
    "memory_hash": "h",
    "discrete_memory_extracted": "t",
    "memory_type": "episodic",
    "persisted_at": None,
    "extracted_from": ["m1"],
    "event_date": "2024-12-24T18:00:00",
    "extraction_strategy_config": {"a": {"b": 1}},
}
WORKING: dict[str, Any] = {
    "messages": [
        {
            "role": "user",
            "content": "hello",
            "id": "m1",
            "created_at": "2025-01-01T00:00:02Z",
            "persisted_at": None,
            "discrete_memory_extracted": "f",
        },
        {"role": "assistant", "content": "hello", "created_at": "2025-01-01T00:00:01Z"},
        {"role": "user", "content": "ok"},
        {"role": "user", "content": "ok"},
    ],
    "memories": [{"text": "Ann says hello", "id": "r1", "memory_type": "semantic"}],
    "session_id": "s1",
    "user_id": "ann",
    "namespace": "travel",
    "context": "They greeted.",
    "data": {"step": 2},
    "tokens": 9,
    "created_at": "2025-01-01T00:00:00Z",
    "updated_at": "2025-01-02T00:00:00Z",
}


class TestRedis:
    def test_every_field(self) -> None:
        found = read(read_redis, {"memories": [REDIS], "total": 1, "next_offset": None})
        (made,) = [one.record for one in found if isinstance(one, Incoming)]
        assert (made.id, made.content, made.type) == (REDIS["id"], "Visited Paris", "episodic")
        assert (made.user_id, made.session_id, made.namespace) == ("ann", "s1", ("travel",))
        assert made.event_at == instant("2024-12-24T18:00:00+00:00")
        assert made.created_at == instant("2025-01-01T00:00:00.000001+00:00")
        assert made.updated_at == instant("2025-01-02T00:00:00.500000+00:00")
        assert made.metadata == {
            "last_accessed": "2025-01-03T00:00:00Z",
            "pinned": False,
            "access_count": 3,
            "topics": ["travel"],
            "entities": None,
            "memory_hash": "h",
            "discrete_memory_extracted": "t",
            "persisted_at": None,
            "extracted_from": ["m1"],
            "extraction_strategy_config": {"a": {"b": 1}},
        }
        assert Note(NAIVE, 1) in found

    @pytest.mark.parametrize("value", [[REDIS], REDIS, {"memories": [REDIS]}])
    def test_every_shape(self, value: Any) -> None:
        entries = read(read_redis, value)
        assert [one.record.id for one in entries if isinstance(one, Incoming)] == [REDIS["id"]]

    def test_an_empty_scope_is_none(self) -> None:
        raw = REDIS | {"user_id": "", "session_id": "", "namespace": "", "event_date": ""}
        (made,) = memories(read_redis, [raw])
        assert (made.user_id, made.session_id, made.namespace) == (None, None, None)
        assert made.event_at is None

    def test_a_working_memory(self) -> None:
        first, second, third, fourth, fact, summary = memories(read_redis, WORKING)
        assert (first.id, first.content, first.type) == ("m1", "user: hello", "message")
        assert first.payload == WORKING["messages"][0]
        assert first.metadata == {
            "role": "user",
            "persisted_at": None,
            "discrete_memory_extracted": "f",
        }
        assert second.created_at == instant("2025-01-01T00:00:01+00:00")
        assert len({first.id, second.id, third.id, fourth.id}) == 4
        assert (fact.id, fact.content, fact.type) == ("r1", "Ann says hello", "semantic")
        assert (summary.content, summary.payload) == ("They greeted.", {"step": 2})
        assert (summary.type, summary.metadata) == ("working_memory", {"tokens": 9})
        for made in (first, second, third, fourth, fact, summary):
            assert (made.user_id, made.session_id) == ("ann", "s1")
            assert made.namespace == ("travel",)
        again = memories(read_redis, [WORKING])
        assert [made.id for made in again] == [
            made.id for made in (first, second, third, fourth, fact, summary)
        ]

    def test_a_working_memory_of_data_alone(self) -> None:
        (made,) = memories(read_redis, {"messages": [], "session_id": "s", "data": {"a": 1}})
        assert (made.content, made.index_texts, made.payload) == ("", [], {"a": 1})
        assert memories(read_redis, {"messages": [], "session_id": "s", "context": ""}) == []

    def test_what_is_wrong(self) -> None:
        values = [
            {"id": "x"},
            REDIS | {"id": 5},
            REDIS | {"event_date": True},
            {"messages": "none"},
            {"messages": [{"role": "user"}, 3], "memories": [{"id": "r"}]},
        ]
        found = refused(read_redis, "\n".join(map(json.dumps, values)))
        assert found == [
            ("line 1", "must be an object with the field text"),
            ("line 2", "id: Input should be a valid string"),
            ("line 3", "event_date: must be a time such as '2026-01-31T09:30:00Z'"),
            ("line 4", "messages: must be a list"),
            ("line 5, messages[0]", "must be an object with the texts role and content"),
            ("line 5, messages[1]", "must be an object with the texts role and content"),
            ("line 5, memories[0]", "must be an object with the field text"),
        ]

    @pytest.mark.parametrize(
        "moment", [1e300, -1e18, "2024-13-01", [], "0001-01-01T00:00:00+14:00"]
    )
    def test_a_time_that_is_none(self, moment: Any) -> None:
        ((_, told),) = refused(read_redis, [REDIS | {"created_at": moment}])
        assert told.startswith("created_at: must be a time")

    def test_a_memory_without_an_id_is_the_same_each_time(self) -> None:
        without = {name: value for name, value in REDIS.items() if name != "id"}
        raw = [without, without | {"topics": []}, without | {"user_id": "bob"}]
        found = [one.record.id for one in read(read_redis, raw) if isinstance(one, Incoming)]
        assert found[0] == found[1] != found[2]
