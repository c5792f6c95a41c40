"""A key opens what its scopes, its tenant and its user allow, at every endpoint, and no more."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import pytest_asyncio
from agentmem_client import endpoints as e
from agentmem_client.errors import BY_CODE

if TYPE_CHECKING:
    from tests.conftest import OpenApi

pytestmark = pytest.mark.asyncio(loop_scope="module")

Json = dict[str, Any]
ADMIN_KEY = "the-operators-key-of-these-tests"
WRONG = f"am_{'0' * 16}_{'0' * 64}"
MEMORIES = e.ADD_MEMORY.path
KEYS = e.CREATE_KEY.path
GUARDED = [row for row in e.ENDPOINTS if row.scopes]
OPEN = [row for row in e.ENDPOINTS if not row.scopes]
ALL = ("read", "write", "admin", "metrics")


class Api:
    """An application with an operator's key, and requests with one key or another."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def ask(
        self, method: str, path: str, key: str | None = ADMIN_KEY, **options: Any
    ) -> httpx.Response:
        headers = {} if key is None else {"x-api-key": key}
        return await self.http.request(
            method, path, headers={**headers, **options.pop("headers", {})}, **options
        )

    async def key(self, **fields: Any) -> Json:
        """A new key, as it is answered."""
        wish = {"name": "n", "tenant": "acme", **fields}
        answer = await self.ask("POST", KEYS, json=wish)
        assert answer.status_code == 201, answer.text
        made: Json = answer.json()
        return made

    async def call(self, row: e.Endpoint[Any], key: str | None) -> httpx.Response:
        """An operation in a way that nobody may: who is refused for the key is so before that."""
        body: Json = {} if row.body is None else {"content": b"{", "headers": JSON}
        url = f"{row.url(id='x', name='x')}?no=parameter"
        return await self.ask(row.method, url, key, **body)


JSON = {"content-type": "application/json"}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def api(open_api: "OpenApi") -> AsyncIterator[Api]:
    async with open_api(admin_key=ADMIN_KEY, rate_limit=0) as http:
        yield Api(http)


def check(answer: httpx.Response, code: str, says: str = "") -> str:
    """Hold an answer to a refusal; answers its text."""
    assert answer.status_code == BY_CODE[code].status, answer.text
    error = answer.json()["error"]
    assert error["code"] == code
    assert says in error["message"]
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    text: str = error["message"]
    return text


# --- At every endpoint -----------------------------------------------------------------------


@pytest.mark.parametrize("row", GUARDED, ids=lambda row: row.name)
async def test_without_a_good_key_nothing_is_done(api: Api, row: e.Endpoint[Any]) -> None:
    soon = (datetime.now(UTC) + timedelta(milliseconds=100)).isoformat()
    expired, revoked = await api.key(expires_at=soon), await api.key()
    assert (await api.ask("DELETE", f"{KEYS}/{revoked['id']}")).status_code == 200
    while (await api.ask("GET", MEMORIES, expired["key"])).status_code != 401:
        pass
    said = set()
    for key in (
        WRONG,
        "",
        "guess!",
        expired["key"],
        revoked["key"],
        revoked["id"],
        ADMIN_KEY + "x",
    ):
        answer = await api.call(row, key)
        said.add(check(answer, "unauthorized", "" if key == "" else "wrong, has expired or"))
        assert answer.headers["www-authenticate"].startswith("Bearer ")
        assert key == "" or key not in answer.text
    assert len(said) == 2  # an empty one is none
    answer = await api.call(row, None)
    check(answer, "unauthorized", "send it as X-API-Key")
    assert "www-authenticate" in answer.headers


@pytest.mark.parametrize("row", GUARDED, ids=lambda row: row.name)
async def test_each_scope_that_is_missing_is_missed(api: Api, row: e.Endpoint[Any]) -> None:
    for scope in ALL:
        key = (await api.key(scopes=[scope]))["key"]
        has = {"read", "write", "admin"} if scope == "admin" else {scope}
        answer = await api.call(row, key)
        if set(row.scopes) <= has:
            assert answer.status_code in (400, 422), answer.text
        else:
            missing = next(one for one in row.scopes if one not in has)
            check(answer, "forbidden", f"lacks the scope {missing!r}")


