"""Records spans through OpenTelemetry's SDK, and sends them by OTLP over HTTP."""

import logging
import os
import socket
from contextvars import ContextVar
from typing import Any

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import Status, StatusCode
from opentelemetry.trace.propagation import set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from cluster.traces import spans
from cluster.traces.spans import Span

SEND_EVERY_MS = 1000  # a process that is killed loses what it has not sent yet
SEND_S = 3.0  # for a request to the collector and its repetitions; then its spans are lost
MOST_SPANS = 2048  # that wait, and that one request has: the end of a process waits for one request

_PROPAGATOR = TraceContextTextMapPropagator()
_ID: ContextVar[str | None] = ContextVar("id", default=None)  # of the request or job whose trace begins


def otlp(endpoint: str) -> SpanProcessor:
    """Sends spans to a collector, in the background. Only the end of the process waits for it, about SEND_S."""
    logging.getLogger("opentelemetry.exporter.otlp").setLevel(logging.ERROR)  # a line a loss, not one for each try
    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=SEND_S)
    return BatchSpanProcessor(exporter, MOST_SPANS, SEND_EVERY_MS, MOST_SPANS)


class _Ids(RandomIdGenerator):
    """Numbers a trace by the id of its request or job, so that all drivers of a job add to the same one."""

    def generate_trace_id(self) -> int:
        id = _ID.get()
        return super().generate_trace_id() if id is None else int(spans.trace_id(id), 16)


class SdkRecorder:
    """Records spans, as `spans.Recorder`; a context is an OpenTelemetry span.

    Its provider is its own. With a global one, libraries such as FastAPI would send spans of theirs, with URLs.
    """

    def __init__(self, processor: SpanProcessor, part: str) -> None:
        facts: dict[str, str | int] = {
            "service.name": f"raysift-{part}",
            "service.namespace": "raysift",
            "host.name": socket.gethostname(),
            "process.pid": os.getpid(),
        }
        provider = TracerProvider(resource=Resource.create(facts), id_generator=_Ids())
        provider.add_span_processor(processor)
        self._tracer = provider.get_tracer("raysift")

    def begin(self, name: str, parent: Any, id: str | None, began_s: float | None = None) -> Any:
        """A new span. One whose parent is no valid `traceparent` begins a trace."""
        if isinstance(parent, str):
            within = _PROPAGATOR.extract({"traceparent": parent}, Context())
        else:
            within = Context() if parent is None else set_span_in_context(parent, Context())
        before = _ID.set(id or None)
        try:
            return self._tracer.start_span(name, within, start_time=_nanoseconds(began_s))
        finally:
            _ID.reset(before)

    def end(self, context: Any, span: Span, ended_s: float | None = None) -> None:
        """End a span, with the name and attributes that it has now."""
        context.update_name(span.name)
        context.set_attributes(span.attributes)
        if span.error is not None:
            context.set_status(Status(StatusCode.ERROR, span.error))
        context.end(_nanoseconds(ended_s))

    def carried(self, context: Any) -> str:
        """The `traceparent` of a span."""
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier, set_span_in_context(context))
        return carrier["traceparent"]


def _nanoseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1e6) * 1000  # a float of today's time has no nanoseconds
