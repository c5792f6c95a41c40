"""An OpenAI-compatible LLM of the tests' own: a real HTTP server, whose answers a test can choose.

Left alone it answers with the facts that messages spell out: each line such as ``FACT: Ann has a
cat.`` or ``FACT episodic: Ann moved.`` is one, and one that several messages spell is one with all
their places. An episodic one happened when its message was said. One such as ``FACT: Ann owns a
cat. (= Ann has a cat.)`` says the same as the latter, where that is known.
"""

import asyncio
import json
import re
import socket
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from threading import Thread
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

START_SECONDS = 30.0
INPUT_TOKENS = 100
OUTPUT_TOKENS = 20
"""What each answer is said to have cost."""

_FACT = re.compile(
    r"^FACT(?: (semantic|episodic|procedural))?: (.+?)(?: \(= (.+)\))?$", re.MULTILINE
)


@dataclass
class Reply:
    """One answer.

    Attributes:
        text: what the model says; left out, the facts that the messages spell out.
        facts: the same as a list that becomes JSON.
        status: of HTTP; one that is no success has an error instead of an answer.
        error: that error.
        finish: why the model ended.
        refusal: what it says in place of an answer.
        latency: seconds before the answer begins.
        body: sent in place of all of that.
        slow: seconds between two bytes of the body.
        drops: whether the connection ends within the body.
        usage: whether it is told what the answer cost.
    """

    text: Any = None
    facts: list[Any] | None = None
    status: int = 200
    error: dict[str, Any] | str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    finish: str = "stop"
    refusal: str | None = None
    latency: float = 0.0
    body: bytes | None = None
    slow: float = 0.0
    drops: bool = False
    usage: bool = True


@dataclass
class LLM:
    """What a test tells the server, and what the server tells a test.

    Attributes:
        url: its API's root.
        replies: the next answers; after them come those to ``answer``.
        answer: makes an answer of a request, where none is set in ``replies``.
        latency: seconds before each answer begins.
        refuses: options that the model doesn't take: names of fields, or of response formats.
        requests: the requests' bodies, in their order.
        keys: what was in their header Authorization.
        times: when they came, in seconds.
        most: how many were being answered at once, at most.
    """

    url: str
    replies: list[Reply] = field(default_factory=list)
    answer: Callable[[dict[str, Any]], Reply] = lambda _: Reply()
    latency: float = 0.0
    refuses: set[str] = field(default_factory=set)
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    now: int = 0
    most: int = 0

    def refusal_of(self, request: dict[str, Any]) -> Reply | None:
        """A 400 that names the first option which the model doesn't take."""
        format = request.get("response_format", {}).get("type")
        for name in [*request, format]:
            if name in self.refuses:
                what = "response_format" if name == format else name
                message = f"Unsupported value: {what!r} does not support this with this model."
                error = {"message": message, "param": what, "code": "unsupported_parameter"}
                return Reply(status=400, error=error)
        return None


class LLMServer:
    """The server, in a thread of its own. A test gets it as ``llm``, forgetting all before."""

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1"
        self.llm = LLM(self.url)
        app = Starlette(
            routes=[
                Route("/v1/models", lambda _: JSONResponse({"object": "list", "data": []})),
                Route("/v1/chat/completions", self._complete, methods=["POST"]),
            ]
        )
        config = uvicorn.Config(app, log_config=None, ws="none", lifespan="off", access_log=False)
        self._server = uvicorn.Server(config)
        self._thread = Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True
        )

    def start(self) -> "LLMServer":
        """Start it, and return when it listens."""
        self._thread.start()
        deadline = time.monotonic() + START_SECONDS
        while not self._server.started:
            if time.monotonic() > deadline:
                raise RuntimeError("the LLM did not start")
            time.sleep(0.005)
        return self

    def stop(self) -> None:
        """End it, and what it is still answering."""
        self._server.force_exit = self._server.should_exit = True
        self._thread.join()
        self._socket.close()

    def forget(self) -> LLM:
        """Begin anew."""
        self.llm = LLM(self.url)
        return self.llm

    async def _complete(self, request: Request) -> Response:
        llm = self.llm
        asked = await request.json()
        llm.requests.append(asked)
        llm.keys.append(request.headers.get("Authorization"))
        llm.times.append(time.monotonic())
        llm.now += 1
        llm.most = max(llm.most, llm.now)
        try:
            reply = llm.refusal_of(asked)
            if reply is None:
                reply = llm.replies.pop(0) if llm.replies else llm.answer(asked)
            await asyncio.sleep(reply.latency or llm.latency)
            return _response(reply, asked)
        finally:
            llm.now -= 1


def spelt_out(request: dict[str, Any]) -> list[dict[str, Any]]:
    """The facts that a request's messages spell out."""
    facts: dict[str, dict[str, Any]] = {}
    given = json.loads(request["messages"][1]["content"])
    known = {memory["content"]: memory["place"] for memory in given["known"]}
    for message in given["messages"]:
        for type, content, other in _FACT.findall(message["content"]):
            fact = {
                "content": content,
                "type": type or "semantic",
                "event_time": message.get("time") if type == "episodic" else None,
                "importance": 0.5,
                "messages": [],
                "known": known.get(content, known.get(other)),
            }
            facts.setdefault(content, fact)["messages"].append(message["place"])
    return list(facts.values())


def _response(reply: Reply, request: dict[str, Any]) -> Response:
    body = _body(reply, request) if reply.body is None else reply.body
    headers = {"Content-Type": "application/json", **reply.headers}
    if reply.drops:
        headers["Content-Length"] = str(len(body) + 100)
    if reply.slow:
        return StreamingResponse(_slowly(body, reply.slow), reply.status, headers)
    if reply.drops:
        return StreamingResponse(_slowly(body, 0.0), reply.status, headers)
    return Response(body, reply.status, headers)


async def _slowly(body: bytes, seconds: float) -> AsyncIterator[bytes]:
    for at in range(len(body)):
        yield body[at : at + 1]
        await asyncio.sleep(seconds)


def _body(reply: Reply, request: dict[str, Any]) -> bytes:
    if reply.status >= 400:
        return json.dumps({"error": reply.error or {"message": "no!"}}).encode()
    text = reply.text
    if text is None and reply.refusal is None:
        facts = spelt_out(request) if reply.facts is None else reply.facts
        text = json.dumps({"facts": facts})
    message = {"role": "assistant", "content": text, "refusal": reply.refusal}
    answer: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": request["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": reply.finish}],
    }
    if reply.usage:
        answer["usage"] = {
            "prompt_tokens": INPUT_TOKENS,
            "completion_tokens": OUTPUT_TOKENS,
            "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
        }
    return json.dumps(answer).encode()
