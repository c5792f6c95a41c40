"""Two applications, one on SQLite and one on PostgreSQL, are asked the same and answer alike."""

import base64
import json
import random
import struct
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
import pytest

if TYPE_CHECKING:
    from tests.conftest import OpenApi, Postgres

Json = dict[str, Any]
STEPS = 500
MEMORIES = "/api/v1/memories"
ADMIN = "the-operator-has-a-key-of-many-characters"

WORDS = [
    *("cat", "cats", "running", "ran", "Über", "İstanbul", "ΣΊΣΥΦΟΣ", "straße", "c++", "it's"),
    *(
        "don't",
        "日本語",
        "ありがとう",
        "مرحبا",
        "שלום",
        "हिन्दी",
        "e\u0301tude",
        "étude",
        "🙂",
        "a_b",
    ),
    *("'; DROP TABLE memory; --", '"', "\\", "%", "$1", "?", "\x01\x1f", "\u2028", "\ufeff"),
    *("\U0010ffff", "NULL", "{}", "x" * 127, "y" * 129, "2023", "8 May 2023", "\t\r\n"),
]
NUMBERS = [
    *(
        0,
        -0.0,
        1,
        1.0,
        -1,
        0.1,
        2**53,
        2**53 + 1,
        2**63 - 1,
        2**63,
        -(2**63),
        -(2**63) - 1,
        10**300,
    ),
    *(5e-324, 1.7976931348623157e308, -1e300, 1e-7, 0.5),
]
KEYS = ["a", "b", "a.b", "@id", "$eq", "\\", "", "ключ", "k" * 300, "🙂"]
IDS = [*(f"m{number}" for number in range(20)), "ü/ü", "'", "%", "\U0010ffff" * 20, " "]
USERS = ["ann", "bob", "o'neil", "\U0001f600"]
SESSIONS = ["s1", "s2", '"']
LABELS = ["a", "b", "a,b", '"', "\\", "[", "ü"]
COLLECTIONS = ["server", "cosine", "dot", "euclidean", "né"]


class Twins:
    """Both applications; what one answers, the other must."""

    def __init__(self, one: httpx.AsyncClient, other: httpx.AsyncClient) -> None:
        self.both = (one, other)
        self.asked: list[Any] = []

    async def ask(self, method: str, path: str, **options: Any) -> Json:
        """Ask both, and compare."""
        self.asked = [*self.asked[-4:], (method, path, options)]
        answers = [await one.request(method, path, **options) for one in self.both]
        statuses = [answer.status_code for answer in answers]
        assert max(statuses) < 500, (self.asked, [answer.text for answer in answers])
        bodies: list[Json] = [answer.json() for answer in answers]
        first, second = map(normal, bodies)
        assert statuses[0] == statuses[1], (self.asked, first, second)
        if "hits" in first:
            check_hits(first.pop("hits"), second.pop("hits"), self.asked)
        assert first == second, self.asked
        return bodies[0]

    async def become(self, **key: Any) -> None:
        """Make a key for each, and go on with it."""
        for one in self.both:
            made = await one.post("/api/v1/keys", json=key)
            one.headers["X-API-Key"] = made.json()["key"]


def normal(body: Any) -> Any:
    """Without what may differ: times, and the numbers that a store gives."""
    if isinstance(body, list):
        return [normal(one) for one in body]
    if isinstance(body, dict):
        return {name: normal(value) for name, value in body.items() if name not in DIFFERENT}
    return body


DIFFERENT = {
    *("seq", "request_id", "next_cursor", "next_after"),
    *("created_at", "updated_at", "at", "first_at", "last_at", "erased_at"),
}


def check_hits(first: Sequence[Json], second: Sequence[Json], asked: object) -> None:
    """The same memories in the same order, but for those whose scores are the same."""
    assert len(first) == len(second), (asked, first, second)
    scores = [[one["score"] for one in hits] for hits in (first, second)]
    assert scores[0] == pytest.approx(scores[1], rel=1e-4, abs=1e-5), asked
    for one, other in zip(first, second, strict=True):
        explained = [hit.pop("explanation", {"parts": {}}) for hit in (one, other)]
        assert explained[0].keys() == explained[1].keys(), asked
        if one["id"] == other["id"]:
            parts = [one["parts"] for one in explained]
            assert parts[0] == pytest.approx(parts[1], rel=1e-4, abs=1e-5), asked
    for place, (one, other) in enumerate(zip(first, second, strict=True)):
        if one["id"] != other["id"]:
            near = [hit for hit in second if abs(hit["score"] - one["score"]) < 1e-4]
            assert place == len(first) - 1 or one["id"] in {hit["id"] for hit in near}, asked
        else:
            assert one | {"score": 0} == other | {"score": 0}, asked


