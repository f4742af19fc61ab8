"""Each fault raises its alert in a running Prometheus in time, and the alert ends after the fault."""

import io
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
from PIL import Image

from cluster.records import Detection
from tests.chaos import nodes
from tests.chaos.alerting import FACTOR, RULES, OtherCluster, Watched
from tests.chaos.conftest import Broken, breakable, pages, small_disk, started, until
from tests.support.browser import free_port
from tests.support.servers.far_api import Far
from tests.support.servers.prometheus import prometheus, quickened

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

CLIP = "ServeReplica:raysift:clip"
STATE_MB = 256
BEFORE = 200  # answers of the detector before it becomes slow
STOPPED_S, RUNNING_S = 3.0, 0.1


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, report: Callable[..., None]) -> Iterator[Watched]:
    """A watched cluster with up to two replicas of clip, and nsfw in another cluster; its state is on a small disk."""
    folder = tmp_path_factory.mktemp("alerts")
    far = Far(answer=lambda samples: [[Detection("nsfw", 1.0)] for _ in samples])
    other = OtherCluster(far, free_port())
    variables = {
        "RAYSIFT_SCANNING__WORKERS": "1",
        "RAYSIFT_DETECTORS__CLIP__MAX_REPLICAS": "2",
        "RAYSIFT_DETECTORS__CLIP__UPSCALE_DELAY_S": "1",
        "RAYSIFT_DETECTORS__CLIP__DOWNSCALE_DELAY_S": "5",
        "RAYSIFT_DETECTORS__NSFW__BACKEND": "remote",
        "RAYSIFT_DETECTORS__NSFW__MODEL": "m",
        "RAYSIFT_DETECTORS__NSFW__REMOTE__URL": f"http://127.0.0.1:{other.port}",
    }
    other.start()
    try:
        with (
            small_disk(folder / "state", STATE_MB) as on_small_disk,
            breakable(folder, ["clip", "nsfw"], **variables) as broken,
            prometheus(
                folder / "prometheus",
                broken.processes.ray_temp / "prom_metrics_service_discovery.json",
                quickened(RULES, FACTOR),
            ) as server,
        ):
            yield Watched(broken, server, other, on_small_disk, report)
    finally:
        other.stop()


@pytest.fixture
def api(watched: Watched) -> Iterator[httpx.Client]:
    """A client of the API."""
    with watched.broken.cluster.api() as client:
        yield client


def picture() -> dict[str, bytes]:
    """A form with a picture that no other call has: a replica remembers its last ones."""
    file = io.BytesIO()
    Image.frombytes("RGB", (64, 64), os.urandom(64 * 64 * 3)).save(file, "png")
    return {"file": file.getvalue()}


def test_a_killed_replica_raises_its_alert(watched):
    watched.quiet()
    nodes.kill(list(nodes.titled(watched.broken.state, CLIP).values()))
    fired = watched.fires("RaysiftReplicaDied")
    cleared = watched.clears("RaysiftReplicaDied")
    watched.note("a replica is killed", fired, cleared)


def test_replicas_that_die_again_and_again_raise_their_alerts(watched):
    watched.quiet()
    alerts = "RaysiftDeploymentUnhealthy", "RaysiftReplicaDied"
    fired = watched.fires(
        *alerts, meanwhile=lambda: nodes.kill(list(nodes.titled(watched.broken.state, CLIP).values()))
    )
    cleared = watched.clears(*alerts)
    watched.note("replicas die again and again", fired, cleared)


def test_a_replica_that_is_not_needed_any_more_raises_no_alert(watched):
    watched.quiet()
    with requests(watched.broken, 8):
        until(lambda: len(nodes.titled(watched.broken.state, CLIP)) == 2, "no second replica has started")
    ended = 'ray_serve_deployment_replica_healthy{deployment="clip"} == 0'
    until(lambda: watched.prometheus.query(ended), "no replica has ended")
    until(lambda: not watched.prometheus.query(ended), "an ended replica is reported for ever")
    assert watched.prometheus.query("max_over_time(ALERTS{alertname='RaysiftReplicaDied'}[20s])") == []


def test_a_slow_detector_raises_its_alert(watched):
    watched.quiet()
    with requests(watched.broken, 2) as answered:
        until(lambda: len(answered) > BEFORE, "the detector does not answer")
        with stopped_in_turns(watched.broken.state, CLIP):
            fired = watched.fires("RaysiftDetectorSlow")
        cleared = watched.clears("RaysiftDetectorSlow")
    watched.note("a detector is slow", fired, cleared)


