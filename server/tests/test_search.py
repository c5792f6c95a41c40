from typing import Any

import numpy as np
import pytest
from agentmem_client import models as m
from agentmem_client.errors import InvalidRequest
from agentmem_server import times
from agentmem_server.engine.search import POOL, Found, Ranking, holds_until, plan
from agentmem_server.storage import Attributes, Candidates, Embedding, Ranked, Turns
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

DAY = 86_400 * 1_000_000
NAN = float("nan")
NOW = times.now()


def embedding(metric: m.Metric = "cosine") -> Embedding:
    return Embedding("client", None, 2, metric)


def request(**fields: Any) -> m.SearchRequest:
    return m.SearchRequest.model_validate({"query": "a", "embedding": [1.0, 0.0], **fields})


class Notes:
    """Candidates whose ids count from 1.

    Args:
        rows: of each, its similarity, its BM25 (NaN: not found), its age in days and importance.
    """

    def __init__(self, *rows: tuple[float, float, float, float]) -> None:
        self.rows = dict(enumerate(rows, 1))
        self.read: list[list[int]] = []

    def candidates(self, mode: str) -> Candidates:
        near = sorted(self.rows, key=lambda id: (-np.nan_to_num(self.rows[id][0], nan=-9), -id))
        said = [id for id in self.rows if mode != "dense" and not np.isnan(self.rows[id][1])]
        said.sort(key=lambda id: (-self.rows[id][1], -id))
        ids = said if mode == "sparse" else near
        if mode == "dense":
            ids = [id for id in near if not np.isnan(self.rows[id][0])]
        similarities = [NAN if mode == "sparse" else self.rows[id][0] for id in ids]
        return Candidates(
            np.array(ids, np.int64),
            np.array(similarities, np.float64),
            np.array(said, np.int64),
            np.array([self.rows[id][1] for id in said], np.float64),
            vectors=self._vectors,
            attributes=self._attributes,
            turns=lambda ids, with_tokens: Turns.of(ids, {}),
        )

    def _vectors(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        angles = ids.astype(np.float32)
        return np.stack([np.cos(angles), np.sin(angles)], axis=1)

    def _attributes(self, ids: NDArray[np.int64]) -> Attributes:
        self.read.append(ids.tolist())
        rows = {
            id: (NAN, NOW - age * DAY, NOW, weight) for id, (_, _, age, weight) in self.rows.items()
        }
        return Attributes.of(ids, rows)

    def rank(self, wanted: m.SearchRequest, metric: m.Metric = "cosine") -> tuple[Ranked, Ranking]:
        chosen = plan(wanted, embedding(metric))
        ranking = Ranking(chosen, wanted)
        return ranking.rank(self.candidates(chosen.mode)), ranking


@pytest.fixture(autouse=True)
def _stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time stands still: this module may have been read long before its tests."""
    monkeypatch.setattr(times, "now", lambda: NOW)


def ranked(notes: Notes, metric: m.Metric = "cosine", **fields: Any) -> list[tuple[int, float]]:
    (ids, scores), _ = notes.rank(request(**fields), metric)
    return list(zip(ids.tolist(), scores.tolist(), strict=True))


PETS = Notes((0.9, 2.0, 300, 0.1), (0.8, 8.0, 1, 0.5), (0.1, NAN, 0, 0.9))
LATE = {"weight": 0.5, "half_life": 86_400}


def test_nothing_is_read_of_the_candidates_that_nobody_weighs() -> None:
    notes = Notes(*PETS.rows.values())
    ranked(notes, explain=True, mmr={}, min_score=0.1)
    assert notes.read == []
    ranked(notes, importance={"weight": 0})
    assert [sorted(ids) for ids in notes.read] == [[1, 2, 3]]


def test_a_dense_score_stays_on_the_scale_of_a_cosine() -> None:
    found = ranked(PETS, mode="dense", recency=LATE)
    assert [id for id, _ in found] == [2, 3, 1]
    assert [score for _, score in found] == pytest.approx([0.65, 0.55, 0.45], abs=1e-3)


def test_the_inner_product_is_scaled_within_the_candidates_and_only_to_be_weighed() -> None:
    large = Notes((900.0, NAN, 9_999, 0), (800.0, NAN, 9_999, 0), (100.0, NAN, 0, 0))
    assert ranked(large, "dot", mode="dense") == [(1, 900), (2, 800), (3, 100)]
    found = dict(ranked(large, "dot", mode="dense", recency={"weight": 0.2}))
    assert found == pytest.approx({1: 0.8, 2: 0.7, 3: 0.2}, abs=1e-3)


def test_bm25_is_scaled_to_its_largest_and_only_to_be_weighed() -> None:
    assert ranked(PETS, mode="sparse") == [(2, 8.0), (1, 2.0)]
    found = ranked(PETS, mode="sparse", importance={"weight": 0.5})
    assert [id for id, _ in found] == [2, 1]
    assert [score for _, score in found] == pytest.approx([0.75, 0.175])


def test_the_least_score_is_one_that_was_weighed() -> None:
    found = ranked(PETS, mode="dense", recency=LATE)
    good = ranked(PETS, mode="dense", recency=LATE, min_score=0.5)
    assert [id for id, _ in good] == [id for id, _ in found[:2]]


def test_mmr_weighs_what_is_of_late_too() -> None:
    # The last would be chosen last: now it leads.
    mmr = {"lambda_mult": 1.0}
    found = ranked(PETS, mode="dense", mmr=mmr, recency={"weight": 1, "half_life": 60})
    assert [id for id, _ in found] == [3, 2, 1]


def test_as_many_are_weighed_as_a_hybrid_search_ranks() -> None:
    for fields in ({"recency": LATE}, {"importance": {"weight": 0.1}}):
        for mode in ("dense", "sparse", "hybrid"):
            assert plan(request(mode=mode, limit=3, **fields), embedding()).depth == POOL
            deep = request(mode=mode, limit=3, offset=500, **fields)
            assert plan(deep, embedding()).depth == 503
    assert plan(request(mode="dense", limit=3, explain=True), embedding()).depth == 3


def test_the_weights_are_shares_of_the_score() -> None:
    for one, other in ((0.7, 0.3), (0.1, 0.9), (1, 0), (0.35, 0.65)):
        plan(request(recency={"weight": one}, importance={"weight": other}), embedding())
    too_much = request(recency={"weight": 0.6}, importance={"weight": 0.5})
    with pytest.raises(InvalidRequest, match=r"1\.1 together is more than 1"):
        plan(too_much, embedding())


def test_an_explanation_tells_all() -> None:
    weights = {"recency": {**LATE, "weight": 0.2}, "importance": {"weight": 0.1}}
    _, ranking = PETS.rank(request(**weights, explain=True))
    second = ranking.explanations[1]
    parts = {"similarity": 0.35, "keyword": 0.0875, "recency": 0.0, "importance": 0.01}
    assert second.parts == pytest.approx(parts)
    assert second.relevance == pytest.approx(0.625)
    assert second.model_dump(exclude={"parts", "relevance", "recency"}) == {
        "similarity": 0.9,
        "keyword": 2.0,
        "tokens": None,
        "importance": 0.1,
        "rank": 2,
        "similarity_rank": 1,
        "keyword_rank": 2,
        "resemblance": None,
    }
    third = ranking.explanations[3]
    assert (third.keyword, third.keyword_rank, third.parts["keyword"]) == (None, None, 0)


def test_an_explanation_is_of_the_page_and_its_ranks_of_all_candidates() -> None:
    _, ranking = PETS.rank(request(mode="dense", limit=1, offset=1, explain=True))
    (explanation,) = ranking.explanations.values()
    assert explanation.parts == {"similarity": 0.8}
    assert (explanation.rank, explanation.similarity_rank) == (2, 2)
    assert (explanation.keyword, explanation.recency, explanation.importance) == (None, None, None)


def test_an_explanation_shows_what_mmr_did() -> None:
    twin = Notes((0.9, NAN, 0, 0), (0.8, NAN, 0, 0), (0.7, NAN, 0, 0))
    (ids, _), ranking = twin.rank(request(mode="dense", mmr={"lambda_mult": 0.5}, explain=True))
    assert ids.tolist() == [1, 3, 2]
    told = [ranking.explanations[id] for id in ids.tolist()]
    assert [one.rank for one in told] == [1, 3, 2]
    assert told[0].resemblance is None
    assert [one.resemblance for one in told[1:]] == pytest.approx([np.cos(2), np.cos(1)], abs=1e-6)


rows = st.tuples(
    st.floats(-1, 1) | st.just(NAN),
    st.floats(2**-20, 64) | st.just(NAN),
    st.floats(-9, 10_000),
    st.floats(0, 1) | st.just(NAN),
)
weights = st.fixed_dictionaries({"weight": st.floats(0, 0.5)})


@given(
    st.lists(rows, max_size=12),
    st.fixed_dictionaries(
        {"mode": st.sampled_from(["hybrid", "dense"])},
        optional={
            "recency": weights,
            "importance": weights,
            "mmr": st.just({"fetch_k": 3}),
            "min_score": st.floats(-1, 1),
            "offset": st.integers(0, 3),
            "limit": st.integers(1, 4),
        },
    )
    | st.fixed_dictionaries(
        {"mode": st.just("sparse")}, optional={"recency": weights, "importance": weights}
    ),
    st.sampled_from(["cosine", "dot", "euclidean"]),
)
def test_the_parts_add_up_to_the_score_and_explaining_changes_nothing(
    rows: list[tuple[float, float, float, float]], fields: dict[str, Any], metric: m.Metric
) -> None:
    notes, chosen = Notes(*rows), plan(request(**fields), embedding(metric))
    plain, explained = (
        Ranking(chosen, request(**fields, explain=explain)) for explain in (False, True)
    )
    ids, scores = (one.tolist() for one in explained.rank(notes.candidates(chosen.mode)))
    assert [one.tolist() for one in plain.rank(notes.candidates(chosen.mode))] == [ids, scores]
    assert plain.explanations == {}
    assert list(explained.explanations) == ids
    for id, score in zip(ids, scores, strict=True):
        parts = explained.explanations[id].parts
        assert sum(parts.values()) == pytest.approx(score, abs=1e-12)
        assert {"recency", "importance"} & parts.keys() == {"recency", "importance"} & fields.keys()


def test_how_long_an_answer_holds() -> None:
    chosen = plan(request(), embedding())
    assert holds_until(request(), chosen, []) is None
    assert holds_until(request(), chosen, [None, 7, 5, None]) == 5
    # A hundredth of a half life.
    for half_life, microseconds in ((100, 1_000_000), (1, 10_000)):
        aging = request(recency={"weight": 0.1, "half_life": half_life})
        assert holds_until(aging, chosen, [None]) == chosen.now + microseconds
        assert holds_until(aging, chosen, [5]) == 5
    assert holds_until(request(importance={"weight": 1}), chosen, []) is None
    assert Found(b"", times.now() + 500_000, refreshed=False).lifetime() <= 0.5
