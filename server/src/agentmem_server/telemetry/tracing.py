"""OpenTelemetry traces. Needs the extra ``otel``.

What a span tells is which operation it was and how it went: no content, ids, queries or texts of
errors.
"""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from .. import __version__
from .watch import METHODS


class Tracing:
    """Spans of requests, and of what they wait for."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("agentmem_server", __version__)
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def request(self, headers: Iterable[tuple[bytes, bytes]]) -> Iterator["RequestSpan"]:
        """The span of a request with these headers; part of the caller's trace, where there is one.

        How it went is told by `RequestSpan.answered`.
        """
        carrier = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in headers
            if name in (b"traceparent", b"tracestate")
        }
        with self._tracer.start_as_current_span(
            "request",
            context=self._propagator.extract(carrier),
            kind=SpanKind.SERVER,
            record_exception=False,  # its text may quote somebody's memory
            set_status_on_exception=False,
        ) as span:
            yield RequestSpan(span)

    @contextmanager
    def span(self, name: str) -> Iterator[None]:
        """A span of what the request under way waits for; none where there is no request."""
        if not trace.get_current_span().get_span_context().is_valid:
            yield
            return
        with self._tracer.start_as_current_span(
            name, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield
            except Exception as error:
                span.set_attribute("error.type", type(error).__qualname__)
                span.set_status(StatusCode.ERROR)
                raise

    async def close(self) -> None:
        """Send what is left."""
        await asyncio.to_thread(self._provider.shutdown)


class RequestSpan:
    """A request's span, until it is answered."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def answered(
        self, *, method: str, route: str | None, status: int | None, request_id: str
    ) -> None:
        """How it went: its route's pattern, its status; None where nothing was answered."""
        known = method if method in METHODS else "_OTHER"
        self._span.update_name(f"{known} {route}" if route else known)
        self._span.set_attribute("http.request.method", known)
        self._span.set_attribute("agentmem.request_id", request_id)
        if route:
            self._span.set_attribute("http.route", route)
        if status is not None:
            self._span.set_attribute("http.response.status_code", status)
            if status >= 500:
                self._span.set_attribute("error.type", str(status))
                self._span.set_status(StatusCode.ERROR)


def open_tracing() -> Tracing:
    """Traces that go where OpenTelemetry's own variables (``OTEL_…``) say."""
    resource = Resource.create({SERVICE_VERSION: __version__})
    if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: "agentmem"}))
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Tracing(provider)
