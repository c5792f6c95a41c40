"""An agent that recalls across its threads: LangChain's create_agent on AgentMem.

    python examples/agent.py

In one thread a person says what they like. The server is stopped and started again. In another
thread, where nothing of the first was said, the agent is asked; then somebody else asks it.

Without AGENTMEM_API_URL it runs on a server of its own and a temporary file. With it, that server
is used and not restarted. With OPENAI_MODEL (and OPENAI_BASE_URL, OPENAI_API_KEY) a language model
answers, otherwise a stand-in that knows what memory gives it and nothing else.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from _server import restart, running_server
from _stand_in import answer_from_history, model
from agentmem_client import AgentMemClient, new_id
from agentmem_langchain import AgentMemMiddleware
from langchain.agents import create_agent
from langchain_core.language_models import SimpleChatModel
from langchain_core.messages import BaseMessage
from langgraph.checkpoint.memory import InMemorySaver

QUESTION, WORD = "What do I like?", "sailing"
"""What the agent is asked, and a word that only who remembers can answer with."""


@dataclass
class Person:
    """Whom the agent talks to: the middleware keeps each one's memories apart."""

    user_id: str


class ChatModel(SimpleChatModel):
    """The examples' model, for LangChain. In a program of yours this is, say, `ChatOpenAI`."""

    complete: Callable[[str], str]

    @property
    def _llm_type(self) -> str:
        return "agentmem-example"

    def _call(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> str:
        labels = {"human": "Human: ", "ai": "AI: "}
        lines = [f"{labels.get(message.type, '')}{message.text}" for message in messages]
        return self.complete("\n".join(lines))


def say(agent: Any, person: Person, thread: str, text: str) -> str:
    """One turn, printed."""
    started = time.perf_counter()
    config = {"configurable": {"thread_id": thread}}
    state = agent.invoke({"messages": [("user", text)]}, config, context=person)
    answer = str(state["messages"][-1].text)
    print(f"  {person.user_id.partition('-')[0]}:   {text}")
    print(f"  agent: {answer}   [{milliseconds(started)}]")
    return answer


def milliseconds(started: float) -> str:
    """The time since then."""
    return f"{(time.perf_counter() - started) * 1_000:.0f} ms"


def main() -> bool:
    """The whole story; whether the agent recalled, and kept it from others."""
    ada, ben = (Person(f"{name}-{new_id()}") for name in ("ada", "ben"))
    first, second, third = (new_id() for _ in range(3))
    print(f"The model is {model(answer_from_history).name}.")
    with running_server() as api_url, AgentMemClient.from_env(api_url=api_url) as client:
        memory: AgentMemMiddleware[Person] = AgentMemMiddleware(client=client)
        agent = create_agent(
            ChatModel(complete=model(answer_from_history).complete),
            system_prompt="You are a kind assistant. Answer in one short sentence.",
            middleware=[memory],
            context_schema=Person,
            checkpointer=InMemorySaver(),
        )
        say(agent, ada, first, "I like sailing on cold lakes.")
        if restart(api_url):
            print("The server was stopped and started again.")
        print("In another thread:")
        recalls = WORD in say(agent, ada, second, QUESTION).lower()
        print("And to somebody else:")
        tells = WORD in say(agent, ben, third, QUESTION).lower()
        # On a server of yours nothing is left behind.
        for person in (ada, ben):
            client.delete_all(user_id=person.user_id)
    held = recalls and not tells
    print("It recalls, and tells nobody else." if held else "It did not hold.")
    return held


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
