"""Fail-over of the head during a scan: Ray's state is restored from Redis, the list of jobs from the results."""

import configparser
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from PIL import Image, ImageDraw, ImageFont

from tests.launch.compose import Compose
from tests.launch.machines import Machine

pytestmark = [pytest.mark.launch, pytest.mark.chaos, pytest.mark.timeout(580)]

BUCKET, PAGES = "raysift", 80
RESULTS = f"s3://{BUCKET}/results"  # results_uri of compose.yaml
OUTAGE_S = 10.0  # between the head's death and its restart
TIMEOUT_S = 240.0


class Bucket:
    """Media and results of the tests in SeaweedFS's bucket."""

    def __init__(self, compose: Compose) -> None:
        keys = configparser.ConfigParser()
        keys.read(compose.secrets / "s3_credentials")
        own = dict(keys["default"], region_name="us-east-1")
        self.client = boto3.client("s3", endpoint_url="http://seaweedfs:8333", **own)

    def fill(self, folder: str) -> str:
        """Upload PAGES images under a prefix, with contents unique to it, so that the cache has no answers for them.
        Returns the prefix as a URI.
        """
        for number in range(PAGES):
            self.client.put_object(Bucket=BUCKET, Key=f"{folder}/{number:03}.png", Body=page(f"{folder} {number}"))
        return f"s3://{BUCKET}/{folder}"

    def results(self) -> set[str]:
        """The keys of the committed result files, which lie in a folder for each job."""
        listed = self.client.list_objects_v2(Bucket=BUCKET, Prefix="results/job=")
        return {entry["Key"] for entry in listed.get("Contents", []) if entry["Key"].endswith(".parquet")}


def page(text: str) -> bytes:
    """A PNG with five lines of text."""
    picture, png = Image.new("RGB", (640, 360), "white"), BytesIO()
    for line in range(5):
        place, font = (20, 20 + 65 * line), ImageFont.load_default(size=36)
        ImageDraw.Draw(picture).text(place, f"{text} line {line}", fill="black", font=font)
    picture.save(png, "PNG")
    return png.getvalue()


def api(machine: Machine) -> httpx.Client:
    """An HTTP client of the API at that machine's Serve proxy."""
    url = f"http://{machine.address}:8000"
    headers = {"Host": "localhost", "Authorization": f"Bearer {machine.key}"}
    return httpx.Client(base_url=url, headers=headers, timeout=60, trust_env=False)


def get_json(machine: Machine, path: str) -> Any:
    """The JSON of a GET at that machine's proxy; None if the request fails."""
    try:
        with api(machine) as client:
            return client.get(path, timeout=10).raise_for_status().json()
    except httpx.HTTPError:
        return None


class Caller:
    """Calls a detector through a machine's proxy continuously; records latencies in seconds, and errors."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.seconds: list[float] = []
        self.failed: list[str] = []

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Call from a thread until the end of the block."""
        over = threading.Event()
        thread = threading.Thread(target=self._call, args=(over,))
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _call(self, over: threading.Event) -> None:
        picture = page("who is there?")
        with api(self.machine) as client:
            while not over.wait(0.2):
                begun = time.monotonic()
                try:
                    client.post("/v1/detect/nsfw", files={"file": picture}).raise_for_status()
                except httpx.HTTPError as error:
                    self.failed.append(repr(error))
                self.seconds.append(time.monotonic() - begun)


