"""Counts results of scans in the metrics."""

from collections import Counter
from collections.abc import Iterable

from cluster.metrics import declared
from cluster.metrics.recording import record
from cluster.records import Result


def count_results(results: Iterable[Result]) -> None:
    """Record the units, frames, findings and failures of these results."""
    units: Counter[tuple[str, str]] = Counter()
    frames: Counter[str] = Counter()
    findings: Counter[str] = Counter()
    failures: Counter[str] = Counter()
    for result in results:
        units[result.item.kind or "unknown", "failed" if result.failures else "done"] += 1
        frames["propagated"] += result.frames_propagated
        frames["analysed"] += result.frames - result.frames_propagated
        findings.update(finding.detector for finding in result.findings)
        failures.update(failure.step for failure in result.failures)
    for (kind, outcome), number in units.items():
        record(declared.UNITS, number, kind=kind, outcome=outcome)
    for source, number in frames.items():
        record(declared.FRAMES, number, source=source)
    for detector, number in findings.items():
        record(declared.FINDINGS, number, detector=detector)
    for step, number in failures.items():
        record(declared.FAILURES, number, step=step)
