"""What there is of a tenant and of a user, in numbers."""

from dataclasses import replace
from typing import TYPE_CHECKING

from agentmem_server.storage import Figures

if TYPE_CHECKING:
    from tests.storage.conftest import Clock, Notes

TENANT = "tenant"
DAY = 86_400_000_000
TODAY = 20_000 * DAY


async def figures(notes: "Notes", user: str | None = None, days: int = 3) -> Figures:
    """Of the last days, up to noon of the day that is in `TODAY`."""
    since = TODAY + DAY // 2 - (days - 1) * DAY
    return await notes.store.figures(TENANT, user, since)


async def test_there_is_nothing_of_nobody(notes: "Notes") -> None:
    assert await figures(notes) == Figures(0, [], [], [])


async def test_records_are_counted_by_the_day_of_their_first_storing(
    notes: "Notes", clock: "Clock"
) -> None:
    for moment in (0, 1, DAY - 1, DAY, 3 * DAY, 3 * DAY + 5):
        clock.now = TODAY - 3 * DAY + moment
        await notes.put(str(moment))
    await notes.change("0", content="x")
    clock.now = TODAY + DAY - 1
    found = await figures(notes)
    assert (found.earlier, found.days) == (3, [(TODAY - 2 * DAY, 1), (TODAY, 2)])
    found = await figures(notes, days=1)
    assert (found.earlier, found.days) == (4, [(TODAY, 2)])
    found = await figures(notes, days=30)
    assert found.earlier == 0
    assert found.days == [(TODAY - 3 * DAY, 3), (TODAY - 2 * DAY, 1), (TODAY, 2)]


async def test_living_records_of_the_tenant_count_in_all_its_collections(
    notes: "Notes", clock: "Clock"
) -> None:
    clock.now = TODAY
    await notes.put("a", user_id="u", agent_id="g")
    await notes.write(notes.putting(notes.record("a", user_id="u"), collection="other"))
    await notes.put("b", user_id="v", agent_id="g", archived=True)
    await notes.put("c")
    await notes.put("expired", user_id="w", expires_at=TODAY + 1)
    await notes.put("gone", user_id="w")
    await notes.delete("gone")
    theirs = notes.putting(notes.record("a", user_id="x", agent_id="x"))
    await notes.write(replace(theirs, tenant="another"))
    clock.now = TODAY + 7
    await notes.change("b", content="x")
    assert await figures(notes) == Figures(
        0, [(TODAY, 4)], [("u", 2, TODAY), ("v", 1, TODAY + 7)], [("g", 2, TODAY + 7)]
    )
    assert await figures(notes, "u") == Figures(
        0, [(TODAY, 2)], [("u", 2, TODAY)], [("g", 1, TODAY)]
    )
    assert await figures(notes, "w") == await figures(notes, "x") == Figures(0, [], [], [])


async def test_the_twenty_with_the_most_records_are_named(notes: "Notes") -> None:
    records = [
        notes.record(f"{user}-{number}", user_id=f"u{user:02}", agent_id=f"g{user // 2:02}")
        for user in range(30)
        for number in range(1 + user // 3)
    ]
    await notes.write(notes.putting(*records))
    found = await figures(notes)
    expected = sorted(range(30), key=lambda user: (-(user // 3), user))[:20]
    assert [(id, count) for id, count, _ in found.users] == [
        (f"u{user:02}", 1 + user // 3) for user in expected
    ]
    assert len(found.agents) == 15
    assert sum(count for _, count, _ in found.agents) == len(records)
