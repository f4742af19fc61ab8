"""Fixtures of the fault injection tests: a cluster behind a faulty network, running scans, measured recovery times."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import psutil
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageDraw, ImageFont

from cluster.permissions import prove
from cluster.processes import Processes
from cluster.settings import Settings
from deployments.detector import names
from tests.chaos import nodes
from tests.chaos.faulty_s3 import Faults, faulty
from tests.support.cluster import Cluster, environment
from tests.support.servers.redis import RedisServer
from tests.support.servers.seaweed import Seaweed, seaweed

DETECTORS = ["clip", "nsfw", "ocr"]
TIMEOUT_S = 240.0


@dataclass
class Broken:
    """The cluster, and its parts in which tests inject faults."""

    cluster: Cluster
    processes: Processes
    redis: RedisServer
    seaweed: Seaweed
    faults: Faults

    @property
    def state(self) -> Path:
        """The cluster's state folder."""
        return self.processes.state


@dataclass
class Scan:
    """A running job, with measurements of its recovery after a fault."""

    cluster: Cluster
    out: str
    job: str

    @property
    def _results(self) -> Path:
        return Path(self.out) / f"job={self.job}"

    def now(self) -> dict[str, Any]:
        """The job's record from the API."""
        with self.cluster.api() as api:
            return dict(api.get(f"/v1/jobs/{self.job}").raise_for_status().json())

    def files(self) -> set[str]:
        """The names of the committed result files; for a local results folder only."""
        return {entry.name for entry in self._results.glob("*.parquet")}

    def until_committed(self, files: int = 2) -> None:
        """Wait until at least `files` result files are committed."""
        until(lambda: len(self.files()) >= files, "no result was committed")

    def until_over(self) -> dict[str, Any]:
        """Wait until the job has ended; returns its record."""
        until(lambda: self.now()["state"] in ("finished", "failed", "cancelled"), "the job did not end")
        return self.now()

    def seconds_until(self, recovered: Callable[[], Any] = lambda: True) -> float:
        """Wait until `recovered()`, the return of the lost part, and then for the next committed result file (or the
        end of the job); returns the seconds since the call.
        """
        hit_at = time.monotonic()
        until(recovered, "the lost part did not recover")
        before = self.files()
        until(lambda: self.files() - before or self.now()["state"] == "finished", "no further result was committed")
        return time.monotonic() - hit_at

    def check(self) -> dict[str, int]:
        """Assert that each unit of the ledger has exactly one row of results; returns the report of `jobs verify`,
        which must agree.
        """
        planned = units(Path(self.out) / "_raysift" / "jobs" / self.job / "ledger")
        assert planned and sorted(units(self._results)) == sorted(set(planned)) == sorted(planned)
        verified = self.cluster.raysift("jobs", "verify", self.job, "--json")
        report = dict(json.loads(verified.stdout.splitlines()[-1]))
        assert (report["lost"], report["double"], report["vectors_missing"]) == (0, 0, 0), report
        return report


def units(folder: Path) -> list[int]:
    """The unit_id of every row of a folder's Parquet files."""
    tables = [pq.ParquetFile(file).read(["unit_id"]) for file in folder.glob("*.parquet")]
    return [unit for table in tables for unit in table["unit_id"].to_pylist()]


def until(
    condition: Callable[[], Any],
    message: str,
    seconds: float = TIMEOUT_S,
    while_runs: psutil.Process | None = None,
) -> Any:
    """Wait until `condition()`; returns it. AssertionError with `message` after `seconds`, or if the process
    `while_runs` ends.
    """
    deadline = time.monotonic() + seconds
    while not (met := condition()):
        assert time.monotonic() < deadline, message
        assert while_runs is None or nodes.runs(while_runs), f"{message}: its process has ended"
        time.sleep(0.1)
    return met


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., None]:
    """A function that records the measurements of a fault in the JSON file $RAYSIFT_CHAOS_REPORT."""
    path = Path(os.environ.get("RAYSIFT_CHAOS_REPORT") or tmp_path_factory.mktemp("report") / "report.json")
    measured: dict[str, dict[str, float]] = {}

    def note(fault: str, **seconds: float) -> None:
        measured[fault] = {name: round(value, 1) for name, value in seconds.items()}
        print(f"{fault}: {measured[fault]}")
        path.write_text(json.dumps(measured, indent=1) + "\n")

    return note


