"""The report of a job: how much was done, what failed and why, how long detectors worked and what that cost."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from cluster.results import files as results_files
from cluster.results.reasons import alike
from cluster.settings import Prices
from deployments.jobs import folder
from pipelines.results import costs

MOST_REASONS = 200  # listed one by one; further ones are counted as "other reasons" of their step
_OTHER = "other reasons"
_COLUMNS = ["uri", "frames", "frames_propagated", "errors", *costs.COLUMNS]


@dataclass(slots=True)
class DetectorUsage:
    """Work that one detector did for a job."""

    detector: str
    units: int = 0  # units that it had to answer for
    reused: int = 0  # of these, answered from the cache: the detector was not called
    seconds: float = 0.0  # time its replicas worked
    gpu_seconds: float = 0.0  # the same times the share of a GPU that a replica holds
    cost: float | None = None

    @property
    def reused_share(self) -> float:
        """The share of units that were answered from the cache, 0 to 1; 0 without any."""
        return self.reused / self.units if self.units else 0.0


@dataclass(slots=True)
class Reason:
    """Failures of the same kind: the same step, and reasons that differ only in numbers, addresses and quoted names."""

    step: str
    reason: str
    units: int
    example: str  # URI of a file that failed this way


@dataclass(slots=True)
class Report:
    """Figures of a job, from its committed rows. A cost is None where no price is set."""

    units: int  # units in the job's ledger
    skipped: int  # files that needed no new answer
    listed: int = 0  # files found
    left_out: int = 0  # of these, neither analysed nor unchanged
    left_out_groups: list[dict[str, Any]] = field(default_factory=list)  # of ledger.left_out.Group: reason and suffix
    done: int = 0
    failed: int = 0
    files: float = 0.0  # a segment counts as its share of a file
    bytes: float = 0.0
    frames: int = 0
    frames_carried: int = 0
    seconds: float = 0.0  # from the first start to the end, pauses and waits included
    files_per_s: float = 0.0
    bytes_per_s: float = 0.0
    detectors: list[DetectorUsage] = field(default_factory=list)
    rates: list[costs.Rate] = field(default_factory=list)  # by detector and kind of file
    failures: list[Reason] = field(default_factory=list)
    cost: float | None = None
    cost_per_1000_files: float | None = None


def report(
    out: str, job: str, units: int, skipped: int, seconds: float, prices: Prices, s3_endpoint: str | None = None
) -> Report:
    """Make the report of a job from its committed rows; a few Parquet files are in memory at a time.

    `units` and `skipped` come from the job's ledger, `seconds` is how long the job took. SettingsError if a file of the
    folder holds no results.
    """
    job_report = Report(units, skipped, seconds=round(seconds, 1))
    usages: dict[str, DetectorUsage] = {}
    failures: dict[tuple[str, str], Reason] = {}
    summed: list[pa.Table] = []
    for rows in results_files.scan(out, _COLUMNS, s3_endpoint, job):
        shares = [1 / (segments or 1) for segments in rows["segments"].to_pylist()]
        job_report.done += len(rows)
        job_report.files += sum(shares)
        job_report.bytes += sum(
            (size or 0) * share for size, share in zip(rows["size"].to_pylist(), shares, strict=True)
        )
        job_report.frames += pc.sum(rows["frames"]).as_py() or 0
        job_report.frames_carried += pc.sum(rows["frames_propagated"]).as_py() or 0
        failed = rows.filter(pc.greater(pc.list_value_length(rows["errors"]), 0)).select(["uri", "errors"])
        job_report.failed += len(failed)
        _count_failures(failures, failed.to_pylist())
        _add_usage(usages, rows["usage"])
        summed.append(costs.sums(rows))
    job_report.detectors = [usages[name] for name in sorted(usages)]
    job_report.rates = costs.rates(costs.by_kind(summed), prices)
    job_report.failures = sorted(failures.values(), key=lambda reason: -reason.units)
    job_report.files, job_report.bytes = round(job_report.files, 2), round(job_report.bytes)
    if seconds > 0:
        job_report.files_per_s = round(job_report.files / seconds, 3)
        job_report.bytes_per_s = round(job_report.bytes / seconds, 1)
    _price(job_report, prices)
    return job_report


def write(out: str, job: str, job_report: Report, s3_endpoint: str | None = None) -> None:
    """Store the report in the job's folder under `out`. SettingsError if it cannot be written."""
    folder.write(out, job, "report", asdict(job_report), s3_endpoint)


def _count_failures(failures: dict[tuple[str, str], Reason], rows: Iterable[dict[str, Any]]) -> None:
    for row in rows:
        for step, reason in {(error["step"], alike(error["reason"])) for error in row["errors"]}:
            key = (step, reason)
            if key not in failures and len(failures) >= MOST_REASONS:
                key = (step, _OTHER)
            known = failures.setdefault(key, Reason(*key, 0, row["uri"]))
            known.units += 1


def _add_usage(usages: dict[str, DetectorUsage], column: pa.ChunkedArray) -> None:
    flat = pa.Table.from_struct_array(column.combine_chunks().flatten())
    summed = flat.group_by("detector").aggregate(
        [("seconds", "sum"), ("gpu_seconds", "sum"), ("reused", "sum"), ("detector", "count")]
    )
    for row in summed.to_pylist():
        usage = usages.setdefault(row["detector"], DetectorUsage(row["detector"]))
        usage.units += row["detector_count"]
        usage.reused += row["reused_sum"] or 0
        usage.seconds = round(usage.seconds + (row["seconds_sum"] or 0.0), 3)
        usage.gpu_seconds = round(usage.gpu_seconds + (row["gpu_seconds_sum"] or 0.0), 3)


def _price(job_report: Report, prices: Prices) -> None:
    """Set the costs: of GPU time for detectors that used a GPU, of CPU time for the others."""
    if not prices.known:
        return
    for usage in job_report.detectors:
        on_cpu = 0.0 if usage.gpu_seconds else usage.seconds
        usage.cost = round(prices.of(on_cpu, usage.gpu_seconds), 4)
    job_report.cost = round(sum(usage.cost or 0.0 for usage in job_report.detectors), 4)
    job_report.cost_per_1000_files = round(job_report.cost / job_report.files * 1000, 4) if job_report.files else None
