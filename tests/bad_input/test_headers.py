"""Headers: request ids, hosts, versions to match, positions in the feed."""

from typing import Any

import httpx
import pytest
from agentmem_client import endpoints as e
from agentmem_client import models as m

from tests.bad_input.sending import GOOD, JSON, LONG, check_refusal, send

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("my-request.1_A", True),
        ("a" * 64, True),
        ("", False),
        ("a" * 65, False),
        (LONG, False),
        ("a b", False),
        ("a\tb", False),
        ("{}", False),
        ("a;b", False),
        ("<script>", False),
    ],
    ids=lambda value: str(value)[:12],
)
async def test_the_request_id_of_the_caller(api: httpx.AsyncClient, given: str, kept: bool) -> None:
    answer = await api.get("/nope", headers={"x-request-id": given})
    check_refusal(answer, 404, "not_found", "/nope")
    assert (answer.headers["x-request-id"] == given) == kept


@pytest.mark.parametrize("host", ["[", "]:1", "a b", "%", "/", "?", "", "a:b:c", LONG, "x@y"])
async def test_a_strange_host(api: httpx.AsyncClient, host: str) -> None:
    assert (await api.get("/health", headers={"host": host})).status_code == 200
    answer = await api.get("/nope", headers={"host": host})
    check_refusal(answer, 404, "not_found", "/nope")


VERSIONS = ["", "*", "a", '"', '""', '"1', '1"', "1, 2", '"1", "2"', 'W/"1"', "-1", "1.0", "0x1"]


@pytest.mark.parametrize("row", [e.UPDATE_MEMORY, e.DELETE_MEMORY], ids=lambda row: row.name)
@pytest.mark.parametrize(
    "version",
    [*VERSIONS, "9" * 19, "9" * 4_000, LONG],
    ids=lambda version: version[:12],
)
async def test_what_is_no_version_to_match(
    api: httpx.AsyncClient, row: e.Endpoint[Any], version: str
) -> None:
    headers = {**JSON, "if-match": version}
    answer = await send(api, row, GOOD.get(row.name), headers=headers)
    check_refusal(answer, 422, "invalid_request", "^If-Match must be the version", row)


@pytest.mark.parametrize("row", [e.UPDATE_MEMORY, e.DELETE_MEMORY], ids=lambda row: row.name)
@pytest.mark.parametrize("version", ['"0"', "0", '"999999999999999999"', ' "77" '])
async def test_another_version_than_it_has(
    api: httpx.AsyncClient, row: e.Endpoint[Any], version: str
) -> None:
    stored = await send(api, e.ADD_MEMORY, {"id": "versioned", "content": "a"})
    headers = {**JSON, "if-match": version}
    answer = await send(api, row, GOOD.get(row.name), segment="versioned", headers=headers)
    error = check_refusal(answer, 412, "version_conflict", "of version .* by now", row)
    expected, actual = int(version.strip(' "')), stored.json()["version"]
    assert error["details"] == {"expected": expected, "actual": actual}


async def test_the_largest_version_that_can_be_named(api: httpx.AsyncClient) -> None:
    await send(api, e.ADD_MEMORY, {"id": "large", "content": "a"})
    answer = await send(api, e.RESTORE_MEMORY, {"version": m.MAX_VERSION}, segment="large")
    check_refusal(answer, 404, "not_found", "no version 9{18}", e.RESTORE_MEMORY)


@pytest.mark.parametrize(
    "position",
    ["", "x", "-1", "1.0", "1 2", "9" * 19, "9" * 4_000, LONG],
    ids=lambda text: text[:9],
)
async def test_what_is_no_position_in_the_feed(api: httpx.AsyncClient, position: str) -> None:
    answer = await send(api, e.EVENTS, headers={"last-event-id": position})
    check_refusal(answer, 422, "invalid_request", "^Last-Event-ID must be", e.EVENTS)
