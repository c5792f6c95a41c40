"""How long memories live, and what ends with them."""

from datetime import timedelta

import pytest
from agentmem_client import models as m
from agentmem_server.access.callers import Caller
from agentmem_server.engine.engine import Engine

from server.tests.engine.engines import TENANT, WatchedStore, got, listed, memory, search, update


async def test_every_read_can_start_a_life_anew(engine: Engine, store: WatchedStore) -> None:
    def lives(one: m.Memory) -> float:
        assert one.expires_at is not None
        return one.expires_at.timestamp()

    first = await engine.add(TENANT, memory("x", id="a", ttl=3_600))
    assert first.ttl == 3_600
    assert lives(first) == pytest.approx(first.created_at.timestamp() + 3_600)
    await engine.add(TENANT, memory("y", id="b", expires_at="2100-01-01T00:00:00Z"))
    (seen,) = await search(engine, "x", limit=1)
    assert lives(seen) == lives(first)  # without being asked to, nothing changes

    fresh = m.GetQuery(refresh_ttl=True)
    many = m.GetManyRequest(ids=["a", "b"], refresh_ttl=True)
    latest = lives(first)
    for _ in range(2):  # the second search is equal to the first, and yet refreshes
        (hit,) = await search(engine, "x", limit=1, refresh_ttl=True)
        page = await engine.page(TENANT, m.ListQuery(refresh_ttl=True))
        reads = [hit, await engine.get(TENANT, "a", fresh), page.memories[0]]
        reads += (await engine.get_many(TENANT, many))[:1]
        times_ = [lives(one) for one in reads]
        assert min(times_) > latest
        latest = max(times_)
    assert lives(await got(engine, "a")) == latest
    assert str((await got(engine, "b")).expires_at) == "2100-01-01 00:00:00+00:00"
    (now_seen,) = await search(engine, "x", limit=1)
    assert lives(now_seen) == latest


async def test_a_new_expiry_ends_the_sliding_and_a_new_ttl_begins_it(engine: Engine) -> None:
    await engine.add(TENANT, memory("x", id="a", ttl=60))
    fixed = await update(engine, "a", expires_at="2100-01-01T00:00:00Z")
    assert (fixed.ttl, str(fixed.expires_at)) == (None, "2100-01-01 00:00:00+00:00")
    sliding = await update(engine, "a", ttl=10)
    assert (sliding.ttl, sliding.expires_at) == (10, sliding.updated_at + timedelta(seconds=10))
    lasting = await update(engine, "a", ttl=None)
    assert (lasting.ttl, lasting.expires_at) == (None, None)


async def test_a_sweep_goes_on_until_nothing_expired_is_left(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentmem_server.engine.engine._SWEPT_AT_ONCE", 2)
    for _ in range(5):
        await engine.add(TENANT, memory("x", expires_at="2020-01-01T00:00:00Z"))
        await engine.add(Caller("another"), memory("x", expires_at="2020-01-01T00:00:00Z"))
    await engine.add(TENANT, memory("kept", id="kept", ttl=60))
    assert await engine.sweep() == 10
    assert await engine.sweep() == 0
    assert await listed(engine) == ["kept"]
