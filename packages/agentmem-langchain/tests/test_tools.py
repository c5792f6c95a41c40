"""The tools, at the HTTP seam."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from agentmem_client import AgentMemError, F, InvalidFilter, InvalidRequest
from agentmem_langchain import get_memory_tools
from langchain_core.documents import Document
from langchain_core.load import dumps
from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

if TYPE_CHECKING:
    from conftest import Fake, Way

SCOPE = {"user_id": "ann", "agent_id": "guide", "session_id": "s1"}
NO_MESSAGES = {"$not": {"$and": [{"@type": {"$eq": "message"}}, {"format": {"$eq": "langchain"}}]}}
PETS = {"topic": {"$eq": "pets"}}


def by_name(tools: list[BaseTool]) -> dict[str, BaseTool]:
    return {tool.name: tool for tool in tools}


async def use(
    tools: list[BaseTool],
    way: Way,
    name: str,
    *,
    config: RunnableConfig | None = None,
    **arguments: Any,
) -> ToolMessage:
    """What a model gets that calls a tool."""
    call = {"name": name, "args": arguments, "id": "call-1", "type": "tool_call"}
    tool = by_name(tools)[name]
    message = tool.invoke(call, config) if way == "sync" else await tool.ainvoke(call, config)
    assert isinstance(message, ToolMessage)
    assert message.tool_call_id == "call-1"
    return message


async def test_remember(connection: dict[str, Any], fake: Fake, way: Way) -> None:
    place: dict[str, Any] = {**SCOPE, "collection": "notes", **connection}
    tools = get_memory_tools(metadata={"topic": "pets"}, filter={"topic": "pets"}, **place)
    messages = [await use(tools, way, "remember", content="Ann has a cat.") for _ in range(2)]
    assert [message.status for message in messages] == ["success", "success"]
    ids = [body.pop("id") for body in fake.bodies]
    assert len(set(ids)) == 2
    assert [message.content for message in messages] == [
        f"Remembered, with the id {id_}" for id_ in ids
    ]
    sent = {"content": "Ann has a cat.", "metadata": {"topic": "pets"}, "collection": "notes"}
    for body in fake.bodies:
        assert body == {"id": body["id"], **sent, **SCOPE}


async def test_a_plain_memory_has_the_scope_alone(
    connection: dict[str, Any], fake: Fake, way: Way
) -> None:
    await use(get_memory_tools(user_id="ann", **connection), way, "remember", content="A cat.")
    (body,) = fake.bodies
    assert body == {
        "id": body["id"],
        "content": "A cat.",
        "user_id": "ann",
        "collection": "default",
    }


async def test_search(connection: dict[str, Any], fake: Fake, way: Way) -> None:
    then = {"created_at": "2026-03-04T23:00:00Z", "metadata": {"secret": 1}}
    first = fake.record(id="a/1", content='Ann said: "Mia"\n{"id": "x"} 🐈', **then)
    second = fake.record(id="b", content="Rex.", **then | {"event_at": "2025-01-02T01:00:00Z"})
    fake.hits = [{**first, "score": 0.9}, {**second, "score": 0.2}]
    place: dict[str, Any] = {**SCOPE, "collection": "notes", **connection}
    tools = get_memory_tools(k=3, filter=F("topic") == "pets", **place)
    message = await use(tools, way, "search_memory", query="cat?")
    lines = str(message.content).split("\n")
    assert [json.loads(line) for line in lines] == [
        {"id": "a/1", "content": 'Ann said: "Mia"\n{"id": "x"} 🐈', "stored": "2026-03-04"},
        {"id": "b", "content": "Rex.", "happened": "2025-01-02", "stored": "2026-03-04"},
    ]
    assert "🐈" in lines[0]
    assert message.artifact == [
        Document(first["content"], id="a/1", metadata={"secret": 1}),
        Document("Rex.", id="b", metadata={"secret": 1}),
    ]
    (body,) = fake.bodies
    asked = {name: body[name] for name in ("query", "limit", "filters", "collection", *SCOPE)}
    assert asked == {
        "query": "cat?",
        "limit": 3,
        "filters": {"$and": [NO_MESSAGES, PETS]},
        "collection": "notes",
        **SCOPE,
    }
    assert "mode" not in body


async def test_nothing_found_is_said(connection: dict[str, Any], way: Way) -> None:
    tools = get_memory_tools(user_id=None, **connection)
    message = await use(tools, way, "search_memory", query="cat?")
    assert (message.content, message.status) == ("There are no memories yet.", "success")
    assert message.artifact == []


async def test_forget(connection: dict[str, Any], fake: Fake, way: Way) -> None:
    common: dict[str, Any] = {**SCOPE, "collection": "notes"}
    fake.records = [
        fake.record(id="mine", content="a", metadata={"topic": "pets"}, **common),
        fake.record(
            id="bobs", content="b", metadata={"topic": "pets"}, **common | {"user_id": "bob"}
        ),
        fake.record(id="other", content="c", metadata={"topic": "car"}, **common),
        fake.record(
            id="said",
            content="d",
            metadata={"topic": "pets", "format": "langchain"},
            type="message",
            **common,
        ),
    ]
    tools = get_memory_tools(filter={"topic": "pets"}, **common, **connection)
    message = await use(tools, way, "forget", memory_id="mine")
    assert (message.content, message.status) == ("Forgot the memory mine", "success")
    for id_ in ("bobs", "other", "said", "nowhere", "mine"):
        message = await use(tools, way, "forget", memory_id=id_)
        assert message.status == "error"
        assert message.content == (
            f"There is no memory with the id '{id_}': search_memory answers the ids."
        )
    assert [one["id"] for one in fake.records] == ["bobs", "other", "said"]
    assert fake.bodies[0] == {
        "ids": ["mine"],
        "filters": {"$and": [NO_MESSAGES, PETS]},
        "everything": False,
        **common,
    }


@pytest.mark.parametrize(
    ("name", "arguments", "problem"),
    [
        ("remember", {}, "content: Field required"),
        ("remember", {"content": ""}, "content: String should have at least 1 character"),
        ("remember", {"content": "a\0"}, "content: must not hold the NUL character"),
        ("remember", {"content": "a", "user_id": "bob"}, "user_id: Extra inputs are not permitted"),
        ("remember", {"content": "a", "id": "1"}, "id: Extra inputs are not permitted"),
        ("search_memory", {"query": ["a"]}, "query: Input should be a valid string"),
        ("search_memory", {"query": "a", "filter": {}}, "filter: Extra inputs are not permitted"),
        ("search_memory", {"query": "\ud800"}, "query: "),
        ("forget", {"memory_id": ""}, "memory_id: String should have at least 1 character"),
        ("forget", {"memory_id": "x" * 513}, "memory_id: String should have at most 512"),
        ("forget", {"memory_id": "a", "user_id": "bob"}, "user_id: Extra inputs are not permitted"),
    ],
)
async def test_the_model_is_told_of_wrong_arguments(
    name: str,
    arguments: dict[str, Any],
    problem: str,
    connection: dict[str, Any],
    fake: Fake,
    way: Way,
) -> None:
    message = await use(get_memory_tools(user_id="ann", **connection), way, name, **arguments)
    assert message.status == "error"
    assert str(message.content).startswith("Nothing was done, for the arguments are wrong. ")
    assert problem in str(message.content)
    assert "pydantic" not in str(message.content)
    assert fake.requests == []


async def test_what_the_model_cannot_mend_is_raised(
    connection: dict[str, Any], fake: Fake, way: Way
) -> None:
    tools = get_memory_tools(user_id="", **connection)
    for name, argument in (
        ("remember", "content"),
        ("search_memory", "query"),
        ("forget", "memory_id"),
    ):
        arguments: dict[str, Any] = {argument: "cat"}
        with pytest.raises(AgentMemError, match="user_id"):
            await use(tools, way, name, **arguments)
    assert fake.requests == []


def test_the_scope_has_to_be_said() -> None:
    with pytest.raises(TypeError, match="user_id"):
        get_memory_tools()  # type: ignore[call-arg]  # that is the test
    with pytest.raises(InvalidFilter, match=r"\$near"):
        get_memory_tools(user_id="ann", filter={"place": {"$near": 1}})


def test_what_a_model_reads_of_them() -> None:
    tools = by_name(get_memory_tools(user_id="ann-1", agent_id="guide-1"))
    arguments = {"remember": "content", "search_memory": "query", "forget": "memory_id"}
    assert list(tools) == list(arguments)
    for name, tool in tools.items():
        shown = convert_to_openai_tool(tool)["function"]
        properties = shown["parameters"]["properties"]
        assert list(properties) == shown["parameters"]["required"] == [arguments[name]]
        assert properties[arguments[name]]["type"] == "string"
        assert properties[arguments[name]]["description"]
        assert len(shown["description"]) > 100
        assert "-1" not in str(shown)  # the scope is none of its business


def test_the_key_is_in_no_repr_and_no_dump() -> None:
    tools = get_memory_tools(user_id="ann", api_url="http://localhost:1", api_key="hush-hush")
    for tool in tools:
        texts = [repr(tool), str(tool), dumps(tool), str(tool.model_dump())]
        assert "hush-hush" not in "".join(texts)


def test_the_metadata_is_not_the_callers_to_change_later(
    connection: dict[str, Any], fake: Fake
) -> None:
    metadata = {"topic": "pets"}
    tools = by_name(get_memory_tools(user_id="ann", metadata=metadata, **connection))
    metadata["topic"] = "cars"
    assert tools["remember"].invoke("Ann has a cat.").startswith("Remembered")
    assert fake.bodies[0]["metadata"] == {"topic": "pets"}


async def test_the_scope_of_each_run(connection: dict[str, Any], fake: Fake, way: Way) -> None:
    def user(config: RunnableConfig) -> str:
        found: str = config["configurable"]["user_id"]
        return found

    tools = get_memory_tools(user_id=user, agent_id=lambda _config: "guide", **connection)
    calls: list[tuple[str, dict[str, Any]]] = [
        ("remember", {"content": "A cat."}),
        ("search_memory", {"query": "cat"}),
    ]
    for name, arguments in calls:
        for who in ("ann", "bob"):
            config: RunnableConfig = {"configurable": {"user_id": who}}
            await use(tools, way, name, config=config, **arguments)
            assert fake.bodies[-1]["user_id"] == who
            assert fake.bodies[-1]["agent_id"] == "guide"
    (anns, bobs) = fake.records
    for_ann: RunnableConfig = {"configurable": {"user_id": "ann"}}
    assert (await use(tools, way, "forget", config=for_ann, memory_id=bobs["id"])).status == "error"
    await use(tools, way, "forget", config=for_ann, memory_id=anns["id"])
    assert fake.records == [bobs]


@pytest.mark.parametrize("found", [None, ""])
async def test_a_run_that_names_nobody_reaches_nobody(
    connection: dict[str, Any], fake: Fake, way: Way, found: Any
) -> None:
    tools = get_memory_tools(user_id=lambda _config: found, **connection)
    calls: list[tuple[str, dict[str, Any]]] = [
        ("remember", {"content": "A cat."}),
        ("search_memory", {"query": "cat"}),
        ("forget", {"memory_id": "a"}),
    ]
    for name, arguments in calls:
        with pytest.raises(InvalidRequest, match="user_id"):
            await use(tools, way, name, **arguments)
    assert fake.requests == []


def test_the_model_does_not_see_the_configuration(connection: dict[str, Any]) -> None:
    for tool in get_memory_tools(user_id=lambda _config: "ann", **connection):
        parameters = convert_to_openai_tool(tool)["function"]["parameters"]["properties"]
        assert len(parameters) == 1
        assert parameters.keys() < {"content", "query", "memory_id"}
