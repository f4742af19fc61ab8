"""The table of files with a decision, and the SQL conditions on it. reviews/index.py fills it.

A row is a file with a present decision. `owners` and `names` are of the reviewers whose decisions on it hold, the first
one first.
"""

from collections.abc import Sequence
from typing import Any

from cluster.decisions.rules import UNDECIDED

TABLE = """create or replace table decided(
    id uuid, label varchar, tags varchar[], owners varchar[], names varchar[])"""


def has_decision(labels: Sequence[str]) -> tuple[str, list[Any]]:
    """The SQL condition on files f with one of these decisions, or, for UNDECIDED, without any; and its values."""
    chosen = [label for label in labels if label != UNDECIDED]
    condition = "f.id in (select id from decided where label in (select unnest(?::varchar[])))"
    if len(chosen) < len(labels):
        condition = f"({condition} or f.id not in (select id from decided))"
    return condition, [chosen]


def has_tag(tags: Sequence[str]) -> tuple[str, list[Any]]:
    """The SQL condition on files f whose decision has one of these tags; and its values."""
    return "f.id in (select id from decided where list_has_any(tags, ?::varchar[]))", [list(tags)]
