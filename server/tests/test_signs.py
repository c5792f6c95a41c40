import numpy as np
from agentmem_server.embedding import signs


def test_eight_signs_are_a_byte() -> None:
    tokens = np.array([[0.5, -0.1, 0.0, 1, 1, -1, -1, 2, 3, -3]], np.float32)
    assert signs.packed(tokens) == bytes([0b10011001, 0b10000000])
    assert len(signs.packed(tokens)) == signs.size(10) == 2
    assert signs.size(384) == 48


def test_nothing_has_no_signs() -> None:
    assert signs.packed(np.zeros((0, 384), np.float32)) == b""


def test_a_memory_keeps_the_first_tokens_of_its_texts() -> None:
    one, two = b"a" * 48 * 200, b"b" * 48 * 100
    assert signs.joined([one, two], 384) == one + two[: 48 * 56]
    assert signs.joined([], 384) == b""


def test_a_querys_tokens_have_length_one_as_float16() -> None:
    kept = np.frombuffer(signs.question(np.array([[3.0, 4.0], [0, 0]], np.float32)), "<f2")
    assert len(signs.question(np.ones((100, 2), np.float32))) == 2 * 2 * signs.MAX_QUESTION
    np.testing.assert_allclose(kept.reshape(-1, 2), np.array([[0.6, 0.8], [0, 0]]), atol=1e-3)
