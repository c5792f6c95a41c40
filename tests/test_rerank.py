"""Searches whose candidates are ranked anew, with the builtin embedder and without, over HTTP."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
from agentmem_client import endpoints as e
from agentmem_server.embedding.builtin import BuiltinEmbedder
from numpy.typing import NDArray
from threadpoolctl import threadpool_info  # type: ignore[import-untyped]  # it ships no types

if TYPE_CHECKING:
    from tests.conftest import OpenApi

Json = dict[str, Any]
pytestmark = pytest.mark.every_engine

TALK = {
    "animal": "Ann: Which animal lives with you?",
    "tortoise": "Bob: A tortoise, since the spring of last year.",
    "heavy": "Ann: Nice! And how heavy is it?",
    "lettuce": "Bob: Two kilograms, and it eats lettuce.",
    "cat": "Ann: My cat weighs five kilograms.",
}
NONE = {"tokens": 0, "context": 0, "speaker": 0}


@pytest.fixture(scope="module")
def embedder() -> Iterator[BuiltinEmbedder]:
    embedder = BuiltinEmbedder()
    yield embedder
    asyncio.run(embedder.close())


@pytest.fixture
async def talk(
    open_api: "OpenApi", database_url: str, embedder: BuiltinEmbedder
) -> AsyncIterator[httpx.AsyncClient]:
    """An application with the builtin embedder that knows a conversation."""
    async with open_api(database_url=database_url, embedder=embedder) as api:
        await add(api)
        yield api


async def add(api: httpx.AsyncClient, **fields: Any) -> None:
    memories = [
        {"id": id, "content": content, "session_id": "s", **fields} for id, content in TALK.items()
    ]
    answer = await api.post(e.ADD_MEMORIES.path, json={"memories": memories})
    assert {one["status"] for one in answer.json()["results"]} == {"stored"}, answer.text


async def search(api: httpx.AsyncClient, query: str, **fields: Any) -> list[Json]:
    answer = await api.post(e.SEARCH_MEMORIES.path, json={"query": query, **fields})
    assert answer.status_code == 200, answer.text
    hits: list[Json] = answer.json()["hits"]
    return hits


async def parts(api: httpx.AsyncClient, query: str, **fields: Any) -> dict[str, Json]:
    hits = await search(api, query, explain=True, **fields)
    return {hit["id"]: hit["explanation"]["parts"] for hit in hits}


QUERY = "How heavy is Bob's tortoise in kilograms?"


async def test_tokens_context_and_speaker_are_parts_of_the_score(talk: httpx.AsyncClient) -> None:
    hits = await search(talk, QUERY, explain=True)
    assert {hit["id"] for hit in hits[:2]} == {"lettuce", "tortoise"}
    for hit in hits:
        told = hit["explanation"]
        assert set(told["parts"]) == {"similarity", "keyword", "tokens", "speaker"}
        assert sum(told["parts"].values()) == pytest.approx(hit["score"])
        assert 0 <= hit["score"] <= 1
        assert 0 < told["tokens"] <= 1
        assert (told["parts"]["speaker"] > 0) == hit["content"].startswith("Bob:")


async def test_each_step_can_be_left_out(talk: httpx.AsyncClient) -> None:
    for rerank in (False, NONE):
        found = await parts(talk, QUERY, rerank=rerank)
        assert {name for one in found.values() for name in one} == {"similarity", "keyword"}
    assert "speaker" not in (await parts(talk, QUERY, rerank={"speaker": 0}))["cat"]
    told = {
        context: {
            hit["id"]: hit["explanation"]["tokens"]
            for hit in await search(
                talk, "tortoise lettuce", explain=True, rerank={"context": context}
            )
        }
        for context in (0, 0.85)
    }
    # "lettuce" has the word "tortoise" two turns before.
    assert told[0.85]["lettuce"] > told[0]["lettuce"] + 0.02
    assert told[0.85]["tortoise"] > told[0]["tortoise"] + 0.02


async def test_without_tokens_the_fusion_counts_around(talk: httpx.AsyncClient) -> None:
    found = await parts(talk, QUERY, rerank={"tokens": 0})
    assert {name for one in found.values() for name in one} == {
        *("similarity", "keyword", "context", "speaker")
    }
    assert found["heavy"]["context"] > 0


async def test_a_changed_text_has_other_tokens(talk: httpx.AsyncClient) -> None:
    before = {hit["id"]: hit for hit in await search(talk, "a blue bicycle", explain=True)}
    url = e.UPDATE_MEMORY.url(id="cat")
    answer = await talk.patch(url, json={"content": "Ann: My bicycle is blue."})
    assert answer.status_code == 200, answer.text
    after = {hit["id"]: hit for hit in await search(talk, "a blue bicycle", explain=True)}
    told = [one["cat"]["explanation"]["tokens"] for one in (before, after)]
    assert told[1] > told[0] + 0.3


async def test_a_query_without_words_has_no_tokens(talk: httpx.AsyncClient) -> None:
    hits = await search(talk, "?!", mode="hybrid", explain=True, rerank={"tokens": 0.5})
    assert {hit["explanation"]["tokens"] for hit in hits} == {None}


async def test_other_modes_rank_nothing_anew(talk: httpx.AsyncClient) -> None:
    for mode in ("dense", "sparse"):
        assert await search(talk, QUERY, mode=mode) == await search(
            talk, QUERY, mode=mode, rerank=False
        )
        body = {"query": QUERY, "mode": mode, "rerank": {"speaker": 0.2}}
        answer = await talk.post(e.SEARCH_MEMORIES.path, json=body)
        assert answer.status_code == 422
        assert "hybrid" in answer.json()["error"]["message"]


async def test_a_page_goes_on_where_the_last_one_ended(talk: httpx.AsyncClient) -> None:
    whole = [hit["id"] for hit in await search(talk, QUERY, limit=5)]
    pages = [(await search(talk, QUERY, limit=2, offset=offset)) for offset in (0, 2, 4)]
    assert [hit["id"] for page in pages for hit in page] == whole


async def test_tokens_asked_for_where_there_are_none_are_refused(
    open_api: "OpenApi", database_url: str
) -> None:
    async with open_api(database_url=database_url) as api:  # its embedder tells no tokens
        await add(api)
        assert len(await search(api, QUERY, rerank={"speaker": 0.3})) == 5
        vector = {"collection": "own", "embedding": [1.0, 0.0]}
        await add(api, **vector)
        for fields in ({}, vector):
            body = {"query": QUERY, "rerank": {"tokens": 0.5}, **fields}
            answer = await api.post(e.SEARCH_MEMORIES.path, json=body)
            assert answer.status_code == 422, answer.text
            assert "rerank.tokens" in answer.json()["error"]["message"]
        found = await parts(api, QUERY, **vector)
        assert {name for one in found.values() for name in one} >= {"context", "speaker"}


async def test_memories_without_tokens_get_them_after_the_start(
    open_api: "OpenApi", database_url: str, embedder: BuiltinEmbedder
) -> None:
    async with open_api(database_url=database_url, embedder=Plain(embedder)) as api:
        await add(api)
        assert {hit["explanation"]["tokens"] for hit in await search(api, QUERY, explain=True)} == {
            None
        }
    async with open_api(database_url=database_url, embedder=embedder) as api:
        for _ in range(200):
            hits = await search(api, QUERY, explain=True)
            if None not in {hit["explanation"]["tokens"] for hit in hits}:
                break
            await asyncio.sleep(0.05)
        assert all(hit["explanation"]["tokens"] > 0 for hit in hits)
        assert {hit["version"] for hit in hits} == {1}


class Plain:
    """The builtin embedder as an older server had it, which kept no tokens."""

    def __init__(self, embedder: BuiltinEmbedder) -> None:
        self.name, self.dimension = embedder.name, embedder.dimension
        self._embedder = embedder

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return await self._embedder.embed(texts)

    async def close(self) -> None:
        pass


async def test_matrix_products_have_one_thread(talk: httpx.AsyncClient) -> None:
    # Two wait for one another whenever something else has a core, for 20 times as long.
    threads = [one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"]
    assert set(threads) <= {1}
