"""`raysift jobs`: list, show and control the scans of this cluster."""

import json
import re
import time
from typing import Annotated, Any

import typer
from rich.console import Console

from cluster.errors import SettingsError
from cluster.records import OVER
from cluster.settings import load
from commands import scans, tables
from commands.terminal import ANSWER_S, api_client, console, waiting

cli = typer.Typer(help="Scans as jobs: show their progress, cancel, resume, retry failed files.", no_args_is_help=True)

MOST_JOBS = 1000  # that the API lists
VERIFY_S = 3600.0  # every row of a job of ten million files is read
LOAD_S = 900.0  # a new catalogue reads all results first

Name = Annotated[str, typer.Argument(metavar="JOB", help="As `raysift jobs list` shows it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Follow = Annotated[bool, typer.Option("--follow/--no-follow", help="Show its progress until it ends.")]


@cli.command("list")
def show_all(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="The maximum number.")] = 50, as_json: AsJson = False
) -> None:
    """List the jobs that were submitted last, newest first."""
    jobs = _request("GET", "", limit=limit)
    if as_json:
        typer.echo(json.dumps(jobs))
        return
    Console().print(tables.jobs(jobs))


@cli.command()
def show(job: Name, as_json: AsJson = False) -> None:
    """Show a job and, once it is over, its report: failures with reasons, seconds and cost of each detector."""
    answer = _request("GET", f"/{job}")
    if as_json:
        typer.echo(json.dumps(answer))
        return
    out = Console()
    out.print(tables.facts(answer))
    if answer["report"]:
        out.print(tables.costs(answer["report"]))
        if answer["report"].get("rates"):
            out.print(tables.rates(answer["report"]["rates"], "what it took"))
        if answer["report"]["failures"]:
            out.print(tables.failures(answer["report"]))
        if answer["report"]["left_out_groups"]:
            out.print(tables.left_out(answer))


@cli.command()
def cost(
    month: Annotated[
        str | None, typer.Option(metavar="YYYY-MM", help="Of jobs that ended in this month, UTC; default: this month.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what each detector took in all jobs that ended in a month, of the newest 1,000 jobs."""
    chosen = month or time.strftime("%Y-%m", time.gmtime())
    if not re.fullmatch(r"\d{4}-\d{2}", chosen):
        raise SettingsError(f"{chosen!r} is no month: write it as 2026-11.")
    with waiting("reading the reports") as update:
        ended = [job["job"] for job in _request("GET", "", limit=MOST_JOBS) if (job["ended_at"] or "")[:7] == chosen]
        reports = []
        for n, name in enumerate(ended):
            update(f"{n} of {len(ended)} reports read")
            reports.append(_request("GET", f"/{name}")["report"])
    summed = _summed(chosen, reports)
    if as_json:
        typer.echo(json.dumps(summed))
    else:
        Console().print(tables.month(summed))


@cli.command()
def logs(
    job: Name,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Follow the logs until the job ends.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the logs of the job's drivers."""
    if as_json:
        typer.echo(json.dumps({"job": job, "log": _log(job, 0)}))
        return
    seen = 0
    while True:
        over = not follow or _request("GET", f"/{job}")["state"] in OVER  # asked before its last lines are read
        text = _log(job, seen)
        seen += len(text)
        typer.echo(text, nl=False)
        if over:
            return
        time.sleep(2)


@cli.command()
def cancel(job: Name, as_json: AsJson = False) -> None:
    """Remove a job from the queue or stop it. Stored results are kept; `resume` continues from them."""
    answer = _request("POST", f"/{job}/cancel")
    if as_json:
        typer.echo(json.dumps(answer))
    else:
        console.print(f"{job} is cancelled with {answer['done']} files done. `raysift jobs resume {job}` continues it.")


@cli.command()
def resume(job: Name, follow: Follow = True, as_json: AsJson = False) -> None:
    """Resume a job that failed or was cancelled; no finished file is analysed again. Exits as `raysift scan` does."""
    scans.end_or_follow(load(), _request("POST", f"/{job}/resume")["job"], follow, as_json)


@cli.command("retry-failed")
def retry_failed(job: Name, follow: Follow = True, as_json: AsJson = False) -> None:
    """Analyse exactly the files that failed in this job, as a new job. Exits as `raysift scan` does."""
    again = _request("POST", f"/{job}/retry-failed", timeout_s=LOAD_S)["job"]
    if again is None:
        console.print(f"nothing failed in {job}")
        if as_json:
            typer.echo(json.dumps({"job": None}))
        return
    scans.end_or_follow(load(), again, follow, as_json)


@cli.command()
def verify(job: Name, as_json: AsJson = False) -> None:
    """Check that every file of a job has one result and is searchable. Exits 1 if something is missing."""
    with waiting("comparing the results with the job's list of files"):
        answer = _request("GET", f"/{job}/verify", timeout_s=VERIFY_S)
    if as_json:
        typer.echo(json.dumps(answer))
    else:
        counts = f"lost {answer['lost']}, double {answer['double']}, failed {answer['failed']}"
        typer.echo(f"{counts}, vectors missing {answer['vectors_missing']}; {answer['done']} of {answer['units']} done")
        if answer["listed"]:
            typer.echo(
                f"{answer['listed']} files listed: {answer['unchanged']} unchanged, {answer['left_out']} left out, "
                f"{answer['unaccounted']} unaccounted for"
            )
        if answer["lost"] or answer["double"]:
            console.print(f"`raysift jobs resume {job}` analyses what is lost and removes what is double.")
        if answer["vectors_missing"]:
            console.print("The next scan into this folder indexes them; `raysift vectors rebuild` rebuilds all.")
    bad = ("lost", "double", "vectors_missing", "unaccounted")
    raise typer.Exit(1 if any(answer[count] for count in bad) else 0)


def _summed(month: str, reports: list[dict[str, Any] | None]) -> dict[str, Any]:
    """The work and cost of each detector in these reports; None: a job without one, which is counted."""
    known = [report for report in reports if report is not None]
    detectors: dict[str, dict[str, float]] = {}
    for usage in (usage for report in known for usage in report["detectors"]):
        work = detectors.setdefault(usage["detector"], dict.fromkeys(("units", "seconds", "gpu_seconds", "cost"), 0.0))
        for key in work:
            work[key] = round(work[key] + (usage[key] or 0.0), 4)
    priced = any(report["cost"] is not None for report in known)
    return {
        "month": month,
        "jobs": len(reports),
        "without_report": len(reports) - len(known),
        "files": round(sum(report["files"] for report in known), 2),
        "cost": round(sum(report["cost"] or 0.0 for report in known), 4) if priced else None,
        "detectors": [{"detector": name, **detectors[name]} for name in sorted(detectors)],
    }


def _request(method: str, path: str, timeout_s: float = ANSWER_S, **params: Any) -> Any:
    with api_client(load()) as api:
        response = api.request(method, f"/v1/jobs{path}", params=params, timeout=timeout_s)
        response.raise_for_status()
        return response.json()


def _log(job: str, after: int) -> str:
    with api_client(load()) as api:
        response = api.get(f"/v1/jobs/{job}/logs", params={"after": after})
        response.raise_for_status()
        return response.text
