"""Random requests of several callers against a model of what they must come to.

The clock is the test's own, so that what has expired is known. A run that
fails tells its seed and what it did; `run` with that seed is the same run again.
"""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

import apsw
import asyncpg
import httpx
import numpy as np
import pytest
from agentmem_client import endpoints as e
from agentmem_server import times
from agentmem_server.app import open_app
from agentmem_server.settings import Settings

from tests.conftest import FakeEmbedder

if TYPE_CHECKING:
    from starlette.applications import Starlette

Json = dict[str, Any]
ADMIN = "the-operator-has-a-key-of-many-characters"
SECOND = 1_000_000
RUNS = 12
STEPS = 60
USERS = ("ann", "bob", None)
IDS = ("a", "b", "c")
COLLECTIONS = ("default", "other")
LOOKS = (e.LIST_MEMORIES, e.SEARCH_MEMORIES, e.MEMORY_HISTORY)
"""Of which a failing run's account says nothing."""


class Clock:
    """Microseconds that pass when the test says so, and one at each look."""

    def __init__(self) -> None:
        self.now = 1_800_000_000 * SECOND

    def __call__(self) -> int:
        self.now += 1
        return self.now


@dataclass
class State:
    """What a memory is."""

    life: int
    version: int
    content: str
    metadata: Json
    user_id: str | None
    agent_id: str | None
    archived: bool
    expires_at: int | None
    ttl: int | None

    def is_over(self, now: int) -> bool:
        return self.expires_at is not None and self.expires_at <= now

    def place(self) -> tuple[str | None, str | None]:
        return self.user_id, self.agent_id

    def what(self) -> Any:
        return (self.content, self.metadata, self.place(), self.archived, self.expires_at, self.ttl)


@dataclass
class Change:
    """An event; `before` and `after` as long as they are kept."""

    action: str
    collection: str | None
    id: str | None
    version: int | None
    user_id: str | None
    agent_id: str | None
    before: State | None = None
    after: State | None = None


@dataclass
class Tenant:
    """All that one tenant has."""

    memories: dict[tuple[str, str], State] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    made: list[str] = field(default_factory=list)
    lives: Iterator[int] = field(default_factory=lambda: iter(range(1_000_000)))


@dataclass(frozen=True)
class Caller:
    """Who asks, with which key."""

    tenant: str
    user_id: str | None
    key: str


Place = tuple[str, str]
Refused = Literal[403, 404, 409, 412, 422]


