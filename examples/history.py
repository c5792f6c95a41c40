"""What becomes of memories: versions, history, taking back, the feed of changes, erasing a user.

    python examples/history.py

It uses the server of AGENTMEM_API_URL (and AGENTMEM_API_KEY), or starts one of its own on a
temporary file; while somebody follows the feed, it restarts that one. It ends with an error when
something did not hold.
"""

import sys
import threading
import uuid
from contextlib import closing

from _server import restart, running_server
from agentmem_client import AgentMemClient, NotFound, VersionConflict


def main() -> None:
    """Run every part for a user of its own, and leave nothing of them behind."""
    user, collection = f"ann-{uuid.uuid4().hex[:8]}", f"example-history-{uuid.uuid4().hex[:8]}"
    with running_server() as api_url, AgentMemClient.from_env(api_url=api_url) as memory:
        print(f"server: {api_url}")
        try:
            change_at_the_same_time(memory, collection, user)
            take_back(memory, collection)
            follow_over_a_restart(api_url, collection, user)
            erase(memory, collection, user)
        finally:
            memory.delete_collection(collection)


def change_at_the_same_time(memory: AgentMemClient, collection: str, user: str) -> None:
    """Two who read the same version: the second to write is told."""
    cat = memory.add("The cat is called Mia.", id="cat", collection=collection, user_id=user)
    print(f"\nversion {cat.version}: {cat.content}")
    ours = memory.update(
        "cat", content="The cat is called Mimi.", collection=collection, if_version=cat.version
    )
    print(f"version {ours.version}: {ours.content}")
    try:
        memory.update("cat", content="A dog.", collection=collection, if_version=cat.version)
    except VersionConflict as error:
        print(f"the other one: {error.message}")
    else:
        check(False, "a change of an old version is refused")


def take_back(memory: AgentMemClient, collection: str) -> None:
    """A deleted memory has a history, and comes back from it."""
    memory.delete("cat", collection=collection)
    for event in memory.history("cat", collection=collection):
        print(f"  {event.action:8} version {event.version}  {event.after and event.after.content}")
    cat = memory.restore("cat", 1, collection=collection)
    print(f"restored: {cat.content}")
    check(cat.content == "The cat is called Mia.", "it is as it was at first")
    hits = memory.search("cat", collection=collection)
    check([hit.id for hit in hits] == ["cat"], "searches find what was restored")


def follow_over_a_restart(api_url: str, collection: str, user: str) -> None:
    """Who follows the feed hears of each change once, whatever happens to the connection."""
    heard: list[tuple[str, str | None]] = []

    def follow() -> None:
        with (
            AgentMemClient.from_env(api_url=api_url, max_retries=100) as memory,
            closing(memory.events(after=0, user_id=user)) as events,  # from the beginning
        ):
            for event in events:
                heard.append((event.action, event.memory_id))
                if event.memory_id == "last":
                    return

    following = threading.Thread(target=follow, daemon=True)
    following.start()
    with AgentMemClient.from_env(api_url=api_url, max_retries=100) as memory:
        memory.add("before", id="before", collection=collection, user_id=user)
        restarted = restart(api_url)
        memory.add("after", id="after", collection=collection, user_id=user)
        memory.add("the end", id="last", collection=collection, user_id=user)
    following.join(60)
    print(f"\nheard{' over a restart' if restarted else ''}:")
    print("".join(f"  {action:8} {id_}\n" for action, id_ in heard), end="")
    actions = [action for action, _ in heard]
    check(actions == ["added", "updated", "deleted", *["added"] * 4], "each change, once, in order")


def erase(memory: AgentMemClient, collection: str, user: str) -> None:
    """Nothing of a user is left, in no collection and no history."""
    receipt = memory.erase_user(user)
    print(f"\nerased: {receipt.memories} memories and {receipt.events} events of their history")
    check(memory.count(collection=collection) == 0, "no memory is left")
    try:
        list(memory.history("cat", collection=collection))
    except NotFound:
        print("nothing is left of them")
    else:
        check(False, "no history is left")


def check(holds: bool, what: str) -> None:
    """End the example when something does not hold."""
    if not holds:
        sys.exit(f"FAILED: {what}")


if __name__ == "__main__":
    main()
