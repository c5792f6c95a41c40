"""A change that is meant for one version of a memory changes no other one."""

import asyncio
import uuid
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from agentmem_client import endpoints as e

if TYPE_CHECKING:
    from tests.conftest import Server

Json = dict[str, Any]
pytestmark = pytest.mark.every_engine

API = e.ADD_MEMORY.path


async def add(api: httpx.AsyncClient, id: str = "m", **fields: Any) -> httpx.Response:
    answer = await api.post(API, json={"id": id, "content": "a text", **fields})
    assert answer.status_code == 201, answer.text
    return answer


def check_conflict(answer: httpx.Response) -> None:
    assert answer.status_code == 412, answer.text
    error = answer.json()["error"]
    assert error["code"] == "version_conflict"
    assert "etag" not in answer.headers


async def test_each_answer_of_a_memory_has_its_version_as_etag(api: httpx.AsyncClient) -> None:
    answers = [
        await add(api),
        await add(api, content="another text"),
        await api.get(f"{API}/m"),
        await api.patch(f"{API}/m", json={"type": "new"}),
        await api.post(f"{API}/m/restore", json={"version": 1}),
    ]
    for answer, version in zip(answers, [1, 2, 2, 3, 4], strict=True):
        assert answer.json()["version"] == version
        assert answer.headers["etag"] == f'"{version}"'
    assert answers[-1].json()["content"] == "a text"


async def test_a_change_of_another_version_is_refused_and_changes_nothing(
    api: httpx.AsyncClient,
) -> None:
    await add(api)
    await api.patch(f"{API}/m", json={"type": "second"})
    there = (await api.get(f"{API}/m")).json()
    for version in ("1", "3", "0", "999999999999999999"):
        headers = {"if-match": f'"{version}"'}
        check_conflict(await api.patch(f"{API}/m", json={"type": "x"}, headers=headers))
        check_conflict(await api.delete(f"{API}/m", headers=headers))
    assert (await api.get(f"{API}/m")).json() == there
    right = {"if-match": '"2"'}
    changed = await api.patch(f"{API}/m", json={"type": "third"}, headers=right)
    assert (changed.status_code, changed.json()["version"]) == (200, 3)
    check_conflict(await api.delete(f"{API}/m", headers=right))
    gone = await api.delete(f"{API}/m", headers={"if-match": changed.headers["etag"]})
    assert gone.json() == {"deleted": 1}


async def test_a_change_whose_answer_was_lost_can_be_sent_again(api: httpx.AsyncClient) -> None:
    await add(api)
    headers = {"if-match": '"1"', "idempotency-key": "change-1"}
    request: Json = {"json": {"metadata": {"n": 1}, "ttl": 60}, "headers": headers}
    first = await api.patch(f"{API}/m", **request)
    again = await api.patch(f"{API}/m", **request)
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.json() == first.json()
    assert again.json()["version"] == 2
    other = {**headers, "idempotency-key": "change-2"}
    check_conflict(await api.patch(f"{API}/m", json=request["json"], headers=other))
    check_conflict(await api.patch(f"{API}/m", json=request["json"], headers={"if-match": '"1"'}))
    # The change was made; that another one came after it is no conflict of its own.
    await api.patch(f"{API}/m", json={"metadata": {"n": 2}}, headers={"if-match": '"2"'})
    later = await api.patch(f"{API}/m", **request)
    assert (later.status_code, later.json()["metadata"]) == (200, {"n": 2})
    deleted = [await api.delete(f"{API}/m", headers={"if-match": '"3"'}) for _ in range(2)]
    assert [answer.json() for answer in deleted] == [{"deleted": 1}, {"deleted": 0}]


async def test_a_key_of_one_memory_says_nothing_of_another(api: httpx.AsyncClient) -> None:
    await add(api, "a")
    await add(api, "b")
    headers = {"if-match": '"1"', "idempotency-key": "same"}
    for id in ("a", "b"):
        answer = await api.patch(f"{API}/{id}", json={"type": id}, headers=headers)
        assert (answer.status_code, answer.json()["type"]) == (200, id)


@pytest.mark.parametrize("given", ["", " ", "a b", "x" * 65, "\u00e9"])
async def test_a_key_that_can_be_none_is_refused(api: httpx.AsyncClient, given: str) -> None:
    await add(api)
    headers = {b"if-match": b'"1"', b"idempotency-key": given.encode("latin-1")}
    headers[b"content-type"] = b"application/json"
    answer = await api.patch(f"{API}/m", content=b'{"type": "x"}', headers=headers)
    assert answer.status_code == 422, answer.text
    assert "Idempotency-Key must have" in answer.json()["error"]["message"]


async def test_of_a_memory_that_is_not_there_there_is_no_version(api: httpx.AsyncClient) -> None:
    headers = {"if-match": '"1"'}
    assert (await api.patch(f"{API}/m", json={"type": "x"}, headers=headers)).status_code == 404
    assert (await api.delete(f"{API}/m", headers=headers)).json() == {"deleted": 0}


@pytest.mark.parametrize(
    "given", ["*", "", '""', 'W/"1"', '"1", "2"', "one", "-1", "1.0", '"1', "9" * 19, "\u00b2"]
)
async def test_what_is_not_one_version_is_refused(api: httpx.AsyncClient, given: str) -> None:
    await add(api)
    headers = {b"if-match": given.encode("latin-1"), b"content-type": b"application/json"}
    for answer in (
        await api.patch(f"{API}/m", content=b'{"type": "x"}', headers=headers),
        await api.delete(f"{API}/m", headers=headers),
    ):
        assert answer.status_code == 422, answer.text
        assert "If-Match must be" in answer.json()["error"]["message"]
    assert (await api.get(f"{API}/m")).json()["version"] == 1


async def test_versions_go_on_after_a_deletion(api: httpx.AsyncClient) -> None:
    """Or a change that was meant for the old memory would hit the new one."""
    await add(api)
    await api.delete(f"{API}/m")
    assert (await add(api)).headers["etag"] == '"3"'
    check_conflict(await api.patch(f"{API}/m", json={"type": "x"}, headers={"if-match": '"1"'}))


async def test_many_who_count_at_once_lose_nothing(served: "list[Server]") -> None:
    """Two who make the very same change of the same version are two, not one who tries again."""
    callers, times = 8, 10
    query = {"collection": "counting"}
    conflicts = 0

    async def count(client: httpx.AsyncClient) -> None:
        nonlocal conflicts
        for _ in range(times):
            while True:
                seen = await client.get(f"{API}/counter", params=query)
                metadata = {"n": seen.json()["metadata"]["n"] + 1}
                answer = await client.patch(
                    f"{API}/counter",
                    params=query,
                    json={"metadata": metadata},
                    headers={
                        "if-match": seen.headers["etag"],
                        "idempotency-key": str(uuid.uuid4()),
                    },
                )
                if answer.status_code == 200:
                    break
                check_conflict(answer)
                conflicts += 1

    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(httpx.AsyncClient(base_url=server.url, timeout=60))
            for server in served
        ]
        client = clients[0]
        await add(client, "counter", metadata={"n": 0}, **query)
        async with asyncio.TaskGroup() as group:
            for number in range(callers):
                group.create_task(count(clients[number % len(clients)]))
        memory = (await client.get(f"{API}/counter", params=query)).json()
    assert conflicts > 0
    assert memory["metadata"]["n"] == callers * times
    assert memory["version"] == 1 + callers * times