class Model:
    """What the requests come to, by the words of the server's README."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.tenants = {"one": Tenant(), "two": Tenant()}

    def living(self, caller: Caller, place: Place) -> State | None:
        state = self.tenants[caller.tenant].memories.get(place)
        if state is None or state.is_over(self.clock.now):
            return None
        return state if caller.user_id in (None, state.user_id) else None

    def seen(self, caller: Caller, collection: str) -> dict[str, State]:
        places = [(collection, id) for id in IDS]
        found = {place[1]: self.living(caller, place) for place in places}
        return {id: state for id, state in found.items() if state is not None}

    def add(self, caller: Caller, place: Place, wish: State) -> State | Refused:
        tenant = self.tenants[caller.tenant]
        if caller.user_id is not None:
            if wish.user_id not in (None, caller.user_id):
                return 403
            wish.user_id = caller.user_id
        self._expire(tenant, place)
        before = tenant.memories.get(place)
        if before is None:
            wish.life = next(tenant.lives)
            self._appear(tenant, place, wish)
        elif caller.user_id not in (None, before.user_id):
            return 409
        else:
            wish.life = before.life
            self._change(tenant, place, wish)
        return wish

    def update(
        self, caller: Caller, place: Place, fields: Json, if_version: int | None
    ) -> State | Refused:
        before = self.living(caller, place)
        if before is None:
            return 404
        if if_version not in (None, before.version):
            return 412
        after = replace(deepcopy(before), **fields)
        self._change(self.tenants[caller.tenant], place, after)
        return after

    def delete(self, caller: Caller, place: Place, if_version: int | None = None) -> int | Refused:
        before = self.living(caller, place)
        if before is None:
            return 0
        if if_version not in (None, before.version):
            return 412
        tenant = self.tenants[caller.tenant]
        self._tell(tenant, "deleted", place, before, before.version + 1, before=before)
        del tenant.memories[place]
        return 1

    def restore(self, caller: Caller, place: Place, version: int) -> State | Refused:
        tenant = self.tenants[caller.tenant]
        now = self.clock.now
        current = tenant.memories.get(place)
        if current is not None and current.is_over(now):
            current = None
        mine = current if current and caller.user_id in (None, current.user_id) else None
        if mine is not None and mine.version == version:
            return mine
        changes = [
            one
            for one in tenant.changes
            if (one.collection, one.id) == place and caller.user_id in (None, one.user_id)
        ]
        images = [one.before for one in changes if one.before and one.version == version + 1]
        if not images or images[0].is_over(now) or self._is_gone(tenant, place, images[0]):
            gone = [one for one in changes if one.version == version]
            if gone and gone[0].action in ("deleted", "expired"):
                return 422
            return 404
        state = deepcopy(images[0])
        if current is None:
            self._expire(tenant, place)
            self._appear(tenant, place, state)
            return state
        if mine is None:
            return 409
        state.life = current.life
        if state.what() == current.what():
            return current
        self._change(tenant, place, state)
        return state

    def erase(self, caller: Caller, user: str) -> tuple[int, int] | Refused:
        if caller.user_id not in (None, user):
            return 404
        tenant = self.tenants[caller.tenant]
        gone = [place for place, state in tenant.memories.items() if state.user_id == user]
        alive = sum(not tenant.memories[place].is_over(self.clock.now) for place in gone)
        for place in gone:
            del tenant.memories[place]
        kept = [one for one in tenant.changes if one.user_id != user]
        events = sum(one.user_id == user and one.id is not None for one in tenant.changes)
        tenant.changes = [*kept, Change("erased", None, None, None, user, None)]
        return alive, events

    def sweep(self) -> None:
        for tenant in self.tenants.values():
            over = [
                (tenant.made.index(place[0]), state.expires_at, state.life, place)
                for place, state in tenant.memories.items()
                if state.is_over(self.clock.now)
            ]
            for *_, place in sorted(over):
                self._expire(tenant, place)

    def clear(self, caller: Caller, collection: str) -> int:
        tenant = self.tenants[caller.tenant]
        if caller.user_id is None:
            places = [place for place in tenant.memories if place[0] == collection]
            # By seq, which is what a life is.
            for place in sorted(places, key=lambda one: tenant.memories[one].life):
                self._expire(tenant, place)
        mine = self.seen(caller, collection)
        for id in sorted(mine, key=lambda one: mine[one].life):
            self.delete(caller, (collection, id))
        return len(mine)

    def told(self, caller: Caller, place: Place | None = None) -> list[Any]:
        """The events that a caller is told of, of one memory or of all."""
        tenant = self.tenants[caller.tenant]
        return [
            (
                one.action,
                one.collection,
                one.id,
                one.version,
                one.user_id,
                one.agent_id,
                self._shown(tenant, one, one.before),
                self._shown(tenant, one, one.after),
            )
            for one in tenant.changes
            if caller.user_id in (None, one.user_id)
            and (place is None or (one.collection, one.id) == place)
        ]

    def _shown(self, tenant: Tenant, change: Change, state: State | None) -> Any:
        if state is None or change.collection is None or change.id is None:
            return None
        place = (change.collection, change.id)
        if self._is_gone(tenant, place, state):
            return None
        current = tenant.memories.get(place)
        is_current = current is not None and current.version == state.version
        if state.is_over(self.clock.now) and not is_current:
            return None
        return (state.version, *state.what())

    def _is_gone(self, tenant: Tenant, place: Place, state: State) -> bool:
        """Whether a state is one of a memory that has expired."""
        current = tenant.memories.get(place)
        return (
            current is not None and current.life == state.life and (current.is_over(self.clock.now))
        )

    def _expire(self, tenant: Tenant, place: Place) -> None:
        state = tenant.memories.get(place)
        if state is None or not state.is_over(self.clock.now):
            return
        for one in tenant.changes:
            if (one.collection, one.id) == place:
                if one.before is not None and one.before.life == state.life:
                    one.before = None
                if one.after is not None and one.after.life == state.life:
                    one.after = None
        del tenant.memories[place]
        self._tell(tenant, "expired", place, state, state.version + 1)

    def _appear(self, tenant: Tenant, place: Place, state: State) -> None:
        versions = [one.version or 0 for one in tenant.changes if (one.collection, one.id) == place]
        state.version = (versions[-1] if versions else 0) + 1
        tenant.memories[place] = state
        if place[0] not in tenant.made:
            tenant.made.append(place[0])
        self._tell(tenant, "added", place, state, state.version, after=state)

    def _change(self, tenant: Tenant, place: Place, after: State) -> None:
        before = tenant.memories[place]
        if before.place() == after.place():
            after.version = before.version + 1
            self._tell(tenant, "updated", place, before, after.version, before=before, after=after)
        else:
            self._tell(tenant, "deleted", place, before, before.version + 1, before=before)
            after.version = before.version + 2
            self._tell(tenant, "added", place, after, after.version, after=after)
        tenant.memories[place] = after

    def _tell(
        self,
        tenant: Tenant,
        action: str,
        place: Place,
        whose: State,
        version: int,
        before: State | None = None,
        after: State | None = None,
    ) -> None:
        tenant.changes.append(
            Change(
                action,
                *place,
                version,
                whose.user_id,
                whose.agent_id,
                deepcopy(before),
                deepcopy(after),
            )
        )


def refresh_last(model: Model, caller: Caller, place: Place, now: int) -> None:
    """A read with ``refresh_ttl``: no event; the last one's state moves along."""
    tenant = model.tenants[caller.tenant]
    state = tenant.memories[place]
    if state.ttl is None:
        return
    state.expires_at = now + state.ttl
    for one in reversed(tenant.changes):
        if (one.collection, one.id) == place:
            if one.after is not None:
                one.after.expires_at = state.expires_at
            return


