"""Deleting and setting aside: what the criteria say, and what is answered."""

from collections.abc import Awaitable
from typing import Any

import pytest
from agentmem_client import models as m
from agentmem_client.errors import InvalidRequest
from agentmem_server.engine.engine import Engine

from server.tests.engine.engines import TENANT, delete, found, listed, memory


async def test_a_memory_is_deleted_once(engine: Engine) -> None:
    await engine.add(TENANT, memory("hello", id="a"))
    assert await engine.delete(TENANT, "default", "b") == 0
    assert await engine.delete(TENANT, "other", "a") == 0
    assert await engine.delete(TENANT, "default", "a") == 1
    assert await engine.delete(TENANT, "default", "a") == 0
    assert await found(engine, "hello") == []


async def test_a_deletion_says_what_it_deletes(engine: Engine) -> None:
    def fill() -> Awaitable[object]:
        return engine.add_many(
            TENANT,
            [
                memory("x", id="a", user_id="u", metadata={"n": 1}),
                memory("x", id="b", user_id="u", session_id="s", metadata={"n": 2}),
                memory("x", id="c", agent_id="g", metadata={"n": 2}),
            ],
        )

    cases: list[tuple[dict[str, Any], set[str]]] = [
        ({"ids": ["a", "nobody"]}, {"b", "c"}),
        ({"ids": []}, {"a", "b", "c"}),
        ({"filters": {"n": 2}}, {"a"}),
        ({"user_id": "u"}, {"c"}),
        ({"agent_id": "g"}, {"a", "b"}),
        ({"session_id": "s"}, {"a", "c"}),
        ({"user_id": "u", "filters": {"n": 2}, "ids": ["a", "b", "c"]}, {"a", "c"}),
        ({"everything": True}, set()),
    ]
    for criteria, left in cases:
        await fill()
        before = set(await listed(engine))
        assert before == {"a", "b", "c"}
        assert await delete(engine, **criteria) == 3 - len(left)
        assert set(await listed(engine)) == left
        assert set(await found(engine, "x")) == left


@pytest.mark.parametrize(
    "criteria",
    [
        {},
        {"filters": {}},
        {"everything": True, "user_id": "u"},
        {"everything": True, "ids": ["a"]},
        {"everything": True, "ids": []},
        {"everything": True, "filters": {"n": 1}},
    ],
)
async def test_a_deletion_without_or_with_too_many_criteria_is_refused(
    engine: Engine, criteria: dict[str, Any]
) -> None:
    await engine.add(TENANT, memory("x", id="a", user_id="u", metadata={"n": 1}))
    with pytest.raises(InvalidRequest):
        await delete(engine, **criteria)
    assert await listed(engine) == ["a"]


async def test_archiving_answers_what_changed(engine: Engine) -> None:
    for name in "abc":
        await engine.add(TENANT, memory("word", id=name, user_id="u"))
    assert await found(engine, "word", filters={"@archived": True}) == []
    changed = await engine.archive(TENANT, m.ArchiveRequest(ids=["b", "a"], user_id="u"))
    assert [(one.id, one.archived) for one in changed] == [("a", True), ("b", True)]
    assert set(await found(engine, "word", filters={"@archived": True})) == {"a", "b"}
    with pytest.raises(InvalidRequest):
        await engine.archive(TENANT, m.ArchiveRequest())
    back = await engine.archive(TENANT, m.ArchiveRequest(everything=True, archived=False))
    assert [one.id for one in back] == ["a", "b"]


async def test_a_deletion_answers_the_memories_where_asked(engine: Engine) -> None:
    await engine.add(TENANT, memory("x", id="a", payload={"n": 1}))
    request = m.DeleteRequest(ids=["a", "b"], include_memories=True)
    answer = await engine.delete_many(TENANT, request)
    assert answer.memories is not None
    assert [(one.id, one.payload) for one in answer.memories] == [("a", {"n": 1})]
    assert (await engine.delete_many(TENANT, request)).memories == []
    assert (await engine.delete_many(TENANT, m.DeleteRequest(ids=["a"]))).memories is None
