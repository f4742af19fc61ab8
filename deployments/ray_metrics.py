"""Sends the declared metrics of a process to Ray, whose agent on each node exports them for Prometheus."""

from typing import Any

import ray
from ray.util import metrics

from cluster.metrics import recording
from cluster.metrics.declared import EVENTS, OUT_OF_MEMORY, Metric

MEMORY = "out of memory: "  # begins the names of such events, see models/runtime.py
HALVED = MEMORY + "batch halved"


class RaySink:
    """Records values in Ray's metrics, each of which is made at its first value."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def __call__(self, metric: Metric, value: float, labels: dict[str, str]) -> None:
        """Record one value, as recording.Sink."""
        made = self._made.get(metric.name) or self._made.setdefault(metric.name, _made(metric))
        if metric.kind == "counter":
            made.inc(value, labels)
        elif metric.kind == "gauge":
            made.set(value, labels)
        else:
            made.observe(value, labels)
            if metric.total and value > 0:
                self(metric.total, value, labels)


def _made(metric: Metric) -> Any:
    if metric.kind == "histogram":
        return metrics.Histogram(metric.name, metric.help, list(metric.buckets), metric.labels)
    kind = metrics.Counter if metric.kind == "counter" else metrics.Gauge
    return kind(metric.name, metric.help, metric.labels)


_SINK = RaySink()  # metrics are made once a process


def report() -> None:
    """Send this process's metrics to Ray from now on, if it belongs to a cluster."""
    if ray.is_initialized():
        recording.use(_SINK)


def report_event(event: str, by: int) -> None:
    """Record an event of a replica, as a listener of `events`."""
    if event.startswith(MEMORY):
        recording.record(OUT_OF_MEMORY, by, outcome="halved" if event == HALVED else "failed")
    else:
        recording.record(EVENTS, by, event=event)
