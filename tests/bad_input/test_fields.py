"""Fields of the wrong type, unknown ones, and none at all."""

from typing import Any

import httpx
import pytest
from agentmem_client import endpoints as e
from agentmem_client import models as m
from pydantic import BaseModel

from tests.bad_input.sending import GOOD, LONG, ROW, WITH_BODY, check_refusal, send

pytestmark = pytest.mark.asyncio(loop_scope="module")

SAMPLES: dict[str, list[Any]] = {
    "null": [None],
    "boolean": [True, False],
    "integer": [1],
    "fraction": [0.5],
    "string": ["server", "text"],
    "array": [[], [[]], [{}]],
    "object": [{}, {"a": {}}],
}
CRITERIA = {
    "collection": "string",
    "ids": "array null",
    "filters": "object null",
    "everything": "boolean",
    "user_id": "string null",
    "agent_id": "string null",
    "session_id": "string null",
    "namespace": "null",
}
TAKES: dict[type[BaseModel], dict[str, str]] = {
    m.MemoryInput: {
        "id": "string",
        "collection": "string",
        "content": "string",
        "metadata": "object",
        "user_id": "string null",
        "agent_id": "string null",
        "session_id": "string null",
        "type": "string null",
        "importance": "integer fraction null",
        "event_at": "null",
        "expires_at": "null",
        "embedding": "null",
        "namespace": "null",
        "payload": "null boolean integer fraction string array object",
        "ttl": "integer fraction null",
        "archived": "boolean",
        "index_texts": "null",
        "embeddings": "null",
        "sources": "null",
    },
    m.BatchRequest: {"memories": "array", "atomic": "boolean", "replacing": "null object"},
    m.SearchRequest: {
        "query": "string",
        "embedding": "null",
        "collection": "string",
        "filters": "object null",
        "mode": "null",
        "alpha": "integer fraction null",
        "limit": "integer",
        "offset": "integer",
        "min_score": "integer fraction null",
        "mmr": "object null",
        "recency": "null",
        "importance": "null",
        "explain": "boolean",
        "rerank": "null boolean object",
        "include_embeddings": "boolean",
        "user_id": "string null",
        "agent_id": "string null",
        "session_id": "string null",
        "namespace": "null",
        "refresh_ttl": "boolean",
    },
    m.GetManyRequest: {
        "ids": "array",
        "collection": "string",
        "include_embeddings": "boolean",
        "refresh_ttl": "boolean",
    },
    m.DeleteRequest: {**CRITERIA, "include_memories": "boolean"},
    m.ArchiveRequest: {**CRITERIA, "archived": "boolean"},
    m.MemoryUpdate: {
        "content": "string",
        "metadata": "object null",
        "type": "string null",
        "importance": "integer fraction null",
        "event_at": "null",
        "expires_at": "null",
        "embedding": "",
        "embeddings": "",
        "ttl": "integer fraction null",
        "payload": "null boolean integer fraction string array object",
        "archived": "boolean",
        "index_texts": "null",
    },
    m.ExtractRequest: {
        "id": "string",
        "messages": "",
        "collection": "string",
        "metadata": "object",
        "instructions": "string null",
        "background": "boolean",
        "user_id": "string null",
        "agent_id": "string null",
        "session_id": "string null",
        "namespace": "null",
    },
    m.ExtractManyRequest: {"conversations": "array"},
    m.RestoreRequest: {"version": "integer"},
    m.CollectionInput: {
        "embedder": "",
        "dimension": "integer null",
        "metric": "",
        "default_ttl": "integer fraction null",
    },
    m.KeyInput: {
        "name": "string",
        "tenant": "string null",
        "scopes": "",
        "user_id": "string null",
        "expires_at": "null",
        "rate_limit": "integer fraction null",
    },
}
"""Which kinds of JSON value a field takes, as far as the samples go."""
WRONG_TYPES = [
    (row.name, field, kind)
    for row in WITH_BODY
    if row.body is not None
    for field in row.body.model_fields  # a field that isn't in TAKES is an error here
    for kind in SAMPLES
    if kind not in TAKES[row.body][field].split()
]


@pytest.mark.parametrize(("name", "field", "kind"), WRONG_TYPES)
async def test_a_field_of_the_wrong_type(
    api: httpx.AsyncClient, name: str, field: str, kind: str
) -> None:
    for value in SAMPLES[kind]:
        if (field, value) in (("embedder", "server"), ("index_texts", []), ("sources", [])):
            continue  # a word that it takes, and lists with nothing wrong in them
        row = ROW[name]
        answer = await send(api, row, {**GOOD[name], field: value})
        error = check_refusal(answer, 422, "^invalid_(request|filter)$", field.rstrip("s"), row)
        if error["code"] == "invalid_request" and value is not None:
            fields = [one["field"] for one in error["details"]["errors"]]
            assert all(one.split(".")[0] == field for one in fields)


@pytest.mark.parametrize("row", WITH_BODY, ids=lambda row: row.name)
@pytest.mark.parametrize("field", ["tenant", "Content", "userId", "", " ", "a.b", "__class__"])
async def test_an_unknown_field(api: httpx.AsyncClient, row: e.Endpoint[Any], field: str) -> None:
    if (row, field) == (e.CREATE_KEY, "tenant"):
        return  # the one operation that names a tenant
    answer = await send(api, row, {**GOOD[row.name], field: 1})
    error = check_refusal(answer, 422, "invalid_request", "not permitted", row)
    assert error["details"]["errors"][0]["field"] == field


@pytest.mark.parametrize("row", WITH_BODY, ids=lambda row: row.name)
async def test_an_unknown_field_with_a_long_name(
    api: httpx.AsyncClient, row: e.Endpoint[Any]
) -> None:
    answer = await send(api, row, {**GOOD[row.name], LONG: 1})
    check_refusal(answer, 422, "invalid_request", "not permitted", row)


@pytest.mark.parametrize("row", WITH_BODY, ids=lambda row: row.name)
async def test_thousands_of_unknown_fields(api: httpx.AsyncClient, row: e.Endpoint[Any]) -> None:
    fields = dict.fromkeys((f"field-{number}" for number in range(20_000)), 1)
    answer = await send(api, row, {**GOOD[row.name], **fields})
    check_refusal(answer, 422, "invalid_request", "not permitted", row)


@pytest.mark.parametrize("row", WITH_BODY, ids=lambda row: row.name)
async def test_no_fields_at_all(api: httpx.AsyncClient, row: e.Endpoint[Any]) -> None:
    answer = await send(api, row, {})
    if row is e.PUT_COLLECTION:  # everything in it has a default
        assert answer.status_code == 200
        return
    says = {
        "add_memory": "content: .*required",
        "add_memories": "memories: .*required",
        "search_memories": "give a query",
        "get_memories": "ids: .*required",
        "delete_memories": "give ids, filters or a scope",
        "archive_memories": "give ids, filters or a scope",
        "extract": "messages: .*required",
        "extract_many": "conversations: .*required",
        "update_memory": "at least one field",
        "restore_memory": "version: .*required",
        "create_key": "name: .*required",
    }[row.name]
    check_refusal(answer, 422, "invalid_request", says, row)
