# Generated from tests/_async/test_client.py by scripts/generate_sync.py: do not edit.
"""The client itself: how it is made, shown and closed."""

import traceback
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import respx
from agentmem_client import AgentMemClient, AgentMemError
from pydantic import SecretStr

MemoryJson = Callable[..., dict[str, Any]]

KEY = "am_secret-key"


def answer_with(response: httpx.Response) -> httpx.Client:
    return httpx.Client(transport=httpx.MockTransport(lambda _request: response))


def test_its_own_connections_are_closed() -> None:
    with AgentMemClient() as client:
        pass
    with pytest.raises(AgentMemError, match="closed"):
        client.get("m1")
    client.close()  # once more does no harm


def test_a_given_http_client_is_used_and_left_open(memory_json: MemoryJson) -> None:
    http_client = answer_with(httpx.Response(200, json=memory_json(id="from here")))
    with AgentMemClient(http_client=http_client) as client:
        memory = client.get("m1")
    assert memory.id == "from here"
    assert not http_client.is_closed
    http_client.close()


def test_the_timeout_holds_for_a_given_http_client_too(memory_json: MemoryJson) -> None:
    seen: list[Any] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.extensions["timeout"])
        return httpx.Response(200, json=memory_json())

    http_client = httpx.Client(transport=httpx.MockTransport(answer), timeout=1)
    with http_client:
        AgentMemClient(timeout=2.5, http_client=http_client).get("m1")
    assert seen == [{"connect": 2.5, "read": 2.5, "write": 2.5, "pool": 2.5}]


def test_from_env(
    monkeypatch: pytest.MonkeyPatch, respx_mock: respx.MockRouter, memory_json: MemoryJson
) -> None:
    monkeypatch.setenv("AGENTMEM_API_URL", "http://from-env.test")
    monkeypatch.setenv("AGENTMEM_API_KEY", f" {KEY}\n")
    monkeypatch.setenv("AGENTMEM_TIMEOUT", "4.5")
    monkeypatch.setenv("AGENTMEM_MAX_RETRIES", "0")
    monkeypatch.setenv("AGENTMEM_MAX_RETRY_SECONDS", "9")
    route = respx_mock.get(host="from-env.test").respond(json=memory_json())
    with AgentMemClient.from_env() as client:
        client.get("m1")
    request = route.calls.last.request
    assert request.headers["X-API-Key"] == KEY
    assert request.extensions["timeout"]["read"] == 4.5
    assert client._settings.max_retries == 0
    assert client._settings.max_retry_seconds == 9


def test_what_is_given_goes_before_the_environment(
    monkeypatch: pytest.MonkeyPatch, memory_json: MemoryJson
) -> None:
    monkeypatch.setenv("AGENTMEM_API_URL", "http://from-env.test")
    monkeypatch.setenv("AGENTMEM_MAX_RETRIES", "7")
    http_client = answer_with(httpx.Response(200, json=memory_json()))
    client = AgentMemClient.from_env(
        api_url="http://given.test", max_retries=0, http_client=http_client
    )
    assert client._settings.api_url == "http://given.test"
    assert client._settings.max_retries == 0
    client.get("m1")
    http_client.close()


SEVERAL = ("http://a.test:8080", "http://b.test/path/")


@pytest.mark.parametrize(
    "api_url",
    [
        SEVERAL,
        list(SEVERAL),
        ",".join(SEVERAL),
        " ,  ".join(SEVERAL),
    ],
)
def test_several_servers(monkeypatch: pytest.MonkeyPatch, api_url: Any) -> None:
    with AgentMemClient(api_url) as client:
        assert client._settings.api_urls == SEVERAL
        assert repr(client) == f"AgentMemClient({list(SEVERAL)})"
    with AgentMemClient.from_env(api_url=api_url) as client:
        assert client._settings.api_urls == SEVERAL
    if isinstance(api_url, str):
        monkeypatch.setenv("AGENTMEM_API_URL", f" {api_url}\n")
        with AgentMemClient.from_env() as client:
            assert client._settings.api_urls == SEVERAL


def test_no_server_at_all_is_not_the_environment_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTMEM_API_URL", "http://from-env.test")
    with pytest.raises(AgentMemError, match="at least one"):
        AgentMemClient.from_env(api_url=[])
    assert AgentMemClient.from_env(api_url="")._settings.api_url == "http://from-env.test"


