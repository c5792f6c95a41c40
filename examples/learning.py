"""Facts that an LLM finds in conversations: learnt once, with their sources, also by jobs.

    python examples/learning.py

It starts a server of its own on a temporary file. The LLM is that of AGENTMEM_LLM_URL and
AGENTMEM_LLM_MODEL (and AGENTMEM_LLM_KEY), or else a stand-in that only knows this example's
conversations. It ends with an error when something did not hold.
"""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from _server import private_server, restart
from agentmem_client import AgentMemClient

MONDAY = [
    {
        "id": "m1",
        "name": "Ann",
        "content": "We adopted a cat yesterday! She is called Mia.",
        "at": "2026-03-10T18:00:00Z",
    },
    {"id": "m2", "role": "assistant", "content": "Congratulations! What does Mia eat?"},
    {"id": "m3", "name": "Ann", "content": "Anything but chicken: she is allergic to it."},
]
THURSDAY = [
    {
        "id": "t1",
        "name": "Ann",
        "content": "Remember, Mia must not have chicken. And I start at the clinic in May.",
        "at": "2026-03-13T09:00:00Z",
    }
]
SAID = {
    "adopted a cat": ("Ann adopted a cat called Mia on 9 March 2026.", "episodic", "2026-03-09"),
    "allergic to it": ("Mia, Ann's cat, is allergic to chicken.", "semantic", None),
    "must not have chicken": ("Mia, Ann's cat, is allergic to chicken.", "semantic", None),
    "start at the clinic": ("Ann starts working at the clinic in May 2026.", "episodic", None),
}
"""What the stand-in makes of a message with these words."""


def main() -> None:
    """Run every part on a server that is gone afterwards."""
    with language_model() as settings, private_server(settings) as api_url:
        print(f"server: {api_url}, LLM: {settings['AGENTMEM_LLM_MODEL']}")
        with AgentMemClient(api_url) as memory:
            learn(memory)
            learn_again(memory)
            learn_in_the_background(memory, api_url)


def learn(memory: AgentMemClient) -> None:
    """One call of the LLM turns messages into memories."""
    done = memory.extract(MONDAY, user_id="ann", metadata={"topic": "pets"})
    for fact in done.facts:
        print(f"  {fact.status}, {fact.type}: {fact.content} ({', '.join(fact.message_ids)})")
    (hit,) = memory.search("What may the cat not eat?", user_id="ann", limit=1)
    print(f"  found: {hit.content}")
    check("chicken" in hit.content, "what was learnt is found")
    check(bool(hit.sources), "and says where it comes from")


def learn_again(memory: AgentMemClient) -> None:
    """What is known is not stored again: the memory that says so has one source more."""
    before = memory.count(user_id="ann")
    done = memory.extract(THURSDAY, user_id="ann")
    for fact in done.facts:
        print(f"  {fact.status}: {fact.content}")
    known = [fact.id for fact in done.facts if fact.status == "duplicate" and fact.id]
    stored = [fact for fact in done.facts if fact.status == "stored"]
    check(memory.count(user_id="ann") == before + len(stored), "only what is new is stored")
    for id in known:
        sources = [source.message_ids for source in memory.get(id).sources or ()]
        print(f"  its sources: {sources}")
        check(len(sources) > 1, "the other source is kept")


def learn_in_the_background(memory: AgentMemClient, api_url: str) -> None:
    """A job is stored before it is answered, and survives a restart of the server."""
    queued = memory.extract_many(
        [{"messages": MONDAY, "user_id": user} for user in ("bob", "eve")], background=True
    )
    jobs = [outcome.job.id for outcome in queued if outcome.job is not None]
    print(f"  {len(jobs)} jobs, and the server is restarted: {restart(api_url)}")
    for id in jobs:
        job = memory.wait_for_job(id, timeout=120)
        facts = job.result.facts if job.result else []
        print(f"  {job.status} after {job.attempts} attempts: {len(facts)} facts")
        check(job.status == "done", "a job is done, whatever happens to the server")
    check(memory.count(user_id="eve") == memory.count(user_id="bob") > 0, "each once")
    print("Everything was learnt once.")


@contextmanager
def language_model() -> Iterator[Mapping[str, str]]:
    """The settings of a server with the environment's LLM, or with the stand-in."""
    if os.environ.get("AGENTMEM_LLM_MODEL"):
        names = ("AGENTMEM_LLM_URL", "AGENTMEM_LLM_MODEL", "AGENTMEM_LLM_KEY")
        yield {name: os.environ[name] for name in names if name in os.environ}
        return
    server = ThreadingHTTPServer(("127.0.0.1", 0), StandIn)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield {
            "AGENTMEM_LLM_URL": f"http://127.0.0.1:{server.server_port}/v1",
            "AGENTMEM_LLM_MODEL": "a-stand-in",
        }
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class StandIn(BaseHTTPRequestHandler):
    """As much of an OpenAI-compatible API as it takes."""

    def do_POST(self) -> None:
        """Answer with what `SAID` makes of the messages."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        conversation = json.loads(asked["messages"][1]["content"])
        facts = [
            {
                "content": content,
                "type": kind,
                "event_time": day,
                "importance": 0.7,
                "messages": [message["place"]],
                "known": None,
            }
            for message in conversation["messages"]
            for words, (content, kind, day) in SAID.items()
            if words in message["content"]
        ]
        said = {"role": "assistant", "content": json.dumps({"facts": facts})}
        self._answer({"choices": [{"index": 0, "message": said, "finish_reason": "stop"}]})

    def do_GET(self) -> None:
        """Answer which models there are, for the server's health."""
        self._answer({"object": "list", "data": []})

    def _answer(self, content: Mapping[str, Any]) -> None:
        body = json.dumps({"id": "1", "object": "chat.completion", "model": "", **content}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


def check(holds: bool, what: str) -> None:
    """End the example when something does not hold."""
    if not holds:
        sys.exit(f"FAILED: {what}")


if __name__ == "__main__":
    main()
