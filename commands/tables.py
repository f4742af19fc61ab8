"""Tables about jobs, which fit on a terminal of 80 columns."""

from collections.abc import Iterable
from typing import Any

from rich.table import Column, Table
from rich.text import Text

from commands.terminal import harmless

SHOWN_URIS = 5
SHOWN_EXAMPLES = 3
NO_PRICES = "no prices are set: prices.cpu_hour, prices.gpu_hour"
COUNTS = {"failed": "failed", "skipped": "unchanged", "left_out": "left out"}


def jobs(jobs: Iterable[dict[str, Any]]) -> Table:
    """A row of two lines for each job: its name and URIs, its progress and failures."""
    name = Column("job", no_wrap=True, overflow="ellipsis", ratio=1)
    table = Table(name, Column("state", no_wrap=True), Column("files", no_wrap=True), expand=True)
    for job in jobs:
        counts = [f"{job[key]:,} {word}" for key, word in COUNTS.items() if job[key]]
        done = f"{job['done']:,} of {job['units']:,} done" if job["units"] is not None else "not listed yet"
        more = [_warned(job), job["priority"] if job["priority"] != "normal" else ""]
        table.add_row(
            Text.assemble(job["job"], "\n  ", harmless(scanned(job, 1))),
            f"{job['state']}\n{', '.join(filter(None, more))}",
            f"{done}\n{', '.join(counts)}",
        )
    return table


def _warned(job: dict[str, Any]) -> str:
    return "with warnings" if job.get("outcome") == "complete_with_warnings" else ""


def scanned(job: dict[str, Any], most: int) -> str:
    """The first URIs of a job, at most `most`, and how many more there are."""
    more = job.get("uri_count", len(job["uris"])) - len(job["uris"][:most])
    return ", ".join(job["uris"][:most]) + (f" and {more:,} more" if more else "")


def summary(job: dict[str, Any]) -> Table:
    """The summary of a finished job: a row for each detector, then one for each failed file."""
    title = f"{job['done']} files in {job['seconds']:.0f} s, {job['failed']} failed, {job['skipped']} unchanged"
    title += f", {job['left_out']} left out" if job["left_out"] else ""
    table = Table(
        *(Column(name, no_wrap=True) for name in ("detector", "files", "found")),
        Column("what", overflow="fold"),
        title=title,
        caption=f"results: {job['out']}",
    )
    for line in job["summary"]["detectors"]:
        labels = ", ".join(f"{top['label']} {top['files']}" for top in line["top_labels"])
        if line["example"]:
            labels += f", like “{line['example'][:60]}”"
        table.add_row(line["detector"], str(line["files"]), str(line["detections"]), harmless(labels))
    for failure in job["summary"]["failed"]:
        table.add_row("[red]failed", "", "", harmless(f"{failure['uri'].rsplit('/', 1)[-1]}: {failure['reason']}"))
    return table


def facts(job: dict[str, Any]) -> Table:
    """The state of a job: a row for each property."""
    table = Table(Column(no_wrap=True), Column(overflow="fold"), show_header=False)
    rows = {
        "job": job["job"],
        "state": f"{job['state']} {_warned(job)}".strip(),
        "message": job["message"],
        "scans": scanned(job, SHOWN_URIS),
        "results": job["out"],
        "detectors": ", ".join(job["detectors"]) or "all",
        "priority": job["priority"],
        "retry of": job["retry_of"],
        "units": job["units"] if job["units"] is not None else "not listed yet",
        "done": job["done"],
        "failed": job["failed"],
        "unchanged": job["skipped"],
        "left out": job["left_out"] or None,
        "listed": job["listed"] or None,
        "submitted": job["submitted_at"],
        "ended": job["ended_at"],
        "drivers": ", ".join(job["attempts"]),
    }
    for name, value in rows.items():
        if value not in ("", None):
            table.add_row(name, harmless(str(value)))
    return table


