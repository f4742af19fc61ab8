"""Detectors scale with their queue and nodes with the detectors, on ray_cluster.yaml's node types: up, and back."""

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from PIL import Image

from cluster.processes import ROOT
from deployments.detector import names
from tests.launch.machines import Machine, Network

pytestmark = [pytest.mark.launch, pytest.mark.chaos, pytest.mark.timeout(300)]

CALLERS = 16
FASTER = 100  # times sooner than ray_cluster.yaml says an idle node goes
HEAD = "ray.head.default"  # so Ray's provider of nodes that are processes calls the type of its head
HEAD_ID = "f" * 51 + "00000"
# what `ray up` gives the command that starts the head, and what such nodes want
LAUNCHER = {
    "RAY_enable_autoscaler_v2": "1",
    "RAY_NODE_TYPE_NAME": HEAD,
    "RAY_CLOUD_INSTANCE_ID": HEAD_ID,
    "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD_ID,
    "RAY_FAKE_CLUSTER": "1",
    "AUTOSCALER_UPDATE_INTERVAL_S": "1",
    "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "1",
}


def test_replicas_and_nodes_come_with_the_load_and_leave_after_it(head: Machine):
    def replicas() -> int:
        return len(head.processes("ServeReplica:raysift:nsfw"))

    def workers() -> int:
        return len(head.processes("raylet/raylet --raylet_socket_name")) - 1

    until(lambda: workers() == 1, "the API has a node")
    picture = BytesIO()
    Image.new("RGB", (640, 480), "white").save(picture, "JPEG")
    over, first = threading.Event(), threading.Event()

    def call() -> None:
        with api_client(head) as api:
            while not over.is_set():
                answer = api.post("/v1/detect/nsfw", files={"file": picture.getvalue()})
                assert answer.is_success, answer.text
                first.set()

    assert replicas() == 0
    begun = time.monotonic()
    with ThreadPoolExecutor(CALLERS) as pool:
        calls = [pool.submit(call) for _ in range(CALLERS)]
        try:
            until(lambda: first.is_set() or any(one.done() for one in calls), "something answered")
            first_s = time.monotonic() - begun
            until(lambda: (replicas(), workers()) == (4, 3), "it grew")
            whole_s = time.monotonic() - begun
            status = on(head, "ray status")
        finally:
            over.set()
    for one in calls:
        one.result()
    assert "1 decode" in status and "2 l4" in status and "l40s" not in status, status
    ended = time.monotonic()
    until(lambda: replicas() == 0, "the replicas left")
    idle_s = time.monotonic() - ended
    until(lambda: workers() == 1, "the cards' nodes left")
    nothing_s = time.monotonic() - ended
    print(f"first answer {first_s:.1f} s, all {whole_s:.1f} s; no replica {idle_s:.1f} s, no card {nothing_s:.1f} s")


@pytest.fixture
def head(network: Network) -> Iterator[Machine]:
    """The head as `ray up` starts it, but for a provider whose nodes are processes there."""
    config = yaml.safe_load((ROOT / "ray_cluster.yaml").read_text())
    machine = network.machine("autoscaled", {sys.base_prefix: Path(sys.base_prefix), "/srv/raysift": ROOT})
    try:
        on(machine, f"echo '{json.dumps(of_processes(config, machine.address))}' > ~/ray_bootstrap_config.yaml")
        on(machine, "ray get-auth-token --generate")
        start, _, deploy = config["head_start_ray_commands"][-3:]
        # `ray up` says it in the environment, which would reach the nodes here
        cpus = config["available_node_types"]["head"]["resources"]["CPU"]
        on(machine, f"{start} --num-cpus={cpus} > ~/start.log 2>&1", LAUNCHER)
        on(machine, deploy)
        until(lambda: answers(machine), "the API answers")
        yield machine
    finally:
        machine.kill()


def of_processes(config: dict[str, Any], address: str) -> dict[str, Any]:
    """The launcher's file with nodes that are processes of one machine: as large, as many, with the same labels."""
    memory = {"object_store_memory": 80_000_000}  # a machine would have it
    kinds = {}
    for name, kind in config["available_node_types"].items():
        idle = {"idle_timeout_s": kind["idle_timeout_s"] / FASTER} if "idle_timeout_s" in kind else {}
        own = HEAD if name == config["head_node_type"] else name
        kinds[own] = kind | {"resources": kind["resources"] | memory, "node_config": {}} | idle
    return config | {
        "provider": {
            "type": "external",
            "module": "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider",
            "gcs_address": f"{address}:6379",
            "head_node_id": HEAD_ID,
            "launch_multiple": True,
            "disable_node_updaters": True,
        },
        "head_node_type": HEAD,
        "available_node_types": kinds,
        "idle_timeout_minutes": config["idle_timeout_minutes"] / FASTER,
        "file_mounts": {},
    }


def settings() -> dict[str, str]:
    """One detector, with half a card for each of its replicas, which come and go soon."""
    others = {f"RAYSIFT_DETECTORS__{name}__ENABLED": "false" for name in names() if name != "nsfw"}
    scaled = {"GPUS": "0.5", "REPLICAS": "0", "MAX_REPLICAS": "4"}
    delays = {"UPSCALE_DELAY_S": "1", "DOWNSCALE_DELAY_S": "3", "DOWNSCALE_TO_ZERO_DELAY_S": "3"}
    ours = {f"RAYSIFT_DETECTORS__NSFW__{key}": value for key, value in (scaled | delays).items()}
    return {"RAYSIFT_STATE_DIR": "/var/lib/raysift", **others, **ours}


def on(machine: Machine, command: str, env: dict[str, str] | None = None) -> str:
    """What a command writes that is run on a node as `ray up` runs it."""
    there = f". /srv/raysift/cluster/ray_up/environment.sh && {command}"
    done = machine.run(["bash", "-c", there], settings() | (env or {}))
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def api_client(machine: Machine) -> httpx.Client:
    # it answers to its own names alone
    return httpx.Client(
        base_url=f"http://{machine.address}:8000", headers={"Host": "localhost"}, timeout=120, trust_env=False
    )


def answers(machine: Machine) -> bool:
    try:
        with api_client(machine) as api:
            return api.get("/v1/health").is_success
    except httpx.TransportError:
        return False


def until(true: Callable[[], Any], what: str, seconds: float = 120) -> None:
    """Wait until it is true. AssertionError when it takes too long."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"waited for so long: {what}"
        time.sleep(0.1)
