"""History, restore and erasure over HTTP."""

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx
import pytest
from agentmem_client import endpoints as e
from agentmem_client import models as m

if TYPE_CHECKING:
    from tests.conftest import OpenApi

Json = dict[str, Any]
pytestmark = pytest.mark.every_engine

API = e.ADD_MEMORY.path
NAMES = ["plain", "a/b", "..", "%2F", "ü ?#", "history", "x" * 512]


async def add(api: httpx.AsyncClient, id: str, **fields: Any) -> None:
    answer = await api.post(API, json={"id": id, "content": f"{id[:50]}.", **fields})
    assert answer.status_code == 201, answer.text


async def test_a_memory_has_its_history_whatever_its_id(api: httpx.AsyncClient) -> None:
    for id in NAMES:
        await add(api, id, user_id=id)
        answer = await api.get(e.MEMORY_HISTORY.url(id=id))
        history = m.HistoryAnswer.model_validate_json(answer.content)
        assert [(event.action, event.memory_id) for event in history.events] == [("added", id)]
        assert history.next_after is None
        assert (await api.delete(e.DELETE_MEMORY.url(id=id))).json() == {"deleted": 1}
        restored = await api.post(e.RESTORE_MEMORY.url(id=id), json={"version": 1})
        assert (restored.status_code, restored.json()["version"]) == (200, 3)
        receipt = m.ErasedAnswer.model_validate_json(
            (await api.delete(e.ERASE_USER.url(id=id))).content
        )
        assert (receipt.user_id, receipt.memories, receipt.events) == (id, 1, 3)


async def test_what_is_wrong_is_refused(api: httpx.AsyncClient) -> None:
    await add(api, "m")
    await api.delete(f"{API}/m")
    path, restore = f"{API}/m/history", f"{API}/m/restore"
    for query in ("limit=0", "limit=1001", "after=-1", "after=x", "user_id=a", "collection="):
        assert (await api.get(f"{path}?{query}")).status_code == 422, query
    bodies: list[Any] = [{}, {"version": 0}, {"version": "x"}, {"version": 1, "at": 2}]
    for body in bodies:
        assert (await api.post(restore, json=body)).status_code == 422, body
    assert (await api.post(restore, json={"version": 2})).status_code == 422  # deleted in it
    for missing in (
        await api.get(f"{API}/other/history"),
        await api.get(f"{path}?collection=other"),
        await api.post(restore, json={"version": 9}),
        await api.post(f"{restore}?collection=other", json={"version": 1}),
    ):
        assert missing.status_code == 404
        assert missing.json()["error"]["code"] == "not_found"
    assert (await api.delete(f"/api/v1/users/{quote('a b')}?collection=x")).status_code == 422


async def test_the_feed_and_the_history_are_as_old_as_the_settings_say(
    open_api: "OpenApi", database_url: str
) -> None:
    async with open_api(database_url=database_url, history_ttl=0.2, sweep_interval=0.05) as api:
        await add(api, "m")
        path = f"{API}/m/history"
        while (answer := await api.get(path)).json()["events"]:
            assert answer.status_code == 200
        assert (await api.get(f"{API}/m")).json()["version"] == 1
        await api.patch(f"{API}/m", json={"type": "x"})
        assert [event["action"] for event in (await api.get(path)).json()["events"]] == ["updated"]
