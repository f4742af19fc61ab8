"""Autoscaling up and down on the node types of ray_cluster.yaml: replicas follow the queue, nodes the replicas."""

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
SPEEDUP = 100  # divisor of ray_cluster.yaml's idle timeouts
HEAD = "ray.head.default"  # the head's node type in Ray's fake node provider, whose nodes are processes
HEAD_ID = "f" * 51 + "00000"
# variables that `ray up` sets for the head's start command, and those that the fake node provider needs
LAUNCHER = {
    "RAY_enable_autoscaler_v2": "1",
    "RAY_NODE_TYPE_NAME": HEAD,
    "RAY_CLOUD_INSTANCE_ID": HEAD_ID,
    "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD_ID,
    "RAY_FAKE_CLUSTER": "1",
    "AUTOSCALER_UPDATE_INTERVAL_S": "1",
    "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "1",
}


def test_replicas_and_nodes_scale_up_under_load_and_down_after_it(head: Machine):
    def replicas() -> int:
        return len(head.processes("ServeReplica:raysift:nsfw"))

    def workers() -> int:
        return len(head.processes("raylet/raylet --raylet_socket_name")) - 1

    until(lambda: workers() == 1, "a node for the API")
    picture = BytesIO()
    Image.new("RGB", (640, 480), "white").save(picture, "JPEG")
    over, first = threading.Event(), threading.Event()

    def call() -> None:
        with api_client(head) as api:
            while not over.is_set():
                response = api.post("/v1/detect/nsfw", files={"file": picture.getvalue()})
                assert response.is_success, response.text
                first.set()

    assert replicas() == 0
    begun = time.monotonic()
    with ThreadPoolExecutor(CALLERS) as pool:
        calls = [pool.submit(call) for _ in range(CALLERS)]
        try:
            until(lambda: first.is_set() or any(call.done() for call in calls), "a first response")
            first_s = time.monotonic() - begun
            until(lambda: (replicas(), workers()) == (4, 3), "4 replicas on 2 GPU nodes")
            grown_s = time.monotonic() - begun
            status = on(head, "ray status")
        finally:
            over.set()
    for caller in calls:
        caller.result()
    assert "1 decode" in status and "2 l4" in status and "l40s" not in status, status
    ended = time.monotonic()
    until(lambda: replicas() == 0, "no replicas")
    no_replica_s = time.monotonic() - ended
    until(lambda: workers() == 1, "no GPU nodes")
    no_gpu_s = time.monotonic() - ended
    print(f"first {first_s:.1f} s, all {grown_s:.1f} s; no replica {no_replica_s:.1f} s, no GPU node {no_gpu_s:.1f} s")


@pytest.fixture
def head(network: Network) -> Iterator[Machine]:
    """A head started with the commands of `ray up`, with a node provider whose nodes are processes on its machine."""
    config = yaml.safe_load((ROOT / "ray_cluster.yaml").read_text())
    machine = network.machine("autoscaled", {sys.base_prefix: Path(sys.base_prefix), "/srv/raysift": ROOT})
    try:
        on(machine, f"echo '{json.dumps(with_fake_nodes(config, machine.address))}' > ~/ray_bootstrap_config.yaml")
        on(machine, "ray get-auth-token --generate")
        start, _, deploy = config["head_start_ray_commands"][-3:]
        # `ray up` sets the head's CPUs by an environment variable; here the nodes would inherit it
        cpus = config["available_node_types"]["head"]["resources"]["CPU"]
        on(machine, f"{start} --num-cpus={cpus} > ~/start.log 2>&1", LAUNCHER)
        on(machine, deploy)
        until(lambda: answers(machine), "a response of the API")
        yield machine
    finally:
        machine.kill()


def with_fake_nodes(config: dict[str, Any], address: str) -> dict[str, Any]:
    """The launcher's configuration with Ray's fake node provider: same sizes, limits and labels of the nodes."""
    memory = {"object_store_memory": 80_000_000}  # detected on a real machine
    kinds = {}
    for name, kind in config["available_node_types"].items():
        idle = {"idle_timeout_s": kind["idle_timeout_s"] / SPEEDUP} if "idle_timeout_s" in kind else {}
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
        "idle_timeout_minutes": config["idle_timeout_minutes"] / SPEEDUP,
        "file_mounts": {},
    }


def settings() -> dict[str, str]:
    """Environment variables for one detector with 0.5 GPU per replica and short scaling delays."""
    others = {f"RAYSIFT_DETECTORS__{name}__ENABLED": "false" for name in names() if name != "nsfw"}
    scaled = {"GPUS": "0.5", "REPLICAS": "0", "MAX_REPLICAS": "4"}
    delays = {"UPSCALE_DELAY_S": "1", "DOWNSCALE_DELAY_S": "3", "DOWNSCALE_TO_ZERO_DELAY_S": "3"}
    ours = {f"RAYSIFT_DETECTORS__NSFW__{key}": value for key, value in (scaled | delays).items()}
    return {"RAYSIFT_STATE_DIR": "/var/lib/raysift", **others, **ours}


def on(machine: Machine, command: str, env: dict[str, str] | None = None) -> str:
    """Run a shell command on a node in the environment of `ray up`; returns its output."""
    line = f". /srv/raysift/cluster/ray_up/environment.sh && {command}"
    done = machine.run(["bash", "-c", line], settings() | (env or {}))
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def api_client(machine: Machine) -> httpx.Client:
    """An HTTP client of the API at that machine's proxy. The Host header is one that the API accepts."""
    key = machine.run(["cat", f"{settings()['RAYSIFT_STATE_DIR']}/operator_key"], {}).stdout
    headers = {"Host": "localhost", "Authorization": f"Bearer {key}"}
    return httpx.Client(base_url=f"http://{machine.address}:8000", headers=headers, timeout=120, trust_env=False)


def answers(machine: Machine) -> bool:
    """Whether the API's health route answers."""
    try:
        with api_client(machine) as api:
            return api.get("/v1/health").is_success
    except httpx.TransportError:
        return False


def until(condition: Callable[[], Any], expected: str, seconds: float = 120) -> None:
    """Wait until `condition()`. AssertionError after `seconds`, with the description of what was `expected`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {expected}"
        time.sleep(0.1)
