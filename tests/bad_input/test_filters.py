"""Filters that say nothing, and the largest that are honoured."""

import json
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from agentmem_client import endpoints as e
from agentmem_client import models as m
from agentmem_client.filters import MAX_CONDITIONS, MAX_DEPTH, MAX_VALUES

from tests.bad_input.sending import GOOD, LONG, ROW, Json, check_refusal, send

pytestmark = pytest.mark.asyncio(loop_scope="module")

BAD_FILTERS: list[tuple[Any, str]] = [
    ([], "JSON object"),
    ("topic", "JSON object|must be"),
    (1, "JSON object"),
    (True, "JSON object"),
    ({"a": {"$equals": 1}}, r"unknown operator '\$equals'.*\$eq"),
    ({"a": {"$regex": "x"}}, r"unknown operator '\$regex'"),
    ({"a": {"$where": "x"}}, r"unknown operator"),
    ({"a": {"$EQ": 1}}, r"unknown operator"),
    ({"a": {"$": 1}}, r"unknown operator"),
    ({"$nor": [{"a": 1}]}, r"unknown operator '\$nor'.*\$and"),
    ({"$eq": 1}, r"unknown operator '\$eq' where a name is expected"),
    ({"@nope": 1}, "unknown record field '@nope'.*@created_at"),
    ({"@": 1}, "unknown record field"),
    ({"@metadata": 1}, "unknown record field"),
    ({"$and": []}, r"\$and needs a list"),
    ({"$or": {}}, r"\$or needs a list"),
    ({"$or": [{}]}, r"inside \$or"),
    ({"$or": ["a"]}, r"inside \$or"),
    ({"$not": {}}, r"inside \$not"),
    ({"$not": []}, r"inside \$not"),
    ({"$not": [{"a": 1}]}, r"inside \$not"),
    ({"a": {"$gt": 1, "b": 2}}, "mixes operators and plain keys"),
    ({"a": {"$in": 1}}, "takes a list"),
    ({"a": {"$in": "abc"}}, "takes a list"),
    ({"a": {"$any": []}}, "at least one value"),
    ({"a": {"$all": []}}, "at least one value"),
    ({"a": {"$between": [1]}}, "two values"),
    ({"a": {"$between": [1, 2, 3]}}, "two values"),
    ({"a": {"$like": 1}}, "pattern as a string"),
    ({"a": {"$ilike": "u" * 1_001}}, "at most 1000 characters"),
    ({"a": {"$exists": 1}}, "true or false"),
    ({"a": {"$empty": None}}, "true or false"),
    ({"a": "\0"}, "NUL"),
    ({"\0": 1}, "NUL"),
    ({"@id": 1}, "@id is a string"),
    ({"@id": {"$in": ["a", 1]}}, "@id is a string"),
    ({"@importance": "high"}, "@importance is a number"),
    ({"@importance": True}, "@importance is a number"),
    ({"@created_at": "yesterday"}, "must be a time such as"),
    ({"@created_at": "2026-01-01T00:00:00"}, "UTC offset"),
    ({"@created_at": 1_700_000_000}, "@created_at is a time"),
    ({"@created_at": {"$like": "2026%"}}, "works on strings and arrays"),
    ({"a": {"$in": [0] * (MAX_VALUES + 1)}}, f"at most {MAX_VALUES} values"),
    ({"$or": [{"a": 1}] * (MAX_CONDITIONS + 1)}, f"at most {MAX_CONDITIONS} conditions"),
    ({"a": {"$any": [0] * (MAX_CONDITIONS + 1)}}, f"at most {MAX_CONDITIONS} conditions"),
    # Long names and values, which must not come back.
    ({"a": {f"${LONG}": 1}}, "unknown operator"),
    ({f"${LONG}": 1}, "unknown operator"),
    ({f"@{LONG}": 1}, "unknown record field"),
    ({LONG: {"$like": 1}}, "pattern as a string"),
    ({LONG: {"$gt": 1, "b": 1}}, "mixes operators"),
    ({LONG: {"$nope": 1}}, "unknown operator"),
    ({"@importance": LONG}, "@importance is a number"),
    ({"@importance": [[LONG]]}, "@importance is a number"),
    ({"@importance": {"$in": [1, {LONG: LONG}]}}, "@importance is a number"),
    ({"@event_at": LONG}, "must be a time such as"),
]


