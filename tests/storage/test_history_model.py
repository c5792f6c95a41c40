"""Any sequence of writes leaves the history that a plain model of it says."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias
from unittest.mock import patch

import numpy as np
from agentmem_client.errors import APIError
from agentmem_server import times
from agentmem_server.storage import (
    Archive,
    Erase,
    Event,
    Forget,
    Record,
    Refresh,
    Selection,
    Sweep,
    open_store,
)
from hypothesis import given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from tests.storage.conftest import Notes

TENANT, NOTES = "tenant", "notes"
VECTORS = [np.array(v, dtype="<f4").tobytes() for v in ([1, 0], [0, 1], [-1, 0])] + [b""]
TTL = 3


@dataclass
class State:
    """What a record was: ``life`` is one from when an id is added until it is deleted."""

    life: int
    version: int
    user: str | None
    content: str
    vectors: bytes
    archived: bool = False
    expires: int | None = None
    ttl: int | None = None

    def contents(self) -> dict[str, Any]:
        names = ("user", "content", "vectors", "archived", "expires", "ttl")
        return {name: getattr(self, name) for name in names}


Told: TypeAlias = tuple[str, int, str | None, object, object]


@dataclass
class Happened:
    id: str
    action: str
    version: int
    user: str | None
    before: State | None
    after: State | None
    at: int


@dataclass
class Model:
    """What there is and what happened, in plain lists."""

    now: int
    there: dict[str, State] = field(default_factory=dict)
    events: list[Happened] = field(default_factory=list)
    ended: set[int] = field(default_factory=set)
    """Lives that ended by expiring."""
    lives: int = 0

    def is_over(self, state: State) -> bool:
        return state.expires is not None and state.expires <= self.now

    def living(self, id: str) -> State | None:
        state = self.there.get(id)
        return None if state is None or self.is_over(state) else state

    def of(self, id: str) -> list[Happened]:
        return [event for event in self.events if event.id == id]

    def is_kept(self, id: str, state: State) -> bool:
        now = self.there.get(id)
        if now is not None and now.life == state.life and self.is_over(now):
            return False
        return state.life not in self.ended and not self.is_over(state)

    def told(self, id: str) -> list[Told]:
        def shown(state: State | None) -> object:
            if state is None or not self.is_kept(id, state):
                return None
            return state.version, state.user, state.content, state.archived, state.expires

        return [
            (event.action, event.version, event.user, shown(event.before), shown(event.after))
            for event in self.of(id)
        ]

    def happens(
        self, id: str, action: str, version: int, before: State | None, after: State | None
    ) -> None:
        state = before or after
        assert state is not None
        self.events.append(Happened(id, action, version, state.user, before, after, self.now))

    def add(self, id: str, state: State) -> None:
        state.version = max((event.version for event in self.of(id)), default=0) + 1
        self.there[id] = state
        self.happens(id, "added", state.version, None, state)

    def change(self, id: str, **fields: Any) -> None:
        before = self.there[id]
        after = replace(before, version=before.version + 1, **fields)
        if before.user != after.user:
            self.happens(id, "deleted", after.version, before, None)
            after.version += 1
            self.happens(id, "added", after.version, None, after)
        else:
            self.happens(id, "updated", after.version, before, after)
        self.there[id] = after

    def remove(self, id: str) -> None:
        """Delete what is there, or find that it has expired."""
        state = self.there[id]
        if self.is_over(state):
            self.ended.add(state.life)
            self.events.append(
                Happened(id, "expired", state.version + 1, state.user, None, None, self.now)
            )
        else:
            self.happens(id, "deleted", state.version + 1, state, None)
        del self.there[id]

    def make_room(self, id: str) -> None:
        if id in self.there and self.living(id) is None:
            self.remove(id)

    def state(self, id: str, version: int) -> State | None:
        """One that can be gone back to."""
        now = self.living(id)
        if now is not None and now.version == version:
            return now
        for event in self.of(id):
            before = event.before
            if before is not None and before.version == version and self.is_kept(id, before):
                return before
        return None


class Play:
    """Each step is taken by a store and by the model."""

    def __init__(self, notes: "Notes", model: Model) -> None:
        self.notes = notes
        self.model = model

    async def put(self, id: str, user: str | None, content: str, vectors: bytes, ttl: int) -> None:
        expires = self.model.now + ttl if ttl else None
        fields: dict[str, Any] = {"user_id": user, "vectors": vectors, "expires_at": expires}
        stored = await self.notes.put(id, content, **fields, ttl=ttl or None)
        self.model.make_room(id)
        self.model.lives += 1
        state = State(self.model.lives, 0, user, content, vectors, expires=expires, ttl=ttl or None)
        if id in self.model.there:
            self.model.change(id, **state.contents())
        else:
            self.model.add(id, state)
        assert stored.version == self.model.there[id].version

    async def update(self, id: str, content: str, vectors: bytes | None, expires: int) -> None:
        changes: dict[str, Any] = {"content": content}
        if expires:
            changes["expires_at"] = None if expires == TTL else self.model.now + expires
        after = await self.notes.change(id, vectors=vectors, **changes)
        state = self.model.living(id)
        assert (after is None) == (state is None)
        if state is not None:
            new = {"expires": changes["expires_at"]} if expires else {}
            kept = state.vectors if vectors is None else vectors
            self.model.change(id, content=content, vectors=kept, **new)
            assert after.version == self.model.there[id].version

    async def archive(self, archived: bool) -> None:
        await self.notes.write(Archive(TENANT, NOTES, Selection(), archived))
        for id in list(self.model.there):
            state = self.model.living(id)
            if state is not None and state.archived != archived:
                self.model.change(id, archived=archived)

    async def refresh(self, id: str) -> None:
        await self.notes.write(Refresh(TENANT, NOTES, [id], self.model.now))
        state = self.model.living(id)
        if state is not None and state.ttl is not None:
            state.expires = self.model.now + state.ttl

    async def delete(self, ids: list[str], user: str | None) -> None:
        scope = {} if user is None else {"user_id": user}
        await self.notes.delete(*ids, **scope)
        for id in list(self.model.there):
            state = self.model.living(id)
            if state is not None and id in (ids or [id]) and user in (None, state.user):
                self.model.remove(id)
            elif not ids and user is None:
                self.model.make_room(id)  # all of it goes, at once

    async def restore(self, id: str, version: int) -> None:
        try:
            restored = await self.notes.restore(id, version)
        except APIError:
            assert self.model.state(id, version) is None
            return
        state = self.model.state(id, version)
        assert state is not None
        self.model.make_room(id)
        now = self.model.there.get(id)
        if now is None:
            self.model.add(id, replace(state))
        elif now.contents() != state.contents():
            self.model.change(id, **state.contents())
        assert restored.version == self.model.there[id].version

    async def sweep(self) -> None:
        await self.notes.write(Sweep(self.model.now, 100))
        for id in list(self.model.there):
            self.model.make_room(id)

    async def forget(self, age: int) -> None:
        before = self.model.now - age
        await self.notes.write(Forget(before, self.model.now, 1_000))
        while self.model.events and self.model.events[0].at < before:
            del self.model.events[0]

    async def erase(self, user: str) -> None:
        erased = await self.notes.write(Erase(TENANT, user, self.model.now))
        kept = [event for event in self.model.events if event.user != user]
        assert erased.events == len(self.model.events) - len(kept)
        self.model.events = kept
        for id, state in list(self.model.there.items()):
            if state.user == user:
                del self.model.there[id]

    async def wait(self, time: int) -> None:
        self.model.now += time

    async def check(self) -> None:
        """Reads agree with the model."""
        living = {id: state for id in self.model.there if (state := self.model.living(id))}
        for id in "ab":
            events = await self.notes.history(id)
            assert [as_told(event) for event in events] == self.model.told(id)
            found = await self.notes.get(id)
            assert (found is None) == (id not in living)
            if found is not None:
                state = living[id]
                assert (found.version, found.user_id) == (state.version, state.user)
                assert (found.content, found.vectors or b"") == (state.content, state.vectors)
                assert (found.expires_at, found.ttl) == (state.expires, state.ttl)
        assert set(await self.notes.ids()) == set(living)
        with_vectors = {id for id, state in living.items() if state.vectors}
        assert set(await self.notes.near(VECTORS[0])) == with_vectors
        for word in ("one", "two", "three"):
            saying = {id for id, state in living.items() if state.content == word}
            assert set(await self.notes.saying(word)) == saying


def as_told(event: Event) -> Told:
    def shown(record: Record | None) -> object:
        if record is None:
            return None
        fields = (record.version, record.user_id, record.content, record.archived)
        return *fields, record.expires_at

    assert event.version is not None
    scope = event.scope.user_id
    return event.action, event.version, scope, shown(event.before), shown(event.after)


ids, users, words = (
    st.sampled_from("ab"),
    st.sampled_from([None, "u", "v"]),
    st.sampled_from(["one", "two", "three"]),
)
vectors, spans = st.sampled_from(VECTORS), st.sampled_from([0, 0, 0, 2, TTL])
steps = st.one_of(
    st.tuples(st.just("put"), ids, users, words, vectors, spans),
    st.tuples(st.just("put"), ids, users, words, vectors, st.just(0)),
    st.tuples(st.just("update"), ids, words, st.none() | vectors, spans),
    st.tuples(st.just("update"), ids, words, st.none() | vectors, st.just(0)),
    st.tuples(st.just("archive"), st.booleans()),
    st.tuples(st.just("refresh"), ids),
    st.tuples(st.just("delete"), st.lists(ids, min_size=1, max_size=2), st.none()),
    st.tuples(st.just("delete"), st.just([]), users),
    st.tuples(st.just("restore"), ids, st.integers(1, 6)),
    st.tuples(st.just("restore"), ids, st.integers(1, 12)),
    st.tuples(st.just("sweep")),
    st.tuples(st.just("forget"), st.integers(0, 4)),
    st.tuples(st.just("erase"), st.sampled_from(["u", "v"])),
    st.tuples(st.just("wait"), st.integers(1, 3)),
)


def test_any_writes_leave_the_history_that_the_model_says(
    new_url: Callable[[], str], new_notes: "type[Notes]"
) -> None:
    is_file = new_url().startswith("sqlite")  # which is asked without crossing a socket each time

    @settings(max_examples=60 if is_file else 15, deadline=None)
    @given(st.lists(steps, min_size=5, max_size=30))
    def check(taken: list[tuple[Any, ...]]) -> None:
        asyncio.run(play(new_notes, new_url(), taken))

    check()


async def play(new_notes: "type[Notes]", url: str, taken: list[tuple[Any, ...]]) -> None:
    model = Model(times.now())
    with patch.object(times, "now", lambda: model.now):
        notes = new_notes(url, await open_store(url, readers=1))
        game = Play(notes, model)
        try:
            await game.put("a", None, "one", VECTORS[0], 0)
            for name, *arguments in taken:
                await getattr(game, name)(*arguments)
                await game.check()
            await notes.reopen()
            await game.check()
            for id in "ab":  # and what can be gone back to comes back, vectors included
                for version in range(1, 30):
                    await game.restore(id, version)
                    if version % 5 == 0:
                        await game.check()
        finally:
            await notes.store.close()