class Choices:
    """Requests by chance, of few names, so that they meet."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def maybe(self, share: float) -> bool:
        return self.random.random() < share

    def one(self, of: Sequence[Any]) -> Any:
        return self.random.choice(of)

    def text(self) -> str:
        return " ".join(self.random.choices(WORDS, k=self.random.randrange(1, 6)))

    def value(self, depth: int = 0) -> Any:
        kind = self.random.randrange(8 if depth < 3 else 5)
        if kind < 2:
            return self.one(NUMBERS)
        if kind < 4:
            return self.one([*WORDS, "z" * 129, "z" * 128 + "a"])
        if kind < 5:
            return self.one([None, True, False, "", [], {}])
        if kind < 7:
            return [self.value(depth + 1) for _ in range(self.random.randrange(3))]
        return {self.one(KEYS): self.value(depth + 1) for _ in range(self.random.randrange(3))}

    def vector(self) -> str:
        numbers = self.one([[1, 0, 0], [0, 0, 0], [1e-30, 0, 0], [1e38, -1e38, 1e38]])
        if self.maybe(0.8):
            numbers = [self.random.uniform(-1, 1) for _ in range(3)]
        return base64.b64encode(struct.pack("<3f", *numbers)).decode()

    def scope(self, share: float) -> Json:
        fields = {"user_id": USERS, "agent_id": ["x", "y"], "session_id": SESSIONS}
        scope = {name: self.one(of) for name, of in fields.items() if self.maybe(share)}
        if self.maybe(share):
            scope["namespace"] = self.random.choices(LABELS, k=self.random.randrange(1, 4))
        return scope

    def memory(self, collection: str) -> Json:
        memory: Json = {"collection": collection, "id": self.one(IDS), "content": self.text()}
        memory |= self.scope(0.4)
        choices = {
            "metadata": {self.one(KEYS): self.value() for _ in range(3)},
            "payload": self.value(),
            "type": self.one(WORDS[:20]),
            "importance": self.one([0, 1, 0.5, 0.1]),
            "event_at": self.one(["0001-01-01T00:00:00Z", "2023-05-08T12:00:00.123456Z"]),
            "expires_at": self.one([*["9999-12-31T23:59:59Z"] * 3, "2000-01-01T00:00:00Z"]),
            "archived": True,
            "index_texts": self.one([[], [self.text()], [self.text(), self.text()]]),
        }
        memory |= {name: value for name, value in choices.items() if self.maybe(0.3)}
        if collection not in ("server", "né") and memory.get("index_texts") != []:
            few = [self.vector() for _ in range(self.random.randrange(1, 4))]
            memory |= self.one([{"embedding": few[0]}, {"embeddings": few}])
        return memory

    def condition(self) -> Json:
        if self.maybe(0.3):
            chosen: Json = self.one(
                [
                    {"@id": {self.one(["$gt", "$lte", "$ne"]): self.one(IDS)}},
                    {"@seq": {self.one(["$gt", "$lt", "$eq", "$ne"]): self.one(NUMBERS)}},
                    {"@importance": {self.one(["$gte", "$lt", "$in"]): self.one(NUMBERS)}},
                    {"@importance": {"$nin": self.random.choices([*NUMBERS, None], k=3)}},
                    {"@archived": self.one([True, False, None])},
                    {"@archived": {"$in": [True, None]}},
                    {"@content": {self.one(["$like", "$ilike"]): f"%{self.one(WORDS)}%"}},
                    {"@type": {self.one(["$empty", "$exists"]): self.maybe(0.5)}},
                    {"@user_id": {"$contains": self.one(["n", "", "\U0001f600"])}},
                    {"@event_at": {"$lt": "2023-01-01T00:00:00Z"}},
                    {"@expires_at": {"$between": ["2000-01-01T00:00:00Z", None]}},
                    {"@created_at": {"$gt": "0001-01-01T00:00:00Z"}},
                    {"@created_at": {"$gt": self.one(NUMBERS)}},
                ]
            )
            return chosen
        path = ".".join(self.random.choices(["a", "b", "a\\.b", "\\@id", "k" * 300], k=1))
        value = self.value(2)
        some = [self.value(2) for _ in range(3)]
        operator, given = self.one(
            [
                *(("$eq", value), ("$ne", value), ("$gt", value), ("$lte", value)),
                *(("$in", some), ("$nin", some), ("$any", some), ("$all", some[:1])),
                *(("$contains", value), ("$exists", True), ("$empty", self.maybe(0.5))),
                *(("$between", some[:2]), ("$like", f"%{self.one(WORDS)}_"), ("$ilike", "%É%")),
            ]
        )
        return {path: {operator: given}}

    def filters(self, depth: int = 0) -> Json:
        if depth == 2 or self.maybe(0.5):
            return self.condition()
        if self.maybe(0.3):
            return {"$not": self.filters(depth + 1)}
        parts = [self.filters(depth + 1) for _ in range(self.random.randrange(1, 4))]
        return {self.one(["$and", "$or"]): parts}

    def criteria(self, collection: str) -> Json:
        criteria: Json = {"collection": collection} | self.scope(0.15)
        if self.maybe(0.5):
            criteria["filters"] = self.filters()
        return criteria

    def search(self, collection: str) -> Json:
        search = {"collection": collection, "limit": self.one([1, 3, 1000])}
        search |= self.criteria(collection) if self.maybe(0.5) else {}
        if self.maybe(0.8):
            search["query"] = self.text()
        if collection not in ("server", "né") and self.maybe(0.7):
            search["embedding"] = self.vector()
        options = {
            "mode": self.one(["dense", "sparse", "hybrid"]),
            "alpha": self.one([0, 0.3, 1]),
            "offset": self.one([1, 100_000]),
            "min_score": self.one([-1e308, 0, 0.4, 1e308]),
            "mmr": {"fetch_k": self.one([1, 5, 1000]), "lambda_mult": self.one([0, 0.5, 1])},
            "recency": {
                "weight": self.one([0, 0.3, 1]),
                "half_life": 3e9,  # in which the time between the two is nothing
                "by": self.one(["event_at", "created_at"]),
            },
            "importance": {"weight": self.one([0, 0.3, 0.7]), "default": self.one([0, 0.5])},
            "explain": True,
            "include_embeddings": True,
        }
        return search | {name: value for name, value in options.items() if self.maybe(0.15)}


@pytest.fixture
async def twins(open_api: "OpenApi", postgres: "Postgres") -> AsyncIterator[Twins]:
    settings: Json = {"admin_key": ADMIN, "rate_limit": 0}
    async with (
        open_api(**settings) as one,
        open_api(database_url=postgres.url(), **settings) as other,
    ):
        for client in (one, other):
            client.headers["X-API-Key"] = ADMIN
        yield Twins(one, other)


def writes(by: Choices, collection: str) -> Iterator[tuple[str, str, Json]]:
    """One of each kind of write."""
    memory = f"{MEMORIES}/{quote(by.one(IDS), safe='')}"
    some = [by.memory(collection) for _ in range(by.random.randrange(4))]
    there = {"params": {"collection": collection}}
    change = {
        name: value
        for name, value in by.memory(collection).items()
        if name not in ("id", "collection", "user_id", "agent_id", "session_id", "namespace")
    }
    change |= by.one([{}, {"metadata": None, "importance": None, "expires_at": None}])
    headers = {"If-Match": f'"{by.one([1, 2, 3])}"', "Idempotency-Key": by.one("pqr")}
    for _ in range(12):
        yield "POST", MEMORIES, {"json": by.memory(collection)}
    yield "POST", f"{MEMORIES}/batch", {"json": {"memories": some}}
    atomic: Json = {"memories": some, "atomic": True}
    yield "POST", f"{MEMORIES}/batch", {"json": atomic}
    yield "POST", f"{MEMORIES}/batch", {"json": atomic | {"replacing": by.criteria(collection)}}
    yield "PATCH", memory, there | {"json": change}
    yield "PATCH", memory, there | {"json": change, "headers": headers}
    yield "DELETE", memory, there | by.one([{}, {"headers": headers}])
    deletion = by.criteria(collection) | {"include_memories": True}
    yield "POST", f"{MEMORIES}/delete", {"json": deletion | {"ids": by.random.choices(IDS, k=3)}}
    if by.maybe(0.5):
        yield "POST", f"{MEMORIES}/delete", {"json": deletion}
    archived = by.criteria(collection) | {"archived": by.maybe(0.5)}
    yield "POST", f"{MEMORIES}/archive", {"json": archived}
    for _ in range(3):
        yield "POST", f"{memory}/restore", there | {"json": {"version": by.random.randrange(1, 5)}}
    if by.maybe(0.2):
        yield "DELETE", f"/api/v1/users/{quote(by.one(USERS), safe='')}", {}
    if by.maybe(0.1):
        yield "DELETE", f"/api/v1/collections/{quote(collection)}", {}


def reads(by: Choices, collection: str) -> Iterator[tuple[str, str, Json]]:
    """One of each kind of read."""
    there = {"params": {"collection": collection}}
    memory = f"{MEMORIES}/{quote(by.one(IDS), safe='')}"
    listing = {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in by.criteria(collection).items()
    }
    order = {"order_by": by.one(["seq", "created_at"]), "order": by.one(["asc", "desc"])}
    yield "GET", memory, {"params": {"collection": collection, "include_embeddings": True}}
    yield "GET", f"{memory}/history", there
    yield "GET", MEMORIES, {"params": listing | order | {"limit": by.one([1, 2, 1000])}}
    yield "GET", MEMORIES, {"params": listing | {"offset": by.one([1, 100_000])}}
    listing = dict(listing)
    everything = {"collection": collection, "ids": IDS, "include_embeddings": True}
    yield "POST", f"{MEMORIES}/get", {"json": everything}
    listing.pop("session_id", None)
    yield "GET", "/api/v1/sessions", {"params": listing}
    yield "GET", "/api/v1/namespaces", there
    yield "GET", "/api/v1/collections", {}
    for _ in range(6):
        yield "POST", f"{MEMORIES}/search", {"json": by.search(collection)}


@pytest.mark.parametrize("seed", range(3))
async def test_what_one_answers_the_other_does(twins: Twins, seed: int) -> None:
    by = Choices(seed)
    for name in COLLECTIONS:
        how: Json = {"embedder": "client", "dimension": 3, "metric": name}
        if name in ("server", "né"):
            how = {"embedder": "server", "metric": "cosine"}
        await twins.ask("PUT", f"/api/v1/collections/{quote(name)}", json=how)
    for _ in range(STEPS):
        collection = by.one(COLLECTIONS)
        kind = writes if by.maybe(0.6) else reads
        method, path, options = by.one(list(kind(by, collection)))
        await twins.ask(method, path, **options)


def wide(length: int, seed: int) -> str:
    """Characters of four bytes in UTF-8, which can't be packed."""
    by = random.Random(seed)
    return "".join(chr(by.randrange(0x10000, 0x10FFFE)) for _ in range(length))