@pytest.mark.parametrize(
    "host", ["localhost", "my_server-1", "10.0.0.1", "[::1]", "[fe80::1%25eth0]", "münchen.test"]
)
def test_a_host_may_be_a_name_or_an_address(host: str) -> None:
    assert AgentMemClient(f"http://{host}:8080")._settings.api_url == f"http://{host}:8080"


def test_a_comma_in_an_address_is_its_own() -> None:
    client = AgentMemClient("http://a.test/x,y")
    assert client._settings.api_urls == ("http://a.test/x,y",)


def test_a_list_may_change_afterwards() -> None:
    given = list(SEVERAL)
    client = AgentMemClient(given)
    given.clear()
    assert client._settings.api_urls == SEVERAL


def test_a_long_mistake_is_not_quoted_in_full() -> None:
    for api_url in ("x" * 999, f"http://host:{'x' * 999}"):
        with pytest.raises(AgentMemError) as caught:
            AgentMemClient(["http://a.test", api_url])
        assert len(str(caught.value)) < 300


def test_without_environment_from_env_has_the_defaults() -> None:
    with AgentMemClient.from_env() as found, AgentMemClient() as default:
        assert found._settings == default._settings
        assert repr(default) == "AgentMemClient('http://localhost:8080')"


@pytest.mark.parametrize("key", [KEY, SecretStr(KEY)])
def test_the_key_is_never_shown(key: str | SecretStr) -> None:
    # Every kind of failure, each of an answer that echoes the key back.
    echo = {"Content-Type": "text/plain", "X-Request-ID": "r1"}
    answers = [
        httpx.Response(200, text=f"you sent {KEY}", headers=echo),
        httpx.Response(200, json={"id": KEY}),
        httpx.Response(302, headers={"Location": f"http://x.test/?key={KEY}"}),
        httpx.Response(401, text=f"you sent {KEY}", headers=echo),
        httpx.Response(500, json={"error": KEY}),
    ]
    for answer in answers:
        http_client = answer_with(answer)
        client = AgentMemClient("http://agentmem.test", key, http_client=http_client)
        with pytest.raises(AgentMemError) as caught:
            client.get("m1")
        error = caught.value
        for text in (
            str(error),
            repr(error),
            repr(vars(error)),
            "".join(traceback.format_exception(error)),
            repr(client),
            repr(client._settings),
        ):
            assert KEY not in text
        http_client.close()


@pytest.mark.parametrize("key", [f"{KEY}\n", f"{KEY}é", f"a {KEY}", f"{KEY}\x00"])
def test_an_impossible_key_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(AgentMemError, match="API key") as caught:
        AgentMemClient(api_key=key)
    assert KEY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "arguments",
    [
        {"api_url": "localhost:8080"},
        {"api_url": ""},
        {"api_url": "ftp://files.test"},
        {"api_url": "http://"},
        {"api_url": "http://host:port"},
        {"api_url": "http://ann:hunter2@host"},
        {"api_url": "http://host/?a=1"},
        {"api_url": "http://host/#a"},
        {"api_url": "http://ann:hunter2,x@host"},
        {"api_url": "http://ann:hun/hunter2@host"},
        {"api_url": "ann:hun/hunter2@host"},
        {"api_url": None},
        {"api_url": 8080},
        {"api_url": b"http://host"},
        {"api_url": {"http://host"}},
        {"api_url": []},
        {"api_url": ["http://a", ""]},
        {"api_url": ["http://a", None]},
        {"api_url": ["http://a", b"http://b"]},
        {"api_url": ["http://a", "localhost:8080"]},
        {"api_url": ["http://a", "http://ann:hunter2@host"]},
        {"api_url": ["http://a:80", "HTTP://A/"]},
        {"api_url": "http://a/,http://a"},
        {"api_url": "http://a,"},
        {"api_url": "http://a,b"},
        {"api_url": "http://a:8080,b:8080"},
        {"api_url": "http://a;http://b"},
        {"api_url": "http://a http://b"},
        {"api_url": ","},
        {"timeout": 0},
        {"timeout": -1},
        {"timeout": float("nan")},
        {"timeout": float("inf")},
        {"max_retries": -1},
        {"max_retry_seconds": -1},
        {"max_retry_seconds": float("nan")},
    ],
)
def test_impossible_settings_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(AgentMemError, match=next(iter(arguments))) as caught:
        AgentMemClient(**arguments)
    assert "hunter2" not in str(caught.value)
