"""Anything: random requests are answered without a failure."""

import json
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import pytest
from agentmem_client import endpoints as e
from agentmem_client import models as m
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st

from tests.bad_input.sending import GOOD, WITH_BODY, check_shape

pytestmark = pytest.mark.asyncio(loop_scope="module")

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["default", "x", "", "\0", "$eq", "@id", "a" * 600, "2026-01-01T00:00:00Z", "AACAPw=="]
)
numbers = (
    st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([2**63, -(2**64), 10**299, 10**310, 1e308, 5e-324, -0.0])
)
leaves = st.none() | st.booleans() | numbers | texts
anything = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(texts | st.sampled_from(["$and", "$or", "$not", "$in", "a"]), inner)
    ),
    max_leaves=12,
)
fields = sorted({name for row in WITH_BODY if row.body for name in row.body.model_fields})
likely: dict[str, st.SearchStrategy[Any]] = {
    "content": texts,
    "id": texts,
    "ids": st.lists(texts, max_size=4),
    "query": texts,
    "embedding": st.lists(numbers, max_size=4),
    "limit": st.integers(-1, 1_001),
    "offset": st.integers(-1, 100_001),
    "alpha": st.floats(-1, 2),
    "mode": st.sampled_from(["hybrid", "dense", "sparse", "x"]),
    "mmr": st.just({}) | anything,
    "recency": st.fixed_dictionaries(
        {"weight": st.floats(-1, 2)}, optional={"half_life": numbers, "by": texts}
    ),
    "explain": st.booleans(),
    "metadata": st.dictionaries(texts, anything, max_size=4),
    "memories": st.lists(
        st.dictionaries(st.sampled_from(["content", "id", "metadata", "embedding"]), anything)
        | anything,
        max_size=4,
    ),
    "filters": st.dictionaries(
        st.sampled_from(["a", "@id", "@created_at", "$or", "a.b", "\\"]) | texts,
        st.dictionaries(
            st.sampled_from(["$eq", "$in", "$gt", "$like", "$contains", "$between", "$exists"]),
            anything,
            max_size=2,
        )
        | anything,
        max_size=3,
    ),
    "embedder": st.sampled_from(["server", "client"]),
    "dimension": st.integers(0, 16_385),
    "version": st.integers(-1, 4) | st.sampled_from([m.MAX_VERSION, 2**63]),
    "default_ttl": st.floats(-1, 1e10) | st.none(),
    "scopes": st.lists(st.sampled_from(["read", "write", "admin", "metrics", "x"]), max_size=3),
    "rate_limit": st.floats(-1, 1e7),
}
HEADERS = [
    *("content-type", "content-length", "content-encoding", "host", "x-request-id", "accept"),
    *(
        "range",
        "if-match",
        "last-event-id",
        "cookie",
        "authorization",
        "x-api-key",
        "expect",
        "upgrade",
    ),
]


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, str, bytes, dict[str, str]]:
    # Not the feed: its answer has no end, and `test_events.py` reads it.
    row = draw(st.sampled_from([row for row in e.ENDPOINTS if not row.stream]))
    method = draw(st.just(row.method) | st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE"]))
    segment = draw(
        texts.map(lambda text: quote(text, safe="")) | st.sampled_from(["%ff", "%", "%0"])
    )
    url = row.path.replace("{id}", segment or "x").replace("{name}", segment or "x")
    query_names = st.sampled_from(
        ["collection", "limit", "offset", "filters", "cursor", "order", "after", "days", "tenant"]
    )
    pairs = draw(
        st.lists(st.tuples(query_names | texts, texts | anything.map(json.dumps)), max_size=2)
    )
    if pairs:
        url += f"?{urlencode(pairs)}"
    chosen = draw(st.lists(st.sampled_from(fields), max_size=4, unique=True))
    if row.name in GOOD and draw(st.booleans()):
        chosen = [*GOOD[row.name], *chosen]
    body = {
        name: draw(likely.get(name, anything) if draw(st.integers(0, 3)) else anything)
        for name in chosen
    }
    content = draw(st.just(json.dumps(body).encode()) | st.binary(max_size=20))
    headers = {"content-type": "application/json"}
    header_text = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)
    if draw(st.integers(0, 4)) == 0:
        headers[draw(st.sampled_from(HEADERS))] = draw(header_text)
    return method, url, content, headers


@example(("GET", "/api/v1/memories/" + "a" * 513, b"", {}))
@given(requests())
@settings(
    max_examples=300,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
async def test_anything_is_answered_without_a_failure(
    api: httpx.AsyncClient, request_: tuple[str, str, bytes, dict[str, str]]
) -> None:
    method, url, content, headers = request_
    answer = await api.request(method, url, content=content, headers=headers)
    event(f"{answer.status_code}")
    assert answer.status_code < 500, answer.text[:1_000]
    assert answer.headers["x-request-id"]
    if answer.status_code >= 400:
        check_shape(answer, ".", ".")
    else:
        answer.json()
