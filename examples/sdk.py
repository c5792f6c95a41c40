"""The client by itself: add, a batch, filters, each way of searching, update, delete, async.

    python examples/sdk.py

It uses the server of AGENTMEM_API_URL (and AGENTMEM_API_KEY), or starts one of its own on a
temporary file. It ends with an error when something did not hold.
"""

import asyncio
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from _server import running_server
from agentmem_client import AgentMemClient, AsyncAgentMemClient, F, Hit, NotFound

NOTES: list[dict[str, object]] = [
    {"id": "cat", "content": "My cat is called Mia.", "metadata": {"topic": "pets", "year": 2023}},
    {"id": "dog", "content": "The dog next door barks.", "metadata": {"topic": "pets"}},
    {"id": "arm", "content": "I broke my arm skiing.", "metadata": {"topic": "health"}},
    {"id": "bad", "content": "This one is not stored.", "importance": 7},  # 0 to 1 is allowed
    {"id": "tea", "content": "I drink green tea.", "metadata": {"topic": "food", "year": 2025}},
]


def main() -> None:
    """Run every part in a collection of its own, and leave nothing behind."""
    collection = f"example-sdk-{uuid.uuid4().hex[:8]}"
    with running_server() as api_url, AgentMemClient.from_env(api_url=api_url) as memory:
        print(f"server: {api_url}")
        try:
            add(memory, collection)
            add_a_batch(memory, collection)
            search_in_each_mode(memory, collection)
            filter_by_metadata(memory, collection)
            change_and_delete(memory, collection)
            asyncio.run(work_side_by_side(api_url, collection))
        finally:
            deleted = memory.delete_collection(collection)
            print(f"\ncleaned up: {deleted} memories deleted with their collection")


def add(memory: AgentMemClient, collection: str) -> None:
    """One memory: the answer comes when it is on disk, and the next search finds it."""
    with step("add one memory"):
        stored = memory.add(
            "Ann lives in Lisbon.", collection=collection, user_id="ann", metadata={"topic": "home"}
        )
    print(f"  stored  {stored.id}  {stored.content!r}")
    hits = memory.search("Where does Ann live?", collection=collection, user_id="ann")
    show(hits)
    check([hit.id for hit in hits] == [stored.id], "the memory just added is found")
    others = memory.search("Where does Ann live?", collection=collection, user_id="bob")
    check(others == [], "another user's search does not see it")


def add_a_batch(memory: AgentMemClient, collection: str) -> None:
    """Many memories: each has its own outcome."""
    with step(f"add {len(NOTES)} memories in a batch, one of them bad"):
        results = memory.add_many(NOTES, collection=collection)
    for result in results:
        print(
            f"  {result.status:8}{result.id}", f"({result.error.message})" if result.error else ""
        )
    failed = [result.id for result in results if result.status == "failed"]
    check(failed == ["bad"], "the bad one failed alone")
    check(len(memory.get_many(["cat", "tea"], collection=collection)) == 2, "the others are there")


def search_in_each_mode(memory: AgentMemClient, collection: str) -> None:
    """By meaning, by keywords, and by both."""
    with step("search by meaning"):
        dense = memory.search("feline companion", mode="dense", limit=3, collection=collection)
    show(dense)
    check(dense[0].id == "cat", "meaning finds the cat without the word")
    with step("search by keywords"):
        sparse = memory.search("green", mode="sparse", collection=collection)
    show(sparse)
    check([hit.id for hit in sparse] == ["tea"], "keywords find what has them, and nothing else")
    with step("search by both"):
        hybrid = memory.search("injury while skiing", mode="hybrid", limit=3, collection=collection)
    show(hybrid)
    check(hybrid[0].id == "arm", "both find the accident")


def filter_by_metadata(memory: AgentMemClient, collection: str) -> None:
    """A filter bounds a search or a listing; it is never loosened to fill the limit."""
    recent_pets = (F("topic") == "pets") & (F("year") >= 2020)
    with step("search among recent pets"):
        hits = memory.search("tea", filters=recent_pets, collection=collection)
    show(hits)
    check([hit.id for hit in hits] == ["cat"], "nothing but what the filter admits")
    with step("list what is not about pets"):
        others = list(memory.iterate(filters=F("topic") != "pets", collection=collection))
    print(f"  {', '.join(one.content for one in others)}")
    check({one.metadata["topic"] for one in others} == {"home", "health", "food"}, "the others")


def change_and_delete(memory: AgentMemClient, collection: str) -> None:
    """Searches see an update and a deletion as soon as they are answered."""
    with step("update"):
        now = memory.update("cat", content="My cat is called Luna.", collection=collection)
    print(f"  {now.id} is now {now.content!r}, still with {now.metadata}")
    found = memory.search("What is the cat called?", limit=1, collection=collection)
    check(found[0].content == "My cat is called Luna.", "the search sees the update")
    with step("delete one, and all of a topic"):
        one = memory.delete("tea", collection=collection)
        several = memory.delete_all(filters=F("topic") == "pets", collection=collection)
    print(f"  deleted: {int(one)} and {several}")
    check((one, several) == (True, 2), "what was to be deleted")
    try:
        memory.get("tea", collection=collection)
    except NotFound as error:
        print(f"  get: {error.message}")
    else:
        check(False, "a deleted memory is gone")


async def work_side_by_side(api_url: str, collection: str) -> None:
    """The async client has the same methods; the server batches what comes at the same time."""
    async with AsyncAgentMemClient.from_env(api_url=api_url) as memory:
        texts = [f"Note number {number} of the day." for number in range(100)]
        with step(f"add {len(texts)} memories side by side"):
            stored = await asyncio.gather(
                *(memory.add(text, collection=collection, session_id="today") for text in texts)
            )
        page = await memory.list(collection=collection, session_id="today", limit=1)
        print(f"  stored  {len(stored)}, listed {page.total}")
        check(page.total == len(texts), "all of them are there")


@contextmanager
def step(what: str) -> Iterator[None]:
    """Print what is done, and how long it took."""
    start = time.perf_counter()
    yield
    print(f"\n{what}: {(time.perf_counter() - start) * 1000:.1f} ms")


def show(hits: list[Hit]) -> None:
    """Print the hits of a search."""
    for hit in hits:
        print(f"  {hit.score:7.3f}  {hit.content}")


def check(holds: bool, what: str) -> None:
    """End the example when something does not hold."""
    if not holds:
        sys.exit(f"FAILED: {what}")


if __name__ == "__main__":
    main()
