"""The head dies in the middle of a scan and is started again: what Ray knows lies in Redis, the jobs in the results."""

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
OUTAGE_S = 10.0  # before it is started again
PATIENCE_S = 240.0


class Bucket:
    """The one in SeaweedFS."""

    def __init__(self, compose: Compose) -> None:
        keys = configparser.ConfigParser()
        keys.read(compose.secrets / "s3_credentials")
        own = dict(keys["default"], region_name="us-east-1")
        self.client = boto3.client("s3", endpoint_url="http://seaweedfs:8333", **own)

    def fill(self, folder: str) -> str:
        """Put pages there, of no two folders the same, or the cache would know them; where they lie."""
        for number in range(PAGES):
            self.client.put_object(Bucket=BUCKET, Key=f"{folder}/{number:03}.png", Body=page(f"{folder} {number}"))
        return f"s3://{BUCKET}/{folder}"

    def results(self) -> set[str]:
        """The result files that are committed."""
        listed = self.client.list_objects_v2(Bucket=BUCKET, Prefix="results/", Delimiter="/")
        return {entry["Key"] for entry in listed.get("Contents", []) if entry["Key"].endswith(".parquet")}


def page(text: str) -> bytes:
    picture, png = Image.new("RGB", (640, 360), "white"), BytesIO()
    for line in range(5):
        place, font = (20, 20 + 65 * line), ImageFont.load_default(size=36)
        ImageDraw.Draw(picture).text(place, f"{text} line {line}", fill="black", font=font)
    picture.save(png, "PNG")
    return png.getvalue()


def api(machine: Machine) -> httpx.Client:
    """The API, as that machine's proxy gives it."""
    where = f"http://{machine.address}:8000"
    return httpx.Client(base_url=where, headers={"Host": "localhost"}, timeout=60, trust_env=False)


def said(machine: Machine, path: str) -> Any:
    """What the API answers there; None while it does not."""
    try:
        with api(machine) as client:
            return client.get(path, timeout=10).raise_for_status().json()
    except httpx.HTTPError:
        return None


class Caller:
    """Asks a machine's proxy again and again: how long each answer took, and which was none."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.seconds: list[float] = []
        self.failed: list[str] = []

    @contextmanager
    def calling(self) -> Iterator[None]:
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
                asked_at = time.monotonic()
                try:
                    client.post("/v1/detect/nsfw", files={"file": picture}).raise_for_status()
                except httpx.HTTPError as error:
                    self.failed.append(repr(error))
                self.seconds.append(time.monotonic() - asked_at)


class Scan:
    """A job that is met in the middle of its work."""

    def __init__(self, compose: Compose, folder: str) -> None:
        self.compose, self.bucket = compose, Bucket(compose)
        (self.head,), self.worker = compose.machines["head"], compose.machines["worker"][0]
        before = self.bucket.results()
        with api(self.worker) as client:
            what = {"uris": [self.bucket.fill(folder)], "detectors": ["nsfw", "ocr"]}
            self.job = client.post("/v1/jobs", json=what).raise_for_status().json()["job"]
        compose.wait(lambda: len(self.bucket.results() - before) >= 2, PATIENCE_S, "no result is committed")

    def now(self) -> Any:
        return said(self.worker, f"/v1/jobs/{self.job}")

    def is_over(self) -> bool:
        told = self.now()
        return told is not None and told["state"] in ("finished", "failed", "cancelled")

    def seconds_until(self, since: float, stored: set[str]) -> dict[str, float]:
        """How long it takes until each thing is as it was, and the job over."""
        awaited = {
            "jobs are told of": self.now,
            "ready at the head": lambda: said(self.head, "/v1/ready"),
            "a result is committed": lambda: self.bucket.results() - stored,
            "the job is over": self.is_over,
        }
        took = {}
        for what, there in awaited.items():
            self.compose.wait(lambda there=there: bool(there()), PATIENCE_S, f"not yet: {what}")
            took[what] = round(time.monotonic() - since, 1)
        return took

    def check(self) -> None:
        """It is finished, by its second driver, and all that it owed is there, once."""
        told, verified = self.now(), said(self.worker, f"/v1/jobs/{self.job}/verify")
        assert (told["state"], told["done"], told["attempts"]) == ("finished", PAGES, [self.job, f"{self.job}-2"])
        assert (verified["lost"], verified["double"]) == (0, 0)


def detectors(workers: list[Machine]) -> set[int]:
    """The process ids of what Serve runs on them."""
    return {process.pid for worker in workers for process in worker.processes("ServeReplica:raysift")}


def kill(compose: Compose, *services: str) -> None:
    for machine in (machine for service in services for machine in compose.machines[service]):
        del compose.running[machine.name]
        machine.kill()


def wipe(folder: Path) -> None:
    for entry in folder.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def found_again(machine: Machine) -> list[dict[str, Any]]:
    """The jobs whose results lie where a new list looks for them."""
    return [job for job in said(machine, "/v1/jobs") if job["out"] == RESULTS]


@pytest.mark.parametrize("disk", ["kept", "lost"])
def test_while_the_head_is_away_detectors_answer_and_when_it_is_back_the_scan_goes_on(compose: Compose, disk: str):
    workers = compose.machines["worker"]
    before = found_again(workers[0])
    scan, caller, replicas = Scan(compose, f"disk-{disk}"), Caller(workers[0]), detectors(workers)
    with caller.calling():
        kill(compose, "head")
        if disk == "lost":
            wipe(compose.volume("state"))
        time.sleep(OUTAGE_S)
        stored, since = scan.bucket.results(), time.monotonic()
        compose.restart("head", scan.head)
        took = scan.seconds_until(since, stored)
    print(f"disk {disk}: {took}; {len(caller.seconds)} calls meanwhile, the slowest {max(caller.seconds):.1f} s")
    assert caller.failed == []
    assert replicas <= detectors(workers), "not one of them was started again"
    scan.check()
    jobs = found_again(scan.worker)
    assert [job["job"] for job in jobs] == [scan.job, *(job["job"] for job in before)]
    assert said(scan.worker, "/v1/assets")["total"] >= sum(job["units"] for job in jobs)
    compose.wait_healthy("head")


def test_a_new_cluster_of_the_same_name_finds_the_jobs_of_the_old_one_and_goes_on(compose: Compose):
    scan = Scan(compose, "cluster-lost")
    before = found_again(scan.worker)
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
    assert [job["job"] for job in found_again(scan.worker)] == [job["job"] for job in before]
    assert said(scan.worker, "/v1/assets")["total"] >= sum(job["units"] for job in before)
