"""Detectors scale with their queue and nodes with the detectors: from nothing, up, and back to nothing."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import pytest
from conftest import Cluster, environment
from PIL import Image

from chaos import nodes
from chaos.autoscaler import autoscaled
from chaos.conftest import settings, until
from cluster.processes import Processes
from deployments.detector import names

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(400)]

CALLERS = 16


def test_replicas_and_nodes_come_with_the_load_and_leave_after_it(tmp_path, report):
    others = {f"RAYSIFT_DETECTORS__{name}__ENABLED": "false" for name in names() if name != "nsfw"}
    scaled = {"GPUS": "0.5", "REPLICAS": "0", "MAX_REPLICAS": "4"}
    delays = {"UPSCALE_DELAY_S": "1", "DOWNSCALE_DELAY_S": "3", "DOWNSCALE_TO_ZERO_DELAY_S": "3"}
    ours = {f"RAYSIFT_DETECTORS__NSFW__{key}": value for key, value in (scaled | delays).items()}
    own = environment(tmp_path / "state", **others, **ours)
    processes = Processes(settings(own))

    def replicas() -> int:
        return len(nodes.titled(processes.state, "ServeReplica:raysift:nsfw"))

    def workers() -> int:
        return len(nodes.titled(processes.state, "raylet/raylet --raylet_socket_name")) - 1

    picture = BytesIO()
    Image.new("RGB", (640, 480), "white").save(picture, "JPEG")
    over, first = threading.Event(), threading.Event()

    def call() -> None:
        with Cluster(own).door() as door:
            while not over.is_set():
                answer = door.post("/v1/detect/nsfw", files={"file": picture.getvalue()})
                assert answer.is_success, answer.text
                first.set()

    with autoscaled(processes, own, nodes=2):
        assert (replicas(), workers()) == (0, 0)
        begun = time.monotonic()
        with ThreadPoolExecutor(CALLERS) as pool:
            calls = [pool.submit(call) for _ in range(CALLERS)]
            try:
                until(lambda: first.is_set() or any(one.done() for one in calls), "nothing answered")
                first_s = time.monotonic() - begun
                until(lambda: (replicas(), workers()) == (4, 2), "it did not grow")
                whole_s = time.monotonic() - begun
            finally:
                over.set()
        for one in calls:
            one.result()  # not one call failed
        ended = time.monotonic()
        until(lambda: replicas() == 0, "replicas stayed")
        idle_s = time.monotonic() - ended
        until(lambda: workers() == 0, "nodes stayed")
        nothing_s = time.monotonic() - ended
    report(
        "load comes and goes", first_answer_s=first_s, all_replicas_s=whole_s, no_replica_s=idle_s, no_node_s=nothing_s
    )
