"""Counters of events that an operator may want to see: batches halved, passages dropped, models unloaded."""

import threading
from collections import Counter
from collections.abc import Callable

_COUNTS: Counter[str] = Counter()
_LISTENERS: list[Callable[[str, int], None]] = []
_LOCK = threading.Lock()


def count(event: str, by: int = 1) -> None:
    """Add to the counter of an event in this process, such as "whisper: dropped as no speech", and tell listeners."""
    with _LOCK:
        _COUNTS[event] += by
    for listener in _LISTENERS:
        listener(event, by)


def counts() -> dict[str, int]:
    """The counters of this process since its start, by event, sorted."""
    with _LOCK:
        return dict(sorted(_COUNTS.items()))


def listen(listener: Callable[[str, int], None]) -> None:
    """Call `listener` with each further event and its number: a metric of Ray's, for example."""
    _LISTENERS.append(listener)
