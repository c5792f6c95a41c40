"""How long it takes to learn from many conversations, with an LLM that takes a second for each.

The LLM is a fake on this machine that waits and then answers with the facts which the messages
spell out. All the rest is real: the client, the server, the calls over HTTP, the embedder, the
writes. Serial is one `extract` after the other; the rest is one `extract_many`, of
10 the median of five.

    python benchmarks/extraction.py [--latency 1.0] [--json figures.json]

It ends with an error where 10 conversations take more than 1.3, or 100 more than 11 times the
latency.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import httpx
from agentmem_client import AsyncAgentMemClient

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
from _server import private_server  # the examples' helper, which starts a server

from tests.llm_server import LLMServer

BOUNDS = {10: 1.3, 100: 11.0}
"""The longest that so many conversations may take, in latencies of the LLM."""
FACTS = 3
"""In each conversation."""


def _conversations(count: int, name: str) -> list[dict[str, Any]]:
    return [
        {
            "messages": [
                {"role": "user", "content": f"FACT: {name} {number} has {fact + 2} things."}
                for fact in range(FACTS)
            ],
            "user_id": f"{name}-{number}",
        }
        for number in range(count)
    ]


async def _cpu(url: str) -> float:
    """Seconds that the server has had of the processor; 0 where it doesn't say, as off Linux."""
    async with httpx.AsyncClient() as client:
        lines = (await client.get(f"{url}/metrics")).text.splitlines()
    return sum(float(line.split()[1]) for line in lines if line.startswith("process_cpu_seconds"))


async def _serially(memory: AsyncAgentMemClient, conversations: Sequence[dict[str, Any]]) -> int:
    done = [await memory.extract(**conversation) for conversation in conversations]
    return sum(len(one.facts) for one in done)


async def _together(memory: AsyncAgentMemClient, conversations: Sequence[dict[str, Any]]) -> int:
    done = await memory.extract_many(conversations)
    return sum(len(one.facts) for one in done)


async def _measure(url: str, server: LLMServer, latency: float) -> list[dict[str, Any]]:
    rows = []
    async with AsyncAgentMemClient(url) as memory:
        await memory.extract(["FACT: The first call opens connections."])
        for how, count, rounds, learn in (
            ("one after the other", 10, 1, _serially),
            ("extract_many", 10, 5, _together),
            ("extract_many", 100, 1, _together),
        ):
            llm = server.forget()
            llm.latency = latency
            seconds, cpu = [], await _cpu(url)
            for turn in range(rounds):
                conversations = _conversations(count, f"{learn.__name__} {count} {turn}")
                started = time.perf_counter()
                facts = await learn(memory, conversations)
                seconds.append(time.perf_counter() - started)
                if facts != count * FACTS:
                    raise RuntimeError(f"{facts} facts were learnt, not {count * FACTS}")
            rows.append(
                {
                    "how": how,
                    "conversations": count,
                    "seconds": median(seconds),
                    "bound": BOUNDS[count] * latency if learn is _together else None,
                    "cpu_ms": 1e3 * (await _cpu(url) - cpu) / count / rounds,
                    "at_once": llm.most,
                    "calls": len(llm.requests) // rounds,
                }
            )
    return rows


def _print_table(rows: Sequence[dict[str, Any]]) -> None:
    print(
        f"{'':20}{'conversations':>14}{'seconds':>9}{'at most':>9}{'calls':>7}{'at once':>9}",
        end="",
    )
    print(f"{'CPU ms each':>13}")
    for row in rows:
        bound = "" if row["bound"] is None else f"{row['bound']:.2f}"
        print(f"{row['how']:20}{row['conversations']:14}{row['seconds']:9.2f}{bound:>9}", end="")
        print(f"{row['calls']:7}{row['at_once']:9}{row['cpu_ms']:13.1f}")


def main() -> int:
    """Run the benchmark; 1 where a bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--latency", type=float, default=1.0, help="seconds of each call")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args()
    server = LLMServer().start()
    settings = {"AGENTMEM_LLM_URL": server.url, "AGENTMEM_LLM_MODEL": "fake"}
    try:
        with private_server(settings) as url:
            rows = asyncio.run(_measure(url, server, options.latency))
    finally:
        server.stop()
    _print_table(rows)
    if options.json:
        figures = {"latency": options.latency, "rows": rows}
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    return int(any(row["bound"] and row["seconds"] > row["bound"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
