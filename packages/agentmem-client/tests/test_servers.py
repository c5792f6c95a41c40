"""Which server is in use."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from agentmem_client._servers import Servers

A, B, C = "http://a.test", "http://b.test", "http://c.test"


def in_use(servers: Servers) -> str:
    return servers.address(servers.choose(()))


def test_it_is_the_first_until_that_is_silent() -> None:
    servers = Servers([A, f"{B}/"])
    assert len(servers) == 2
    assert [in_use(servers) for _ in range(3)] == [A, A, A]
    servers.silent(servers.choose(()))
    assert [in_use(servers) for _ in range(3)] == [B, B, B]
    servers.silent(servers.choose(()))
    assert in_use(servers) == A


def test_a_call_is_given_each_server_once_from_the_one_in_use_on() -> None:
    servers = Servers([A, B, C])
    servers.silent(servers.choose(()))
    given: list[str] = []
    while len(given) < 3:
        given.append(servers.address(servers.choose(given)))
    assert given == [B, C, A]
    assert servers.address(servers.choose(given)) == B  # none is left: the one in use
    assert in_use(servers) == B


def test_those_who_fail_together_move_once() -> None:
    servers = Servers([A, B, C])
    together = [servers.choose(()) for _ in range(5)]
    for place in together:
        servers.silent(place)
    assert in_use(servers) == B


def test_threads_that_fail_together_move_once() -> None:
    servers = Servers([A, B, C])
    barrier = threading.Barrier(8)

    def fail(_: int) -> None:
        place = servers.choose(())
        barrier.wait(timeout=10)
        servers.silent(place)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(fail, range(8)))
    assert in_use(servers) == B


def test_a_failure_that_comes_late_moves_nobody() -> None:
    servers = Servers([A, B])
    long_call = servers.choose(())
    servers.silent(long_call)
    servers.silent(servers.choose(()))
    assert in_use(servers) == A  # which has come back
    servers.silent(long_call)
    assert in_use(servers) == A


def test_one_that_answers_after_others_did_not_is_in_use() -> None:
    servers = Servers([A, B, C])
    late = servers.choose(())
    servers.answered(servers.choose({A, B}))
    assert in_use(servers) == C
    servers.answered(late)
    assert in_use(servers) == C


@pytest.mark.parametrize("url", [A, f"{A}/", f"{A}//"])
def test_an_address_ends_where_a_path_begins(url: str) -> None:
    assert Servers([url]).address(7) == A
