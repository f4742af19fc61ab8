"""Whether memory stays bounded whatever the media: `python -m bench.pressure`.

It makes pictures and videos, no two alike, starts a Raysift of its own with a small object store, scans them by the
command line and looks every second at what each kind of process holds. It exits 1 when Ray put anything onto the disk
or killed anything for want of memory, when a file failed or was lost, or when what media pass through went on growing.
"""

import argparse
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench.growth import METRICS, REPORT_S, Watch, handles_media
from cluster.api_job_types import OVER
from cluster.processes import Processes
from cluster.settings import load
from deployments.detector import names

STORE_MB = 200
ROUNDS = 10  # runs of pictures and of videos take turns: what one kind of media takes more is no growth
SECONDS, RATE = 10, 4  # of a video, and its frames a second: another picture each second, so that all are looked at
GROWTH_MB = 200  # that a kind of process may grow by in the last two thirds of the scan
TELL_S = 10
console = Console()


def make(folder: Path, videos: int, pictures: int) -> None:
    """So many videos of 720p and pictures of 640x480, in folders that are listed one after another."""
    for n in track(range(videos + pictures), f"making {videos} videos and {pictures} pictures", console=console):
        at, of = (n, videos) if n < videos else (n - videos, pictures)
        place = folder / f"{at * ROUNDS // of:02}" / ("videos" if n < videos else "pictures")
        place.mkdir(parents=True, exist_ok=True)
        if n < videos:
            video(place / f"{n:05}.mp4", np.random.default_rng(n))
        else:
            picture(place / f"{n:05}.jpg", np.random.default_rng(n))


def picture(to: Path, colours: np.random.Generator) -> None:
    """One of 60 kB."""
    from PIL import Image

    small = Image.fromarray(colours.integers(0, 256, (60, 80, 3), np.uint8))
    small.resize((640, 480), Image.Resampling.BILINEAR).save(to, quality=80)


def video(to: Path, colours: np.random.Generator) -> None:
    """One of 540 kB. From 1 MB on a job looks first whether to cut it, and all videos would come last."""
    import av

    with av.open(str(to), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"preset": "ultrafast", "crf": "40"})
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        for _ in range(SECONDS):
            planes = colours.integers(16, 236, (27, 32), np.uint8).repeat(40, 0).repeat(40, 1)
            for _ in range(RATE):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(planes, "yuv420p")))
        container.mux(stream.encode())


def environment(home: Path, detectors: list[str]) -> dict[str, str]:
    """Of a Raysift that is nobody else's: its own state, its own ports, only these detectors."""
    plain = {key: value for key, value in os.environ.items() if not key.startswith(("RAYSIFT_", "RAY_"))}
    ports = ("RAY__GCS_PORT", "RAY__DASHBOARD_PORT", "API__PORT", "CHROMA__PORT", "APP__PORT")
    return {
        **plain,
        **{f"RAYSIFT_{key}": str(free_port()) for key in ports},
        **{f"RAYSIFT_DETECTORS__{name}__ENABLED": "false" for name in names() if name not in detectors},
        "RAYSIFT_STATE_DIR": str(home / "state"),
        "RAYSIFT_RAY__OBJECT_STORE_MB": str(STORE_MB),
        "RAY_metrics_report_interval_ms": str(REPORT_S * 1000),
    }


