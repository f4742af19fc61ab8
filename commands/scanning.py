"""A scan, submitted and followed: what `raysift scan`, `demo` and `evaluate` share."""

import time
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from cluster import buckets
from cluster.settings import Settings
from commands.terminal import console, door


def submit(settings: Settings, uris: list[str], out: str | None, detectors: str | None) -> str:
    """Submit a scan through the Door and give the job's name."""
    wanted = [name.strip() for name in detectors.split(",")] if detectors else None
    with door(settings) as api:
        # a relative path is meant from here, not from where the cluster was started
        what, where = [buckets.normalize(uri) for uri in uris], buckets.normalize(out) if out else None
        answer = api.post("/v1/jobs", json={"uris": what, "out": where, "detectors": wanted})
        answer.raise_for_status()
        return str(answer.json()["job"])


def follow(settings: Settings, job: str) -> dict[str, Any]:
    """Show a job's progress until it is over; what the Door says of it then."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("[red]{task.fields[failed]}"),
    )
    with door(settings) as api, Progress(*columns, console=console) as progress:
        bar = progress.add_task(job, total=None, rate="", failed="")
        while True:
            answer = api.get(f"/v1/jobs/{job}")
            answer.raise_for_status()
            now = dict(answer.json())
            rate = f"{now['done'] / now['seconds']:.1f} files/s" if now["seconds"] else ""
            failed = f"{now['failed']} failed" if now["failed"] else ""
            text = f"{job} {now['state']}"
            progress.update(bar, description=text, total=now["units"], completed=now["done"], rate=rate, failed=failed)
            if now["state"] in ("finished", "failed"):
                return now
            time.sleep(0.5)
