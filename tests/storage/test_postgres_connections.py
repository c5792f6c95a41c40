"""What a database is asked to do for us, whatever it does for others, and what it may say."""

import asyncio
from typing import TYPE_CHECKING

import asyncpg
import pytest
from agentmem_client.errors import Unavailable
from agentmem_server.storage import Embedding, Pool, PutCollection, open_store
from agentmem_server.storage.postgres.connections import (
    Address,
    connect,
    failing_as_unavailable,
    is_down,
)

if TYPE_CHECKING:
    from tests.conftest import Postgres


@pytest.mark.parametrize("isolation", ["serializable", "repeatable read"])
async def test_what_transactions_see_is_not_left_to_the_database(
    postgres: "Postgres", isolation: str
) -> None:
    """Who waits for the others' lock must see what they wrote."""
    url = f"{postgres.url()}&default_transaction_isolation={isolation.replace(' ', '%20')}"
    small = Pool(min_size=1, max_size=2)
    stores = [await open_store(url, pool=small) for _ in range(2)]
    embedding = Embedding("client", None, 3, "cosine")

    async def make(number: int) -> None:
        name = f"collection {number % 20}"
        (made,) = await stores[number % 2].write([PutCollection("t", name, embedding, number)])
        assert not isinstance(made, Exception), made

    try:
        for _ in range(5):
            await asyncio.gather(*(make(number) for number in range(40)))
        assert len(await stores[0].collections("t")) == 20
    finally:
        for store in stores:
            await store.close()


async def test_what_a_database_refuses_is_not_told_with_the_values(postgres: "Postgres") -> None:
    connection = await connect(Address.parse(postgres.url()))
    try:
        await connection.execute(
            "CREATE TEMPORARY TABLE t (id bigint PRIMARY KEY, said text CHECK (said = ''))"
        )
        for value in (1, 2**80):
            with pytest.raises(Unavailable) as refused, failing_as_unavailable("written"):
                await connection.execute("INSERT INTO t VALUES ($1, 'a secret')", value)
            assert refused.value.message.startswith("the database could not be written: ")
            assert "secret" not in refused.value.message
            assert str(value) not in refused.value.message
            assert not is_down(refused.value)
    finally:
        await connection.close()


async def test_a_lost_connection_is_told(postgres: "Postgres") -> None:
    connection = await connect(Address.parse(postgres.url()))
    await connection.close()
    told = pytest.raises(Unavailable, match="connection is closed")
    with told as lost, failing_as_unavailable("read"):
        await connection.execute("SELECT 1")
    assert is_down(lost.value)
    assert isinstance(lost.value.__cause__, asyncpg.InterfaceError)
