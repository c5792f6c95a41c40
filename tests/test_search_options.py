"""Searches by recency and importance, and what a score is made of, over HTTP."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from agentmem_client import endpoints as e

Json = dict[str, Any]
pytestmark = pytest.mark.every_engine

DAY = 86_400
MODES = ("dense", "sparse", "hybrid")


async def add(api: httpx.AsyncClient, id: str, content: str = "a cat", **fields: Any) -> None:
    body = {"id": id, "content": content, **fields}
    answer = await api.post(e.ADD_MEMORY.path, json=body)
    assert answer.status_code == 201, answer.text


async def search(api: httpx.AsyncClient, query: str = "cat", **fields: Any) -> list[Json]:
    answer = await api.post(e.SEARCH_MEMORIES.path, json={"query": query, **fields})
    assert answer.status_code == 200, answer.text
    hits: list[Json] = answer.json()["hits"]
    return hits


async def found(api: httpx.AsyncClient, **fields: Any) -> list[str]:
    return [hit["id"] for hit in await search(api, **fields)]


def ago(days: float) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).isoformat()


async def test_what_happened_of_late_is_first_in_every_mode(api: httpx.AsyncClient) -> None:
    for days in (30, 1, 900, -5):
        # The same words and vectors: a day in the text would tell them apart.
        await add(api, str(days), event_at=ago(days), index_texts=["a cat"])
    await add(api, "undated", index_texts=["a cat"])
    await add(api, "late but off", "something else", event_at=ago(0))
    for mode in MODES:
        recency = {"weight": 0.4, "half_life": 10 * DAY}
        hits = await search(api, mode=mode, recency=recency, explain=True)
        told = {hit["id"]: hit["explanation"]["recency"] for hit in hits}
        # What is yet to come is as if now; without an event it counts when it was stored.
        known = {"-5": 1, "undated": 1, "1": 0.5**0.1, "30": 0.5**3, "900": 0}
        assert {name: told[name] for name in known} == pytest.approx(known, abs=1e-4)
        order = [hit["id"] for hit in hits if hit["id"] in ("1", "30", "900")]
        assert order == ["1", "30", "900"]


async def test_the_age_is_counted_from_what_is_asked_for(api: httpx.AsyncClient) -> None:
    await add(api, "first", event_at=ago(1), index_texts=["a cat"])
    await add(api, "second", event_at=ago(2), index_texts=["a cat"])
    wish: Json = {"weight": 1, "half_life": 3_600}
    answer = await api.patch(e.UPDATE_MEMORY.url(id="first"), json={"metadata": {"n": 1}})
    assert answer.status_code == 200
    assert await found(api, recency={**wish, "by": "event_at"}) == ["first", "second"]
    assert await found(api, recency={**wish, "by": "created_at"}) == ["second", "first"]
    assert await found(api, recency={**wish, "by": "updated_at"}) == ["first", "second"]


async def test_the_important_is_first_in_every_mode(api: httpx.AsyncClient) -> None:
    for name, importance in (("high", 0.9), ("none", None), ("low", 0.1), ("zero", 0.0)):
        await add(api, name, importance=importance)
    for mode in MODES:
        wish = {"weight": 0.5}
        assert await found(api, mode=mode, importance=wish) == ["high", "none", "low", "zero"]
        wish["default"] = 0.05
        assert await found(api, mode=mode, importance=wish) == ["high", "low", "none", "zero"]


async def test_the_parts_add_up_to_the_score(api: httpx.AsyncClient) -> None:
    for number in range(12):
        await add(
            api,
            f"m{number}",
            " ".join(["cat"] * (number % 4) + ["dog", "bird"][: number % 3]) or "nothing",
            importance=number / 12 if number % 2 else None,
            event_at=ago(number),
        )
    wishes: list[Json] = [
        {},
        {"recency": {"weight": 0.3}},
        {"importance": {"weight": 0.3}},
        {"recency": {"weight": 0.5, "by": "updated_at"}, "importance": {"weight": 0.5}},
    ]
    for mode in MODES:
        for wish in wishes:
            extra: Json = {} if mode == "sparse" else {"mmr": {"lambda_mult": 0.7}}
            for more in ({}, {"min_score": 0, "offset": 1, "limit": 5}, extra):
                asked = {"mode": mode, **wish, **more}
                hits = await search(api, "cat dog", **asked, explain=True)
                assert hits
                for hit in hits:
                    explanation = hit.pop("explanation")
                    parts = explanation["parts"]
                    assert sum(parts.values()) == pytest.approx(hit["score"])
                    assert {"recency", "importance"} & parts.keys() == wish.keys()
                ids = [hit["id"] for hit in await search(api, "cat dog", **asked)]
                assert ids == [hit["id"] for hit in hits]


async def test_ranks_tell_of_what_may_be_seen_alone(api: httpx.AsyncClient) -> None:
    for number in range(5):
        await add(api, f"other{number}", "cat cat", user_id="bob", importance=1)
    await add(api, "mine", "a cat and a dog", user_id="ann")
    wish: Json = {"user_id": "ann", "importance": {"weight": 0.1}, "explain": True}
    (hit,) = await search(api, **wish)
    explanation = hit["explanation"]
    ranks = [explanation[name] for name in ("rank", "similarity_rank", "keyword_rank")]
    assert ranks == [1, 1, 1]
    assert explanation["relevance"] == 1


async def test_a_search_of_nothing_weighs_nothing(api: httpx.AsyncClient) -> None:
    wish: Json = {"recency": {"weight": 0.5}, "importance": {"weight": 0.5}, "explain": True}
    for mode in MODES:
        assert await search(api, mode=mode, **wish) == []
    await add(api, "m", "a cat")
    for mode in MODES:
        assert await search(api, mode=mode, user_id="nobody", **wish) == []
        assert await search(api, mode=mode, offset=7, **wish) == []
