"""Words for a container's row: what is in it, and what of it was not looked at."""

from collections import Counter
from collections.abc import Iterable, Mapping

STEP = "members"  # of failures that say what in a container was not looked at; the container itself was analysed


def too_deep(depth: int) -> str:
    """Why a container that lies in so many others is not opened."""
    return f"it lies in {depth} containers, the most that are opened: nothing in it was seen"


def not_seen(names: list[str], problem: str) -> str:
    """That these members were not looked at, and why."""
    if len(names) == 1:
        return f"{names[0]} in it was not looked at: {problem}"
    return f"{len(names):,} files in it were not looked at, for example {names[0]}: {problem}"


def contents(kinds: Iterable[str], others: Mapping[str, int]) -> str | None:
    """What a container holds: the kinds of its members, and others by suffix; None if that is nothing."""
    parts = [f"{count:,} {kind}" for kind, count in sorted(Counter(kinds).items())]
    parts += [f"{count:,} {suffix or 'without a suffix'} (no media)" for suffix, count in sorted(others.items())]
    return ", ".join(parts) or None
