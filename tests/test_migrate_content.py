"""What is migrated is the same afterwards: both servers give the same answers to the same requests.

What is asked of them changes both alike too: it goes on from the same past.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from agentmem_client import endpoints as e
from agentmem_server.access.keyring import key_id
from agentmem_server.cli import main
from agentmem_server.storage import EventsRequest, open_store

if TYPE_CHECKING:
    from tests.conftest import OpenApi, Postgres

Json = dict[str, Any]
ADMIN = "the-operator-has-a-key-of-many-characters"
API = e.ADD_MEMORY.path
TENANTS = ("acme", "globex")
COLLECTIONS = ("default", "client", "dot", "euclidean", "empty")
ODD = {
    "beyond": 2**70,
    "fraction": 0.1,
    "negative zero": -0.0,
    "huge": 1.7976931348623157e308,
    "tiny": 5e-324,
    "whole": 3.0,
    "true": True,
    "null": None,
    "nested": {"a.b": [1, "x", {"y": []}], "": {}},
    "long": "ü" * 300,
    "k" * 300: "a long name",
    "😀 \u2028": "\\ \" ' % _ \t",
}
TURNS = (
    ("ann", "My cat is called Mia, and she sleeps all day."),
    ("ann", "What does she eat?"),
    ("bob", "Bread needs an hour in the oven."),
    ("ann", "Fish, and the bread that Bob bakes."),
    ("bob", "Oslo is cold in winter."),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "memories.db"


@pytest.fixture
async def source(path: Path, open_api: "OpenApi") -> dict[str, str]:
    """A file with two tenants' memories and all that has become of them; answers their keys."""
    async with open_api(database_url=f"sqlite:///{path}", admin_key=ADMIN, rate_limit=0) as api:
        keys = {tenant: await make_key(api, tenant=tenant) for tenant in TENANTS}
        await make_key(api, tenant="acme", user_id="ann", rate_limit=2.5, scopes=["read"])
        revoked = await make_key(api, tenant="acme", expires_at="2099-01-01T00:00:00Z")
        await Caller(api, ADMIN).send("DELETE", e.REVOKE_KEY.url(id=key_id(revoked)))
        for tenant, key in keys.items():
            await fill(Caller(api, key), tenant)
    return keys


