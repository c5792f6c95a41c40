"""Searches: channels, options, what is admitted, and what is answered."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from agentmem_client import models as m
from agentmem_client.errors import DimensionMismatch, EmbedderMismatch, InvalidRequest
from agentmem_server.engine.engine import Engine

from server.tests.engine.engines import DIMENSION, TENANT, found, memory, search, vector_of


async def test_a_search_takes_the_channels_that_there_are(engine: Engine) -> None:
    await engine.add(TENANT, memory("red apples", id="a"))
    await engine.add(TENANT, memory("green pears", id="b"))
    for mode, expected in (("dense", ["a", "b"]), ("sparse", ["a"]), ("hybrid", ["a", "b"])):
        assert await found(engine, "red apples", mode=mode) == expected
    (best, _) = await search(engine, "red apples")
    assert best.score == pytest.approx(1)
    (best, other) = await search(engine, "red apples", mode="dense")
    assert best.score == pytest.approx(1, abs=1e-6)
    assert other.score == pytest.approx(
        float(vector_of("red apples") @ vector_of("green pears")), abs=1e-6
    )
    assert await found(engine, "red", embedding=vector_of("green pears").tolist(), alpha=1) == [
        "b",
        "a",
    ]
    assert await found(engine, embedding=vector_of("green pears").tolist()) == ["b", "a"]

    await engine.add(TENANT, memory("red", id="v", collection="mine", embedding=[1.0, 0.0]))
    await engine.add(TENANT, memory("blue", id="w", collection="mine", embedding=[0.0, 1.0]))
    assert await found(engine, "red", collection="mine") == ["v"]
    assert await found(engine, embedding=[0.0, 1.0], collection="mine") == ["w", "v"]
    both = await search(engine, "red", embedding=[0.0, 1.0], collection="mine", alpha=0.4)
    assert [(hit.id, hit.score) for hit in both] == [("v", 0.6), ("w", 0.4)]
    for refused in ({"mode": "dense"}, {"mode": "hybrid"}):
        with pytest.raises(EmbedderMismatch):
            await search(engine, "red", collection="mine", **refused)
    with pytest.raises(DimensionMismatch):
        await search(engine, embedding=[1.0, 0.0, 0.0], collection="mine")
    with pytest.raises(DimensionMismatch):
        await search(engine, "red", embedding=[1.0, 0.0])


REFUSED: list[dict[str, Any]] = [
    {},
    {"filters": {"a": 1}},
    {"mode": "sparse", "embedding": [1.0] * DIMENSION},
    {"mode": "hybrid", "embedding": [1.0] * DIMENSION},
    {"query": "x", "mode": "dense", "alpha": 0.5},
    {"query": "x", "mode": "sparse", "alpha": 0.5},
    {"embedding": [1.0] * DIMENSION, "alpha": 0.0},
    {"query": "x", "mode": "sparse", "mmr": {}},
]


@pytest.mark.parametrize("fields", REFUSED)
@pytest.mark.parametrize("collection", ["default", "not there"])
async def test_options_that_do_not_go_together_are_refused(
    engine: Engine, fields: dict[str, Any], collection: str
) -> None:
    await engine.add(TENANT, memory("x"))
    with pytest.raises(InvalidRequest):
        await search(engine, **fields, collection=collection)


async def test_a_search_admits_what_scope_and_filter_do(engine: Engine) -> None:
    for number in range(30):
        await engine.add(
            TENANT,
            memory(
                f"word {number}", id=f"r{number}", user_id="uv"[number % 2], metadata={"n": number}
            ),
        )
    for mode in ("dense", "sparse", "hybrid"):
        expected = {"r25", "r27", "r29"}
        fields: dict[str, Any] = {"filters": {"n": {"$gt": 23}}, "user_id": "v", "mode": mode}
        assert set(await found(engine, "word", limit=3, **fields)) == expected
        assert set(await found(engine, "word", limit=99, **fields)) == expected
        assert await found(engine, "word", **{**fields, "user_id": "nobody"}) == []
    assert len(await found(engine, "word")) == 10
    assert len(await found(engine, "word", limit=1_000)) == 30
    assert await found(engine, "word", collection="not there") == []


async def test_pages_of_a_search_join(engine: Engine) -> None:
    await engine.add_many(TENANT, [memory(f"word {n}", id=f"r{n}") for n in range(25)])
    for mode in ("dense", "sparse", "hybrid"):
        whole = await found(engine, "word 7", limit=25, mode=mode)
        assert len(whole) == len(set(whole)) == 25
        pages = [await found(engine, "word 7", limit=10, offset=n, mode=mode) for n in (0, 10, 20)]
        assert [one for page in pages for one in page] == whole
        assert await found(engine, "word 7", offset=25, mode=mode) == []


async def test_a_score_can_be_asked_for(engine: Engine) -> None:
    await engine.add_many(TENANT, [memory(f"word {n}", id=f"r{n}") for n in range(10)])
    hits = await search(engine, "word 7", mode="dense")
    worst = hits[4].score
    good = await search(engine, "word 7", mode="dense", min_score=worst)
    assert [hit.id for hit in good] == [hit.id for hit in hits[:5]]
    assert await found(engine, "word 7", mode="dense", min_score=1.5) == []


async def test_mmr_prefers_hits_that_differ(engine: Engine) -> None:
    near: list[list[float]] = [[1, 0.2, 0], [1, 0.21, 0], [1, 0.22, 0], [0.7, 0, 0.7]]
    for number, numbers in enumerate(near):
        await engine.add(TENANT, memory(f"word{number}", id=f"r{number}", embedding=numbers))
    query: dict[str, Any] = {"embedding": [1.0, 0.1, 0.0]}
    assert await found(engine, **query, limit=2) == ["r0", "r1"]
    assert await found(engine, **query, limit=2, mmr={"lambda_mult": 0.5}) == ["r0", "r3"]
    assert await found(engine, **query, limit=2, mmr={"lambda_mult": 1}) == ["r0", "r1"]
    await engine.add(TENANT, memory("far", id="far", embedding=[0.0, -1.0, 0.0]))
    # Whatever the options: each once, no more than there are, and pages that join.
    for options in ({}, {"fetch_k": 1}, {"fetch_k": 3}, {"lambda_mult": 0}, {"fetch_k": 1_000}):
        whole = await found(engine, **query, limit=100, mmr=options)
        assert sorted(whole) == ["far", "r0", "r1", "r2", "r3"]
        assert len(await found(engine, **query, limit=2, offset=4, mmr=options)) == 1


async def test_mmr_of_nothing_is_nothing(engine: Engine) -> None:
    await engine.add(TENANT, memory("hello", id="a"))
    assert await found(engine, "hello", mmr={}) == ["a"]
    assert await found(engine, "hello", mmr={}, user_id="nobody") == []
    assert await found(engine, "hello", mmr={}, filters={"a": 1}) == []
    assert await found(engine, "hello", mmr={}, mode="dense", min_score=2) == []
    assert await found(engine, "hello", mmr={}, offset=5) == []
    assert await found(engine, "hello", mmr={}, collection="not there") == []
    await engine.delete(TENANT, "default", "a")
    assert await found(engine, "hello", mmr={}) == []


async def test_what_is_of_late_or_important_is_preferred_when_asked_for(engine: Engine) -> None:
    now = datetime.now(UTC)
    along = {"embedding": [1.0, 0.0]}
    for days in (200, 0, 10):
        fields = {"event_at": now - timedelta(days=days), "importance": days / 200}
        await engine.add(TENANT, memory("word", id=f"r{days}", **fields, **along))
    # Better matches, so that the others are on no first page.
    other = {"event_at": now - timedelta(days=99), "importance": 0.01, "embedding": [1.0, 0.01]}
    better = [memory("a word, one word", id=f"n{n}", **other) for n in range(50)]
    await engine.add_many(TENANT, better)
    for mode in ("dense", "sparse", "hybrid"):
        query: dict[str, Any] = {
            "query": "word",
            "mode": mode,
            "limit": 2,
            **({} if mode == "sparse" else {"embedding": [1.0, 0.02]}),
        }
        assert {hit.id[0] for hit in await search(engine, **query)} == {"n"}
        assert await found(engine, **query, recency={"weight": 0.8}) == ["r0", "r10"]
        assert (await found(engine, **query, importance={"weight": 0.8}))[0] == "r200"


async def test_an_answer_has_an_explanation_only_when_it_is_asked_for(engine: Engine) -> None:
    await engine.add(TENANT, memory("hello", id="a", metadata={"n": None}))
    some: list[dict[str, Any]] = [{}, {"include_embeddings": True}, {"recency": {"weight": 0.5}}]
    for options in [*some, {"mmr": {}}, {"mode": "sparse"}]:
        wanted = {"query": "hello", **options}
        plain = await engine.search(TENANT, m.SearchRequest.model_validate(wanted))
        (hit,) = json.loads(plain)["hits"]
        assert list(hit) == [name for name in m.Hit.model_fields if name != "explanation"]
        wanted["explain"] = True
        explained = await engine.search(TENANT, m.SearchRequest.model_validate(wanted))
        (hit,) = json.loads(explained)["hits"]
        explanation = hit["explanation"]
        assert list(explanation) == list(m.Explanation.model_fields)
        assert sum(explanation["parts"].values()) == pytest.approx(hit["score"])


async def test_vectors_are_answered_when_asked_for(engine: Engine) -> None:
    await engine.add(TENANT, memory("hello", id="a"))
    (without,) = await search(engine, "hello")
    (with_,) = await search(engine, "hello", include_embeddings=True)
    assert without.embedding is None
    assert with_.embedding == pytest.approx(vector_of("hello"))


async def test_a_search_leaves_its_request_as_it_was(engine: Engine) -> None:
    """It is kept for all who ask the same again."""
    for number in range(3):
        fields = {"user_id": "u", "session_id": "s", "metadata": {"n": number}, "ttl": 60}
        await engine.add(TENANT, memory(f"cat {number}", id=f"{number}", **fields))
    request = m.SearchRequest.model_validate(
        {
            "query": "cat",
            "embedding": vector_of("cat").tolist(),
            "user_id": "u",
            "filters": {"$and": [{"n": {"$gte": 0}}, {"$not": {"n": {"$in": [2]}}}]},
            "mmr": {},
            "recency": {"weight": 0.2},
            "importance": {"weight": 0.2},
            "explain": True,
            "include_embeddings": True,
            "refresh_ttl": True,
        }
    )
    before = request.model_dump_json()
    for _ in range(2):
        hits = m.SearchAnswer.model_validate_json(await engine.search(TENANT, request)).hits
        assert {hit.id for hit in hits} == {"0", "1"}
    assert request.model_dump_json() == before