@pytest.mark.parametrize("row", OPEN, ids=lambda row: row.name)
async def test_what_takes_no_key_takes_any(api: Api, row: e.Endpoint[Any]) -> None:
    for key in (None, WRONG, ADMIN_KEY):
        assert (await api.ask(row.method, row.path, key)).status_code == row.status
    assert (await api.ask("GET", "/openapi.json", None)).status_code == 200


async def test_what_is_not_there_needs_no_key(api: Api) -> None:
    check(await api.ask("GET", "/nowhere", None), "not_found")
    check(await api.ask("PUT", MEMORIES, None), "method_not_allowed")


# --- How a key is shown ----------------------------------------------------------------------


async def test_a_key_may_be_a_bearer_token(api: Api) -> None:
    key = (await api.key())["key"]
    for scheme in ("Bearer", "bearer", "BEARER"):
        headers = {"authorization": f"{scheme} {key}"}
        assert (await api.ask("GET", MEMORIES, None, headers=headers)).status_code == 200
        assert (await api.ask("GET", MEMORIES, key, headers=headers)).status_code == 200


async def test_two_keys_are_one_too_many(api: Api) -> None:
    key, other = (await api.key())["key"], (await api.key())["key"]
    headers = {"authorization": f"Bearer {other}"}
    check(await api.ask("GET", MEMORIES, key, headers=headers), "unauthorized", "two API keys")
    twice = [("x-api-key", key), ("x-api-key", other)]
    check(await api.http.get(MEMORIES, headers=twice), "unauthorized", "two API keys")
    same = [("x-api-key", key), ("x-api-key", key)]
    assert (await api.http.get(MEMORIES, headers=same)).status_code == 200


async def test_other_ways_to_authenticate_are_somebody_elses(api: Api) -> None:
    """Such as those of a proxy in between."""
    key = (await api.key())["key"]
    for given in ("Basic dXNlcjpwYXNz", "Digest x", "Bearer", "", key, f"Token {key}"):
        headers = {"authorization": given}
        assert (await api.ask("GET", MEMORIES, key, headers=headers)).status_code == 200
        refused = await api.ask("GET", MEMORIES, None, headers=headers)
        check(refused, "unauthorized", "send it as X-API-Key")


@pytest.mark.parametrize("key", [b"\xff\xfe", b"\xc3\xa9" * 50, b"am_" + b"9" * 60_000])
async def test_a_key_of_odd_bytes_is_a_wrong_one(api: Api, key: bytes) -> None:
    answer = await api.http.get(MEMORIES, headers=[(b"x-api-key", key)])
    check(answer, "unauthorized", "wrong, has expired or")


async def test_a_body_is_not_read_for_who_may_not(api: Api) -> None:
    async def body() -> AsyncIterator[bytes]:
        raise AssertionError("somebody reads this")
        yield b""

    reader = (await api.key(scopes=["read"]))["key"]
    for key, code in ((None, "unauthorized"), (WRONG, "unauthorized"), (reader, "forbidden")):
        check(await api.ask("POST", MEMORIES, key, content=body(), headers=JSON), code)


# --- Whose memories they are -----------------------------------------------------------------


async def test_the_tenant_is_in_the_key(api: Api) -> None:
    one, two = (await api.key(tenant="one"))["key"], (await api.key(tenant="two"))["key"]
    memory = {"id": "same", "content": "of one"}
    assert (await api.ask("POST", MEMORIES, one, json=memory)).status_code == 201
    check(await api.ask("GET", f"{MEMORIES}/same", two), "not_found")
    assert (await api.ask("GET", MEMORIES, two)).json()["total"] == 0
    assert (await api.ask("GET", f"{MEMORIES}/same", one)).json()["content"] == "of one"
    assert (await api.ask("GET", f"{MEMORIES}/same", ADMIN_KEY)).status_code == 404
    again = (await api.key(tenant="one"))["key"]
    assert (await api.ask("GET", f"{MEMORIES}/same", again)).status_code == 200


