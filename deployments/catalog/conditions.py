"""Conditions of `where` as SQL expressions over a file f of the catalogue's tables."""

from collections.abc import Sequence
from typing import Any

from cluster.filters.conditions import Alternative, Detected, Fact, parse

Sql = tuple[str, list[Any]]  # an expression, and the values of its question marks

# a fact without a number, by its field; ? is its value
_TEXTS = {
    "kind": "f.kind = ?",
    "name": "contains(lower(f.name), lower(?))",
    "under": "starts_with(f.uri, ?)",
    "job": "f.asset in (select asset from scans where job = ?)",
    "error": "exists (select 1 from (select unnest(f.errors) as e) where contains(lower(e.reason), lower(?)))",
}
_NUMBERS = {"width": "f.width", "height": "f.height", "duration": "f.duration_s", "scanned": "f.analyzed_at"}


def applies(text: str) -> Sql:
    """The expression that is true for the files to which a condition applies, else false, and never null."""
    return joined([_alternative(each) for each in parse(text)], " or ")


def detections(found: Detected) -> Sql:
    """The expression on rows of `best`, or of `detections`, that a detection passes; "true" if any does."""
    parts: list[Sql] = []
    if found.detector:
        parts.append(("detector = ?", [found.detector]))
    if found.label:
        parts.append(("label = ?", [found.label]))
    if found.least is not None:
        parts.append(("score >= ?::float", [found.least]))  # scores are stored in single precision
    if found.most is not None:
        parts.append(("score <= ?::float", [found.most]))
    if found.words is not None:
        parts.append(("contains(lower(text), ?)", [found.words]))
    return joined(parts, " and ")


def joined(parts: Sequence[Sql], by: str) -> Sql:
    """The expressions in brackets, joined by " and " or " or "; "true" if there are none."""
    return f"({by.join(part for part, _ in parts)})" if parts else "true", [one for _, own in parts for one in own]


def _alternative(alternative: Alternative) -> Sql:
    of = alternative.of
    expression, values = _detected(of) if isinstance(of, Detected) else _fact(of)
    return f"not {expression}" if alternative.negated else expression, values


def _detected(found: Detected) -> Sql:
    expression, values = detections(found)
    table = "best" if found.words is None else "detections"
    if table == "best" and not found.label and found.most is None:  # the best label decides: place, see merge.py
        expression = f"place < {2 if found.detector else 1} and {expression}"
    return f"f.asset in (select asset from {table} where {expression})", values


def _fact(fact: Fact) -> Sql:
    if fact.field == "bytes":  # all rows of one content have the same size
        of_content = f"select asset, content from scans where size {fact.operator} ?"
        return f"(f.asset, f.content) in ({of_content})", [fact.value]
    if fact.field in _TEXTS:
        return f"coalesce({_TEXTS[fact.field]}, false)", [fact.value]
    return f"coalesce({_NUMBERS[fact.field]} {fact.operator} ?, false)", [fact.value]
