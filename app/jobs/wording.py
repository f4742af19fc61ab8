"""Jobs and plans of scans in words and tables of markdown. Pure functions."""

from collections.abc import Sequence

from app import draw
from cluster.api_job_types import JobDetails, JobInfo, LeftOutGroup, Report, ScanPlan
from cluster.filters.wording import clock, format_bytes
from cluster.records import OVER


def progress(job: JobInfo) -> str:
    """One line: files done, rate, and the time that is left or was taken."""
    if job.state in ("waiting", "listing") and job.units is None:
        return "Waiting to start" if job.state == "waiting" else "Listing the files"
    if job.units is None:
        return "No files were listed"
    parts = [f"{job.done:,} of {job.units:,} files"]
    if job.skipped:
        parts.append(f"{job.skipped:,} were known already")
    if job.left_out:
        parts.append(f"{job.left_out:,} left out")
    seconds = job.seconds
    if job.done and seconds > 0:
        rate = job.done / seconds
        parts.append(f"{rate:.1f} a second" if rate >= 1 else f"{rate * 60:.1f} a minute")
        if job.state == "running":
            parts.append(f"about {clock(job.units / rate - seconds)} left")
    if job.state in OVER and seconds:
        parts.append(f"took {clock(seconds)}")
    return " · ".join(parts)


def usage_table(report: Report) -> str:
    """A markdown table of the units, seconds and cost of each detector."""
    priced = report.cost is not None
    lines = [f"| Detector | Units | Known already | Seconds | GPU seconds |{' Cost |' if priced else ''}"]
    lines.append("|:--|--:|--:|--:|--:|" + ("--:|" if priced else ""))
    for usage in report.detectors:
        share = f"{usage.reused / usage.units:.0%}" if usage.units else ""
        figures = f"{usage.units:,} | {share} | {usage.seconds:,.1f} | {usage.gpu_seconds:,.1f} |"
        lines.append(f"| {draw.escape(usage.detector)} | {figures}" + (f" {usage.cost:,.2f} |" if priced else ""))
    return "\n".join(lines)


def failure_table(report: Report) -> str:
    """A markdown table of the failures by reason."""
    lines = ["| Failed | Step | Reason | For example |", "|--:|:--|:--|:--|"]
    for reason in report.failures:
        columns = (draw.escape(draw.shorten(text, 160)) for text in (reason.step, reason.reason, reason.example))
        lines.append(f"| {reason.units:,} | {' | '.join(columns)} |")
    return "\n".join(lines)


def left_out_table(groups: Sequence[LeftOutGroup]) -> str:
    """A markdown table of the files that were left out, by reason and suffix."""
    lines = ["| Left out | Suffix | Reason | For example |", "|--:|:--|:--|:--|"]
    for group in groups:
        columns = (
            draw.escape(draw.shorten(text, 160)) for text in (group.suffix or "none", group.reason, group.examples[0])
        )
        lines.append(f"| {group.count:,} | {' | '.join(columns)} |")
    return "\n".join(lines)


def plan_table(plan: ScanPlan) -> str:
    """A markdown table of the files that a scan would analyse, by reason and kind."""
    lines = ["| Files | Kind | Why | Size |", "|--:|:--|:--|--:|"]
    for unit in plan.units:
        kind, size = unit.kind or "unknown", format_bytes(unit.bytes)
        lines.append(f"| {unit.files:,} | {kind} | {draw.escape(unit.reason)} | {size} |")
    return "\n".join(lines) if plan.units else ""


def work_table(plan: ScanPlan) -> str:
    """A markdown table of the work of each detector in a scan."""
    lines = ["| Detector | Files | Seconds | GPU seconds |", "|:--|--:|--:|--:|"]
    for ask in plan.detectors:
        seconds = ("" if value is None else f"{value:,.1f}" for value in (ask.seconds, ask.gpu_seconds))
        lines.append(f"| {draw.escape(ask.detector)} | {ask.files:,} | {' | '.join(seconds)} |")
    return "\n".join(lines)


def estimate(plan: ScanPlan) -> str:
    """How long a scan would take and what it would cost, in words."""
    if not plan.files:
        return "nothing to do"
    if plan.estimate.seconds is None:
        unknown = [ask.detector for ask in plan.detectors if ask.seconds is None]
        of = f" of {', '.join(unknown)}" if unknown and plan.complete else ""
        return f"no estimate of time: nothing was measured here yet{of}" if plan.complete else "no estimate of time"
    cost = f", cost {plan.estimate.cost:,.2f}" if plan.estimate.cost is not None else ""
    return f"about {_duration(plan.estimate.seconds)}: {plan.estimate.busiest} takes longest{cost}"


def so_far_table(job: JobDetails) -> str:
    """A markdown table of what each detector has done in a job so far."""
    lines = ["| Detector | Answered | Files with findings | Findings |", "|:--|--:|--:|--:|"]
    for one in job.so_far:
        share = f"{one.units:,} of {job.units:,}" if job.units else f"{one.units:,}"
        lines.append(f"| {draw.escape(one.detector)} | {share} | {one.files:,} | {one.detections:,} |")
    return "\n".join(lines)


def speed(report: Report) -> str:
    """One line: throughput, frames that were not analysed because they repeat the previous one, and cost."""
    parts = [f"{report.files_per_s:.2f} files a second", f"{format_bytes(int(report.bytes_per_s))} a second"]
    if report.frames:
        parts.append(f"{report.frames_carried:,} of {report.frames:,} frames were like the one before")
    if report.cost_per_1000_files is not None:
        parts.append(f"cost {report.cost:,.2f}, {report.cost_per_1000_files:,.2f} per 1,000 files")
    return " · ".join(parts)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:,.0f} minutes" if seconds < 7200 else f"{seconds / 3600:,.1f} hours"