async def test_a_bound_key_sees_its_user_alone(api: Api) -> None:
    whole = (await api.key(tenant="bound"))["key"]
    ann = (await api.key(tenant="bound", user_id="ann"))["key"]
    for user in ("ann", "bob", None):
        memory = {"id": f"of-{user}", "content": "a", "user_id": user}
        assert (await api.ask("POST", MEMORIES, whole, json=memory)).status_code == 201
    listed = (await api.ask("GET", MEMORIES, ann)).json()
    assert [memory["id"] for memory in listed["memories"]] == ["of-ann"]
    assert listed["total"] == 1
    added = await api.ask("POST", MEMORIES, ann, json={"content": "mine"})
    assert added.json()["user_id"] == "ann"
    for id in ("of-bob", "of-None"):
        for method, options in (
            ("GET", {}),
            ("PATCH", {"json": {"content": "b"}}),
        ):
            check(await api.ask(method, f"{MEMORIES}/{id}", ann, **options), "not_found")
        assert (await api.ask("DELETE", f"{MEMORIES}/{id}", ann)).json()["deleted"] == 0
    about_bob: list[tuple[str, str, Json]] = [
        ("POST", MEMORIES, {"json": {"content": "b", "user_id": "bob"}}),
        ("GET", MEMORIES, {"params": {"user_id": "bob"}}),
        ("POST", e.SEARCH_MEMORIES.path, {"json": {"query": "a", "user_id": "bob"}}),
        ("POST", e.DELETE_MEMORIES.path, {"json": {"user_id": "bob"}}),
        ("POST", e.ARCHIVE_MEMORIES.path, {"json": {"user_id": "bob"}}),
        ("GET", e.LIST_SESSIONS.path, {"params": {"user_id": "bob"}}),
    ]
    for method, path, options in about_bob:
        check(await api.ask(method, path, ann, **options), "forbidden", "another user")
    check(await api.ask("DELETE", "/api/v1/collections/default", ann), "forbidden")
    assert (await api.ask("GET", f"{MEMORIES}/of-bob", whole)).json()["content"] == "a"


async def test_a_bound_key_decides_nothing_for_others(api: Api) -> None:
    whole = (await api.key(tenant="shared"))["key"]
    ann = (await api.key(tenant="shared", user_id="ann"))["key"]
    path = "/api/v1/collections/shared"
    check(await api.ask("PUT", path, ann, json={"default_ttl": 1}), "forbidden", "default_ttl")
    check(await api.ask("GET", path, whole), "not_found")
    assert (await api.ask("PUT", path, ann, json={})).status_code == 200  # as a memory would
    assert (await api.ask("PUT", path, whole, json={"default_ttl": 60})).status_code == 200
    for ttl in (1, None):
        check(
            await api.ask("PUT", path, ann, json={"default_ttl": ttl}), "forbidden", "everybody's"
        )
    found = await api.ask("PUT", path, ann, json={})
    assert (found.status_code, found.json()["default_ttl"]) == (200, 60)


# --- Keys that make keys ---------------------------------------------------------------------


@pytest.mark.parametrize("row", [e.LIST_MEMORIES, e.LIST_SESSIONS], ids=lambda row: row.name)
@pytest.mark.parametrize("collection", ["of-ann", "not-there"])
async def test_another_user_is_refused_whether_there_is_a_collection_or_not(
    api: Api, row: e.Endpoint[Any], collection: str
) -> None:
    ann = (await api.key(user_id="ann"))["key"]
    await api.ask("POST", MEMORIES, ann, json={"content": "tea", "collection": "of-ann"})
    asked = f"{row.path}?collection={collection}&user_id="
    check(await api.ask("GET", f"{asked}bob", ann), "forbidden", "leave user_id out")
    assert (await api.ask("GET", f"{asked}ann", ann)).status_code == 200


async def test_a_key_is_shown_once(api: Api) -> None:
    answer = await api.ask("POST", KEYS, json={"name": "Ann's laptop", "tenant": "once"})
    assert answer.headers["cache-control"] == "no-store"
    made = answer.json()
    key = made.pop("key")
    assert made["scopes"] == ["read", "write"]
    (listed,) = (await api.ask("GET", f"{KEYS}?tenant=once")).json()["keys"]
    assert listed == made
    revoked = (await api.ask("DELETE", f"{KEYS}/{made['id']}")).json()
    assert revoked["revoked_at"] is not None
    assert {**revoked, "revoked_at": None} == made
    assert key not in json.dumps([listed, revoked])


