"""Which of a chat API's options a model takes, as learnt from what it refuses."""

import re
from dataclasses import dataclass, replace
from typing import Any, Literal

from .prompt import SCHEMA, Prompt

_FORMATS: dict[str, dict[str, Any] | None] = {
    "json_schema": {
        "type": "json_schema",
        "json_schema": {"name": "facts", "strict": True, "schema": SCHEMA},
    },
    "json_object": {"type": "json_object"},
    "none": None,
}
_WEAKER: dict[str, Literal["json_object", "none"]] = {
    "json_schema": "json_object",
    "json_object": "none",
}
_NOT_OF_OPTIONS = frozenset({"context_length_exceeded", "model_not_found", "invalid_api_key"})
_NO_SYSTEM = re.compile(r"\brole\b.*\bsystem\b|\bsystem role\b", re.IGNORECASE)
_TOO_LONG = re.compile(r"context[ _](?:length|size|window)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Dialect:
    """The options of a request.

    Attributes:
        format: what is asked of the form of the answer; the prompt asks for the same.
        tokens: the name of the bound on the answer's tokens. Of both, ``max_tokens`` comes first:
            models that don't take it say so, and servers that don't know the other ignore it.
        is_cold: whether temperature 0 is asked for.
        has_system: whether it knows the role ``system``; else the user says all.
    """

    format: Literal["json_schema", "json_object", "none"] = "json_schema"
    tokens: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    is_cold: bool = True
    has_system: bool = True

    def options(self, max_tokens: int) -> dict[str, Any]:
        """The same as fields of a request."""
        options: dict[str, Any] = {self.tokens: max_tokens}
        if self.is_cold:
            options["temperature"] = 0
        if (format := _FORMATS[self.format]) is not None:
            options["response_format"] = format
        return options

    def messages(self, prompt: Prompt) -> Prompt:
        """A prompt in the roles that there are."""
        if self.has_system:
            return prompt
        system, user, *rest = prompt
        content = f"{system['content']}\n\n{user['content']}"
        return [{"role": "user", "content": content}, *rest]

    def weaker(self, refusal: str, code: str | None) -> "Dialect | None":
        """What to ask instead, after a request was refused; None where nothing is left to change.

        A refusal that names none of the options is taken for one of the format, which fewest know.
        """
        if code in _NOT_OF_OPTIONS or _TOO_LONG.search(refusal):
            return None
        if re.search(rf"\b{self.tokens}\b", refusal):
            return self._with_other_tokens()
        if self.is_cold and "temperature" in refusal:
            return replace(self, is_cold=False)
        if self.has_system and _NO_SYSTEM.search(refusal):
            return replace(self, has_system=False)
        if (format := _WEAKER.get(self.format)) is not None:
            return replace(self, format=format)
        return None

    def _with_other_tokens(self) -> "Dialect | None":
        # Back again would be to where it came from: then it is the number that doesn't suit.
        if self.tokens == "max_tokens":
            return replace(self, tokens="max_completion_tokens")
        return None
