"""Test that memory stays bounded during a scan: `python -m bench.pressure`.

It generates distinct images and videos, starts a separate Raysift with a small object store, scans them with the
command line and samples the memory of each kind of process every second. It exits 1 if Ray spilled to disk, if a
process was killed for lack of memory, if a file failed or was lost, or if processes that handle media kept growing.
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
from typing import Any, BinaryIO, NoReturn

import httpx
import numpy as np
from rich.console import Console
from rich.progress import track

from bench.figures import RAYSIFT
from bench.growth import METRICS, REPORT_S, Watch, handles_media, memory_table, too_much_growth
from cluster.processes import Processes
from cluster.records import OVER
from cluster.settings import load
from commands.terminal import authorization
from deployments.detector import names

STORE_MB = 200
ROUNDS = 10  # images and videos alternate, so that their different memory use does not count as growth
SECONDS, RATE = 10, 4  # duration and frames per second of a video; the picture changes each second, so all are analysed
GROWTH_MB = 200  # allowed growth of a kind of process in the last two thirds of the scan
PRINT_S = 10
console = Console()


def make(folder: Path, videos: int, pictures: int) -> None:
    """Write 720p videos and 640 x 480 images into ROUNDS folders, which are listed one after another."""
    for n in track(range(videos + pictures), f"making {videos} videos and {pictures} pictures", console=console):
        index, count = (n, videos) if n < videos else (n - videos, pictures)
        place = folder / f"{index * ROUNDS // count:02}" / ("videos" if n < videos else "pictures")
        place.mkdir(parents=True, exist_ok=True)
        if n < videos:
            video(place / f"{n:05}.mp4", np.random.default_rng(n))
        else:
            picture(place / f"{n:05}.jpg", np.random.default_rng(n))


def picture(to: Path | BinaryIO, colours: np.random.Generator) -> None:
    """Write a JPEG of about 60 kB."""
    from PIL import Image

    small = Image.fromarray(colours.integers(0, 256, (60, 80, 3), np.uint8))
    small.resize((640, 480), Image.Resampling.BILINEAR).save(to, "JPEG", quality=80)


def video(to: Path, colours: np.random.Generator) -> None:
    """Write a video of about 540 kB: below 1 MB, from which on a job first checks whether to cut it, and defers it."""
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
    """Environment variables of a separate Raysift: its own state folder and ports, only these detectors."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("RAYSIFT_", "RAY_"))}
    ports = ("RAY__GCS_PORT", "RAY__DASHBOARD_PORT", "API__PORT", "CHROMA__PORT", "APP__PORT")
    return {
        **inherited,
        **{f"RAYSIFT_{key}": str(free_port()) for key in ports},
        **{f"RAYSIFT_DETECTORS__{name}__ENABLED": "false" for name in names() if name not in detectors},
        "RAYSIFT_STATE_DIR": str(home / "state"),
        "RAYSIFT_RAY__OBJECT_STORE_MB": str(STORE_MB),
        "RAY_metrics_report_interval_ms": str(REPORT_S * 1000),
    }


def free_port() -> int:
    """An unused TCP port, outside of the ranges of Ray's workers and of the system's ephemeral ports."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def raysift(*arguments: str) -> None:
    """Run `raysift` with its output on the terminal. SystemExit if it fails."""
    if subprocess.run([RAYSIFT, *arguments]).returncode:
        sys.exit(f"raysift {arguments[0]} failed")


def raysift_json(*arguments: str) -> dict[str, Any]:
    """Run `raysift ... --json`; returns the JSON of its last line. SystemExit if it prints nothing."""
    lines = subprocess.run([RAYSIFT, *arguments, "--json"], stdout=subprocess.PIPE, text=True).stdout.splitlines()
    if not lines:
        sys.exit(f"raysift {arguments[0]} failed")
    return dict(json.loads(lines[-1]))


def follow(job: str, url: str, watch: Watch) -> dict[str, Any]:
    """Sample once per second until the job has ended; returns the API's record of it."""
    printed_at, now = 0.0, {"state": "submitted", "done": 0, "units": None}
    with httpx.Client(base_url=url, headers=authorization(load()), timeout=120, trust_env=False) as api:
        while now["state"] not in OVER:
            began = time.monotonic()
            watch.look()
            with suppress(httpx.TransportError):
                now = api.get(f"/v1/jobs/{job}").raise_for_status().json()
            if began - printed_at > PRINT_S:
                printed_at = began
                largest = sorted(watch.kinds.items(), key=lambda item: -item[1].mb[-1])[:3]
                memory = ", ".join(f"{name} {series.mb[-1]:,.0f} MB" for name, series in largest)
                console.print(f"{now['state']}, {now['done']} of {now['units'] or '?'} done; {memory}", highlight=False)
            time.sleep(max(0.0, 1 - (time.monotonic() - began)))
    return now