async def test_a_tenants_admin(api: Api) -> None:
    admin = (await api.key(tenant="t", scopes=["admin"]))["key"]
    foreign = await api.key(tenant="u")
    made = (await api.ask("POST", KEYS, admin, json={"name": "n", "rate_limit": 5})).json()
    assert (made["tenant"], made["rate_limit"]) == ("t", 5.0)
    for wish, says in (
        ({"tenant": "u"}, "another tenant"),
        ({"scopes": ["metrics"]}, "metrics"),
    ):
        refused = await api.ask("POST", KEYS, admin, json={"name": "n", **wish})
        check(refused, "forbidden", says)
    check(await api.ask("GET", f"{KEYS}?tenant=u", admin), "forbidden", "another tenant")
    check(await api.ask("DELETE", f"{KEYS}/{foreign['id']}", admin), "not_found")
    listed = (await api.ask("GET", KEYS, admin)).json()["keys"]
    assert {key["tenant"] for key in listed} == {"t"}
    assert len(listed) == 2
    assert (await api.ask("DELETE", f"{KEYS}/{made['id']}", admin)).status_code == 200
    check(await api.ask("GET", MEMORIES, made["key"]), "unauthorized")
    assert (await api.ask("GET", MEMORIES, foreign["key"])).status_code == 200


async def test_a_bound_key_is_never_told_of_all(api: Api) -> None:
    wish = {"name": "n", "user_id": "ann", "scopes": ["read", "metrics"]}
    check(await api.ask("POST", KEYS, json=wish), "invalid_request", "bound to a user")


async def test_a_bound_admin_has_its_own_users_keys_alone(api: Api) -> None:
    whole = await api.key(tenant="one-user")
    ann = await api.key(tenant="one-user", user_id="ann", scopes=["admin"])
    bob = await api.key(tenant="one-user", user_id="bob")
    made = await api.ask("POST", KEYS, ann["key"], json={"name": "n", "scopes": ["admin"]})
    assert (made.status_code, made.json()["user_id"]) == (201, "ann")
    named = await api.ask("POST", KEYS, ann["key"], json={"name": "n", "user_id": "ann"})
    assert named.status_code == 201
    other = await api.ask("POST", KEYS, ann["key"], json={"name": "n", "user_id": "bob"})
    check(other, "forbidden", "another user")
    listed = (await api.ask("GET", KEYS, ann["key"])).json()["keys"]
    assert {key["id"] for key in listed} == {ann["id"], made.json()["id"], named.json()["id"]}
    for foreign in (whole, bob):
        check(await api.ask("DELETE", f"{KEYS}/{foreign['id']}", ann["key"]), "not_found")
        assert (await api.ask("GET", MEMORIES, foreign["key"])).status_code == 200
    mine = made.json()
    assert (await api.ask("DELETE", f"{KEYS}/{mine['id']}", ann["key"])).status_code == 200
    check(await api.ask("GET", MEMORIES, mine["key"]), "unauthorized")


async def test_keys_of_every_tenant_are_the_operators_to_see(api: Api) -> None:
    made = [await api.key(tenant=f"tenant-{number}") for number in range(3)]
    listed = (await api.ask("GET", KEYS)).json()["keys"]
    assert {key["id"] for key in made} <= {key["id"] for key in listed}
    times = [key["created_at"] for key in listed]
    assert times == sorted(times)


# --- While there are none --------------------------------------------------------------------

TO_ELSEWHERE = ["evil.example", "evil.example:8080", "10.0.0.1", "localhost.evil.example", ""]


async def test_from_the_first_key_on_every_request_needs_one(open_api: "OpenApi") -> None:
    async with open_api() as http:
        assert (await http.post(MEMORIES, json={"content": "before", "id": "a"})).status_code == 201
        wish = {"name": "the first", "scopes": ["admin"]}
        made = (await http.post(KEYS, json=wish)).json()
        assert made["tenant"] == "default"
        check(await http.get(f"{MEMORIES}/a"), "unauthorized")
        headers = {"x-api-key": made["key"]}
        assert (await http.get(f"{MEMORIES}/a", headers=headers)).json()["content"] == "before"
        assert (await http.delete(f"{KEYS}/{made['id']}", headers=headers)).status_code == 200
        check(await http.get(MEMORIES), "unauthorized")
        check(await http.get(MEMORIES, headers=headers), "unauthorized")


async def test_without_keys_any_key_is_taken(open_api: "OpenApi") -> None:
    async with open_api() as http:
        headers = {"x-api-key": WRONG}
        assert (await http.get(MEMORIES, headers=headers)).status_code == 200


