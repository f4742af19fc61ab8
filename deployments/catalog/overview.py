"""An overview of the files that pass a query's filters: counts, histograms, and failures grouped by their reasons."""

from collections.abc import Iterable
from typing import Any

from cluster.access.identity import Prefixes
from cluster.cases.overview import BINS, TOP_LABELS, OverviewQuery
from deployments.catalog import failures
from deployments.catalog import queries as sql
from deployments.catalog.database import Ask
from deployments.catalog.shapes import Json

# Temporary tables of the snapshot's cursor, so that the filters run once, and once over all rows of `best`.
_CHOSEN = """create temp table chosen as
    select f.asset, f.id, f.kind, f.analyzed_at::date as day, f.errors, {failed} as failed {source}"""

# files: with that label and score; best: whose best score of the detector this is; reached: of these, from the score on
_FOUND = f"""create temp table found as
    select detector, label, least(floor(score * {BINS}), {BINS - 1})::integer as bin,
        count(*) filter (score >= ?::float) as files, count(*) filter (place < 2) as best,
        count(*) filter (place < 2 and score >= ?::float) as reached from best {{chosen}} group by all"""

_FILES = "select kind, failed, day, count(*) as n from chosen group by all"

_LABELS = f"""with labels as (
        select detector, label, sum(files)::bigint as files from found where files > 0 group by all)
    select detector, label, files, count(*) over (partition by detector) as labels from labels
    qualify row_number() over (partition by detector order by files desc, label) <= {TOP_LABELS}
    order by detector, files desc, label"""

_SCORES = """select detector, bin, sum(best)::bigint as files, sum(reached)::bigint as reached from found
    where best > 0 group by all"""


def overview(ask: Ask, query: OverviewQuery, within: Prefixes) -> Json:
    """Summarize the files that pass the query's filters, of those that the prefixes contain.

    A score is stored in single precision: a bin is from its lower bound on, except the last, which has 1.0 too.
    """
    source, values = sql.selection(query, within)
    failed, of_failed = sql.has_failed(query)
    ask(_CHOSEN.format(failed=failed, source=source), [*of_failed, *values])
    chosen = (
        "semi join chosen using (asset)" if source != sql.EVERY_FILE else ""
    )  # without a filter no file is looked up
    ask(_FOUND.format(chosen=chosen), [query.least_score] * 2)
    files = ask(_FILES)
    failed_on = _summed((row["day"], row["n"]) for row in files if row["failed"])
    shown, others = failures.grouped(ask, "select id, errors from chosen", [])
    return {
        "total": sum(row["n"] for row in files),
        "failed": sum(row["n"] for row in files if row["failed"]),
        "kinds": _summed((row["kind"], row["n"]) for row in files if row["kind"]),
        "detectors": _detectors(ask(_LABELS), ask(_SCORES)),
        "days": [
            {"day": day, "files": n, "failed": failed_on.get(day, 0)}
            for day, n in _summed((row["day"], row["n"]) for row in files).items()
        ],
        "failures": shown,
        "other_failures": others,
    }


def _summed(pairs: Iterable[tuple[Any, int]]) -> dict[Any, int]:
    """The sum of the numbers of each key, by key."""
    sums: dict[Any, int] = {}
    for key, number in pairs:
        sums[key] = sums.get(key, 0) + number
    return dict(sorted(sums.items()))


def _detectors(labels: list[Json], scores: list[Json]) -> list[Json]:
    """The findings of each detector that has any, from the rows of _LABELS and _SCORES."""
    found: dict[str, Json] = {
        name: {"detector": name, "files": 0, "labels": 0, "top_labels": [], "scores": [0] * BINS}
        for name in sorted({row["detector"] for row in scores})
    }
    for row in scores:
        found[row["detector"]]["scores"][row["bin"]] += row["files"]
        found[row["detector"]]["files"] += row["reached"]
    for row in labels:
        found[row["detector"]]["labels"] = row["labels"]
        found[row["detector"]]["top_labels"].append({"label": row["label"], "files": row["files"]})
    return list(found.values())
