"""Reasons of failures as a filter: those that are ticked are the alternatives of one condition. Pure functions."""

import re
from collections.abc import Sequence

from cluster.filters.conditions import MOST_ALTERNATIVES, Alternative, Condition, Fact, parse, write

LONGEST = 60  # characters of a reason in a URL


def condition(reason: str) -> str:
    """The condition on failures with such a reason: its longest part without what differs, numbers and names."""
    part = max(re.split("[…N]", reason), key=len).strip()[:LONGEST]
    return write([Alternative(Fact("error", "~", part))])


def chosen(where: Sequence[str]) -> tuple[str, ...]:
    """The reasons that are ticked, each as `condition` has it."""
    return tuple(write([each]) for text in where if _is_of_reasons(parse(text)) for each in parse(text))


def without(where: Sequence[str]) -> tuple[str, ...]:
    """The conditions that are not of reasons."""
    return tuple(text for text in where if not _is_of_reasons(parse(text)))


def toggled(where: Sequence[str], reason: str, on: bool) -> tuple[str, ...]:
    """The conditions with this reason ticked, or not."""
    ticked = [*(text for text in chosen(where) if text != reason), *([reason] if on else [])][-MOST_ALTERNATIVES:]
    return (*without(where), *(["|".join(ticked)] if ticked else []))


def _is_of_reasons(condition: Condition) -> bool:
    return all(
        isinstance(each.of, Fact) and each.of.field == "error" and each.of.value and not each.negated
        for each in condition
    )