def judge(watch: Watch, job: dict[str, Any], verified: dict[str, int]) -> list[str]:
    """Print the measurements; returns a sentence for each problem."""
    problems = too_much_growth(watch, GROWTH_MB, handles_media)
    used, spilled, fallback, killed = (watch.most.get(name, 0.0) for name in METRICS)
    by_kernel, seconds = watch.killed_by_the_kernel(), job["seconds"] or 0.0
    console.print(memory_table(watch))
    for line in (
        f"{job['done']} of {job['units']} files in {seconds:.0f} s, {job['done'] / max(seconds, 1):.1f} per second; "
        f"{job['failed']} failed",
        f"object store: peak {used / 1e6:.0f} of {STORE_MB} MB, sampled every {REPORT_S} s; "
        f"spilled {spilled:.0f} bytes, allocated on disk {fallback:.0f} bytes",
        f"lowest available memory of the machine: {watch.left_mb:,.0f} MB",
        f"killed for lack of memory: {killed:.0f} by Ray, {by_kernel} by the kernel",
        f"verify: {json.dumps(verified)}",
    ):
        console.print(line, highlight=False, soft_wrap=True)
    if spilled or fallback:
        problems.append("the object store was too small")
    if killed or by_kernel:
        problems.append("a process was killed for lack of memory")
    if job["state"] != "finished":
        problems.append(f"the job ended as {job['state']}: {job['message']}")
    return problems + [
        f"{name}: {count}" for name, count in verified.items() if name not in ("units", "done") and count
    ]


def measure(home: Path, videos: int, pictures: int, detectors: list[str]) -> list[str]:
    """Run the benchmark in an empty folder; returns the problems. The cluster is stopped in any case."""
    make(home / "media", videos, pictures)
    variables = environment(home, detectors)
    os.environ.clear()
    os.environ.update(variables)
    settings = load()
    try:
        raysift("up")
        watch = Watch(Processes(settings))
        watch.wait_for_metrics(60)
        media = (str(home / "media"), "--out", str(home / "found"), "--detectors", ",".join(detectors))
        job = follow(raysift_json("scan", *media, "--no-follow")["job"], settings.api.url, watch)
        verified = raysift_json("jobs", "verify", job["job"])
        time.sleep(2 * REPORT_S)  # until Ray's metrics include the end of the job
        watch.wait_for_metrics(60)
        return judge(watch, job, verified)
    finally:
        raysift("down")


def exit_with(problems: list[str]) -> NoReturn:
    """Print the problems; exit 0 if there are none, otherwise 1."""
    for sentence in problems:
        console.print(f"problem: {sentence}", style="red", markup=False, highlight=False, soft_wrap=True)
    sys.exit(1 if problems else 0)


def main() -> None:
    """Exit 0 if there are no problems, otherwise 1."""
    parser = argparse.ArgumentParser(prog="python -m bench.pressure", description=__doc__)
    parser.add_argument("--videos", type=int, default=200)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--detectors", default="nsfw", help="comma-separated; the others are disabled")
    options = parser.parse_args()
    detectors = options.detectors.split(",")
    if unknown := {*detectors} - {*names()}:
        parser.error(f"no detector {', '.join(sorted(unknown))}; there are {', '.join(names())}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # SIGTERM stops the cluster too
    with TemporaryDirectory(prefix="raysift-pressure-", ignore_cleanup_errors=True) as folder:
        problems = measure(Path(folder).resolve(), options.videos, options.images, detectors)
    exit_with(problems)


if __name__ == "__main__":
    main()
