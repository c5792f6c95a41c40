from collections.abc import Sequence

import numpy as np
import pytest
from agentmem_client.models import Rerank
from agentmem_server.embedding import signs
from agentmem_server.engine import reranking
from agentmem_server.engine.ranking import Scored
from agentmem_server.engine.reranking import rerank
from agentmem_server.storage import Turns
from numpy.typing import NDArray

NOTHING = Rerank(tokens=0, context=0, speaker=0)


def fused(*scores: float) -> Scored:
    """Candidates with the ids 9, 8, 7, ... by the fusion; a third of each score is of keywords."""
    values = np.array(scores)
    ids = np.arange(9, 9 - len(values), -1)
    parts = {"similarity": values * 2 / 3, "keyword": values / 3}
    return Scored.ranked(ids, parts, {"similarity": values, "keyword": values})


def word(number: int) -> NDArray[np.float32]:
    """The vector of a word: 16 numbers, of which a word has its own pattern."""
    return np.random.default_rng(number).choice([-1.0, 1.0], 16).astype(np.float32)


def query(*words: int) -> NDArray[np.float32]:
    return np.stack([word(one) for one in words]) / np.float32(4)


def turns(
    *said: Sequence[int] | None,
    openings: Sequence[str | None] | None = None,
    pairs: Sequence[tuple[int, int, int]] = (),
) -> Turns:
    return Turns(
        [b"" if words is None else signs.packed(np.stack([*map(word, words)])) for words in said],
        [None] * len(said) if openings is None else openings,
        np.array(pairs, np.int64).reshape(-1, 3),
    )


def order(found: Scored) -> list[int]:
    return [int(id) for id in found.ids]


def test_whoever_says_all_words_of_the_query_comes_first() -> None:
    found = rerank(fused(1, 0.5, 0.2), turns([5], [1], [1, 2]), "", query(1, 2), Rerank())
    assert order(found)[0] == 7
    assert found.values["tokens"][0] == pytest.approx(1)
    assert found.parts["tokens"][0] == pytest.approx(0.7)
    assert found.scores == pytest.approx(np.asarray(sum(found.parts.values())))
    assert found.scores.max() <= 1


def test_the_share_of_the_tokens_is_as_asked_for() -> None:
    said = turns([5], [1, 2])
    assert order(rerank(fused(1, 0.5), said, "", query(1, 2), Rerank(tokens=0.1))) == [9, 8]
    assert order(rerank(fused(1, 0.5), said, "", query(1, 2), Rerank(tokens=0.9))) == [8, 9]


def test_words_may_be_said_in_turns_around() -> None:
    said = turns([1], [1, 3], [4], pairs=[(0, 2, 2)])
    alone = rerank(fused(0.3, 0.3, 0.3), said, "", query(1, 3), Rerank(context=0))
    assert order(alone)[0] == 8
    around = rerank(fused(0.3, 0.3, 0.3), said, "", query(1, 4), Rerank(context=0.9))
    assert order(around)[0] == 9
    assert around.values["tokens"][0] == pytest.approx((1 + 0.81) / 2)


def test_what_has_no_tokens_is_as_good_as_the_fusion_says() -> None:
    found = rerank(fused(0.9, 0.5), turns(None, [7]), "", query(1), Rerank())
    assert found.scores[order(found).index(9)] == pytest.approx(0.9)
    assert np.isnan(found.values["tokens"][order(found).index(9)])


def test_of_long_texts_the_last_ones_count_by_the_fusion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reranking, "TOKENS", 4)
    said = turns([1, 2, 3], [4], [1])
    found = rerank(fused(0.9, 0.5, 0.4), said, "", query(1, 4), Rerank())
    known = dict(zip(order(found), ~np.isnan(found.values["tokens"]), strict=True))
    assert known == {9: True, 8: True, 7: False}


def test_without_any_tokens_the_fusion_counts_in_turns_around() -> None:
    for tokens in (None, query(1)):
        said = turns(None, None, None, pairs=[(0, 2, 1)])
        found = rerank(fused(1, 0.5, 0.1), said, "", tokens, Rerank())
        assert order(found) == [9, 7, 8]
        assert found.parts["context"].tolist() == pytest.approx([0, 0.75, 0])
        assert "tokens" not in found.parts


def test_who_is_named_comes_before_who_is_not() -> None:
    said = turns([1], [1], openings=["Ann: yes", "Bob: yes"])
    found = rerank(fused(0.5, 0.5), said, "What does Bob eat?", query(1), Rerank())
    assert order(found) == [8, 9]
    assert found.parts["speaker"].tolist() == [0.15, 0]
    assert found.scores.max() <= 1


def test_where_nobody_is_named_nothing_is_kept_back() -> None:
    said = turns(None, None, openings=["Ann: yes", "Bob: yes"])
    found = rerank(fused(1, 0.5), said, "What does Eve eat?", None, Rerank())
    assert found.scores.tolist() == [1, 0.5]
    assert "speaker" not in found.parts


def test_a_weight_of_nothing_leaves_the_fusion_as_it_is() -> None:
    said = turns([1], [2], openings=["Ann: yes", "Bob: yes"], pairs=[(0, 1, 1)])
    found = rerank(fused(1, 0.5), said, "Bob", query(2), NOTHING)
    assert found.scores.tolist() == [1, 0.5]
    assert set(found.parts) == {"similarity", "keyword"}


def test_those_past_the_depth_keep_what_the_fusion_says() -> None:
    found = rerank(fused(1, 0.5, 0.4, 0.3), turns([5], [1]), "", query(1), Rerank())
    scores = dict(zip(order(found), found.scores.tolist(), strict=True))
    assert scores[7] == pytest.approx(0.4)
    assert scores[6] == pytest.approx(0.3)
    assert scores[8] > scores[9]
