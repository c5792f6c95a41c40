"""Two tenants, and two users of one, try everything against each other and find nothing.

The intruder sends every operation once with the victim's ids, names, filters and cursors, and once
with names that nobody has. Were anything of the victim's to be seen, the two answers would differ.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import urlencode

import httpx
import pytest
from agentmem_client import endpoints as e
from websockets.asyncio.client import connect

if TYPE_CHECKING:
    from tests.conftest import FakeExtractor, MakeServer, OpenApi

Json = dict[str, Any]
ADMIN = "the-operator-has-a-key-of-many-characters"
SECRET = "quokka"
"""In all that the victim stores; never in what the intruder sends."""


@dataclass(frozen=True)
class Names:
    """What the victim calls its things, or names of the same length that nobody has."""

    id: str
    deleted: str
    collection: str
    user: str
    agent: str
    session: str
    label: str
    path: str
    value: str
    key: str
    event: int
    cursor: str

    def texts(self) -> list[str]:
        texts = [text for text in vars(self).values() if isinstance(text, str)]
        return sorted(texts, key=len, reverse=True)


VICTIM = Names(
    id="victim-memory-1",
    deleted="victim-memory-2",
    collection="victim-things",
    user="victim-user",
    agent="victim-agent",
    session="victim-session",
    label="victim-label",
    path="victim_path",
    value="victim-value",
    key="",
    event=0,
    cursor="",
)
GHOST = Names(
    **json.loads(json.dumps(vars(VICTIM)).replace("victim", "nobody")),
)


@pytest.fixture
async def api(
    open_api: "OpenApi", database_url: str, told: "FakeExtractor"
) -> AsyncIterator[httpx.AsyncClient]:
    options: Json = {"admin_key": ADMIN, "rate_limit": 100_000, "result_cache_ttl": 300}
    options["extractor"] = told
    async with open_api(database_url=database_url, **options) as client:
        yield client


async def make_key(api: httpx.AsyncClient, **fields: Any) -> Json:
    answer = await api.post(e.CREATE_KEY.path, json=fields, headers={"X-API-Key": ADMIN})
    assert answer.status_code == 201, answer.text
    made: Json = answer.json()
    return made


def memory(names: Names, **fields: Any) -> Json:
    return {
        "id": names.id,
        "content": f"the {SECRET} sleeps",
        "collection": names.collection,
        "user_id": names.user,
        "agent_id": names.agent,
        "session_id": names.session,
        "namespace": [names.label],
        "metadata": {names.path: names.value, "secret": SECRET},
        "payload": {"secret": SECRET},
        **fields,
    }


async def settle(api: httpx.AsyncClient, key: str, names: Names) -> Names:
    """Store the victim's things; answers the names that only came about by that."""
    headers = {"X-API-Key": key}
    for collection in (names.collection, "default"):
        for id in (names.id, names.deleted, "filler"):
            body = memory(names, id=id, collection=collection)
            answer = await api.post(e.ADD_MEMORY.path, json=body, headers=headers)
            assert answer.status_code == 201, answer.text
        url = f"{e.DELETE_MEMORY.url(id=names.deleted)}?collection={collection}"
        assert (await api.delete(url, headers=headers)).json() == {"deleted": 1}
        found = {"query": SECRET, "collection": collection, "user_id": names.user}
        answer = await api.post(e.SEARCH_MEMORIES.path, json=found, headers=headers)
        assert len(answer.json()["hits"]) == 2  # and is in the cache from now on
    listed = await api.get(
        e.LIST_MEMORIES.path, params={"limit": 1, "collection": names.collection}, headers=headers
    )
    history = await api.get(
        e.MEMORY_HISTORY.url(id=names.id), params={"collection": names.collection}, headers=headers
    )
    event = history.json()["events"][-1]["id"]
    return replace(names, cursor=listed.json()["next_cursor"], event=event)


async def learn(api: httpx.AsyncClient, key: str, names: Names) -> None:
    """Have a job of the victim's done."""
    headers = {"X-API-Key": key}
    said = {"id": names.id, "background": True, "messages": [{"content": f"FACT: a {SECRET}."}]}
    scope = {"user_id": names.user, "collection": names.collection}
    answer = await api.post(e.EXTRACT.path, json={**said, **scope}, headers=headers)
    assert answer.status_code == 202, answer.text
    async with asyncio.timeout(20):
        job: Json = {}
        while job.get("status") != "done":
            await asyncio.sleep(0.01)
            job = (await api.get(e.GET_JOB.url(id=names.id), headers=headers)).json()
    assert SECRET in json.dumps(job)


