"""Measure how the rate of a job grows with the nodes of a cluster: `python -m bench.scale`.

The nodes are Ray's, all on this machine. Each has a replica of one detector, which computes nothing: the cluster that
answers for it is a server of this bench, which waits for a fixed time for each image. So the machine's cores are left
to what Raysift itself does. A job's steady rate is compared with what the detectors could take. After this, jobs of
ever more images whose detector does not wait show what an image costs as a job grows.

It prints both tables and, as the last line, all values as JSON. It takes a quarter of an hour and, with eight nodes,
some 8 GB of memory.
"""

import asyncio
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import uvicorn
from fastapi import FastAPI, Request, Response
from rich.console import Console
from rich.table import Table

from bench.figures import RAYSIFT, Measured, timed
from cluster.processes import Processes
from cluster.settings import load
from deployments.detector import DetectorResponse, names
from deployments.serving import wire
from tests.chaos import nodes
from tests.support.browser import free_port

NODES = (1, 2, 4, 8)
IMAGE_S = 0.25  # that a detector takes for an image
WARM_S, STEADY_S = 30, 90  # of detectors' work, in the job before and in the one that is measured
STEADY = 0.3, 0.9  # the shares of a job's images between which its rate is steady
GROWING = (1_000, 4_000, 16_000)


class Server:
    """A cluster whose detector waits; `image_s`: how long for each image."""

    def __init__(self) -> None:
        self.image_s = 0.0
        self.port = free_port()
        app = FastAPI()

        @app.post("/v1/detect/{name}/samples")
        async def detect(name: str, request: Request) -> Response:
            samples = wire.unpack_samples(await request.body())
            await asyncio.sleep(self.image_s * len(samples))
            answer = DetectorResponse([[] for _ in samples], self.image_s * len(samples))
            return Response(wire.pack_response(answer), media_type=wire.RESPONSE_TYPE)

        self._server = uvicorn.Server(uvicorn.Config(app, port=self.port, log_level="error", lifespan="off"))
        threading.Thread(target=self._server.run, daemon=True).start()


def images(folder: Path, count: int, seed: int) -> Path:
    """Write distinct JPEGs of 64 x 48."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    for n in range(count):
        cv2.imwrite(str(folder / f"{n:06}.jpg"), random.integers(0, 256, (48, 64, 3), np.uint8))
    return folder


@contextmanager
def cluster(folder: Path, server: Server, count: int) -> Iterator[None]:
    """A Raysift of `count` nodes, with up to as many replicas of the detector and of the analysis."""
    of = "RAYSIFT_DETECTORS__NSFW__"
    os.environ.update(
        {f"RAYSIFT_DETECTORS__{name.upper()}__ENABLED": str(name == "nsfw") for name in names()}
        | {
            "RAYSIFT_STATE_DIR": str(folder / "state"),
            "RAYSIFT_SCANNING__WORKERS": str(count),
            f"{of}BACKEND": "remote",
            f"{of}MODEL": "it waits",
            f"{of}REMOTE__URL": f"http://127.0.0.1:{server.port}",
            f"{of}REMOTE__MAX_IN_FLIGHT": "1",
            f"{of}MAX_REPLICAS": str(count),
            f"{of}UPSCALE_DELAY_S": "1",
        }
    )
    subprocess.run([RAYSIFT, "up"], check=True, capture_output=True)
    try:
        for _ in range(count - 1):
            nodes.join(Processes(load()), cpus=4)
        yield
    finally:
        subprocess.run([RAYSIFT, "down"], check=True, capture_output=True)


def scan(place: Path) -> list[float]:
    """Scan a folder; when each image was analysed, in seconds since 1970, sorted."""
    out = place.with_name(f"{place.name}-out")
    done = subprocess.run([RAYSIFT, "scan", str(place), "--out", str(out), "--json"], capture_output=True, text=True)
    files = [file for file in out.rglob("*.parquet") if "_raysift" not in file.parts]
    if done.returncode or not files:
        raise SystemExit(f"the scan of {place} failed: {done.stdout}{done.stderr}")
    at = pa.concat_tables([pq.ParquetFile(file).read(["analyzed_at"]) for file in files])["analyzed_at"]
    return sorted(one.timestamp() for one in at.to_pylist())


def steady_rate(at: list[float]) -> float:
    """Images per second between the shares STEADY of a job's images."""
    first, last = (int(share * len(at)) for share in STEADY)
    return (last - first) / (at[last] - at[first])


def grow_nodes(measured: Measured, folder: Path, server: Server) -> None:
    """Measure the rate of a job on each of NODES."""
    server.image_s = IMAGE_S
    for count in NODES:
        most = count / IMAGE_S  # images per second that the detectors could take
        place = folder / f"nodes-{count}"
        with cluster(place, server, count):
            scan(images(place / "warm", int(WARM_S * most), 1))
            media = images(place / "media", int(STEADY_S * most), 2)
            rate = steady_rate(scan(media))
        measured.add(f"nodes {count}, images/s", rate)
        measured.add(f"nodes {count}, efficiency", rate / most)


def grow_job(measured: Measured, folder: Path, server: Server) -> None:
    """Measure what an image costs in jobs of GROWING images."""
    server.image_s = 0.0
    with cluster(folder / "growing", server, 1):
        scan(images(folder / "growing" / "warm", 200, 3))
        for count in GROWING:
            media = images(folder / "growing" / str(count), count, count)
            with timed(measured, f"job of {count} images"):
                scan(media)


def main() -> None:
    """Measure, and print the tables."""
    measured, server = Measured(), Server()
    with TemporaryDirectory(prefix="raysift-bench-") as place:
        grow_job(measured, Path(place), server)
        grow_nodes(measured, Path(place), server)
    table = Table("images of a job", "s", "CPU-ms an image")
    for count in GROWING:
        used_s = measured.median(f"job of {count} images, CPU-s")
        table.add_row(
            f"{count:,}", f"{measured.median(f'job of {count} images, s'):.0f}", f"{1e3 * used_s / count:.1f}"
        )
    Console().print(table)
    table = Table("nodes", "images/s", "efficiency")
    for count in NODES:
        rate, efficiency = (measured.median(f"nodes {count}, {what}") for what in ("images/s", "efficiency"))
        table.add_row(str(count), f"{rate:.1f}", f"{efficiency:.2f}")
    Console().print(table)
    print(json.dumps(measured.values))


if __name__ == "__main__":
    main()