@pytest.mark.parametrize("host", TO_ELSEWHERE)
async def test_without_keys_only_this_machine_is_answered_by_its_name(
    open_api: "OpenApi", host: str
) -> None:
    """Or a web page could have the browser ask for it, under a name that means this machine."""
    async with open_api() as http:
        refused = await http.get(MEMORIES, headers={"host": host})
        check(refused, "forbidden", "agentmem keys create")
        check(await http.post(KEYS, json={"name": "n"}, headers={"host": host}), "forbidden")
        for path in ("/health", "/health/live"):
            assert (await http.get(path, headers={"host": host})).status_code == 200


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1:8080", "127.9.9.9", "[::1]", "[::1]:8080"]
)
async def test_without_keys_every_name_of_this_machine_will_do(
    open_api: "OpenApi", host: str
) -> None:
    async with open_api() as http:
        assert (await http.get(MEMORIES, headers={"host": host})).status_code == 200


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        *(("https://evil.example", 403), ("null", 403), ("http://localhost.evil.example", 403)),
        *(("http://localhost:3000", 200), ("http://127.0.0.1", 200)),
    ],
)
async def test_without_keys_pages_from_elsewhere_are_refused(
    open_api: "OpenApi", origin: str, status: int
) -> None:
    async with open_api() as http:
        assert (await http.get(MEMORIES, headers={"origin": origin})).status_code == status


async def test_with_keys_the_host_is_of_no_matter(api: Api) -> None:
    for host in TO_ELSEWHERE[:-1]:
        headers = {"host": host, "origin": "https://app.example"}
        assert (await api.ask("GET", MEMORIES, headers=headers)).status_code == 200


# --- The limit, as it is answered ------------------------------------------------------------


async def test_answers_tell_what_is_left(open_api: "OpenApi") -> None:
    async with open_api(admin_key=ADMIN_KEY, rate_limit=3) as http:
        headers = {"x-api-key": ADMIN_KEY}
        paths = (MEMORIES, f"{MEMORIES}/missing", MEMORIES, MEMORIES)
        answers = [await http.get(path, headers=headers) for path in paths]
        assert [answer.status_code for answer in answers] == [200, 404, 200, 429]
        left = [answer.headers["ratelimit-remaining"] for answer in answers]
        assert left == ["2", "1", "0", "0"]
        assert {answer.headers["ratelimit-limit"] for answer in answers} == {"3"}
        assert {answer.headers["ratelimit-reset"] for answer in answers} == {"1"}
        assert answers[-1].headers["retry-after"] == "1"
        check(answers[-1], "rate_limited", "Retry-After")
        assert (await http.get("/health/live")).status_code == 200


async def test_guessing_is_limited_by_address_and_stops_nobody_else(open_api: "OpenApi") -> None:
    async with open_api(admin_key=ADMIN_KEY, rate_limit=3) as http:
        guesses = [
            (await http.get(MEMORIES, headers={"x-api-key": f"am_{n:016x}_{n:064x}"})).status_code
            for n in range(6)
        ]
        assert guesses == [401] * 3 + [429] * 3
        assert (await http.get(MEMORIES)).status_code == 429
        assert (await http.get("/health")).status_code == 429
        assert (await http.get(MEMORIES, headers={"x-api-key": ADMIN_KEY})).status_code == 200


async def test_without_keys_nothing_is_limited_unless_it_is_said(open_api: "OpenApi") -> None:
    async with open_api() as http:
        for _ in range(150):
            answer = await http.get("/api/v1/collections")
            assert answer.status_code == 200
        assert "ratelimit-limit" not in answer.headers
    async with open_api(rate_limit=2) as http:
        statuses = [(await http.get("/api/v1/collections")).status_code for _ in range(3)]
        assert statuses == [200, 200, 429]


async def test_a_key_with_a_rate_of_its_own(open_api: "OpenApi") -> None:
    async with open_api(admin_key=ADMIN_KEY, rate_limit=100) as http:
        api = Api(http)
        slow = (await api.key(rate_limit=0.5))["key"]
        statuses = [(await api.ask("GET", MEMORIES, slow)).status_code for _ in range(2)]
        assert statuses == [200, 429]
        free = (await api.key(rate_limit=0))["key"]
        assert "ratelimit-limit" not in (await api.ask("GET", MEMORIES, free)).headers
