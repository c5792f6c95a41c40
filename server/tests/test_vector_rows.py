"""Vectors in a file: what is in it, and when there can't be one."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from agentmem_server.storage.vectors import Sizes, VectorIndex
from agentmem_server.storage.vectors.rows import FileRows, MemoryRows
from structlog.testing import capture_logs

SIZES = Sizes(filed=16_000)
"""A thousand vectors of four numbers, from which on they are in a file."""


def vector(number: int) -> bytes:
    return np.array([1, number, number * number, 7], dtype="<f4").tobytes()


def content(index: VectorIndex) -> bytes:
    """All bytes of the file."""
    rows = index._table.rows
    assert isinstance(rows, FileRows)
    descriptor = rows._file.descriptor
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


def filled(folder: Path, count: int) -> VectorIndex:
    index = VectorIndex(4, "dot", folder=folder, sizes=SIZES)
    for rid in range(count):
        index.put(rid, vector(rid), None)
    return index


def check(index: VectorIndex, rids: range) -> None:
    """These are there, and nothing else."""
    ids, scores = index.top(vector(1), 10_000, 0)
    assert sorted(ids.tolist()) == list(rids)
    expected = [float(np.dot([1, 1, 1, 7], [1, rid, rid * rid, 7])) for rid in ids.tolist()]
    assert scores == pytest.approx(expected, rel=1e-6)


def test_a_large_collection_s_vectors_are_in_a_file_without_a_name(tmp_path: Path) -> None:
    index = filled(tmp_path, 500)
    assert isinstance(index._table.rows, MemoryRows)
    for rid in range(500, 5_000):
        index.put(rid, vector(rid), None)
    assert isinstance(index._table.rows, FileRows)
    assert list(tmp_path.iterdir()) == []
    assert vector(4_999) in content(index)
    check(index, range(5_000))
    index.apply(dict.fromkeys(range(4_900)))
    assert isinstance(index._table.rows, MemoryRows)
    check(index, range(4_900, 5_000))


def test_the_file_is_let_go_with_the_index(tmp_path: Path) -> None:
    index = filled(tmp_path, 3_000)
    rows = index._table.rows
    assert isinstance(rows, FileRows)
    descriptor = rows._file.descriptor
    del index, rows
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_nothing_stays_of_what_is_removed_or_replaced(tmp_path: Path) -> None:
    index = filled(tmp_path, 3_000)
    assert vector(1_234) in content(index)
    index.remove(1_234)
    index.put(77, vector(9_999), None)
    index.put(78, vector(8_888) + vector(8_889), None)  # more of them
    for gone in (1_234, 77, 78):
        assert vector(gone) not in content(index)
    for there in (1_233, 9_999, 8_888, 8_889):
        assert vector(there) in content(index)


def test_slots_are_used_again(tmp_path: Path) -> None:
    index = filled(tmp_path, 3_000)
    size = len(content(index))
    for first in range(0, 30_000, 1_000):  # a window that moves
        index.apply(dict.fromkeys(range(first, first + 1_000)))
        index.put_many([(3_000 + rid, vector(rid), None) for rid in range(first, first + 1_000)])
    assert len(content(index)) == size
    assert len(index) == 3_000


def test_what_was_read_before_it_grew_stays_readable(tmp_path: Path) -> None:
    rows = FileRows(10, 4, tmp_path)
    rows.write(np.arange(10), np.full((10, 4), 5, dtype=np.float32))
    before = rows.array
    grown = rows.resized(1_000)
    del rows
    grown.write(np.array([3, 999]), np.full((2, 4), 6, dtype=np.float32))
    assert before[2].tolist() == [5] * 4
    assert before[3].tolist() == [6] * 4
    assert grown.array[9].tolist() == [5] * 4
    assert grown.array[500].tolist() == [0] * 4


@pytest.mark.parametrize("when", ["made", "written", "grown"])
def test_where_the_disk_is_full_they_stay_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    if when == "made":
        start, broken = 500, "tempfile.mkstemp"
    else:
        start, broken = 1_500, {"written": "os.pwrite", "grown": "os.truncate"}[when]
    index = filled(tmp_path, start)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(broken, full)
    with capture_logs() as logs:
        for rid in range(start, 5_000):
            index.put(rid, vector(rid), None)
    assert [log["event"] for log in logs] == ["vectors_kept_in_memory"]
    assert isinstance(index._table.rows, MemoryRows)
    check(index, range(5_000))
    index.apply(dict.fromkeys(range(4_000)))
    check(index, range(4_000, 5_000))


def test_a_write_that_is_cut_short_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, at: pwrite(file, data[:5], at))
    check(filled(tmp_path, 1_500), range(1_500))
