"""Measure a warm cluster against a plain loop over the same model and images: `python -m bench.warm`.

It makes distinct JPEGs of 1280 x 720, starts a Raysift of its own with the detector nsfw, and measures in turns, ROUNDS
times: a loop of one process over the images, other engines (bench/engines.py), scans by `raysift scan` and by
`ray job submit`, requests to the API, the idle cluster. It prints medians and their ratios, and exits 1 if the scores
of one differ from the loop's.

CPU-seconds are those of the whole machine, but for the idle cluster's: nothing else should run on it.
"""

import argparse
import json
import os
import statistics
import subprocess
import threading
import time
from contextlib import suppress
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import numpy as np
import psutil
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from bench import engines
from bench.figures import RAYSIFT, Measured, timed
from bench.growth import family
from cluster.processes import Processes
from cluster.settings import Settings, load
from commands.terminal import authorization
from deployments.detector import names

FEW, MANY, MORE = 10, 300, 1000  # MORE: once, after the rounds
REQUESTS, CLIENTS, SATURATED_S, SETTLED_S, IDLE_S = 50, 8, 10.0, 5.0, 15.0


def images(folder: Path, count: int, seed: int) -> Path:
    """Write distinct JPEGs of noise over gradients and shapes, about 300 kB each."""
    import cv2

    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:720, 0:1280].astype(np.float32)
    for n in range(count):
        slopes = random.uniform(0.05, 0.2, (3, 2))
        image = np.stack([x * a + y * b + random.uniform(0, 80) for a, b in slopes], -1)
        for _ in range(25):
            centre = int(random.integers(0, 1280)), int(random.integers(0, 720))
            colour = tuple(int(value) for value in random.integers(0, 255, 3))
            cv2.circle(image, centre, int(random.integers(10, 150)), colour, -1)
        image += random.normal(0, 9, image.shape)
        cv2.imwrite(str(folder / f"{n:05}.jpg"), np.clip(image, 0, 255).astype(np.uint8))
    return folder


def loop(files: list[Path]) -> float:
    """The sum of the scores of these images, in one thread: what the detector itself costs."""
    from PIL import Image

    from cluster.records import Sample
    from deployments.detectors.nsfw import Nsfw, NsfwConfig

    detector = Nsfw(NsfwConfig(floor=0))
    pixels = (np.asarray(Image.open(file).convert("RGB")) for file in files)
    return sum(found.score for image in pixels for found in detector.detect([Sample(pixels=image)])[0])


def scan(measured: Measured, name: str, command: list[str], out: Path, expected: float) -> None:
    """Run a scan to its end: its seconds, those to its first row, and whether its scores are those of the loop."""
    began = time.time()
    with timed(measured, name):
        done = subprocess.run(command, capture_output=True, text=True)
    files = sorted(out.rglob("*.parquet"), key=os.path.getmtime)
    files = [file for file in files if "_raysift" not in file.parts]
    if done.returncode or not files:
        raise SystemExit(f"{command} failed: {done.stdout}{done.stderr}")
    measured.add(f"{name}, first row, s", files[0].stat().st_mtime - began)
    rows = (row for file in files for row in pq.ParquetFile(file).read(["detections"])["detections"].to_pylist())
    scores = sum(detection["score"] for row in rows for detection in row)
    if abs(scores - expected) > 1e-3 * expected:
        raise SystemExit(f"{name}: the scores sum up to {scores}, those of the loop to {expected}")


def looped(measured: Measured, place: Path, count: int) -> float:
    """Time the loop over a folder of images, in a process of its own; returns the sum of the scores."""
    with timed(measured, f"loop, {count} images"), get_context("spawn").Pool(1) as pool:
        return pool.apply(loop, [sorted(place.iterdir())])


def scanned(measured: Measured, place: Path, count: int, expected: float) -> None:
    """Time `raysift scan` of a folder of images, whose scores have this sum."""
    out = place.with_name(f"out-{place.name}")
    command = [RAYSIFT, "scan", str(place), "--out", str(out), "--json"]
    scan(measured, f"raysift scan, {count} images", command, out, expected)