class Caller:
    """One key's requests; what is refused fails the test."""

    def __init__(self, api: httpx.AsyncClient, key: str) -> None:
        self._api = api
        self._key = key

    async def send(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        answer = await self.ask(method, path, body, **headers)
        assert answer.is_success, answer.text
        return answer.json()

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        headers = {"X-API-Key": self._key, **named}
        return await self._api.request(method, path, json=body, headers=headers)

    async def get(self, path: str, **query: Any) -> Any:
        return await self.send("GET", str(httpx.URL(path, params=query)))

    async def add(self, id: str, content: str, **fields: Any) -> None:
        await self.send("POST", API, {"id": id, "content": content, **fields})


async def make_key(api: httpx.AsyncClient, **fields: Any) -> str:
    made = await Caller(api, ADMIN).send(
        "POST", e.CREATE_KEY.path, {"name": "a key", "scopes": ["read", "write"], **fields}
    )
    key: str = made["key"]
    return key


async def fill(caller: Caller, tenant: str) -> None:
    for number, (user, text) in enumerate(TURNS):
        where = {"user_id": user, "session_id": "talk", "agent_id": f"agent-{number % 2}"}
        await caller.add(f"turn-{number}", text, metadata={"turn": number}, **where)
    await caller.add("odd", "", metadata=ODD, payload={"nul": "\\u0000", "any": [None, 1.5]})
    await caller.add("ü/ü 😀", f"{tenant}'s\n\ttext", namespace=["work", "notes", "%_*"])
    await caller.add("placed", "At work.", namespace=["work"], type="semantic", importance=0.1)
    await caller.add("dated", "The ship sails.", event_at="1912-04-10T12:00:00.000001+02:00")
    await caller.add("several", "both", index_texts=["a blue whale", "a red fox"])
    await caller.add("hidden", "a transcript", index_texts=[])
    await caller.add("long", "word " * 20_000)
    await change(caller)
    await fill_others(caller)


async def change(caller: Caller) -> None:
    """Give memories a past."""
    for number in range(3):
        body = {"content": f"Changed {number} times.", "metadata": {"times": number}}
        await caller.send("PATCH", f"{API}/dated", body)
    await caller.send("PATCH", f"{API}/dated", {"type": "kept"}, If_Match='"4"')
    await caller.send("POST", f"{API}/dated/restore", {"version": 2})
    await caller.add("moved", "This was Ann's.", user_id="ann")
    await caller.add("moved", "This is Bob's.", user_id="bob")
    for id in ("deleted", "again", "back"):
        await caller.add(id, f"This is {id}.", metadata={"id": id}, user_id="ann")
        await caller.send("DELETE", f"{API}/{id}")
    await caller.add("again", "Here once more.")
    await caller.send("POST", f"{API}/back/restore", {"version": 1})
    await caller.send("POST", f"{API}/archive", {"ids": ["placed", "turn-0"]})
    await caller.add("gone", "Forget me.", user_id="erased")
    await caller.send("DELETE", e.ERASE_USER.url(id="erased"))
    await caller.add("brief", "This expires at once.", ttl=0.001, user_id="ann")
    await caller.add("lasting", "This expires some day.", ttl=1_000_000)
    await asyncio.sleep(0.01)


async def fill_others(caller: Caller) -> None:
    for metric in ("cosine", "dot", "euclidean"):
        name = "client" if metric == "cosine" else metric
        body = {"embedder": "client", "dimension": 3, "metric": metric}
        await caller.send("PUT", e.PUT_COLLECTION.url(name=name), body)
        vectors = {"one": [3.0, 4.0, 0.0], "unit": [0.0, 1.0, 0.0], "odd": [-0.0, 1e-38, 3e38]}
        for id, vector in vectors.items():
            await caller.add(id, id, collection=name, embedding=vector)
        await caller.add("two", "two", collection=name, embeddings=[[1, 2, 3], [0.1, 0.2, 0.3]])
        await caller.add("none", "none", collection=name, index_texts=[])
        changed = {"embedding": [1.0, 1.0, 1.0]}
        await caller.send("PATCH", f"{API}/unit?collection={name}", changed)
        await caller.send("DELETE", f"{API}/one?collection={name}")
    await caller.send("PUT", e.PUT_COLLECTION.url(name="empty"), {"default_ttl": 3_600})
    await caller.add("m", "soon without a place", collection="dropped")
    await caller.send("PATCH", f"{API}/m?collection=dropped", {"content": "changed"})
    await caller.send("DELETE", e.DELETE_COLLECTION.url(name="dropped"))


def migrated(path: Path, postgres: "Postgres") -> str:
    """The URL of what a file was migrated to."""
    url = postgres.url()
    assert main(["migrate", "--from", f"sqlite:///{path}", "--to", url]) == 0
    return url


def looks() -> Iterator[tuple[str, str, Any]]:
    """Requests that change nothing."""
    yield "GET", e.LIST_COLLECTIONS.path, None
    yield "GET", e.LIST_NAMESPACES.path, None
    yield "GET", e.LIST_SESSIONS.path, None
    yield "GET", "/api/v1/stats?days=3", None
    for collection in COLLECTIONS:
        of = f"collection={collection}"
        for order in ("created_at", "updated_at", "seq"):
            yield "GET", f"{API}?{of}&order_by={order}&include_embeddings=true", None
        for filters in ('{"@archived": true}', '{"@user_id": "ann"}', '{"turn": {"$gte": 2}}'):
            yield "GET", str(httpx.URL(f"{API}?{of}", params={"filters": filters})), None
    for name, value in ODD.items():
        condition = {name.replace(".", "\\."): {"$eq": value}}
        yield "GET", str(httpx.URL(API, params={"filters": json.dumps(condition)})), None
    for id in ("dated", "moved", "deleted", "again", "back", "gone", "brief", "turn-0"):
        yield "GET", e.MEMORY_HISTORY.url(id=id), None
    for id in ("one", "unit", "two"):
        yield "GET", f"{e.MEMORY_HISTORY.url(id=id)}?collection=client", None


def searches() -> Iterator[Json]:
    """Searches, whose scores may differ by what floating point makes of them."""
    texts = ("the cat Mia", "bread", "a red fox", "10 April 1912", "changed", "Ann", "word text")
    for query in texts:
        for mode in ("hybrid", "dense", "sparse"):
            yield {"query": query, "mode": mode, "include_embeddings": True}
            yield {"query": query, "mode": mode, "user_id": "ann", "session_id": "talk"}
    yield {"query": "work", "namespace": ["work"]}
    yield {"query": "cat", "filters": {"turn": {"$lt": 3}}, "limit": 2}
    for collection in ("client", "dot", "euclidean"):
        yield {"embedding": [1.0, 2.0, 2.0], "collection": collection}
        yield {"query": "two", "collection": collection, "mode": "sparse"}


def plain(answer: Any) -> Any:
    """An answer without what each request makes anew, and scores as they can be compared."""
    match answer:
        case dict():
            return {
                name: round(value, 5) if name == "score" else plain(value)
                for name, value in answer.items()
                if name not in ("request_id", "searches", "since")
            }
        case list():
            return [plain(one) for one in answer]
        case _:
            return answer


@pytest.fixture
async def both(
    source: dict[str, str], path: Path, postgres: "Postgres", open_api: "OpenApi"
) -> AsyncIterator[list[httpx.AsyncClient]]:
    """Servers on the file and on what it was migrated to."""
    url = await asyncio.to_thread(migrated, path, postgres)
    async with (
        open_api(database_url=f"sqlite:///{path}", admin_key=ADMIN, rate_limit=0) as one,
        open_api(database_url=url, admin_key=ADMIN, rate_limit=0) as other,
    ):
        yield [one, other]


async def same(both: list[httpx.AsyncClient], key: str, request: tuple[str, str, Any]) -> Any:
    """What both answer to the same request."""
    one, other = [await Caller(api, key).ask(*request) for api in both]
    assert one.status_code == other.status_code, (request, one.text, other.text)
    assert plain(one.json()) == plain(other.json()), request
    return one.json()


async def test_both_answer_the_same(both: list[httpx.AsyncClient], source: dict[str, str]) -> None:
    for key in source.values():
        for request in looks():
            await same(both, key, request)
        found = 0
        for search in searches():
            answer = await same(both, key, ("POST", e.SEARCH_MEMORIES.path, search))
            found += len(answer["hits"])
        assert found > 100
    keys = await same(both, ADMIN, ("GET", e.LIST_KEYS.path, None))
    assert len(keys["keys"]) == 4
    assert sum(key["revoked_at"] is not None for key in keys["keys"]) == 1


async def test_both_go_on_from_the_same_past(
    both: list[httpx.AsyncClient], source: dict[str, str]
) -> None:
    """Numbers, versions, restored states and refusals are the same from here on."""
    key = source["acme"]
    asked: list[tuple[str, str, Any, dict[str, str]]] = [
        ("POST", f"{API}/deleted/restore", {"version": 1}, {}),
        ("POST", f"{API}/brief/restore", {"version": 1}, {}),
        ("POST", f"{API}/one/restore?collection=client", {"version": 1}, {}),
        ("POST", f"{API}/unit/restore?collection=dot", {"version": 1}, {}),
        ("POST", f"{API}/m/restore?collection=dropped", {"version": 1}, {}),
        ("POST", API, {"id": "new", "content": "new"}, {}),
        ("POST", API, {"id": "brief", "content": "lives again"}, {}),
        ("PATCH", f"{API}/dated", {"type": "x"}, {"If_Match": '"1"'}),
        ("PATCH", f"{API}/dated", {"type": "x"}, {"If_Match": '"6"'}),
        ("DELETE", f"{API}/again", None, {"If_Match": '"4"'}),
        ("POST", API, {"id": "m", "content": "m", "collection": "dropped"}, {}),
        ("POST", API, {"id": "m", "content": "m", "collection": "empty"}, {}),
        ("DELETE", e.ERASE_USER.url(id="ann"), None, {}),
        ("GET", f"{e.MEMORY_HISTORY.url(id='dated')}", None, {}),
    ]
    for method, where, body, headers in asked:
        one, other = [await Caller(api, key).ask(method, where, body, **headers) for api in both]
        assert one.status_code == other.status_code, (where, one.text, other.text)
        assert timeless(one.json()) == timeless(other.json()), where
    listed = "created_at"
    for collection in (*COLLECTIONS, "dropped"):
        query = {"collection": collection, "order_by": listed, "include_embeddings": "true"}
        ours, theirs = [await Caller(api, key).get(API, **query) for api in both]
        assert timeless(ours) == timeless(theirs)


def timeless(answer: Any) -> Any:
    """An answer without the moments at which something was done just now, or will be over soon."""
    days = tuple(
        time.strftime("%Y-%m-%d", time.gmtime(time.time() + day * 86_400)) for day in (0, 1)
    )
    match plain(answer):
        case dict() as found:
            return {
                name: timeless(value)
                for name, value in found.items()
                if not (isinstance(value, str) and value.startswith(days)) and name != "next_cursor"
            }
        case list() as found:
            return [timeless(one) for one in found]
        case other:
            return other


async def test_followers_go_on_where_they_were(
    source: dict[str, str], path: Path, postgres: "Postgres"
) -> None:
    url = await asyncio.to_thread(migrated, path, postgres)
    one, other = await open_store(f"sqlite:///{path}"), await open_store(url)
    try:
        assert await one.last_event() == await other.last_event() > 60
        assert await one.forgotten() == await other.forgotten() == 0
        for tenant in TENANTS:
            for after in (0, 7, 20, 50, 1_000):
                request = EventsRequest(after, 1_000)
                assert await one.events(tenant, request) == await other.events(tenant, request)
    finally:
        await one.close()
        await other.close()
