"""What is remembered of what commits touched."""

from agentmem_server.storage import KeptRow
from agentmem_server.storage.sqlite.kept import Kept


def test_of_a_commit_that_touches_many_rows_their_collection_is_remembered() -> None:
    kept = Kept()
    kept.put(0, {}, {rid: KeptRow(1 + rid % 2, b"row", None) for rid in range(4)})
    for rid in range(2, 20_000, 2):
        kept.touched.row(1, rid, "ann")
    touched = kept.touched
    kept.commit_begins()
    assert touched.rows == set()
    assert kept.says_as_file(2, [1])
    assert not kept.says_as_file(1, [0])
    with kept.following():
        pass
    assert len(kept.rows) == 2
    assert kept.says_as_file(1, [0])