def costs(report: dict[str, Any]) -> Table:
    """The time and cost of each detector."""
    priced = report["cost"] is not None
    per_1000 = f", {report['cost_per_1000_files']} per 1,000 files" if report["cost_per_1000_files"] is not None else ""
    title = f"{report['files_per_s']:g} files/s, {report['bytes_per_s'] / 1e6:.1f} MB/s"
    title += f", {report['frames']} frames of which {report['frames_carried']} were like the one before"
    table = Table(
        Column("detector", no_wrap=True),
        *("units", "known already", "seconds", "GPU seconds", *(["cost"] if priced else [])),
        title=title,
        caption=f"cost {report['cost']}{per_1000}" if priced else NO_PRICES,
    )
    for usage in report["detectors"]:
        share = f"{usage['reused'] / usage['units']:.0%}" if usage["units"] else ""
        seconds = (f"{usage['seconds']:.1f}", f"{usage['gpu_seconds']:.1f}")
        table.add_row(
            usage["detector"], str(usage["units"]), share, *seconds, *([str(usage["cost"])] if priced else [])
        )
    return table


def month(summed: dict[str, Any]) -> Table:
    """The work and cost of each detector in all jobs of a month."""
    missing = f", {summed['without_report']} of them without a report" if summed["without_report"] else ""
    priced = summed["cost"] is not None
    table = Table(
        Column("detector", no_wrap=True),
        *("units", "seconds", "GPU seconds", *(["cost"] if priced else [])),
        title=f"{summed['month']}: {summed['jobs']} jobs{missing}, {summed['files']:,.0f} files",
        caption=f"cost {summed['cost']:,.4f}" if priced else NO_PRICES,
    )
    for work in summed["detectors"]:
        cost = [f"{work['cost']:,.4f}"] if priced else []
        table.add_row(
            work["detector"], f"{work['units']:,.0f}", f"{work['seconds']:,.0f}", f"{work['gpu_seconds']:,.0f}", *cost
        )
    return table


PER = {"image": "1,000 pictures", "video": "an hour of film", "audio": "an hour of sound"}


def rates(rates: Iterable[dict[str, Any]], title: str) -> Table:
    """What each detector takes for each kind of file: seconds, GPU seconds if it used a GPU, and the cost if known."""
    cells: dict[str, dict[str, str]] = {}
    for rate in rates:
        on_gpu = f", {rate['gpu_seconds']:,.1f} of a GPU" if rate["gpu_seconds"] else ""
        cost = f"\ncost {rate['cost']:,.4f}" if rate["cost"] is not None else ""
        cells.setdefault(rate["detector"], {})[rate["kind"]] = f"{rate['seconds']:,.1f} s{on_gpu}{cost}"
    shown = [kind for kind in PER if any(kind in row for row in cells.values())]
    table = Table(Column("detector", no_wrap=True), *(PER[kind] for kind in shown), title=title)
    for detector, row in cells.items():
        table.add_row(detector, *(row.get(kind, "") for kind in shown))
    return table


def failures(report: dict[str, Any]) -> Table:
    """The failures: a row for each reason, with one of the files below it."""
    columns = (Column("failed", no_wrap=True), Column("step", no_wrap=True), Column("reason", overflow="fold"))
    table = Table(*columns)
    for failure in report["failures"]:
        reason = Text.assemble(harmless(failure["reason"]), "\n  ", harmless(failure["example"]))
        table.add_row(str(failure["units"]), failure["step"], reason)
    return table


def left_out(job: dict[str, Any]) -> Table:
    """What a job left out: a row for each reason and suffix, with some of the files below it."""
    caption = f"all of them: {job['out']}/_raysift/jobs/{job['job']}/left_out"
    table = Table("left out", Column("suffix", no_wrap=True), Column("reason", overflow="fold"), caption=caption)
    for group in job["report"]["left_out_groups"]:
        names = [uri.rsplit("/", 1)[-1] for uri in group["examples"][:SHOWN_EXAMPLES]]
        more = ", ..." if group["count"] > len(names) else ""
        reason = Text.assemble(harmless(group["reason"]), "\n  ", harmless(f"{', '.join(names)}{more}"))
        table.add_row(f"{group['count']:,}", harmless(group["suffix"] or "none"), reason)
    return table
