"""Kept rows: what drops them, and what they may take."""

import gc
import random

from agentmem_server.storage import KeptRow
from agentmem_server.storage.sqlite.kept_rows import KeptRows


def row(size: int = 100, collection: int = 1, expires_at: int | None = None) -> KeptRow:
    return KeptRow(collection, b"x" * size, expires_at)


def test_a_row_is_kept_until_it_changes() -> None:
    kept = KeptRows()
    kept.put(1, row())
    kept.put(2, row(collection=2))
    assert kept.get([1, 7]) == {1: row().rendered}
    kept.drop(1)
    kept.drop(7)
    assert not kept.get([1])
    kept.cleared(1)
    assert len(kept) == 1
    kept.cleared(2)
    assert len(kept) == kept.size == 0


def test_those_answered_last_stay() -> None:
    kept = KeptRows(max_bytes=64_000)
    for rid in range(500):
        kept.put(rid, row())
        assert kept.get([0])
        assert kept.size <= 64_000
    assert len(kept) == 64_000 // 350
    assert not kept.get([1])
    assert kept.get([499])


def test_a_large_one_is_not_kept() -> None:
    kept = KeptRows(max_bytes=64_000)
    kept.put(1, row(750))
    kept.put(2, row(751))
    assert kept.get([1])
    assert not kept.get([2])
    kept.put(1, row(751))
    assert len(kept) == kept.size == 0


def test_when_a_row_expires_is_kept_with_it() -> None:
    kept = KeptRows()
    for rid, expires_at in enumerate([None, 5, 7]):
        kept.put(rid, row(expires_at=expires_at))
    assert kept.expiries([2, 0, 1, 9]) == [7, 5]
    kept.put(1, row())
    kept.drop(2)
    assert kept.expiries([0, 1, 2]) == []


def test_a_row_is_there_once_and_takes_what_it_says() -> None:
    kept, chance = KeptRows(max_bytes=64_000), random.Random(1)
    rows = {rid: row(chance.randrange(700), collection=rid % 3) for rid in range(300)}
    for _ in range(5_000):
        rid = chance.randrange(300)
        if chance.random() < 0.7:
            kept.put(rid, rows[rid])
        elif chance.random() < 0.9:
            assert kept.get([rid]).get(rid, rows[rid].rendered) == rows[rid].rendered
        else:
            kept.drop(rid)
            assert not kept.get([rid])
    there = kept.get(rows)
    assert len(kept) == len(there) > 50
    assert kept.size == sum(250 + len(rendered) for rendered in there.values()) <= 64_000
    for collection in range(3):
        assert len(kept) == sum(rid % 3 >= collection for rid in there)
        kept.cleared(collection)
    assert len(kept) == kept.size == 0


def test_there_is_nothing_for_the_garbage_collector_to_look_through() -> None:
    kept = KeptRows()
    gc.collect()
    before = len(gc.get_objects())
    for rid in range(10_000):
        kept.put(rid, row(expires_at=rid))
    gc.collect()
    assert len(gc.get_objects()) < before + 100