def attempts(n: Names) -> Iterator[tuple[e.Endpoint[Any], str, Json | None, Json]]:
    """Every operation with such names: (row, path segment, body, query)."""
    scope = {"user_id": n.user, "agent_id": n.agent, "session_id": n.session}
    place = {"collection": n.collection}
    filters: list[Json] = [
        {n.path: n.value},
        {n.path: {"$exists": True}},
        {"@id": n.id},
        {"@user_id": {"$ilike": "%user"}},
        {"@content": {"$contains": "sleeps"}},
        {"$not": {"@id": "none"}},
        {"@created_at": {"$gt": "2000-01-01T00:00:00Z"}},
    ]
    for where in ({}, place):
        yield e.GET_MEMORIES, "", {"ids": [n.id, n.deleted, "filler"], **where}, {}
        for id in (n.id, n.deleted, "filler"):
            yield e.GET_MEMORY, id, None, where
            yield e.MEMORY_HISTORY, id, None, where
            yield e.RESTORE_MEMORY, id, {"version": 1}, where
            yield e.UPDATE_MEMORY, id, {"type": "stolen"}, where
            yield e.DELETE_MEMORY, id, None, where
        for mode in ("hybrid", "dense", "sparse"):
            yield e.SEARCH_MEMORIES, "", {"query": "the sleeps", "mode": mode, **where}, {}
        yield (
            e.SEARCH_MEMORIES,
            "",
            {"query": "sleeps", **scope, "namespace": [n.label], **where},
            {},
        )
        yield e.LIST_MEMORIES, "", None, {**scope, **where}
        yield e.LIST_MEMORIES, "", None, {"cursor": n.cursor, "limit": 1, **where}
        yield e.LIST_MEMORIES, "", None, {"namespace": json.dumps([n.label]), **where}
        for condition in filters:
            text = json.dumps(condition)
            yield e.LIST_MEMORIES, "", None, {"filters": text, **where}
            yield e.SEARCH_MEMORIES, "", {"query": "sleeps", "filters": condition, **where}, {}
            yield e.LIST_SESSIONS, "", None, {"filters": text, **where}
            yield e.ARCHIVE_MEMORIES, "", {"filters": condition, **where}, {}
            wanted = {"filters": condition, "include_memories": True, **where}
            yield e.DELETE_MEMORIES, "", wanted, {}
        yield e.LIST_SESSIONS, "", None, {**where}
        yield e.LIST_SESSIONS, "", None, {"user_id": n.user, **where}
        yield e.LIST_NAMESPACES, "", None, {**where}
        yield e.LIST_NAMESPACES, "", None, {"prefix": json.dumps([n.label]), **where}
        yield e.DELETE_MEMORIES, "", {"ids": [n.id], "include_memories": True, **where}, {}
        yield e.DELETE_MEMORIES, "", {**scope, "include_memories": True, **where}, {}
        yield e.ARCHIVE_MEMORIES, "", {"namespace": [n.label], **where}, {}
    yield e.LIST_COLLECTIONS, "", None, {}
    yield e.GET_COLLECTION, n.collection, None, {}
    yield e.STATS, "", None, {}
    narrowed: list[Json] = [{}, {"user_id": n.user}, {"status": "done"}, {"before": 1_000_000}]
    for wanted in narrowed:
        yield e.LIST_JOBS, "", None, wanted
    yield e.GET_JOB, n.id, None, {}
    yield e.RETRY_JOB, n.id, None, {}
    yield e.DELETE_JOB, n.id, None, {}
    yield e.LIST_KEYS, "", None, {}
    yield e.REVOKE_KEY, n.key, None, {}
    yield e.ERASE_USER, n.user, None, {}
    yield e.DELETE_COLLECTION, n.collection, None, {}
    # What stores comes last: from here on the intruder has things of these names itself.
    yield e.PUT_COLLECTION, n.collection, {"embedder": "client", "dimension": 3}, {}
    said = {"id": n.id, "messages": [{"content": "nothing to learn"}], **scope}
    yield e.EXTRACT, "", said, {}
    yield e.EXTRACT_MANY, "", {"conversations": [said]}, {}
    yield e.GET_JOB, n.id, None, {}
    mine = {"content": "mine", "embedding": [1.0, 2.0, 3.0], **place}
    yield e.ADD_MEMORY, "", {"id": n.id, **mine}, {}
    yield e.ADD_MEMORIES, "", {"memories": [{"id": n.deleted, **mine}]}, {}
    replacing = {"memories": [{"id": "filler", **mine}], "atomic": True}
    replacing["replacing"] = {**scope, **place}
    yield e.ADD_MEMORIES, "", replacing, {}
    yield e.MEMORY_HISTORY, n.id, None, place
    yield e.RESTORE_MEMORY, n.id, {"version": 1}, place
    yield e.GET_MEMORY, n.deleted, None, place


