"""Any service with OpenAI's `/embeddings` API: OpenAI, Ollama, vLLM, LM Studio and others.

Needs the extra `openai`, whose client sends the requests and retries them.
"""

import base64
import json
from collections.abc import Sequence

import numpy as np
import openai
from numpy.typing import NDArray

from . import EmbedderMisconfigured, EmbedderUnavailable, unit

MAX_BATCH = 128
# For each of three attempts. The client's own default, ten minutes, outlasts every caller.
TIMEOUT_SECONDS = 30.0


class OpenAICompatibleEmbedder:
    """A model of a service; `open_openai_compatible` makes it.

    Texts are sent as they are: one that is too long for the model is cut or refused, as the
    service does it.
    """

    def __init__(
        self, client: openai.AsyncOpenAI, model: str, dimension: int, *, shorten: bool
    ) -> None:
        self.name = model
        self.dimension = dimension
        self._client = client
        self._shorten_to = dimension if shorten else None

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The vectors of `texts`: shape ``(len(texts), dimension)``, in order, of length 1 (L2).

        Raises:
            EmbedderUnavailable: the service can't be reached, refuses, or answers nonsense.
        """
        vectors = np.empty((len(texts), self.dimension), np.float32)
        for start in range(0, len(texts), MAX_BATCH):
            batch = texts[start : start + MAX_BATCH]
            found = await _request(self._client, self.name, batch, self._shorten_to)
            if found.shape[1] != self.dimension:
                raise EmbedderUnavailable(
                    f"{self.name} at {_host(self._client)} makes vectors of {found.shape[1]} "
                    f"dimensions, not {self.dimension}",
                    retryable=False,
                )
            vectors[start : start + len(batch)] = found
        return vectors

    async def close(self) -> None:
        """Close the connections to the service."""
        await self._client.close()


async def open_openai_compatible(
    *, base_url: str | None, api_key: str | None, model: str, dimension: int | None
) -> OpenAICompatibleEmbedder:
    """Connect to a service; see `open_embedder`.

    Raises:
        EmbedderMisconfigured: there is no key.
        EmbedderUnavailable: `dimension` is None and the service can't be asked for it.
    """
    if api_key is None and base_url is not None:
        # Services at home need none, but the client insists on one, and looking for it in the
        # environment it would send OpenAI's key to another's address.
        api_key = "none"
    try:
        client = openai.AsyncOpenAI(base_url=base_url, api_key=api_key, timeout=TIMEOUT_SECONDS)
    except openai.OpenAIError as error:
        raise EmbedderMisconfigured(f"the openai embedder can't be set up: {error}") from error
    if dimension is not None:
        return OpenAICompatibleEmbedder(client, model, dimension, shorten=True)
    try:
        probe = await _request(client, model, ["dimension"], None)
    except EmbedderUnavailable:
        await client.close()
        raise
    return OpenAICompatibleEmbedder(client, model, probe.shape[1], shorten=False)


async def _request(
    client: openai.AsyncOpenAI, model: str, texts: Sequence[str], shorten_to: int | None
) -> NDArray[np.float32]:
    try:
        # The raw answer, as the client would make a Python list of every vector.
        answer = await client.embeddings.with_raw_response.create(
            model=model,
            # OpenAI refuses an empty text.
            input=[text or " " for text in texts],
            encoding_format="base64",
            extra_body=None if shorten_to is None else {"dimensions": shorten_to},
        )
    except openai.APIStatusError as error:
        raise EmbedderUnavailable(
            f"{_host(client)} refuses to embed: {error}",
            retryable=error.status_code in (408, 409, 429) or error.status_code >= 500,
        ) from error
    except openai.APIError as error:
        cause = f" ({error.__cause__})" if error.__cause__ else ""
        raise EmbedderUnavailable(f"{_host(client)} can't be reached: {error}{cause}") from error
    try:
        return unit(_parse(answer.content, len(texts)))
    except (KeyError, TypeError, ValueError) as error:
        raise EmbedderUnavailable(
            f"{_host(client)} does not answer with embeddings: {error!r}", retryable=False
        ) from error


def _host(client: openai.AsyncOpenAI) -> str:
    """Where a service is, for people: a URL may have a password before it, and a key after it."""
    return client.base_url.netloc.decode()


def _parse(body: bytes, count: int) -> NDArray[np.float32]:
    """The vectors in an answer, in the order of the request: each tells its `index` there."""
    data = sorted(json.loads(body)["data"], key=lambda entry: entry["index"])
    if [entry["index"] for entry in data] != list(range(count)):
        raise ValueError(f"{len(data)} vectors for {count} texts")
    vectors = np.stack([_floats(entry["embedding"]) for entry in data])
    if vectors.ndim != 2 or vectors.size == 0 or not np.isfinite(vectors).all():
        raise ValueError("what should be vectors is not")
    return vectors


def _floats(embedding: object) -> NDArray[np.float32]:
    # Services that don't know base64 answer with a list of numbers.
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding), "<f4")
    return np.asarray(embedding, np.float32)