@pytest.fixture(scope="session")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broken]:
    """A running cluster with its own Redis, and with S3 behind a proxy that injects faults."""
    with breakable(tmp_path_factory.mktemp("chaos"), DETECTORS) as cluster:
        yield cluster


@contextmanager
def breakable(folder: Path, detectors: Collection[str], **more: str) -> Iterator[Broken]:
    """Run a cluster with these detectors, its own Redis, and S3 behind a proxy that injects faults, until the end of
    the block. `more`: further environment variables.
    """
    faults = Faults()
    with (
        RedisServer() as redis,
        seaweed(folder / "seaweed") as server,
        faulty(server.endpoint, faults) as endpoint,
    ):
        variables = environment(
            folder / "state",
            AWS_ENDPOINT_URL=endpoint,
            RAYSIFT_CACHE__REDIS_URL=redis.url,
            RAYSIFT_SCANNING__WORKERS="2",  # the second replica starts with the load
            **server.environment(),
            **{f"RAYSIFT_DETECTORS__{name}__ENABLED": "false" for name in names() if name not in detectors},
        )
        variables |= more
        cluster = Cluster(variables)
        processes = Processes(settings(variables))
        try:
            started = cluster.raysift("up")
            assert started.returncode == 0, started.stderr
            yield Broken(cluster, processes, redis, server, faults)
        finally:
            cluster.raysift("down")


def settings(variables: dict[str, str]) -> Settings:
    """The settings that the cluster's processes read from this environment: the state folder and the ports."""
    port = {
        part: int(variables[f"RAYSIFT_{part}_PORT"])
        for part in ("RAY__GCS", "RAY__DASHBOARD", "CHROMA_", "API_", "APP_")
    }
    return Settings(
        state_dir=Path(variables["RAYSIFT_STATE_DIR"]),
        ray={"gcs_port": port["RAY__GCS"], "dashboard_port": port["RAY__DASHBOARD"]},
        chroma={"port": port["CHROMA_"]},
        api={"port": port["API_"]},
        app={"port": port["APP_"]},
    )


@pytest.fixture
def scan(broken: Broken, tmp_path: Path, request: pytest.FixtureRequest) -> Scan:
    """A running job over 48 images unique to this test, which has committed its first results."""
    return started(broken, pages(tmp_path / "media", request.node.name, 48), str(tmp_path / "out"))


def started(
    broken: Broken,
    folder: Path | str,
    out: str,
    in_the_middle: bool = True,
    detectors: Collection[str] = DETECTORS,
) -> Scan:
    """Submit a job; with `in_the_middle` wait for its first results and assert that it still runs."""
    with broken.cluster.api() as api:
        proof = prove(broken.processes.settings, [str(folder)], out)  # as the operator's command line makes it
        request = {"uris": [str(folder)], "out": out, "detectors": [*detectors], "proof": proof}
        scan = Scan(broken.cluster, out, api.post("/v1/jobs", json=request).raise_for_status().json()["job"])
    if in_the_middle:
        scan.until_committed()
        assert scan.now()["state"] == "running"
    return scan


def pages(folder: Path, word: str, count: int) -> Path:
    """Write `count` images with a line of text each, unique to `word`, so that the cache has no answers for them."""
    folder.mkdir()
    font = ImageFont.load_default(size=40)
    for n in range(count):
        page = Image.new("RGB", (640, 360), "white")
        ImageDraw.Draw(page).text((30, 120), f"{crc32(word.encode()):x} {n}", fill="black", font=font)
        page.save(folder / f"{n:03}.png")
    return folder


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[bool]:
    """Mount a tmpfs of this size on a new folder until the end of the block; yields whether it is one, since only root
    may mount.
    """
    folder.mkdir(mode=0o700)
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=700", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", folder], check=True)
