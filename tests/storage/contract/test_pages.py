"""Pages: in every order, joined to the whole, whatever is written between them."""

import random
from dataclasses import replace
from typing import Any

import pytest
from agentmem_client.models import Order, OrderBy
from agentmem_server.storage import Record, Store

from tests.storage.contract.stores import (
    changing,
    deleting,
    ids,
    listed,
    put,
    putting,
    record,
    selecting,
)


def shuffled() -> list[Record]:
    """23 records whose times have ties and go another way than the order of storing."""
    order = random.Random(7)
    return [
        record(
            f"r{number:02}",
            created_at=1_000 + order.randrange(8),
            updated_at=2_000 - order.randrange(8),
        )
        for number in range(23)
    ]


def in_order(records: list[Record], order_by: OrderBy, order: Order) -> list[str]:
    numbered = list(enumerate(records))
    if order_by != "seq":
        numbered.sort(key=lambda pair: (getattr(pair[1], order_by), pair[0]))
    names = [one.id for _, one in numbered]
    return names if order == "asc" else names[::-1]


EVERY_ORDER = [
    (order_by, order)
    for order_by in ("seq", "created_at", "updated_at")
    for order in ("asc", "desc")
]


@pytest.mark.parametrize(("order_by", "order"), EVERY_ORDER)
@pytest.mark.parametrize("size", [1, 4, 22, 23, 24])
async def test_pages_join_to_the_whole_in_order(
    store: Store, order_by: OrderBy, order: Order, size: int
) -> None:
    records = shuffled()
    await put(store, *records)
    expected = in_order(records, order_by, order)
    how: dict[str, Any] = {"order_by": order_by, "order": order, "limit": size}

    by_cursor: list[str] = []
    after: tuple[int, int] | None = None
    for _ in range(100):
        page = await listed(store, after=after, **how)
        assert page.total == 23
        assert len(page.records) <= size
        by_cursor += [one.id for one in page.records]
        after = page.next
        if after is None:
            break
    assert by_cursor == expected

    by_offset: list[str] = []
    for offset in range(0, 24, size):
        page = await listed(store, offset=offset, with_total=False, **how)
        assert page.total is None
        assert (page.next is None) == (offset + size >= 23)
        by_offset += [one.id for one in page.records]
    assert by_offset == expected
    assert (await listed(store, offset=23, **how)).records == []


@pytest.mark.parametrize(("order_by", "order"), EVERY_ORDER)
async def test_writes_between_pages_neither_repeat_nor_hide_the_others(
    store: Store, order_by: OrderBy, order: Order
) -> None:
    records = shuffled()
    await put(store, *records)
    touched: set[str] = set()
    seen: list[str] = []
    after: tuple[int, int] | None = None
    chance = random.Random(11)
    for turn in range(100):
        page = await listed(store, after=after, limit=3, order_by=order_by, order=order)
        assert page.total == len(await ids(store))
        seen += [one.id for one in page.records]
        after = page.next
        if after is None:
            break
        # The record at which the page ended goes, one of any other changes, and new ones come.
        changed = chance.choice([one.id for one in records if one.id not in touched])
        touched |= {seen[-1], changed}
        when: dict[str, Any] = {"created_at": 1_000 + turn % 8, "updated_at": 2_000 - turn % 8}
        await store.write(
            [
                deleting(selecting(ids=[seen[-1]])),
                replace(changing(changed, content="new"), updated_at=1_996),
                putting(record(f"new{turn}", **when)),
            ]
        )
    still = [name for name in in_order(records, order_by, order) if name not in touched]
    assert len(still) > 5
    assert [name for name in seen if name in still] == still
    if order_by == "seq":
        assert len(seen) == len(set(seen))
    if (order_by, order) == ("seq", "asc"):
        assert seen[-1].startswith("new")


async def test_pages_under_a_selection_count_what_it_admits(store: Store) -> None:
    await put(
        store,
        *[record(f"r{n}", metadata={"n": n}, user_id="ab"[n % 2]) for n in range(20)],
    )
    selection = selecting({"n": {"$gte": 5}}, user_id="a")
    first = await listed(store, selection, limit=3)
    assert [one.id for one in first.records] == ["r6", "r8", "r10"]
    assert first.total == 7
    rest = await listed(store, selection, limit=30, after=first.next)
    assert [one.id for one in rest.records] == ["r12", "r14", "r16", "r18"]
    assert (rest.total, rest.next) == (7, None)
    named = await listed(store, selecting(ids=["r3", "r1", "nobody"]))
    assert [one.id for one in named.records] == ["r1", "r3"]
