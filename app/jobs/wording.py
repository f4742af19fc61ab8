"""Jobs and plans of scans in words and tables of markdown, in the reader's language. Pure functions."""

from collections.abc import Sequence

from app import draw
from app.language.formats import number, percent
from app.language.texts import _, counted
from app.language.wording import size
from cluster.api_job_types import JobDetails, JobInfo, LeftOutGroup, Report, ScanPlan
from cluster.filters.wording import clock
from cluster.records import OVER


def progress(job: JobInfo) -> str:
    """One line: files done, rate, and the time that is left or was taken."""
    if job.state in ("waiting", "listing") and job.units is None:
        return _("Waiting to start") if job.state == "waiting" else _("Listing the files")
    if job.units is None:
        return _("No files were listed")
    parts = [counted("{done} of {n} file", "{done} of {n} files", job.units, done=number(job.done))]
    if job.skipped:
        parts.append(counted("{n} was known already", "{n} were known already", job.skipped))
    if job.left_out:
        parts.append(_("{n} left out", n=number(job.left_out)))
    seconds = job.seconds
    if job.done and seconds > 0:
        rate = job.done / seconds
        per_minute = _("{n} a minute", n=number(rate * 60, 1))
        parts.append(_("{n} a second", n=number(rate, 1)) if rate >= 1 else per_minute)
        if job.state == "running":
            parts.append(_("about {time} left", time=clock(job.units / rate - seconds)))
    if job.state in OVER and seconds:
        parts.append(_("took {time}", time=clock(seconds)))
    return " · ".join(parts)


def usage_table(report: Report) -> str:
    """A markdown table of the units, seconds and cost of each detector."""
    priced = report.cost is not None
    heads = [_("Detector"), _("Units"), _("Known already"), _("Seconds"), _("GPU seconds")]
    lines = _head([*heads, *([_("Cost")] if priced else [])], ":----")
    for usage in report.detectors:
        share = percent(usage.reused / usage.units) if usage.units else ""
        cells = [draw.escape(usage.detector), number(usage.units), share]
        cells += [number(usage.seconds, 1), number(usage.gpu_seconds, 1)]
        cells += ["" if usage.cost is None else number(usage.cost, 2)] if priced else []
        lines.append(_row(cells))
    return "\n".join(lines)


def failure_table(report: Report) -> str:
    """A markdown table of the failures by reason."""
    lines = _head([_("Failed"), _("Step"), _("Reason"), _("For example")], "-:::")
    for reason in report.failures:
        columns = [draw.escape(draw.shorten(text, 160)) for text in (reason.step, reason.reason, reason.example)]
        lines.append(_row([number(reason.units), *columns]))
    return "\n".join(lines)


def left_out_table(groups: Sequence[LeftOutGroup]) -> str:
    """A markdown table of the files that were left out, by reason and suffix."""
    lines = _head([_("Left out"), _("Suffix"), _("Reason"), _("For example")], "-:::")
    for group in groups:
        texts = (group.suffix or _("none"), group.reason, group.examples[0])
        lines.append(_row([number(group.count), *(draw.escape(draw.shorten(text, 160)) for text in texts)]))
    return "\n".join(lines)


def plan_table(plan: ScanPlan) -> str:
    """A markdown table of the files that a scan would analyse, by reason and kind."""
    lines = _head([_("Files"), _("Kind"), _("Why"), _("Size")], "-::-")
    for unit in plan.units:
        kind, reason = _(unit.kind or "unknown"), draw.escape(_(unit.reason))
        lines.append(_row([number(unit.files), kind, reason, size(unit.bytes)]))
    return "\n".join(lines) if plan.units else ""


def work_table(plan: ScanPlan) -> str:
    """A markdown table of the work of each detector in a scan."""
    lines = _head([_("Detector"), _("Files"), _("Seconds"), _("GPU seconds")], ":---")
    for ask in plan.detectors:
        seconds = ["" if value is None else number(value, 1) for value in (ask.seconds, ask.gpu_seconds)]
        lines.append(_row([draw.escape(ask.detector), number(ask.files), *seconds]))
    return "\n".join(lines)


def estimate(plan: ScanPlan) -> str:
    """How long a scan would take and what it would cost, in words."""
    if not plan.files:
        return _("nothing to do")
    if plan.estimate.seconds is None:
        unknown = ", ".join(ask.detector for ask in plan.detectors if ask.seconds is None)
        if not plan.complete:
            return _("no estimate of time")
        if unknown:
            return _("no estimate of time: nothing was measured here yet of {detectors}", detectors=unknown)
        return _("no estimate of time: nothing was measured here yet")
    took = _duration(plan.estimate.seconds)
    words = _("about {time}: {detector} takes longest", time=took, detector=plan.estimate.busiest)
    return words if plan.estimate.cost is None else f"{words}, {_('cost {cost}', cost=number(plan.estimate.cost, 2))}"


def so_far_table(job: JobDetails) -> str:
    """A markdown table of what each detector has done in a job so far."""
    lines = _head([_("Detector"), _("Answered"), _("Files with findings"), _("Findings")], ":---")
    for one in job.so_far:
        share = number(one.units)
        if job.units:
            share = _("{n} of {total}", n=share, total=number(job.units))
        lines.append(_row([draw.escape(one.detector), share, number(one.files), number(one.detections)]))
    return "\n".join(lines)


def speed(report: Report) -> str:
    """One line: throughput, frames that were not analysed because they repeat the previous one, and cost."""
    parts = [
        _("{n} files a second", n=number(report.files_per_s, 2)),
        _("{size} a second", size=size(int(report.bytes_per_s))),
    ]
    if report.frames:
        carried, frames = number(report.frames_carried), number(report.frames)
        parts.append(_("{n} of {total} frames were like the one before", n=carried, total=frames))
    if report.cost is not None and report.cost_per_1000_files is not None:
        cost, each = number(report.cost, 2), number(report.cost_per_1000_files, 2)
        parts.append(_("cost {cost}, {each} per {n} files", cost=cost, each=each, n=number(1000)))
    return " · ".join(parts)


def _head(titles: Sequence[str], sides: str) -> list[str]:
    """The head of a table. `sides`: of each column `:` if it is set left, `-` if right."""
    return [_row(titles), "|" + "|".join(":--" if side == ":" else "--:" for side in sides) + "|"]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return counted("{n} second", "{n} seconds", round(seconds))
    if seconds < 7200:
        return counted("{n} minute", "{n} minutes", round(seconds / 60))
    return _("{n} hours", n=number(seconds / 3600, 1))