@contextmanager
def requests(broken: Broken, threads: int) -> Iterator[list[int]]:
    """Send pictures to clip from several threads until the end of the block; yields the statuses of the answers."""
    over, statuses = threading.Event(), list[int]()

    def send() -> None:
        with broken.cluster.api() as api:
            while not over.is_set():
                statuses.append(api.post("/v1/detect/clip", files=picture()).status_code)

    sending = [threading.Thread(target=send) for _ in range(threads)]
    for thread in sending:
        thread.start()
    try:
        yield statuses
    finally:
        over.set()
        for thread in sending:
            thread.join()
    assert {*statuses} == {200}


@contextmanager
def stopped_in_turns(state: Path, title: str) -> Iterator[None]:
    """Stop all processes of that title for STOPPED_S and let them run for RUNNING_S, in turns, until the end of the
    block.
    """
    over = threading.Event()

    def turns() -> None:
        while not over.wait(RUNNING_S):
            stopped = list(nodes.titled(state, title).values())  # there may be new ones
            nodes.send(stopped, signal.SIGSTOP)
            over.wait(STOPPED_S)
            nodes.send(stopped, signal.SIGCONT)

    thread = threading.Thread(target=turns)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_chroma_that_is_down_raises_its_alert_and_that_of_failed_requests(watched, api):
    def search() -> None:
        api.post("/v1/search", params={"by": "image"}, files=picture())

    watched.quiet()
    alerts = "RaysiftChromaDown", "RaysiftApiErrors"
    nodes.kill([psutil.Process(watched.broken.processes.alive()["chroma"])])
    fired = watched.fires(*alerts, meanwhile=search)
    watched.broken.processes.start_chroma()
    cleared = watched.clears(*alerts, meanwhile=search)
    watched.note("Chroma is killed", fired, cleared)


@pytest.mark.parametrize(
    ("fault", "times", "alert"), [("slow", 1, "RaysiftBucketSlow"), ("truncated", 3, "RaysiftBucketFails")]
)
def test_a_bucket_that_is_slow_or_fails_raises_its_alert(watched, tmp_path, fault, times, alert):
    watched.quiet()
    broken = watched.broken
    store = broken.seaweed.client()
    store.create_bucket(Bucket=fault)
    for file in pages(tmp_path / "media", fault, 400).iterdir():
        store.upload_file(str(file), fault, f"media/{file.name}")
    broken.faults.planned["GET", ".png"] = fault, times
    scan = started(broken, f"s3://{fault}/media", str(tmp_path / "out"), in_the_middle=False, detectors=["nsfw"])
    fired = watched.fires(alert)
    del broken.faults.planned["GET", ".png"]
    cleared = watched.clears(alert)
    assert scan.until_over()["state"] == "finished"
    watched.note(f"a bucket is {fault}", fired, cleared)


def test_a_disk_that_is_nearly_full_raises_its_alert(watched):
    if not watched.on_small_disk:
        pytest.skip("only root may mount a small disk")
    watched.quiet()
    ballast = watched.broken.state / "ballast"
    with ballast.open("wb") as file:
        free = os.statvfs(watched.broken.state).f_bavail * os.statvfs(watched.broken.state).f_frsize
        os.posix_fallocate(file.fileno(), 0, free - STATE_MB * 1_000_000 // 20)
    fired = watched.fires("RaysiftDiskNearlyFull")
    ballast.unlink()
    cleared = watched.clears("RaysiftDiskNearlyFull")
    watched.note("a disk is nearly full", fired, cleared)


def test_another_cluster_that_is_away_raises_its_alert_and_that_of_the_job_that_waits(watched, api, tmp_path):
    watched.quiet()
    alerts = "RaysiftRemoteAway", "RaysiftJobBlocked"
    watched.other.stop()
    folder, out = pages(tmp_path / "media", "away", 24), str(tmp_path / "out")
    scan = started(watched.broken, folder, out, in_the_middle=False, detectors=["nsfw"])
    fired = watched.fires(*alerts, meanwhile=lambda: api.get("/v1/ready"))  # as a load balancer does
    watched.other.start()
    cleared = watched.clears(*alerts, meanwhile=lambda: api.get("/v1/ready"))
    assert scan.until_over()["state"] == "finished"
    assert not watched.beside & {"RaysiftApiErrors", "RaysiftDetectorSlow"}
    watched.note("another cluster is away, and a job needs it", fired, cleared)


def test_a_lost_head_raises_its_alert(watched):
    watched.quiet()
    nodes.kill(list(nodes.titled(watched.broken.state, "").values()))
    fired = watched.fires("RaysiftHeadSilent")
    began = time.monotonic()
    up = watched.broken.cluster.raysift("up")
    assert up.returncode == 0, up.stderr
    started_s = time.monotonic() - began
    cleared = {alert: started_s + after_s for alert, after_s in watched.clears("RaysiftHeadSilent").items()}
    watched.note("the head is killed", fired, cleared)
