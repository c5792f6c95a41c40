"""/openapi.json says what the server does, and the server does what it says."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, get_args

import httpx
import pytest
from agentmem_client import endpoints as e
from agentmem_client import models as m
from agentmem_client.errors import BY_CODE
from agentmem_server.app import open_app
from agentmem_server.routes.openapi import examples, words
from agentmem_server.settings import Settings
from httpx_sse import aconnect_sse
from jsonschema import Draft202012Validator
from jsonschema.validators import validator_for
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.routing import Route, WebSocketRoute

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import FakeExtractor, OpenApi, Server

Send = Callable[..., Awaitable[httpx.Response]]
Json = dict[str, Any]
ROW = {row.name: row for row in e.ENDPOINTS}
ADMIN_KEY = "an-operator-for-tests-of-many-characters"
IN_FED = {"collection": "fed"}
FULL: Json = {
    "id": "full",
    "content": "the whole of it",
    "metadata": {"a": [1, 2.5, None, {"b": True}]},
    "user_id": "u",
    "agent_id": "a",
    "session_id": "s",
    "type": "semantic",
    "importance": 0.5,
    "event_at": "2026-01-31T09:30:00+01:00",
    "expires_at": "2999-01-01T00:00:00Z",
}


@pytest.fixture
async def document(api: httpx.AsyncClient) -> Json:
    answer = await api.get("/openapi.json")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    read: Json = answer.json()
    return read


def operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield path, method.upper(), operation


def resolved(document: Json, node: Json) -> Json:
    """The part of the document itself, where there is a reference to it."""
    while "$ref" in node:
        part: Json = document
        for name in node["$ref"].removeprefix("#/").split("/"):
            part = part[name]
        node = part
    return node


def responses(document: Json) -> Iterator[tuple[Json, int, Json]]:
    """Every operation, with each status that it may answer and what it answers then."""
    for _, _, operation in operations(document):
        for status, response in operation["responses"].items():
            yield operation, int(status), resolved(document, response)


def schemas(node: Any) -> Iterator[Json]:
    """Every schema in a part of the document."""
    if isinstance(node, dict):
        if "schema" in node:
            yield node["schema"]
        for inner in node.values():
            yield from schemas(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from schemas(inner)


def check(document: Json, schema: Json, value: Any) -> None:
    """The value is what the schema says; references are into the document."""
    whole = {**schema, "components": document["components"]}
    Draft202012Validator(whole, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(value)


def is_valid(document: Json, schema: Json, value: Any) -> bool:
    return Draft202012Validator({**schema, "components": document["components"]}).is_valid(value)


def check_answer(document: Json, operation: Json, answer: httpx.Response) -> None:
    """The answer's status, type, headers and body are documented."""
    response = resolved(document, operation["responses"][str(answer.status_code)])
    media_type = answer.headers["content-type"].partition(";")[0]
    schema = response["content"][media_type]["schema"]
    check(document, schema, answer.json() if media_type == "application/json" else answer.text)
    for name, reference in response["headers"].items():
        header = resolved(document, reference)
        if header.get("required"):
            assert name in answer.headers, (answer.status_code, name)
        if name in answer.headers:
            text = answer.headers[name]
            value = int(text) if header["schema"]["type"] == "integer" else text
            check(document, header["schema"], value)


# --- The document ----------------------------------------------------------------------------


async def test_it_is_a_valid_document(document: Json) -> None:
    OpenAPIV31SpecValidator(document).validate()
    assert document["openapi"].startswith("3.1.")
    assert document["info"]["version"]
    for schema in [*schemas(document["paths"]), *document["components"]["schemas"].values()]:
        assert validator_for(schema) is Draft202012Validator
        Draft202012Validator.check_schema(schema)


async def test_operation_ids_are_unique_and_those_of_the_endpoints(document: Json) -> None:
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(ids)) == len(ids)
    assert sorted(ids) == sorted([*ROW, "metrics"])