def nested(operator: str, depth: int) -> Json:
    inner: Json = {"a": 1}
    for _ in range(depth):
        inner = {operator: inner if operator == "$not" else [inner]}
    return inner


@pytest.mark.parametrize("name", ["search_memories", "delete_memories", "list_memories"])
@pytest.mark.parametrize(
    ("filters", "says"),
    [
        *BAD_FILTERS,
        *((nested(operator, MAX_DEPTH), "levels deep") for operator in ("$and", "$or", "$not")),
    ],
    ids=lambda value: repr(value)[:40] if not isinstance(value, str) else None,
)
async def test_a_bad_filter(api: httpx.AsyncClient, name: str, filters: Any, says: str) -> None:
    row = ROW[name]
    if row is e.LIST_MEMORIES:
        query = urlencode({"filters": json.dumps(filters, separators=(",", ":"))})
        answer = await send(api, row, query=query)
    else:
        answer = await send(api, row, {**GOOD[name], "filters": filters})
    check_refusal(answer, 422, "invalid_filter", says, row)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "topic",
        "{'a': 1}",
        "\0",
        "[" * 10_000,
        '{"a": NaN}',
        '{"a": 1e999}',
        LONG,
        "\ufeff{}",
    ],
    ids=lambda text: text[:12],
)
async def test_a_filter_in_the_query_string_that_is_not_json(
    api: httpx.AsyncClient, text: str
) -> None:
    answer = await send(api, e.LIST_MEMORIES, query=urlencode({"filters": text}))
    check_refusal(answer, 422, "invalid_filter", "filter|finite numbers", e.LIST_MEMORIES)


async def test_the_largest_filters_that_are_allowed_are_honoured(api: httpx.AsyncClient) -> None:
    """A request within all documented bounds is never answered with a failure."""
    collection = "largest"
    for number in range(3):
        body = {
            "id": f"{number}",
            "content": "largest",
            "collection": collection,
            "metadata": {"n": number, "tags": ["a", "b"]},
        }
        assert (await send(api, e.ADD_MEMORY, body)).status_code == 201
    everything: list[Json] = [
        {"n": {"$in": list(range(MAX_VALUES))}},
        {"@id": {"$in": [str(number) for number in range(MAX_VALUES)]}},
        {"n": {"$nin": list(range(3, MAX_VALUES + 3))}},
        {"$or": [{"n": number} for number in range(MAX_CONDITIONS)]},
        {"tags": {"$all": ["a"] * MAX_CONDITIONS}},
        {"tags": {"$any": ["u" * 10_000, "a"]}},
        {"$not": {"n": {"$like": "%u" * 500}}},
        {"$not": nested("$not", MAX_DEPTH - 2)},
        *(
            {"$and": [{"n": {"$in": list(range(MAX_VALUES))}}, *[other] * (MAX_CONDITIONS - 1)]}
            for other in (
                {"none": {"$empty": True}},
                {"tags": {"$contains": "a"}},
                {"n": {"$between": [0, 2]}},
                {"@id": {"$between": ["0", "2"]}},
            )
        ),
    ]
    for number, filters in enumerate(everything):
        body = {"collection": collection, "query": "largest", "filters": filters}
        found = await send(api, e.SEARCH_MEMORIES, body)
        assert found.status_code == 200, (number, found.text[:300])
        assert len(found.json()["hits"]) == 3, number
    ids = [str(number) for number in range(m.MAX_IDS)]
    body = {"collection": collection, "ids": ids, "filters": everything[0], "user_id": "nobody"}
    answer = await send(api, e.DELETE_MEMORIES, body)
    assert answer.status_code == 200, answer.text[:300]
    assert answer.json()["deleted"] == 0
    del body["user_id"]
    answer = await send(api, e.DELETE_MEMORIES, body)
    assert answer.status_code == 200, answer.text[:300]
    assert answer.json()["deleted"] == 3
