"""Memory that the C library keeps for a process after it was freed."""

import ctypes

IDLE_S = 5.0  # without work, after which a process gives it back: then it is filled again by page faults


def give_back() -> None:
    """Return freed memory of glibc's heap to the system; other C libraries return it by themselves."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
