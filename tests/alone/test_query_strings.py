"""What a query string costs, as a ratio of times."""

import time

import httpx


async def test_the_time_that_a_query_string_takes_grows_with_its_length(
    api: httpx.AsyncClient,
) -> None:
    async def seconds(parameters: int) -> float:
        query = "&".join(f"u{number}=1" for number in range(parameters))
        took = []
        for _ in range(3):
            started = time.process_time()
            answer = await api.get(f"/api/v1/memories?{query}")
            took.append(time.process_time() - started)
            assert answer.status_code == 422
        return min(took)

    # Eight times the length: 8 where it is linear, 64 where each is compared with each.
    assert await seconds(4_000) < 24 * await seconds(500)