async def send(
    api: httpx.AsyncClient, key: str, row: e.Endpoint[Any], segment: str, body: Any, query: Json
) -> httpx.Response:
    url = row.url(id=segment or "none", name=segment or "none")
    headers = {"X-API-Key": key}
    return await api.request(row.method, url, json=body, params=query, headers=headers)


def normal(answer: httpx.Response, names: Names) -> tuple[int, str]:
    """What was answered, without what differs between any two answers."""
    text = answer.text
    for name in names.texts():
        if name:
            text = text.replace(name, "NAME")
    text = re.sub(r'"request_id":"[^"]*"', "", text)
    text = re.sub(r'"(seq|id|version)":\d+', "", text)  # grow with every write of anybody
    text = re.sub(r'"id":"[0-9a-f]{16}","name":"intruder","tenant":"\w+"', "KEY", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+(Z|\+00:00)", "TIME", text)
    text = re.sub(r'"(average_ms|p95_ms|cache_hit_rate|score)":[-\d.e]+', "", text)
    return answer.status_code, text


async def everything(api: httpx.AsyncClient, key: str, names: Names) -> list[Any]:
    """All that the victim has, as it sees it."""
    headers = {"X-API-Key": key}
    seen = []
    for where in ({}, {"collection": names.collection}):
        for row in (e.LIST_MEMORIES, e.LIST_SESSIONS, e.LIST_NAMESPACES):
            seen.append((await api.get(row.path, params=where, headers=headers)).json())
        for id in (names.id, names.deleted):
            url = e.MEMORY_HISTORY.url(id=id)
            seen.append((await api.get(url, params=where, headers=headers)).json())
    for path in (e.LIST_COLLECTIONS.path, e.LIST_JOBS.path, e.GET_JOB.url(id=names.id)):
        seen.append((await api.get(path, headers=headers)).json())
    return seen


async def intrude(api: httpx.AsyncClient, key: str, twin: str, victim: Names) -> set[str]:
    """Send all attempts with the victim's names, and by a twin with nobody's; compare."""
    ghost = replace(GHOST, cursor=victim.cursor, event=victim.event)
    tried = set()
    pairs = zip(attempts(victim), attempts(ghost), strict=True)
    for (row, segment, body, query), (_, other_segment, other_body, other_query) in pairs:
        answer = await send(api, key, row, segment, body, query)
        control = await send(api, twin, row, other_segment, other_body, other_query)
        where = (row.name, segment, body, query)
        assert answer.status_code < 500, (where, answer.text)
        assert SECRET not in answer.text, (where, answer.text)
        assert SECRET not in str(answer.headers), where
        assert normal(answer, victim) == normal(control, ghost), where
        tried.add(row.name)
    return tried


@pytest.mark.every_engine
async def test_two_tenants_find_nothing_of_each_other(api: httpx.AsyncClient) -> None:
    every = ["read", "write", "admin"]
    owner = await make_key(api, tenant="one", name="owner", scopes=every)
    intruder = await make_key(api, tenant="two", name="intruder", scopes=every)
    twin = await make_key(api, tenant="six", name="intruder", scopes=every)
    names = await settle(api, owner["key"], VICTIM)
    await learn(api, owner["key"], names)
    names = replace(names, key=owner["id"])
    before = await everything(api, owner["key"], names)
    assert SECRET in json.dumps(before)
    tried = await intrude(api, intruder["key"], twin["key"], names)
    open_to_all = {row.name for row in e.ENDPOINTS if not row.scopes}
    elsewhere = {e.EVENTS.name, e.CREATE_KEY.name}  # below, and in test_keys.py
    assert tried | open_to_all | elsewhere == {row.name for row in e.ENDPOINTS}
    assert await everything(api, owner["key"], names) == before


async def test_a_tenant_makes_keys_for_itself_alone(api: httpx.AsyncClient) -> None:
    admin = await make_key(api, tenant="one", name="a", scopes=["admin"])
    headers = {"X-API-Key": admin["key"]}
    for wanted in ({"tenant": "two"}, {"scopes": ["metrics"]}, {"rate_limit": 0}):
        answer = await api.post(e.CREATE_KEY.path, json={"name": "n", **wanted}, headers=headers)
        assert answer.status_code == 403, (wanted, answer.text)
    made = await api.post(e.CREATE_KEY.path, json={"name": "n"}, headers=headers)
    assert made.json()["tenant"] == "one"
    listed = (await api.get(e.LIST_KEYS.path, headers=headers)).json()["keys"]
    assert {key["tenant"] for key in listed} == {"one"}
    other = await api.get(e.LIST_KEYS.path, params={"tenant": "two"}, headers=headers)
    assert other.status_code == 403


@pytest.mark.every_engine
async def test_two_users_of_a_tenant_find_nothing_of_each_other(api: httpx.AsyncClient) -> None:
    owner = await make_key(api, tenant="one", name="o", user_id=VICTIM.user)
    intruder = await make_key(api, tenant="one", name="i", user_id="intruder-1")
    headers = {"X-API-Key": intruder["key"]}
    names = await settle(api, owner["key"], VICTIM)
    await learn(api, owner["key"], names)
    before = await everything(api, owner["key"], names)
    assert SECRET in json.dumps(before)
    refused = 0
    for row, segment, body, query in attempts(names):
        answer = await send(api, intruder["key"], row, segment, body, query)
        assert answer.status_code < 500, (row.name, answer.text)
        assert SECRET not in answer.text, (row.name, segment, body, query, answer.text)
        refused += answer.status_code in (403, 404)
    assert refused > 20
    after = await everything(api, owner["key"], names)
    # The collections are the tenant's: that there is one, and how it embeds, all its users see.
    assert after == before
    # Whatever the body says, what the intruder stores is its own.
    sneaky = {"id": "new", "content": "x", "user_id": names.user}
    assert (await api.post(e.ADD_MEMORY.path, json=sneaky, headers=headers)).status_code == 403
    taken = {"id": names.id, "content": "mine now"}
    assert (await api.post(e.ADD_MEMORY.path, json=taken, headers=headers)).status_code == 409
    own = await api.post(e.ADD_MEMORY.path, json={"id": "new", "content": "x"}, headers=headers)
    assert own.json()["user_id"] == "intruder-1"
    everything_ = {"everything": True, "include_memories": True}
    gone = await api.post(e.DELETE_MEMORIES.path, json=everything_, headers=headers)
    assert [one["id"] for one in gone.json()["memories"]] == ["new"]
    assert await everything(api, owner["key"], names) == before


Headers: TypeAlias = dict[str, str]


async def by_sse(url: str, headers: Headers, query: Json) -> AsyncIterator[str]:
    async with (
        httpx.AsyncClient(base_url=url) as api,
        api.stream("GET", e.EVENTS.path, params=query, headers=headers) as response,
    ):
        assert response.status_code == 200, await response.aread()
        async for line in response.aiter_lines():
            yield line


async def by_websocket(url: str, headers: Headers, query: Json) -> AsyncIterator[str]:
    address = f"{url.replace('http', 'ws')}{e.EVENTS.path}/ws?{urlencode(query)}"
    async with connect(address, additional_headers=headers) as socket:
        async for message in socket:
            yield str(message)


async def told(messages: AsyncIterator[str]) -> str:
    """All that a follower is told, up to the memory that ends the test."""
    text = ""
    async for message in messages:
        text += message
        if '"memory_id":"end"' in message:
            return text
    raise AssertionError(f"the feed ended: {text}")


@pytest.mark.every_engine
async def test_feeds_tell_each_tenant_and_user_of_its_own(
    make_server: "MakeServer", database_url: str
) -> None:
    environment = {"AGENTMEM_ADMIN_KEY": ADMIN}
    server = make_server(database_url=database_url, environment=environment).start()
    async with httpx.AsyncClient(base_url=server.url) as api:
        owner = await make_key(api, tenant="one", name="owner")
        bound = await make_key(api, tenant="one", name="bound", user_id="intruder-1")
        other = await make_key(api, tenant="two", name="other")
        names = await settle(api, owner["key"], VICTIM)
        owners = by_sse(server.url, {"X-API-Key": owner["key"]}, {"after": "0"})
        assert SECRET in await anext(line async for line in owners if line.startswith("data:"))
        place: Json = {"collection": names.collection, "agent_id": names.agent}
        place |= {"session_id": names.session}
        for intruder in (bound, other):
            headers = {"X-API-Key": intruder["key"]}
            body = {"id": "end", "content": "own", "namespace": [names.label], **place}
            stored = await api.post(e.ADD_MEMORY.path, json=body, headers=headers)
            assert stored.status_code == 201, stored.text
            for follow in (by_sse, by_websocket):
                for after in (0, names.event):
                    for query in ({}, place, {"namespace": json.dumps([names.label])}):
                        wanted = {**query, "after": after}
                        text = await told(follow(server.url, headers, wanted))
                        assert SECRET not in text
                        assert names.user not in text
                        assert names.id not in text
        headers = {"X-API-Key": bound["key"]}
        refused = await api.get(e.EVENTS.path, params={"user_id": names.user}, headers=headers)
        assert refused.status_code == 403
