from typing import Any

import numpy as np
import pytest
from agentmem_server.embedding import signs
from agentmem_server.engine import late
from numpy.typing import NDArray

RNG = np.random.default_rng(5)


def tokens(count: int, dimension: int = 20) -> NDArray[np.float32]:
    return RNG.standard_normal((count, dimension)).astype(np.float32)


def plain(query: NDArray[np.float32], own: NDArray[np.float32]) -> NDArray[Any]:
    """The same, said in the simplest way."""
    kept = np.where(own > 0, 1, -1) / np.sqrt(own.shape[1])
    return np.asarray((query @ kept.T).max(axis=1))


@pytest.mark.parametrize("counts", [[3, 1, 7], [1], [4_000, 5, 4_100, 1]])
def test_each_token_finds_the_closest_one(counts: list[int]) -> None:
    query = tokens(4)
    query /= np.linalg.norm(query, axis=1, keepdims=True)
    candidates = [tokens(count) for count in counts]
    found = late.matches(query, [signs.packed(one) for one in candidates])
    expected = [plain(query, one) for one in candidates]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_what_has_no_tokens_is_not_known() -> None:
    query = tokens(2)
    found = late.matches(query, [b"", signs.packed(tokens(2)), b""])
    assert np.isnan(found).all(axis=1).tolist() == [True, False, True]
    assert np.isnan(late.matches(query, [b"", b""])).all()
    assert late.matches(query, []).shape == (0, 2)
    assert late.matches(tokens(0), [signs.packed(tokens(2))]).shape == (1, 0)


def test_a_value_counts_less_with_each_turn_that_it_is_away() -> None:
    values = np.array([0.1, 0.8, 0.5, 0.0])
    pairs = np.array([[0, 1, 1], [1, 2, 2], [2, 3, 3]])
    spread = late.spread(values, pairs, 0.5)
    # To both sides, and not on from there.
    assert spread.tolist() == [0.4, 0.8, 0.5, 0.0625]
    assert values.tolist() == [0.1, 0.8, 0.5, 0.0]


def test_each_column_is_spread_for_itself() -> None:
    values = np.array([[1.0, 0.0], [0.0, 0.6]])
    spread = late.spread(values, np.array([[0, 1, 1]]), 0.5)
    assert spread.tolist() == [[1.0, 0.3], [0.5, 0.6]]


def test_what_is_below_nothing_and_what_is_not_known_raise_nobody() -> None:
    values = np.array([-0.5, -0.9, np.nan, 0.4])
    pairs = np.array([[0, 1, 1], [1, 2, 1], [2, 3, 1]])
    spread = late.spread(values, pairs, 0.5)
    assert spread[[0, 1, 3]].tolist() == [-0.5, -0.9, 0.4]
    assert spread[2] == 0.2


@pytest.mark.parametrize(("pairs", "decay"), [(np.zeros((0, 3), np.int64), 0.5), ([[0, 1, 1]], 0)])
def test_without_neighbours_nothing_changes(pairs: object, decay: float) -> None:
    values = np.array([1.0, 0.0])
    assert late.spread(values, np.array(pairs, np.int64).reshape(-1, 3), decay).tolist() == [1, 0]
