"""The spans that a block of code records, through the SDK as in production, without a collector."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from cluster.traces import spans
from cluster.traces.sdk import SdkRecorder


class Kept:
    """The spans that are over, in the order of their ends."""

    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self._exporter = exporter

    @property
    def spans(self) -> tuple[Any, ...]:
        """OpenTelemetry's own records of them."""
        return self._exporter.get_finished_spans()

    def named(self, name: str) -> Any:
        """The only span of this name."""
        (span,) = (span for span in self.spans if span.name == name)
        return span

    def paths(self) -> set[str]:
        """Each span with those around it: job/batch/decode. All have to be in one trace."""
        by_id = {span.context.span_id: span for span in self.spans}
        assert len({span.context.trace_id for span in self.spans}) <= 1
        return {"/".join(_names(span, by_id)) for span in self.spans}


def _names(span: Any, by_id: dict[int, Any]) -> list[str]:
    around = by_id.get(span.parent.span_id) if span.parent else None
    return [*(_names(around, by_id) if around else []), span.name]


@contextmanager
def kept_spans() -> Iterator[Kept]:
    """Keep the spans of this process until the block ends."""
    exporter = InMemorySpanExporter()
    spans.use(SdkRecorder(SimpleSpanProcessor(exporter), "test"))
    try:
        yield Kept(exporter)
    finally:
        spans.use(None)