def free_port() -> int:
    """Where nobody listens now; neither among Ray's workers' ports nor where the system takes its own from."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def raysift(*arguments: str) -> None:
    """Our own command line. SystemExit when it fails; it has said why."""
    if subprocess.run([_command(), *arguments]).returncode:
        sys.exit(f"raysift {arguments[0]} failed")


def told(*arguments: str) -> dict[str, Any]:
    """The JSON that our own command line prints last. SystemExit when it prints none."""
    lines = subprocess.run([_command(), *arguments, "--json"], stdout=subprocess.PIPE, text=True).stdout.splitlines()
    if not lines:
        sys.exit(f"raysift {arguments[0]} failed")
    return dict(json.loads(lines[-1]))


def _command() -> str:
    return str(Path(sys.executable).parent / "raysift")


def follow(job: str, url: str, watch: Watch) -> dict[str, Any]:
    """Look once a second until the job is over; what the API says of it then."""
    said_at, now = 0.0, {"state": "submitted", "done": 0, "units": None}
    with httpx.Client(base_url=url, timeout=120, trust_env=False) as api:
        while now["state"] not in OVER:
            began = time.monotonic()
            watch.look()
            with suppress(httpx.TransportError):
                now = api.get(f"/v1/jobs/{job}").raise_for_status().json()
            if began - said_at > TELL_S:
                said_at = began
                largest = sorted(watch.kinds.items(), key=lambda one: -one[1].mb[-1])[:3]
                held = ", ".join(f"{name} {of.mb[-1]:,.0f} MB" for name, of in largest)
                console.print(f"{now['state']}, {now['done']} of {now['units'] or '?'} done; {held}", highlight=False)
            time.sleep(max(0.0, 1 - (time.monotonic() - began)))
    return now


def judge(watch: Watch, job: dict[str, Any], verified: dict[str, int]) -> list[str]:
    """Print what was seen; what is wrong with it, in sentences."""
    table = Table("kind", "processes", "MB at most", "at the end", "MB a minute", "grown by")
    wrong = []
    for name, held in sorted(watch.kinds.items(), key=lambda one: -max(one[1].mb)):
        a_minute, grown = held.growth()
        figures = f"{held.processes} {max(held.mb):,.0f} {held.mb[-1]:,.0f} {a_minute:+,.1f} {grown:+,.0f}"
        table.add_row(name, *figures.split())
        if handles_media(name) and grown > GROWTH_MB:
            wrong.append(f"{name} grew by {grown:,.0f} MB; {GROWTH_MB} are allowed")
    used, spilled, fallback, killed = (watch.most.get(name, 0.0) for name in METRICS)
    by_kernel, seconds = watch.killed_by_the_kernel(), job["seconds"] or 0.0
    console.print(table)
    for line in (
        f"{job['done']} of {job['units']} files in {seconds:.0f} s, {job['done'] / max(seconds, 1):.1f} a second; "
        f"{job['failed']} failed",
        f"object store: {used / 1e6:.0f} of {STORE_MB} MB at most, asked every {REPORT_S} s; "
        f"spilled {spilled:.0f} bytes, on the disk for want of room {fallback:.0f}",
        f"memory that the machine had left: {watch.left_mb:,.0f} MB at least",
        f"killed for want of memory: {killed:.0f} by Ray, {by_kernel} by the kernel",
        f"verify: {json.dumps(verified)}",
    ):
        console.print(line, highlight=False, soft_wrap=True)
    if spilled or fallback:
        wrong.append("the object store did not suffice")
    if killed or by_kernel:
        wrong.append("a process was killed for want of memory")
    if job["state"] != "finished":
        wrong.append(f"the job ended as {job['state']}: {job['message']}")
    return wrong + [f"{what}: {count}" for what, count in verified.items() if what not in ("units", "done") and count]


def measure(home: Path, videos: int, pictures: int, detectors: list[str]) -> list[str]:
    """All of it, in an empty folder; what is wrong. The cluster is stopped whatever happens."""
    make(home / "media", videos, pictures)
    own = environment(home, detectors)
    os.environ.clear()
    os.environ.update(own)
    settings = load()
    try:
        raysift("up")
        watch = Watch(Processes(settings))
        watch.until_told(60)
        media = (str(home / "media"), "--out", str(home / "found"), "--detectors", ",".join(detectors))
        job = follow(told("scan", *media, "--no-follow")["job"], settings.api.url, watch)
        verified = told("jobs", "verify", job["job"])
        time.sleep(2 * REPORT_S)  # until Ray's figures are of after the end
        watch.until_told(60)
        return judge(watch, job, verified)
    finally:
        raysift("down")


def main() -> None:
    """Exit 0 if nothing is wrong."""
    parser = argparse.ArgumentParser(prog="python -m bench.pressure", description=__doc__)
    parser.add_argument("--videos", type=int, default=200)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--detectors", default="nsfw", help="comma-separated; the others are not started")
    asked = parser.parse_args()
    detectors = asked.detectors.split(",")
    if unknown := {*detectors} - {*names()}:
        parser.error(f"no detector {', '.join(sorted(unknown))}; there are {', '.join(names())}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # told to stop, it stops the cluster too
    with TemporaryDirectory(prefix="raysift-pressure-", ignore_cleanup_errors=True) as folder:
        wrong = measure(Path(folder).resolve(), asked.videos, asked.images, detectors)
    for sentence in wrong:
        console.print(f"wrong: {sentence}", style="red", markup=False, highlight=False, soft_wrap=True)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
