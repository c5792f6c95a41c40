"""Recall on LoCoMo, through the public API: how many of the turns that answer a question come back.

Each conversation is a collection, each dialogue turn a memory, each question a search. The data
names the turns that hold the answer, so no language model judges anything. R@k is the share of
these turns among the first k hits, MRR@10 the mean of 1 / rank of the first of them; both are
averaged over the questions.

    python benchmarks/locomo.py --data locomo.json

``--without`` leaves out steps by which candidates are ranked anew, so that each one's gain shows;
``--by-conversation`` tells R@10 of each.

It starts a server of its own, on a new file or on the database that ``--database`` names, or uses
the one that AGENTMEM_API_URL names.

The data is not part of the project (its licence is CC BY-NC). The file holds ``{"conversations":
[{"id", "turns": [{"id", "session", "date", "speaker", "text", "caption"}], "questions":
[{"question", "category", "gold": [turn ids]}]}]}``.
"""

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean
from typing import Any

from agentmem_client import AgentMemClient, MemoryInput
from agentmem_client.models import Mode, Rerank

sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
from _server import private_server, running_server  # the examples' helpers, which start a server

CATEGORIES = {1: "multi-hop", 2: "temporal", 3: "open-domain", 4: "single-hop"}
"""What is measured; category 5 asks for what was never said."""
DEPTHS = (5, 10, 20)
_DATE = "%I:%M %p on %d %B, %Y"


def main() -> int:
    """Run the benchmark; answers 1 when R@10 is below ``--at-least``."""
    options = _options()
    conversations = json.loads(options.data.read_text())["conversations"]
    scores: dict[int, list[dict[str, float]]] = defaultdict(list)
    of_each: dict[str, list[float]] = defaultdict(list)
    rerank = Rerank(**dict.fromkeys(options.without, 0.0)) if options.mode == "hybrid" else None
    seconds: list[float] = []
    server = private_server(database=options.database) if options.database else running_server()
    with server as api_url, AgentMemClient(api_url, timeout=300) as client:
        for conversation in conversations:
            for category, figures, took in _measure(client, conversation, options.mode, rerank):
                scores[category].append(figures)
                of_each[conversation["id"]].append(figures["R@10"])
                seconds.append(took)
    table = _table(scores)
    _print(table, seconds)
    if options.by_conversation:
        print("R@10: " + ", ".join(f"{id} {mean(found):.3f}" for id, found in of_each.items()))
    if options.json:
        options.json.write_text(json.dumps(table, indent=2) + "\n")
    return 0 if table["all"]["R@10"] >= options.at_least else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="the data set")
    parser.add_argument("--mode", choices=["hybrid", "dense", "sparse"], default="hybrid")
    parser.add_argument(
        "--without",
        nargs="+",
        choices=list(Rerank.model_fields),
        default=[],
        help="steps of the ranking to leave out",
    )
    parser.add_argument("--by-conversation", action="store_true", help="R@10 of each too")
    parser.add_argument(
        "--database",
        metavar="URL",
        help="of the server's database, as postgresql://…?schema=locomo",
    )
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument(
        "--at-least", type=float, default=0.8, help="the R@10 to reach (default: %(default)s)"
    )
    return parser.parse_args()


def _measure(
    client: AgentMemClient, conversation: dict[str, Any], mode: Mode, rerank: Rerank | None
) -> Iterator[tuple[int, dict[str, float], float]]:
    """Store a conversation, ask its questions, and yield (category, figures, seconds) of each."""
    collection = f"locomo-{conversation['id']}"
    client.delete_collection(collection)
    started = time.perf_counter()
    results = client.add_many(
        MemoryInput(
            id=turn["id"],
            collection=collection,
            session_id=str(turn["session"]),
            event_at=datetime.strptime(turn["date"], _DATE).replace(tzinfo=UTC),
            content=_content(turn),
        )
        for turn in conversation["turns"]
    )
    took = time.perf_counter() - started
    assert all(result.status == "stored" for result in results), results
    print(f"{collection}: {len(results)} turns stored, {len(results) / took:.0f} a second")
    for question in conversation["questions"]:
        if question["category"] not in CATEGORIES or not question["gold"]:
            continue
        started = time.perf_counter()
        hits = client.search(
            question["question"], limit=20, collection=collection, mode=mode, rerank=rerank
        )
        seconds = time.perf_counter() - started
        yield question["category"], _score([hit.id for hit in hits], question["gold"]), seconds
    client.delete_collection(collection)


def _content(turn: dict[str, Any]) -> str:
    caption = f" [shares {turn['caption']}]" if turn["caption"] else ""
    return f"{turn['speaker']}: {turn['text']}{caption}"


def _score(found: Sequence[str], gold: Sequence[str]) -> dict[str, float]:
    ranks = [rank for rank, hit in enumerate(found, start=1) if hit in gold]
    figures = {f"R@{k}": sum(rank <= k for rank in ranks) / len(set(gold)) for k in DEPTHS}
    figures["MRR@10"] = 1 / ranks[0] if ranks and ranks[0] <= 10 else 0.0
    return figures


def _table(scores: dict[int, list[dict[str, float]]]) -> dict[str, dict[str, float]]:
    groups = {name: scores[category] for category, name in CATEGORIES.items()}
    groups["all"] = [figures for group in scores.values() for figures in group]
    return {
        name: {"questions": len(group)}
        | {measure: mean(figures[measure] for figures in group) for measure in group[0]}
        for name, group in groups.items()
        if group
    }


def _print(table: dict[str, dict[str, float]], seconds: Sequence[float]) -> None:
    measures = list(table["all"])
    print(f"\n{'':12}" + "".join(f"{measure:>11}" for measure in measures))
    for name, figures in table.items():
        cells = [f"{figures['questions']:11.0f}", *(f"{figures[m]:11.3f}" for m in measures[1:])]
        print(f"{name:12}" + "".join(cells))
    ranked = sorted(seconds)
    p50, p95 = (ranked[int(share * (len(ranked) - 1))] * 1_000 for share in (0.5, 0.95))
    print(f"\n{len(seconds)} searches: p50 {p50:.1f} ms, p95 {p95:.1f} ms")


if __name__ == "__main__":
    sys.exit(main())
