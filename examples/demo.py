"""All examples, one after the other, on one server with a temporary file.

    python examples/demo.py

It ends with an error when one of them found something that did not hold.
"""

import os
import sys
import time

import agent
import chat_memory
import history
import learning
import rag
import sdk
import team
from _server import running_server

EXAMPLES = {
    "The client by itself (examples/sdk.py)": sdk.main,
    "What becomes of memories, and who hears of it (examples/history.py)": history.main,
    "Tenants and users, each with a key of their own (examples/team.py)": team.main,
    "Facts from conversations, by an LLM (examples/learning.py)": learning.main,
    "A LangChain conversation that outlives its process (examples/chat_memory.py)": (
        chat_memory.main
    ),
    "A LangChain agent that recalls across its threads (examples/agent.py)": agent.main,
    "A LlamaIndex index over this project's documents (examples/rag.py)": rag.main,
}


def main() -> bool:
    """Run them; whether all of them held."""
    started = time.perf_counter()
    held = True
    with running_server() as api_url:
        print(f"A server answers at {api_url} after {time.perf_counter() - started:.1f} s.")
        os.environ["AGENTMEM_API_URL"] = api_url
        for title, example in EXAMPLES.items():
            print(f"\n{title}\n{'=' * len(title)}", flush=True)
            held = example() is not False and held
    took = time.perf_counter() - started
    print(f"\n{len(EXAMPLES)} examples in {took:.1f} s: {'all held' if held else 'NOT all held'}.")
    return held


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
