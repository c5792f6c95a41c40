"""Whether the language model answers."""

import httpx
from agentmem_client.errors import InvalidRequest, Unavailable

_TIMEOUT = 2.0
"""Seconds for each step of asking: connecting, sending, waiting for an answer."""


class LLMCheck:
    """Asks an OpenAI-compatible API for its list of models; any good answer will do.

    Args:
        url: the API's root, such as ``http://localhost:11434/v1``.
        key: sent as a bearer token, where there is one.

    Raises:
        InvalidRequest: for what is no URL, or a key that no header can hold.
    """

    def __init__(self, url: str, key: str | None) -> None:
        # No message here or below quotes the URL: there may be a password in it.
        try:
            root = httpx.URL(url)
        except httpx.InvalidURL:
            raise InvalidRequest("AGENTMEM_LLM_URL is no URL") from None
        if root.scheme not in ("http", "https") or not root.host:
            raise InvalidRequest("AGENTMEM_LLM_URL must start with http:// or https://")
        if key is not None and not (key.isascii() and key.isprintable()):
            raise InvalidRequest("AGENTMEM_LLM_KEY must be of printable ASCII characters")
        self._url = root.copy_with(path=root.path.rstrip("/") + "/models")
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        self._client = httpx.AsyncClient(headers=headers, timeout=_TIMEOUT)

    async def check(self) -> None:
        """Return when it answers well.

        Raises:
            Unavailable: it can't be reached, or refuses.
        """
        try:
            # Its answer may be long, and is not looked at.
            async with self._client.stream("GET", self._url) as answer:
                status = answer.status_code
        except httpx.TimeoutException:
            raise Unavailable("the LLM does not answer in time") from None
        except httpx.HTTPError as error:
            raise Unavailable(f"the LLM can't be reached ({type(error).__name__})") from None
        if not 200 <= status < 300:
            raise Unavailable(f"the LLM answers with status {status}")

    async def close(self) -> None:
        """Close the connections to it."""
        await self._client.aclose()
