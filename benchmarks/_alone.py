"""What bounds a server on this machine: its database alone, and its embedder alone."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw
from agentmem_client.models import MemoryInput
from agentmem_server import times
from agentmem_server.embedding.builtin import BuiltinEmbedder
from agentmem_server.engine.records import to_record
from agentmem_server.storage import Embedding, Put
from agentmem_server.storage.sqlite import schema
from agentmem_server.storage.sqlite.memory_state import MemoryState
from agentmem_server.storage.sqlite.writer import Writer

_CHANGES = ("INSERT", "UPDATE", "DELETE", "REPLACE")


@dataclass(frozen=True)
class Transaction:
    """The statements that change something, each with all its rows; and how many memories."""

    statements: Sequence[tuple[str, Sequence[Any]]]
    memories: int


@dataclass(frozen=True)
class Spent:
    """Seconds for so many memories: by the clock, and of the processor."""

    memories: int
    took: float
    cpu: float


def recorded(groups: Sequence[Sequence[Mapping[str, Any]]], file: Path) -> Iterator[Transaction]:
    """What our store writes for memories (bodies of requests), a transaction a group.

    It writes them into a file that isn't there yet; what it reads on the way is left out.
    """
    connection = schema.connect(file)
    schema.prepare(connection, file)
    writer = Writer(connection, MemoryState(connection))
    statements: dict[str, list[Any]] = {}

    def trace(_cursor: apsw.Cursor, sql: str, bindings: Any) -> bool:
        if sql.lstrip().upper().startswith(_CHANGES):
            statements.setdefault(sql, []).append(bindings or ())
        elif sql.lstrip().upper().startswith("CREATE"):
            statements[sql] = [()]
        return True

    for bodies in groups:
        statements.clear()
        puts = [_put(body) for body in bodies]
        connection.exec_trace = trace
        for outcome in writer.write(puts, lambda: None):
            if isinstance(outcome, Exception):
                raise outcome
        connection.exec_trace = None
        yield Transaction(list(statements.items()), len(bodies))
    connection.close()


def _put(body: Mapping[str, Any]) -> Put:
    memory = MemoryInput.model_validate(body)
    record = to_record(memory, times.now())
    assert record.vectors is not None
    embedding = Embedding("client", None, len(record.vectors) // 4, "cosine")
    return Put("default", memory.collection, embedding, [record])


class BareWrites:
    """Our tables in a file of their own, and nothing but prepared statements and commits."""

    def __init__(self, file: Path) -> None:
        self._connection = schema.connect(file)
        schema.prepare(self._connection, file)

    def write(self, transactions: Sequence[Transaction]) -> Spent:
        """Write transactions one after the other, each durable."""
        started, cpu = time.perf_counter(), time.process_time()
        for transaction in transactions:
            self._connection.execute("BEGIN IMMEDIATE")
            for sql, rows in transaction.statements:
                self._connection.executemany(sql, rows)
            self._connection.execute("COMMIT")
        memories = sum(transaction.memories for transaction in transactions)
        return Spent(memories, time.perf_counter() - started, time.process_time() - cpu)

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()


async def embedded_alone(embedder: BuiltinEmbedder, texts: Sequence[str]) -> Spent:
    """All texts embedded by one call, in this process."""
    started, cpu = time.perf_counter(), time.process_time()
    await embedder.embed(texts)
    return Spent(len(texts), time.perf_counter() - started, time.process_time() - cpu)