async def test_people_are_told_what_everything_is(document: Json) -> None:
    tags = {tag["name"] for tag in document["tags"]}
    assert tags == {operation["tags"][0] for _, _, operation in operations(document)}
    for path, method, operation in operations(document):
        assert operation["summary"], f"{method} {path}"
        assert operation["description"], f"{method} {path}"
        for parameter in operation["parameters"]:
            assert parameter["description"], f"{method} {path}: {parameter['name']}"
    for name, schema in document["components"]["schemas"].items():
        assert schema["description"], name
        for field, inner in schema["properties"].items():
            assert inner.get("description"), f"{name}.{field}"
    for group in ("headers", "securitySchemes", "responses"):
        for name, part in document["components"][group].items():
            assert part["description"], name


async def test_nothing_is_described_that_is_not_there(document: Json) -> None:
    ids = {operation["operationId"] for _, _, operation in operations(document)}
    fields = {
        field
        for schema in document["components"]["schemas"].values()
        for field in schema["properties"]
    }
    assert {*words.NOTES} | {*words.TAG_OF} <= ids
    assert {*words.FIELDS} <= fields
    assert {*examples.BODIES} == {row.name for row in e.ENDPOINTS if row.body}
    answered = {(row.name, status) for row in e.ENDPOINTS for status in (row.status, *row.also)}
    assert {*examples.ANSWERS} == answered - {(e.EVENTS.name, 200)}


async def test_every_route_is_in_it_and_the_other_way_round(
    document: Json, tmp_path: "Path"
) -> None:
    async with open_app(Settings(database_url=f"sqlite:///{tmp_path / 'a.db'}")) as app:
        routes = {
            (route.path, method)
            for route in app.routes
            if isinstance(route, Route)
            for method in (route.methods or set()) - {"HEAD"}
        }
        others = [route for route in app.routes if not isinstance(route, Route)]
    sockets = [route.path for route in others if isinstance(route, WebSocketRoute)]
    assert sockets == [f"{e.EVENTS.path}/ws"]
    assert len(others) == 1
    described = {one["operationId"]: one["description"] for _, _, one in operations(document)}
    assert sockets[0] in described[e.EVENTS.name]
    pages = {(path, method) for path, method in routes if path.startswith("/docs")}
    assert len(pages) == 4
    documented = {(path, method) for path, method, _ in operations(document)}
    assert routes == documented | {("/openapi.json", "GET")} | pages


async def test_every_segment_of_a_path_is_a_parameter(document: Json) -> None:
    for path, _, operation in operations(document):
        given = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
        assert {f"{{{name}}}" for name in given} == {
            part for part in path.split("/") if part.startswith("{")
        }


async def test_every_error_is_documented_in_the_one_shape(document: Json) -> None:
    error = {"$ref": "#/components/schemas/ErrorAnswer"}
    for operation, status, response in responses(document):
        row = ROW.get(operation["operationId"])
        assert response["description"]
        good = (row.status, *row.also) if row else (200,)
        if status in good:
            assert all(part["schema"] != error for part in response["content"].values())
            continue
        content = response["content"]["application/json"]
        assert content["schema"] == error
        shown = {code: one["value"] for code, one in content["examples"].items()}
        assert {*shown} == {cls.code for cls in BY_CODE.values() if cls.status == status}
        for code, example in shown.items():
            check(document, error, example)
            assert example["error"]["code"] == code
    codes = document["components"]["schemas"]["ErrorBody"]["properties"]["code"]["enum"]
    assert codes == sorted(BY_CODE)


async def test_what_is_left_out_is_not_null(document: Json) -> None:
    """Whoever fills in defaults must not clear with an update what it would leave out."""
    for name, schema in document["components"]["schemas"].items():
        for field, inner in schema["properties"].items():
            assert inner.get("default", ...) is not None, f"{name}.{field}"
    update = document["components"]["schemas"]["MemoryUpdate"]
    assert not any("default" in field for field in update["properties"].values())


async def test_an_answer_has_all_of_its_fields(document: Json) -> None:
    schemas = document["components"]["schemas"]
    for name in ("Memory", "Event", "Key", "ErrorAnswer", "AddResult", "Explanation"):
        assert sorted(schemas[name]["required"]) == sorted(schemas[name]["properties"])
    # But for what has to be asked for.
    hit = schemas["Hit"]
    assert sorted([*hit["required"], "explanation"]) == sorted(hit["properties"])
    assert "anyOf" not in hit["properties"]["explanation"]


