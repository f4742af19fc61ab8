"""`raysift jobs`: the scans of this cluster, as long as they run and after."""

import json
import time
from typing import Annotated, Any

import typer
from rich.console import Console

from cluster.settings import load
from commands import scans, tables
from commands.terminal import ANSWER_S, api_client, console, waiting

cli = typer.Typer(help="Scans as jobs: how far they are, cancel, resume, do failed files again.", no_args_is_help=True)

VERIFY_S = 3600.0  # every row of a job of ten million files is read
LOAD_S = 900.0  # a catalogue that is new reads all results first

Name = Annotated[str, typer.Argument(metavar="JOB", help="As `raysift jobs list` shows it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Follow = Annotated[bool, typer.Option("--follow/--no-follow", help="Show its progress until it is over.")]


@cli.command("list")
def show_all(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 50, as_json: AsJson = False
) -> None:
    """The jobs that were submitted last, newest first."""
    jobs = _asked("GET", "", limit=limit)
    if as_json:
        typer.echo(json.dumps(jobs))
        return
    Console().print(tables.jobs(jobs))


@cli.command()
def show(job: Name, as_json: AsJson = False) -> None:
    """How far a job is; once it is over, its report: what failed and why, seconds and cost of each detector."""
    told = _asked("GET", f"/{job}")
    if as_json:
        typer.echo(json.dumps(told))
        return
    out = Console()
    out.print(tables.facts(told))
    if told["report"]:
        out.print(tables.costs(told["report"]))
        if told["report"]["failures"]:
            out.print(tables.failures(told["report"]))


@cli.command()
def logs(
    job: Name,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job is over.")] = False,
    as_json: AsJson = False,
) -> None:
    """What the job's drivers have written."""
    if as_json:
        typer.echo(json.dumps({"job": job, "log": _log(job, 0)}))
        return
    seen = 0
    while True:
        over = not follow or _asked("GET", f"/{job}")["state"] in scans.OVER  # before its last lines are read
        text = _log(job, seen)
        seen += len(text)
        typer.echo(text, nl=False)
        if over:
            return
        time.sleep(2)


@cli.command()
def cancel(job: Name, as_json: AsJson = False) -> None:
    """Take a job out of the queue or stop it. What it has stored stays; `resume` goes on from there."""
    told = _asked("POST", f"/{job}/cancel")
    if as_json:
        typer.echo(json.dumps(told))
    else:
        console.print(f"{job} is cancelled with {told['done']} files done. `raysift jobs resume {job}` goes on.")


@cli.command()
def resume(job: Name, follow: Follow = True, as_json: AsJson = False) -> None:
    """Go on with a job that failed or was cancelled; no finished file is done again. Exits as `raysift scan` does."""
    scans.tell(load(), _asked("POST", f"/{job}/resume")["job"], follow, as_json)


@cli.command("retry-failed")
def retry_failed(job: Name, follow: Follow = True, as_json: AsJson = False) -> None:
    """Do again, as a new job, exactly the files that failed in this one. Exits as `raysift scan` does."""
    again = _asked("POST", f"/{job}/retry-failed", timeout_s=LOAD_S)["job"]
    if again is None:
        console.print(f"nothing failed in {job}")
        if as_json:
            typer.echo(json.dumps({"job": None}))
        return
    scans.tell(load(), again, follow, as_json)


@cli.command()
def verify(job: Name, as_json: AsJson = False) -> None:
    """Whether all that a job owed is there, once, in results and search. Exits 1 when something is missing."""
    with waiting("comparing the results with the job's list of files"):
        told = _asked("GET", f"/{job}/verify", timeout_s=VERIFY_S)
    if as_json:
        typer.echo(json.dumps(told))
    else:
        counts = f"lost {told['lost']}, double {told['double']}, failed {told['failed']}"
        typer.echo(f"{counts}, vectors missing {told['vectors_missing']}; {told['done']} of {told['units']} done")
        if told["lost"] or told["double"]:
            console.print(f"`raysift jobs resume {job}` does what is lost and takes out what is double.")
        if told["vectors_missing"]:
            console.print("The next scan into this folder brings in what waits; `raysift vectors rebuild` does it all.")
    raise typer.Exit(1 if told["lost"] or told["double"] or told["vectors_missing"] else 0)


def _asked(method: str, path: str, timeout_s: float = ANSWER_S, **params: Any) -> Any:
    with api_client(load()) as api:
        answer = api.request(method, f"/v1/jobs{path}", params=params, timeout=timeout_s)
        answer.raise_for_status()
        return answer.json()


def _log(job: str, after: int) -> str:
    with api_client(load()) as api:
        answer = api.get(f"/v1/jobs/{job}/logs", params={"after": after})
        answer.raise_for_status()
        return answer.text
