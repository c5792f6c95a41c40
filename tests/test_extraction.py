"""Facts learnt from conversations, through the API, with an extractor that does as it is told."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, TypeAlias

import httpx
import pytest
from agentmem_client.errors import APIError, ExtractionFailed, Unavailable
from agentmem_server.embedding import EmbedderUnavailable
from agentmem_server.embedding.builtin import BuiltinEmbedder
from agentmem_server.engine.similar import find_similar
from agentmem_server.extraction import Found, FoundFact, Problem, Spent

if TYPE_CHECKING:
    from tests.conftest import FakeExtractor, Postgres

OpenApi: TypeAlias = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]

EXTRACT = "/api/v1/memories/extract"


@pytest.fixture
async def api(
    open_api: OpenApi, told: "FakeExtractor", database_url: str
) -> AsyncIterator[httpx.AsyncClient]:
    async with open_api(extractor=told, database_url=database_url) as client:
        yield client


def said(*contents: str, **fields: Any) -> dict[str, Any]:
    """A conversation of these messages."""
    return {"messages": [{"content": one} for one in contents], **fields}


async def extract(api: httpx.AsyncClient, *contents: str, **fields: Any) -> Any:
    answer = await api.post(EXTRACT, json=said(*contents, **fields))
    assert answer.status_code == 200, answer.text
    return answer.json()


async def memories(api: httpx.AsyncClient, **query: Any) -> list[Any]:
    answer = await api.get("/api/v1/memories", params=query)
    found: list[Any] = answer.raise_for_status().json()["memories"]
    return found


pytestmark = pytest.mark.every_engine


async def test_a_fact_becomes_a_memory_with_its_source(
    api: httpx.AsyncClient, told: "FakeExtractor"
) -> None:
    told.facts = [
        FoundFact("Ann has a cat.", "semantic", (0, 2), importance=0.7),
        FoundFact("Ann moved on 3 May 2023.", "episodic", (1,), event_at=1_683_072_000_000_000),
    ]
    messages = [
        {"role": "user", "id": "m1", "name": "Ann", "content": "I have a cat"},
        {"role": "user", "content": "and I moved"},
        {"role": "assistant", "id": "m3", "content": "A cat!", "at": "2023-05-04T10:00:00Z"},
    ]
    answer = await api.post(
        EXTRACT,
        json={
            "id": "x",
            "messages": messages,
            "user_id": "ann",
            "agent_id": "g",
            "session_id": "s",
            "namespace": ["a", "b"],
            "metadata": {"of": "chat"},
            "instructions": "look for pets",
        },
    )
    body = answer.json()
    assert (answer.status_code, body["id"], body["status"]) == (200, "x", "done")
    assert body["usage"] == {"calls": 1, "input_tokens": 100, "output_tokens": 10}
    first, second = body["facts"]
    assert (first["status"], first["message_ids"], first["importance"]) == (
        "stored",
        ["m1", "m3"],
        0.7,
    )
    assert (second["type"], second["message_ids"]) == ("episodic", ["1"])
    assert second["event_at"] == "2023-05-03T00:00:00Z"
    one, other = await memories(api, user_id="ann", session_id="s")
    assert [one["id"], other["id"]] == [first["id"], second["id"]]
    assert (one["content"], one["type"], one["metadata"]) == (
        "Ann has a cat.",
        "semantic",
        {"of": "chat"},
    )
    assert (one["agent_id"], one["namespace"]) == ("g", ["a", "b"])
    assert [source["message_ids"] for source in one["sources"]] == [["m1", "m3"]]
    assert other["event_at"] == "2023-05-03T00:00:00Z"
    assert told.calls[0][1] == "look for pets"
    found = await api.post("/api/v1/memories/search", json={"query": "cat", "user_id": "ann"})
    assert found.json()["hits"][0]["id"] == first["id"]


async def test_a_conversation_without_facts_is_answered_so(api: httpx.AsyncClient) -> None:
    body = await extract(api, "hello")
    assert (body["status"], body["facts"], body["error"]) == ("done", [], None)
    assert await memories(api) == []


async def test_what_is_known_is_linked(api: httpx.AsyncClient, told: "FakeExtractor") -> None:
    first = (await extract(api, "FACT: Ann likes tea.", user_id="ann"))["facts"][0]
    second = (await extract(api, "well", "FACT: ann likes  tea", user_id="ann"))["facts"][0]
    assert (first["status"], second["status"]) == ("stored", "duplicate")
    assert second["id"] == first["id"]
    (memory,) = await memories(api)
    assert [source["message_ids"] for source in memory["sources"]] == [["0"], ["1"]]
    assert memory["content"] == "Ann likes tea."
    assert told.calls[1][2] == ["Ann likes tea."]  # what the LLM was shown
    other = (await extract(api, "FACT: Ann likes tea.", user_id="bob"))["facts"][0]
    assert other["status"] == "stored"
    assert told.calls[2][2] == []


async def test_the_llm_is_shown_no_documents(api: httpx.AsyncClient, told: "FakeExtractor") -> None:
    for content in ("Ann likes tea. " * 1_000, "Ann likes coffee."):
        (await api.post("/api/v1/memories", json={"content": content})).raise_for_status()
    await extract(api, "what Ann likes: tea")
    assert told.calls[0][2] == ["Ann likes coffee."]


async def test_the_same_fact_learnt_at_once_is_stored_once(api: httpx.AsyncClient) -> None:
    asked = [
        extract(api, f"number {number}", "FACT: Ann likes tea.", "FACT: Ann likes tea!")
        for number in range(12)
    ]
    facts = [fact for body in await asyncio.gather(*asked) for fact in body["facts"]]
    assert len(facts) == 12  # each says it once
    assert sorted(fact["status"] for fact in facts) == ["duplicate"] * 11 + ["stored"]
    (memory,) = await memories(api)
    assert {fact["id"] for fact in facts} == {memory["id"]}


async def test_the_same_request_again_costs_nothing(
    api: httpx.AsyncClient, told: "FakeExtractor"
) -> None:
    told.delay = 0.05
    once = {"user_id": "ann", "id": "x"}
    first, same = await asyncio.gather(
        extract(api, "FACT: Ann likes tea.", **once), extract(api, "FACT: Ann likes tea.", **once)
    )
    again = await extract(api, "FACT: Ann likes tea.", **once)
    assert len(told.calls) == 1
    assert sum(body["usage"]["calls"] for body in (first, same, again)) == 1
    assert again["facts"][0]["status"] == "duplicate"
    (memory,) = await memories(api)
    assert (memory["version"], len(memory["sources"])) == (1, 1)
    await api.post("/api/v1/memories/delete", json={"everything": True})
    assert (await extract(api, "FACT: Ann likes tea.", **once))["facts"][0]["status"] == "stored"
    await api.delete("/api/v1/users/ann")  # forgets what was said, too
    await extract(api, "FACT: Ann likes tea.", **once)
    assert len(told.calls) == 2


async def test_what_is_under_way_when_its_user_is_erased_is_not_stored(
    api: httpx.AsyncClient, told: "FakeExtractor"
) -> None:
    told.held = asyncio.Event()
    asked = [
        asyncio.create_task(api.post(EXTRACT, json=said("FACT: a", user_id=user)))
        for user in ("ann", "bob")
    ]
    async with asyncio.timeout(30):
        while len(told.calls) < 2:  # noqa: ASYNC110  # the extractor has no event for it
            await asyncio.sleep(0.005)
    await api.delete("/api/v1/users/ann")
    told.held.set()
    ann, bob = await asyncio.gather(*asked)
    assert (ann.status_code, bob.status_code) == (409, 200)
    assert [one["user_id"] for one in await memories(api)] == ["bob"]
    assert (await extract(api, "FACT: a", user_id="ann"))["facts"][0]["status"] == "stored"


async def test_a_fact_that_the_llm_knows_in_other_words_is_linked(
    open_api: OpenApi, told: "FakeExtractor", database_url: str
) -> None:
    embedder = BuiltinEmbedder()
    async with open_api(extractor=told, database_url=database_url, embedder=embedder) as api:
        await extract(api, "FACT: Ann's cat is called Mia.", "FACT: Ann has 2 dogs.")
        cat, dogs = (one["id"] for one in await memories(api))
        told.facts = [
            FoundFact("Ann has a cat named Mia.", "semantic", (0,), known=0),
            FoundFact("Ann has 3 dogs.", "semantic", (0,), known=1),
            FoundFact("Ann sails on weekends.", "semantic", (0,), known=0),
        ]
        facts = (await extract(api, "my cat Mia, my dogs"))["facts"]
        assert set(told.calls[1][2]) == {"Ann's cat is called Mia.", "Ann has 2 dogs."}
        known = [
            ["Ann's cat is called Mia.", "Ann has 2 dogs."].index(one) for one in told.calls[1][2]
        ]
        assert known == [0, 1], "the cat's words are more"
        assert [fact["status"] for fact in facts] == ["duplicate", "stored", "stored"]
        assert facts[0]["id"] == cat
        assert facts[0]["similarity"] == pytest.approx(0.963, abs=0.01)
        assert dogs not in [fact["id"] for fact in facts]
        memory = (await api.get(f"/api/v1/memories/{cat}")).json()
        assert memory["content"] == "Ann's cat is called Mia."
        assert memory["sources"][1]["content"] == "Ann has a cat named Mia."
    await embedder.close()


async def test_what_is_known_is_not_crowded_out_by_the_users_sessions(
    open_api: OpenApi, told: "FakeExtractor", database_url: str
) -> None:
    embedder = BuiltinEmbedder()
    async with open_api(extractor=told, database_url=database_url, embedder=embedder) as api:
        sessions = [
            {"content": "Ann likes drinking tea.", "user_id": "ann", "session_id": str(number)}
            for number in range(50)
        ]
        (await api.post("/api/v1/memories/batch", json={"memories": sessions})).raise_for_status()
        first = (await extract(api, "FACT: Ann likes tea.", user_id="ann"))["facts"][0]
        assert (first["status"], told.calls[0][2]) == ("stored", [])
        second = (await extract(api, "FACT: Ann likes drinking tea.", user_id="ann"))["facts"][0]
        assert told.calls[1][2] == ["Ann likes tea."]
        assert (second["status"], second["id"]) == ("duplicate", first["id"])
    await embedder.close()


async def test_a_near_duplicate_is_linked_and_a_near_miss_is_not(
    open_api: OpenApi, told: "FakeExtractor", database_url: str
) -> None:
    embedder = BuiltinEmbedder()
    async with open_api(extractor=told, database_url=database_url, embedder=embedder) as api:
        await extract(api, "FACT: Ann likes tea.", "FACT: Carla moved to Lisbon in 2021.")
        said_so = ("FACT: Ann likes drinking tea.", "FACT: Carla moved from Lisbon in 2021.")
        facts = (await extract(api, *said_so))["facts"]
        assert [fact["status"] for fact in facts] == ["duplicate", "stored"]
        assert facts[0]["similarity"] > 0.93
        together = ("FACT: Bob sails a boat.", "FACT: Bob often sails a boat.")
        facts = (await extract(api, *together))["facts"]
        assert [fact["status"] for fact in facts] == ["stored", "duplicate"]
        assert facts[0]["id"] == facts[1]["id"]
        assert len(await memories(api)) == 4
    await embedder.close()


async def test_near_duplicates_that_two_servers_learn_at_once_are_one(
    open_api: OpenApi, told: "FakeExtractor", postgres: "Postgres", monkeypatch: pytest.MonkeyPatch
) -> None:
    both_looked = asyncio.Barrier(2)
    looks = 0

    async def look_together(*arguments: Any) -> None:
        nonlocal looks
        looks += 1
        await find_similar(*arguments)
        if looks <= 2:
            await both_looked.wait()

    monkeypatch.setattr("agentmem_server.engine.learning.find_similar", look_together)
    embedder, url = BuiltinEmbedder(), postgres.url()
    servers = [
        open_api(extractor=told, database_url=url, embedder=embedder),
        open_api(extractor=told, database_url=url, embedder=embedder),
    ]
    async with servers[0] as one, servers[1] as other:
        bodies = await asyncio.gather(
            extract(one, "FACT: Ann likes tea."), extract(other, "FACT: Ann likes drinking tea.")
        )
        statuses = sorted(body["facts"][0]["status"] for body in bodies)
        assert (statuses, looks) == (["duplicate", "stored"], 3)
        assert len(await memories(one)) == 1
    await embedder.close()


async def test_many_conversations_each_have_their_outcome(
    api: httpx.AsyncClient, told: "FakeExtractor"
) -> None:
    conversations = [
        said("FACT: Ann likes tea.", id="a"),
        said("REFUSE", id="b"),
        {"id": "c", "messages": []},
        5,
        said("FACT: Bob likes tea.", id="e"),
        said("x", id="f", colour="red"),
    ]
    answer = await api.post(f"{EXTRACT}/batch", json={"conversations": conversations})
    results = answer.raise_for_status().json()["results"]
    assert [one["id"] for one in results] == ["a", "b", "c", None, "e", "f"]
    assert [one["status"] for one in results] == [
        "done",
        "failed",
        "failed",
        "failed",
        "done",
        "failed",
    ]
    codes = [one["error"] and one["error"]["code"] for one in results]
    invalid = "invalid_request"
    assert codes == [None, "extraction_failed", invalid, invalid, None, invalid]
    assert results[1]["error"]["details"] == {"reason": "refused"}
    assert len(await memories(api)) == 2


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ExtractionFailed("no", details={"reason": "malformed"}), 502),
        (Unavailable("the LLM is away", retry_after=7), 503),
    ],
)
async def test_what_the_llm_fails_with_is_answered(
    api: httpx.AsyncClient, told: "FakeExtractor", error: APIError, status: int
) -> None:
    told.errors = [error]
    answer = await api.post(EXTRACT, json=said("FACT: a"))
    assert answer.status_code == status
    assert answer.json()["error"]["message"] == error.message
    assert answer.headers.get("Retry-After") == ("7" if status == 503 else None)
    assert await memories(api) == []
    assert (await extract(api, "FACT: a"))["status"] == "done"


WRONG = Problem('facts[1]: "type" must be one of semantic', "Ann moved.")
MENDED = Found([FoundFact("Ann moved.", "episodic", (0,))], Spent(1, 200, 20))


@pytest.mark.parametrize(
    "error",
    [
        Unavailable("the LLM is away", retry_after=7),
        ExtractionFailed("the LLM refuses", details={"reason": "refused"}),
    ],
)
async def test_good_facts_are_kept_where_the_repair_of_others_fails(
    api: httpx.AsyncClient, told: "FakeExtractor", error: APIError
) -> None:
    told.problems, told.repairs = [WRONG], [error, MENDED]
    first = await extract(api, "FACT: Ann has a cat.")
    assert [(fact["status"], fact["content"]) for fact in first["facts"]] == [
        ("stored", "Ann has a cat.")
    ]
    (lost,) = first["unusable"]
    assert lost["code"] == error.code
    assert lost["message"] == f"{WRONG.text}; asked to put it right: {error.message}"
    assert lost["details"] == {**error.details, "content": "Ann moved."}
    assert (first["status"], first["usage"]["calls"]) == ("done", 1)

    # What is settled is not paid for again: what may pass is asked for, what is refused is not.
    again = await extract(api, "FACT: Ann has a cat.")
    assert len(told.calls) == 1
    if isinstance(error, Unavailable):
        statuses = [fact["status"] for fact in again["facts"]]
        assert (statuses, again["unusable"]) == (["duplicate", "stored"], [])
        assert again["usage"] == {"calls": 1, "input_tokens": 200, "output_tokens": 20}
        once_more = await extract(api, "FACT: Ann has a cat.")
        assert (once_more["unusable"], once_more["usage"]["calls"]) == ([], 0)
        assert len(await memories(api)) == 2
    else:
        assert (again["unusable"], again["usage"]["calls"]) == ([lost], 0)
        assert (told.repairs, len(await memories(api))) == ([MENDED], 1)


async def test_what_can_not_be_used_when_asked_for_again_is_told(
    api: httpx.AsyncClient, told: "FakeExtractor"
) -> None:
    told.problems = [WRONG, Problem("facts[2]: must be an object")]
    told.repairs = [Found(MENDED.facts, MENDED.spent, [Problem("facts[0]: it is still wrong")])]
    body = await extract(api, "FACT: Ann has a cat.")
    assert [fact["status"] for fact in body["facts"]] == ["stored", "stored"]
    assert body["unusable"] == [
        {
            "code": "extraction_failed",
            "message": "facts[0]: it is still wrong",
            "details": {"reason": "malformed"},
        }
    ]
    assert body["usage"] == {"calls": 2, "input_tokens": 300, "output_tokens": 30}


async def test_an_erasure_takes_what_is_to_be_repaired_with_it(
    api: httpx.AsyncClient, told: "FakeExtractor"
) -> None:
    told.problems, told.repairs = [WRONG], [Unavailable("away"), MENDED]
    await extract(api, "FACT: Ann has a cat.", user_id="ann")
    (await api.delete("/api/v1/users/ann")).raise_for_status()
    await extract(api, "FACT: Ann has a cat.", user_id="ann")
    assert len(told.calls) == 2


class Failing:
    """An embedder that fails as long as it is told to."""

    name, dimension = "failing", 4

    def __init__(self) -> None:
        self.fails: Callable[[str], bool] = lambda text: True

    async def embed(self, texts: Sequence[str]) -> Any:
        import numpy as np

        if any(map(self.fails, texts)):
            raise EmbedderUnavailable("away")
        return np.eye(4, dtype=np.float32)[[len(text) % 4 for text in texts]]

    async def close(self) -> None:
        pass


class Held(Failing):
    """An embedder that waits for its gate."""

    def __init__(self) -> None:
        self.fails = lambda text: False
        self.asked, self.gate = asyncio.Event(), asyncio.Event()

    async def embed(self, texts: Sequence[str]) -> Any:
        self.asked.set()
        await self.gate.wait()
        return await super().embed(texts)


async def test_a_fact_that_can_not_be_stored_now_fails_with_its_reason(
    open_api: OpenApi, told: "FakeExtractor", database_url: str
) -> None:
    embedder = Failing()
    async with open_api(extractor=told, database_url=database_url, embedder=embedder) as api:
        answer = await api.post(EXTRACT, json=said("FACT: a", "FACT: bb"))
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
        embedder.fails = lambda text: False
        body = await extract(api, "FACT: a", "FACT: bb")  # the LLM is not asked again
        assert [fact["status"] for fact in body["facts"]] == ["stored", "stored"]
        assert len(told.calls) == 1


async def test_a_fact_that_is_no_text_of_ours_fails_alone(
    api: httpx.AsyncClient, told: "FakeExtractor"
) -> None:
    told.facts = [FoundFact("a\0b", "semantic", (0,)), FoundFact("good", "semantic", (0,))]
    bad, good = (await extract(api, "x"))["facts"]
    assert (bad["status"], bad["error"]["code"]) == ("failed", "extraction_failed")
    assert good["status"] == "stored"


async def test_a_collection_of_the_callers_vectors_is_refused_before_the_llm_is_asked(
    api: httpx.AsyncClient, told: "FakeExtractor"
) -> None:
    made = {"embedder": "client", "dimension": 2, "metric": "cosine"}
    await api.put("/api/v1/collections/own", json=made)
    answer = await api.post(EXTRACT, json=said("FACT: a", collection="own"))
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "embedder_mismatch")
    assert told.calls == []


async def test_without_an_llm_it_says_how_to_have_one(open_api: OpenApi, database_url: str) -> None:
    many = {"conversations": [said("x")]}
    async with open_api(database_url=database_url) as api:
        for path, body in ((EXTRACT, said("x")), (f"{EXTRACT}/batch", many)):
            answer = await api.post(path, json=body)
            error = answer.json()["error"]
            assert (answer.status_code, error["code"]) == (409, "llm_not_configured")
            assert "AGENTMEM_LLM_URL" in error["message"]
            assert "AGENTMEM_LLM_MODEL" in error["message"]


async def test_what_came_from_where_can_be_given_and_is_exported(
    api: httpx.AsyncClient,
) -> None:
    sources = [{"message_ids": ["m"], "content": "so", "at": "2024-01-01T00:00:00Z"}]
    memory = {"id": "a", "content": "x", "sources": sources}
    stored = await api.post("/api/v1/memories", json=memory)
    assert stored.json()["sources"] == sources
    changed = await api.patch("/api/v1/memories/a", json={"content": "y"})
    assert changed.json()["sources"] == sources
    history = await api.get("/api/v1/memories/a/history")
    assert history.json()["events"][1]["before"]["sources"] == sources


async def test_an_erasure_reaches_what_waits_to_be_written(
    open_api: OpenApi, told: "FakeExtractor", database_url: str
) -> None:
    """The LLM has answered, and its facts wait for their vectors when the user is erased."""
    embedder = Held()
    async with open_api(extractor=told, database_url=database_url, embedder=embedder) as api:
        asked = asyncio.create_task(api.post(EXTRACT, json=said("FACT: a", user_id="ann")))
        await embedder.asked.wait()
        (await api.delete("/api/v1/users/ann")).raise_for_status()
        embedder.gate.set()
        answer = await asked
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict")
        assert await memories(api) == []


@pytest.mark.parametrize("background", [False, True])
async def test_what_no_call_can_take_is_refused_at_once(
    api: httpx.AsyncClient, told: "FakeExtractor", background: bool
) -> None:
    answer = await api.post(EXTRACT, json=said("TOO LONG", background=background))
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_request")
    metadata = {"long": "x" * 100_000}
    answer = await api.post(EXTRACT, json=said("x", background=background, metadata=metadata))
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "invalid_request")
    assert answer.json()["error"]["message"].startswith("metadata: each fact gets it")
    assert told.calls == []
    assert (await api.get("/api/v1/jobs")).json()["jobs"] == []
