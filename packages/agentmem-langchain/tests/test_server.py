"""The adapters on a real server process."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from agentmem_client import AgentMemClient, AsyncAgentMemClient, F, new_id
from agentmem_langchain import AgentMemChatMessageHistory, AgentMemMemory, AgentMemRetriever
from langchain_classic.chains import ConversationChain
from langchain_core.documents import Document
from langchain_core.language_models import FakeListChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.runnables.history import RunnableWithMessageHistory

if TYPE_CHECKING:
    from conftest import Server, Way

pytestmark = pytest.mark.filterwarnings(
    "ignore::langchain_core._api.deprecation.LangChainDeprecationWarning"
)

ANOTHER_PROCESS = """
import asyncio, json, sys, warnings
warnings.simplefilter("ignore")
from agentmem_langchain import AgentMemMemory
from langchain_classic.chains import ConversationChain
from langchain_core.language_models import SimpleChatModel

class Parrot(SimpleChatModel):
    @property
    def _llm_type(self):
        return "parrot"
    def _call(self, messages, *args, **kwargs):
        return messages[0].content.partition("Current conversation:")[2].strip()

way, fields = sys.argv[1], json.loads(sys.argv[2])
chain = ConversationChain(llm=Parrot(), memory=AgentMemMemory(**fields))
if way == "sync":
    print(chain.invoke({"input": "Who am I?"})["response"])
else:
    print(asyncio.run(chain.ainvoke({"input": "Who am I?"}))["response"])
