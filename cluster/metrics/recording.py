"""Records values of declared metrics. A process without a sink, such as a command or a test, records nothing."""

import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from cluster.metrics.declared import Metric

Sink = Callable[[Metric, float, dict[str, str]], None]

T = TypeVar("T")
_SINKS: list[Sink] = []


def use(sink: Sink | None) -> None:
    """Send every value of this process there from now on; None: nowhere."""
    _SINKS[:] = [] if sink is None else [sink]


def record(metric: Metric, value: float, **labels: str) -> None:
    """Add to a counter, observe in a histogram or set a gauge. A counter's value of 0 changes nothing.

    ValueError if the labels are not those that the metric declares.
    """
    if not _SINKS or (metric.kind == "counter" and not value):
        return
    if labels.keys() != {*metric.labels}:
        raise ValueError(f"{metric.name} has the labels {metric.labels}, not {tuple(labels)}")
    _SINKS[0](metric, float(value), labels)


@contextmanager
def timed(metric: Metric, **labels: str) -> Iterator[dict[str, str]]:
    """Observe the seconds that the block takes, also if it raises. It may change the labels that are yielded."""
    began = time.monotonic()
    try:
        yield labels
    finally:
        record(metric, time.monotonic() - began, **labels)


@contextmanager
def outcome_of(metric: Metric, good: str = "done", **labels: str) -> Iterator[None]:
    """As `timed`, with the label outcome: `good`, or "failed" if the block raises."""
    with timed(metric, outcome="failed", **labels) as known:
        yield
        known["outcome"] = good


async def timing(metric: Metric, work: Awaitable[T], **labels: str) -> T:
    """The result of `work`, whose seconds are observed."""
    with timed(metric, **labels):
        return await work