def shown(answer: Json | None) -> Any:
    """A memory of an answer, as the model tells it."""
    if answer is None:
        return None
    expires_at, ttl = answer["expires_at"], answer["ttl"]
    return (
        answer["version"],
        answer["content"],
        answer["metadata"],
        (answer["user_id"], answer["agent_id"]),
        answer["archived"],
        None if expires_at is None else microseconds(expires_at),
        None if ttl is None else round(ttl * SECOND),
    )


def microseconds(text: str) -> int:
    return times.to_microseconds(datetime.fromisoformat(text))


def event(answer: Json) -> Any:
    return (
        answer["action"],
        answer["collection"],
        answer["memory_id"],
        answer["version"],
        answer["user_id"],
        answer["agent_id"],
        shown(answer["before"]),
        shown(answer["after"]),
    )


def same(found: list[Any], expected: list[Any]) -> None:
    assert len(found) == len(expected), (found, expected)
    for one, other in zip(found, expected, strict=True):
        assert one == other, f"{one}, not {other}"


class Run:
    """One random run."""

    def __init__(self, seed: int, database_url: str, clock: Clock) -> None:
        self.chance = random.Random(seed)
        self.clock = clock
        self.model = Model(clock)
        self.database_url = database_url
        self.words = iter(f"word{number}" for number in range(100_000))
        self.done: list[str] = []
        self.app: Starlette
        self.api: httpx.AsyncClient
        self.callers: list[Caller] = []

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        settings = Settings(
            database_url=self.database_url,
            admin_key=ADMIN,
            rate_limit=0,
            sweep_interval=1e6,
        )
        async with (
            open_app(settings, embedder=FakeEmbedder()) as self.app,
            httpx.AsyncClient(
                transport=httpx.ASGITransport(self.app), base_url="http://localhost"
            ) as self.api,
        ):
            yield

    async def make_callers(self) -> None:
        for tenant, user in (("one", None), ("one", "ann"), ("one", "bob"), ("two", None)):
            wish: Json = {"name": "k", "tenant": tenant, "user_id": user}
            made = await self.api.post(e.CREATE_KEY.path, json=wish, headers={"X-API-Key": ADMIN})
            self.callers.append(Caller(tenant, user, made.json()["key"]))

    async def send(
        self,
        caller: Caller,
        row: e.Endpoint[Any],
        segment: str = "",
        body: Any = None,
        query: Json | None = None,
        headers: Json | None = None,
    ) -> httpx.Response:
        url = row.url(id=segment, name=segment)
        whole = {"X-API-Key": caller.key, **(headers or {})}
        answer = await self.api.request(row.method, url, json=body, params=query, headers=whole)
        assert answer.status_code < 500, answer.text
        if row not in LOOKS:
            whose = f"{caller.tenant}/{caller.user_id}"
            sent = f"{row.name} {segment} {body} {query} {headers or ''}"
            self.done.append(f"{whose} {sent} -> {answer.status_code}")
        return answer

    def check(self, answer: httpx.Response, expected: Any) -> None:
        if isinstance(expected, State):
            assert answer.is_success, answer.text
            assert shown(answer.json()) == (expected.version, *expected.what())
        else:
            assert answer.status_code == expected, (answer.text, expected)

    def wish(self) -> tuple[State, Json]:
        user, agent = self.chance.choice(USERS), self.chance.choice(("x", None))
        metadata = {"n": self.chance.randrange(3)}
        state = State(0, 0, next(self.words), metadata, user, agent, False, None, None)
        body: Json = {"content": state.content, "metadata": metadata}
        body |= {"user_id": user, "agent_id": agent}
        match self.chance.randrange(5):
            case 0:
                body["ttl"] = state.ttl = self.chance.choice((1, 3, 10))
                state.ttl *= SECOND
            case 1:
                state.expires_at = self.clock.now + self.chance.choice((2, 5)) * SECOND
                body["expires_at"] = times.to_datetime(state.expires_at).isoformat()
        return state, body

    async def step(self) -> None:
        caller = self.chance.choice(self.callers)
        place = self.chance.choice(COLLECTIONS), self.chance.choice(IDS)
        steps = [self.add] * 4 + [self.update] * 4 + [self.delete] * 3 + [self.restore] * 6
        steps += [self.batch, self.archive, self.wait, self.wait, self.sweep, self.refresh]
        if self.chance.random() < 0.1:
            steps = [self.erase, self.clear, self.replacing]
        await self.chance.choice(steps)(caller, place)

    async def add(self, caller: Caller, place: Place) -> None:
        wish, body = self.wish()
        body |= {"collection": place[0], "id": place[1]}
        before = self.clock.now
        answer = await self.send(caller, e.ADD_MEMORY, body=body)
        self.settle(wish, answer)
        at, self.clock.now = self.clock.now, before + 1
        expected = self.model.add(caller, place, wish)
        self.clock.now = at
        self.check(answer, expected)

    def settle(self, wish: State, answer: httpx.Response) -> None:
        """A time to live starts when the server says: to the microsecond we can't know it."""
        if wish.ttl is not None and answer.is_success:
            expires_at = microseconds(answer.json()["expires_at"])
            assert abs(expires_at - self.clock.now - wish.ttl) < 1_000
            wish.expires_at = expires_at

    async def update(self, caller: Caller, place: Place) -> None:
        fields: Json = {}
        if self.chance.random() < 0.7:
            fields["content"] = next(self.words)
        if self.chance.random() < 0.5 or not fields:
            fields["metadata"] = {"n": self.chance.randrange(3)}
        body = dict(fields)
        if self.chance.random() < 0.2:
            body["ttl"] = self.chance.choice((1, 3, None))
            ttl = body["ttl"]
            fields["ttl"] = None if ttl is None else ttl * SECOND
            fields["expires_at"] = None
        living = self.model.living(caller, place)
        if_version = None
        if self.chance.random() < 0.4:
            if_version = self.chance.choice((1, 2, living.version if living else 3))
        headers = None if if_version is None else {"If-Match": f'"{if_version}"'}
        answer = await self.send(
            caller, e.UPDATE_MEMORY, place[1], body, {"collection": place[0]}, headers
        )
        if answer.is_success and fields.get("ttl") is not None:
            fields["expires_at"] = microseconds(answer.json()["expires_at"])
        self.check(answer, self.model.update(caller, place, fields, if_version))

    async def delete(self, caller: Caller, place: Place) -> None:
        living = self.model.living(caller, place)
        if_version = None
        if self.chance.random() < 0.3:
            if_version = self.chance.choice((1, living.version if living else 3))
        headers = None if if_version is None else {"If-Match": f'"{if_version}"'}
        answer = await self.send(
            caller, e.DELETE_MEMORY, place[1], None, {"collection": place[0]}, headers
        )
        expected = self.model.delete(caller, place, if_version)
        if expected == 412:
            assert answer.status_code == 412
        else:
            assert answer.json() == {"deleted": expected}

    async def restore(self, caller: Caller, place: Place) -> None:
        version = self.chance.randrange(1, 9)
        answer = await self.send(
            caller, e.RESTORE_MEMORY, place[1], {"version": version}, {"collection": place[0]}
        )
        self.check(answer, self.model.restore(caller, place, version))

    async def batch(self, caller: Caller, place: Place) -> None:
        wish, body = self.wish()
        wish.ttl = wish.expires_at = None
        body.pop("ttl", None)
        body.pop("expires_at", None)
        other, second = deepcopy(wish), dict(body)
        body |= {"collection": place[0], "id": place[1]}
        second |= {"collection": place[0], "id": self.chance.choice(IDS)}
        answer = await self.send(caller, e.ADD_MEMORIES, body={"memories": [body, second]})
        results = answer.json()["results"]
        for state, one in ((wish, body), (other, second)):
            expected = self.model.add(caller, (place[0], one["id"]), state)
            result = results.pop(0)
            assert (result["status"] == "failed") == isinstance(expected, int), result

    async def replacing(self, caller: Caller, place: Place) -> None:
        wish, body = self.wish()
        wish.ttl = wish.expires_at = None
        body.pop("ttl", None)
        body.pop("expires_at", None)
        body |= {"collection": place[0], "id": place[1]}
        out = self.chance.choice(([], ["a"], ["b"], ["c"]))  # several go in no order of ours
        whole = {"memories": [body], "atomic": True}
        whole["replacing"] = {"collection": place[0], "ids": out}
        before = deepcopy(self.model.tenants[caller.tenant])
        answer = await self.send(caller, e.ADD_MEMORIES, body=whole)
        for id in out:
            self.model.delete(caller, (place[0], id))
        expected = self.model.add(caller, place, wish)
        if isinstance(expected, int):
            assert answer.status_code == expected
            before.lives = self.model.tenants[caller.tenant].lives
            self.model.tenants[caller.tenant] = before
        else:
            assert answer.is_success, answer.text

    async def archive(self, caller: Caller, place: Place) -> None:
        archived = self.chance.random() < 0.5
        body = {"collection": place[0], "ids": list(IDS), "archived": archived}
        answer = await self.send(caller, e.ARCHIVE_MEMORIES, body=body)
        mine = self.model.seen(caller, place[0])
        changed = []
        for id in sorted(mine, key=lambda one: mine[one].life):
            if mine[id].archived != archived:
                after = self.model.update(caller, (place[0], id), {"archived": archived}, None)
                assert isinstance(after, State)
                changed.append((after.version, *after.what()))
        assert [shown(one) for one in answer.json()["memories"]] == changed

    async def refresh(self, caller: Caller, place: Place) -> None:
        query = {"collection": place[0], "refresh_ttl": "true"}
        answer = await self.send(caller, e.GET_MEMORY, place[1], None, query)
        state = self.model.living(caller, place)
        if state is None:
            assert answer.status_code == 404
            return
        if state.ttl is not None:
            at = microseconds(answer.json()["expires_at"]) - state.ttl
            refresh_last(self.model, caller, place, at)
        self.check(answer, state)

    async def wait(self, caller: Caller, place: Place) -> None:
        self.clock.now += self.chance.choice((1, 2, 4)) * SECOND
        self.engine().caches["result"].clear()  # it goes by another clock
        self.done.append("wait")

    async def sweep(self, caller: Caller, place: Place) -> None:
        engine = self.engine()
        await engine.sweep()
        await engine.history.forget(1e9)
        self.model.sweep()
        self.done.append("sweep")

    def engine(self) -> Any:
        routes = [one for one in self.app.routes if getattr(one, "name", "") == "add_memory"]
        answering: Any = routes[0]
        return answering.endpoint._handler.__self__._engine

    async def erase(self, caller: Caller, place: Place) -> None:
        user = self.chance.choice(("ann", "bob"))
        answer = await self.send(caller, e.ERASE_USER, user)
        expected = self.model.erase(caller, user)
        if isinstance(expected, int):
            assert answer.status_code == expected
        else:
            assert (answer.json()["memories"], answer.json()["events"]) == expected

    async def clear(self, caller: Caller, place: Place) -> None:
        body = {"collection": place[0], "everything": True}
        answer = await self.send(caller, e.DELETE_MEMORIES, body=body)
        assert answer.json()["deleted"] == self.model.clear(caller, place[0])

    async def compare(self) -> None:
        for caller in self.callers:
            for collection in COLLECTIONS:
                await self.compare_memories(caller, collection)
                for id in IDS:
                    place = (collection, id)
                    history = await self.send(
                        caller, e.MEMORY_HISTORY, id, None, {"collection": collection}
                    )
                    told = self.model.told(caller, place)
                    if history.status_code == 404:
                        assert told == []
                    else:
                        same([event(one) for one in history.json()["events"]], told)
            told = self.model.told(caller)
            same([event(one) for one in await self.followed(caller, len(told))], told)

    async def compare_memories(self, caller: Caller, collection: str) -> None:
        seen = self.model.seen(caller, collection)
        query = {"collection": collection, "include_embeddings": "true"}
        listed = (await self.send(caller, e.LIST_MEMORIES, "", None, query)).json()["memories"]
        expected = {id: (one.version, *one.what()) for id, one in seen.items()}
        assert {one["id"]: shown(one) for one in listed} == expected
        vectors = await FakeEmbedder().embed([one["content"] for one in listed])
        for one, vector in zip(listed, vectors, strict=True):
            assert np.allclose(one["embedding"], vector, atol=1e-6), one
        body: Json = {"collection": collection, "query": "word", "mode": "dense"}
        hits = (await self.send(caller, e.SEARCH_MEMORIES, "", body)).json()["hits"]
        found = {one["id"]: shown(one) for one in hits}
        assert found == expected, f"{found}, not {expected}"
        for id, one in seen.items():
            body = {"collection": collection, "query": one.content, "mode": "sparse"}
            hits = (await self.send(caller, e.SEARCH_MEMORIES, "", body)).json()["hits"]
            assert id in [hit["id"] for hit in hits]

    async def followed(self, caller: Caller, count: int) -> list[Json]:
        """What the feed tells a caller from its beginning on, so many events and no more."""
        text = b""
        left, quiet = asyncio.Event(), asyncio.Event()

        async def receive() -> Json:
            if not asked:
                asked.append(1)
                return {"type": "http.request", "body": b"", "more_body": False}
            await left.wait()
            return {"type": "http.disconnect"}

        asked: list[int] = []

        async def send(message: Any) -> None:
            nonlocal text
            text += message.get("body", b"")
            if text.count(b"\ndata: ") >= count:
                quiet.set()

        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "GET",
            "path": e.EVENTS.path,
            "raw_path": e.EVENTS.path.encode(),
            "query_string": b"after=0",
            "headers": [(b"x-api-key", caller.key.encode()), (b"host", b"localhost")],
            "client": ("127.0.0.1", 1),
            "extensions": {},
        }
        task = asyncio.create_task(self.app(scope, receive, send))
        async with asyncio.timeout(10):
            await quiet.wait()
        await asyncio.sleep(0)
        left.set()
        await task
        lines = [line for line in text.split(b"\n") if line.startswith(b"data: ")]
        return [json.loads(line.removeprefix(b"data: ")) for line in lines]