async def test_names_as_long_as_they_may_be(twins: Twins) -> None:
    await twins.become(name=wide(512, 0), tenant=wide(512, 1), scopes=["admin"])
    collection, key, inner = wide(512, 2), wide(512, 3), wide(3_000, 4)
    scope = {"user_id": wide(512, 5), "agent_id": wide(512, 6), "session_id": wide(512, 7)}
    place = {"namespace": [wide(512, 8 + number) for number in range(32)]}
    memory: Json = {
        "collection": collection,
        "id": wide(512, 40),
        "content": "hello",
        "type": wide(512, 41),
        "metadata": {key: {inner: [wide(3_000, 42), "x"]}},
        "payload": {wide(3_000, 43): 1},
        **scope,
        **place,
    }
    there = {"collection": collection, "query": "hello"}
    for content in ("hello", "hello again"):
        await twins.ask("POST", MEMORIES, json=memory | {"content": content})
    for criteria in (
        scope,
        place,
        {"namespace": place["namespace"][:31]},
        {"filters": {f"{key}.{inner}": {"$contains": wide(3_000, 42)}}},
        {"filters": {"@id": memory["id"]}},
    ):
        found = await twins.ask("POST", f"{MEMORIES}/search", json=there | criteria)
        assert len(found["hits"]) == 1
    await twins.ask("GET", "/api/v1/collections")
    for path in ("namespaces", "sessions"):
        await twins.ask("GET", f"/api/v1/{path}", params={"collection": collection})
    deletion = {"collection": collection, "ids": [memory["id"]], "include_memories": True}
    assert (await twins.ask("POST", f"{MEMORIES}/delete", json=deletion))["deleted"] == 1
    for _ in range(2):
        await twins.ask("DELETE", f"/api/v1/collections/{quote(collection)}")