def online(measured: Measured, url: str, files: list[Path]) -> None:
    """The latency of single requests, in ms, and how many a second CLIENTS clients get answered."""
    bodies = [file.read_bytes() for file in files]

    def ask(client: httpx.Client, body: bytes) -> float:
        began = time.perf_counter()
        client.post("/v1/detect/nsfw", files={"file": ("a.jpg", body, "image/jpeg")}).raise_for_status()
        return 1000 * (time.perf_counter() - began)

    def clients(until: float, answered: list[float]) -> None:
        with httpx.Client(base_url=url, headers=authorization(load()), timeout=60, trust_env=False) as client:
            while time.monotonic() < until:
                answered.append(ask(client, bodies[len(answered) % len(bodies)]))

    with httpx.Client(base_url=url, headers=authorization(load()), timeout=60, trust_env=False) as client:
        ask(client, bodies[0])
        latencies = [ask(client, bodies[n % len(bodies)]) for n in range(REQUESTS)]
    measured.add("one request, ms", statistics.median(latencies))
    answered: list[list[float]] = [[] for _ in range(CLIENTS)]
    until = time.monotonic() + SATURATED_S
    threads = [threading.Thread(target=clients, args=(until, each)) for each in answered]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    measured.add("saturated, requests/s", sum(map(len, answered)) / SATURATED_S)


def processes_of(state: Path) -> tuple[float, float]:
    """The CPU-seconds until now and the proportional memory, in GB, of the cluster with this state folder."""
    used_s, held = 0.0, 0
    for pid in family(str(state)):
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            times = process.cpu_times()
            used_s, held = used_s + times.user + times.system, held + process.memory_full_info().pss
    return used_s, held / 1e9


def one_round(
    measured: Measured, folder: Path, number: int, settings: Settings, exports: str, pythons: dict[str, Path]
) -> None:
    """Measure everything once, on images that no earlier round has scanned."""
    few, many = (images(folder / f"{count}-{number}", count, seed=1000 * number + count) for count in (FEW, MANY))
    sums = {place: looped(measured, place, count) for place, count in ((few, FEW), (many, MANY))}
    engines.run(measured, pythons, many, MANY, sums[many])
    for place, count in ((few, FEW), (many, MANY)):
        scanned(measured, place, count, sums[place])
    again = images(folder / f"submitted-{number}", FEW, seed=5000 + number)
    out = folder / f"out-submitted-{number}"
    submitted = f"{exports}\nray job submit -- python -m pipelines {again} --out {out}"
    with get_context("spawn").Pool(1) as pool:
        scores = pool.apply(loop, [sorted(again.iterdir())])
    scan(measured, f"ray job submit, {FEW} images", ["bash", "-c", submitted], out, scores)
    online(measured, settings.api.url, sorted(many.iterdir())[:REQUESTS])
    state = Processes(settings).state
    time.sleep(SETTLED_S)
    used_s, began = processes_of(state)[0], time.monotonic()
    time.sleep(IDLE_S)
    measured.add("idle, cores", (processes_of(state)[0] - used_s) / (time.monotonic() - began))


def table(measured: Measured) -> Table:
    """The medians, and what they are to the loop's."""
    shown = Table("figure", "median", "to the loop")
    bare = measured.median(f"loop, {MANY} images, s") - measured.median(f"loop, {FEW} images, s")
    per_image_s = bare / (MANY - FEW)
    for name in measured.values:
        median, to = measured.median(name), ""
        figure = name.partition(f", {MANY} images, ")[2]
        if figure in ("s", "CPU-s"):
            to = f"{median / measured.median(f'loop, {MANY} images, {figure}'):.2f}"
        if name == "one request, ms":
            to = f"{median - 1000 * per_image_s:+.0f} ms"
        if name == "saturated, requests/s":
            to = f"{median * per_image_s / (os.cpu_count() or 1):.2f} of the loop on all cores"
        shown.add_row(name, f"{median:.2f}", to)
    return shown


def main() -> None:
    """Start a cluster, measure it, and print the table and, as the last line, all values as JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.warm", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    for name in names():
        os.environ[f"RAYSIFT_DETECTORS__{name.upper()}__ENABLED"] = str(name == "nsfw")
    os.environ["RAYSIFT_DETECTORS__NSFW__FLOOR"] = "0"
    measured = Measured()
    pythons = engines.prepare()
    run = partial(subprocess.run, check=True, capture_output=True, text=True)
    with TemporaryDirectory(prefix="raysift-bench-") as place:
        folder = Path(place)
        os.environ["RAYSIFT_STATE_DIR"] = str(folder / "state")
        settings = load()
        try:
            with timed(measured, "raysift up"):
                run([RAYSIFT, "up"])
            time.sleep(30)  # a driver starts to wait
            measured.add("idle, PSS GB", processes_of(Processes(settings).state)[1])
            exports = run([RAYSIFT, "env"]).stdout
            for number in range(rounds):
                one_round(measured, folder, number, settings, exports, pythons)
            measured.add("PSS GB after the rounds", processes_of(Processes(settings).state)[1])
            more = images(folder / "more", MORE, seed=9000)
            scanned(measured, more, MORE, looped(measured, more, MORE))
        finally:
            run([RAYSIFT, "down"])
    Console().print(table(measured))
    print(json.dumps(measured.values))


if __name__ == "__main__":
    main()
