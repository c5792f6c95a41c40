"""The language model of the examples: the one that the environment names, or a stand-in.

Both are a function from a prompt to an answer, so that an example in any framework can wrap it.
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass

import httpx

OPENAI = "https://api.openai.com/v1"
SECONDS = 120.0


@dataclass(frozen=True)
class Model:
    """A model by its name, and the function that answers a prompt."""

    name: str
    complete: Callable[[str], str]


def model(stand_in: Callable[[str], str]) -> Model:
    """The model to answer with.

    Where OPENAI_MODEL is set, that model of the endpoint at OPENAI_BASE_URL (anything that is
    compatible with OpenAI's; left out, OpenAI itself) is asked, with OPENAI_API_KEY. A key alone
    does not count: it may be there for something else, and asking costs money.
    """
    name = os.environ.get("OPENAI_MODEL", "")
    if not name:
        return Model("a stand-in, not a language model (set OPENAI_MODEL for one)", stand_in)
    url = os.environ.get("OPENAI_BASE_URL") or OPENAI
    return Model(f"{name} at {url}", lambda prompt: _ask(url, name, prompt))


def answer_from_history(prompt: str) -> str:
    """Answer from what the person said earlier in the prompt, and from nothing else.

    Args:
        prompt: of a conversation, with a line ``Human: …`` for each thing said (in a list, with its
            day before it: ``- (2026-05-08) Human: …``), the last one being what to answer to.
    """
    said = r"^(?:- \([\d-]+\) )?Human: (.*)$"
    *earlier, last = re.findall(said, prompt, re.MULTILINE) or [""]
    history = "\n".join(earlier)
    if "?" not in last:
        return "All right."
    if "name" in last and (name := _latest(r"\bmy name is (\w+)", history)):
        return f"Your name is {name}."
    if "like" in last and (liked := _latest(r"\bI (?:like|love) ([^.!?\n]+)", history)):
        return f"You like {liked}."
    return "I don't know: nothing that I was given says it."


def _latest(pattern: str, text: str) -> str | None:
    found: list[str] = re.findall(pattern, text, re.IGNORECASE)
    return found[-1] if found else None


def _ask(url: str, name: str, prompt: str) -> str:
    key = os.environ.get("OPENAI_API_KEY")
    response = httpx.post(
        f"{url.rstrip('/')}/chat/completions",
        headers={"Authorization": f"Bearer {key}"} if key else {},
        json={"model": name, "messages": [{"role": "user", "content": prompt}]},
        timeout=SECONDS,
    )
    response.raise_for_status()
    return str(response.json()["choices"][0]["message"]["content"])
