"""What `raysift status` and `raysift top` show: parts, detectors with their queues, cards, rates, and jobs."""

import time
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from cluster.metrics.exported import Exported
from cluster.processes import port_open
from cluster.records import OVER
from cluster.settings import Settings
from commands import tables
from commands.terminal import api_client, harmless

MOST_JOBS = 100  # the newest, of which those that are not over are shown


def parts(settings: Settings) -> dict[str, tuple[str, bool]]:
    """Part -> its address, and whether it runs."""
    from commands.up import dashboard_answers

    return {
        "ray": (settings.ray.dashboard_url, dashboard_answers(settings)),
        "chroma": (settings.chroma.url, port_open(settings.chroma)),
        "app": (settings.app.url, port_open(settings.app)),
    }


def ask(settings: Settings) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What the API says of its detectors, and the jobs that are not over. SettingsError if it does not answer."""
    with api_client(settings) as api:
        ready = api.get("/v1/ready")
        if ready.status_code != 503:  # that is a detector which does not answer
            ready.raise_for_status()
        jobs = api.get("/v1/jobs", params={"limit": MOST_JOBS})
        if jobs.status_code == 403:  # of a viewer's key
            return ready.json(), []
        jobs.raise_for_status()
        return ready.json(), [job for job in jobs.json() if job["state"] not in OVER]


def as_json(
    running: dict[str, tuple[str, bool]], ready: dict[str, Any] | None, jobs: list[dict[str, Any]], now: Exported | None
) -> dict[str, Any]:
    """All of it for programs. Queues and cards are null where nothing is exported here, as on other machines."""
    detectors = dict[str, Any]()
    for name, health in (ready or {"detectors": {}})["detectors"].items():
        work = now.work[name] if now else None
        queue = {key: getattr(work, key) if work else None for key in ("replicas", "waiting", "working")}
        detectors[name] = {**health, **queue}
    return {
        "parts": {name: {"url": url, "runs": runs} for name, (url, runs) in running.items()},
        "ready": bool(ready and ready["ready"]),
        "detectors": detectors,
        "cards": [{"name": card.name, "use": card.use, "memory_gb": card.memory_used / 1e9} for card in now.cards]
        if now
        else None,
        "jobs": jobs,
    }


def view(
    ready: dict[str, Any], jobs: list[dict[str, Any]], now: Exported | None = None, before: Exported | None = None
) -> RenderableType:
    """The detectors, cards and jobs. `now`, `before`: what the nodes export, and did at the last look."""
    files_s, samples_s = now.rates(before) if now else (None, {})
    numbers = ("replicas", "waiting", "at work", "samples/s") if now else ()
    detectors = Table(
        Column("detector", no_wrap=True),
        Column("state", no_wrap=True),
        *(Column(name, justify="right") for name in numbers),
        Column("", overflow="fold"),
    )
    for name, health in ready["detectors"].items():
        work = now.work[name] if now else None
        counts = [f"{work.replicas:.0f}", f"{work.waiting:.0f}", f"{work.working:.0f}"] if work else []
        rate = [f"{samples_s[name]:.1f}" if name in samples_s else ""] if work else []
        detectors.add_row(name, health["state"], *counts, *rate, health["message"])
    shown: list[RenderableType] = [detectors]
    if now and now.cards:
        cards = Table(Column("card", no_wrap=True), Column("in use", justify="right"), Column("GB", justify="right"))
        for card in now.cards:
            cards.add_row(card.name, f"{card.use:.0%}", f"{card.memory_used / 1e9:.1f}")
        shown.append(cards)
    if files_s is not None:
        shown.append(Text(f"scans: {files_s:.1f} files a second"))
    shown.append(tables.jobs(jobs) if jobs else Text("no job waits or runs"))
    messages = [harmless(f"{job['job']}: {job['message']}") for job in jobs if job["message"]]
    return Group(Text(time.strftime("%H:%M:%S"), style="dim"), *shown, *messages)
