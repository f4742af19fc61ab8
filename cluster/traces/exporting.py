"""Begins to export the spans of a process. OpenTelemetry's SDK is imported only then."""

from cluster.traces import spans
from cluster.traces.settings import Traces


def start(traces: Traces, part: str) -> None:
    """Export this process's spans from now on, if the settings say where to. `part`: api, analysis, driver, ..."""
    if traces.endpoint is None or spans.recorded():
        return
    from cluster.traces import sdk

    spans.use(sdk.SdkRecorder(sdk.otlp(traces.endpoint), part))
