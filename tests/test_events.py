"""The feed of changes on a real server: each follower is told each event of its scope once."""

import asyncio
import json
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from agentmem_client import endpoints as e
from httpx_sse import ServerSentEvent, aconnect_sse
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

if TYPE_CHECKING:
    from tests.conftest import MakeServer, Server

Json = dict[str, Any]
API = e.ADD_MEMORY.path
EVENTS = e.EVENTS.path
SOCKET = f"{EVENTS}/ws"
WRITERS, WRITES = 3, 200
USERS = ("u0", "u1", "u2")
ADMIN = "an-admin-key-of-thirty-two-characters-or-more"


@asynccontextmanager
async def opened(server: "Server", **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(
        base_url=server.url, timeout=60, limits=limits, **options
    ) as client:
        yield client


@asynccontextmanager
async def stream(
    client: httpx.AsyncClient, position: int | None = None, **query: Any
) -> AsyncIterator[AsyncIterator[ServerSentEvent]]:
    """The messages of the feed that have data."""
    headers = {} if position is None else {"last-event-id": str(position)}
    async with aconnect_sse(client, "GET", EVENTS, params=query, headers=headers) as source:
        assert source.response.status_code == 200
        yield (message async for message in source.aiter_sse() if message.data)


@asynccontextmanager
async def socket(
    server: "Server", query: str = "", key: str | None = None
) -> AsyncIterator[ClientConnection]:
    headers = {} if key is None else {"x-api-key": key}
    url = f"ws{server.url.removeprefix('http')}{SOCKET}?{query}"
    async with connect(url, additional_headers=headers, proxy=None) as connection:
        yield connection


def event_of(message: ServerSentEvent) -> Json:
    event: Json = message.json()
    assert (message.event, message.id) == (event["action"], str(event["id"]))
    return event


async def some(messages: AsyncIterator[ServerSentEvent], count: int) -> list[Json]:
    return [event_of(await anext(messages)) for _ in range(count)]


async def add(client: httpx.AsyncClient, id: str, **fields: Any) -> Json:
    body = {"id": id, "content": f"{id}.", "embedding": [1, 2, 3, 4], **fields}
    answer = await client.post(API, json=body)
    assert answer.status_code == 201, answer.text
    memory: Json = answer.json()
    return memory


async def test_an_event_is_told_in_full(make_server: "MakeServer") -> None:
    server = await asyncio.to_thread(make_server().start)
    async with (
        opened(server) as client,
        stream(client) as messages,
        socket(server) as connection,
    ):
        first = await add(client, "m", user_id="ann", metadata={"line": "one\ntwo\r\n\u2028"})
        second = (await client.patch(f"{API}/m", json={"type": "new"})).json()
        await client.delete(f"{API}/m")
        told = await some(messages, 3)
        assert [json.loads(await connection.recv()) for _ in range(3)] == told
    assert [(event["before"], event["after"]) for event in told] == [
        (None, first),
        (first, second),
        (second, None),
    ]
    expected = {"collection": "default", "memory_id": "m", "user_id": "ann", "agent_id": None}
    for event, (action, version) in zip(
        told, [("added", 1), ("updated", 2), ("deleted", 3)], strict=True
    ):
        assert expected.items() <= event.items()
        assert (event["action"], event["version"]) == (action, version)
    assert second["version"] == 2


# --- Many at once ----------------------------------------------------------------------------


class Followed:
    """What one follower was told, and what it has to be told in the end."""

    def __init__(self, name: str, wanted: Callable[[Json], bool]) -> None:
        self.name = name
        self.wanted = wanted
        self.told: list[Json] = []
        self.more = asyncio.Event()

    def tell(self, event: Json) -> None:
        self.told.append(event)
        self.more.set()

    @property
    def position(self) -> int:
        return self.told[-1]["id"] if self.told else 0

    async def until(self, done: Callable[[], bool]) -> None:
        while not done():
            self.more.clear()
            await self.more.wait()

    async def check(self, made: list[Json]) -> None:
        """It was told, or will be, what the writers made of its scope, and nothing else."""
        expected = [event for event in made if self.wanted(event)]
        assert len(expected) > 50
        await self.until(lambda: len(self.told) >= len(expected))
        await asyncio.sleep(0.3)  # would more come, now is the time
        ids = [event["id"] for event in self.told]
        assert ids == sorted(set(ids)), self.name
        assert chains(self.told) == chains(expected), self.name


def chains(events: list[Json]) -> dict[tuple[str, str], list[Json]]:
    """The events of each memory, in the order in which they are given, without what differs."""
    made: dict[tuple[str, str], list[Json]] = defaultdict(list)
    for event in events:
        key = (event["collection"], event["memory_id"])
        made[key].append({name: event[name] for name in ("action", "version", "user_id")})
    return made


async def write(client: httpx.AsyncClient, name: str, made: list[Json]) -> None:
    """Add, change and delete memories of one's own; notes the event that each write made."""
    chance = random.Random(name)
    there: dict[str, bool] = {}
    versions: dict[str, int] = {}
    for number in range(WRITES):
        which = chance.randrange(20)
        id, user, collection = f"{name}-{which}", USERS[which % 3], f"c{which % 2}"
        url, query = f"{API}/{id}", {"collection": collection}
        if not there.get(id) or chance.random() < 0.3:
            action = "updated" if there.get(id) else "added"
            fields = {"user_id": user, "metadata": {"number": number}, **query}
            version = (await add(client, id, **fields))["version"]
            there[id] = True
        elif chance.random() < 0.6:
            action = "updated"
            answer = await client.patch(url, params=query, json={"metadata": {"number": number}})
            version = answer.json()["version"]
        else:
            action = "deleted"
            answer = await client.delete(url, params=query)
            assert answer.json() == {"deleted": 1}
            version = versions[id] + 1
            there[id] = False
        assert version == versions.get(id, 0) + 1
        versions[id] = version
        made.append(
            {
                "collection": collection,
                "memory_id": id,
                "action": action,
                "version": version,
                "user_id": user,
            }
        )


async def test_each_follower_is_told_each_event_of_its_scope_once(
    make_server: "MakeServer",
) -> None:
    server = await asyncio.to_thread(make_server().start)
    made: list[Json] = []
    ready = asyncio.Semaphore(0)

    async def by_stream(client: httpx.AsyncClient, followed: Followed, **query: Any) -> None:
        async with stream(client, **query) as messages:
            ready.release()
            async for message in messages:
                followed.tell(event_of(message))

    async def by_socket(followed: Followed, query: str) -> None:
        async with socket(server, query) as connection:
            ready.release()
            async for text in connection:
                followed.tell(json.loads(text))

    async def coming_back(client: httpx.AsyncClient, followed: Followed) -> None:
        chance = random.Random(7)
        ready.release()
        while True:
            async with stream(client, followed.position, after=999_999) as messages:
                for event in await some(messages, chance.randrange(1, 15)):
                    followed.tell(event)

    everything, again = Followed("all", lambda _: True), Followed("again", lambda _: True)
    late = Followed("late", lambda _: True)
    of_user = Followed("user", lambda event: event["user_id"] == "u1")
    of_both = Followed("both", lambda one: one["user_id"] == "u0" and one["collection"] == "c1")
    of_collection = Followed("collection", lambda event: event["collection"] == "c0")
    async with opened(server) as client, asyncio.TaskGroup() as group:
        following = [
            group.create_task(by_stream(client, everything)),
            group.create_task(by_stream(client, of_user, user_id="u1")),
            group.create_task(coming_back(client, again)),
            group.create_task(by_socket(of_collection, "collection=c0&after=0")),
            group.create_task(by_socket(of_both, "collection=c1&user_id=u0")),
        ]
        for _ in following:
            await ready.acquire()
        async with asyncio.TaskGroup() as writers:
            for number in range(WRITERS):
                writers.create_task(write(client, f"w{number}", made))
        assert len(made) == WRITERS * WRITES
        following.append(group.create_task(by_stream(client, late, after=0)))
        for followed in (everything, of_user, again, of_collection, of_both, late):
            await followed.check(made)
        assert [event["id"] for event in again.told] == [event["id"] for event in everything.told]
        for task in following:
            task.cancel()


async def test_kill_9_hides_nothing_from_a_follower_that_comes_back(
    make_server: "MakeServer",
) -> None:
    server = await asyncio.to_thread(make_server().start)
    followed = Followed("all", lambda _: True)
    answered: list[str] = []
    progress = asyncio.Semaphore(0)

    async def follow(client: httpx.AsyncClient) -> None:
        while True:
            with suppress(httpx.TransportError):
                async with stream(client, followed.position) as messages:
                    async for message in messages:
                        followed.tell(event_of(message))
            await asyncio.sleep(0.02)

    async def write_until_killed(client: httpx.AsyncClient, name: str) -> None:
        with suppress(httpx.TransportError):
            for number in range(100_000):
                await add(client, f"{name}-{number}")
                answered.append(f"{name}-{number}")
                progress.release()

    async with opened(server) as client:
        following = asyncio.create_task(follow(client))
        for round_ in range(3):
            async with asyncio.TaskGroup() as writers:
                for number in range(3):
                    writers.create_task(write_until_killed(client, f"{round_}-{number}"))
                for _ in range(100):
                    await progress.acquire()
                await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
        last = await add(client, "last")
        await followed.until(lambda: followed.told[-1]["memory_id"] == "last")
        assert followed.told[-1]["after"] == last
        following.cancel()
        there: list[Json] = []
        query: Json = {"limit": 1_000}
        while query.get("cursor", "") is not None:
            page = (await client.get(API, params=query)).json()
            there += page["memories"]
            query["cursor"] = page["next_cursor"]
    ids = [event["id"] for event in followed.told]
    assert ids == sorted(set(ids))
    told = [event["memory_id"] for event in followed.told]
    assert {*answered} <= {*told}
    assert sorted(told) == sorted(memory["id"] for memory in there)


# --- Whose events ----------------------------------------------------------------------------


@pytest.fixture
async def guarded(make_server: "MakeServer") -> "Server":
    """A server that needs keys."""
    return await asyncio.to_thread(make_server(environment={"AGENTMEM_ADMIN_KEY": ADMIN}).start)


async def make_key(server: "Server", **wish: Any) -> tuple[str, str]:
    async with opened(server, headers={"x-api-key": ADMIN}) as admin:
        answer = await admin.post(e.CREATE_KEY.path, json={"name": "k", **wish})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"], answer.json()["key"]


async def test_a_tenant_follows_its_own_alone_and_a_bound_key_its_user(guarded: "Server") -> None:
    keys = {tenant: (await make_key(guarded, tenant=tenant))[1] for tenant in ("a", "b")}
    keys["ann"] = (await make_key(guarded, tenant="a", user_id="ann"))[1]
    expected = {
        "a": ["a-ann", "a-bob", "a-nobody"],
        "b": ["b-ann", "b-bob", "b-nobody"],
        "ann": ["a-ann"],
    }

    def ids(events: list[Json]) -> list[str]:
        return [event["memory_id"] for event in events]

    for tenant in ("a", "b"):
        async with opened(guarded, headers={"x-api-key": keys[tenant]}) as client:
            for user in ("ann", "bob", None):
                await add(client, f"{tenant}-{user or 'nobody'}", user_id=user)
    for name, key in keys.items():
        count = len(expected[name])
        async with opened(guarded, headers={"x-api-key": key}) as client:
            async with stream(client, after=0) as messages:
                assert ids(await some(messages, count)) == expected[name]
            async with socket(guarded, "after=0", key) as connection:
                told = [json.loads(await connection.recv()) for _ in range(count)]
                assert ids(told) == expected[name]
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(connection.recv(), 0.3)
            foreign = await client.get(EVENTS, params={"user_id": "bob"}) if name == "ann" else None
            assert foreign is None or foreign.status_code == 403


async def refusal(opening: Any) -> tuple[int, Json]:
    """With which HTTP answer a WebSocket is refused."""
    with pytest.raises(InvalidStatus) as refused:
        async with opening:
            raise AssertionError("it was let in")
    response = refused.value.response
    assert response.headers["content-type"] == "application/json"
    body: Json = json.loads(response.body)
    assert response.headers["x-request-id"] == body["request_id"]
    return response.status_code, body["error"]


async def test_who_may_not_read_follows_nothing(guarded: "Server") -> None:
    _, writer = await make_key(guarded, scopes=["write"])
    _, ann = await make_key(guarded, user_id="ann")
    cases = [
        (None, "", 401, "unauthorized"),
        ("am_wrong", "", 401, "unauthorized"),
        (writer, "", 403, "forbidden"),
        (ann, "user_id=bob", 403, "forbidden"),
        (ann, "after=-1", 422, "invalid_request"),
        (ann, "nonsense=1", 422, "invalid_request"),
    ]
    for key, query, status, code in cases:
        headers = {} if key is None else {"x-api-key": key}
        async with opened(guarded, headers=headers) as client:
            answer = await client.get(f"{EVENTS}?{query}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
        denied, error = await refusal(socket(guarded, query, key))
        assert (denied, error["code"]) == (status, code)


async def test_a_revoked_key_follows_no_longer(guarded: "Server") -> None:
    id, key = await make_key(guarded)
    async with (
        opened(guarded, headers={"x-api-key": ADMIN}) as admin,
        opened(guarded, headers={"x-api-key": key}) as client,
        stream(client) as messages,
        socket(guarded, key=key) as connection,
        stream(admin) as others,
    ):
        await add(admin, "before")
        assert (await some(messages, 1))[0]["memory_id"] == "before"
        assert json.loads(await connection.recv())["memory_id"] == "before"
        assert (await admin.delete(f"{e.LIST_KEYS.path}/{id}")).status_code == 200
        await asyncio.sleep(1)
        await add(admin, "after")
        end = await anext(messages)
        assert (end.event, end.json()["error"]["code"]) == ("end", "unauthorized")
        with pytest.raises(StopAsyncIteration):
            await anext(messages)
        with pytest.raises(ConnectionClosed) as closed:
            await connection.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 4401
        assert [one["memory_id"] for one in await some(others, 2)] == ["before", "after"]


# --- Requests and connections ----------------------------------------------------------------


async def test_where_to_begin(make_server: "MakeServer") -> None:
    server = await asyncio.to_thread(make_server().start)
    async with opened(server) as client:
        for number in range(4):
            await add(client, f"m{number}")
        async with stream(client, after=0) as messages:
            ids = [event["id"] for event in await some(messages, 4)]
        async with stream(client, after=ids[1]) as messages:
            assert [event["id"] for event in await some(messages, 2)] == ids[2:]
        async with stream(client, ids[2], after=0) as messages:
            assert [event["id"] for event in await some(messages, 1)] == ids[3:]
        async with client.stream("GET", EVENTS) as response:
            assert response.headers["x-last-event-id"] == str(ids[-1])
            lines = response.aiter_lines()
            assert [await anext(lines) for _ in range(2)] == [f"id: {ids[-1]}", ""]
        async with socket(server, f"after={ids[2]}") as connection:
            assert connection.response is not None
            assert connection.response.headers["x-last-event-id"] == str(ids[2])
            assert json.loads(await connection.recv())["id"] == ids[3]


async def test_what_is_wrong_is_refused(api: httpx.AsyncClient) -> None:
    for bad in ("", "x", "-1", "1.0", "9" * 19, "9" * 5_000, "\u00b2"):
        answer = await api.get(EVENTS, headers={b"last-event-id": bad.encode()})
        assert answer.status_code == 422, bad
        assert "Last-Event-ID must be" in answer.json()["error"]["message"]
        assert len(answer.text) < 500
    for query in ("after=x", "after=-1", "limit=3", "namespace=a", "after=1&after=2", "user_id="):
        assert (await api.get(f"{EVENTS}?{query}")).status_code == 422, query
    refused = await api.post(EVENTS, json={})
    assert refused.status_code == 405
    assert refused.headers["allow"] == "GET, HEAD"
    assert (await api.get(SOCKET)).status_code == 404
    head = await api.head(EVENTS)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"].startswith("text/event-stream")


async def test_a_body_that_is_too_large_is_refused_here_too(make_server: "MakeServer") -> None:
    server = await asyncio.to_thread(make_server(environment={"AGENTMEM_MAX_BODY": "1000"}).start)

    # No more than is read: what the server leaves unread when it closes would take its answer away.
    head = f"GET {EVENTS} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b"64\r\n" + b"x" * 100 + b"\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(head.encode() + 11 * body)
    async with asyncio.timeout(60):
        assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")
    writer.close()
    await writer.wait_closed()
    assert "Traceback" not in server.log_text()
    assert "exception" not in server.log_text()


async def eventually(done: Callable[[], Awaitable[bool]]) -> None:
    while True:
        if await done():
            return
        await asyncio.sleep(0.05)


async def test_only_so_many_follow_at_once_and_who_leaves_makes_room(
    make_server: "MakeServer",
) -> None:
    server = await asyncio.to_thread(make_server(environment={"AGENTMEM_MAX_STREAMS": "2"}).start)
    async with opened(server) as client:

        async def is_full() -> bool:
            async with client.stream("GET", EVENTS) as response:
                if response.status_code == 503:
                    await response.aread()
                    assert response.json()["error"]["code"] == "overloaded"
                    assert response.headers["retry-after"] == "5"
                return response.status_code == 503

        async def has_room() -> bool:
            return not await is_full()

        async with stream(client), socket(server):
            assert await is_full()
            status, error = await refusal(socket(server))
            assert (status, error["code"]) == (503, "overloaded")
        await eventually(has_room)


async def test_one_whose_connection_breaks_makes_room(make_server: "MakeServer") -> None:
    server = await asyncio.to_thread(make_server(environment={"AGENTMEM_MAX_STREAMS": "1"}).start)

    async def by_stream() -> bool:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(f"GET {EVENTS} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()
        return b" 200 OK" in head

    async def by_socket() -> bool:
        url = f"ws{server.url.removeprefix('http')}{SOCKET}"
        try:
            connection = await connect(url, proxy=None)
        except InvalidStatus:
            return False
        connection.transport.abort()
        await connection.wait_closed()
        return True

    for _ in range(3):
        await eventually(by_stream)
        await eventually(by_socket)
    assert "exception" not in server.log_text()


async def test_one_that_reads_nothing_holds_up_nobody_and_misses_nothing(
    make_server: "MakeServer",
) -> None:
    server = await asyncio.to_thread(make_server().start)
    count, content = 150, "x" * 100_000  # more than all buffers on the way hold
    async with (
        opened(server) as client,
        stream(client) as slow,
        socket(server) as slow_socket,
        stream(client) as quick,
    ):
        for number in range(count):
            await add(client, f"m{number}", content=f"{number} {content}", embedding=[1])
        expected = [f"m{number}" for number in range(count)]
        for messages in (quick, slow):
            assert [one["memory_id"] for one in await some(messages, count)] == expected
        told = [json.loads(await slow_socket.recv()) for _ in range(count)]
        assert [one["memory_id"] for one in told] == expected


async def test_what_a_socket_s_client_says_is_ignored_and_may_not_be_long(
    make_server: "MakeServer",
) -> None:
    server = await asyncio.to_thread(make_server().start)
    async with opened(server) as client, socket(server) as connection:
        for _ in range(50):
            await connection.send("hello")
        await connection.send(b"\xff\x00")
        await add(client, "m")
        assert json.loads(await connection.recv())["memory_id"] == "m"
    async with socket(server) as connection:
        await connection.send("x" * 2_000)
        with pytest.raises(ConnectionClosed) as closed:
            await connection.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
    assert "exception" not in server.log_text()


async def test_the_log_has_a_line_for_each_and_tells_nothing_of_it(
    make_server: "MakeServer",
) -> None:
    server = await asyncio.to_thread(make_server(environment={"AGENTMEM_LOG_LEVEL": "debug"}).start)
    async with opened(server) as client:
        async with stream(client, user_id="SecretUser") as messages:
            await add(client, "SecretId", user_id="SecretUser", content="SecretContent")
            await some(messages, 1)
        async with socket(server, "after=0&user_id=SecretUser", "SecretKey") as connection:
            await connection.send("SecretMessage")
            await connection.recv()
        await refusal(socket(server, "SecretParameter=1"))
        url = f"ws{server.url.removeprefix('http')}/SecretPath?SecretQuery"
        with pytest.raises(InvalidStatus) as nowhere:
            await connect(url, proxy=None)
        assert nowhere.value.response.status_code == 404
    await asyncio.to_thread(server.stop)
    log = server.log_text()
    assert "Secret" not in log
    lines = [json.loads(line) for line in log.splitlines()]
    ended = [(line["route"], line["status"]) for line in lines if line["event"] == "request"]
    for one in [(EVENTS, 200), (SOCKET, 101), (SOCKET, 422), (None, 404)]:
        assert ended.count(one) == 1, ended


async def test_told_to_stop_it_ends_all_streams_at_once(make_server: "MakeServer") -> None:
    server = await asyncio.to_thread(
        make_server(environment={"AGENTMEM_SHUTDOWN_TIMEOUT": "600"}).start
    )
    async with (
        opened(server) as client,
        stream(client) as messages,
        socket(server) as connection,
    ):
        await add(client, "m")
        await some(messages, 1)
        await connection.recv()
        stopping = asyncio.create_task(asyncio.to_thread(server.stop))
        end = await anext(messages)
        assert (end.event, end.json()["error"]["code"]) == ("end", "unavailable")
        with pytest.raises(ConnectionClosed) as closed:
            await connection.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
        async with asyncio.timeout(10):
            assert await stopping == 0
    log = server.log_text()
    assert "Traceback" not in log
    assert "exception" not in log
