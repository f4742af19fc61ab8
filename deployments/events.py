"""Events that an operator should be able to count: batches halved, segments dropped, models let go."""

import threading
from collections import Counter
from collections.abc import Callable

_COUNTED: Counter[str] = Counter()
_HEARD_BY: list[Callable[[str, int], None]] = []
_LOCK = threading.Lock()


def count(event: str, by: int = 1) -> None:
    """Note that something happened, so many times, in this process: "whisper: dropped as no speech"."""
    with _LOCK:
        _COUNTED[event] += by
    for hear in _HEARD_BY:
        hear(event, by)


def counts() -> dict[str, int]:
    """What happened in this process since it began, by event, in order of the alphabet."""
    with _LOCK:
        return dict(sorted(_COUNTED.items()))


def listen(hear: Callable[[str, int], None]) -> None:
    """Have every further event told to somebody else too: a metric of Ray's, where there is Ray."""
    _HEARD_BY.append(hear)
