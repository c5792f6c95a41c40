"""Structured logs: one JSON object a line, on standard error."""

import asyncio
import io
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import BinaryIO, Literal, Protocol

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

_log = structlog.get_logger()

_MOST_HELD = 12
"""Lines of requests that are written together: a pipe takes 4,096 bytes whole, and they have some
230, 330 at the most."""


class RequestLog(Protocol):
    """What is told of each request, by `request_log`."""

    def __call__(
        self,
        level: Literal["debug", "info"],
        *,
        request_id: str,
        method: str,
        route: str | None,
        key: str | None,
        status: int,
        ms: float,
    ) -> None:
        """Log a request that was answered."""


def configure_logging(level: str) -> None:
    """Log at a level and above, ours and the libraries' alike."""
    least = logging.getLevelNamesMapping()[level.upper()]
    output = _Output()
    shared: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _describe_exception,
    ]
    # Past the standard library, whose records take longer to make than the line.
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=_Lines(output, least),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(output)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # Its access log would hold paths with ids; ours is in middleware/request_report.py.
    logging.getLogger("uvicorn.access").disabled = True
    # So would its lines on each WebSocket, and at debug level what is said in them.
    uvicorn_log = logging.getLogger("uvicorn.error")
    uvicorn_log.setLevel(max(logging.INFO, least))
    uvicorn_log.addFilter(_tells_no_path)
    # Theirs would hold the URLs of services that are asked, and a URL may hold a password; those of
    # the LLM's client, by itself or by its httpx2, at debug level also what it is asked.
    for name in ("httpx", "httpcore", "httpx2", "httpcore2", "openai", "urllib3"):
        logging.getLogger(name).setLevel(logging.WARNING)


def request_log() -> RequestLog:
    """What logs requests: lines in a way of their own, or, where not configured, structlog."""
    lines = structlog.get_config()["logger_factory"]
    return lines.request if isinstance(lines, _Lines) else _log_request


def _log_request(level: Literal["debug", "info"], **fields: object) -> None:
    (_log.debug if level == "debug" else _log.info)("request", **fields)


class _Output:
    """Standard error; where it can't be written to, that must not stop the server."""

    def __init__(self) -> None:
        # Without a buffer: what could not be written would be tried again at the end, and fail it.
        self._raw: BinaryIO | io.RawIOBase
        try:
            self._raw = io.FileIO(sys.stderr.fileno(), "w", closefd=False)
        except io.UnsupportedOperation:  # something in memory stands for it
            self._raw = sys.stderr.buffer
        self._held: list[Callable[[], str]] = []
        # One that its thread can take again: wherever memory is allocated the garbage collector may
        # run, and find a task that failed unseen, which is logged.
        self._lock = threading.RLock()

    def write(self, text: str) -> None:
        """Write a text, or lose it: to a full disk, a closed pipe or terminal."""
        with self._lock:
            self._write(self._take() + text)

    def hold(self, make: Callable[[], str]) -> None:
        """Make and write a text before any other, and when the event loop goes on at the latest."""
        with self._lock:
            self._held.append(make)
            held = len(self._held)
            if held == _MOST_HELD:
                self._write(self._take())
        if held == 1:
            asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        """Write what is held; the standard library's handler does it at the process's end too."""
        with self._lock:
            self._write(self._take())

    def _take(self) -> str:
        held, self._held = self._held, []
        return "".join([make() for make in held])

    def _write(self, text: str) -> None:
        if text:
            with suppress(OSError, ValueError):
                self._raw.write(text.encode())


class _Lines:
    """Makes what structlog writes lines by, and writes the lines of requests."""

    def __init__(self, output: _Output, least: int) -> None:
        self._output = output
        self._tells_debug = least <= logging.DEBUG
        self._tells_info = least <= logging.INFO
        self._second = 0
        self._date = ""

    def __call__(self, *_: object) -> "_Lines":
        """What structlog asks for."""
        return self

    def msg(self, message: str) -> None:
        """Write a line."""
        self._output.write(f"{message}\n")

    debug = info = warning = error = critical = msg

    def request(
        self,
        level: Literal["debug", "info"],
        *,
        request_id: str,
        method: str,
        route: str | None,
        key: str | None,
        status: int,
        ms: float,
    ) -> None:
        """Write the line that structlog would, in a tenth of the time: one is written all the time.

        Texts go into it as they are: none of them has a character that JSON would escape.
        """
        if self._tells_info if level == "info" else self._tells_debug:
            now = time.time_ns()
            make = partial(self._line, level, request_id, method, route, key, status, ms, now)
            self._output.hold(make)

    def _line(
        self,
        level: str,
        request_id: str,
        method: str,
        route: str | None,
        key: str | None,
        status: int,
        ms: float,
        now: int,
    ) -> str:
        second, rest = divmod(now, 1_000_000_000)
        if second != self._second:
            self._second = second
            self._date = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return (
            f'{{"request_id": "{request_id}", "method": "{method}", "route": {_quoted(route)}, '
            f'"key": {_quoted(key)}, "status": {status}, "ms": {ms}, "event": "request", '
            f'"level": "{level}", "timestamp": "{self._date}.{rest // 1_000:06}Z"}}\n'
        )


def _quoted(text: str | None) -> str:
    return "null" if text is None else f'"{text}"'


def _tells_no_path(record: logging.LogRecord) -> bool:
    return not (isinstance(record.msg, str) and record.msg.startswith('%s - "WebSocket %s"'))


def _describe_exception(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Where an exception came from and what kind it is: its text may quote somebody's memory."""
    info = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    error = info[1] if isinstance(info, tuple) else info
    if isinstance(error, BaseException):
        event["exception"] = "\n".join(_description(one) for one in _chain(error))
    return event


def _chain(error: BaseException | None) -> list[BaseException]:
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return chain


def _description(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    where = [f"  {frame.filename}:{frame.lineno} in {frame.name}" for frame in frames]
    return "\n".join([f"{type(error).__module__}.{type(error).__qualname__}", *where])
