"""Texts to vectors: what an embedder is, and how one is opened."""

import asyncio
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Embedder",
    "EmbedderMisconfigured",
    "EmbedderUnavailable",
    "TokenEmbedder",
    "open_embedder",
    "unit",
]


class EmbedderUnavailable(Exception):
    """The embedder could not embed these texts.

    Attributes:
        retryable: whether the same texts may succeed later. False where the embedder answered
            and would answer the same again: it refuses the text (too long, say) or the key.
    """

    def __init__(self, message: str, *, retryable: bool = True) -> None:
        super().__init__(message)
        self.retryable = retryable


class EmbedderMisconfigured(Exception):
    """The embedder can't be opened as it is set up; the message says what to change."""


class Embedder(Protocol):
    """Makes vectors of texts.

    Attributes:
        name: the model's identity, which a collection records: vectors of two models can't be
            compared.
        dimension: the length of each vector.
    """

    name: str
    dimension: int

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The vectors of `texts`: shape ``(len(texts), dimension)``, in order, of length 1 (L2).

        Raises:
            EmbedderUnavailable: none of the texts was embedded.
        """
        ...

    async def close(self) -> None:
        """Free what the embedder holds, once the calls under way have ended."""
        ...


@runtime_checkable
class TokenEmbedder(Embedder, Protocol):
    """One that also tells the vectors of a text's tokens, for late interaction."""

    async def embed_tokens(
        self, texts: Sequence[str]
    ) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        """As `embed`, and for each text the vectors of its tokens, of any length.

        Of shape ``(tokens, dimension)``: of the words that say something, in order.

        Raises:
            EmbedderUnavailable: none of the texts was embedded.
        """
        ...


async def open_embedder(
    name: str,
    *,
    base_url: str | None = None,
    api_key: str | None = None,
    model: str | None = None,
    dimension: int | None = None,
) -> Embedder:
    """Open the embedder called `name`, ready to embed.

    Args:
        name: ``"builtin"``, the model that comes with the server and has no options, or
            ``"openai"``, any service with OpenAI's ``/embeddings`` API.
        base_url: the service's root, such as ``http://localhost:11434/v1``; OpenAI's if None.
        api_key: the service's key.
        model: the service's model; required for ``"openai"``.
        dimension: asked of the service, for models that can shorten their vectors. If None,
            the model's own, found by embedding a word.

    Raises:
        EmbedderMisconfigured: these options can't work.
        EmbedderUnavailable: the service does not answer, or refuses.
    """
    if name == "builtin":
        if base_url is not None or model is not None or dimension is not None:
            raise EmbedderMisconfigured(
                "the builtin embedder has a model of its own: base_url, model and dimension "
                'are options of the "openai" embedder'
            )
        return await asyncio.to_thread(_load_builtin)
    if name == "openai":
        try:
            from .openai_compatible import open_openai_compatible
        except ModuleNotFoundError as error:
            if error.name != "openai":
                raise
            raise EmbedderMisconfigured(
                'the openai embedder needs an extra: pip install "agentmem-server[openai]"'
            ) from None
        if not model:
            raise EmbedderMisconfigured("the openai embedder needs the name of a model")
        return await open_openai_compatible(
            base_url=base_url, api_key=api_key, model=model, dimension=dimension
        )
    raise EmbedderMisconfigured(f'no embedder is called {name!r}: there are "builtin" and "openai"')


def _load_builtin() -> Embedder:
    # Importing onnxruntime takes longer than embedding a text, so it too belongs off the loop.
    from .builtin import BuiltinEmbedder

    return BuiltinEmbedder()


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each row of `vectors` scaled to length 1 (L2); a row of zeros stays as it is."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: NDArray[np.float32] = vectors / np.maximum(norms, np.finfo(np.float32).tiny)
    return scaled
