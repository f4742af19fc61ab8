"""Why files failed: failures grouped by reasons that differ only in numbers, addresses and quoted names."""

from collections.abc import Sequence
from typing import Any

from cluster.results.reasons import alike
from deployments.catalog.database import Ask
from deployments.catalog.shapes import Json

MOST_REASONS = 2000  # different sentences that are grouped, those of most failures
MOST_GROUPS = 30

# numbers are replaced here already, since without them few sentences are different
_FAILURES = f"""with reasons as (
        select id, e.step, regexp_replace(e.reason, '(^|\\W)\\d([\\d.,_]*\\d)?', '\\1N', 'g') as reason
        from (select id, unnest(errors) as e from ({{files}})))
    select step, reason, count(*) as n, min(id) as example, sum(count(*)) over () as total from reasons
    group by step, reason order by n desc, step, reason limit {MOST_REASONS}"""


def grouped(ask: Ask, files: str, values: Sequence[Any]) -> tuple[list[Json], int]:
    """The groups of most failures, the most frequent first, and the number of failures in further ones.

    `files`: the statement of the files' id and errors, and `values` its values.
    """
    reasons = ask(_FAILURES.format(files=files), values)
    groups: dict[tuple[str, str], Json] = {}
    for row in reasons:
        step, reason = row["step"], alike(row["reason"])
        new = {"step": step, "reason": reason, "count": 0, "example": row["example"].hex}
        groups.setdefault((step, reason), new)["count"] += row["n"]
    shown = sorted(groups.values(), key=lambda group: (-group["count"], group["step"], group["reason"]))[:MOST_GROUPS]
    return shown, int(reasons[0]["total"] if reasons else 0) - sum(group["count"] for group in shown)