"""


def in_another_process(way: Way, api_url: str, **fields: Any) -> str:
    done = subprocess.run(
        [sys.executable, "-c", ANOTHER_PROCESS, way, json.dumps(fields)],
        env={**os.environ, "AGENTMEM_API_URL": api_url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


async def test_a_conversation_outlives_server_and_process(server: Server, way: Way) -> None:
    session = new_id()
    memory = AgentMemMemory(session_id=session, user_id="ann", api_url=server.url)
    chain = ConversationChain(llm=FakeListChatModel(responses=["Hello, Ann!"]), memory=memory)
    if way == "sync":
        chain.invoke({"input": "I'm Ann."})
    else:
        await chain.ainvoke({"input": "I'm Ann."})
    memory.chat_memory._clients.close()

    server.restart()
    answer = in_another_process(way, server.url, session_id=session, user_id="ann")
    expected = "Human: I'm Ann.\nAI: Hello, Ann!\nHuman: Who am I?\nAI:"
    assert answer == expected

    with AgentMemClient(server.url) as client:
        stored = AgentMemChatMessageHistory(session, user_id="ann", client=client).messages
    assert stored == [
        HumanMessage("I'm Ann."),
        AIMessage("Hello, Ann!"),
        HumanMessage("Who am I?"),
        AIMessage(expected),
    ]


async def test_a_window_outlives_server_and_process(server: Server, way: Way) -> None:
    session = new_id()
    memory = AgentMemMemory(session_id=session, api_url=server.url, max_turns=1)
    replies = [f"You said {number}." for number in range(4)]
    chain = ConversationChain(llm=FakeListChatModel(responses=replies), memory=memory)
    for number in range(4):
        if way == "sync":
            chain.invoke({"input": f"This is {number}."})
        else:
            await chain.ainvoke({"input": f"This is {number}."})
    memory.chat_memory._clients.close()

    server.restart()
    answer = in_another_process(way, server.url, session_id=session, max_turns=2)
    turns = [f"Human: This is {number}.\nAI: You said {number}." for number in range(4)]
    assert answer == "\n".join([*turns[2:], "Human: Who am I?\nAI:"])
    with AgentMemClient(server.url) as client:
        stored = AgentMemChatMessageHistory(session, client=client)
        assert len(stored.messages) == 10
        by_tokens = AgentMemMemory(chat_memory=stored, max_tokens=36, token_counter=words)
        assert by_tokens.load_memory_variables({})["history"].startswith(turns[2])


def words(messages: list[BaseMessage]) -> int:
    """21 in the last answer, 3 in its question, and 6 in a turn before them."""
    return sum(len(str(message.content).split()) for message in messages)


async def test_save_context_is_one_request(server: Server, way: Way) -> None:
    paths: list[str] = []

    def count(request: httpx.Request) -> None:
        paths.append(f"{request.method} {request.url.path}")

    async def acount(request: httpx.Request) -> None:
        count(request)

    with httpx.Client(event_hooks={"request": [count]}) as http:
        async with httpx.AsyncClient(event_hooks={"request": [acount]}) as async_http:
            memory = AgentMemMemory(
                session_id=new_id(),
                client=AgentMemClient(server.url, http_client=http),
                async_client=AsyncAgentMemClient(server.url, http_client=async_http),
            )
            if way == "sync":
                memory.save_context({"input": "I'm Ann."}, {"response": "Hello!"})
            else:
                await memory.asave_context({"input": "I'm Ann."}, {"response": "Hello!"})
    assert paths == ["POST /api/v1/memories/batch"]


@pytest.mark.filterwarnings("ignore:RunnableWithMessageHistory is deprecated")
async def test_runnable_with_message_history(clients: dict[str, Any], way: Way) -> None:
    session, other = new_id(), new_id()
    model = GenericFakeChatModel(messages=iter([AIMessage(text, id=text) for text in "abc"]))
    chain = RunnableWithMessageHistory(
        model, lambda session_id: AgentMemChatMessageHistory(session_id, **clients)
    )
    for said, where in (("one", session), ("two", session), ("three", other)):
        config: Any = {"configurable": {"session_id": where}}
        if way == "sync":
            chain.invoke([HumanMessage(said)], config)
        else:
            await chain.ainvoke([HumanMessage(said)], config)
    history = AgentMemChatMessageHistory(session, **clients)
    assert [message.content for message in history.messages] == ["one", "a", "two", "b"]
    assert history.messages[1].id == "a"


async def test_a_long_history_comes_back_whole(clients: dict[str, Any], way: Way) -> None:
    history = AgentMemChatMessageHistory(new_id(), **clients)
    messages: list[BaseMessage] = [HumanMessage(f"message {number}") for number in range(510)]
    if way == "sync":
        history.add_messages(messages)
        assert history.messages == messages
        history.clear()
    else:
        await history.aadd_messages(messages)
        assert await history.aget_messages() == messages
        await history.aclear()
    assert history.messages == []


def test_turns_of_several_writers_stay_whole(clients: dict[str, Any]) -> None:
    session = new_id()

    def write(writer: int) -> None:
        history = AgentMemChatMessageHistory(session, client=clients["client"])
        for turn in range(5):
            history.add_messages([HumanMessage(f"{writer}.{turn}"), AIMessage(f"{writer}.{turn}")])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    messages = AgentMemChatMessageHistory(session, client=clients["client"]).messages
    said = [(message.type, message.content) for message in messages]
    assert len(said) == 8 * 5 * 2
    assert all(
        (human[0], ai[0], human[1]) == ("human", "ai", ai[1])
        for human, ai in zip(said[::2], said[1::2], strict=True)
    )


async def test_clear_leaves_facts_and_other_sessions(clients: dict[str, Any], way: Way) -> None:
    client: AgentMemClient = clients["client"]
    session, other = new_id(), new_id()
    fact = client.add("Ann likes chess.", session_id=session, user_id="ann", type="semantic")
    elsewhere = AgentMemChatMessageHistory(other, user_id="ann", **clients)
    elsewhere.add_messages([HumanMessage("Hello")])
    history = AgentMemChatMessageHistory(session, user_id="ann", **clients)
    history.add_messages([HumanMessage("I like chess.")])
    assert history.messages == [HumanMessage("I like chess.")]
    if way == "sync":
        history.clear()
    else:
        await history.aclear()
    assert history.messages == []
    assert elsewhere.messages == [HumanMessage("Hello")]
    assert client.get(fact.id).content == "Ann likes chess."


def test_every_event_loop_is_served(server: Server) -> None:
    history = AgentMemChatMessageHistory(new_id(), api_url=server.url)
    for number in range(3):
        asyncio.run(history.aadd_messages([HumanMessage(str(number))]))
    messages = asyncio.run(history.aget_messages())
    assert [message.content for message in messages] == ["0", "1", "2"]


@pytest.fixture
def notes(clients: dict[str, Any]) -> str:
    """A collection with a few memories of two users."""
    client: AgentMemClient = clients["client"]
    name = new_id()
    memories: list[tuple[str, str, str, dict[str, Any]]] = [
        ("cat", "ann", "Mia the cat sleeps on the sofa.", {"topic": "pets", "year": 2024}),
        ("dog", "ann", "Rex the dog chases the ball.", {"topic": "pets", "year": 2026}),
        ("car", "ann", "The car needs new tyres.", {"topic": "car", "score": "mine", "n": [1]}),
        ("bob", "bob", "Bob's cat is called Tom.", {"topic": "pets", "year": 2026}),
    ]
    for id_, user, content, metadata in memories:
        client.add(content, id=id_, user_id=user, metadata=metadata, collection=name)
    return name


async def find(retriever: AgentMemRetriever, way: Way, query: str, **options: Any) -> list[Any]:
    if way == "sync":
        return retriever.invoke(query, **options)
    return await retriever.ainvoke(query, **options)


async def test_the_retriever_finds_within_its_scope(
    clients: dict[str, Any], notes: str, way: Way
) -> None:
    retriever = AgentMemRetriever(user_id="ann", collection=notes, **clients)
    found = await find(retriever, way, "a feline pet")
    assert found[0] == Document(
        "Mia the cat sleeps on the sofa.", id="cat", metadata={"topic": "pets", "year": 2024}
    )
    assert {document.id for document in found} == {"cat", "dog", "car"}


async def test_the_retriever_honours_every_option(
    clients: dict[str, Any], notes: str, way: Way
) -> None:
    retriever = AgentMemRetriever(filter={"topic": "pets"}, k=9, collection=notes, **clients)
    assert {one.id for one in await find(retriever, way, "cat")} == {"cat", "dog", "bob"}
    assert len(await find(retriever, way, "cat", k=1)) == 1
    late = await find(retriever, way, "cat", filter=F("year") >= 2026)
    assert {one.id for one in late} == {"dog", "bob"}
    words = await find(retriever, way, "cat", mode="sparse", filter={"@user_id": "ann"})
    assert [one.id for one in words] == ["cat"]
    (best, score), *_ = retriever.search_with_score("feline", mode="dense")
    assert best.id in {"cat", "bob"}
    near = await find(retriever, way, "feline", mode="dense", min_score=score)
    assert [one.id for one in near] == [best.id]


async def test_an_empty_collection_gives_no_documents(clients: dict[str, Any], way: Way) -> None:
    assert await find(AgentMemRetriever(collection=new_id(), **clients), way, "cat") == []


async def test_what_was_said_can_be_searched(clients: dict[str, Any], way: Way) -> None:
    session = new_id()
    AgentMemChatMessageHistory(session, **clients).add_messages(
        [
            HumanMessage("I spend my summers sailing on cold lakes."),
            AIMessage("Noted."),
            HumanMessage("The invoice is due on Friday."),
        ]
    )
    retriever = AgentMemRetriever(session_id=session, filter={"role": "human"}, k=1, **clients)
    (found,) = await find(retriever, way, "Which hobby is about boats?")
    assert found.page_content == "Human: I spend my summers sailing on cold lakes."
