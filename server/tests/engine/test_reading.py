"""Reading: by id, by page, and never what is another tenant's."""

from typing import Any

import pytest
from agentmem_client import models as m
from agentmem_client.errors import InvalidCursor, InvalidRequest, NotFound
from agentmem_server.access.callers import Caller
from agentmem_server.engine.engine import Engine

from server.tests.engine.engines import TENANT, delete, found, got, listed, memory, search, update


async def test_tenants_see_nothing_of_each_other(engine: Engine) -> None:
    await engine.add(TENANT, memory("mine", id="a"))
    await engine.add(Caller("another"), memory("theirs", id="a"))
    await engine.add(Caller("another"), memory("theirs", id="b"))
    assert [hit.content for hit in await search(engine, "mine")] == ["mine"]
    assert await found(engine, "theirs", mode="sparse") == []
    assert len(await search(engine, "mine", tenant=Caller("another"))) == 2
    assert (await got(engine, "a")).content == "mine"
    with pytest.raises(NotFound):
        await got(engine, "b")
    with pytest.raises(NotFound):
        await update(engine, "b", content="changed")
    assert await engine.delete(TENANT, "default", "b") == 0
    assert await delete(engine, everything=True) == 1
    assert await engine.catalog.drop_collection(TENANT, "default") == 0
    assert len(await search(engine, "theirs", tenant=Caller("another"))) == 2


async def test_a_memory_is_got_by_its_id(engine: Engine) -> None:
    with pytest.raises(NotFound, match="default"):
        await got(engine, "a")
    await engine.add_many(TENANT, [memory(name, id=name) for name in "abc"])
    with pytest.raises(NotFound, match="nobody"):
        await got(engine, "nobody")
    many = m.GetManyRequest(ids=["c", "nobody", "a"])
    assert [one.content for one in await engine.get_many(TENANT, many)] == ["c", "a"]
    assert [one.embedding for one in await engine.get_many(TENANT, many)] == [None, None]
    elsewhere = m.GetManyRequest(ids=["a"], collection="not there")
    assert await engine.get_many(TENANT, elsewhere) == []


async def test_pages_join_by_cursor_and_by_offset(engine: Engine) -> None:
    names = [f"r{n}" for n in range(23)]
    await engine.add_many(TENANT, [memory(one, id=one, user_id="u") for one in names])
    for order in ("asc", "desc"):
        joined: list[str] = []
        query: dict[str, Any] = {"order": order, "limit": 5, "user_id": "u"}
        while True:
            page = await engine.page(TENANT, m.ListQuery.model_validate(query))
            assert page.total == 23
            joined += [one.id for one in page.memories]
            if page.next_cursor is None:
                break
            query["cursor"] = page.next_cursor
        assert joined == (names if order == "asc" else names[::-1])
    assert await listed(engine, offset=20, limit=5) == names[20:]
    page = await engine.page(TENANT, m.ListQuery(limit=5, include_total=False))
    assert page.total is None
    with pytest.raises(InvalidCursor):
        await listed(engine, cursor=page.next_cursor, order="desc")
    with pytest.raises(InvalidRequest, match="one of them"):
        await listed(engine, cursor=page.next_cursor, offset=1)


async def test_a_collection_that_is_not_there_lists_nothing(engine: Engine) -> None:
    page = await engine.page(TENANT, m.ListQuery(collection="not there"))
    assert (page.memories, page.total, page.next_cursor) == ([], 0, None)
    page = await engine.page(TENANT, m.ListQuery(collection="not there", include_total=False))
    assert page.total is None
    assert await engine.catalog.collections(TENANT) == []
