"""Submitting and following a scan, for `raysift scan`, `demo`, `jobs` and `evaluate`."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console

from cluster.errors import SettingsError
from cluster.permissions import prove
from cluster.records import OVER, Priority
from cluster.settings import Settings
from cluster.storage import buckets
from commands import tables
from commands.terminal import LINE_EVERY_S, api_client, console, say, waiting

if TYPE_CHECKING:
    import httpx

FAILED_FILES = 3  # exit status
AWAY_S = 60.0  # how long the API may be unavailable, as when its node is replaced, before following ends
WAIT_S = 2.0  # between two looks at a job that runs; the API answers at once when it is over

Show = Callable[[dict[str, Any]], None]  # shows the state of a job, as the API reports it


def submit(
    settings: Settings,
    uris: list[str],
    out: str | None,
    detectors: Sequence[str] | None,
    priority: Priority = "normal",
    exclude: Sequence[str] = (),
    case: str | None = None,
) -> str:
    """Submit a scan through the API and return the name of its job. `detectors` as in `names`."""
    with api_client(settings) as api:
        # a relative path is relative to this working folder, not to that of the cluster
        what, where = [buckets.normalize(uri) for uri in uris], buckets.normalize(out) if out else None
        request = {
            "uris": what,
            "out": where,
            "detectors": names(detectors),
            "priority": priority,
            "exclude": [*exclude],
            "case": case,
        }
        # the operator of this machine may read and write what the settings do not name
        answer = api.post("/v1/jobs", json=request | {"proof": prove(settings, what, where)})
        answer.raise_for_status()
        return str(answer.json()["job"])


def names(detectors: Sequence[str] | None) -> list[str] | None:
    """The names in the options `--detectors`, each of which may hold several, comma-separated; None: all."""
    return [name.strip() for option in detectors for name in option.split(",")] if detectors else None


def follow(settings: Settings, job: str, to: Console = console) -> dict[str, Any]:
    """Show a job's progress until it is over. Returns its last state, as the API reports it.

    A terminal shows a bar; a pipe or a log gets a line of progress on stderr every LINE_EVERY_S seconds.
    """
    last_message = ""
    with api_client(settings) as api, _bar(job, to) if to.is_terminal else _lines(job, to) as show:
        while True:
            now = _state(api, job, WAIT_S)
            show(now)
            if now["state"] in OVER:
                return now
            if now["message"] not in ("", last_message) and now["state"] != "listing":
                say(now["message"], to)
            last_message = now["message"]


@contextmanager
def _bar(job: str, to: Console) -> Iterator[Show]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("[red]{task.fields[failed]}"),
    )
    with Progress(*columns, console=to) as progress:
        bar = progress.add_task(job, total=None, rate="", failed="")

        def show(now: dict[str, Any]) -> None:
            text = f"{job} {now['state']}"
            failed = f"{now['failed']} failed" if now["failed"] else ""
            progress.update(
                bar, description=text, total=now["units"], completed=now["done"], rate=_rate(now), failed=failed
            )

        yield show


@contextmanager
def _lines(job: str, to: Console) -> Iterator[Show]:
    say(f"following {job}: a line of progress every {LINE_EVERY_S:.0f} s", to)
    with waiting(job, to) as update:

        def show(now: dict[str, Any]) -> None:
            files = f"{now['done']:,} of {now['units']:,} files" if now["units"] is not None else "files not listed yet"
            failed = f"{now['failed']:,} failed" if now["failed"] else ""
            update(", ".join(filter(None, (f"{job} {now['state']}: {files}", failed, _rate(now)))))

        yield show


def _rate(now: dict[str, Any]) -> str:
    return f"{now['done'] / now['seconds']:.1f} files/s" if now["seconds"] else ""


def _state(api: "httpx.Client", job: str, wait_s: float) -> dict[str, Any]:
    import httpx

    deadline = time.monotonic() + AWAY_S
    while True:
        try:
            answer = api.get(f"/v1/jobs/{job}", params={"wait_s": wait_s})
            answer.raise_for_status()
            return dict(answer.json())
        except (httpx.TransportError, httpx.HTTPStatusError) as error:
            refused = isinstance(error, httpx.HTTPStatusError) and error.response.status_code < 500
            if refused or time.monotonic() > deadline:
                raise
            time.sleep(1)


def end_or_follow(settings: Settings, job: str, follows: bool, as_json: bool) -> None:
    """Follow a queued job and exit with its status; without `follows` only print that it is queued."""
    if follows:
        end(follow(settings, job), as_json)
    elif as_json:
        typer.echo(json.dumps({"job": job}))
    else:
        console.print(f"{job} is queued: `raysift jobs show {job}`")


def end(job: dict[str, Any], as_json: bool) -> None:
    """Show how a job ended and exit with 0, or 3 with failed files. SettingsError if it did not finish."""
    left_out = job["report"]["left_out_groups"] if job["report"] else []
    if job["state"] == "finished":
        to = Console(stderr=as_json)
        to.print(tables.summary(job))
        if left_out:
            to.print(tables.left_out(job))
    if as_json:
        keys = ("job", "listed", "units", "done", "failed", "skipped", "left_out", "seconds")
        typer.echo(json.dumps({key: job[key] for key in keys} | {"left_out_groups": left_out}))
    if job["state"] != "finished":
        raise SettingsError(f"job {job['job']} did not finish: {job['message'] or job['state']}")
    raise typer.Exit(FAILED_FILES if job["failed"] else 0)
