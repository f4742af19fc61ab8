"""What a job found, what it took and what failed in it, as tables."""

from typing import Any

from rich.table import Column, Table

from commands.terminal import harmless


def summary(job: dict[str, Any]) -> Table:
    """What a finished job found: a line a detector, a line a failed file."""
    title = f"{job['done']} files in {job['seconds']:.0f} s, {job['failed']} failed, {job['skipped']} unchanged"
    table = Table("detector", "files", "found", "what", title=title, caption=f"results: {job['out']}")
    for line in job["summary"]["detectors"]:
        labels = ", ".join(f"{top['label']} {top['files']}" for top in line["top_labels"])
        if line["example"]:
            labels += f", like “{line['example'][:60]}”"
        table.add_row(line["detector"], str(line["files"]), str(line["detections"]), harmless(labels))
    for failure in job["summary"]["failed"]:
        table.add_row("[red]failed", "", "", harmless(f"{failure['uri'].rsplit('/', 1)[-1]}: {failure['reason']}"))
    return table


def facts(job: dict[str, Any]) -> Table:
    """What is known of a job: a line a fact."""
    table = Table("", "", show_header=False)
    told = {
        "job": job["job"],
        "state": job["state"],
        "says": job["message"],
        "scans": ", ".join(job["uris"]),
        "results": job["out"],
        "detectors": ", ".join(job["detectors"]) or "all",
        "priority": job["priority"],
        "does again what failed in": job["retry_of"],
        "units": job["units"] if job["units"] is not None else "not listed yet",
        "done": job["done"],
        "failed": job["failed"],
        "unchanged": job["skipped"],
        "submitted": job["submitted_at"],
        "ended": job["ended_at"],
        "drivers": ", ".join(job["attempts"]),
    }
    for name, value in told.items():
        if value not in ("", None):
            table.add_row(name, harmless(str(value)))
    return table


def costs(report: dict[str, Any]) -> Table:
    """What each detector took."""
    priced = report["cost"] is not None
    per_1000 = f", {report['cost_per_1000_files']} per 1,000 files" if report["cost_per_1000_files"] is not None else ""
    title = f"{report['files_per_s']:g} files/s, {report['bytes_per_s'] / 1e6:.1f} MB/s"
    title += f", {report['frames']} frames of which {report['frames_carried']} were like the one before"
    table = Table(
        *("detector", "units", "known already", "seconds", "GPU seconds", *(["cost"] if priced else [])),
        title=title,
        caption=f"cost {report['cost']}{per_1000}" if priced else "no prices are set: prices.cpu_hour, prices.gpu_hour",
    )
    for of in report["detectors"]:
        share = f"{of['reused'] / of['units']:.0%}" if of["units"] else ""
        row = [of["detector"], str(of["units"]), share, f"{of['seconds']:.1f}", f"{of['gpu_seconds']:.1f}"]
        table.add_row(*row, *([str(of["cost"])] if priced else []))
    return table


def failures(report: dict[str, Any]) -> Table:
    """What failed, by reason."""
    table = Table("failed", "step", "reason", Column("for example", overflow="fold"))
    for one in report["failures"]:
        table.add_row(str(one["units"]), one["step"], harmless(one["reason"]), harmless(one["example"]))
    return table
