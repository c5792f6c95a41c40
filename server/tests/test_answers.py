"""What is written in parts is what the whole would be."""

from datetime import UTC, datetime

import pytest
from agentmem_client import models as m
from agentmem_server.answers import memories_answer

WHEN = datetime(2026, 1, 31, 9, 30, 0, 5, tzinfo=UTC)


def memory(number: int) -> m.Memory:
    return m.Memory(
        id=f"{number}",
        collection="default",
        content='"quoted" \u2028 é',
        metadata={"a": [1, 2.5, None, {"b": "\x01"}]},
        created_at=WHEN,
        updated_at=WHEN,
        embedding=[0.1, -0.0],
    )


@pytest.mark.parametrize("count", [0, 1, 3])
async def test_memories_are_answered_as_their_models_would_be(count: int) -> None:
    memories = [memory(number) for number in range(count)]
    alone = m.MemoriesAnswer(memories=memories)
    assert (await memories_answer(memories)).body == alone.model_dump_json().encode()
    page = m.PageAnswer(memories=memories, total=None, next_cursor='a"b')
    answer = await memories_answer(memories, total=page.total, next_cursor=page.next_cursor)
    assert answer.body == page.model_dump_json().encode()
