"""Kept rows: what drops them, and what they may take."""

from agentmem_server.storage import KeptRow
from agentmem_server.storage.sqlite.kept_rows import KeptRows


def row(size: int = 100, collection: int = 1) -> KeptRow:
    return KeptRow(collection, b"x" * size, None)


def test_a_row_is_kept_until_it_changes() -> None:
    kept = KeptRows()
    kept.put(1, row())
    kept.put(2, row(collection=2))
    assert kept.get([1, 7]) == {1: row()}
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
    assert len(kept) == 64_000 // 400
    assert not kept.get([1])
    assert kept.get([499])


def test_a_large_one_is_not_kept() -> None:
    kept = KeptRows(max_bytes=64_000)
    kept.put(1, row(600))
    kept.put(2, row(701))
    assert kept.get([1])
    assert not kept.get([2])
    kept.put(1, row(701))
    assert len(kept) == kept.size == 0
