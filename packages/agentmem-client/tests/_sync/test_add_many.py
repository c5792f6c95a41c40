# Generated from tests/_async/test_add_many.py by scripts/generate_sync.py: do not edit.
"""Many memories: the requests they take, and an outcome for each."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import respx
from agentmem_client import (
    UNSET,
    AgentMemClient,
    AgentMemError,
    DimensionMismatch,
    InvalidRequest,
    InvalidResponse,
    Item,
    MemoryInput,
)

ErrorJson = Callable[..., dict[str, Any]]

URL = "http://agentmem.test/api/v1/memories/batch"


def sent(request: httpx.Request) -> list[dict[str, Any]]:
    memories: list[dict[str, Any]] = json.loads(request.content)["memories"]
    return memories


def store(request: httpx.Request) -> httpx.Response:
    """Answers as a server does that stores everything but what says "bad"."""
    bad = {"code": "embedder_mismatch", "message": "bad", "details": {}}
    results = [
        {"id": memory["id"], "status": "failed", "error": bad}
        if "bad" in memory["content"]
        else {"id": memory["id"], "status": "stored"}
        for memory in sent(request)
    ]
    return httpx.Response(200, json={"results": results})


def test_items_may_be_texts_mappings_and_models(
    client: AgentMemClient, respx_mock: respx.MockRouter
) -> None:
    route = respx_mock.post(URL).mock(side_effect=store)
    model = MemoryInput(content="a plain model")
    results = client.add_many(
        [
            "a text",
            {"content": "a mapping", "id": "mine", "metadata": None, "user_id": "ann"},
            MemoryInput(content="a model", collection="own", metadata={"a": 1}),
            model,
        ],
        collection="theirs",
    )
    memories = sent(route.calls.last.request)
    assert [result.status for result in results] == ["stored"] * 4
    assert [result.id for result in results] == [memory.pop("id") for memory in memories]
    assert (results[1].id, results[3].id) == ("mine", model.id)
    assert memories == [
        {"content": "a text", "collection": "theirs"},
        {"content": "a mapping", "collection": "theirs", "user_id": "ann"},
        {"content": "a model", "collection": "own", "metadata": {"a": 1}},
        {"content": "a plain model", "collection": "theirs"},
    ]


def test_an_item_may_say_that_it_stays(
    client: AgentMemClient, respx_mock: respx.MockRouter
) -> None:
    route = respx_mock.post(URL).mock(side_effect=store)
    client.add_many(
        [
            {"content": "x", "id": "1", "ttl": None, "user_id": None},
            {"content": "x", "id": "2", "expires_at": None, "ttl": UNSET},
            MemoryInput(content="x", id="3", ttl=None),
            MemoryInput(content="x", id="4"),
        ]
    )
    assert sent(route.calls.last.request) == [
        {"content": "x", "id": "1", "ttl": None},
        {"content": "x", "id": "2", "expires_at": None},
        {"content": "x", "id": "3", "ttl": None},
        {"content": "x", "id": "4"},
    ]


def test_nothing_to_add_takes_no_request(client: AgentMemClient) -> None:
    calls: list[object] = []
    assert client.add_many([], progress=lambda *call: calls.append(call)) == []
    assert calls == []


def test_many_items_take_several_requests(
    client: AgentMemClient, respx_mock: respx.MockRouter
) -> None:
    route = respx_mock.post(URL).mock(side_effect=store)
    calls: list[tuple[int, int | None]] = []
    results = client.add_many(
        [{"content": "x", "id": str(number), "embedding": [1.0]} for number in range(1_234)],
        progress=lambda done, total: calls.append((done, total)),
    )
    assert [result.id for result in results] == [str(number) for number in range(1_234)]
    assert [len(sent(call.request)) for call in route.calls] == [500, 500, 234]
    assert calls == [(500, 1_234), (1_000, 1_234), (1_234, 1_234)]


def test_large_items_take_more_requests(
    client: AgentMemClient, respx_mock: respx.MockRouter
) -> None:
    route = respx_mock.post(URL).mock(side_effect=store)
    sizes = [1_500_000, 1_500_000, 1_500_000, 5_000_000, 10, 10]
    calls: list[tuple[int, int | None]] = []
    results = client.add_many(
        ("я" * (size // 2) for size in sizes),
        progress=lambda done, total: calls.append((done, total)),
    )
    assert [result.status for result in results] == ["stored"] * 6
    assert [len(sent(call.request)) for call in route.calls] == [2, 1, 1, 2]
    assert calls == [(2, None), (3, None), (4, None), (6, None)]
    assert len(route.calls[0].request.content) < 4_000_000


def test_a_bad_item_fails_alone(client: AgentMemClient, respx_mock: respx.MockRouter) -> None:
    route = respx_mock.post(URL).mock(side_effect=store)
    items: list[Any] = [
        "good",
        {"content": 5, "id": "wrong-type"},
        "bad, says the server",
        {"contents": "misspelt", "content": "x"},
        {"no": None, "content": "x"},
        42,
        MemoryInput.model_construct(content="nul \0", id="built"),
        {"content": "x", "id": 7},
        {"content": "lone \ud800"},
        {"content": "x", "metadata": {"n": float("inf")}},
        "good",
    ]
    results = client.add_many(items)
    assert [result.status for result in results] == ["stored", *["failed"] * 9, "stored"]
    assert len(sent(route.calls.last.request)) == 3
    assert [result.id for result in results[1:2] + results[3:10]] == [
        "wrong-type",
        None,
        None,
        None,
        "built",
        None,
        None,
        None,
    ]
    failures = [result.error for result in results if result.error is not None]
    assert [failure.code for failure in failures] == [
        "invalid_request",
        "embedder_mismatch",
        *["invalid_request"] * 7,
    ]
    assert failures[0].details["errors"][0]["field"] == "content"
    assert failures[2].message.startswith("contents: ")
    assert "not int" in failures[4].message


def test_only_bad_items_take_no_request(client: AgentMemClient) -> None:
    calls: list[tuple[int, int | None]] = []
    bad: list[Item] = [{"content": "x", "importance": 9}] * 501
    results = client.add_many(bad, progress=lambda *call: calls.append(call))
    assert [result.status for result in results] == ["failed"] * 501
    assert calls == [(500, 501), (501, 501)]


def test_a_model_is_checked_again(client: AgentMemClient, respx_mock: respx.MockRouter) -> None:
    respx_mock.post(URL).mock(side_effect=store)
    memory = MemoryInput(content="x", embedding=b"\0\0\x80?")
    memory.metadata["n"] = 1  # its default, changed in place
    changed = MemoryInput(content="x")
    changed.metadata["n"] = float("nan")
    results = client.add_many([memory, changed])
    assert [result.status for result in results] == ["stored", "failed"]
    assert results[1].id == changed.id
    assert sent(respx_mock.calls.last.request)[0]["metadata"] == {"n": 1}


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (httpx.ConnectError("refused"), "connection_failed"),
        (httpx.ReadTimeout("slow"), "timed_out"),
        (httpx.Response(200, text="hm"), "invalid_response"),
        (httpx.Response(200, json={"results": []}), "invalid_response"),
        (httpx.Response(500), "internal_error"),
        (httpx.Response(429), "rate_limited"),
    ],
)
def test_a_failed_request_fails_its_items_and_no_others(
    client: AgentMemClient,
    respx_mock: respx.MockRouter,
    failure: httpx.Response | Exception,
    code: str,
) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if sent(request)[0]["id"] == "500":
            if isinstance(failure, Exception):
                raise failure
            return failure
        return store(request)

    respx_mock.post(URL).mock(side_effect=answer)
    calls: list[tuple[int, int | None]] = []
    results = client.add_many(
        [{"content": "x", "id": str(number), "embedding": [1.0]} for number in range(1_001)],
        progress=lambda *call: calls.append(call),
    )
    assert [result.id for result in results] == [str(number) for number in range(1_001)]
    statuses = [result.status for result in results]
    assert statuses == ["stored"] * 500 + ["failed"] * 500 + ["stored"]
    assert {result.error.code for result in results if result.error} == {code}
    assert calls == [(500, 1_001), (1_000, 1_001), (1_001, 1_001)]


def test_a_request_is_tried_again_with_the_same_ids(
    client: AgentMemClient, respx_mock: respx.MockRouter
) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if len(bodies) < 2:
            bodies.append(request.content)
            raise httpx.ReadTimeout("slow")
        bodies.append(request.content)
        return store(request)

    bodies: list[bytes] = []
    respx_mock.post(URL).mock(side_effect=answer)
    results = client.add_many(["a", "b"])
    assert [result.status for result in results] == ["stored"] * 2
    assert bodies == [bodies[0]] * 3


def test_it_gives_up_after_three_failed_requests_in_a_row(
    client: AgentMemClient, respx_mock: respx.MockRouter, error_json: ErrorJson
) -> None:
    refusal = error_json("unauthorized", "the key was revoked")
    route = respx_mock.post(URL).respond(401, json=refusal)
    calls: list[tuple[int, int | None]] = []
    results = client.add_many(["x"] * 5_000, progress=lambda *call: calls.append(call))
    assert route.call_count == 3
    assert len(results) == 5_000
    assert {result.error.code for result in results if result.error} == {"unauthorized"}
    assert len({result.id for result in results}) == 5_000
    assert calls[-1] == (5_000, 5_000)


def test_a_request_that_is_too_large_is_halved(
    client: AgentMemClient, respx_mock: respx.MockRouter, error_json: ErrorJson
) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if len(request.content) > 3_000:
            return httpx.Response(413, json=error_json("payload_too_large"))
        return store(request)

    respx_mock.post(URL).mock(side_effect=answer)
    calls: list[tuple[int, int | None]] = []
    items: list[Item] = [
        {"content": "x" * size, "id": str(number)}
        for number, size in enumerate([900] * 5 + [4_000] + [900] * 2)
    ]
    results = client.add_many(items, progress=lambda *call: calls.append(call))
    assert [result.id for result in results] == [str(number) for number in range(8)]
    assert [result.status for result in results] == ["stored"] * 5 + ["failed"] + ["stored"] * 2
    assert results[5].error is not None
    assert results[5].error.code == "payload_too_large"
    assert calls[-1] == (8, 8)
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)


def test_an_error_in_progress_stops_it(
    client: AgentMemClient, respx_mock: respx.MockRouter
) -> None:
    def stop(_done: int, _total: int | None) -> None:
        raise AgentMemError("enough")

    route = respx_mock.post(URL).mock(side_effect=store)
    with pytest.raises(AgentMemError, match="enough"):
        client.add_many(["x"] * 1_000, progress=stop)
    assert route.call_count == 1


@pytest.mark.parametrize("one", ["a text", {"content": "x"}, MemoryInput(content="x")])
@pytest.mark.parametrize("atomic", [True, False])
def test_one_item_is_not_several(client: AgentMemClient, one: Any, atomic: bool) -> None:
    with pytest.raises(InvalidRequest, match="into a list"):
        client.add_many(one, atomic=atomic)


def test_atomic_is_one_request(client: AgentMemClient, respx_mock: respx.MockRouter) -> None:
    route = respx_mock.post(URL).mock(side_effect=store)
    calls: list[tuple[int, int | None]] = []
    results = client.add_many(
        ({"content": "x", "id": str(number)} for number in range(2_048)),
        atomic=True,
        progress=lambda *call: calls.append(call),
    )
    assert [result.id for result in results] == [str(number) for number in range(2_048)]
    assert json.loads(route.calls.last.request.content)["atomic"] is True
    assert (route.call_count, calls) == (1, [(2_048, 2_048)])


def test_atomic_refuses_more_than_one_request_holds(client: AgentMemClient) -> None:
    with pytest.raises(InvalidRequest, match="at most 2048"):
        client.add_many(("x" for _ in range(2_049)), atomic=True)


def test_atomic_refuses_any_bad_item_unsent(client: AgentMemClient) -> None:
    items: list[Any] = ["good", {"content": 1, "importance": 2}, 3]
    with pytest.raises(InvalidRequest, match=r"memories\.1\.content") as caught:
        client.add_many(items, atomic=True)
    assert [problem["field"] for problem in caught.value.details["errors"]] == [
        "memories.1.content",
        "memories.1.importance",
        "memories.2",
    ]


def test_atomic_raises_what_the_server_refuses(
    client: AgentMemClient, respx_mock: respx.MockRouter, error_json: ErrorJson
) -> None:
    refusal = error_json("dimension_mismatch", "memories.1: 2 numbers where 3 are needed")
    respx_mock.post(URL).respond(422, json=refusal)
    with pytest.raises(DimensionMismatch, match=r"memories\.1"):
        client.add_many(["a", "b"], atomic=True)


def test_atomic_raises_a_failed_outcome(
    client: AgentMemClient, respx_mock: respx.MockRouter
) -> None:
    respx_mock.post(URL).mock(side_effect=store)
    with pytest.raises(InvalidRequest, match="bad"):
        client.add_many(["good", "bad"], atomic=True)
    respx_mock.post(URL).respond(json={"results": []})
    with pytest.raises(InvalidResponse, match="0 outcomes for 1"):
        client.add_many(["good"], atomic=True)