async def test_every_operation_says_who_may_and_what_can_be_refused(document: Json) -> None:
    schemes = document["components"]["securitySchemes"]
    assert schemes["apiKey"].items() >= {"in": "header", "name": "X-API-Key"}.items()
    for path, method, operation in operations(document):
        row = ROW.get(operation["operationId"])
        where = f"{method} {path}"
        statuses = {int(status) for status in operation["responses"]}
        scopes = row.scopes if row else ("metrics",)
        assert statuses >= {413, 422, 500, 503}, where
        assert (429 in statuses) == (row is not e.LIVE), where
        assert (statuses >= {401, 403}) == bool(scopes), where
        assert operation["security"] == [{name: []} for name in schemes if scopes], where
        assert all(f"`{scope}`" in operation["description"] for scope in scopes), where
        body = row is not None and row.body is not None
        assert (statuses >= {400, 415}) == body == ("requestBody" in operation), where
        headers = {one["name"] for one in operation["parameters"] if one["in"] == "header"}
        if_match = row is not None and row.if_match
        assert (412 in statuses) == if_match == ("If-Match" in headers), where
        assert ("Last-Event-ID" in headers) == (row is e.EVENTS), where


async def test_every_response_says_its_headers(document: Json) -> None:
    for operation, status, response in responses(document):
        row = ROW.get(operation["operationId"])
        headers = {*response["headers"]}
        assert "X-Request-ID" in headers
        versioned = row is not None and row.answer is m.Memory and status == row.status
        assert ("ETag" in headers) == versioned, operation["operationId"]
        refused = status == 429 or (status == 503 and (row is None or 503 not in row.also))
        assert ("Retry-After" in headers) == refused, operation["operationId"]
        assert ("WWW-Authenticate" in headers) == (status == 401), operation["operationId"]
        limited = {"RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"} <= headers
        assert limited == (row is not e.LIVE or status != 200), operation["operationId"]
    assert "Allow" in document["components"]["responses"]["MethodNotAllowed"]["headers"]


# --- Its examples ----------------------------------------------------------------------------


async def test_every_example_is_what_its_schema_says(document: Json) -> None:
    for operation, status, response in responses(document):
        if status < 400 or status in getattr(ROW.get(operation["operationId"]), "also", ()):
            for content in response["content"].values():
                check(document, content["schema"], content["example"])
    for _, _, operation in operations(document):
        for parameter in operation["parameters"]:
            if "example" in parameter:
                check(document, parameter["schema"], parameter["example"])
        if "requestBody" in operation:
            content = operation["requestBody"]["content"]["application/json"]
            check(document, content["schema"], content["example"])
            assert content["example"]
    for header in document["components"]["headers"].values():
        check(document, header["schema"], header["example"])


async def test_every_example_of_a_request_is_accepted(
    open_api: "OpenApi", told: "FakeExtractor", document: Json
) -> None:
    async with open_api(extractor=told) as api:
        before = {"id": "of-an-example", "content": "the first version"}
        assert (await api.post(e.ADD_MEMORY.path, json=before)).status_code == 201
        for _, _, operation in operations(document):
            if "requestBody" not in operation:
                continue
            row = ROW[operation["operationId"]]
            body = operation["requestBody"]["content"]["application/json"]["example"]
            url = row.url(id="of-an-example", name="of-an-example")
            answer = await api.request(row.method, url, json=body)
            assert answer.status_code == row.status, (row.name, answer.text)
            if row is e.ADD_MEMORIES:
                assert [one["status"] for one in answer.json()["results"]] == ["stored", "stored"]


# --- What is asked and answered --------------------------------------------------------------


