"""Structured logs: one JSON object a line, on standard error."""

import io
import logging
import sys
import traceback
from contextlib import suppress
from typing import BinaryIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger


def configure_logging(level: str) -> None:
    """Log at a level and above, ours and the libraries' alike."""
    shared: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _describe_exception,
    ]
    # Past the standard library, whose records take longer to make than the line.
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=_Lines,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(_Stream())
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
    # Its access log would hold paths with ids; ours is in middleware/request_log.py.
    logging.getLogger("uvicorn.access").disabled = True
    # So would its lines on each WebSocket, and at debug level what is said in them.
    uvicorn_log = logging.getLogger("uvicorn.error")
    uvicorn_log.setLevel(max(logging.INFO, logging.getLevelNamesMapping()[level.upper()]))
    uvicorn_log.addFilter(_tells_no_path)
    # Theirs would hold the URLs of services that are asked, and a URL may hold a password; those of
    # the LLM's client, by itself or by its httpx2, at debug level also what it is asked.
    for name in ("httpx", "httpcore", "httpx2", "httpcore2", "openai", "urllib3"):
        logging.getLogger(name).setLevel(logging.WARNING)


class _Stream:
    """Standard error; where it can't be written to, that must not stop the server."""

    def __init__(self) -> None:
        # Without a buffer: what could not be written would be tried again at the end, and fail it.
        self._raw: BinaryIO | io.RawIOBase
        try:
            self._raw = io.FileIO(sys.stderr.fileno(), "w", closefd=False)
        except io.UnsupportedOperation:  # something in memory stands for it
            self._raw = sys.stderr.buffer

    def write(self, text: str) -> None:
        """Write a text, or lose it: to a full disk, a closed pipe or terminal."""
        with suppress(OSError, ValueError):
            self._raw.write(text.encode())

    def flush(self) -> None:
        """Nothing is kept back."""


class _Lines:
    """What structlog writes lines by."""

    def __init__(self, *_: object) -> None:
        self._stream = _Stream()

    def msg(self, message: str) -> None:
        """Write a line."""
        self._stream.write(f"{message}\n")

    debug = info = warning = error = critical = msg


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