ORPHANS = (
    "SELECT count(*) FROM image WHERE eid NOT IN (SELECT eid FROM event)",
    "SELECT count(*) FROM {vectors} v WHERE rid NOT IN (SELECT rid FROM memory) AND NOT EXISTS "
    "(SELECT 1 FROM image WHERE vectors IS NULL AND eid = "
    "(SELECT max(eid) FROM image WHERE rid = v.rid))",
    "SELECT count(*) FROM tag WHERE rid NOT IN (SELECT rid FROM memory)",
    "SELECT count(*) FROM (SELECT cid, id, version FROM event WHERE cid IS NOT NULL "
    "GROUP BY 1, 2, 3 HAVING count(*) > 1) AS twice",
)
"""What would be left over in a database."""


async def check_database(url: str) -> None:
    """Nothing is left over in it."""
    if url.startswith("sqlite:///"):
        path = url.removeprefix("sqlite:///")
        file = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY)
        for orphans in ORPHANS:
            assert file.execute(orphans.format(vectors="vector")).get == 0, orphans
        assert file.execute("PRAGMA integrity_check").get == "ok"
        file.close()
        return
    dsn, _, schema = url.rpartition("&schema=")
    connection = await asyncpg.connect(dsn, server_settings={"search_path": schema})
    for orphans in ORPHANS:
        assert await connection.fetchval(orphans.format(vectors="embedding")) == 0, orphans
    words = "SELECT count(*) FROM keyword WHERE rid NOT IN (SELECT rid FROM memory)"
    assert await connection.fetchval(words) == 0
    await connection.close()


async def run(seed: int, database_url: str, clock: Clock, steps: int = STEPS) -> None:
    one = Run(seed, database_url, clock)
    try:
        async with one.opened():
            await one.make_callers()
            for number in range(steps):
                await one.step()
                if number % 10 == 9:
                    await one.compare()
            await one.compare()
        async with one.opened():  # all of it is in the database
            await one.compare()
        await check_database(database_url)
    except BaseException as error:
        error.add_note(f"seed {seed}:\n" + "\n".join(one.done))
        raise


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(times, "now", made)
    return made


@pytest.mark.every_engine
@pytest.mark.parametrize("seed", range(RUNS))
async def test_random_requests_come_to_what_the_model_says(
    seed: int, database_url: str, clock: Clock
) -> None:
    await run(seed, database_url, clock)
