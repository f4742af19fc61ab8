"""`raysift top`: the state of the detectors and jobs, kept up to date in the terminal."""

import time
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Column, Table
from rich.text import Text

from cluster.errors import SettingsError
from cluster.records import OVER
from cluster.settings import Settings, load
from commands import tables
from commands.terminal import api_client, harmless

EVERY_S = 10.0  # the state of a detector is found by a request with its example
MOST_JOBS = 20  # of which those that are not over are shown


def top() -> None:
    """Show the state of all detectors, and the jobs that are not over, every ten seconds until Ctrl-C.

    Where no terminal is, it is printed once.
    """
    settings, console = load(), Console()
    if not console.is_terminal:
        console.print(_view(settings))
        return
    try:
        with Live(_view(settings), console=console, screen=True, auto_refresh=False) as live:
            while True:
                time.sleep(EVERY_S)
                live.update(_view(settings), refresh=True)
    except KeyboardInterrupt:
        pass


def view(ready: dict[str, Any], jobs: list[dict[str, Any]]) -> RenderableType:
    """What is shown of the answers of /v1/ready and /v1/jobs."""
    detectors = Table(Column("detector", no_wrap=True), Column("state", no_wrap=True), Column("", overflow="fold"))
    for name, health in ready["detectors"].items():
        detectors.add_row(name, health["state"], health["message"])
    running = [job for job in jobs if job["state"] not in OVER]
    messages = [harmless(f"{job['job']}: {job['message']}") for job in running if job["message"]]
    shown = tables.jobs(running) if running else Text("no job waits or runs")
    return Group(Text(time.strftime("%H:%M:%S"), style="dim"), detectors, shown, *messages)


def _view(settings: Settings) -> RenderableType:
    """What is shown now; while the API is away, its message."""
    try:
        with api_client(settings) as api:
            ready = api.get("/v1/ready")
            if ready.status_code != 503:  # that is a detector which does not answer
                ready.raise_for_status()
            jobs = api.get("/v1/jobs", params={"limit": MOST_JOBS})
            jobs.raise_for_status()
            return view(ready.json(), jobs.json())
    except SettingsError as error:
        return Text(str(error), style="red")
