"""What the async and the sync client have in common, none of it I/O.

A call is built from its row in `endpoints`, sent by the client, and its answer parsed or raised
here. What is tried again, where and when, is decided in `_retries`.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from itertools import islice
from typing import Any, Protocol, TypeAlias, TypeVar
from urllib.parse import quote, urlencode

import httpx
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from ._settings import Settings
from ._unset import Unset
from .endpoints import AnswerT, Endpoint
from .errors import (
    AgentMemError,
    APIError,
    ConnectionFailed,
    InvalidRequest,
    InvalidResponse,
    RequestTimedOut,
    error_class,
)
from .filters import Filter
from .models import MAX_IDS, ErrorAnswer, Memory, Name, Request

__version__ = version("agentmem-client")
"""The version of this package."""

RequestT = TypeVar("RequestT", bound=Request)


class SupportsToList(Protocol):
    """A numpy array, or what gives its numbers the same way."""

    def tolist(self) -> Any:
        """The numbers."""


Vector: TypeAlias = Sequence[float] | bytes | str | SupportsToList
"""Numbers, a numpy array, or little-endian float32 as bytes or as base64 text."""
Filters: TypeAlias = Mapping[str, Any] | Filter
"""A filter as JSON, or built with `F`."""

_NAME: TypeAdapter[str] = TypeAdapter(Name, config=ConfigDict(strict=True))


def given(**fields: object) -> dict[str, object]:
    """The fields that the caller gave a value; None is none."""
    return {name: value for name, value in fields.items() if value is not None}


def given_list(values: object) -> Any:
    """Several values as the list that a request has; what is not several is left to be refused."""
    if isinstance(values, Iterable) and not isinstance(values, str | bytes):
        return list(values)
    return values


def changed(**fields: object) -> dict[str, object]:
    """The fields that the caller wants changed; None is a change."""
    return {name: value for name, value in fields.items() if not isinstance(value, Unset)}


def make(model: type[RequestT], fields: Mapping[str, object]) -> RequestT:
    """A checked request.

    Raises:
        InvalidRequest: when a field is unknown or not what it must be.
    """
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        # Not chained: pydantic's text quotes the values, which are none of a log's business.
        raise invalid_request(error) from None


def invalid_request(error: ValidationError) -> InvalidRequest:
    """A caller's mistake as our error, with each field's problem."""
    problems = _problems(error)
    texts = [f"{problem['field']}: {problem['message']}" for problem in problems[:3]]
    if len(problems) > 3:
        texts.append(f"and {len(problems) - 3} more")
    return InvalidRequest("; ".join(texts), details={"errors": problems})


def _problems(error: ValidationError) -> list[dict[str, str]]:
    return [
        {
            "field": ".".join(str(part) for part in problem["loc"]) or "(all)",
            "message": problem["msg"].removeprefix("Value error, "),
        }
        for problem in error.errors(include_url=False, include_input=False, include_context=False)
    ]


def to_json(body: Request) -> bytes:
    """The fields that were given, as they travel.

    Raises:
        InvalidRequest: when there is text in it that JSON can't carry.
    """
    try:
        return body.model_dump_json(exclude_unset=True).encode()
    except PydanticSerializationError as error:
        raise InvalidRequest(f"the request can't be written as JSON: {error}") from None


def build_request(
    http: httpx.AsyncClient | httpx.Client,
    settings: Settings,
    endpoint: Endpoint[Any],
    segments: Mapping[str, str],
    query: Request | None,
    content: bytes | None,
    headers: Mapping[str, str],
    read_timeout: float,
    address: str,
) -> httpx.Request:
    """The HTTP request of a call to one server, with its own headers before those that all have.

    ``read_timeout`` is how long each piece of its answer may take.

    Raises:
        InvalidRequest: when a segment is no possible id or name, or the URL gets too long.
    """
    path = endpoint.url(**{key: _segment(key, segments[key]) for key in segments})
    url = address + path
    if query is not None and (text := _query_string(query)):
        url = f"{url}?{text}"
    all_headers = {
        "Accept": "application/json",
        # Answers are small or full of vectors, which don't shrink: not worth the server's time.
        "Accept-Encoding": "identity",
        "User-Agent": f"agentmem-client/{__version__} httpx/{httpx.__version__}",
    }
    if settings.api_key is not None:
        all_headers["X-API-Key"] = settings.api_key.get_secret_value()
    if content is not None:
        all_headers["Content-Type"] = "application/json"
    all_headers.update(headers)
    try:
        timeout = httpx.Timeout(settings.timeout, read=read_timeout)
        return http.build_request(
            endpoint.method, url, content=content, headers=all_headers, timeout=timeout
        )
    except httpx.InvalidURL as error:
        raise InvalidRequest(
            f"the filters don't fit into a URL: {error}; list with fewer conditions, and choose "
            f"among the answers"
        ) from None


def _segment(key: str, text: str) -> str:
    try:
        return _NAME.validate_python(text)
    except ValidationError as error:
        raise _invalid(key, _problems(error)[0]["message"]) from None


def _invalid(field: str, problem: str) -> InvalidRequest:
    errors = [{"field": field, "message": problem}]
    return InvalidRequest(f"{field}: {problem}", details={"errors": errors})


def if_match(version: int | None, *, idempotency_key: str | None = None) -> dict[str, str]:
    """The headers that hold a change to one version of a memory; none for None.

    With a key, the change is known again when its answer is lost and it is sent once more.

    Raises:
        InvalidRequest: when it can't be a version.
    """
    if version is None:
        return {}
    if type(version) is not int or version < 1:
        raise _invalid("if_version", "must be the version of a memory, a whole number from 1 on")
    headers = {"If-Match": f'"{version}"'}
    if idempotency_key is not None:
        headers["Idempotency-Key"] = idempotency_key
    return headers


def _query_string(query: Request) -> str:
    def text(value: object) -> str:
        return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))

    try:
        fields = query.model_dump(mode="json", exclude_unset=True)
        pairs = [(name, text(value)) for name, value in fields.items() if value is not None]
        return urlencode(pairs, quote_via=quote)
    except (PydanticSerializationError, UnicodeEncodeError) as error:
        raise InvalidRequest(f"the request can't be written as a URL: {error}") from None


def read_answer(endpoint: Endpoint[AnswerT], response: httpx.Response) -> AnswerT:
    """The answer in a response.

    Raises:
        APIError: the one that the server answered.
        InvalidResponse: when it is not an AgentMem server that answered.
    """
    if response.is_success or response.status_code in endpoint.also:
        try:
            return endpoint.read(response.content)
        except ValidationError as error:
            if response.is_success:
                problem = _problems(error)[0]
                raise InvalidResponse(
                    f"{_described(response)} is not an answer to {endpoint.name}: "
                    f"{problem['field']}: {problem['message']}; is api_url right?"
                ) from None
    raise read_error(response)


def read_error(response: httpx.Response) -> APIError | InvalidResponse:
    """The error in a response that is not a good answer."""
    status = response.status_code
    if status < 400:
        return InvalidResponse(f"{_described(response)} redirects elsewhere; is api_url right?")
    request_id = response.headers.get("X-Request-ID")
    retry_after = parse_retry_after(response.headers.get("Retry-After"))
    try:
        answer = ErrorAnswer.model_validate_json(response.content)
    except ValidationError:
        # The body is not quoted: whoever made it may have echoed the key.
        return error_class(None, status)(
            f"{_described(response)} is not AgentMem's: a proxy in between, or another server?",
            details={"status": status},
            request_id=request_id,
            retry_after=retry_after,
        )
    error = answer.error
    return error_class(error.code, status)(
        error.message,
        details=error.details,
        request_id=answer.request_id or request_id,
        retry_after=retry_after,
    )


def _described(response: httpx.Response) -> str:
    kind = response.headers.get("Content-Type", "no content type").partition(";")[0]
    host = response.request.url.netloc.decode()
    return f"HTTP {response.status_code} from {host} ({kind}, {len(response.content)} bytes)"


def parse_retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Seconds in a Retry-After header, which has seconds or a date; None where it has neither."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            date = parsedate_to_datetime(value)
        except ValueError:
            return None
        # A date with the zone "-0000" comes without one, and means UTC.
        date = date if date.tzinfo else date.replace(tzinfo=UTC)
        return max(0.0, (date - (now or datetime.now(UTC))).total_seconds())
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def transport_error(error: httpx.HTTPError, request: httpx.Request) -> AgentMemError:
    """Our error for a failure below HTTP."""
    host = request.url.netloc.decode()
    reason = str(error) or type(error).__name__
    match error:
        case httpx.TimeoutException():
            return RequestTimedOut(f"{host} did not answer in time: {type(error).__name__}")
        case httpx.DecodingError():
            return InvalidResponse(f"the answer of {host} can't be decoded: {reason}")
        case httpx.UnsupportedProtocol() | httpx.LocalProtocolError():
            return AgentMemError(f"the request to {host} can't be sent: {reason}")
        case _:
            return ConnectionFailed(f"no answer from {host}: {reason}")


def ids_of(memories: Iterable[Memory]) -> list[str]:
    """Their ids, in order."""
    return [memory.id for memory in memories]


def changed_ones(
    found: Sequence[Memory], changed_now: Iterable[Memory], tries: int
) -> list[Memory]:
    """Those of the memories found that a request then changed.

    Where it took several tries, one whose answer was lost may have changed them all.
    """
    if tries > 1:
        return list(found)
    ids = {memory.id for memory in changed_now}
    return [memory for memory in found if memory.id in ids]


def id_parts(ids: Iterable[str]) -> Iterator[list[str]]:
    """The ids in as many lists as there must be requests.

    Raises:
        InvalidRequest: when it is one string, whose characters nobody means.
    """
    if isinstance(ids, str):
        raise InvalidRequest(f"ids must be several ids, such as [{ids!r}]")
    remaining = iter(ids)
    while part := list(islice(remaining, MAX_IDS)):
        yield part
