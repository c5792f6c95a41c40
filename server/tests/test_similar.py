import asyncio
from typing import cast
from unittest import mock

import numpy as np
import pytest
from agentmem_client.models import MemoryInput
from agentmem_server import pauses
from agentmem_server.engine import similar
from agentmem_server.engine.records import to_record
from agentmem_server.engine.similar import Candidate, find_similar
from agentmem_server.extraction import FoundFact
from agentmem_server.storage import Embedding, Put, Store

EMBEDDING = Embedding("server", "m", 2, "cosine")
NO_STORE = cast("Store", None)


def candidate(content: str, *vector: float) -> Candidate:
    memory = MemoryInput(content=content)
    record = to_record(memory, 0, None)
    record.vectors = np.array(vector, "<f4").tobytes()
    put = Put("tenant", "notes", EMBEDDING, [record])
    return Candidate(FoundFact(content, "semantic", (0,)), put)


async def test_of_those_that_say_the_same_the_first_is_the_one() -> None:
    candidates = [
        candidate("Ann likes tea.", 1, 0),
        Candidate(FoundFact("?", "semantic", (0,)), ValueError("unfit")),
        candidate("Ann likes coffee.", 0, 1),
        candidate("Ann likes drinking tea.", 3, 0.3),
        candidate("Ann always likes drinking tea.", 1, 0),
        candidate("Ann likes to sleep.", 0, 0),
    ]
    await find_similar(NO_STORE, None, candidates, {})
    found = [None if one.similar is None else one.similar[1] for one in candidates]
    assert found == [None, None, None, "Ann likes tea.", "Ann likes tea.", None]
    assert candidates[3].similarity == pytest.approx(1 / 1.01**0.5)


async def test_what_is_long_is_no_fact() -> None:
    long = "Ann likes tea." + "." * 10_000
    candidates = [candidate(long, 1, 0), candidate("Ann likes drinking tea.", 1, 0)]
    await find_similar(NO_STORE, None, candidates, {})
    assert candidates[1].similar is None


async def test_many_let_others_have_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands are compared with few of those before them, and with pauses."""
    monkeypatch.setattr(pauses, "LONGEST", 0.0)
    candidates = [candidate(f"Fact {number}.", 1, 0) for number in range(200)]
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    waiting = asyncio.create_task(others())
    with mock.patch.object(similar, "says_no_more", return_value=False) as compared:
        await find_similar(NO_STORE, None, candidates, {})
    waiting.cancel()
    assert turns > 100
    assert compared.call_count <= 200 * 5
