"""Processes die, hang or run out of disk space during a scan: afterwards no unit is lost and none is duplicated."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from cluster.processes import port_open
from tests.chaos import nodes
from tests.chaos.conftest import Broken, Scan, pages, small_disk, started, until

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(400)]

ANALYSIS, OCR, DECODER = "ServeReplica:raysift:analysis", "ServeReplica:raysift:ocr", "pipelines.media.worker"
TASK = "MapBatches(_analyze)"


def another(broken: Broken, title: str, killed: set[int]) -> Callable[[], bool]:
    """A predicate: whether a process with this title runs whose id is not in `killed`."""
    return lambda: bool(nodes.titled(broken.state, title).keys() - killed)


def test_a_killed_replica_is_replaced(broken, scan, report):
    killed = nodes.titled(broken.state, OCR)
    nodes.kill(list(killed.values()))
    hit_at = time.monotonic()
    until(another(broken, OCR, set(killed)), "the replica was not replaced")
    replaced_s = time.monotonic() - hit_at
    with broken.cluster.api() as api:
        until(lambda: api.get("/v1/ready").json()["ready"], "the detector does not answer")
    answers_s = time.monotonic() - hit_at
    result_s = answers_s + scan.seconds_until()
    assert scan.until_over()["state"] == "finished"
    assert scan.check()["failed"] == 0
    report("a detector's replica is killed", replaced_s=replaced_s, answers_again_s=answers_s, next_result_s=result_s)


@pytest.mark.parametrize(("what", "title"), [("an analysis replica", ANALYSIS), ("a task", TASK)])
def test_a_killed_part_of_the_analysis_is_replaced(broken, scan, report, what, title):
    running = nodes.titled(broken.state, title)
    nodes.kill([running[min(running)]])
    recovered_s = scan.seconds_until(another(broken, title, set(running)))
    assert scan.until_over()["state"] == "finished"
    assert scan.check()["failed"] == 0
    report(f"{what} is killed", next_result_s=recovered_s)


def test_no_unit_is_lost_with_a_killed_node(broken, tmp_path, report):
    node = nodes.join(broken.processes, cpus=4)
    until(lambda: nodes.on(node, "DashboardAgent"), "the node did not join")
    scan = started(broken, pages(tmp_path / "media", "a lost node", 60), str(tmp_path / "out"))
    until(lambda: nodes.on(node, TASK) or nodes.on(node, ANALYSIS), "nothing of the job runs on the node")
    running, lost = nodes.titled(broken.state, ANALYSIS), nodes.on(node, ANALYSIS)
    nodes.kill([*node.children(recursive=True), node])
    recovered_s = scan.seconds_until(another(broken, ANALYSIS, set(running)) if lost else lambda: True)
    assert scan.until_over()["state"] == "finished"
    assert scan.check()["failed"] == 0
    report("a node is killed", next_result_s=recovered_s)


def test_a_job_whose_driver_is_killed_continues_automatically(broken, scan, report):
    before = len(scan.files())
    nodes.kill([driver(broken, scan)])
    recovered_s = scan.seconds_until(lambda: scan.now()["state"] == "running" and len(scan.now()["attempts"]) == 2)
    assert scan.until_over()["state"] == "finished"
    assert scan.check()["failed"] == 0
    assert before > 0
    report("a job's driver is killed", next_result_s=recovered_s)


def driver(broken: Broken, scan: Scan) -> psutil.Process | None:
    """The process of the job's driver, if it runs: that of the job alone, or the one that waited for jobs."""
    titles = f"-m pipelines --job {scan.job} ", "-m pipelines --standby"
    found = [process for title in titles for process in nodes.titled(broken.state, title).values()]
    return next((process for process in found if "python" in process.name()), None)


