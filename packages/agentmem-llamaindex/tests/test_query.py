from typing import Any

import pytest
from agentmem_client.models import MMR
from agentmem_llamaindex._query import Listing, plan
from llama_index.core.vector_stores.types import (
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)

VECTOR = [1.0, 0.0]


def planned(mode: str, keywords: dict[str, Any] | None = None, /, **fields: Any) -> dict[str, Any]:
    request = plan(VectorStoreQuery(mode=VectorStoreQueryMode(mode), **fields), keywords or {})
    assert not isinstance(request, Listing)
    arguments = dict(request)
    assert arguments.pop("filters") is None
    return arguments


def test_default() -> None:
    assert planned("default", query_embedding=VECTOR, query_str="cat", similarity_top_k=3) == {
        "mode": "dense",
        "embedding": VECTOR,
        "limit": 3,
    }


@pytest.mark.parametrize("mode", ["text_search", "sparse"])
def test_keywords(mode: str) -> None:
    expected = {"mode": "sparse", "query": "cat", "limit": 3}
    assert planned(mode, query_str="cat", similarity_top_k=3) == expected
    assert planned(mode, query_str="cat", similarity_top_k=9, sparse_top_k=3) == expected
    assert planned(mode, query_str="cat", query_embedding=VECTOR, similarity_top_k=3) == expected


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, None])
def test_hybrid(alpha: float | None) -> None:
    assert planned("hybrid", query_embedding=VECTOR, query_str="cat", alpha=alpha) == {
        "mode": "hybrid",
        "embedding": VECTOR,
        "query": "cat",
        "alpha": alpha,
        "limit": 1,
    }


def test_hybrid_limits() -> None:
    both: dict[str, Any] = {"query_embedding": VECTOR, "query_str": "cat", "similarity_top_k": 2}
    assert planned("hybrid", **both, sparse_top_k=12)["limit"] == 2
    assert planned("hybrid", **both, sparse_top_k=12, hybrid_top_k=5)["limit"] == 5


def test_mmr_threshold() -> None:
    def threshold(keywords: dict[str, Any], **fields: Any) -> float:
        mmr = planned("mmr", keywords, query_embedding=VECTOR, **fields)["mmr"]
        assert isinstance(mmr, MMR)
        return mmr.lambda_mult

    assert threshold({}) == 0.5
    assert threshold({"mmr_threshold": 0.0}) == 0.0
    assert threshold({"mmr_threshold": 1}) == 1.0
    assert threshold({}, mmr_threshold=0.0) == 0.0
    assert threshold({"mmr_threshold": 0.2}, mmr_threshold=0.9) == 0.2
    with pytest.raises(ValueError, match="less than or equal to 1"):
        threshold({"mmr_threshold": 1.5})


def test_mmr_candidates() -> None:
    def candidates(keywords: dict[str, Any], top_k: int = 10) -> int:
        mmr = planned("mmr", keywords, query_embedding=VECTOR, similarity_top_k=top_k)["mmr"]
        assert isinstance(mmr, MMR)
        return mmr.fetch_k

    assert candidates({}) == 50
    assert candidates({}, top_k=100) == 400
    assert candidates({}, top_k=900) == 1000
    assert candidates({"mmr_prefetch_k": 20}) == 20
    assert candidates({"mmr_prefetch_k": 5}) == 10  # never fewer than it shall choose
    assert candidates({"mmr_prefetch_factor": 7.5}) == 75
    with pytest.raises(ValueError, match="not both"):
        candidates({"mmr_prefetch_k": 20, "mmr_prefetch_factor": 2})


@pytest.mark.parametrize("mode", ["default", "hybrid", "sparse", "mmr"])
def test_recency_and_importance(mode: str) -> None:
    weights = {"recency": {"weight": 0.2}, "importance": {"weight": 0.1}}
    request = planned(mode, weights, query_embedding=VECTOR, query_str="cat")
    assert {name: request[name] for name in weights} == weights
    assert "importance" not in planned(mode, {}, query_embedding=VECTOR, query_str="cat")


def test_nothing_is_weighed_in_a_listing() -> None:
    with pytest.raises(ValueError, match="weighed against a text"):
        plan(VectorStoreQuery(), {"recency": {"weight": 0.2}})


def test_filters_alone_are_a_listing() -> None:
    filters = MetadataFilters(filters=[MetadataFilter(key="a", value=1)])
    request = plan(VectorStoreQuery(filters=filters, similarity_top_k=7), {})
    assert isinstance(request, Listing)
    assert request.limit == 7
    assert request.filters is not None
    assert request.filters.to_dict() == {"a": {"$eq": 1}}


def test_restrictions() -> None:
    def filters(**fields: Any) -> dict[str, Any] | None:
        request = plan(VectorStoreQuery(query_embedding=VECTOR, **fields), {})
        assert not isinstance(request, Listing)
        return None if request["filters"] is None else request["filters"].to_dict()

    assert filters() is None
    assert filters(node_ids=[], doc_ids=None) is None
    assert filters(doc_ids=[]) == {"ref_doc_id": {"$in": []}}
    assert filters(node_ids=["1"]) == {"@id": {"$in": ["1"]}}
    assert filters(doc_ids=["d"]) == {"ref_doc_id": {"$in": ["d"]}}


@pytest.mark.parametrize(
    ("mode", "fields", "missing"),
    [
        ("default", {"query_str": "cat"}, "query_embedding"),
        ("mmr", {}, "query_embedding"),
        ("hybrid", {"query_embedding": VECTOR}, "query_str"),
        ("hybrid", {"query_str": "cat"}, "query_embedding"),
        ("sparse", {}, "query_str"),
        ("text_search", {"query_embedding": VECTOR}, "query_str"),
    ],
)
def test_what_a_mode_needs(mode: str, fields: dict[str, Any], missing: str) -> None:
    with pytest.raises(ValueError, match=f"'{mode}' needs a {missing}"):
        planned(mode, **fields)


@pytest.mark.parametrize(
    "mode", ["semantic_hybrid", "svm", "logistic_regression", "linear_regression"]
)
def test_other_modes_are_refused(mode: str) -> None:
    with pytest.raises(ValueError, match=f"'{mode}' is not offered"):
        planned(mode, query_embedding=VECTOR, query_str="cat")


@pytest.mark.parametrize("top_k", [0, -1, 1001])
def test_a_limit_is_never_cut(top_k: int) -> None:
    with pytest.raises(ValueError, match="1 to 1000"):
        planned("default", query_embedding=VECTOR, similarity_top_k=top_k)


def test_an_unknown_keyword_is_refused() -> None:
    with pytest.raises(TypeError, match="where_clause"):
        planned("default", {"where_clause": "x"}, query_embedding=VECTOR)


@pytest.mark.parametrize("field", [{"output_fields": ["topic"]}, {"embedding_field": "title"}])
def test_a_field_that_would_be_ignored_is_refused(field: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no embedding_field and no output_fields"):
        planned("default", query_embedding=VECTOR, **field)
