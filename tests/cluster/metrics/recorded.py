"""The metrics that a block of code records."""

from collections.abc import Iterator
from contextlib import contextmanager

from cluster.metrics import recording

Value = tuple[str, float, dict[str, str]]  # name of the metric, value, labels


@contextmanager
def recorded() -> Iterator[list[Value]]:
    """Collect the values of this process until the block ends."""
    values: list[Value] = []
    recording.use(lambda metric, value, labels: values.append((metric.name, value, {**labels})))
    try:
        yield values
    finally:
        recording.use(None)