def test_a_job_does_not_wait_for_chroma_and_its_vectors_are_stored_after_the_restart(broken, scan, report):
    chroma = broken.processes.alive()["chroma"]
    nodes.kill([psutil.Process(chroma)])
    without_s = scan.seconds_until()
    broken.processes.start_chroma()
    hit_at = time.monotonic()
    until(lambda: port_open(broken.processes.settings.chroma), "Chroma did not start")
    back_s = time.monotonic() - hit_at
    assert scan.until_over()["state"] == "finished"
    assert scan.check()["failed"] == 0
    report("Chroma is killed and started again", next_result_s=without_s, chroma_back_s=back_s)


def test_a_job_does_not_wait_for_a_hanging_chroma(broken, scan, report):
    chroma = psutil.Process(broken.processes.alive()["chroma"])
    chroma.suspend()
    try:
        without_s = scan.seconds_until()
    finally:
        chroma.resume()
    assert scan.until_over()["state"] == "finished"
    assert scan.check()["failed"] == 0
    report("Chroma hangs", next_result_s=without_s)


@pytest.mark.parametrize("how", ["stop", "hang"])
def test_a_job_continues_without_the_cache(broken, scan, report, how):
    getattr(broken.redis, how)()
    try:
        without_s = scan.seconds_until()
        assert scan.until_over()["state"] == "finished"
    finally:
        {"stop": broken.redis.start, "hang": broken.redis.go_on}[how]()
    assert scan.check()["failed"] == 0
    report(f"Redis: {how}", next_result_s=without_s)


def test_a_killed_decoder_fails_only_its_video(broken, tmp_path, report):
    folder = pages(tmp_path / "media", "a film", 24)
    film(folder / "film.mp4")
    scan = started(broken, folder, str(tmp_path / "out"), in_the_middle=False)

    def decoding_the_video() -> list[psutil.Process]:
        decoders = nodes.titled(broken.state, DECODER).values()
        return [
            decoder
            for decoder in decoders
            if any(Path(file.path).stat().st_size == size for file in decoder.open_files())
        ]

    size = (folder / "film.mp4").stat().st_size
    decoding = until(decoding_the_video, "no decoder opened the video")
    nodes.kill(decoding)
    recovered_s = scan.seconds_until()
    assert scan.until_over()["failed"] == 1
    assert scan.check()["failed"] == 1
    (error,) = broken.cluster.export(scan.out)["film.mp4"]["errors"]
    assert error["step"] == "decode" and "crashed" in error["reason"]
    report("a decoder is killed", next_result_s=recovered_s)


def film(to: Path) -> None:
    """Write a video of 50 s with a different picture in each second, which takes seconds to decode: long enough for a
    fault meanwhile.
    """
    import av
    import numpy as np

    with av.open(str(to), "w") as container:
        stream = container.add_stream("mpeg4", rate=50)
        stream.width, stream.height = 1280, 720
        noise = np.random.default_rng(7)
        for _ in range(50):
            blocks = noise.integers(0, 255, (9, 16, 3), np.uint8).repeat(80, 0).repeat(80, 1)
            for _ in range(50):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(blocks, "rgb24")))
        container.mux(stream.encode())


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of 8 MB; skips the test without permission to mount."""
    with small_disk(tmp_path / "small", 8) as mounted:
        if not mounted:
            pytest.skip("only root may mount a small disk")
        yield tmp_path / "small"


def test_a_full_disk_stops_a_job_which_can_be_resumed(broken, small, tmp_path, report):
    scan = started(broken, pages(tmp_path / "media", "a full disk", 48), str(small / "out"))
    ballast = small / "ballast"
    with ballast.open("wb", buffering=0) as file:
        written = 1
        while written:
            try:
                written = file.write(bytes(4096))
            except OSError:
                written = 0
    job = scan.until_over()
    stored = len(scan.files())
    ballast.unlink()
    assert job["state"] == "failed" and "space" in job["message"].lower(), job
    with broken.cluster.api() as api:
        # the API refuses to resume the job until its driver has ended
        until(lambda: api.post(f"/v1/jobs/{scan.job}/resume").is_success, "the job cannot be resumed")
    recovered_s = scan.seconds_until()
    assert scan.until_over()["state"] == "finished"
    assert scan.check()["failed"] == 0
    report("the disk of the results is full", next_result_s=recovered_s, files_kept=stored)
