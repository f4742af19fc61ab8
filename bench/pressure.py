"""Whether memory stays bounded whatever the media: `python -m bench.pressure`.

It makes pictures and videos, no two alike, starts a Raysift of its own with a small object store, scans them by the
command line and looks every second at what each kind of process holds. It exits 1 when Ray put anything onto the disk
or killed anything for want of memory, when a file failed or was lost, or when what media pass through went on growing.
"""

import argparse
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import numpy as np
import psutil
from rich.console import Console
from rich.progress import track
from rich.table import Table

from cluster.processes import FAMILY, Processes
from cluster.settings import load
from commands.scanning import OVER
from deployments.detector import names

STORE_MB = 200
ROUNDS = 10  # runs of pictures and of videos take turns: memory that goes with a kind of media is no growth
SECONDS, RATE = 10, 4  # of a video, and its frames a second: with another picture each second all are looked at
GROWTH_MB = 200  # that a kind of process may grow by in the last two thirds of the scan
REPORT_S = 5  # Ray's metrics are as old as this; it sums up what was put onto the disk, so that none is missed
TELL_S = 10

console = Console()


def make(folder: Path, videos: int, pictures: int) -> None:
    """So many videos of 720p and pictures of 640x480; a folder is listed to its end before the next one is."""
    total = videos + pictures
    for n in track(range(total), f"making {videos} videos and {pictures} pictures", console=console):
        is_video, at = n < videos, n if n < videos else n - videos
        kind, of = ("videos", videos) if is_video else ("pictures", pictures)
        place = folder / f"{at * ROUNDS // of:02}-{kind}"
        place.mkdir(parents=True, exist_ok=True)
        if is_video:
            video(place / f"{at:05}.mp4", np.random.default_rng((0, at)))
        else:
            picture(place / f"{at:05}.jpg", np.random.default_rng((1, at)))


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
    ports = ("RAY__GCS_PORT", "RAY__DASHBOARD_PORT", "DOOR__PORT", "CHROMA__PORT", "APP__PORT")
    others = [name for name in names() if name not in detectors]
    return {
        **plain,
        **{f"RAYSIFT_{key}": str(free_port()) for key in ports},
        **{f"RAYSIFT_DETECTORS__{name.upper()}__ENABLED": "false" for name in others},
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


def raysift(*arguments: str, output: int | None = None) -> subprocess.CompletedProcess[str]:
    """Our own command line; it says on standard error what it does and what is wrong."""
    command = str(Path(sys.executable).parent / "raysift")
    return subprocess.run([command, *arguments], stdout=output, text=True)


def follow(job: str, url: str, watch: Watch) -> dict[str, Any]:
    """Watch until the job is over; what the API says of it then."""
    told, now = 0.0, {"state": "submitted", "done": 0, "units": None}
    with httpx.Client(base_url=url, timeout=120, trust_env=False) as door:
        while now["state"] not in OVER:
            began = time.monotonic()
            watch.look()
            with suppress(httpx.TransportError):
                now = door.get(f"/v1/jobs/{job}").raise_for_status().json()
            if began - told > TELL_S:
                told = began
                largest = sorted(watch.kinds.items(), key=lambda one: -one[1].mb[-1])[:3]
                held = ", ".join(f"{name} {of.mb[-1]:,.0f} MB" for name, of in largest)
                console.print(f"{now['state']}, {now['done']} of {now['units'] or '?'} done; {held}", highlight=False)
            time.sleep(max(0.0, 1 - (time.monotonic() - began)))
    return now


def judge(watch: Watch, job: dict[str, Any], verified: dict[str, int]) -> list[str]:
    """Print what was seen; what is wrong with it, in sentences."""
    table = Table("kind", *(f"{name}" for name in ("processes", "MB at most", "at the end", "MB a minute", "grown by")))
    wrong = []
    for name, held in sorted(watch.kinds.items(), key=lambda one: -max(one[1].mb)):
        slope, grown = held.growth()
        figures = f"{held.processes} {max(held.mb):,.0f} {held.mb[-1]:,.0f} {slope:+,.1f} {grown:+,.0f}"
        table.add_row(name, *figures.split())
        if name in MEASURED and grown > GROWTH_MB:
            wrong.append(f"{name} grew by {grown:,.0f} MB; {GROWTH_MB} are allowed")
    console.print(table)
    used, spilled, fallback, killed = (watch.most.get(name, 0.0) for name in METRICS)
    console.print(
        f"{job['done']} of {job['units']} files in {job['seconds']:.0f} s, {job['done'] / job['seconds']:.1f} a second, "
        f"{job['failed']} failed\n"
        f"object store: {used / 1e6:.0f} of {STORE_MB} MB at most, as seen every {REPORT_S} s; "
        f"spilled {spilled:.0f} bytes, on the disk for want of room {fallback:.0f} bytes at most\n"
        f"memory of the machine that was left: {watch.left_mb:,.0f} MB at least\n"
        f"killed for want of memory: {killed:.0f} by Ray, {watch.kernel_killed} by the kernel\n"
        f"verify: {json.dumps(verified)}",
        highlight=False,
    )
    if spilled or fallback:
        wrong.append("the object store did not suffice")
    if killed or watch.kernel_killed:
        wrong.append("a process was killed for want of memory")
    wrong += [f"{what}: {count}" for what, count in verified.items() if what not in ("units", "done") and count]
    return wrong + ([] if job["state"] == "finished" else [f"the job ended as {job['state']}: {job['message']}"])


def measure(home: Path, videos: int, pictures: int, detectors: list[str]) -> list[str]:
    """Everything once, in an empty folder; what was wrong. The cluster is stopped whatever happens."""
    make(home / "media", videos, pictures)
    own = environment(home, detectors)
    os.environ.clear()
    os.environ.update(own)
    settings = load()
    try:
        if raysift("up").returncode:
            sys.exit("Raysift did not start")
        watch = Watch(Processes(settings))
        watch.until_told(60)
        asked = [str(home / "media"), "--out", str(home / "found"), "--detectors", ",".join(detectors)]
        submitted = raysift("scan", *asked, "--no-follow", "--json", output=subprocess.PIPE)
        if submitted.returncode:
            sys.exit("the scan was not taken")
        job = follow(json.loads(submitted.stdout.splitlines()[-1])["job"], settings.door.url, watch)
        verified = raysift("jobs", "verify", job["job"], "--json", output=subprocess.PIPE).stdout.splitlines()
        time.sleep(2 * REPORT_S)  # until Ray has told of the last second too
        watch.until_told(60)
        watch.kernel_killed += _killed_by_the_kernel()
        return judge(watch, job, json.loads(verified[-1]))
    finally:
        raysift("down")


def main() -> None:
    """Measure, and exit 0 if nothing is wrong."""
    parser = argparse.ArgumentParser(prog="python -m bench.pressure", description=__doc__)
    parser.add_argument("--videos", type=int, default=200)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--detectors", default="nsfw", help="comma-separated; the others are not started")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # told to stop, it stops the cluster too
    with TemporaryDirectory(prefix="raysift-pressure-", ignore_cleanup_errors=True) as folder:
        wrong = measure(Path(folder).resolve(), asked.videos, asked.images, asked.detectors.split(","))
    for sentence in wrong:
        console.print(f"wrong: {sentence}", style="red", markup=False, highlight=False)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
