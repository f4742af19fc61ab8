"""The report of a job: what was done, what failed and why, what it took and what that cost."""

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from cluster.results import files as results_files
from cluster.settings import Prices
from deployments.jobs import folder

MOST_REASONS = 200  # told apart; the rest is counted together
_OTHER = "other reasons"
_COLUMNS = ["uri", "size", "segments", "frames", "frames_propagated", "errors", "usage"]


@dataclass(slots=True)
class DetectorSpent:
    """What one detector's answers took."""

    detector: str
    units: int = 0  # that it was to answer for
    reused: int = 0  # of these, whose content was answered for before: it was not asked
    seconds: float = 0.0  # that its replicas worked
    gpu_seconds: float = 0.0  # of whole cards
    cost: float | None = None

    @property
    def reused_share(self) -> float:
        """The share of units that were answered from the cache, 0 to 1; 0 without any."""
        return self.reused / self.units if self.units else 0.0


@dataclass(slots=True)
class Reason:
    """Failures that are alike: at the same step, for a reason that differs in figures and names at most."""

    step: str
    reason: str
    units: int
    example: str  # the URI of one


@dataclass(slots=True)
class Report:
    """Of a job, from its committed rows. A cost of None: no price is set."""

    units: int  # that it owed
    skipped: int
    done: int = 0
    failed: int = 0
    files: float = 0.0  # a segment counts as its share of a file
    bytes: float = 0.0
    frames: int = 0
    frames_carried: int = 0
    seconds: float = 0.0  # from its first start to its end, pauses and waits included
    files_per_s: float = 0.0
    bytes_per_s: float = 0.0
    detectors: list[DetectorSpent] = field(default_factory=list)
    failures: list[Reason] = field(default_factory=list)
    cost: float | None = None
    cost_per_1000_files: float | None = None


def report(
    out: str, job: str, units: int, skipped: int, seconds: float, prices: Prices, s3_endpoint: str | None = None
) -> Report:
    """Count over a job's committed rows, some thousands in memory at a time."""
    told = Report(units, skipped, seconds=round(seconds, 1))
    spent: dict[str, DetectorSpent] = {}
    failures: dict[tuple[str, str], Reason] = {}
    for rows in results_files.scan(out, _COLUMNS, s3_endpoint, job):
        shares = [1 / (of or 1) for of in rows["segments"].to_pylist()]
        told.done += len(rows)
        told.files += sum(shares)
        told.bytes += sum((size or 0) * share for size, share in zip(rows["size"].to_pylist(), shares, strict=True))
        told.frames += pc.sum(rows["frames"]).as_py() or 0
        told.frames_carried += pc.sum(rows["frames_propagated"]).as_py() or 0
        failed = rows.filter(pc.greater(pc.list_value_length(rows["errors"]), 0)).select(["uri", "errors"])
        told.failed += len(failed)
        _count_failures(failures, failed.to_pylist())
        _add_spent(spent, rows["usage"])
    told.detectors = [spent[name] for name in sorted(spent)]
    told.failures = sorted(failures.values(), key=lambda one: -one.units)
    told.files, told.bytes = round(told.files, 2), round(told.bytes)
    if seconds > 0:
        told.files_per_s, told.bytes_per_s = round(told.files / seconds, 3), round(told.bytes / seconds, 1)
    _price(told, prices)
    return told


def write(out: str, job: str, told: Report, s3_endpoint: str | None = None) -> None:
    """Keep it in the job's folder."""
    folder.write(out, job, "report", asdict(told), s3_endpoint)


def _count_failures(failures: dict[tuple[str, str], Reason], rows: Iterable[dict[str, Any]]) -> None:
    for row in rows:
        for step, reason in {(error["step"], alike(error["reason"])) for error in row["errors"]}:
            key = (step, reason)
            if key not in failures and len(failures) >= MOST_REASONS:
                key = (step, _OTHER)
            known = failures.setdefault(key, Reason(*key, 0, row["uri"]))
            known.units += 1


def alike(reason: str) -> str:
    """A reason without what differs from file to file: figures, addresses, quoted names."""
    plain = re.sub(r"""(?<!\w)(['"`]).*?\1(?!\w)|“.*?”""", "…", reason)
    plain = re.sub(r"\b[a-z0-9]+://\S+|(?<!\w)/\S+", "…", plain)
    return re.sub(r"\d[\d.,_]*\d|\d", "N", plain)


def _add_spent(spent: dict[str, DetectorSpent], column: pa.ChunkedArray) -> None:
    flat = pa.Table.from_struct_array(column.combine_chunks().flatten())
    summed = flat.group_by("detector").aggregate(
        [("seconds", "sum"), ("gpu_seconds", "sum"), ("reused", "sum"), ("detector", "count")]
    )
    for row in summed.to_pylist():
        of = spent.setdefault(row["detector"], DetectorSpent(row["detector"]))
        of.units += row["detector_count"]
        of.reused += row["reused_sum"] or 0
        of.seconds = round(of.seconds + (row["seconds_sum"] or 0.0), 3)
        of.gpu_seconds = round(of.gpu_seconds + (row["gpu_seconds_sum"] or 0.0), 3)


def _price(told: Report, prices: Prices) -> None:
    """What the detectors' work cost: of cards, or else of CPU cores."""
    if not prices.known:
        return
    for of in told.detectors:
        on_cpu = 0.0 if of.gpu_seconds else of.seconds
        of.cost = round(prices.of(on_cpu, of.gpu_seconds), 4)
    told.cost = round(sum(of.cost or 0.0 for of in told.detectors), 4)
    told.cost_per_1000_files = round(told.cost / told.files * 1000, 4) if told.files else None
