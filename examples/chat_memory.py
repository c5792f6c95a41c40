"""A conversation that outlives its process: LangChain's ConversationChain on AgentMem.

    python examples/chat_memory.py

One process tells its name and what it likes. It ends; the server is stopped and started again.
A second process, which has nothing of the first but the name of the session, is asked for both.

Without AGENTMEM_API_URL it runs on a server of its own and a temporary file. With it, that server
is used and not restarted. With OPENAI_MODEL (and OPENAI_BASE_URL, OPENAI_API_KEY) a language model
answers, otherwise a stand-in that knows what memory gives it and nothing else.
"""

import argparse
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

from _server import restart, running_server
from _stand_in import answer_from_history, model
from agentmem_client import AgentMemClient, new_id
from agentmem_langchain import AgentMemMemory
from langchain_classic.chains import ConversationChain
from langchain_core._api import LangChainDeprecationWarning
from langchain_core.language_models import SimpleChatModel
from langchain_core.messages import BaseMessage

USER = "example-person"
TOLD = ["My name is Ada.", "I like sailing on cold lakes."]
ASKED = {"What is my name?": "Ada", "What do I like?": "sailing"}
"""Each question, and a word that only who remembers can answer with."""


class ChatModel(SimpleChatModel):
    """The examples' model, for LangChain. In a program of yours this is, say, `ChatOpenAI`."""

    complete: Callable[[str], str]

    @property
    def _llm_type(self) -> str:
        return "agentmem-example"

    def _call(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> str:
        return self.complete(str(messages[-1].text))


def conversation(session: str) -> ConversationChain:
    """The chain; the server's address is in AGENTMEM_API_URL."""
    # The chain is one of LangChain's classics, and warns at each start that there are newer ones.
    warnings.filterwarnings("ignore", category=LangChainDeprecationWarning)
    return ConversationChain(
        llm=ChatModel(complete=model(answer_from_history).complete),
        memory=AgentMemMemory(session_id=session, user_id=USER),
    )


def say(chain: ConversationChain, text: str) -> str:
    """One turn of the conversation, printed."""
    started = time.perf_counter()
    answer = str(chain.invoke({"input": text})["response"])
    print(f"  person: {text}")
    print(f"  model:  {answer}   [{milliseconds(started)}]")
    return answer


def tell(session: str) -> bool:
    """The first process."""
    chain = conversation(session)
    for text in TOLD:
        say(chain, text)
    return True


def ask(session: str) -> bool:
    """The second process: whether it still knows, and a session that was told nothing doesn't."""
    chain = conversation(session)
    knows = [word.lower() in say(chain, question).lower() for question, word in ASKED.items()]
    print("  And in a session that was told nothing:")
    stranger = conversation(new_id())
    question, word = next(iter(ASKED.items()))
    guesses = word.lower() in say(stranger, question).lower()
    stranger.memory.clear()
    return all(knows) and not guesses


PHASES = {"tell": tell, "ask": ask}


def run_process(phase: str, session: str, api_url: str) -> bool:
    """Run one phase in a process of its own."""
    command = [sys.executable, __file__, "--phase", phase, "--session", session]
    print(f"A process {phase}s:", flush=True)
    return subprocess.call(command, env={**os.environ, "AGENTMEM_API_URL": api_url}) == 0


def show_remembered(client: AgentMemClient, session: str) -> None:
    """What the server holds of the conversation."""
    started = time.perf_counter()
    memories = list(client.iterate(session_id=session, user_id=USER))
    print(f"Remembered, {len(memories)} messages [read in {milliseconds(started)}]:")
    for memory in memories:
        print(f"  {memory.content}")


def milliseconds(started: float) -> str:
    """The time since then."""
    return f"{(time.perf_counter() - started) * 1_000:.0f} ms"


def main() -> bool:
    """The whole story; whether the memory worked."""
    session = new_id()
    print(f"The model is {model(answer_from_history).name}.")
    with running_server() as api_url, AgentMemClient.from_env(api_url=api_url) as client:
        if not run_process("tell", session, api_url):
            return False
        show_remembered(client, session)
        started = time.perf_counter()
        if restart(api_url):
            print(f"The server was stopped and started again [{milliseconds(started)}].")
        else:
            print(f"{api_url} is not ours to restart: only the process ended.")
        remembers = run_process("ask", session, api_url)
        # On a server of yours nothing is left behind.
        client.delete_all(session_id=session, user_id=USER)
    print("It still knows." if remembers else "It has forgotten.")
    return remembers


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--phase", choices=PHASES, help="run one of the two processes alone")
    parser.add_argument("--session", help="of that process")
    arguments = parser.parse_args()
    if arguments.phase and not arguments.session:
        parser.error("--phase needs --session")
    worked = PHASES[arguments.phase](arguments.session) if arguments.phase else main()
    sys.exit(0 if worked else 1)