class Scan:
    """A job that has committed at least two result files and still runs."""

    def __init__(self, compose: Compose, folder: str) -> None:
        self.compose, self.bucket = compose, Bucket(compose)
        (self.head,), self.worker = compose.machines["head"], compose.machines["worker"][0]
        before = self.bucket.results()
        with api(self.worker) as client:
            request = {"uris": [self.bucket.fill(folder)], "detectors": ["nsfw", "ocr"]}
            self.job = client.post("/v1/jobs", json=request).raise_for_status().json()["job"]
        compose.wait(lambda: len(self.bucket.results() - before) >= 2, TIMEOUT_S, "no result is committed")

    def now(self) -> Any:
        """The job's record; None while the API is unavailable."""
        return get_json(self.worker, f"/v1/jobs/{self.job}")

    def is_over(self) -> bool:
        """Whether the job has ended."""
        job = self.now()
        return job is not None and job["state"] in ("finished", "failed", "cancelled")

    def seconds_until(self, since: float, stored: set[str]) -> dict[str, float]:
        """Wait for each step of the recovery; returns step -> seconds after `since`. `stored`: result files by then."""
        awaited = {
            "the job is listed": self.now,
            "ready at the head": lambda: get_json(self.head, "/v1/ready"),
            "a result is committed": lambda: self.bucket.results() - stored,
            "the job is over": self.is_over,
        }
        seconds = {}
        for step, reached in awaited.items():
            self.compose.wait(lambda reached=reached: bool(reached()), TIMEOUT_S, f"not yet: {step}")
            seconds[step] = round(time.monotonic() - since, 1)
        return seconds

    def check(self) -> None:
        """Assert that the job's second driver has finished it, without lost or duplicate units."""
        job, verified = self.now(), get_json(self.worker, f"/v1/jobs/{self.job}/verify")
        assert (job["state"], job["done"], job["attempts"]) == ("finished", PAGES, [self.job, f"{self.job}-2"])
        assert (verified["lost"], verified["double"]) == (0, 0)


def detectors(workers: list[Machine]) -> set[int]:
    """The process ids of Serve's replicas on these machines."""
    return {process.pid for worker in workers for process in worker.processes("ServeReplica:raysift")}


def kill(compose: Compose, *services: str) -> None:
    """Turn off all machines of the services, as a power loss does."""
    for machine in (machine for service in services for machine in compose.machines[service]):
        del compose.running[machine.name]
        machine.kill()


def wipe(folder: Path) -> None:
    """Delete everything in a folder."""
    for entry in folder.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def restored_jobs(machine: Machine) -> list[dict[str, Any]]:
    """The jobs whose results are under results_uri, where a new head looks for jobs."""
    return [job for job in get_json(machine, "/v1/jobs") if job["out"] == RESULTS]


@pytest.mark.parametrize("disk", ["kept", "lost"])
def test_detectors_answer_during_an_outage_of_the_head_and_the_scan_continues_after_it(compose: Compose, disk: str):
    workers = compose.machines["worker"]
    before = restored_jobs(workers[0])
    scan, caller, replicas = Scan(compose, f"disk-{disk}"), Caller(workers[0]), detectors(workers)
    with caller.calling():
        kill(compose, "head")
        if disk == "lost":
            wipe(compose.volume("state"))
        time.sleep(OUTAGE_S)
        stored, since = scan.bucket.results(), time.monotonic()
        compose.restart("head", scan.head)
        recovery = scan.seconds_until(since, stored)
    print(f"disk {disk}: {recovery}; {len(caller.seconds)} calls meanwhile, the slowest {max(caller.seconds):.1f} s")
    assert caller.failed == []
    assert replicas <= detectors(workers), "a replica was restarted"
    scan.check()
    jobs = restored_jobs(scan.worker)
    assert [job["job"] for job in jobs] == [scan.job, *(job["job"] for job in before)]
    assert get_json(scan.worker, "/v1/assets")["total"] >= sum(job["units"] for job in jobs)
    compose.wait_healthy("head")


def test_a_new_cluster_of_the_same_name_continues_the_jobs_of_the_old_one(compose: Compose):
    scan = Scan(compose, "cluster-lost")
    before = restored_jobs(scan.worker)
    kill(compose, "head", "worker", "redis")
    wipe(compose.volume("state"))
    wipe(compose.volume("redis"))
    stored, since = scan.bucket.results(), time.monotonic()
    for service in ("redis", "head", "worker"):
        for machine in compose.machines[service]:
            compose.restart(service, machine)
        compose.wait_healthy(service)
    compose.run("deploy")
    print(f"a new cluster: {scan.seconds_until(since, stored)}")
    scan.check()
    assert [job["job"] for job in restored_jobs(scan.worker)] == [job["job"] for job in before]
    assert get_json(scan.worker, "/v1/assets")["total"] >= sum(job["units"] for job in before)