async def requests(api: httpx.AsyncClient) -> list[tuple[str, httpx.Response]]:
    """One of each operation, with all of its options, answered well and answered badly."""
    sent: list[tuple[str, httpx.Response]] = []

    async def send(
        row: e.Endpoint[Any],
        body: object = None,
        *,
        segment: str = "full",
        query: Json | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        url = row.url(id=segment, name=segment)
        given: Json = {} if body is None else {"json": body}
        if isinstance(body, bytes):
            given = {"content": body}
        answer = await api.request(row.method, url, params=query, headers=headers, **given)
        sent.append((row.name, answer))
        return answer

    client = {"embedder": "client", "dimension": 2, "metric": "dot"}
    everything = {"filters": '{"a": {"$exists": true}}', "user_id": "u", "agent_id": "a"}
    everything |= {"session_id": "s", "limit": "1", "offset": "0", "order_by": "updated_at"}
    everything |= {"order": "desc", "include_embeddings": "true", "include_total": "false"}
    await send(e.PUT_COLLECTION, client, segment="vectors")
    await send(e.PUT_COLLECTION, {"embedder": "server"}, segment="vectors")
    await send(e.ADD_MEMORY, FULL)
    await send(e.ADD_MEMORY, {"content": "", "collection": "vectors", "embedding": [1.0, 2.0]})
    await send(e.ADD_MEMORY, {"content": "a", "collection": "vectors", "embedding": "AAAAAAAAgD8="})
    await send(e.ADD_MEMORY, {"content": "a", "embedding": [1]})
    await send(e.ADD_MEMORY, {})
    await send(e.ADD_MEMORY, b"{")
    await send(e.ADD_MEMORY, b"{}", headers={"content-type": "text/plain"})
    await send(e.ADD_MEMORY, b"{" + b" " * 10_000)
    batch = [FULL, {"content": "b"}, {"content": 5}, {"content": "c", "embedding": [1.0]}]
    await send(e.ADD_MEMORIES, {"memories": batch})
    await send(e.ADD_MEMORIES, {"memories": batch, "atomic": True})
    await send(e.LIST_MEMORIES)
    await send(e.LIST_MEMORIES, query={"limit": 1})
    await send(e.LIST_MEMORIES, query=everything)
    await send(e.LIST_MEMORIES, query={"cursor": "x"})
    for options in ({}, {"mode": "dense"}, {"mode": "sparse"}, {"mmr": {}, "min_score": 0.1}):
        await send(e.SEARCH_MEMORIES, {"query": "whole", **options})
    weights: Json = {"recency": {"weight": 0.2, "by": "created_at"}, "importance": {"weight": 0.1}}
    for more in ({"explain": True}, weights, {**weights, "mmr": {}, "explain": True}):
        await send(e.SEARCH_MEMORIES, {"query": "whole", **more})
    await send(e.SEARCH_MEMORIES, {"query": "whole", "mode": "sparse", "explain": True})
    full_search = {"query": "whole", "limit": 5, "alpha": 0.3, "include_embeddings": True}
    await send(e.SEARCH_MEMORIES, {**full_search, "filters": {"@type": "semantic"}})
    await send(e.SEARCH_MEMORIES, {"collection": "vectors", "embedding": [0.5, 0.5]})
    await send(e.SEARCH_MEMORIES, {"query": "a", "filters": {"a": {"$no": 1}}})
    await send(e.GET_MEMORIES, {"ids": ["full", "none"], "include_embeddings": True})
    await send(e.GET_MEMORIES, {})
    await send(e.GET_MEMORY)
    await send(e.GET_MEMORY, query={"include_embeddings": "true", "collection": "default"})
    await send(e.GET_MEMORY, segment="none")
    await send(e.UPDATE_MEMORY, {"importance": 1, "event_at": None, "metadata": None})
    await send(e.UPDATE_MEMORY, {"importance": 1}, segment="none")
    await send(e.UPDATE_MEMORY, {})
    await send(e.LIST_COLLECTIONS)
    await send(e.GET_COLLECTION, segment="vectors")
    await send(e.GET_COLLECTION, segment="none")
    await send(e.DELETE_MEMORY)
    await send(e.DELETE_MEMORY, query={"nope": "1"})
    for days in (1, None):
        wish = {"embedder": "client", "dimension": 2, "metric": "dot", "default_ttl": days}
        await send(e.PUT_COLLECTION, wish, segment="vectors")
    await send(e.DELETE_MEMORIES, {"filters": {"a": 1}, "ids": ["full"], "user_id": "u"})
    await send(e.DELETE_MEMORIES, {})
    await send(e.DELETE_MEMORIES, {"ids": ["full"], "include_memories": True})
    placed = {"content": "x", "namespace": ["a", "b"], "payload": {"n": [1]}, "ttl": 60}
    placed |= {"index_texts": ["y", "z"], "archived": True, "session_id": "s", "id": "placed"}
    await send(e.ADD_MEMORY, placed)
    pair = {"content": "", "collection": "vectors", "embeddings": [[1.0, 2.0], [0.5, 1.0]]}
    await send(e.ADD_MEMORY, pair)
    await send(e.ADD_MEMORY, {**placed, "expires_at": "2100-01-01T00:00:00Z"})
    replacing = {"replacing": {"user_id": "u"}}
    await send(e.ADD_MEMORIES, {"memories": [placed], "atomic": True, **replacing})
    await send(e.ADD_MEMORIES, {"memories": [placed], **replacing})
    place = {"namespace": '["a"]', "refresh_ttl": "true"}
    await send(e.LIST_MEMORIES, query={**place, "include_embeddings": "true"})
    await send(e.LIST_MEMORIES, query={"namespace": "a"})
    await send(e.SEARCH_MEMORIES, {"query": "y", "namespace": ["a"], "refresh_ttl": True})
    in_vectors = {"embedding": [0.5, 0.5], "include_embeddings": True, "limit": 1}
    await send(e.SEARCH_MEMORIES, {"collection": "vectors", **in_vectors})
    await send(e.GET_MEMORY, segment="placed", query={"refresh_ttl": "true"})
    await send(e.ARCHIVE_MEMORIES, {"namespace": ["a"], "archived": False})
    await send(e.ARCHIVE_MEMORIES, {})
    await send(e.LIST_SESSIONS)
    await send(e.LIST_SESSIONS, query={"limit": "1", "after": "a", "filters": "{}"})
    await send(e.LIST_SESSIONS, query={"limit": "0"})
    await send(e.LIST_NAMESPACES)
    await send(e.LIST_NAMESPACES, query={"prefix": '["*"]', "suffix": '["b"]', "max_depth": "1"})
    await send(e.LIST_NAMESPACES, query={"prefix": "[]"})
    await requests_of_learning(send)
    await requests_of_history(send)
    await requests_of_keys(send)
    await send(e.DELETE_COLLECTION, segment="vectors")
    for row in (e.HEALTH, e.LIVE, e.READY):
        await send(row)
    for row in e.ENDPOINTS:
        await send(row, query={"unknown": "1"})
    sent.append(("metrics", await api.get("/metrics")))
    sent.append(("metrics", await api.get("/metrics", params={"name": "x"})))
    return sent


async def requests_of_history(send: "Send") -> None:
    await send(e.ADD_MEMORY, {"id": "past", "content": "a", "user_id": "gone"})
    await send(e.UPDATE_MEMORY, {"content": "b"}, segment="past", headers={"If-Match": '"1"'})
    await send(e.UPDATE_MEMORY, {"content": "c"}, segment="past", headers={"If-Match": '"1"'})
    await send(e.UPDATE_MEMORY, {"content": "c"}, segment="past", headers={"If-Match": "*"})
    await send(e.DELETE_MEMORY, segment="past", headers={"If-Match": '"1"'})
    await send(e.DELETE_MEMORY, segment="past", headers={"If-Match": '"2"'})
    await send(e.MEMORY_HISTORY, segment="past")
    await send(e.MEMORY_HISTORY, segment="past", query={"limit": "1", "after": "1"})
    await send(e.MEMORY_HISTORY, segment="past", query={"limit": "0"})
    await send(e.MEMORY_HISTORY, segment="none")
    await send(e.RESTORE_MEMORY, {"version": 1}, segment="past")
    await send(e.RESTORE_MEMORY, {"version": 3}, segment="past")
    await send(e.RESTORE_MEMORY, {"version": 1}, segment="none")
    await send(e.RESTORE_MEMORY, {"version": 0}, segment="past")
    await send(e.ERASE_USER, segment="gone")
    await send(e.ERASE_USER, segment="gone", query={"collection": "default"})
    await send(e.STATS)
    await send(e.STATS, query={"days": "1"})
    await send(e.STATS, query={"days": "0"})
    await send(e.EVENTS, query={"after": "-1"})
    await send(e.EVENTS, headers={"Last-Event-ID": "x"})


async def requests_of_learning(send: "Send") -> None:
    said = {"messages": [{"id": "m", "content": "FACT: a", "at": "2026-01-01T00:00:00Z"}]}
    for _ in range(2):
        await send(e.EXTRACT, {**said, "user_id": "u", "metadata": {"a": 1}, "instructions": "b"})
    await send(e.EXTRACT, {"messages": [{"content": "REFUSE"}]})
    await send(e.EXTRACT, {**said, "collection": "vectors"})
    await send(e.EXTRACT, {"messages": []})
    await send(e.EXTRACT_MANY, {"conversations": [said, {"messages": [{"content": "REFUSE"}]}, 5]})
    await send(e.EXTRACT_MANY, {"conversations": []})
    later: Json = {**said, "id": "job", "background": True}
    await send(e.EXTRACT, later)
    await send(e.EXTRACT_MANY, {"conversations": [later]})
    # Where a job is tried once, it has failed by now, or will soon.
    await send(e.EXTRACT, {"messages": [{"content": "REFUSE"}], "id": "bad", "background": True})
    for _ in range(500):
        if (await send(e.GET_JOB, segment="bad")).json().get("status", "failed") == "failed":
            break
        await asyncio.sleep(0.01)
    await send(e.GET_JOB, segment="job")
    await send(e.GET_JOB, segment="none")
    await send(e.LIST_JOBS)
    await send(e.LIST_JOBS, query={"status": "failed", "limit": "1"})
    await send(e.LIST_JOBS, query={"status": "lost"})
    await send(e.RETRY_JOB, segment="bad")
    await send(e.RETRY_JOB, segment="job")
    await send(e.RETRY_JOB, segment="none")
    await send(e.DELETE_JOB, segment="job")
    await send(e.DELETE_JOB, segment="job", query={"collection": "c"})


async def requests_of_keys(send: "Send") -> None:
    """Without a valid key, or requests would need one from then on."""
    await send(e.CREATE_KEY, {"name": "n", "scopes": []})
    await send(e.CREATE_KEY, {"name": "n", "user_id": "u", "scopes": ["metrics"]})
    await send(e.LIST_KEYS)
    await send(e.LIST_KEYS, query={"tenant": "t"})
    await send(e.REVOKE_KEY, segment="none")


async def test_answers_are_what_is_documented(open_api: "OpenApi", told: "FakeExtractor") -> None:
    async with open_api(max_body=5_000, extractor=told, job_attempts=1) as api:
        document = (await api.get("/openapi.json")).json()
        documented = {one["operationId"]: one for _, _, one in operations(document)}
        seen: set[tuple[str, bool]] = set()
        for name, answer in await requests(api):
            check_answer(document, documented[name], answer)
            seen.add((name, answer.is_success))
        # What follows the feed and makes keys is answered well in tests of its own.
        elsewhere = {(e.EVENTS.name, True), (e.CREATE_KEY.name, True), (e.REVOKE_KEY.name, True)}
        everything = {(name, good) for name in documented for good in (True, False)}
        assert everything - seen == elsewhere


async def test_answers_to_keys_are_what_is_documented(open_api: "OpenApi") -> None:
    async with open_api(admin_key=ADMIN_KEY, rate_limit=3) as api:
        document = (await api.get("/openapi.json")).json()
        documented = {one["operationId"]: one for _, _, one in operations(document)}

        async def ask(
            row: e.Endpoint[Any], key: str, body: Json | None = None, segment: str = "x"
        ) -> httpx.Response:
            headers = {"X-API-Key": key} if key else {}
            url = row.url(id=segment, name=segment)
            answer = await api.request(row.method, url, json=body, headers=headers)
            check_answer(document, documented[row.name], answer)
            return answer

        made = await ask(e.CREATE_KEY, ADMIN_KEY, {"name": "n", "rate_limit": 1, "tenant": "t"})
        assert made.status_code == 201
        key = made.json()["key"]
        assert (await ask(e.LIST_KEYS, key)).status_code == 403
        assert (await ask(e.LIST_COLLECTIONS, key)).status_code == 429
        assert (await ask(e.LIST_COLLECTIONS, key + "0")).status_code == 401
        assert (await ask(e.LIST_COLLECTIONS, "")).status_code == 401
        assert (await ask(e.REVOKE_KEY, ADMIN_KEY, segment=made.json()["id"])).status_code == 200
        assert (await ask(e.LIST_KEYS, ADMIN_KEY)).status_code == 200
        while (answer := await ask(e.READY, "")).status_code == 200:
            assert "ratelimit-remaining" in answer.headers
        assert answer.status_code == 429
        assert (await ask(e.LIVE, "")).status_code == 200


async def test_answers_to_a_key_of_one_user_are_what_is_documented(
    open_api: "OpenApi", told: "FakeExtractor"
) -> None:
    async with open_api(admin_key=ADMIN_KEY, rate_limit=0, extractor=told, job_attempts=1) as api:
        document = (await api.get("/openapi.json")).json()
        documented = {one["operationId"]: one for _, _, one in operations(document)}
        api.headers["X-API-Key"] = ADMIN_KEY
        wish = {"name": "n", "user_id": "ann", "tenant": "t"}
        made = await api.post(e.CREATE_KEY.path, json=wish)
        api.headers["X-API-Key"] = made.json()["key"]
        statuses = set()
        for name, answer in await requests(api):
            check_answer(document, documented[name], answer)
            statuses.add((name, answer.status_code))
        for user in ("ann", "bob"):
            answer = await api.delete(e.ERASE_USER.url(id=user))
            check_answer(document, documented[e.ERASE_USER.name], answer)
            statuses.add((user, answer.status_code))
        assert {("ann", 200), ("bob", 404), (e.ADD_MEMORY.name, 403)} <= statuses


async def test_the_feed_is_what_is_documented(running_server: "Server", document: Json) -> None:
    operation = document["paths"][e.EVENTS.path]["get"]
    content = operation["responses"]["200"]["content"]["text/event-stream"]
    messages: list[Json] = []
    async with httpx.AsyncClient(base_url=running_server.url) as api:
        stored = {"id": "fed", "content": "a", "collection": "fed", "embedding": [1.0]}
        await api.post(e.ADD_MEMORY.path, json=stored)
        await api.patch(e.UPDATE_MEMORY.url(id="fed"), json={"type": "t"}, params=IN_FED)
        await api.delete(e.DELETE_MEMORY.url(id="fed"), params=IN_FED)
        query = {**IN_FED, "after": "0"}
        async with aconnect_sse(api, "GET", e.EVENTS.path, params=query) as source:
            head = source.response
            assert head.status_code == 200
            assert head.headers["content-type"].partition(";")[0] == "text/event-stream"
            assert {"x-request-id"} <= {*head.headers}
            async for message in source.aiter_sse():
                if message.data:
                    sent = {"event": message.event, "id": message.id, "data": message.data}
                    messages.append(sent)
                if len(messages) == 3:
                    break
    assert [message["event"] for message in messages] == ["added", "updated", "deleted"]
    event = {"$ref": "#/components/schemas/Event"}
    for message in [*messages, content["example"]]:
        check(document, content["schema"], message)
        check(document, event, json.loads(message["data"]))
    schema = resolved(document, content["schema"])
    assert not is_valid(document, schema, {**messages[0], "event": "nope"})
    of_events = schema["oneOf"][0]["properties"]
    assert of_events["data"]["contentSchema"] == event
    assert {*of_events["event"]["enum"]} == {*get_args(m.Action)}


async def test_what_is_documented_to_be_taken_is_taken_and_the_rest_is_not(
    api: httpx.AsyncClient, document: Json
) -> None:
    documented = {one["operationId"]: one for _, _, one in operations(document)}
    bodies: list[tuple[e.Endpoint[Any], Json]] = [
        (e.ADD_MEMORY, FULL),
        (e.ADD_MEMORY, {"content": "a", "embedding": [1.0], "collection": "v"}),
        (e.ADD_MEMORY, {"content": "a", "embedding": "AACAPw==", "collection": "v"}),
        (e.ADD_MEMORIES, {"memories": [FULL, {"content": "a"}], "atomic": True}),
        (e.SEARCH_MEMORIES, {"query": "a", "mmr": {"fetch_k": 5}, "filters": {"a": 1}}),
        (e.SEARCH_MEMORIES, {"query": "a", "recency": {"weight": 0.5, "half_life": 60}}),
        (e.SEARCH_MEMORIES, {"query": "a", "importance": {"weight": 1}, "explain": True}),
        (e.GET_MEMORIES, {"ids": ["a"]}),
        (e.DELETE_MEMORIES, {"ids": ["a"], "everything": False}),
        (e.DELETE_MEMORIES, {"ids": ["a"], "namespace": ["n"], "include_memories": True}),
        (e.ARCHIVE_MEMORIES, {"ids": ["a"], "archived": False}),
        (e.ADD_MEMORY, {"content": "a", "namespace": ["n"], "payload": [1], "ttl": 5}),
        (e.ADD_MEMORY, {"content": "a", "index_texts": ["b"], "archived": True}),
        (e.ADD_MEMORY, {"content": "a", "embeddings": [[1.0], [2.0]], "collection": "v"}),
        (e.ADD_MEMORIES, {"memories": [], "atomic": True, "replacing": {"ids": ["none"]}}),
        (e.UPDATE_MEMORY, {"payload": {"a": 1}, "ttl": 60, "index_texts": ["a"]}),
        (e.UPDATE_MEMORY, {"type": None, "metadata": {}}),
        (e.PUT_COLLECTION, {"embedder": "server", "dimension": None, "metric": "cosine"}),
        (e.PUT_COLLECTION, {"embedder": "server", "default_ttl": 3600.5}),
        (e.RESTORE_MEMORY, {"version": 1}),
    ]
    await api.post(e.ADD_MEMORY.path, json=FULL)
    for row, body in bodies:
        operation = documented[row.name]
        assert operation["requestBody"]["required"]
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        check(document, schema, body)
        url = row.url(id="full", name="default")
        answer = await api.request(row.method, url, json=body)
        assert answer.is_success, answer.text
        for field in body:
            wrongs: list[Any] = [{"a": {"b": []}}, [[1]], 1e9, "\u00e9" * 600, True]
            for wrong in wrongs:
                changed = {**body, field: wrong}
                answer = await api.request(row.method, url, json=changed)
                if not is_valid(document, schema, changed):
                    assert answer.status_code == 422, (row.name, changed, answer.text)
        unknown = {**body, "unknown": 1}
        assert not is_valid(document, schema, unknown)
        assert (await api.request(row.method, url, json=unknown)).status_code == 422
        for field in body:
            without = {name: value for name, value in body.items() if name != field}
            if not is_valid(document, schema, without):
                assert (await api.request(row.method, url, json=without)).status_code == 422


async def test_the_documented_parameters_are_those_that_are_taken(
    api: httpx.AsyncClient, document: Json
) -> None:
    values = {"limit": "3", "offset": "1", "filters": '{"a": 1}', "order": "asc"}
    values |= {"order_by": "seq", "include_embeddings": "true", "include_total": "true"}
    values |= {"refresh_ttl": "true", "max_depth": "2", "days": "7", "after": "0"}
    values |= {"status": "done", "before": "9"}
    values |= dict.fromkeys(("namespace", "prefix", "suffix"), '["n", "*"]')
    await api.post(e.ADD_MEMORY.path, json={"content": "a", "id": "x", "collection": "c"})
    for path, method, operation in operations(document):
        parameters = [one for one in operation["parameters"] if one["in"] == "query"]
        names = {parameter["name"] for parameter in parameters}
        url = path.replace("{id}", "x")
        for parameter in parameters:
            assert not parameter.get("required")
            name = parameter["name"]
            if name == "cursor":
                continue  # only a page before gives one out
            if path == e.EVENTS.path:
                continue  # its answer never ends
            query = {"collection": "c"} if "collection" in names else {}
            query[name] = values.get(name, "c")
            body = {"PATCH": {"type": "t"}, "POST": {"version": 1}}.get(method)
            if method == "DELETE":
                await api.post(
                    e.ADD_MEMORY.path, json={"content": "a", "id": "x", "collection": "c"}
                )
            answer = await api.request(method, url, params=query, json=body)
            assert answer.status_code == 200, (path, name, answer.text)
            schema = parameter.get("schema") or parameter["content"]["application/json"]["schema"]
            assert schema
            if "default" in schema and "schema" in parameter:
                check(document, schema, schema["default"])
